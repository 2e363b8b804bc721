//! The note that QEMU adds for each vCPU to its core files; ELF and kdump-compressed ones hold the same.
//!
//! ```text
//! name "QEMU", type 0
//! 0x000 version 1 | size | rax .. rflags | cs ds es fs gs ss ldt tr gdt idt | cr0 .. cr4 | [kernel_gs_base]
//! ```
//!
//! Sources: QEMU, `target/i386/arch_dump.c` (`QEMUCPUState`, `QEMUCPUSegment`); files of QEMU 10.0.2.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The note's name.
pub const NOTE_NAME: &[u8] = b"QEMU";
/// Its type.
pub const NOTE_TYPE: u32 = 0;
/// `CpuNote::version`; there has never been another.
pub const VERSION: u32 = 1;

/// A segment register or a table register.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Segment {
    /// Its low 16 bits count.
    pub selector: U32,
    /// Bytes, less one.
    pub limit: U32,
    /// The second half of the descriptor.
    pub flags: U32,
    pad: U32,
    /// Virtual address.
    pub base: U64,
}

/// The note's contents, but for what later versions of QEMU added at the end.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct CpuNote {
    /// [`VERSION`].
    pub version: U32,
    /// Bytes of the note, those at the end included.
    pub size: U32,
    pub rax: U64,
    pub rbx: U64,
    pub rcx: U64,
    pub rdx: U64,
    pub rsi: U64,
    pub rdi: U64,
    pub rsp: U64,
    pub rbp: U64,
    /// R8 to R15.
    pub r8_r15: [U64; 8],
    pub rip: U64,
    pub rflags: U64,
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    /// Its base is the one that is active.
    pub gs: Segment,
    pub ss: Segment,
    pub ldt: Segment,
    pub tr: Segment,
    pub gdt: Segment,
    pub idt: Segment,
    /// CR0 to CR4.
    pub cr: [U64; 5],
}

/// Where `MSR_KERNEL_GS_BASE` follows: the GS base that is not active. Older versions of QEMU do not write it.
pub const KERNEL_GS_BASE: usize = size_of::<CpuNote>();

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Segment>() == 24);
    assert!(size_of::<CpuNote>() == 0x1b0);
    assert!(offset_of!(CpuNote, rip) == 0x88);
    assert!(offset_of!(CpuNote, cs) == 0x98);
    assert!(offset_of!(CpuNote, cr) == 0x188);
};
