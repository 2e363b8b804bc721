//! Pages that reveal their own frame: top-level page tables map themselves.
//!
//! ```text
//! x64   entry i of the upper half holds the table's own frame; i is the same in all tables of a system
//! ARM64 the same, with other bits in the entry
//! x86   entry 0x300 of the directory does
//! PAE   entries 0..3 of the last directory hold the four directories': the fourth is itself
//! a processor's control region holds its own address, which the tables lead to a frame
//! ```
//!
//! Where such a page is in the file against the frame that it holds is the shift of the file there. One page proves
//! nothing: any entry may hold any frame. What proves it is that all processes' tables agree about entry and shift.
//!
//! Sources: Volatility 3 (`DtbSelfRef`), `MemProcFS`; the self-map of PAE, Windows Internals, 4th edition, chapter 7.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::address::{Gva, PAGE_BYTES, Pfn};
use crate::format::nt::{LAYOUT32, LAYOUT64};
use crate::format::{u32_at, u64_at};
use crate::memory::{Frames, PhysicalMemory};

/// Entries that may map their own table and are kept: a few for each process, and those of pages that are none.
const MAX_MARKS: usize = 1 << 20;
/// Processors' control regions that are kept.
const MAX_REGIONS: usize = 1 << 10;
/// Entries of a table's upper half at least: the kernel's, and the page tables'; with five levels two.
const LEAST_ENTRIES: usize = 2;
/// Entries of a table's upper half at most.
const MOST_ENTRIES: usize = 64;

/// Control regions of x86 begin at a multiple of this.
const REGION_STEP: usize = 0x100;

/// The entry that maps the table itself, and the kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    X64(u16),
    Arm64(u16),
    X86,
    Pae,
}

/// A page that may be a top-level table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Where it is, by the place in the file.
    pub(super) at: Pfn,
    /// The frame that it says it is.
    pub(super) own: Pfn,
}

impl Mark {
    /// Frames that the file is behind the memory here; negative where it has something in front.
    pub(super) fn shift(self) -> i64 {
        signed(self.own).saturating_sub(signed(self.at))
    }
}

fn signed(pfn: Pfn) -> i64 {
    i64::try_from(pfn.get()).unwrap_or(i64::MAX)
}

/// What pages say of themselves.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Pages that may be top-level tables.
    pub(super) tables: BTreeMap<Kind, Vec<Mark>>,
    /// Processors' control regions, which hold their own address: the page, and that address.
    pub(super) regions: Vec<(Pfn, Gva)>,
    count: usize,
}

