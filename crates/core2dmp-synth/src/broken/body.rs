//! What follows the header: cut off, or with a bitmap that lies.

use super::row::{Row, table};

#[rustfmt::skip]
pub(super) static ROWS: &[&[Row]] = table! {
    "cut in the last page" [Full64 Full32 Bitmap64 Summary64] |case| {
        case.dump.truncate(case.dump.bytes.len() - 1);
    } => Broken "file" "Dump file has been truncated" No;
    "cut in the middle" [Full64 Full32 Bitmap64] |case| case.dump.truncate(case.dump.bytes.len() / 2)
        => Broken "file" "Dump file has been truncated" No;
    "cut behind the header" [Full64 Full32] |case| case.dump.truncate(case.dump.header_bytes)
        => Broken "body" "Dump file has been truncated" No;
    "cut behind its header" [Bitmap64 Summary64] |case| case.dump.truncate(0x2000)
        => Refused "body" "Win32 error 0n1392" No;
    "cut in the header" [Full64 Full32 Bitmap64 Summary64] |case| case.dump.truncate(0x800)
        => Refused "header" "Could not match Dump File signature" No;
    "bytes appended" [Full64 Full32 Bitmap64 Summary64] |case| case.dump.bytes.extend([0xa5; 0x2000])
        => Silent "" "" Nothing;

    "dump type 1" [Bitmap64 Summary64] |case| case.put_u32(0xf98, 1)
        => Broken "DumpType" "PARTIALLY CORRUPT" Whole;
    "dump type PAGE" [Bitmap64 Summary64] |case| case.unset(0xf98, 4)
        => Broken "DumpType" "PARTIALLY CORRUPT" Whole;
    "dump type 2" [Bitmap64] |case| case.put_u32(0xf98, 2)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
    "dump type 5" [Summary64] |case| case.put_u32(0xf98, 5)
        => Broken "DumpType" "PARTIALLY CORRUPT" Whole;
    "dump type 6" [Bitmap64] |case| case.put_u32(0xf98, 6)
        => Silent "" "" Nothing;
    "dump type 5 of a kernel dump" [Kernel64] |case| case.put_u32(0xf98, 5)
        => Silent "" "" Nothing;

    "dump space 0" [Bitmap64 Kernel64 Summary64] |case| case.put_u64(0xfa0, 0)
        => Broken "RequiredDumpSpace" "PARTIALLY CORRUPT" Whole;
    "dump space too small" [Bitmap64 Kernel64 Summary64] |case| case.put_u64(0xfa0, 0x3000)
        => Broken "RequiredDumpSpace" "PARTIALLY CORRUPT" Whole;
    "dump space PAGE" [Summary64] |case| case.unset(0xfa0, 8)
        => Silent "" "" Nothing;
    // Of a file of more than 16 MiB the rest is not read.
    "dump space PAGE" [Bitmap64] |case| case.unset(0xfa0, 8)
        => Broken "RequiredDumpSpace" "PARTIALLY CORRUPT" Whole;
    "dump space too large" [Kernel64 Summary64] |case| {
        case.put_u64(0xfa0, 10 * case.dump.bytes.len() as u64);
    } => Silent "" "" Nothing;
    "dump space too large" [Bitmap64] |case| {
        case.put_u64(0xfa0, 10 * case.dump.bytes.len() as u64);
    } => Broken "RequiredDumpSpace" "PARTIALLY CORRUPT" Whole;

    "bitmap tag" [Bitmap64 Summary64] |case| case.put(0x2000, b"XDMP")
        => Refused "bitmap" "Win32 error 0n1392" Whole;
    "second bitmap tag" [Bitmap64 Summary64] |case| case.put(0x2004, b"XUMP")
        => Silent "" "" Nothing;
    "the other bitmap tag" [Bitmap64] |case| case.put(0x2000, b"SDMP")
        => Silent "" "" Nothing;
    "bitmap options" [Bitmap64 Summary64] |case| case.put_u32(0x2008, 0xff)
        => Silent "" "" Nothing;
    "first page later" [Bitmap64] |case| case.add_word(0x2020, 0x1000)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "first page at 0" [Bitmap64] |case| case.put_u64(0x2020, 0)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "bit count too high" [Bitmap64] |case| case.add_word(0x2028, 1)
        => Broken "pages of the bitmap" "inconsistent set-bit count" Whole;
    "bit count 0" [Bitmap64] |case| case.put_u64(0x2028, 0)
        => Broken "pages of the bitmap" "inconsistent set-bit count" Whole;
    "half the bits" [Bitmap64] |case| case.put_u64(0x2030, case.word(0x2030) / 2)
        => Broken "bits of the bitmap" "PARTIALLY CORRUPT" Whole;
    "twice the bits" [Bitmap64] |case| case.put_u64(0x2030, case.word(0x2030) * 2)
        => Silent "" "" Nothing;
    "no bits" [Bitmap64] |case| case.put_u64(0x2030, 0)
        => Broken "bits of the bitmap" "PARTIALLY CORRUPT" Whole;
    "a bit too many" [Bitmap64] |case| case.put(0x2038, &[case.dump.bytes[0x2038] | 1])
        => Broken "pages of the bitmap" "inconsistent set-bit count" No;
    "a bit too few" [Bitmap64] |case| case.put(0x2038, &[case.dump.bytes[0x2038] & !4])
        => Broken "pages of the bitmap" "inconsistent set-bit count" No;

    "first page later" [Summary64] |case| case.add_u32(0x200c, 0x1000)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "first page at 0" [Summary64] |case| case.put_u32(0x200c, 0)
        => Broken "offset of the first page" "PARTIALLY CORRUPT" Whole;
    "half the bits" [Summary64] |case| case.put_u32(0x2010, case.get_u32(0x2010) / 2)
        => Broken "bits of the bitmap" "PARTIALLY CORRUPT" Whole;
    "no bits" [Summary64] |case| case.put_u32(0x2010, 0)
        => Broken "bits of the bitmap" "PARTIALLY CORRUPT" Whole;
    "bit count too high" [Summary64] |case| case.add_u32(0x2014, 1)
        => Broken "pages of the bitmap" "inconsistent set-bit count" Whole;
    "bit count 0" [Summary64] |case| case.put_u32(0x2014, 0)
        => Broken "pages of the bitmap" "inconsistent set-bit count" Whole;
    "other bits halved" [Summary64] |case| case.put_u32(0x2018, case.get_u32(0x2018) / 2)
        => Silent "" "" Nothing;
    "other bits 0" [Summary64] |case| case.put_u32(0x2018, 0)
        => Silent "" "" Nothing;
    "a bit too many" [Summary64] |case| case.put(0x2028, &[case.dump.bytes[0x2028] | 1])
        => Broken "pages of the bitmap" "inconsistent set-bit count" No;
    "no runs" [Summary64] |case| case.put_u32(0x88, 0)
        => Refused "PhysicalMemoryBlock.NumberOfRuns" "Dump file is too large to map" Whole;
    "dump type 2" [Kernel64] |case| case.put_u32(0xf98, 2)
        => Broken "DumpType" "PARTIALLY CORRUPT" Whole;
    "dump type 6" [Summary64] |case| case.put_u32(0xf98, 6)
        => Broken "DumpType" "PARTIALLY CORRUPT" Whole;
    "dump type 4" [Bitmap64 Summary64] |case| case.put_u32(0xf98, 4)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
};
