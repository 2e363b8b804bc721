//! The header in front of each range of LiME and AVML files.
//!
//! ```text
//! LiME  "EMiL" version 1 | first | last | 0 |  the bytes
//! AVML  "AVML" version 2 | first | last | 0 |  the bytes as a Snappy stream | u64: bytes of that stream
//! ```
//!
//! Sources: LiME, `doc/README.md`; AVML, `README.md` and `src/image.rs`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `RangeHeader::magic` of LiME.
pub(crate) const MAGIC_LIME: u32 = u32::from_le_bytes(*b"EMiL");
/// Its version.
pub(crate) const VERSION_LIME: u32 = 1;
/// `RangeHeader::magic` of AVML.
pub(crate) const MAGIC_AVML: u32 = u32::from_le_bytes(*b"AVML");
/// Its version.
pub(crate) const VERSION_AVML: u32 = 2;

/// Stands in front of each range.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RangeHeader {
    /// [`MAGIC_LIME`] or [`MAGIC_AVML`].
    pub(crate) magic: U32,
    /// [`VERSION_LIME`] or [`VERSION_AVML`].
    pub(crate) version: U32,
    /// Physical address of the first byte.
    pub(crate) first: U64,
    /// Physical address of the last byte, which is included.
    pub(crate) last: U64,
    reserved: U64,
}

impl RangeHeader {
    /// The header of a range of LiME; `last` is included.
    #[must_use]
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self {
            magic: MAGIC_LIME.into(),
            version: VERSION_LIME.into(),
            first: first.into(),
            last: last.into(),
            reserved: 0.into(),
        }
    }
}

/// Bytes of the length behind a range of AVML.
pub(crate) const AVML_LENGTH: u64 = 8;

/// A chunk of a Snappy stream: a type, and a length of three bytes.
///
/// Source: `framing_format.txt` of Snappy.
pub(crate) mod snappy {
    /// The chunk that a stream begins with.
    pub(crate) const STREAM: &[u8] = b"\xff\x06\x00\x00sNaPpY";
    /// Bytes of a chunk's header.
    pub(crate) const HEADER: usize = 4;
    /// Bytes of the checksum that data chunks begin with.
    pub(crate) const CHECKSUM: u64 = 4;
    /// Bytes that a chunk holds at most.
    pub(crate) const MAX_DATA: u64 = 1 << 16;
    /// Chunk type: compressed data.
    pub(crate) const COMPRESSED: u8 = 0x00;
    /// Chunk type: data as it is.
    pub(crate) const PLAIN: u8 = 0x01;
    /// The first chunk type that a reader may skip; those before must be known.
    pub(crate) const SKIPPABLE: u8 = 0x80;
}

const _: () = assert!(size_of::<RangeHeader>() == 32);
