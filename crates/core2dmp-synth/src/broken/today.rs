//! What today's engine decides otherwise than the one of 2015: RequiredDumpSpace, five levels of page tables, and each
//! field of the header of the ranges, and what today's engine does about it.
//!
//! Reference: dbgeng 10.0.29507, one field changed at a time.

use super::case::Case;
use super::row::{Row, table};
use crate::bytes::get_u64;
use crate::windows::memory::PAGE;

#[rustfmt::skip]
pub(super) static ROWS: &[&[Row]] = table! {
    "page tables of five levels" [Levels5] |case| case.put_u64(0x10, case.guest.expected.dtb)
        => Broken "DirectoryTableBase" "PARTIALLY CORRUPT" Whole;

    "dump space a byte too large" [Large64] |case| case.add_word(0xfa0, 1)
        => Broken "RequiredDumpSpace" "" Whole;
    "dump space too large" [Large64] |case| case.add_word(0xfa0, 1 << 30)
        => Broken "RequiredDumpSpace" "" Whole;
    "dump space a byte too small" [Large64] |case| case.add_word(0xfa0, -1)
        => Broken "RequiredDumpSpace" "" Whole;
    "dump space 0" [Large64] |case| case.put_u64(0xfa0, 0)
        => Broken "RequiredDumpSpace" "PARTIALLY CORRUPT" Whole;
    "dump space PAGE" [Large64] |case| case.unset(0xfa0, 8)
        => Broken "RequiredDumpSpace" "" Whole;

    "ranges marker" [Ranges8 Ranges9 RangesA] |case| case.put_u32(0x2000, 0)
        => Cosmetic "tags of the ranges" "" Whole;
    "ranges tag" [Ranges8 Ranges9 RangesA] |case| case.put(0x2004, b"XDMP")
        => Cosmetic "tags of the ranges" "" Whole;
    "second ranges tag" [Ranges8 Ranges9 RangesA] |case| case.put(0x2008, b"XUMP")
        => Cosmetic "tags of the ranges" "" Whole;
    "metadata bytes 0" [Ranges8 Ranges9 RangesA] |case| case.put_u64(0x2010, 0)
        => Cosmetic "metadata of the ranges" "" Whole;
    "first page later" [Ranges8 Ranges9 RangesA] |case| case.add_word(0x2018, 0x1000)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "first page at 0" [Ranges8 Ranges9 RangesA] |case| case.put_u64(0x2018, 0)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "no ranges" [Ranges8 Ranges9 RangesA] |case| case.put_u32(0x2020, 0)
        => Broken "number of ranges" "" Whole;
    "a range too few" [Ranges8 Ranges9 RangesA] |case| case.add_u32(0x2020, -1)
        => Broken "number of ranges" "" Whole;
    "a range too many" [Ranges8 Ranges9 RangesA] |case| case.add_u32(0x2020, 1)
        => Cosmetic "number of ranges" "" Whole;
    "other bytes behind the count" [Ranges8 Ranges9 RangesA] |case| case.put_u32(0x2024, 0x5a5a_5a5a)
        => Silent "" "" Nothing;
    "range pages too many" [Ranges8 Ranges9 RangesA] |case| case.add_word(0x2028, 1)
        => Broken "pages of the ranges" "Dump file has been truncated" Whole;
    "range pages too few" [Ranges8 Ranges9 RangesA] |case| case.add_word(0x2028, -1)
        => Cosmetic "pages of the ranges" "" Whole;
    "dump type 8" [Ranges9 RangesA] |case| case.put_u32(0xf98, 8) => Silent "" "" Nothing;
    "dump type 9" [Ranges8 RangesA] |case| case.put_u32(0xf98, 9) => Silent "" "" Nothing;
    "dump type 10" [Ranges8 Ranges9] |case| case.put_u32(0xf98, 10) => Silent "" "" Nothing;
    "dump space 0" [Ranges8 Ranges9 RangesA] |case| case.put_u64(0xfa0, 0) => Silent "" "" Nothing;
    "dump space too large" [Ranges8 Ranges9 RangesA] |case| {
        case.put_u64(0xfa0, 10 * case.dump.bytes.len() as u64);
    } => Silent "" "" Nothing;
    "cut in the last page" [Ranges8 Ranges9 RangesA] |case| {
        case.dump.truncate(case.dump.bytes.len() - 1);
    } => Broken "file" "Dump file has been truncated" No;
    "cut in the middle" [Ranges8 Ranges9 RangesA] |case| {
        case.dump.truncate(case.dump.bytes.len() / 2);
    } => Broken "file" "Dump file has been truncated" No;
    "cut in the table" [Ranges8 Ranges9 RangesA] |case| case.dump.truncate(case.dump.first_page - 8)
        => Refused "number of ranges" "Win32 error 0n87" No;
    "cut in the header of the ranges" [Ranges8 Ranges9 RangesA] |case| case.dump.truncate(0x2018)
        => Refused "number of ranges" "Win32 error 0n1392" No;
    "ranges that descend" [Ranges8 Ranges9 RangesA] |case| descend(case) => Silent "" "" Nothing;
    "bytes appended" [Ranges8 Ranges9 RangesA] |case| case.dump.bytes.extend([0xa5; 0x2000])
        => Silent "" "" Nothing;
};

/// Puts the ranges, and with them their pages, in the opposite order.
fn descend(case: &mut Case) {
    let dump = &mut case.dump;
    let table = 0x2030..dump.first_page;
    let (mut ranges, mut pages) = (Vec::new(), Vec::new());
    let mut at = dump.first_page;
    for entry in dump.bytes[table.clone()].chunks(16) {
        let frames = usize::try_from(get_u64(entry, 8)).expect("few frames");
        ranges.push(entry.to_vec());
        pages.push(dump.bytes[at..at + frames * PAGE].to_vec());
        at += frames * PAGE;
    }
    ranges.reverse();
    pages.reverse();
    let bytes = [ranges.concat(), pages.concat()].concat();
    dump.put(table.start, &bytes);
}
