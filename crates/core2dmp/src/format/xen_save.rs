//! Xen's saved domains: the headers of `xl` and libvirt, the stream of libxl, the image of libxc, and in it Xen's own context.
//!
//! ```text
//! xl       "Xen saved domain, xl format\n \0 \r" | 01020304 | flags | bytes | configuration
//! libvirt  "libvirt-xml\n \0 \r" | version | bytes | XML
//! libxl    "LibxlFmt" 2 | records: 1 the image of libxc follows, 3 the emulator's state, 0 the end
//! libxc    ff x 8 "XENF" 3 | type, page size | records: 1 pages, 9 Xen's context, 0 the end
//! context  type, instance, bytes | data                    1 header, 2 a vCPU, 0 the end
//! ```
//!
//! Sources: Xen, `docs/specs/libxc-migration-stream.pandoc` and `libxl-migration-stream.pandoc`, `tools/xl/xl.h`,
//! `xen/include/public/hvm/save.h`, `xen/include/public/arch-x86/hvm/save.h`; libvirt 11.3, `src/libxl/libxl_conf.h`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// `XlHeader::magic`.
pub const XL_MAGIC: [u8; 32] = *b"Xen saved domain, xl format\n \0 \r";
/// `XlHeader::byte_order`.
pub const XL_BYTE_ORDER: u32 = 0x0102_0304;
/// `XlHeader::mandatory`: the configuration is JSON.
pub const XL_JSON: u32 = 1;
/// `XlHeader::mandatory`: a stream of libxl follows; without it, that of before Xen 4.6.
pub const XL_STREAM_2: u32 = 2;

/// What `xl save` begins with; the optional data follow.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct XlHeader {
    magic: [u8; 32],
    /// [`XL_BYTE_ORDER`].
    pub byte_order: U32,
    /// Who does not know one of these bits must not go on.
    pub mandatory: U32,
    optional: U32,
    /// Bytes of the optional data.
    pub optional_bytes: U32,
}

/// `LibvirtHeader::magic`.
pub const LIBVIRT_MAGIC: [u8; 16] = *b"libvirt-xml\n \0 \r";

/// What `virsh save` begins with on Xen; XML follows.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LibvirtHeader {
    magic: [u8; 16],
    /// 2 since there are streams of libxl.
    pub version: U32,
    /// Bytes of XML.
    pub xml_bytes: U32,
    unused: [U32; 10],
}

/// What the stream of libxl begins with.
pub const LIBXL_MAGIC: [u8; 8] = *b"LibxlFmt";
/// Its version; big-endian, as the options behind it.
pub const LIBXL_VERSION: u32 = 2;

/// Records of libxl.
pub mod libxl {
    /// The last.
    pub const END: u32 = 0;
    /// The image of libxc follows, outside of any record.
    pub const LIBXC_CONTEXT: u32 = 1;
    /// The first number that is not known.
    pub const UNKNOWN: u32 = 6;
}

/// What the image of libxc begins with: the marker and the id.
pub const LIBXC_MAGIC: [u8; 12] = *b"\xff\xff\xff\xff\xff\xff\xff\xffXENF";
/// Versions that are known; big-endian, as the options behind it.
pub const LIBXC_VERSIONS: [u32; 2] = [2, 3];
/// An option of both headers: big-endian.
pub const BIG_ENDIAN: u32 = 1;

/// Follows the image's header of 24 bytes.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DomainHeader {
    /// [`TYPE_PV`] or [`TYPE_HVM`].
    pub kind: U32,
    /// The page's size is two to the power of its low 16 bits.
    pub page_shift: U32,
    /// Xen's version; 0 where an older image was converted.
    pub xen_major: U32,
    /// Xen's version.
    pub xen_minor: U32,
}

/// `DomainHeader::kind`.
pub const TYPE_PV: u32 = 1;
/// `DomainHeader::kind`.
pub const TYPE_HVM: u32 = 2;

/// Records of libxc.
pub mod libxc {
    /// The last.
    pub const END: u32 = 0;
    /// Pages: u32 count, u32, frames of u64 with their type, pages.
    pub const PAGE_DATA: u32 = 1;
    /// What Xen keeps of an HVM guest.
    pub const HVM_CONTEXT: u32 = 9;
    /// What follows is sent for comparison.
    pub const VERIFY: u32 = 0xd;
    /// All that came before belongs together.
    pub const CHECKPOINT: u32 = 0xe;
    /// The first number that is not known.
    pub const UNKNOWN: u32 = 0x13;
    /// Records with this bit may be passed over.
    pub const OPTIONAL: u32 = 1 << 31;
    /// Bytes of a record that libxc accepts.
    pub const MAX_BYTES: u32 = 128 << 20;
}

/// Types of pages, in the high four bits of a frame's number.
pub mod page {
    /// The frame's number.
    pub const PFN: u64 = (1 << 52) - 1;
    /// The bits of the type.
    pub const TYPE_SHIFT: u32 = 60;
    /// Broken: no data.
    pub const BROKEN: u64 = 0xd;
    /// There, but without data: zeros.
    pub const ALLOCATED: u64 = 0xe;
    /// Not there.
    pub const NONE: u64 = 0xf;
}

/// `type` of an entry of the context.
pub mod entry {
    /// The last.
    pub const END: u16 = 0;
    /// Magic and version.
    pub const HEADER: u16 = 1;
    /// A vCPU.
    pub const CPU: u16 = 2;
    /// The header's first four bytes.
    pub const MAGIC: u32 = 0x5438_1286;
}

/// `hvm_hw_cpu`: what a vCPU's entry begins with. Later versions of Xen added to its end.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct HvmCpu {
    /// An FXSAVE image.
    pub fpu: [u8; 512],
    pub rax: U64,
    pub rbx: U64,
    pub rcx: U64,
    pub rdx: U64,
    pub rbp: U64,
    pub rsi: U64,
    pub rdi: U64,
    pub rsp: U64,
    /// R8 to R15.
    pub r8_r15: [U64; 8],
    pub rip: U64,
    pub rflags: U64,
    pub cr0: U64,
    pub cr2: U64,
    pub cr3: U64,
    pub cr4: U64,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [U64; 6],
    /// CS, DS, ES, FS, GS, SS, TR, LDTR.
    pub selectors: [U32; 8],
    /// The same, then IDTR and GDTR.
    pub limits: [U32; 10],
    /// The same.
    pub bases: [U64; 10],
    rights: [U32; 8],
    sysenter: [U64; 3],
    /// The GS base that is not active.
    pub shadow_gs: U64,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<XlHeader>() == 48);
    assert!(size_of::<LibvirtHeader>() == 64);
    assert!(size_of::<DomainHeader>() == 16);
    assert!(offset_of!(HvmCpu, rip) == 640);
    assert!(offset_of!(HvmCpu, selectors) == 736);
    assert!(offset_of!(HvmCpu, bases) == 808);
    assert!(size_of::<HvmCpu>() == 952);
};
