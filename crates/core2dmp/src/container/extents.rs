//! Ranges of physical bytes that are in the file, turned into frames: for formats that list memory by
//! address and length, neither of them a multiple of a frame.
//!
//! ```text
//! extents    |---- first ----|            the first that holds a byte wins
//!                      |------- second -------|
//! frames     |whole|whole|stitched|whole|whole|part
//! ```
//!
//! A frame whose bytes are in one piece is a place in the file. One that is made of pieces, or of which the
//! file has a part only, is assembled when it is read; bytes that nobody has are zeros, and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::memory::{
    Backing, DecodeError, Frames, PageDecoder, PhysicalMemory, RunBuilder, SortedRuns,
};
use crate::source::{ReadAt, fill_at};

/// Bytes of the file that are bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Physical address of the first.
    pub(super) gpa: u64,
    /// How many.
    pub(super) bytes: u64,
    /// Where they are in the file.
    pub(super) offset: u64,
}

impl Extent {
    /// One past its last address.
    pub(super) const fn end(&self) -> u64 {
        self.gpa.saturating_add(self.bytes)
    }

    /// The part from `start` to `end`, both inside.
    const fn part(&self, start: u64, end: u64) -> Self {
        Self {
            gpa: start,
            bytes: end.saturating_sub(start),
            offset: self.offset.saturating_add(start.saturating_sub(self.gpa)),
        }
    }

    /// Whether `next` continues it, in memory and in the file.
    const fn is_continued_by(&self, next: &Self) -> bool {
        self.end() == next.gpa && self.offset.saturating_add(self.bytes) == next.offset
    }
}

/// Collects extents in the order in which the container lists them.
#[derive(Debug, Default)]
pub(super) struct Extents {
    list: Vec<Extent>,
    /// Addresses that are taken: start and end.
    taken: BTreeMap<u64, u64>,
    /// The first address that was listed again.
    pub(super) overlap: Option<u64>,
}

/// What the extents amount to.
#[derive(Debug)]
pub(super) struct Mapped {
    runs: SortedRuns,
    stitched: Vec<Stitched>,
    /// Frames of which bytes are missing.
    pub(super) partial: u64,
}

impl Extents {
    /// Adds what of `extent` is not there yet.
    pub(super) fn push(&mut self, extent: Extent, what: &'static str) -> Result<()> {
        if extent.bytes == 0 {
            return Ok(());
        }
        let limit = Pfn::END.gpa().get();
        if extent
            .gpa
            .checked_add(extent.bytes)
            .is_none_or(|end| end > limit)
        {
            return Err(Error::malformed(
                what,
                Place::Offset(extent.offset),
                format!("physical addresses below {limit:#x}"),
                format!("{:#x} bytes at {:#x}", extent.bytes, extent.gpa),
            ));
        }
        let mut at = extent.gpa;
        for (start, end) in self.take(extent.gpa, extent.end()) {
            self.add(extent.part(at, start))?;
            at = end;
        }
        self.add(extent.part(at, extent.end()))
    }

    /// Takes the addresses from `start` to `end`; returns those that were taken before, ascending.
    fn take(&mut self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let before = self.taken.range(..=start).next_back();
        let first = before
            .filter(|(_, stop)| **stop >= start)
            .map_or(start, |(first, _)| *first);
        let touching: Vec<(u64, u64)> = self
            .taken
            .range(first..=end)
            .map(|(start, stop)| (*start, *stop))
            .collect();
        let mut whole = (start, end);
        let mut known = Vec::new();
        for (first, stop) in touching {
            self.taken.remove(&first);
            whole = (whole.0.min(first), whole.1.max(stop));
            let (from, to) = (first.max(start), stop.min(end));
            if from < to {
                self.overlap.get_or_insert(from);
                known.push((from, to));
            }
        }
        self.taken.insert(whole.0, whole.1);
        known
    }

    fn add(&mut self, extent: Extent) -> Result<()> {
        if extent.bytes == 0 {
            return Ok(());
        }
        if let Some(last) = self.list.last_mut()
            && last.is_continued_by(&extent)
        {
            last.bytes = last.bytes.saturating_add(extent.bytes);
            return Ok(());
        }
        if self.list.len() >= RunBuilder::MAX_RUNS {
            return Err(Error::TooMany {
                what: "ranges of memory in the container",
                found: self.list.len() as u64,
                limit: RunBuilder::MAX_RUNS as u64,
            });
        }
        self.list.push(extent);
        Ok(())
    }

