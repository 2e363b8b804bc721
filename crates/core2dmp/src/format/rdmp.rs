//! The header of dumps whose pages a table of ranges names: WinDbg's `.dump /k`, `/ka` and `/f` since 2022.
//!
//! ```text
//! +00 0x40 "RDMP" "DUMP"  +10 metadata bytes, counted from +20  +18 file offset of the first page
//! +20 ranges u32, not initialised u32, pages u64
//! +30 { first frame u64, frames u64 } ...   as many as +20 says
//! ```
//!
//! One layout for types 8, 9 and 0xA. Only the count ends the table: a range may begin with frame 0. The first page
//! follows the table at once and is not aligned to a page. The debugger looks at the count and at the offset of the
//! first page; it compares the number of pages with the file's size, and looks at nothing else.
//!
//! Sources: files that dbgeng 10.0.29507 wrote, one field changed at a time in front of it; kdmp-parser 0.8.2.
//! dbgeng 10.0.10240 does not know these types.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first number.
pub(crate) const MARKER: u32 = 0x40;
/// The first tag.
pub(crate) const TAG: [u8; 4] = *b"RDMP";
/// The second tag.
pub(crate) const SECOND_TAG: [u8; 4] = *b"DUMP";
/// Where the metadata begins, from the header on.
pub(crate) const METADATA_START: u64 = 0x20;
/// Bytes in front of the ranges.
pub(crate) const BYTES: u64 = 0x30;

/// In front of the ranges.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RangesHeader {
    /// [`MARKER`].
    pub(crate) marker: U32,
    /// [`TAG`].
    pub(crate) tag: [u8; 4],
    /// [`SECOND_TAG`].
    pub(crate) second_tag: [u8; 4],
    /// Unknown.
    pub(crate) reserved: U32,
    /// Bytes from [`METADATA_START`] to the first page.
    pub(crate) metadata_bytes: U64,
    /// File offset of the first page.
    pub(crate) first_page: U64,
    /// Ranges of the table.
    pub(crate) ranges: U32,
    /// Not initialised.
    pub(crate) unused: U32,
    /// Pages of all ranges.
    pub(crate) pages: U64,
}

/// Consecutive frames; their pages are in the order of the table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Range {
    /// The first frame.
    pub(crate) first: U64,
    /// How many.
    pub(crate) frames: U64,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<RangesHeader>() as u64 == BYTES);
    assert!(offset_of!(RangesHeader, metadata_bytes) == 0x10);
    assert!(offset_of!(RangesHeader, ranges) as u64 == METADATA_START);
    assert!(offset_of!(RangesHeader, pages) == 0x28);
};
