//! Compares two memories page by page.
//!
//! ```text
//! old  |---------------|      |-----------|
//! new      |---------------------|
//!      old  alike | different new  ...     old
//! ```
//!
//! Both are read once, in blocks. Ranges of one class are merged, and only the first ranges of each class are kept.

use std::collections::BTreeSet;

use super::coverage::{self, Side};
use super::{Backing, Frames, PhysicalMemory};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Result};
use crate::progress::{Progress, Work};

/// Ranges of a class that are kept.
const MAX_RANGES: usize = 64;
/// Pages that are read at once.
const BLOCK_PAGES: u64 = 256;

/// Pages of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// How many.
    pub pages: u64,
    /// How many ranges they form.
    pub range_count: u64,
    /// The first of those.
    pub ranges: Vec<Frames>,
    /// The last one, still growing.
    last: Option<Frames>,
}

impl Class {
    fn add(&mut self, frames: Frames) {
        self.pages = self.pages.saturating_add(frames.count);
        match self.last {
            Some(last) if last.end() == frames.first => {
                let joined = Frames::between(last.first, frames.end());
                self.last = Some(joined);
                let kept = u64::try_from(self.ranges.len()).ok() == Some(self.range_count);
                if kept && let Some(range) = self.ranges.last_mut() {
                    *range = joined;
                }
            }
            _ => {
                self.range_count = self.range_count.saturating_add(1);
                self.last = Some(frames);
                if self.ranges.len() < MAX_RANGES {
                    self.ranges.push(frames);
                }
            }
        }
    }
}

/// What two memories have in common, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryDiff {
    /// Pages with the same contents.
    pub alike: u64,
    /// Pages whose other contents were expected.
    pub expected: u64,
    /// Pages with other contents.
    pub different: Class,
    /// Pages that only the first has.
    pub only_old: Class,
    /// Pages that only the second has.
    pub only_new: Class,
    /// Pages that could not be read in one of them.
    pub unreadable: Class,
}

impl MemoryDiff {
    /// Whether both are the same.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        self.has_same_frames() && self.different.pages == 0
    }

    /// Whether both hold the same frames, whatever is in them.
    #[must_use]
    pub fn has_same_frames(&self) -> bool {
        let classes = [&self.only_old, &self.only_new, &self.unreadable];
        classes.iter().all(|class| class.pages == 0)
    }
}

/// Bytes that a comparison reads.
fn bytes(old: &PhysicalMemory, new: &PhysicalMemory) -> u64 {
    let both: u64 = shared(old, new).fold(0, |sum, frames| sum.saturating_add(frames.count));
    both.saturating_mul(PAGE_SIZE)
}

fn frames(memory: &PhysicalMemory) -> Vec<Frames> {
    memory.runs().iter().map(|run| run.frames).collect()
}

/// Ranges that both have.
fn shared(old: &PhysicalMemory, new: &PhysicalMemory) -> impl Iterator<Item = Frames> {
    let windows = frames(new);
    let shared: Vec<Frames> = coverage::ranges(old, &windows)
        .filter(|(_, kind)| *kind == Side::Both)
        .map(|(frames, _)| frames)
        .collect();
    shared.into_iter()
}

/// Compares every page that one of them has.
///
/// # Errors
/// [`Error::Interrupted`] if `progress` stops it.
pub fn compare(
    old: &PhysicalMemory,
    new: &PhysicalMemory,
    progress: &dyn Progress,
) -> Result<MemoryDiff> {
    compare_expecting(old, new, &BTreeSet::new(), progress)
}

/// As [`compare`]; pages of the `expected` frames that differ are counted apart.
///
/// # Errors
/// As [`compare`].
pub fn compare_expecting(
    old: &PhysicalMemory,
    new: &PhysicalMemory,
    expected: &BTreeSet<Pfn>,
    progress: &dyn Progress,
) -> Result<MemoryDiff> {
    progress.begin(Work::Compare, bytes(old, new));
    let diff = blocks(old, new, expected, progress);
    progress.end();
    diff
}

fn blocks(
    old: &PhysicalMemory,
    new: &PhysicalMemory,
    expected: &BTreeSet<Pfn>,
    progress: &dyn Progress,
) -> Result<MemoryDiff> {
    let mut diff = MemoryDiff::default();
    let mut blocks = Blocks {
        expected,
        old: Vec::new(),
        new: Vec::new(),
    };
    for (range, kind) in coverage::ranges(old, &frames(new)) {
        match kind {
            Side::Container => diff.only_old.add(range),
            Side::Missing => diff.only_new.add(range),
            Side::Both => {
                let mut at = range.first;
                while at < range.end() {
                    let end = at.saturating_add(BLOCK_PAGES).min(range.end());
                    let block = Frames::between(at, end);
                    blocks.compare(old, new, block, &mut diff);
                    if progress.advance(block.bytes()).is_break() {
                        return Err(Error::Interrupted);
                    }
                    at = end;
                }
            }
        }
    }
    Ok(diff)
}

