//! Ranges of frames, in the order of their pages in the file, become memory.
//!
//! ```text
//! ranges  [5..8) [2..4) [7..9)     pages  5 6 7 2 3 7 8 | end of file
//! memory  2..4, 5..8, 8..9         the second 7 is rejected; what lies beyond the file is absent
//! ```
//!
//! A frame that is named twice keeps its first page, as a search through the table from the front finds it.

use std::collections::BTreeMap;

use super::problem::{Problem, ProblemKind};
use crate::address::{PAGE_SIZE, Pfn};
use crate::memory::{Backing, Frames, RunBuilder, SortedRuns};

/// Collects ranges in file order.
#[derive(Debug, Default)]
pub(super) struct Placer {
    runs: RunBuilder,
    /// Frames that are placed: first to end; `None` while the ranges ascend by construction.
    taken: Option<BTreeMap<u64, u64>>,
    next: u64,
    size: u64,
    pages: u64,
    held: u64,
    overlap: Option<(u64, u64)>,
    scattered: bool,
}

/// What came of the ranges.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// The memory that the file holds.
    pub(super) runs: SortedRuns,
    /// Pages that the ranges name.
    pub(super) pages: u64,
    /// Pages of them that the file holds.
    pub(super) held: u64,
    /// Where the last page ends.
    pub(super) end: u64,
    /// The first frame that is named twice, and how many are.
    overlap: Option<(u64, u64)>,
    scattered: bool,
}

impl Placer {
    /// For ranges in any order whose pages begin at `first_page` of a file of `size` bytes.
    pub(super) fn new(first_page: u64, size: u64) -> Self {
        Self {
            taken: Some(BTreeMap::new()),
            ..Self::ascending(first_page, size)
        }
    }

    /// For ranges that ascend by construction.
    pub(super) fn ascending(first_page: u64, size: u64) -> Self {
        Self {
            next: first_page,
            size,
            ..Self::default()
        }
    }

    /// Adds a range; its pages follow those of the last one.
    pub(super) fn range(&mut self, first: u64, count: u64) {
        let here = self.size.saturating_sub(self.next) / PAGE_SIZE;
        let start = self.next;
        self.next = start.saturating_add(count.saturating_mul(PAGE_SIZE));
        self.pages = self.pages.saturating_add(count);
        let held = count.min(here);
        self.held = self.held.saturating_add(held);
        let end = first.saturating_add(held).min(Pfn::END.get());
        if first >= end || self.scattered {
            return;
        }
        for (from, to) in self.claim(first, end) {
            let skipped = from.saturating_sub(first).saturating_mul(PAGE_SIZE);
            let backing = Backing::File {
                offset: start.saturating_add(skipped),
            };
            let frames = Frames::between(Pfn::new(from), Pfn::new(to));
            if self.runs.push(frames, backing).is_err() {
                self.scattered = true;
                return;
            }
        }
    }

    /// The parts of a range that are not placed yet; they are from now on.
    fn claim(&mut self, first: u64, end: u64) -> Vec<(u64, u64)> {
        let Some(taken) = &mut self.taken else {
            return vec![(first, end)];
        };
        let mut touching: Vec<(u64, u64)> = taken
            .range(..=end)
            .rev()
            .map(|(from, to)| (*from, *to))
            .take_while(|(_, to)| *to >= first)
            .collect();
        touching.reverse();
        let (mut free, mut at) = (Vec::new(), first);
        for (from, to) in &touching {
            if at < *from {
                free.push((at, end.min(*from)));
            }
            let twice = end.min(*to).saturating_sub(first.max(*from));
            if twice > 0 {
                let (_, count) = self.overlap.get_or_insert((first.max(*from), 0));
                *count = count.saturating_add(twice);
            }
            at = at.max(*to);
            taken.remove(from);
        }
        if at < end {
            free.push((at, end));
        }
        let from = touching.first().map_or(first, |part| part.0.min(first));
        let to = touching.last().map_or(end, |part| part.1.max(end));
        taken.insert(from, to);
        free
    }

    /// Says that there is more than was looked at.
    pub(super) const fn give_up(&mut self) {
        self.scattered = true;
    }

    /// The memory.
    pub(super) fn finish(self) -> Placed {
        Placed {
            // Ranges without overlap: the builder cannot find one.
            runs: self.runs.finish().unwrap_or_default(),
            pages: self.pages,
            held: self.held,
            end: self.next,
            overlap: self.overlap,
            scattered: self.scattered,
        }
    }
}

impl Placed {
    /// What was odd about the ranges of the structure at `offset`.
    pub(super) fn problems(&self, what: &'static str, offset: u64, problems: &mut Vec<Problem>) {
        if let Some((first, count)) = self.overlap {
            problems.push(Problem::new(
                ProblemKind::Overlap,
                what,
                offset,
                "every frame once",
                format!("{count} frames twice, the first is {first:#x}"),
            ));
        }
        if self.scattered {
            problems.push(Problem::new(
                ProblemKind::TooScattered,
                what,
                offset,
                format!("at most {} runs of frames", RunBuilder::MAX_RUNS),
                "more; the rest is absent",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    use crate::memory::PhysicalMemory;

    /// The page of every frame, by searching the ranges from the front.
    fn naive(ranges: &[(u64, u64)], first_page: u64, size: u64) -> BTreeMap<u64, u64> {
        let (mut pages, mut at) = (BTreeMap::new(), first_page);
        for (first, count) in ranges {
            for pfn in *first..*first + *count {
                if at + 0x1000 <= size {
                    pages.entry(pfn).or_insert(at);
                }
                at += 0x1000;
            }
        }
        pages
    }

    proptest! {
        #[test]
        fn the_first_page_of_a_frame_wins(
            ranges in proptest::collection::vec((0_u64..64, 0_u64..12), 0..24),
            size in 0_u64..0x20_0000,
        ) {
            let mut placer = Placer::new(0x3000, size);
            for (first, count) in &ranges {
                placer.range(*first, *count);
            }
            let placed = placer.finish();
            let memory = PhysicalMemory::new(Arc::new(Vec::new()), placed.runs);
            let mut found = BTreeMap::new();
            for run in memory.runs() {
                for n in 0..run.frames.count {
                    let Backing::File { offset } = run.backing.skip(n) else { panic!() };
                    found.insert(run.frames.first.get() + n, offset);
                }
            }
            let wanted = naive(&ranges, 0x3000, size);
            prop_assert_eq!(found, wanted);
        }
    }
}
