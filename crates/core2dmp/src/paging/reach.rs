//! Every frame that page tables reach, of many address spaces, each table once.
//!
//! ```text
//! root A --+--> table --> table --> pages      into_pages(): pages, also in transition,
//! root B --+      ^ shared: walked once       and the tables on the way
//! ```
//!
//! Windows enters a table into itself so that it can be read as memory. Such an entry is passed over: through
//! it, one process's kernel half would reach all its page tables, those of its user half as well.

use super::mode::Level;
use super::walk::Entry;
use super::{AddressSpace, NotPresent, PagingMode};
use crate::address::{Gpa, Gva, PAGE_SIZE, Pfn};
use crate::memory::{FrameSet, Frames, PhysicalMemory};

/// Tables that are walked, for each frame of the memory: page tables are a five-hundredth of what they map, and
/// an attacker's memory is not made of tables alone.
const TABLES_PER_FRAME: u64 = 8;
/// Tables that are walked however small the memory.
const LEAST_TABLES: u64 = 1 << 14;

/// Which half of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReachedHalf {
    /// From this address on.
    Kernel(Gva),
    /// Below this address.
    User(Gva),
}

/// Collects the frames that page tables reach.
#[derive(Debug)]
pub struct Reach<'m> {
    memory: &'m PhysicalMemory,
    mode: PagingMode,
    /// What is looked at; nothing else becomes part of the result.
    within: FrameSet,
    pages: FrameSet,
    /// Tables that were walked, and large pages that were added, by level.
    walked: Vec<FrameSet>,
    /// Tables that a root names: an entry further down that names one of them leads back up.
    upper: FrameSet,
    budget: u64,
}

impl<'m> Reach<'m> {
    /// Looks at no frames but those of `within`.
    #[must_use]
    pub fn new(memory: &'m PhysicalMemory, mode: PagingMode, within: FrameSet) -> Self {
        let budget = (within.len() / TABLES_PER_FRAME).max(LEAST_TABLES);
        Self {
            memory,
            mode,
            within,
            pages: FrameSet::default(),
            walked: vec![FrameSet::default(); mode.levels().len()],
            upper: FrameSet::default(),
            budget,
        }
    }

    /// Adds what one half of an address space reaches; false if the tables were too many, and the rest is
    /// left out.
    pub fn add(&mut self, root: Gpa, half: ReachedHalf) -> bool {
        let space = AddressSpace::new(self.memory, self.mode, root);
        let Some((top, below)) = self.mode.levels().split_first() else {
            return true;
        };
        let root = space.root();
        self.take(Frames::new(root.pfn(), 1));
        self.upper = FrameSet::default();
        self.upper.insert_one(root.pfn());
        let entries: Vec<(Gva, u64)> = (0..top.entries())
            .filter_map(|index| {
                let gva = space.first_address(top, index);
                Some((gva, space.entry(root, index).ok()?))
            })
            .collect();
        for (_, raw) in &entries {
            if let Entry::Table(next) = self.mode.decode(*raw, top) {
                self.upper.insert_one(next.pfn());
            }
        }
        for (gva, raw) in entries {
            let last = gva.saturating_add(top.span().saturating_sub(1));
            let wanted = match half {
                ReachedHalf::Kernel(first) => last >= first,
                ReachedHalf::User(end) => gva < end,
            };
            if wanted && !self.entry(&space, raw, top, below, true) {
                return false;
            }
        }
        true
    }

    /// What was reached.
    #[must_use]
    pub fn into_pages(self) -> FrameSet {
        self.pages
    }

    fn entry(
        &mut self,
        space: &AddressSpace<'_>,
        raw: u64,
        level: &Level,
        below: &[Level],
        is_top: bool,
    ) -> bool {
        match self.mode.decode(raw, level) {
            Entry::Table(next) => {
                let leads_up = if is_top {
                    next == space.root()
                } else {
                    self.upper.contains(next.pfn())
                };
                leads_up || self.table(space, next, below)
            }
            Entry::Page { base, bytes } => {
                let frames = Frames::new(base.pfn(), bytes / PAGE_SIZE);
                if frames.count == 1 || self.is_new(base.pfn(), below.len()) {
                    self.take(frames);
                }
                true
            }
            Entry::Invalid(NotPresent::Transition(pfn)) if below.is_empty() => {
                self.take(Frames::new(pfn, 1));
                true
            }
            Entry::Invalid(_) => true,
        }
    }

    fn table(&mut self, space: &AddressSpace<'_>, table: Gpa, levels: &[Level]) -> bool {
        let Some((level, below)) = levels.split_first() else {
            return true;
        };
        if !self.within.contains(table.pfn()) || !self.is_new(table.pfn(), levels.len()) {
            return true;
        }
        let Some(budget) = self.budget.checked_sub(1) else {
            return false;
        };
        self.budget = budget;
        self.take(Frames::new(table.pfn(), 1));
        (0..level.entries()).all(|index| {
            // An unreadable table reaches nothing.
            let raw = space.entry(table, index).unwrap_or(0);
            raw == 0 || self.entry(space, raw, level, below, false)
        })
    }

    /// Whether a table, or a large page, of this level is met for the first time.
    fn is_new(&mut self, pfn: Pfn, levels_below: usize) -> bool {
        match self.walked.get_mut(levels_below) {
            Some(walked) => walked.insert_one(pfn),
            None => true,
        }
    }

    /// Adds those of the frames that are looked at.
    fn take(&mut self, frames: Frames) {
        if frames.count == 1 {
            if self.within.contains(frames.first) {
                self.pages.insert_one(frames.first);
            }
            return;
        }
        for run in self.within.runs_in(frames).collect::<Vec<_>>() {
            self.pages.insert(run);
        }
    }
}
