//! The headers of dumps whose pages a bitmap names: behind the dump's own header, in front of the bitmap.
//!
//! ```text
//! types 5, 6   +00 "FDMP"|"SDMP" "DUMP"  +20 first page u64  +28 pages u64  +30 bits u64  +38 bitmap
//! type 2       +00 "SDMP" "DUMP"  +08 options  +0c first page u32  +10 bits u32  +14 pages u32
//!              +18 RTL_BITMAP: bits u32, a pointer; bitmap at +28 (64 bit) or +20 (32 bit)
//! ```
//!
//! Bit n, the lowest of a byte first, is frame n; the pages follow in ascending order.
//!
//! Sources: kdmp-parser and Volatility for types 5 and 6, `RTL_BITMAP` in wdm.h; type 2 as dbgeng 10.0.10240
//! opens it, which asks for one of the two tags, not which, and uses neither the second tag nor `RTL_BITMAP`; of type 2
//! it asks for "SDMP", and for at least one run in the dump header, which it does not use either.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First tag in front of a bitmap of all memory.
pub(crate) const TAG_FULL: [u8; 4] = *b"FDMP";
/// First tag in front of a bitmap of the kernel's memory, and of a summary dump.
pub(crate) const TAG_SUMMARY: [u8; 4] = *b"SDMP";
/// Second tag of all of them.
pub(crate) const TAG_DUMP: [u8; 4] = *b"DUMP";

/// Bytes of the bitmap's header in front of a summary dump's bitmap, 32 bit.
pub(crate) const SUMMARY_BYTES32: u64 = 0x20;
/// Bytes of the bitmap's header in front of a summary dump's bitmap, 64 bit.
pub(crate) const SUMMARY_BYTES64: u64 = 0x28;
/// Bytes of the header in front of the bitmap of types 5 and 6.
pub(crate) const BITMAP_BYTES: u64 = 0x38;

/// In front of the bitmap, types 5 and 6.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BitmapHeader {
    /// [`TAG_FULL`] or [`TAG_SUMMARY`].
    pub(crate) tag: [u8; 4],
    /// [`TAG_DUMP`].
    pub(crate) second_tag: [u8; 4],
    /// Unknown.
    pub(crate) options: [u8; 0x18],
    /// File offset of the first page: the bitmap ends before it.
    pub(crate) first_page: U64,
    /// Set bits.
    pub(crate) present_pages: U64,
    /// Bits of the bitmap.
    pub(crate) bits: U64,
}

/// In front of the bitmap, type 2: what both widths share.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SummaryHeader {
    /// [`TAG_SUMMARY`].
    pub(crate) tag: [u8; 4],
    /// [`TAG_DUMP`].
    pub(crate) second_tag: [u8; 4],
    /// 0.
    pub(crate) options: U32,
    /// File offset of the first page: the bitmap ends before it.
    pub(crate) first_page: U32,
    /// Bits of the bitmap.
    pub(crate) bits: U32,
    /// Set bits.
    pub(crate) present_pages: U32,
    /// `RTL_BITMAP::SizeOfBitMap`: bits once more.
    pub(crate) bits_again: U32,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<BitmapHeader>() as u64 == BITMAP_BYTES);
    assert!(offset_of!(BitmapHeader, first_page) == 0x20);
    assert!(offset_of!(BitmapHeader, bits) == 0x30);
    assert!(size_of::<SummaryHeader>() == 0x1c);
    assert!(offset_of!(SummaryHeader, first_page) == 0x0c);
};
