//! The two notes of VirtualBox's core files (`VBoxManage debugvm NAME dumpvmcore`).
//!
//! ```text
//! name "VBCORE", type 0xb00   what wrote the file, how many vCPUs
//! name "VBCPU",  type 0xb01   one for each vCPU
//! ```
//!
//! Source: VirtualBox, `include/VBox/vmm/dbgfcorefmt.h` (format 1.6, VirtualBox 5.0 and later).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Name of the note that holds a [`CoreNote`].
pub(crate) const CORE_NOTE_NAME: &[u8] = b"VBCORE";
/// Name of the notes that hold a [`CpuNote`].
pub(crate) const CPU_NOTE_NAME: &[u8] = b"VBCPU";
/// `CoreNote::magic`.
pub(crate) const MAGIC: u32 = 0xc01a_c0de;
/// High half of `CoreNote::format`.
pub(crate) const FORMAT_MAJOR: u32 = 1;
/// Low half of `CoreNote::format` from which on a vCPU is written as [`CpuNote`].
pub(crate) const FORMAT_MINOR_CPU: u32 = 4;
/// The newest low half of `CoreNote::format` whose layout is known.
pub(crate) const FORMAT_MINOR_NEWEST: u32 = 6;
/// Bytes of the XSAVE area, with which a [`CpuNote`] ends. Where it begins depends on the version, since 1.6 has one
/// more register before the XCRs, and on the compiler that aligned it: 0x238 to 0x250.
pub(crate) const XSAVE_AREA_BYTES: usize = 8192;

/// `DBGFCOREDESCRIPTOR`.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CoreNote {
    /// [`MAGIC`].
    pub(crate) magic: U32,
    /// Major version in the high half, minor in the low.
    pub(crate) format: U32,
    /// Bytes of this structure.
    pub(crate) size: U32,
    /// VirtualBox' version: major, minor and build in 8, 8 and 16 bits.
    pub(crate) version: U32,
    revision: U32,
    /// vCPUs.
    pub(crate) cpus: U32,
}

/// `DBGFCORESEL`: a segment register.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Segment {
    /// Virtual address.
    pub(crate) base: U64,
    limit: U32,
    attributes: U32,
    /// What the register shows.
    pub(crate) selector: U16,
    pad: [u8; 6],
}

/// `DBGFCOREXDTR`: a table register.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Table {
    /// Virtual address.
    pub(crate) base: U64,
    /// Bytes, less one.
    pub(crate) limit: U32,
    pad: U32,
}

/// `DBGFCORECPU` as far as all versions agree; an XSAVE area ends it ([`XSAVE_AREA_BYTES`]).
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CpuNote {
    pub(crate) rax: U64,
    pub(crate) rbx: U64,
    pub(crate) rcx: U64,
    pub(crate) rdx: U64,
    pub(crate) rsi: U64,
    pub(crate) rdi: U64,
    /// R8 to R15.
    pub(crate) r8_r15: [U64; 8],
    pub(crate) rip: U64,
    pub(crate) rsp: U64,
    pub(crate) rbp: U64,
    pub(crate) rflags: U64,
    pub(crate) cs: Segment,
    pub(crate) ds: Segment,
    pub(crate) es: Segment,
    pub(crate) fs: Segment,
    /// Its base is the one that is active.
    pub(crate) gs: Segment,
    pub(crate) ss: Segment,
    pub(crate) cr0: U64,
    pub(crate) cr2: U64,
    pub(crate) cr3: U64,
    pub(crate) cr4: U64,
    /// DR0 to DR7.
    pub(crate) dr: [U64; 8],
    pub(crate) gdtr: Table,
    pub(crate) idtr: Table,
    pub(crate) ldtr: Segment,
    pub(crate) tr: Segment,
    sysenter: [U64; 3],
    pub(crate) efer: U64,
    star: U64,
    pat: U64,
    lstar: U64,
    cstar: U64,
    sfmask: U64,
    /// The GS base that is not active.
    pub(crate) kernel_gs_base: U64,
    apic_base: U64,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<CoreNote>() == 24);
    assert!(size_of::<Segment>() == 24);
    assert!(size_of::<Table>() == 16);
    assert!(offset_of!(CpuNote, rip) == 0x70);
    assert!(offset_of!(CpuNote, cs) == 0x90);
    assert!(offset_of!(CpuNote, cr0) == 0x120);
    assert!(offset_of!(CpuNote, gdtr) == 0x180);
    assert!(offset_of!(CpuNote, kernel_gs_base) == 0x218);
    assert!(size_of::<CpuNote>() == 0x228);
};
