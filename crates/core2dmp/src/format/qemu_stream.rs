//! QEMU's migration stream, and the header that libvirt puts in front of it. Numbers are big-endian, except libvirt's.
//!
//! ```text
//! "QEVM" 3 | 7: machine, capabilities | sections .. | 0 | 6: length, JSON that describes the devices
//! section   1 start | id | name | instance | version | data | 7e id       2 part, 3 end: without name
//! RAM       address + flags | [name of the block] | a page, or the byte that fills it
//! ```
//!
//! Sources: QEMU 10.0.2, `migration/savevm.[ch]`, `ram.[ch]`, `vmstate.c`, `vmstate-types.c`; QEMU 7.2 for compressed
//! pages; libvirt 11.3, `src/qemu/qemu_saveimage.h`; files of QEMU 7.2.22 and 10.0.2.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What a stream begins with.
pub(crate) const MAGIC: [u8; 4] = *b"QEVM";
/// The version behind [`MAGIC`]; 2 was the last before it, in 2009.
pub(crate) const VERSION: u32 = 3;

/// What is next in the stream.
pub(crate) mod mark {
    /// The end of the sections.
    pub(crate) const EOF: u8 = 0;
    /// The first part of something that is sent in parts.
    pub(crate) const START: u8 = 1;
    /// A further part.
    pub(crate) const PART: u8 = 2;
    /// The last part.
    pub(crate) const END: u8 = 3;
    /// A device, at once.
    pub(crate) const FULL: u8 = 4;
    /// What a device adds where it needs to.
    pub(crate) const SUBSECTION: u8 = 5;
    /// The description of the devices.
    pub(crate) const DESCRIPTION: u8 = 6;
    /// Machine type and capabilities.
    pub(crate) const CONFIGURATION: u8 = 7;
    /// A command to the other side: u16 kind, u16 bytes.
    pub(crate) const COMMAND: u8 = 8;
    /// Behind a section, with its id; machines before 2.4 have none.
    pub(crate) const FOOTER: u8 = 0x7e;
}

/// Name of the RAM's section, and its only version.
pub(crate) const RAM: (&[u8], u32) = (b"ram", 4);

/// Flags in the low bits of a RAM address.
pub(crate) mod flag {
    /// A page that one byte fills, which follows: zero, but in QEMU before 1.2.
    pub(crate) const ZERO: u64 = 0x02;
    /// The list of blocks; the address is the size of them all.
    pub(crate) const MEM_SIZE: u64 = 0x04;
    /// A page.
    pub(crate) const PAGE: u64 = 0x08;
    /// The end of the section's data.
    pub(crate) const EOS: u64 = 0x10;
    /// The block is that of the page before: no name.
    pub(crate) const CONTINUE: u64 = 0x20;
    /// A difference to what was sent before.
    pub(crate) const XBZRLE: u64 = 0x40;
    /// RDMA: the page went another way.
    pub(crate) const HOOK: u64 = 0x80;
    /// A page in zlib's format, behind a u32 of its bytes; until QEMU 9.0.
    pub(crate) const COMPRESSED: u64 = 0x100;
    /// Other channels are done up to here.
    pub(crate) const MULTIFD_FLUSH: u64 = 0x200;
}

/// Capability: the pages of a block are in their order, behind a bitmap.
pub(crate) const MAPPED_RAM: &[u8] = b"mapped-ram";
/// Capability: shared blocks are left out, and each block's address is recorded.
pub(crate) const IGNORE_SHARED: &[u8] = b"x-ignore-shared";
/// `MappedRamHeader`: u32 version (1), u64 page size, u64 offset of the bitmap, u64 offset of the pages.
pub(crate) const MAPPED_HEADER: usize = 28;
/// Its version.
pub(crate) const MAPPED_VERSION: u32 = 1;

/// Subsections of the configuration.
pub(crate) mod configuration {
    /// u32 count, then names with a length of one byte.
    pub(crate) const CAPABILITIES: &[u8] = b"configuration/capabilities";
    /// u32.
    pub(crate) const PAGE_BITS: &[u8] = b"configuration/target-page-bits";
    /// 16 bytes.
    pub(crate) const UUID: &[u8] = b"configuration/uuid";
}

/// Where the CMOS tells the RAM: 64 KiB units from 16 MiB on, and from 4 GiB on (QEMU, `pc_cmos_init`).
pub(crate) mod cmos {
    /// Two bytes, low first.
    pub(crate) const ABOVE_16M: usize = 0x34;
    /// Three bytes, low first.
    pub(crate) const ABOVE_4G: usize = 0x5b;
}

/// `LibvirtHeader::magic`.
pub(crate) const LIBVIRT_MAGIC: [u8; 16] = *b"LibvirtQemudSave";
/// The same while libvirt is still writing.
pub(crate) const LIBVIRT_PARTIAL: [u8; 16] = *b"LibvirtQemudPart";

/// What `virsh save` puts in front of the stream, in the host's byte order; the domain's XML follows.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LibvirtHeader {
    /// [`LIBVIRT_MAGIC`] or [`LIBVIRT_PARTIAL`].
    pub(crate) magic: [u8; 16],
    /// 2; 3 is not known yet.
    pub(crate) version: U32,
    /// Bytes between this header and the stream.
    pub(crate) data_bytes: U32,
    /// Whether the guest ran.
    pub(crate) was_running: U32,
    /// Index in [`LIBVIRT_FORMATS`].
    pub(crate) format: U32,
    cookie_offset: U32,
    unused: [U32; 14],
}

/// How the stream is packed; the last is a stream with mapped RAM, not packed.
pub(crate) const LIBVIRT_FORMATS: [&str; 7] =
    ["raw", "gzip", "bzip2", "xz", "lzop", "zstd", "sparse"];

const _: () = assert!(size_of::<LibvirtHeader>() == 92);
