//! The memory manager's view: pages of processes, and the PFN database with what every frame is used for.
//!
//! ```text
//! MmPfnDatabase -> MMPFN[frame 0], MMPFN[frame 1], ..     PteAddress, ReferenceCount, PageLocation (3 bits of a byte)
//!                  0 zeroed  1 free  2 standby  3 modified  6 active
//! ```
//!
//! References: MMPFN in the public symbols of each release, as Volatility's and Rekall's profiles list it, and in
//! ReactOS; names and numbers of the lists in "Windows Internals".

use std::collections::BTreeMap;

use crate::bytes::{put_bytes, put_u64};
use crate::windows::arch::Arch;
use crate::windows::expected::UserMemory;
use crate::windows::memory::{PAGE, Place};
use crate::windows::objects::ProcessObject;
use crate::windows::paging::USER;
use crate::windows::world::World;

/// Where a process's first own page is.
const USER_BASE: u64 = 0x1_0000;
/// Bits beside the location: cache attribute and more, which a reader has to mask.
const OTHER_BITS: u8 = 0x50;

/// Gives every process but System pages of its own.
pub(crate) fn write_user_pages(
    world: &mut World<'_>,
    processes: &[ProcessObject],
) -> Vec<UserMemory> {
    let pages = u64::from(world.spec.user_pages);
    let mut all = Vec::new();
    for process in processes.iter().filter(|process| process.fact.pid != 4) {
        let mut pfns = Vec::new();
        for page in 0..pages {
            let pfn = world.ram.allocator.take(Place::High);
            let va = USER_BASE + page * PAGE as u64;
            process.space.map(&mut world.ram, va, pfn, USER);
            let text = format!("page {page} of process {}", process.fact.pid);
            world.ram.frames.write(pfn << 12, text.as_bytes());
            pfns.push(pfn);
        }
        all.push(UserMemory {
            pid: process.fact.pid,
            pfns,
        });
    }
    all
}

/// Writes the PFN database; the frames that are free or zeroed.
pub(crate) fn write_pfn_database(world: &mut World<'_>, processes: &[ProcessObject]) -> Vec<u64> {
    let layout = world.layout().mmpfn;
    let base = world.layout().regions.pfn_database;
    let runs = world.map.runs.clone();
    for &(first, count) in &runs {
        let (start, end) = (
            base + first * layout.size,
            base + (first + count) * layout.size,
        );
        for page in start / 0x1000..end.div_ceil(0x1000) {
            if world
                .space
                .translate(&world.ram.frames, page << 12)
                .is_none()
            {
                world.map_pages(page << 12, 1, Place::High);
            }
        }
    }
    let active = active(world, processes);
    let mut free = Vec::new();
    for &(first, count) in &runs {
        for pfn in first..first + count {
            let mut entry = vec![0; layout.size as usize];
            let written = world.ram.frames.is_written(pfn);
            let (location, pte) = match active.get(&pfn) {
                Some(&pte) => (6, pte),
                None if written => (6, 0),
                None => unused(world, pfn),
            };
            if location < 2 {
                free.push(pfn);
            }
            let width = world.layout().arch.pointer() as usize;
            put_bytes(&mut entry, layout.pte_address, &pte.to_le_bytes()[..width]);
            entry[layout.reference_count] = u8::from(location == 6);
            entry[layout.location] = location | OTHER_BITS;
            if layout.size == 0x30 {
                // u4: frame of the table, flags above.
                put_u64(&mut entry, 0x28, 0x0800_0000_0000_0000 | pfn >> 9);
            }
            world.write(base + pfn * layout.size, &entry);
        }
    }
    free
}

/// What a frame is that nothing is written to: zeroed if it is zeros, else on one of the other lists.
fn unused(world: &World<'_>, pfn: u64) -> (u8, u64) {
    let mut page = [0; PAGE];
    world.ram.frames.read_frame(pfn, &mut page);
    if page.iter().all(|&byte| byte == 0) {
        return (0, 0);
    }
    let prototype = world.layout().regions.pool + (pfn & 0xff) * 8;
    ([1, 2, 3][pfn as usize % 3], prototype)
}

/// The frames that page tables map or consist of, with the address of the entry that does so.
fn active(world: &World<'_>, processes: &[ProcessObject]) -> BTreeMap<u64, u64> {
    let arch = world.layout().arch;
    let pte_base = world.layout().regions.pte_base;
    let mut active = BTreeMap::new();
    for process in processes {
        process
            .space
            .visit(&world.ram.frames, &mut |va, shift, pfn| {
                // The self-map shows tables once more.
                if va >= pte_base && va - pte_base < table_bytes(arch) {
                    return;
                }
                let mut entry = va;
                let levels = arch.levels_up(shift);
                for _ in 0..levels {
                    entry = pte_of(arch, pte_base, entry);
                }
                let frames = if levels > 1 && process.space.is_large(&world.ram.frames, va, shift) {
                    1 << (shift - 12)
                } else {
                    1
                };
                for frame in pfn..pfn + frames {
                    active.entry(frame).or_insert(entry);
                }
            });
    }
    active
}

/// Bytes that the tables of all memory would take.
fn table_bytes(arch: Arch) -> u64 {
    match arch {
        Arch::X64La57 => 1 << 48,
        Arch::X64 | Arch::Arm64 => 1 << 39,
        Arch::X86Pae => 8 << 20,
        Arch::X86 => 4 << 20,
    }
}

/// The address of the page table entry of an address.
fn pte_of(arch: Arch, base: u64, va: u64) -> u64 {
    match arch {
        Arch::X64La57 => base + ((va >> 9) & 0xffff_ffff_fff8),
        Arch::X64 | Arch::Arm64 => base + ((va >> 9) & 0x7f_ffff_fff8),
        Arch::X86Pae => base + (va >> 12) * 8,
        Arch::X86 => base + (va >> 12) * 4,
    }
}
