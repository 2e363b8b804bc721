//! Reads an image at any offset, over the memory that it was planned for, as if it were a file already.

use std::io;
use std::sync::Arc;

use super::{Image, Segment, SegmentData};
use crate::address::{Gpa, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Place};
use crate::memory::{DecodeError, PageFailure, PhysicalMemory};
use crate::source::{ReadAt, fill_at};

/// Why bytes of an image cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The container could not be read.
    #[error("image offset {offset:#x}: cannot read the container at file offset {at:#x}: {source}")]
    Unreadable {
        /// The first byte of the image that is missing.
        offset: u64,
        /// Where in the container it should be.
        at: u64,
        /// What the operating system reported; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the container
        /// ends.
        #[source]
        source: io::Error,
    },
    /// What the container holds does not decode to a page, and the image does not [salvage](Image::salvage) such pages.
    #[error(
        "image offset {offset:#x}: the page of physical address {gpa} cannot be decoded: {why}"
    )]
    Corrupt {
        /// Where in the image the page is.
        offset: u64,
        /// The page's address in the guest.
        gpa: Gpa,
        /// What is wrong with it, and where in the container.
        why: String,
    },
    /// The image ends before the last byte that is wanted.
    #[error("image offset {offset:#x}: the image ends at {size:#x}")]
    BeyondEnd {
        /// The first byte that is not there.
        offset: u64,
        /// Bytes of the image.
        size: u64,
    },
}

impl From<ImageError> for io::Error {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::Unreadable { source, .. } => source.kind(),
            ImageError::Corrupt { .. } => io::ErrorKind::InvalidData,
            ImageError::BeyondEnd { .. } => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unreadable { at, source, .. } => Self::io(
                format!("cannot read the container at {}", Place::Offset(at)),
                source,
            ),
            ImageError::Corrupt { gpa, why, .. } => Self::CorruptPage { gpa, why },
            ImageError::BeyondEnd { offset, size } => Self::Truncated {
                what: "image",
                place: Place::Offset(offset),
                expected: offset.saturating_add(1),
                found: size,
            },
        }
    }
}

/// An image, and the memory that it was planned for.
///
/// Threads may read at the same time. Reading takes one look for the first segment, by halving, and no memory that
/// grows with the image: pages that have to be decoded go through the caches of the guest's memory, which are bounded.
/// As a [`ReadAt`] it is a source like a file, so a dump can be opened, checked and compared before it is written.
#[derive(Debug, Clone)]
pub struct ImageReader {
    image: Arc<Image>,
    memory: PhysicalMemory,
}

impl ImageReader {
    /// Reads `image` over `memory`, the memory of the guest that it was planned for.
    #[must_use]
    pub fn new(image: impl Into<Arc<Image>>, memory: PhysicalMemory) -> Self {
        Self {
            image: image.into(),
            memory,
        }
    }

    /// What is read.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Fills `buf` from `offset` on; returns how many bytes, fewer than asked for only where the image ends, and 0
    /// beyond.
    ///
    /// # Errors
    /// [`ImageError::Unreadable`] and [`ImageError::Corrupt`], for the first byte that cannot be had; `buf` then holds
    /// anything.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ImageError> {
        let mut done = 0_usize;
        for segment in self.image.from(offset) {
            let rest = buf.get_mut(done..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let at = offset.saturating_add(done as u64);
            let left = usize::try_from(segment.end().saturating_sub(at)).unwrap_or(usize::MAX);
            let here = left.min(rest.len());
            let (now, _) = rest.split_at_mut(here);
            self.segment(segment, at, now)?;
            done = done.saturating_add(here);
        }
        Ok(done)
    }

    /// Fills all of `buf` from `offset` on.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and [`ImageError::BeyondEnd`].
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ImageError> {
        let done = self.read_at(offset, buf)?;
        if done < buf.len() {
            return Err(ImageError::BeyondEnd {
                offset: offset.saturating_add(done as u64),
                size: self.image.size(),
            });
        }
        Ok(())
    }

    /// Fills `buf`, which lies inside `segment`, from `at` on.
    fn segment(&self, segment: &Segment, at: u64, buf: &mut [u8]) -> Result<(), ImageError> {
        let skipped = at.saturating_sub(segment.start);
        match &segment.data {
            SegmentData::Bytes(bytes) => {
                let from = usize::try_from(skipped).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                // As long as `buf`, for a segment of bytes holds all of them.
                if let Some(here) = rest.get(..buf.len()) {
                    buf.copy_from_slice(here);
                }
                Ok(())
            }
            SegmentData::Zeros => {
                buf.fill(0);
                Ok(())
            }
            SegmentData::Source { offset } => {
                let from = offset.saturating_add(skipped);
                let read = fill_at(&**self.memory.source(), from, buf);
                let unreadable = |done: u64, source| ImageError::Unreadable {
                    offset: at.saturating_add(done),
                    at: from.saturating_add(done),
                    source,
                };
                match read {
                    Ok(read) if read == buf.len() as u64 => Ok(()),
                    Ok(read) => Err(unreadable(read, io::ErrorKind::UnexpectedEof.into())),
                    Err(source) => Err(unreadable(0, source)),
                }
            }
            SegmentData::Encoded { index } => self.encoded(segment, *index, skipped, buf),
        }
    }

    fn encoded(
        &self,
        segment: &Segment,
        first: u64,
        skipped: u64,
        buf: &mut [u8],
    ) -> Result<(), ImageError> {
        let index = first.saturating_add(skipped / PAGE_SIZE);
        let start = usize::try_from(skipped % PAGE_SIZE).unwrap_or(0);
        let Err(failure) = self.memory.read_pages(index, start, buf) else {
            return Ok(());
        };
        if self.image.salvage() {
            self.salvaged(index, start, buf);
            return Ok(());
        }
        let before = failure
            .index
            .saturating_sub(first)
            .saturating_mul(PAGE_SIZE);
        Err(self.error(failure, segment.start.saturating_add(before)))
    }

    /// The same page by page, with zeros for those that cannot be decoded.
    fn salvaged(&self, index: u64, start: usize, buf: &mut [u8]) {
        let (mut index, mut start, mut rest) = (index, start, buf);
        while !rest.is_empty() {
            let here = rest.len().min(PAGE_BYTES.saturating_sub(start));
            let (page, later) = rest.split_at_mut(here);
            if self.memory.read_pages(index, start, page).is_err() {
                page.fill(0);
            }
            (index, start, rest) = (index.saturating_add(1), 0, later);
        }
    }

    /// The error of the page at `offset` of the image.
    fn error(&self, failure: PageFailure, offset: u64) -> ImageError {
        match failure.error {
            DecodeError::Unreadable { offset: at, source } => {
                ImageError::Unreadable { offset, at, source }
            }
            corrupt @ DecodeError::Corrupt { .. } => ImageError::Corrupt {
                offset,
                gpa: self
                    .memory
                    .frame_of_page(failure.index)
                    .map_or_else(Gpa::default, Pfn::gpa),
                why: corrupt.to_string(),
            },
        }
    }
}

impl ReadAt for ImageReader {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(Self::read_at(self, offset, buf)?)
    }
}
