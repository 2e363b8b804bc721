//! Reads a file again before it gets its name, and compares every page with the source.
//!
//! ```text
//! written by   copy_file_range | decoder, all cores | holes        -->  file, flushed, out of the page cache
//! compared by  positioned reads | decoder            | zeros, read  <--
//! ```
//!
//! Both sides are read in another way than the file was written in: the kernel copies nothing here, and a hole must
//! read as zeros.

use std::fs::File;

use super::job::{BUFFER, Failure, advance};
use super::{copy, decoded};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Result};
use crate::image::{Image, Segment, SegmentData};
use crate::memory::{Backing, PhysicalMemory};
use crate::progress::Progress;
use crate::source::{FileSource, ReadAt, fill_at};

/// Compares `file` with the image that it was written of; `name` is its own for messages.
pub(super) fn file(
    file: &File,
    image: &Image,
    memory: &PhysicalMemory,
    name: &str,
    progress: &dyn Progress,
) -> Result<()> {
    forget(file);
    let again = file.try_clone().and_then(FileSource::of);
    let again = again.map_err(|e| Error::io(format!("cannot read {name} again"), e))?;
    let size = image.size();
    if again.size() != size {
        return Err(Error::ReadBack {
            frame: None,
            offset: again.size().min(size),
        });
    }
    compare(&again, image, memory, name, progress)
}

/// Drops the file's clean pages from the cache, so that it is read from the disk.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    // What cannot be dropped is read from the cache.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}

/// Compares what is at the place of each segment with what the segment says.
pub(super) fn compare(
    file: &dyn ReadAt,
    image: &Image,
    memory: &PhysicalMemory,
    name: &str,
    progress: &dyn Progress,
) -> Result<()> {
    let mut comparison = Comparison {
        file,
        memory,
        name,
        at: 0,
        found: Vec::new(),
        expected: Vec::new(),
        progress,
    };
    image
        .segments()
        .iter()
        .try_for_each(|segment| comparison.segment(segment))
}

struct Comparison<'a> {
    file: &'a dyn ReadAt,
    memory: &'a PhysicalMemory,
    name: &'a str,
    at: u64,
    /// Buffers.
    found: Vec<u8>,
    expected: Vec<u8>,
    progress: &'a dyn Progress,
}

impl Comparison<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<()> {
        if let SegmentData::Encoded { index } = segment.data {
            return self.encoded(index, segment.bytes / PAGE_SIZE);
        }
        let source = &**self.memory.source();
        let mut expected = std::mem::take(&mut self.expected);
        expected.resize(BUFFER, 0);
        let mut done = 0_u64;
        while done < segment.bytes {
            let step = segment.bytes.saturating_sub(done).min(BUFFER as u64);
            let count = usize::try_from(step).unwrap_or(BUFFER);
            let block = match &segment.data {
                SegmentData::Bytes(bytes) => {
                    let from = usize::try_from(done).unwrap_or(usize::MAX);
                    bytes
                        .get(from..)
                        .and_then(|rest| rest.get(..count))
                        .unwrap_or_default()
                }
                SegmentData::Source { offset } => {
                    let from = offset.saturating_add(done);
                    copy::read_block(source, from, &mut expected, count)
                        .map_err(|failure| failure.tell(self.name))?
                }
                SegmentData::Zeros | SegmentData::Encoded { .. } => {
                    expected.fill(0);
                    expected.get(..count).unwrap_or_default()
                }
            };
            let place = Place::of(&segment.data, done);
            self.block(block, place)
                .map_err(|failure| self.tell(failure))?;
            done = done.saturating_add(step);
        }
        self.expected = expected;
        Ok(())
    }

    fn encoded(&mut self, index: u64, pages: u64) -> Result<()> {
        // A page that makes none is zeros, as the writer reported.
        let mut damage = decoded::Damage::new(self.memory, true);
        let mut next = index;
        let compared = decoded::in_order(&mut damage, index, pages, &mut |block| {
            let place = Place::Page(next);
            next = next.saturating_add(block.len() as u64 / PAGE_SIZE);
            self.block(block, place)
        });
        compared.map_err(|failure| self.tell(failure))
    }

    /// Compares the next bytes of the file.
    fn block(&mut self, expected: &[u8], place: Place) -> Result<(), Failure> {
        self.found.resize(expected.len(), 0);
        let read = fill_at(self.file, self.at, &mut self.found)?;
        if read < expected.len() as u64 || self.found != expected {
            let same = |(page, other): (&[u8], &[u8])| page == other;
            let pages = expected
                .chunks(PAGE_BYTES)
                .zip(self.found.chunks(PAGE_BYTES));
            let alike = pages.take_while(|pair| same(*pair)).count() as u64;
            let skipped = alike.saturating_mul(PAGE_SIZE);
            return Err(Failure::Differs {
                frame: place.frame(self.memory, skipped),
                offset: self.at.saturating_add(skipped),
            });
        }
        advance_only(self.progress, &mut self.at, read)
    }

    fn tell(&self, failure: Failure) -> Error {
        match failure {
            Failure::Output(error) => {
                let what = format!("cannot read {} again at offset {:#x}", self.name, self.at);
                Error::io(what, error)
            }
            other => other.tell(self.name),
        }
    }
}

/// Looks at the interruption flag; the bytes have been counted when they were written.
fn advance_only(progress: &dyn Progress, at: &mut u64, bytes: u64) -> Result<(), Failure> {
    advance(progress, at, 0)?;
    *at = at.saturating_add(bytes);
    Ok(())
}

/// Where the bytes of a block come from.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// This offset of the container.
    Source(u64),
    /// This page of the decoder.
    Page(u64),
    /// The plan.
    Plan,
}

impl Place {
    const fn of(data: &SegmentData, done: u64) -> Self {
        match data {
            SegmentData::Source { offset } => Self::Source(offset.saturating_add(done)),
            SegmentData::Encoded { index } => Self::Page(index.saturating_add(done / PAGE_SIZE)),
            SegmentData::Bytes(_) | SegmentData::Zeros => Self::Plan,
        }
    }

    /// The frame `skipped` bytes further on; of changed pages and of zeros the offset says enough.
    fn frame(self, memory: &PhysicalMemory, skipped: u64) -> Option<Pfn> {
        let wanted = match self {
            Self::Source(offset) => offset.saturating_add(skipped),
            Self::Page(index) => {
                return memory.frame_of_page(index.saturating_add(skipped / PAGE_SIZE));
            }
            Self::Plan => return None,
        };
        memory.runs().iter().find_map(|run| match run.backing {
            Backing::File { offset } => {
                let frames = wanted.checked_sub(offset)? / PAGE_SIZE;
                (frames < run.frames.count).then(|| run.frames.first.saturating_add(frames))
            }
            _ => None,
        })
    }
}
