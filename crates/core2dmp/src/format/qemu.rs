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
pub(crate) const NOTE_NAME: &[u8] = b"QEMU";
/// Its type.
pub(crate) const NOTE_TYPE: u32 = 0;
/// `CpuNote::version`; there has never been another.
pub(crate) const VERSION: u32 = 1;

/// A segment register or a table register.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Segment {
    /// Its low 16 bits count.
    pub(crate) selector: U32,
    /// Bytes, less one.
    pub(crate) limit: U32,
    /// The second half of the descriptor.
    pub(crate) flags: U32,
    pad: U32,
    /// Virtual address.
    pub(crate) base: U64,
}

/// The note's contents, without what later versions of QEMU added at the end.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CpuNote {
    /// [`VERSION`].
    pub(crate) version: U32,
    /// Bytes of the note, those at the end included.
    pub(crate) size: U32,
    pub(crate) rax: U64,
    pub(crate) rbx: U64,
    pub(crate) rcx: U64,
    pub(crate) rdx: U64,
    pub(crate) rsi: U64,
    pub(crate) rdi: U64,
    pub(crate) rsp: U64,
    pub(crate) rbp: U64,
    /// R8 to R15.
    pub(crate) r8_r15: [U64; 8],
    pub(crate) rip: U64,
    pub(crate) rflags: U64,
    pub(crate) cs: Segment,
    pub(crate) ds: Segment,
    pub(crate) es: Segment,
    pub(crate) fs: Segment,
    /// Its base is the one that is active.
    pub(crate) gs: Segment,
    pub(crate) ss: Segment,
    pub(crate) ldt: Segment,
    pub(crate) tr: Segment,
    pub(crate) gdt: Segment,
    pub(crate) idt: Segment,
    /// CR0 to CR4.
    pub(crate) cr: [U64; 5],
}

/// Where `MSR_KERNEL_GS_BASE` follows: the GS base that is not active. Older versions of QEMU do not write it.
pub(crate) const KERNEL_GS_BASE: usize = size_of::<CpuNote>();

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Segment>() == 24);
    assert!(size_of::<CpuNote>() == 0x1b0);
    assert!(offset_of!(CpuNote, rip) == 0x88);
    assert!(offset_of!(CpuNote, cs) == 0x98);
    assert!(offset_of!(CpuNote, cr) == 0x188);
};
