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
pub const CORE_NOTE_NAME: &[u8] = b"VBCORE";
/// Name of the notes that hold a [`CpuNote`].
pub const CPU_NOTE_NAME: &[u8] = b"VBCPU";
/// `CoreNote::magic`.
pub const MAGIC: u32 = 0xc01a_c0de;
/// High half of `CoreNote::format`.
pub const FORMAT_MAJOR: u32 = 1;
/// Low half of `CoreNote::format` from which on a vCPU is written as [`CpuNote`].
pub const FORMAT_MINOR_CPU: u32 = 4;

/// `DBGFCOREDESCRIPTOR`.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CoreNote {
    /// [`MAGIC`].
    pub magic: U32,
    /// Major version in the high half, minor in the low.
    pub format: U32,
    /// Bytes of this structure.
    pub size: U32,
    /// VirtualBox' version: major, minor and build in 8, 8 and 16 bits.
    pub version: U32,
    revision: U32,
    /// vCPUs.
    pub cpus: U32,
}

/// `DBGFCORESEL`: a segment register.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Segment {
    /// Virtual address.
    pub base: U64,
    limit: U32,
    attributes: U32,
    /// What the register shows.
    pub selector: U16,
    pad: [u8; 6],
}

/// `DBGFCOREXDTR`: a table register.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Table {
    /// Virtual address.
    pub base: U64,
    /// Bytes, less one.
    pub limit: U32,
    pad: U32,
}

/// `DBGFCORECPU` up to its XSAVE area, which begins with an FXSAVE image.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct CpuNote {
    pub rax: U64,
    pub rbx: U64,
    pub rcx: U64,
    pub rdx: U64,
    pub rsi: U64,
    pub rdi: U64,
    /// R8 to R15.
    pub r8_r15: [U64; 8],
    pub rip: U64,
    pub rsp: U64,
    pub rbp: U64,
    pub rflags: U64,
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    /// Its base is the one that is active.
    pub gs: Segment,
    pub ss: Segment,
    pub cr0: U64,
    pub cr2: U64,
    pub cr3: U64,
    pub cr4: U64,
    /// DR0 to DR7.
    pub dr: [U64; 8],
    pub gdtr: Table,
    pub idtr: Table,
    pub ldtr: Segment,
    pub tr: Segment,
    sysenter: [U64; 3],
    pub efer: U64,
    star: U64,
    pat: U64,
    lstar: U64,
    cstar: U64,
    sfmask: U64,
    /// The GS base that is not active.
    pub kernel_gs_base: U64,
    apic_base: U64,
    xcr: [U64; 2],
    extension_bytes: U32,
    pad: U32,
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
    assert!(size_of::<CpuNote>() == 0x240);
};
