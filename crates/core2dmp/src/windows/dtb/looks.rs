//! What the root of page tables looks like: it maps itself.
//!
//! ```text
//! x64   one entry of the upper half leads back to the table        (where: random since 1607)
//! ARM64 the same; the entry is accessed, or executable neither for the kernel nor for users
//! x86   entry 0x300 leads back to the directory
//! PAE   four directories in 32 bytes; the last maps all four
//! ```
//!
//! Sources: Volatility 2 and 3 (DTB scanners), memflow, `MemProcFS`; Arm ARM, D8.3 (AF, PXN, UXN).

use crate::address::Gpa;
use crate::format::{u32_at, u64_at};
use crate::memory::PhysicalMemory;
use crate::paging::PagingMode;

/// Places that look like the root of PAE tables and are followed: one for each process.
const MAX_FOLLOWED: usize = 1 << 16;

/// What a page may be the root of, by its entry for itself.
pub(super) fn look(
    memory: &PhysicalMemory,
    gpa: Gpa,
    page: &[u8],
    followed: &mut usize,
) -> [Option<(Gpa, PagingMode)>; 5] {
    let own = own_entry(gpa, page);
    let long_mode = own.is_some();
    let arm64 = own.is_some_and(is_arm64);
    [
        arm64.then_some((gpa, PagingMode::Arm64)),
        long_mode.then_some((gpa, PagingMode::X64)),
        long_mode.then_some((gpa, PagingMode::X64La57)),
        looks_x86(gpa, page).then_some((gpa, PagingMode::X86)),
        find_pae(memory, gpa, page, followed).map(|root| (root, PagingMode::X86Pae)),
    ]
}

/// Whether a table's entry for itself may be ARM64's: Windows on x64 leaves these bits clear.
fn is_arm64(entry: u64) -> bool {
    const ACCESSED: u64 = 1 << 10;
    const NEVER_EXECUTED: u64 = 3 << 53;
    entry & ACCESSED != 0 || entry & NEVER_EXECUTED == NEVER_EXECUTED
}

/// The one entry of the upper half that leads back to the table: where depends on the build, and is random since 1607.
fn own_entry(gpa: Gpa, page: &[u8]) -> Option<u64> {
    const MASK: u64 = 0x0000_ffff_ffff_f083;
    const LOW_MASK: u32 = 0xffff_f083;
    let own = gpa.get() | 3;
    let own_bytes = own.to_le_bytes();
    let low = u32_at(&own_bytes, 0)?;
    let (entries, _) = page.as_chunks::<8>();
    let upper = entries.get(256..).unwrap_or_default();
    // All of memory passes here. Half of each entry, without an early end: that becomes vector code.
    let near = upper.iter().fold(false, |near, [a, b, c, d, ..]| {
        near | (u32::from_le_bytes([*a, *b, *c, *d]) & LOW_MASK == low)
    });
    if !near {
        return None;
    }
    let mut entries = upper
        .iter()
        .map(|entry| u64::from_le_bytes(*entry))
        .filter(|entry| entry & MASK == own);
    let first = entries.next()?;
    entries.next().is_none().then_some(first)
}

/// Entry 0x300 leads back to the directory: page tables are mapped at 0xc0000000.
fn looks_x86(gpa: Gpa, page: &[u8]) -> bool {
    u32_at(page, 0xc00)
        .is_some_and(|entry| u64::from(entry & 0xffff_f000) == gpa.get() && entry & 0x83 == 3)
}

/// Four directories, of which the last maps all four at 0xc0600000. A table is 32 bytes, anywhere in a page.
fn find_pae(memory: &PhysicalMemory, gpa: Gpa, page: &[u8], followed: &mut usize) -> Option<Gpa> {
    // All of memory passes here: of each table the first entry's flags, without an early end.
    let (tables, _) = page.as_chunks::<32>();
    let near = tables.iter().fold(false, |near, [low, next, ..]| {
        near | (u16::from_le_bytes([*low, *next]) & 0xfff == 1)
    });
    if !near {
        return None;
    }
    tables.iter().zip(0_u64..).find_map(|(table, index)| {
        let four: [u64; 4] = [0, 8, 16, 24].map(|at| u64_at(table, at).unwrap_or(0));
        let plausible = four
            .iter()
            .all(|entry| entry & 0xfff0_0000_0000_0fff == 1 && *entry > 0xfff);
        if !plausible || *followed >= MAX_FOLLOWED {
            return None;
        }
        *followed = followed.saturating_add(1);
        let mut directory = [0; 32];
        let last = four.last()? & !0xfff;
        memory.read(Gpa::new(last), &mut directory).ok()?;
        let (own, _) = directory.as_chunks::<8>();
        let maps_all = own
            .iter()
            .zip(four)
            .all(|(entry, pdpte)| u64::from_le_bytes(*entry) & 0x000f_ffff_ffff_f001 == pdpte);
        maps_all.then(|| gpa.saturating_add(index << 5))
    })
}
