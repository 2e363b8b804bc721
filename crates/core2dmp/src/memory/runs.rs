//! Ranges of frames, and the builder that turns a container's page table into runs while it is read.

use std::fmt;

use crate::address::{PAGE_SIZE, Pfn};
use crate::error::Error;

/// Where a run's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// They are in the container's file, from this byte on, in order.
    File {
        /// Offset of the first frame's first byte.
        offset: u64,
    },
    /// The container says that they are zero, without storing them.
    Zero,
    /// They are compressed, or otherwise not as the guest has them: the memory's [`PageDecoder`](super::PageDecoder)
    /// makes them.
    Encoded {
        /// The decoder's number of the first frame; the next frame has the next number.
        index: u64,
    },
}

impl Backing {
    /// The backing of the frame `frames` further on.
    #[must_use]
    pub const fn skip(self, frames: u64) -> Self {
        match self {
            Self::File { offset } => Self::File {
                offset: offset.saturating_add(frames.saturating_mul(PAGE_SIZE)),
            },
            Self::Zero => Self::Zero,
            Self::Encoded { index } => Self::Encoded {
                index: index.saturating_add(frames),
            },
        }
    }
}

/// Consecutive frames with one backing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRun {
    /// Which frames.
    pub frames: Frames,
    /// Where their bytes are.
    pub backing: Backing,
}

/// Runs as [`PhysicalMemory`](super::PhysicalMemory) needs them; only [`RunBuilder`] makes them.
#[derive(Debug, Clone, Default)]
pub struct SortedRuns(pub(super) Vec<MemoryRun>);

/// Consecutive frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// The first one.
    pub first: Pfn,
    /// How many.
    pub count: u64,
}

impl Frames {
    /// `count` frames from `first` on.
    #[must_use]
    pub const fn new(first: Pfn, count: u64) -> Self {
        Self { first, count }
    }

    /// From `first` to `end`, which is not included.
    #[must_use]
    pub const fn between(first: Pfn, end: Pfn) -> Self {
        Self::new(first, end.frames_since(first))
    }

    /// One past the last frame.
    #[must_use]
    pub const fn end(self) -> Pfn {
        self.first.saturating_add(self.count)
    }

    /// How many frames these runs have together.
    #[must_use]
    pub fn total(runs: &[Self]) -> u64 {
        runs.iter()
            .fold(0, |sum, run| sum.saturating_add(run.count))
    }

    /// Whether `pfn` is one of them.
    #[must_use]
    pub fn contains(self, pfn: Pfn) -> bool {
        self.first <= pfn && pfn < self.end()
    }

    /// Bytes in them.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.count.saturating_mul(PAGE_SIZE)
    }
}

impl fmt::Display for Frames {
    /// As addresses: first byte to last byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.end().gpa().get().saturating_sub(1);
        write!(f, "{:#x}-{:#x}", self.first.gpa(), last)
    }
}

/// Collects frames in the order in which the container lists them and merges what belongs together.
///
/// ```
/// use core2dmp::address::Pfn;
/// use core2dmp::memory::{Backing, Frames, RunBuilder};
///
/// let mut builder = RunBuilder::default();
/// for pfn in 0..1000 {
///     let offset = 0x3000 + pfn * 0x1000;
///     builder.push(Frames::new(Pfn::new(pfn), 1), Backing::File { offset })?;
/// }
/// assert_eq!(builder.len(), 1);
/// # Ok::<(), core2dmp::error::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct RunBuilder {
    runs: Vec<MemoryRun>,
}

/// Two parts of a container claim one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// The first frame that is claimed twice.
    pub pfn: Pfn,
}

impl RunBuilder {
    /// Runs that are accepted: 32 MiB of ours. A real guest has tens; an adversary's table of single
    /// frames would otherwise take as much memory as the table itself.
    pub const MAX_RUNS: usize = 1 << 20;

    /// Adds frames, merging them with the last run where they continue it.
    ///
    /// # Errors
    /// [`Error::TooMany`] past [`Self::MAX_RUNS`] or past the highest frame that 52 bits can name.
    pub fn push(&mut self, frames: Frames, backing: Backing) -> Result<(), Error> {
        if frames.end() > Pfn::END {
            return Err(Error::TooMany {
                what: "a page frame number of the container",
                found: frames.end().get().saturating_sub(1),
                limit: Pfn::END.get().saturating_sub(1),
            });
        }
        if let Some(last) = self.runs.last_mut()
            && last.frames.end() == frames.first
            && last.backing.skip(last.frames.count) == backing
        {
            last.frames.count = last.frames.count.saturating_add(frames.count);
            return Ok(());
        }
        if self.runs.len() >= Self::MAX_RUNS {
            return Err(Error::TooMany {
                what: "runs of frames in the container",
                found: self.runs.len() as u64,
                limit: Self::MAX_RUNS as u64,
            });
        }
        self.runs.push(MemoryRun { frames, backing });
        Ok(())
    }

    /// Runs so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Sorts the runs and merges those that became neighbours.
    ///
    /// # Errors
    /// [`Overlap`] names a frame that is listed twice.
    pub fn finish(mut self) -> Result<SortedRuns, Overlap> {
        self.runs.retain(|run| run.frames.count > 0);
        self.runs.sort_unstable_by_key(|run| run.frames.first);
        let mut pairs = self.runs.iter().zip(self.runs.iter().skip(1));
        let overlap = pairs.find(|(run, next)| next.frames.first < run.frames.end());
        if let Some((_, next)) = overlap {
            return Err(Overlap {
                pfn: next.frames.first,
            });
        }
        // In place: a second vector would double what the most runs cost.
        self.runs.dedup_by(|next, run| {
            let continues = run.frames.end() == next.frames.first
                && run.backing.skip(run.frames.count) == next.backing;
            if continues {
                run.frames.count = run.frames.count.saturating_add(next.frames.count);
            }
            continues
        });
        Ok(SortedRuns(self.runs))
    }
}
