//! Dumps of WinDbg since 2022: a table of ranges, then their pages.
//!
//! ```text
//! +00 0x40 RDMP DUMP 0  +10 bytes from +20 to the first page  +18 first page  +20 ranges u32, junk u32, pages u64
//! +30 { first frame u64, frames u64 } ...  the first page at once, not aligned
//! ```
//!
//! Reference: files that dbgeng 10.0.29507 wrote (`.dump /f`, `/k`); it reads as many ranges as +20 counts.

use super::{Dump, pages};
use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::windows::guest::Guest;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// `.dump /k`, type 8.
    Kernel,
    /// `.dump /ka`, type 9.
    KernelAndUser,
    /// `.dump /f`, type 0xA.
    Complete,
}

/// A dump with a table of ranges. Types 8 and 9 hold the frames that something was written to.
#[must_use]
pub fn rdmp(guest: &Guest, kind: Ranges) -> Dump {
    let (pfns, number) = match kind {
        Ranges::Kernel => (pages::written(guest), 8),
        Ranges::KernelAndUser => (pages::written(guest), 9),
        Ranges::Complete => (pages::present(guest), 0xa),
    };
    let mut dump = Dump::new(guest, number);
    let ranges = ranges(&pfns);
    let start = dump.bytes.len();
    let first_page = start + 0x30 + ranges.len() * 16;
    let mut head = vec![0; first_page - start];
    put_u32(&mut head, 0, 0x40);
    put_bytes(&mut head, 4, b"RDMPDUMP");
    put_u64(&mut head, 0x10, (first_page - start - 0x20) as u64);
    put_u64(&mut head, 0x18, first_page as u64);
    put_u32(&mut head, 0x20, ranges.len() as u32);
    // What was on the writer's stack.
    put_u32(&mut head, 0x24, 0x7fff);
    put_u64(&mut head, 0x28, pfns.len() as u64);
    for (i, &(first, count)) in ranges.iter().enumerate() {
        put_u64(&mut head, 0x30 + i * 16, first);
        put_u64(&mut head, 0x38 + i * 16, count);
    }
    dump.bytes.extend(head);
    dump.with_pages(guest, pfns)
}

/// Ascending frames as ranges.
fn ranges(pfns: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &pfn in pfns {
        match ranges.last_mut() {
            Some((first, count)) if *first + *count == pfn => *count += 1,
            _ => ranges.push((pfn, 1)),
        }
    }
    ranges
}
