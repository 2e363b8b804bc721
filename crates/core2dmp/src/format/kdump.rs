//! kdump-compressed dumps, as makedumpfile and QEMU write them, and the flattened form around them.
//!
//! ```text
//! block 0   header            "KDUMP   "; 32 or 64 bit: `timeval` before the numbers is 8 or 16 bytes
//! block 1   sub header        grows with the header's version; 32 or 64 bit
//!           first bitmap      frames that the guest has
//!           second bitmap     frames that the file has
//!           page descriptors  one a frame of the second bitmap, ascending
//!           page data
//! ```
//!
//! The flattened form is a header and records `{ offset, size, data }`, big-endian; an offset of -1 ends it.
//!
//! Sources: makedumpfile 1.7, `diskdump_mod.h`, `makedumpfile.h` and `IMPLEMENTATION`; QEMU, `include/sysemu/dump.h`;
//! a file of QEMU 10.0.2.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// First bytes of the file.
pub(crate) const SIGNATURE: &[u8; 8] = b"KDUMP   ";
/// `Numbers::block_size`'s offset where the writer is 64 bit.
pub(crate) const NUMBERS_64: usize = 424;
/// And where it is 32 bit.
pub(crate) const NUMBERS_32: usize = 412;
/// Offset of the header's version, a u32.
pub(crate) const VERSION: usize = 8;
/// Versions that exist.
pub(crate) const VERSIONS: core::ops::RangeInclusive<u32> = 1..=6;

/// `Numbers::status`: the writer ran out of space.
pub(crate) const STATUS_INCOMPLETE: u32 = 8;

/// The numbers in the header.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Numbers {
    /// How pages are compressed, and [`STATUS_INCOMPLETE`].
    pub(crate) status: U32,
    /// Bytes of a block and of a page.
    pub(crate) block_size: U32,
    /// Blocks of the sub header.
    pub(crate) sub_header_blocks: U32,
    /// Blocks of both bitmaps.
    pub(crate) bitmap_blocks: U32,
    /// One past the last frame; 32 bits of it from version 6 on.
    pub(crate) max_mapnr: U32,
    total_ram_blocks: U32,
    device_blocks: U32,
    written_blocks: U32,
    current_cpu: U32,
    /// Processors, where the writer knew.
    pub(crate) cpus: U32,
}

/// `kdump_sub_header` of a 64-bit writer; what a version lacks is zeros.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SubHeader64 {
    phys_base: U64,
    dump_level: U32,
    /// Whether the file is a part. Version 2 and later, as are the next two.
    pub(crate) split: U32,
    /// The part's first frame.
    pub(crate) start_pfn: U64,
    /// One past its last.
    pub(crate) end_pfn: U64,
    vmcoreinfo: [U64; 2],
    /// Version 4 and later, as is the next.
    pub(crate) note_offset: U64,
    /// Bytes of the notes.
    pub(crate) note_bytes: U64,
    eraseinfo: [U64; 2],
    /// Version 6, as are the next two, in the place of those above.
    pub(crate) start_pfn_64: U64,
    /// One past the part's last frame.
    pub(crate) end_pfn_64: U64,
    /// In the place of [`Numbers::max_mapnr`].
    pub(crate) max_mapnr_64: U64,
}

/// `kdump_sub_header` of a 32-bit writer.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SubHeader32 {
    phys_base: U32,
    dump_level: U32,
    pub(crate) split: U32,
    pub(crate) start_pfn: U32,
    pub(crate) end_pfn: U32,
    vmcoreinfo_offset: U64,
    vmcoreinfo_bytes: U32,
    pub(crate) note_offset: U64,
    pub(crate) note_bytes: U32,
    eraseinfo_offset: U64,
    eraseinfo_bytes: U32,
    pub(crate) start_pfn_64: U64,
    pub(crate) end_pfn_64: U64,
    pub(crate) max_mapnr_64: U64,
}

/// Bytes of [`SubHeader64`] that a dump of version 2 or 3 has.
pub(crate) const SUB_HEADER_64_VERSION_2: usize = 32;
/// And one of version 4 or 5.
pub(crate) const SUB_HEADER_64_VERSION_4: usize = 64;
/// Bytes of [`SubHeader32`] that a dump of version 2 or 3 has.
pub(crate) const SUB_HEADER_32_VERSION_2: usize = 20;
/// And one of version 4 or 5.
pub(crate) const SUB_HEADER_32_VERSION_4: usize = 44;

/// A page's data.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct PageDescriptor {
    /// Where it is; pages may share it, zero pages do.
    pub(crate) offset: U64,
    /// Bytes of it.
    pub(crate) size: U32,
    /// How it is compressed.
    pub(crate) flags: U32,
    page_flags: U64,
}

/// `PageDescriptor::flags`: zlib.
pub(crate) const FLAG_ZLIB: u32 = 0x01;
/// LZO1X.
pub(crate) const FLAG_LZO: u32 = 0x02;
/// Snappy, without frames.
pub(crate) const FLAG_SNAPPY: u32 = 0x04;
/// Zstandard.
pub(crate) const FLAG_ZSTD: u32 = 0x20;

/// First bytes of the flattened form.
pub(crate) const FLAT_SIGNATURE: &[u8; 16] = b"makedumpfile\0\0\0\0";
/// Where its records start.
pub(crate) const FLAT_RECORDS: u64 = 4096;
/// A record's offset that ends the file.
pub(crate) const FLAT_END: u64 = u64::MAX;

/// What is before a record's data.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FlatRecord {
    /// Where the data belongs.
    pub(crate) offset: zerocopy::big_endian::U64,
    /// How many bytes follow.
    pub(crate) size: zerocopy::big_endian::U64,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Numbers>() == 40);
    assert!(size_of::<SubHeader64>() == 104);
    assert!(offset_of!(SubHeader64, end_pfn) + 8 == SUB_HEADER_64_VERSION_2);
    assert!(offset_of!(SubHeader64, note_offset) == 48);
    assert!(offset_of!(SubHeader64, note_bytes) + 8 == SUB_HEADER_64_VERSION_4);
    assert!(offset_of!(SubHeader64, max_mapnr_64) == 96);
    assert!(size_of::<SubHeader32>() == 80);
    assert!(offset_of!(SubHeader32, end_pfn) + 4 == SUB_HEADER_32_VERSION_2);
    assert!(offset_of!(SubHeader32, note_offset) == 32);
    assert!(offset_of!(SubHeader32, note_bytes) + 4 == SUB_HEADER_32_VERSION_4);
    assert!(offset_of!(SubHeader32, max_mapnr_64) == 72);
    assert!(size_of::<PageDescriptor>() == 24);
    assert!(size_of::<FlatRecord>() == 16);
};
