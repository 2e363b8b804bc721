//! The PFN database: which frames are free.
//!
//! ```text
//! MmPfnDatabase -> MMPFN[0], MMPFN[1], ..    { PteAddress, ReferenceCount, PageLocation, .. }
//!
//! entry size     pages that are mapped, at known addresses: their entries hold the address of their PTE
//! PageLocation   the one byte that says 6 (active) in all of those, and 0 (zeroed) only for pages of zeros
//! ```
//!
//! An MMPFN has had six layouts since NT 5.2, and none is documented; memory itself proves the one it has. Where it
//! does not, no frame is called free.
//!
//! Sources: names and numbers of the lists, Windows Internals, 7th edition, part 1, chapter 5; that each entry holds
//! the address of the page table entry, `!pfn` in the debugger's documentation.

use std::ops::Range;

use super::Windows;
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::format::kdbg::PTE_BASE;
use crate::format::{u32_at, u64_at};
use crate::memory::{FrameSet, Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

/// `ZeroedPageList` and `FreePageList`.
const FREE: [u8; 2] = [0, 1];
const ZEROED: u8 = 0;
const ACTIVE: u8 = 6;
/// `PageLocation` has three bits.
const LOCATION_BITS: u8 = 7;

/// Mapped pages that have to agree: fewer prove nothing.
const LEAST_SAMPLES: usize = 12;
/// Mapped pages that are looked at.
const MOST_SAMPLES: usize = 1024;
/// Pages of each module that are looked at.
const PAGES_PER_MODULE: u64 = 8;
/// Frames over all memory that are asked whether a zeroed page is zeros.
const PROBES: u64 = 2048;
/// Zeroed pages that are read at least, where there are as many.
const LEAST_ZEROED: usize = 8;
/// Zeroed pages that are read at most.
const MOST_ZEROED: usize = 64;
/// Entries that are read at once.
const BLOCK: u64 = 4096;

/// Where the database is, and how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PfnDatabase {
    base: Gva,
    /// Bytes of an entry.
    size: u64,
    /// The byte of an entry whose lowest bits are `PageLocation`.
    location: usize,
}

/// A mapped page: its frame, and the address of its page table entry.
#[derive(Debug, Clone, Copy)]
struct Sample {
    pfn: Pfn,
    pte: Gva,
}

impl PfnDatabase {
    /// Finds out how the database is laid out.
    ///
    /// # Errors
    /// What memory does not prove, in words.
    pub fn find(memory: &PhysicalMemory, windows: &Windows) -> Result<Self, String> {
        let space = windows.space(memory);
        let base = windows
            .pfn_database
            .as_ref()
            .ok_or("MmPfnDatabase is not known")?
            .value;
        let samples = samples(&space, windows)?;
        let Entries {
            size,
            pte_address,
            entries,
        } = entries(&space, base, &samples)?;
        let mut candidates = Vec::new();
        let fields = 0..usize::try_from(size).unwrap_or(0);
        // An address has constant bytes, too.
        for location in fields.filter(|field| !pte_address.contains(field)) {
            let database = Self {
                base,
                size,
                location,
            };
            let active = entries
                .iter()
                .all(|entry| database.location_in(entry) == Some(ACTIVE));
            if active && database.is_proven(&space, &windows.runs.value) {
                candidates.push(database);
            }
        }
        match candidates[..] {
            [database] => Ok(database),
            [] => Err(
                "no field of its entries tells active pages from zeroed ones that are zeros"
                    .to_owned(),
            ),
            _ => Err("more than one field of its entries could be PageLocation".to_owned()),
        }
    }

    /// The free and the zeroed frames of these; frames whose entries cannot be read are none.
    #[must_use]
    pub fn unused(&self, space: &AddressSpace<'_>, runs: &[Frames]) -> FrameSet {
        let mut unused = FrameSet::default();
        for run in runs {
            let mut at = run.first;
            while at < run.end() {
                let end = at.saturating_add(BLOCK).min(run.end());
                self.block(space, Frames::between(at, end), &mut unused);
                at = end;
            }
        }
        unused
    }

    fn block(&self, space: &AddressSpace<'_>, frames: Frames, unused: &mut FrameSet) {
        let bytes = usize::try_from(frames.count.saturating_mul(self.size)).unwrap_or(0);
        let mut block = vec![0; bytes];
        if space.read(self.entry(frames.first), &mut block).is_err() {
            if let Some(half) = frames.count.checked_div(2).filter(|half| *half > 0) {
                let middle = frames.first.saturating_add(half);
                self.block(space, Frames::new(frames.first, half), unused);
                self.block(space, Frames::between(middle, frames.end()), unused);
            }
            return;
        }
        let entries = block.chunks_exact(usize::try_from(self.size).unwrap_or(1).max(1));
        for (index, entry) in (0..).zip(entries) {
            if self.location_in(entry).is_some_and(|at| FREE.contains(&at)) {
                unused.insert_one(frames.first.saturating_add(index));
            }
        }
    }

    fn entry(&self, pfn: Pfn) -> Gva {
        self.base
            .saturating_add(pfn.get().saturating_mul(self.size))
    }

    fn location_in(&self, entry: &[u8]) -> Option<u8> {
        Some(entry.get(self.location)? & LOCATION_BITS)
    }

