//! A file before a byte moves: segments, in order.

use std::fmt;

/// Consecutive bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many.
    pub bytes: u64,
    /// Where they come from.
    pub data: SegmentData,
}

/// Where a segment's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum SegmentData {
    /// They are here.
    Bytes(Vec<u8>),
    /// They are in the container's file at this offset.
    Source {
        /// Of the first byte.
        offset: u64,
    },
    /// They are zero.
    Zeros,
    /// The memory's decoder makes them, page by page.
    Encoded {
        /// The decoder's number of the first page.
        index: u64,
    },
}

/// Without the bytes themselves: pages of numbers say nothing.
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