/// Looks through the memory, whose frames are the pages of the file.
pub(super) fn find(memory: &PhysicalMemory) -> Marks {
    let mut marks = Marks::default();
    let all = Frames::between(Pfn::new(0), Pfn::END);
    memory.scan(all, |gpa, block| {
        for (number, page) in (0..).zip(block.chunks_exact(PAGE_BYTES)) {
            marks.look(gpa.pfn().saturating_add(number), page);
            if marks.count >= MAX_MARKS {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    marks
}

impl Marks {
    fn look(&mut self, at: Pfn, page: &[u8]) {
        if let Some(entries) = x64(page) {
            for (index, entry) in entries.filter(|(_, entry)| entry & 0x83 == 3) {
                self.add(Kind::X64(index), at, entry);
            }
        }
        if let Some(entries) = arm64(page) {
            for (index, entry) in entries.filter(|(_, entry)| may_be_own_arm64(*entry)) {
                self.add(Kind::Arm64(index), at, entry);
            }
        }
        if let Some(entry) = pae(page) {
            self.add(Kind::Pae, at, entry);
        }
        if let Some(entry) = x86(page) {
            self.add(Kind::X86, at, u64::from(entry));
        }
        if self.regions.len() < MAX_REGIONS {
            self.regions.extend(region(page).map(|gva| (at, gva)));
        }
    }

    fn add(&mut self, kind: Kind, at: Pfn, entry: u64) {
        let own = Pfn::new(entry >> 12 & 0xf_ffff_ffff);
        self.tables.entry(kind).or_default().push(Mark { at, own });
        self.count = self.count.saturating_add(1);
    }
}

/// The address of the page of a control region that begins in it: it holds its own address, and that of the control
/// block inside. Those of x86 need not begin at a page.
fn region(page: &[u8]) -> Option<Gva> {
    let wide = u64_at(page, LAYOUT64.pcr_self).filter(|own| {
        let block = own.checked_add(LAYOUT64.pcr_prcb as u64);
        own >> 47 == 0x1_ffff
            && own & 0xfff == 0
            && u64_at(page, LAYOUT64.pcr_current_prcb) == block
    });
    let narrow = || {
        (0..PAGE_BYTES).step_by(REGION_STEP).find_map(|start| {
            let word = |offset: usize| u32_at(page, start.checked_add(offset)?).map(u64::from);
            let own = word(LAYOUT32.pcr_self)?;
            let block = own.checked_add(LAYOUT32.pcr_prcb as u64);
            let is_one = own >= 0x8000_0000
                && own & 0xfff == start as u64
                && word(LAYOUT32.pcr_current_prcb) == block;
            is_one.then_some(own & !0xfff)
        })
    };
    wide.or_else(narrow).map(Gva::new)
}

/// The entries of the upper half, if it may be the kernel's of a top-level table: few, of the supervisor alone, and
/// none of them global or a large page, as entries of the lowest level are.
fn x64(page: &[u8]) -> Option<impl Iterator<Item = (u16, u64)> + '_> {
    const NEVER: u64 = 0x7fff_0000_0000_0184;
    upper_half(page, |all| all & 1 != 0 && all & NEVER == 0)
}

/// The same of ARM64: tables that only the kernel's exception level may write, below 2^48.
fn arm64(page: &[u8]) -> Option<impl Iterator<Item = (u16, u64)> + '_> {
    const NEVER: u64 = 0x001f_0000_0000_00c0;
    upper_half(page, |all| all & 3 == 3 && all & NEVER == 0)
}

/// The entries of the upper half that are not zero, if all of them together may be a table's and they are as many as
/// a top-level table has.
fn upper_half(
    page: &[u8],
    may_be: impl Fn(u64) -> bool,
) -> Option<impl Iterator<Item = (u16, u64)> + '_> {
    let (words, _) = page.as_chunks::<8>();
    let upper = words.get(256..)?;
    // All of memory passes here, without an early end: that becomes vector code.
    let all = upper
        .iter()
        .fold(0, |all, word| all | u64::from_le_bytes(*word));
    if !may_be(all) {
        return None;
    }
    let entries = (256..)
        .zip(upper)
        .map(|(index, word)| (index, u64::from_le_bytes(*word)))
        .filter(|(_, entry)| *entry != 0);
    let count = entries.clone().count();
    (LEAST_ENTRIES..=MOST_ENTRIES)
        .contains(&count)
        .then_some(entries)
}

/// Whether an entry of ARM64 may be a table's for itself: a table, accessed or never executed, as none of x64 is.
fn may_be_own_arm64(entry: u64) -> bool {
    entry & 3 == 3 && (entry & 1 << 10 != 0 || entry >> 53 & 3 == 3)
}

/// The fourth entry of what may be the last of the four directories of PAE.
fn pae(page: &[u8]) -> Option<u64> {
    const NEVER: u64 = 0x7fff_0000_0000_0000;
    let first: [u64; 4] = [0, 8, 16, 24].map(|at| u64_at(page, at).unwrap_or(0));
    let may_be = first.iter().all(|entry| entry & 0x87 == 3);
    let [a, b, c, d] = first.map(|entry| entry >> 12);
    let distinct = a != b && a != c && a != d && b != c && b != d && c != d;
    let (words, _) = page.as_chunks::<8>();
    let all = || {
        words
            .iter()
            .fold(0, |all, word| all | u64::from_le_bytes(*word))
    };
    (may_be && distinct && all() & NEVER == 0).then_some(first[3])
}

/// Entry 0x300 of what may be a directory of x86: those of the kernel's half are tables or nothing.
fn x86(page: &[u8]) -> Option<u32> {
    let own = u32_at(page, 0xc00).filter(|entry| entry & 0x87 == 3)?;
    let (words, _) = page.as_chunks::<4>();
    let upper = words
        .get(512..)?
        .iter()
        .map(|word| u32::from_le_bytes(*word));
    let sound = upper.clone().all(|entry| entry == 0 || entry & 1 == 1);
    let count = upper.filter(|entry| entry & 0x7 == 3).count();
    (sound && count > LEAST_ENTRIES).then_some(own)
}
