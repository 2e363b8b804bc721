//! Dumps whose pages a bitmap names.
//!
//! ```text
//! 5, 6  +00 FDMP/SDMP DUMP  +20 first page u64  +28 set bits u64  +30 bits u64  +38 bitmap
//! 2     +00 SDMP DUMP  +08 0  +0c first page u32  +10 bits u32  +14 set bits u32  +18 bits u32  +20 pointer
//!       bitmap at +28; 32 bit: the pointer is at +1c, the bitmap at +20
//! ```

use super::{Dump, pages};
use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

/// A dump of all memory (type 5, as of active memory) or of the kernel's (type 6), with a bitmap.
#[must_use]
pub fn bitmap(guest: &Guest, kernel: bool) -> Dump {
    let (pfns, kind, tag) = if kernel {
        (pages::written(guest), 6, b"SDMP")
    } else {
        (pages::present(guest), 5, b"FDMP")
    };
    let mut dump = Dump::new(guest, kind);
    let bits = bits(&pfns);
    let mut head = vec![0; 0x38];
    put_bytes(&mut head, 0, tag);
    put_bytes(&mut head, 4, b"DUMP");
    put_u64(&mut head, 0x20, first_page(&dump, 0x38, bits));
    put_u64(&mut head, 0x28, pfns.len() as u64);
    put_u64(&mut head, 0x30, bits);
    append(&mut dump, &head, &pfns);
    dump.with_pages(guest, pfns)
}

/// A kernel dump of Windows up to 7 (type 2).
#[must_use]
pub fn summary(guest: &Guest) -> Dump {
    let pfns = pages::written(guest);
    let mut dump = Dump::new(guest, 2);
    let bits = bits(&pfns);
    let size = if guest.expected.arch.is_64() {
        0x28
    } else {
        0x20
    };
    let mut head = vec![0; size];
    put_bytes(&mut head, 0, b"SDMP");
    put_bytes(&mut head, 4, b"DUMP");
    put_u32(&mut head, 0x0c, first_page(&dump, size, bits) as u32);
    put_u32(&mut head, 0x10, bits as u32);
    put_u32(&mut head, 0x14, pfns.len() as u32);
    put_u32(&mut head, 0x18, bits as u32);
    append(&mut dump, &head, &pfns);
    dump.with_pages(guest, pfns)
}

/// One past the highest frame.
fn bits(pfns: &[u64]) -> u64 {
    pfns.last().map_or(0, |last| last + 1)
}

fn first_page(dump: &Dump, head: usize, bits: u64) -> u64 {
    let end = dump.bytes.len() + head + bits.div_ceil(8) as usize;
    end.next_multiple_of(PAGE) as u64
}

/// Appends the header and the bitmap of ascending frames.
fn append(dump: &mut Dump, head: &[u8], pfns: &[u64]) {
    dump.bytes.extend(head);
    let mut bitmap = vec![0_u8; bits(pfns).div_ceil(8) as usize];
    for &pfn in pfns {
        bitmap[pfn as usize / 8] |= 1 << (pfn % 8);
    }
    dump.bytes.extend(bitmap);
    let whole = dump.bytes.len().next_multiple_of(PAGE);
    dump.bytes.resize(whole, 0);
}
