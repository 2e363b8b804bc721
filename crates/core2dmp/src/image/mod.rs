//! A planned file before it is written: its segments, in order, and a reader that presents them as one file.
//!
//! ```text
//! image    | Bytes | Source { offset } | Bytes | Encoded { index } | Zeros |      start, bytes of each; size
//!              |           |               |            |
//!            here    memory's source     here    memory's decoder
//! ```
//!
//! A dump, an export and a repaired dump are images. [`write`](crate::write) makes files and streams of them;
//! [`ImageReader`] reads one at any offset, as if it were written already.

mod reader;

use std::fmt;

use crate::address::PAGE_SIZE;
use crate::memory::{Backing, Frames};

pub use reader::{ImageError, ImageReader};

/// Consecutive bytes of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Where in the image they start.
    pub start: u64,
    /// How many there are: at least one.
    pub bytes: u64,
    /// Where they come from.
    pub data: SegmentData,
}

/// Where a segment's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum SegmentData {
    /// From here: exactly as many as the segment has.
    Bytes(Vec<u8>),
    /// From the [source](crate::memory::PhysicalMemory::source) of the guest's memory.
    Source {
        /// Offset of the first byte.
        offset: u64,
    },
    /// From nowhere: they are zero.
    Zeros,
    /// From the [decoder](crate::memory::PhysicalMemory::decoder) of the guest's memory, page by page; the segment is
    /// a whole number of pages.
    Encoded {
        /// The decoder's number of the first page.
        index: u64,
    },
}

/// Omits the bytes themselves, which would fill pages with numbers.
impl fmt::Debug for SegmentData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({:#x})", bytes.len()),
            Self::Source { offset } => write!(f, "Source {{ offset: {offset:#x} }}"),
            Self::Zeros => f.write_str("Zeros"),
            Self::Encoded { index } => write!(f, "Encoded {{ index: {index:#x} }}"),
        }
    }
}

impl SegmentData {
    /// The data `skipped` bytes further on, of which `bytes` are taken.
    fn part(&self, skipped: u64, bytes: u64) -> Self {
        match self {
            Self::Bytes(all) => {
                let from = usize::try_from(skipped).unwrap_or(usize::MAX);
                let count = usize::try_from(bytes).unwrap_or(usize::MAX);
                let rest = all.get(from..).unwrap_or_default();
                Self::Bytes(rest.get(..count).unwrap_or(rest).to_vec())
            }
            Self::Source { offset } => Self::Source {
                offset: offset.saturating_add(skipped),
            },
            Self::Encoded { index } => Self::Encoded {
                index: index.saturating_add(skipped / PAGE_SIZE),
            },
            Self::Zeros => Self::Zeros,
        }
    }

    /// Whether `next` goes on where this, `bytes` long, ends.
    fn goes_on(&self, bytes: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::Source { offset: a }, Self::Source { offset: b }) => {
                a.checked_add(bytes) == Some(*b)
            }
            (Self::Encoded { index: a }, Self::Encoded { index: b }) => {
                a.checked_add(bytes / PAGE_SIZE) == Some(*b)
            }
            (Self::Zeros, Self::Zeros) => true,
            _ => false,
        }
    }
}

/// A file that has not been written yet.
///
/// It is built from its first byte to its last; each method appends, and segments that go on where the last one ends
/// become one with it. [`size`](Self::size) is always the sum of the segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Image {
    segments: Vec<Segment>,
    size: u64,
    salvage: bool,
}

impl Image {
    /// An image without a byte.
    pub const fn new() -> Self {
        Self {
            segments: Vec::new(),
            size: 0,
            salvage: false,
        }
    }

    /// Everything in the file, in order and without a gap.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether pages that cannot be decoded are zeros in the file, instead of an error for the reader or writer.
    #[must_use]
    pub const fn salvage(&self) -> bool {
        self.salvage
    }

    /// Sets what becomes of pages that cannot be decoded: see [`salvage`](Self::salvage).
    pub const fn set_salvage(&mut self, salvage: bool) {
        self.salvage = salvage;
    }

