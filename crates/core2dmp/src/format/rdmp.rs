//! The header of dumps whose pages a table of ranges names: WinDbg's `.dump /k`, `/ka` and `/f` since 2022.
//!
//! ```text
//! +00 0x40 "RDMP" "DUMP"  +10 metadata bytes, counted from +20  +18 file offset of the first page
//! +20 type 0xA: ranges u32, u16, u16, pages u64; types 8, 9: unknown
//! +30 { first frame u64, frames u64 } ...   until a first frame of 0, or the metadata's end
//! ```
//!
//! So `first page == offset of this header + 0x20 + metadata bytes`, and frame 0 cannot be the start of a range.
//!
//! Source: kdmp-parser 0.8.2; dbgeng 10.0.10240 does not know these types.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first number.
pub const MARKER: u32 = 0x40;
/// The first tag.
pub const TAG: [u8; 4] = *b"RDMP";
/// The second tag.
pub const SECOND_TAG: [u8; 4] = *b"DUMP";
/// Where the metadata begins, from the header on.
pub const METADATA_START: u64 = 0x20;
/// Bytes in front of the ranges.
pub const BYTES: u64 = 0x30;

/// In front of the ranges.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RangesHeader {
    /// [`MARKER`].
    pub marker: U32,
    /// [`TAG`].
    pub tag: [u8; 4],
    /// [`SECOND_TAG`].
    pub second_tag: [u8; 4],
    /// Unknown.
    pub reserved: U32,
    /// Bytes from [`METADATA_START`] to the first page.
    pub metadata_bytes: U64,
    /// File offset of the first page.
    pub first_page: U64,
    /// Of type 0xA; unknown in types 8 and 9.
    pub ranges: U32,
    /// Unknown.
    pub unknown: [U16; 2],
    /// Pages of all ranges, of type 0xA; unknown in types 8 and 9.
    pub pages: U64,
}

/// Consecutive frames; their pages stand in the order of the table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Range {
    /// The first frame; 0 ends the table.
    pub first: U64,
    /// How many.
    pub frames: U64,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<RangesHeader>() as u64 == BYTES);
    assert!(offset_of!(RangesHeader, metadata_bytes) == 0x10);
    assert!(offset_of!(RangesHeader, ranges) as u64 == METADATA_START);
    assert!(offset_of!(RangesHeader, pages) == 0x28);
};