    /// Frames of everything that was added.
    pub(super) fn finish(mut self) -> Result<Mapped> {
        self.taken.clear();
        self.list.sort_unstable_by_key(|extent| extent.gpa);
        self.list.dedup_by(|next, extent| {
            let continues = extent.is_continued_by(next);
            if continues {
                extent.bytes = extent.bytes.saturating_add(next.bytes);
            }
            continues
        });
        let mut runs = RunBuilder::default();
        let mut stitched: Vec<Stitched> = Vec::new();
        for extent in &self.list {
            let first = extent.gpa.div_ceil(PAGE_SIZE);
            let end = extent.end() / PAGE_SIZE;
            let (whole, stop) = (first.saturating_mul(PAGE_SIZE), extent.end());
            if first < end {
                let data = extent.part(whole, end.saturating_mul(PAGE_SIZE));
                let frames = Frames::between(Pfn::new(first), Pfn::new(end));
                let offset = data.offset;
                runs.push(frames, Backing::File { offset })?;
            }
            // The pieces before and behind its whole frames.
            let head = extent.part(extent.gpa, whole.min(stop));
            let tail = extent.part(whole.max(end.saturating_mul(PAGE_SIZE)).min(stop), stop);
            for piece in [head, tail].into_iter().filter(|piece| piece.bytes > 0) {
                stitch(&mut stitched, piece);
            }
        }
        for (frame, index) in stitched.iter().zip(0..) {
            runs.push(Frames::new(frame.pfn, 1), Backing::Encoded { index })?;
        }
        let partial = stitched.iter().filter(|frame| !frame.is_whole()).count();
        let runs = runs.finish().map_err(|overlap| {
            let place = Place::Physical(overlap.pfn.gpa());
            Error::malformed("memory", place, "every frame once", "it twice")
        })?;
        Ok(Mapped {
            runs,
            stitched,
            partial: partial as u64,
        })
    }
}

/// Adds a piece of a frame; pieces come in ascending order.
fn stitch(frames: &mut Vec<Stitched>, piece: Extent) {
    let pfn = Pfn::new(piece.gpa / PAGE_SIZE);
    match frames.last_mut().filter(|frame| frame.pfn == pfn) {
        Some(frame) => frame.pieces.push(piece),
        None => frames.push(Stitched {
            pfn,
            pieces: vec![piece],
        }),
    }
}

impl Mapped {
    /// Memory of these frames.
    pub(super) fn memory(self, source: Arc<dyn ReadAt>) -> PhysicalMemory {
        let memory = PhysicalMemory::new(Arc::clone(&source), self.runs);
        if self.stitched.is_empty() {
            return memory;
        }
        memory.with_decoder(Arc::new(Stitcher {
            source,
            frames: self.stitched,
        }))
    }

    /// What to tell the user of frames with missing bytes.
    pub(super) fn warning(&self) -> Option<String> {
        (self.partial > 0).then(|| {
            format!(
                "{} frames are only partly in the file; the rest of them is zeros",
                self.partial
            )
        })
    }
}

/// A frame that is made of pieces.
#[derive(Debug)]
struct Stitched {
    pfn: Pfn,
    pieces: Vec<Extent>,
}

impl Stitched {
    fn is_whole(&self) -> bool {
        let bytes = self
            .pieces
            .iter()
            .fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
        bytes == PAGE_SIZE
    }
}

/// Puts frames together.
#[derive(Debug)]
struct Stitcher {
    source: Arc<dyn ReadAt>,
    frames: Vec<Stitched>,
}

impl PageDecoder for Stitcher {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let frame = usize::try_from(index)
            .ok()
            .and_then(|index| self.frames.get(index))
            .ok_or_else(|| DecodeError::corrupt(0, "no such frame"))?;
        page.fill(0);
        for piece in &frame.pieces {
            let start = usize::try_from(piece.gpa % PAGE_SIZE).unwrap_or(0);
            let bytes = usize::try_from(piece.bytes).unwrap_or(0);
            let target = page.get_mut(start..start.saturating_add(bytes));
            let target = target.unwrap_or_default();
            let unreadable = |source| DecodeError::Unreadable {
                offset: piece.offset,
                source,
            };
            if fill_at(&*self.source, piece.offset, target).map_err(unreadable)? < piece.bytes {
                return Err(DecodeError::ended(piece.offset));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::Gpa;

    proptest! {
        /// Against a naive twin: one entry a byte, the first that names it wins.
        #[test]
        fn first_wins_byte_by_byte(
            list in proptest::collection::vec((0_u64..0x6000, 0_u64..0x3000, 0_u64..0x4000), 0..8),
        ) {
            let file: Vec<u8> = (0..0x8000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let mut naive = vec![None; 0xa000];
            let mut extents = Extents::default();
            for (gpa, bytes, offset) in list {
                extents.push(Extent { gpa, bytes, offset }, "a range").unwrap();
                for n in 0..bytes {
                    naive[(gpa + n) as usize].get_or_insert(file[(offset + n) as usize]);
                }
            }
            let mapped = extents.finish().unwrap();
            let partial = mapped.partial;
            let memory = mapped.memory(Arc::new(file));
            let mut parts = 0;
            for (pfn, frame) in (0..).zip(naive.chunks(4096)) {
                let mut page = [0xee; 4096];
                let got = memory.read(Gpa::new(pfn * 4096), &mut page);
                if frame.iter().all(Option::is_none) {
                    prop_assert!(got.is_err());
                    continue;
                }
                parts += u64::from(frame.iter().any(Option::is_none));
                prop_assert!(got.is_ok());
                prop_assert!(frame.iter().zip(page).all(|(a, b)| a.unwrap_or(0) == b));
            }
            prop_assert_eq!(parts, partial);
        }
    }
}
