//! Xen's saved domains: the headers of `xl` and libvirt, the stream of libxl, the image of libxc, and in it Xen's own
//! context.
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
pub(crate) const XL_MAGIC: [u8; 32] = *b"Xen saved domain, xl format\n \0 \r";
/// `XlHeader::byte_order`.
pub(crate) const XL_BYTE_ORDER: u32 = 0x0102_0304;
/// `XlHeader::mandatory`: the configuration is JSON.
pub(crate) const XL_JSON: u32 = 1;
/// `XlHeader::mandatory`: a stream of libxl follows; without it, that of before Xen 4.6.
pub(crate) const XL_STREAM_2: u32 = 2;

/// What `xl save` begins with; the optional data follow.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct XlHeader {
    magic: [u8; 32],
    /// [`XL_BYTE_ORDER`].
    pub(crate) byte_order: U32,
    /// Who does not know one of these bits must not go on.
    pub(crate) mandatory: U32,
    optional: U32,
    /// Bytes of the optional data.
    pub(crate) optional_bytes: U32,
}

/// `LibvirtHeader::magic`.
pub(crate) const LIBVIRT_MAGIC: [u8; 16] = *b"libvirt-xml\n \0 \r";

/// What `virsh save` begins with on Xen; XML follows.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LibvirtHeader {
    magic: [u8; 16],
    /// 2 since there are streams of libxl.
    pub(crate) version: U32,
    /// Bytes of XML.
    pub(crate) xml_bytes: U32,
    unused: [U32; 10],
}

/// What the stream of libxl begins with.
pub(crate) const LIBXL_MAGIC: [u8; 8] = *b"LibxlFmt";
/// Its version; big-endian, as the options behind it.
pub(crate) const LIBXL_VERSION: u32 = 2;

/// Records of libxl.
pub(crate) mod libxl {
    /// The last.
    pub(crate) const END: u32 = 0;
    /// The image of libxc follows, outside of any record.
    pub(crate) const LIBXC_CONTEXT: u32 = 1;
    /// The first number that is not known.
    pub(crate) const UNKNOWN: u32 = 6;
}

/// What the image of libxc begins with: the marker and the id.
pub(crate) const LIBXC_MAGIC: [u8; 12] = *b"\xff\xff\xff\xff\xff\xff\xff\xffXENF";
/// Versions that are known; big-endian, as the options behind it.
pub(crate) const LIBXC_VERSIONS: [u32; 2] = [2, 3];
/// An option of both headers: big-endian.
pub(crate) const BIG_ENDIAN: u32 = 1;

/// Follows the image's header of 24 bytes.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct DomainHeader {
    /// [`TYPE_PV`] or [`TYPE_HVM`].
    pub(crate) kind: U32,
    /// The page's size is two to the power of its low 16 bits.
    pub(crate) page_shift: U32,
    /// Xen's version; 0 where an older image was converted.
    pub(crate) xen_major: U32,
    /// Xen's version.
    pub(crate) xen_minor: U32,
}

/// `DomainHeader::kind`.
pub(crate) const TYPE_PV: u32 = 1;
/// `DomainHeader::kind`.
pub(crate) const TYPE_HVM: u32 = 2;

/// Records of libxc.
pub(crate) mod libxc {
    /// The last.
    pub(crate) const END: u32 = 0;
    /// Pages: u32 count, u32, frames of u64 with their type, pages.
    pub(crate) const PAGE_DATA: u32 = 1;
    /// What Xen keeps of an HVM guest.
    pub(crate) const HVM_CONTEXT: u32 = 9;
    /// What follows is sent for comparison.
    pub(crate) const VERIFY: u32 = 0xd;
    /// All that came before belongs together.
    pub(crate) const CHECKPOINT: u32 = 0xe;
    /// The first number that is not known.
    pub(crate) const UNKNOWN: u32 = 0x13;
    /// Records with this bit may be skipped.
    pub(crate) const OPTIONAL: u32 = 1 << 31;
    /// Bytes of a record that libxc accepts.
    pub(crate) const MAX_BYTES: u32 = 128 << 20;
}

/// Types of pages, in the high four bits of a frame's number.
pub(crate) mod page {
    /// The frame's number.
    pub(crate) const PFN: u64 = (1 << 52) - 1;
    /// The bits of the type.
    pub(crate) const TYPE_SHIFT: u32 = 60;
    /// Broken: no data.
    pub(crate) const BROKEN: u64 = 0xd;
    /// There, but without data: zeros.
    pub(crate) const ALLOCATED: u64 = 0xe;
    /// Not there.
    pub(crate) const NONE: u64 = 0xf;
}

/// `type` of an entry of the context.
pub(crate) mod entry {
    /// The last.
    pub(crate) const END: u16 = 0;
    /// Magic and version.
    pub(crate) const HEADER: u16 = 1;
    /// A vCPU.
    pub(crate) const CPU: u16 = 2;
    /// The header's first four bytes.
    pub(crate) const MAGIC: u32 = 0x5438_1286;
}

/// `hvm_hw_cpu`: what a vCPU's entry begins with. Later versions of Xen added to its end.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct HvmCpu {
    /// An FXSAVE image.
    pub(crate) fpu: [u8; 512],
    pub(crate) rax: U64,
    pub(crate) rbx: U64,
    pub(crate) rcx: U64,
    pub(crate) rdx: U64,
    pub(crate) rbp: U64,
    pub(crate) rsi: U64,
    pub(crate) rdi: U64,
    pub(crate) rsp: U64,
    /// R8 to R15.
    pub(crate) r8_r15: [U64; 8],
    pub(crate) rip: U64,
    pub(crate) rflags: U64,
    pub(crate) cr0: U64,
    pub(crate) cr2: U64,
    pub(crate) cr3: U64,
    pub(crate) cr4: U64,
    /// DR0 to DR3, DR6, DR7.
    pub(crate) dr: [U64; 6],
    /// CS, DS, ES, FS, GS, SS, TR, LDTR.
    pub(crate) selectors: [U32; 8],
    /// The same, then IDTR and GDTR.
    pub(crate) limits: [U32; 10],
    /// The same.
    pub(crate) bases: [U64; 10],
    rights: [U32; 8],
    sysenter: [U64; 3],
    /// The GS base that is not active.
    pub(crate) shadow_gs: U64,
}

/// Where `hvm_hw_cpu` has its flags, u32, in versions of Xen that write them: behind six MSRs, the TSC, an event and
/// an error code.
pub(crate) const CPU_FLAGS: u64 = 1024;
/// `XEN_X86_FPU_INITIALISED`: without it the FPU area is not written, and the FPU is as after a reset.
pub(crate) const FPU_INITIALISED: u32 = 1;
/// FCW of an FPU after a reset, as Xen's FXSAVE image has it (`FCW_RESET`).
pub(crate) const RESET_FCW: u16 = 0x40;
/// MXCSR of an FPU after a reset (`MXCSR_DEFAULT`).
pub(crate) const RESET_MXCSR: u32 = 0x1f80;

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