/// Buffers of both sides.
#[derive(Debug)]
struct Blocks<'a> {
    expected: &'a BTreeSet<Pfn>,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Blocks<'_> {
    fn compare(
        &mut self,
        old: &PhysicalMemory,
        new: &PhysicalMemory,
        block: Frames,
        diff: &mut MemoryDiff,
    ) {
        if is_zero(old, block) && is_zero(new, block) {
            diff.alike = diff.alike.saturating_add(block.count);
            return;
        }
        let bytes = usize::try_from(block.bytes()).unwrap_or(PAGE_BYTES);
        self.old.resize(bytes, 0);
        self.new.resize(bytes, 0);
        let gpa = block.first.gpa();
        let read = old.read(gpa, &mut self.old).is_ok() && new.read(gpa, &mut self.new).is_ok();
        if !read {
            self.page_by_page(old, new, block, diff);
            return;
        }
        if self.old == self.new {
            diff.alike = diff.alike.saturating_add(block.count);
            return;
        }
        let pages = self.old.chunks(PAGE_BYTES).zip(self.new.chunks(PAGE_BYTES));
        for ((old, new), index) in pages.zip(0..) {
            let pfn = block.first.saturating_add(index);
            diff.page(pfn, old == new, self.expected);
        }
    }

    /// A block in which something cannot be read.
    fn page_by_page(
        &mut self,
        old: &PhysicalMemory,
        new: &PhysicalMemory,
        block: Frames,
        diff: &mut MemoryDiff,
    ) {
        self.old.resize(PAGE_BYTES, 0);
        self.new.resize(PAGE_BYTES, 0);
        for index in 0..block.count {
            let pfn = block.first.saturating_add(index);
            let gpa = pfn.gpa();
            if old.read(gpa, &mut self.old).is_ok() && new.read(gpa, &mut self.new).is_ok() {
                diff.page(pfn, self.old == self.new, self.expected);
            } else {
                diff.unreadable.add(Frames::new(pfn, 1));
            }
        }
    }
}

impl MemoryDiff {
    fn page(&mut self, pfn: Pfn, is_alike: bool, expected: &BTreeSet<Pfn>) {
        if is_alike {
            self.alike = self.alike.saturating_add(1);
        } else if expected.contains(&pfn) {
            self.expected = self.expected.saturating_add(1);
        } else {
            self.different.add(Frames::new(pfn, 1));
        }
    }
}

/// Whether the container knows all of the block to be zero.
fn is_zero(memory: &PhysicalMemory, block: Frames) -> bool {
    memory
        .pieces(block)
        .all(|(_, backing)| backing == Some(Backing::Zero))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::memory::RunBuilder;
    use crate::progress::Silent;

    use super::*;

    fn range(first: u64, count: u64) -> Frames {
        Frames::new(Pfn::new(first), count)
    }

    /// Memory whose pages hold these bytes; `None` is a page behind the end of the file.
    fn memory(first: u64, pages: &[Option<u8>]) -> PhysicalMemory {
        let mut file = Vec::new();
        let mut runs = RunBuilder::default();
        for (page, pfn) in pages.iter().zip(first..) {
            let offset = page.map_or(1 << 40, |_| file.len() as u64);
            if let Some(byte) = page {
                file.resize(file.len() + PAGE_BYTES, *byte);
            }
            runs.push(range(pfn, 1), Backing::File { offset }).unwrap();
        }
        PhysicalMemory::new(Arc::new(file), runs.finish().unwrap())
    }

    #[test]
    fn every_page_has_its_class() {
        let old = memory(1, &[Some(1), Some(2), Some(3), Some(4), None, Some(6)]);
        let new = memory(3, &[Some(3), Some(9), Some(5), Some(6), Some(7)]);
        let diff = compare(&old, &new, &Silent).unwrap();
        assert_eq!(bytes(&old, &new), 4 * PAGE_SIZE);
        assert_eq!(diff.alike, 2);
        assert_eq!(diff.different.ranges, [range(4, 1)]);
        assert_eq!(diff.only_old.ranges, [range(1, 2)]);
        assert_eq!(diff.only_new.ranges, [range(7, 1)]);
        assert_eq!(diff.unreadable.ranges, [range(5, 1)]);
        assert!(!diff.is_alike());
        assert!(compare(&new, &new, &Silent).unwrap().is_alike());
    }

    #[test]
    fn ranges_are_merged_and_bounded() {
        let mut class = Class::default();
        for n in 0..200 {
            class.add(range(n * 4, 1));
            class.add(range(n * 4 + 1, 1));
        }
        assert_eq!((class.pages, class.range_count), (400, 200));
        assert_eq!(class.ranges.len(), MAX_RANGES);
        assert_eq!(class.ranges[1], range(4, 2));
        assert_eq!(class.ranges[MAX_RANGES - 1], range(252, 2));
    }
}
