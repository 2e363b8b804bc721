//! DumpIt's compressed dump: a Windows crash dump in blocks.
//!
//! ```text
//! header | up to 0x1000 | "ZBLK" size CRC | data | "ZBLK" size CRC | data | ...
//! ```
//!
//! Sources: Z2Dmp, `Z2Dmp.h` and `Z2Dmp.cpp`; z2dmp-rust, `zdmp.rs`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// [`Header::signature`].
pub(crate) const SIGNATURE: &[u8; 4] = b"ZDMP";
/// [`Header::version`].
pub(crate) const VERSION: u32 = 0x100;
/// [`Header::data_type`]: as it is, or compressed. 2 is encrypted.
pub(crate) const PLAIN: u16 = 0;
/// See [`PLAIN`].
pub(crate) const COMPRESSED: u16 = 1;
/// [`Header::compression`]: LZNT1, the only one that is written.
pub(crate) const LZNT1: u16 = 2;
/// Where the first block is.
pub(crate) const FIRST_BLOCK: u64 = 0x1000;
/// [`BlockHeader::signature`].
pub(crate) const BLOCK_SIGNATURE: &[u8; 4] = b"ZBLK";

/// At the beginning.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`SIGNATURE`].
    pub(crate) signature: [u8; 4],
    /// [`VERSION`].
    pub(crate) version: U32,
    /// Bytes of the dump.
    pub(crate) size: U64,
    /// Bytes of the dump that a block holds; the last holds what is left.
    pub(crate) block_size: U32,
    /// [`PLAIN`] or [`COMPRESSED`].
    pub(crate) data_type: U16,
    /// [`LZNT1`].
    pub(crate) compression: U16,
}

/// In front of a block's data.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockHeader {
    /// [`BLOCK_SIGNATURE`].
    pub(crate) signature: [u8; 4],
    /// Bytes of data; as many as a block holds if it is not compressed.
    pub(crate) size: U32,
    /// CRC-32 (of zlib) of the data as stored.
    pub(crate) crc: U32,
}

const _: () = assert!(size_of::<Header>() == 24 && size_of::<BlockHeader>() == 12);