    /// Whether the frames that would be zeroed are zeros, all but those that a running guest was just taking.
    fn is_proven(&self, space: &AddressSpace<'_>, runs: &[Frames]) -> bool {
        let total = Frames::total(runs);
        let step = (total / PROBES).max(1);
        let (mut zeroed, mut zeros) = (0_usize, 0_usize);
        for run in runs {
            let mut at = run.first;
            while at < run.end() && zeroed < MOST_ZEROED {
                let location = space.bytes(self.entry(at), usize::try_from(self.size).unwrap_or(0));
                let location = location.ok().and_then(|entry| self.location_in(&entry));
                let mut page = [0; PAGE_BYTES];
                if location == Some(ZEROED) && space.memory().read(at.gpa(), &mut page).is_ok() {
                    zeroed = zeroed.saturating_add(1);
                    if page.iter().all(|byte| *byte == 0) {
                        zeros = zeros.saturating_add(1);
                    }
                }
                at = at.saturating_add(step);
            }
        }
        zeroed >= LEAST_ZEROED && zeros.saturating_mul(16) >= zeroed.saturating_mul(15)
    }
}

/// Pages of 4 KiB that the kernel surely uses: of processes, control blocks, and modules.
fn samples(space: &AddressSpace<'_>, windows: &Windows) -> Result<Vec<Sample>, String> {
    let base = pte_base(space, windows).ok_or("the page tables do not map themselves")?;
    let processes = windows.processes.iter().map(|process| process.eprocess);
    let processors = windows.processors.iter().map(|processor| processor.prcb);
    let modules = windows.modules.iter().flat_map(|module| {
        let pages = (u64::from(module.size) / PAGE_SIZE).min(PAGES_PER_MODULE);
        let base = module.base;
        (0..pages).map(move |page| base.saturating_add(page.saturating_mul(PAGE_SIZE)))
    });
    let mut samples: Vec<Sample> = processes
        .chain(processors)
        .chain(modules)
        .filter_map(|gva| {
            let mapping = space.translate(gva).ok()?;
            (mapping.page_bytes == PAGE_SIZE).then_some(Sample {
                pfn: mapping.gpa.pfn(),
                pte: pte_of(space.mode(), base, gva)?,
            })
        })
        .take(MOST_SAMPLES)
        .collect();
    samples.sort_by_key(|sample| sample.pfn);
    samples.dedup_by_key(|sample| sample.pfn);
    Ok(samples)
}

/// What entries of mapped pages have in common.
#[derive(Debug, Default)]
struct Entries {
    /// Bytes of an entry.
    size: u64,
    /// Where the address of the page table entry is.
    pte_address: Range<usize>,
    /// Those that hold it.
    entries: Vec<Vec<u8>>,
}

/// The entries that hold the address of their page table entry, all at one place.
fn entries(space: &AddressSpace<'_>, base: Gva, samples: &[Sample]) -> Result<Entries, String> {
    let (sizes, width): (&[u64], usize) = if space.mode().is_64bit() {
        (&[0x28, 0x30, 0x38], 8)
    } else {
        (&[0x18, 0x1c, 0x20], 4)
    };
    let mut best = Entries::default();
    for &size in sizes {
        let bytes = usize::try_from(size).unwrap_or(0);
        let entries: Vec<(Sample, Vec<u8>)> = samples
            .iter()
            .filter_map(|sample| {
                let at = base.checked_add(sample.pfn.get().checked_mul(size)?)?;
                Some((*sample, space.bytes(at, bytes).ok()?))
            })
            .collect();
        for offset in (0..bytes).step_by(width) {
            let holds = |(sample, entry): &(Sample, Vec<u8>)| {
                let value = if width == 8 {
                    u64_at(entry, offset)
                } else {
                    u32_at(entry, offset).map(u64::from)
                };
                // The lowest bits are flags: a page table entry is at least four bytes wide.
                value.is_some_and(|value| (value ^ sample.pte.get()) & !3 == 0)
            };
            let holding = entries.iter().filter(|entry| holds(entry));
            let holding: Vec<Vec<u8>> = holding.map(|(_, entry)| entry.clone()).collect();
            if holding.len() > best.entries.len() {
                best = Entries {
                    size,
                    pte_address: offset..offset.saturating_add(width),
                    entries: holding,
                };
            }
        }
    }
    let (found, of) = (best.entries.len(), samples.len());
    // Pages of files belong to prototype entries: of a driver's image some do.
    if found < LEAST_SAMPLES || found.saturating_mul(2) < of {
        return Err(format!(
            "{found} of {of} mapped pages have the address of their page table entry in it"
        ));
    }
    Ok(best)
}

/// Where the page tables are in virtual memory.
fn pte_base(space: &AddressSpace<'_>, windows: &Windows) -> Option<Gva> {
    match space.mode() {
        PagingMode::X86 | PagingMode::X86Pae => Some(Gva::new(0xc000_0000)),
        _ => windows
            .kdbg
            .value
            .pointer(PTE_BASE)
            .filter(|base| space.translate(*base).is_ok() || space.mode().is_kernel(*base))
            .or_else(|| space.self_map()),
    }
}

/// The address of the page table entry of an address.
fn pte_of(mode: PagingMode, base: Gva, gva: Gva) -> Option<Gva> {
    let offset = match mode {
        PagingMode::X86 => (gva.get() >> 12 & 0xf_ffff).checked_mul(4)?,
        PagingMode::X86Pae => (gva.get() >> 12 & 0xf_ffff).checked_mul(8)?,
        PagingMode::X64 | PagingMode::Arm64 => gva.get() >> 9 & 0x7f_ffff_fff8,
        PagingMode::X64La57 => gva.get() >> 9 & 0xffff_ffff_fff8,
    };
    base.checked_add(offset)
}
