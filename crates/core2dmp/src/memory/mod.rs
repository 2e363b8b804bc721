//! Guest-physical memory: runs of frames, each with the place its bytes come from.
//!
//! ```text
//! pfn   0x0        0x9f    0xc0            0x3fff      0x100000 ...
//!       |-- run 0 --|absent |----- run 1 -----| absent    |-- run 2 --
//!            |                    |                            |
//!       file offset 0x3000   offset 0xa3000              Backing::Zero
//! ```
//!
//! A frame is in one of four states, and they are never mixed up: *present* (its bytes can be read, and may
//! be zeros), *absent* (the container has no such frame), *unreadable* (the container's file failed), and
//! *corrupt* (the container's own structures for it are broken). Memory use grows with the number of runs,
//! never with the number of frames.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod compare;
pub mod coverage;
mod decode;
mod error;
mod frame_set;
mod runs;
mod scan;

use std::sync::Arc;
use std::{fmt, io};

use self::decode::DecodedPages;
use crate::address::{Gpa, Pfn};
use crate::source::{ReadAt, fill_at};

pub(crate) use decode::PageFailure;
pub use decode::{DecodeError, PageDecoder};
pub use error::MemoryError;
pub use frame_set::FrameSet;
pub use runs::{Backing, Frames, MemoryRun, Overlap, RunBuilder, SortedRuns};
pub use scan::{SCAN_BLOCK, ScanGap};

/// The memory of one guest.
#[derive(Clone)]
pub struct PhysicalMemory {
    source: Arc<dyn ReadAt>,
    runs: Vec<MemoryRun>,
    decoded: Option<Arc<DecodedPages>>,
}

impl fmt::Debug for PhysicalMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhysicalMemory")
            .field("runs", &self.runs.len())
            .field("frames", &self.frame_count())
            .finish_non_exhaustive()
    }
}

impl PhysicalMemory {
    /// Memory of the runs in `source`; [`RunBuilder`] makes such runs: sorted, merged, without overlap.
    #[must_use]
    pub fn new(source: Arc<dyn ReadAt>, runs: SortedRuns) -> Self {
        Self {
            source,
            runs: runs.0,
            decoded: None,
        }
    }

    /// The same with a decoder, for [`Backing::Encoded`].
    #[must_use]
    pub fn with_decoder(mut self, decoder: Arc<dyn PageDecoder>) -> Self {
        self.decoded = Some(Arc::new(DecodedPages::new(decoder)));
        self
    }

    /// What makes the pages of [`Backing::Encoded`].
    #[must_use]
    pub fn decoder(&self) -> Option<&dyn PageDecoder> {
        self.decoded.as_ref().map(|decoded| decoded.decoder())
    }

    /// The frame that is page `index` of the decoder.
    #[must_use]
    pub fn frame_of_page(&self, index: u64) -> Option<Pfn> {
        self.runs.iter().find_map(|run| match run.backing {
            Backing::Encoded { index: first } => {
                let skipped = index.checked_sub(first)?;
                (skipped < run.frames.count).then(|| run.frames.first.saturating_add(skipped))
            }
            _ => None,
        })
    }

    /// The runs, ascending, without overlap.
    #[must_use]
    pub fn runs(&self) -> &[MemoryRun] {
        &self.runs
    }

    /// The file that [`Backing::File`] speaks of.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ReadAt> {
        &self.source
    }

    /// Frames in all runs.
    #[must_use]
    pub fn frame_count(&self) -> u64 {
        self.runs
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.frames.count))
    }

    /// The run that holds `pfn`.
    #[must_use]
    pub fn run_of(&self, pfn: Pfn) -> Option<&MemoryRun> {
        let after = self.runs.partition_point(|run| run.frames.first <= pfn);
        let run = self.runs.get(after.checked_sub(1)?)?;
        run.frames.contains(pfn).then_some(run)
    }

    /// Cuts `frames` into pieces that are present, with their backing, and absent, with `None`, in order.
    pub fn pieces(&self, frames: Frames) -> impl Iterator<Item = (Frames, Option<Backing>)> + '_ {
        let end = frames.end();
        let mut at = frames.first;
        let mut index = self.runs.partition_point(|run| run.frames.end() <= at);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let start = at;
            let run = self.runs.get(index);
            let (stop, backing) = match run {
                Some(run) if run.frames.first <= start => {
                    index = index.saturating_add(1);
                    let skipped = start.frames_since(run.frames.first);
                    (run.frames.end(), Some(run.backing.skip(skipped)))
                }
                Some(run) => (run.frames.first, None),
                None => (end, None),
            };
            at = stop.min(end);
            Some((Frames::between(start, at), backing))
        })
    }

    /// Fills `buf` from `gpa` on, across runs that touch.
    ///
    /// # Errors
    /// The first [`MemoryError`]; `buf` then holds what came before it.
    pub fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), MemoryError> {
        let mut at = gpa;
        let mut rest = buf;
        while !rest.is_empty() {
            let run = self
                .run_of(at.pfn())
                .ok_or(MemoryError::Absent { gpa: at })?;
            let left = run.frames.end().gpa().get().saturating_sub(at.get());
            let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at_mut(here);
            self.read_backing(run, at, now)?;
            at = at.saturating_add(here as u64);
            rest = later;
        }
        Ok(())
    }

    /// Fills `buf` with what the decoder makes of page `index`, from its byte `start` on, and of the pages behind it.
    pub(crate) fn read_pages(
        &self,
        index: u64,
        start: usize,
        buf: &mut [u8],
    ) -> Result<(), PageFailure> {
        match &self.decoded {
            Some(decoded) => decoded.read(index, start, buf),
            None => Err(PageFailure {
                index,
                error: DecodeError::corrupt(0, "nothing decodes it"),
            }),
        }
    }

    /// Fills `buf`, which lies inside `run`.
    fn read_backing(&self, run: &MemoryRun, gpa: Gpa, buf: &mut [u8]) -> Result<(), MemoryError> {
        match run.backing {
            Backing::Zero => buf.fill(0),
            Backing::File { offset } => {
                let skipped = gpa.get().saturating_sub(run.frames.first.gpa().get());
                let offset = offset.saturating_add(skipped);
                let unreadable = |source| MemoryError::Unreadable {
                    gpa,
                    offset,
                    source: Arc::new(source),
                };
                let got = fill_at(&*self.source, offset, buf).map_err(unreadable)?;
                if got < buf.len() as u64 {
                    return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Backing::Encoded { index } => {
                let skipped = gpa.pfn().frames_since(run.frames.first);
                let index = index.saturating_add(skipped);
                let start = usize::try_from(gpa.page_offset()).unwrap_or(0);
                return self.read_pages(index, start, buf).map_err(|failure| {
                    let at = match failure.index.saturating_sub(index) {
                        0 => gpa,
                        pages => gpa.pfn().saturating_add(pages).gpa(),
                    };
                    failure.error.at(at)
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