    /// Appends these bytes.
    pub fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.push(bytes.len() as u64, SegmentData::Bytes(bytes));
    }

    /// Appends `bytes` of the memory's source, from `offset` on.
    pub fn push_source(&mut self, offset: u64, bytes: u64) {
        self.push(bytes, SegmentData::Source { offset });
    }

    /// Appends `pages` of the memory's decoder, from page `index` on.
    pub fn push_encoded(&mut self, index: u64, pages: u64) {
        self.push(
            pages.saturating_mul(PAGE_SIZE),
            SegmentData::Encoded { index },
        );
    }

    /// Appends zeros.
    pub fn push_zeros(&mut self, bytes: u64) {
        self.push(bytes, SegmentData::Zeros);
    }

    /// Appends frames of one backing, zeros where there is none.
    pub fn push_frames(&mut self, frames: Frames, backing: Option<Backing>) {
        match backing {
            Some(Backing::File { offset }) => self.push_source(offset, frames.bytes()),
            Some(Backing::Encoded { index }) => self.push_encoded(index, frames.count),
            Some(Backing::Zero) | None => self.push_zeros(frames.bytes()),
        }
    }

    /// Appends zeros that [`bytes_mut`](Self::bytes_mut) replaces later, such as a header that depends on what follows;
    /// returns the segment's number.
    pub fn reserve(&mut self, bytes: usize) -> usize {
        self.push_bytes(vec![0; bytes]);
        self.segments.len().saturating_sub(1)
    }

    /// The bytes of segment `index`, to be changed in place; empty if it has none of its own.
    pub fn bytes_mut(&mut self, index: usize) -> &mut [u8] {
        match self
            .segments
            .get_mut(index)
            .map(|segment| &mut segment.data)
        {
            Some(SegmentData::Bytes(bytes)) => bytes,
            _ => &mut [],
        }
    }

    fn push(&mut self, bytes: u64, data: SegmentData) {
        let start = self.size;
        // Beyond 2^64 there is nothing that could be read or written.
        let bytes = bytes.min(u64::MAX.saturating_sub(start));
        if bytes == 0 {
            return;
        }
        self.size = start.saturating_add(bytes);
        match self.segments.last_mut() {
            Some(last) if last.data.goes_on(last.bytes, &data) => {
                last.bytes = last.bytes.saturating_add(bytes);
            }
            _ => self.segments.push(Segment { start, bytes, data }),
        }
    }

    /// The segments from the one that holds `offset` on.
    fn from(&self, offset: u64) -> &[Segment] {
        let first = self
            .segments
            .partition_point(|segment| segment.end() <= offset);
        self.segments.get(first..).unwrap_or_default()
    }

    /// The bytes from `start` to `end`, which is not included, as an image of their own. Both are multiples of 4096 or
    /// beyond the end where pages have to be decoded, as decoded pages are not cut.
    pub fn slice(&self, start: u64, end: u64) -> Self {
        let mut slice = Self::new();
        slice.salvage = self.salvage;
        for segment in self.from(start) {
            let (first, last) = (segment.start.max(start), segment.end().min(end));
            if first >= last {
                break;
            }
            let skipped = first.saturating_sub(segment.start);
            let bytes = last.saturating_sub(first);
            slice.push(bytes, segment.data.part(skipped, bytes));
        }
        slice
    }
}

impl Segment {
    /// One past its last byte in the image.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Pfn;

    fn image() -> Image {
        let mut image = Image::new();
        let header = image.reserve(2);
        image.push_source(0x3000, 0x1000);
        image.push_source(0x4000, 0x1000);
        image.push_zeros(0);
        image.push_encoded(7, 1);
        image.push_frames(
            Frames::new(Pfn::new(1), 2),
            Some(Backing::Encoded { index: 8 }),
        );
        image.push_frames(Frames::new(Pfn::new(9), 1), None);
        image.push_zeros(5);
        image.bytes_mut(header).copy_from_slice(&[1, 2]);
        image
    }

    #[test]
    fn what_goes_on_is_one_segment_and_the_size_is_the_sum() {
        let image = image();
        let shapes: Vec<_> = image
            .segments()
            .iter()
            .map(|segment| (segment.start, segment.bytes, segment.data.clone()))
            .collect();
        let wanted = [
            (0, 2, SegmentData::Bytes(vec![1, 2])),
            (2, 0x2000, SegmentData::Source { offset: 0x3000 }),
            (0x2002, 0x3000, SegmentData::Encoded { index: 7 }),
            (0x5002, 0x1005, SegmentData::Zeros),
        ];
        assert_eq!(shapes, wanted);
        assert_eq!(image.size(), 0x6007);
    }

    #[test]
    fn a_size_never_overflows() {
        let mut image = image();
        image.push_source(0, u64::MAX);
        image.push_zeros(1);
        assert_eq!(image.size(), u64::MAX);
        assert_eq!(image.segments().last().map(Segment::end), Some(u64::MAX));
    }

    #[test]
    fn a_slice_holds_what_is_between() {
        let image = image();
        let slice = image.slice(1, 0x1002);
        let shapes: Vec<_> = slice
            .segments()
            .iter()
            .map(|segment| (segment.start, segment.bytes, segment.data.clone()))
            .collect();
        let wanted = [
            (0, 1, SegmentData::Bytes(vec![2])),
            (1, 0x1000, SegmentData::Source { offset: 0x3000 }),
        ];
        assert_eq!(shapes, wanted);
        assert_eq!(image.slice(0, u64::MAX), image);
        assert_eq!(image.slice(image.size(), u64::MAX), Image::new());
    }
}
