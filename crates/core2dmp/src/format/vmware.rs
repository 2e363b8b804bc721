//! VMware's saved states (`.vmss`) and snapshots (`.vmsn`): groups of tags.
//!
//! ```text
//! header  magic | version | number of groups
//! group   name, 64 bytes | where its tags start | bytes
//! tag     6 bits size, 2 bits indices | length of name | name | indices, 4 bytes each | value
//!         size 62, 63: stored bytes | bytes in memory | padding, 2 bytes | that padding | the block
//! tags end with a tag of two zero bytes
//! ```
//!
//! Sources: crash, `vmware_vmss.h` and `vmware_vmss.c` (by VMware's own); Volatility, `addrspaces/vmware.py`;
//! vmsnparser, `vmsn.py`; Rekall, `addrspaces/vmem.py`; `LeechCore`, `device_file.c`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// `Header::magic` of files whose blocks have sizes of 4 bytes: one by Volatility and vmsnparser, one by crash.
pub(crate) const MAGICS_32: [u32; 2] = [0xbed2_bed0, 0xbed0_bed0];
/// `Header::magic` of the others: checkpoint, partial, restored, not to be restored.
pub(crate) const MAGICS_64: [u32; 4] = [0xbed2_bed2, 0xbed3_bed3, 0xbad1_bad1, 0xbad2_bad2];
/// All of them as a file begins.
pub(crate) const MAGICS: &[&[u8]] = &[
    &MAGICS_32[0].to_le_bytes(),
    &MAGICS_32[1].to_le_bytes(),
    &MAGICS_64[0].to_le_bytes(),
    &MAGICS_64[1].to_le_bytes(),
    &MAGICS_64[2].to_le_bytes(),
    &MAGICS_64[3].to_le_bytes(),
];

/// At the beginning of the file.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// One of [`MAGICS_32`] or [`MAGICS_64`].
    pub(crate) magic: U32,
    version: U32,
    /// Groups that follow.
    pub(crate) groups: U32,
}

/// A group of tags.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Group {
    /// Ends with a zero.
    pub(crate) name: [u8; 64],
    /// File offset of its first tag.
    pub(crate) position: U64,
    /// Readers go by the tag that ends a group instead.
    size: U64,
}

/// Bits of a tag's first byte that are the value's size.
pub(crate) const SIZE_MASK: u8 = 0x3f;
/// Where the number of indices starts in that byte.
pub(crate) const INDICES_SHIFT: u32 = 6;
/// Sizes from here on stand for a block with a size of its own. Of the two, sources do not agree which one
/// is compressed; the two sizes of the block tell.
pub(crate) const BLOCK_SIZES: u8 = 62;

/// Segments in the order of the second index of the tag `S`.
pub(crate) mod segment {
    /// ES.
    pub(crate) const ES: usize = 0;
    /// CS.
    pub(crate) const CS: usize = 1;
    /// SS.
    pub(crate) const SS: usize = 2;
    /// DS.
    pub(crate) const DS: usize = 3;
    /// FS.
    pub(crate) const FS: usize = 4;
    /// GS.
    pub(crate) const GS: usize = 5;
    /// The local descriptor table's.
    pub(crate) const LDTR: usize = 6;
    /// The task's.
    pub(crate) const TR: usize = 7;
}

const _: () = assert!(size_of::<Header>() == 12 && size_of::<Group>() == 80);
