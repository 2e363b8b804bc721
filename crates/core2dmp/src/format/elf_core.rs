//! ELF64 core files, as far as one is written: header, program headers, notes, and the threads' note of Linux.
//!
//! ```text
//! Header64 | [Section64] | Segment64 ... | notes | memory
//! note: NoteHeader | name, 0, padded to 4 | contents, padded to 4
//! ```
//!
//! Sources: System V ABI, "Object Files" and "Program Loading"; Linux, `include/uapi/linux/elfcore.h`,
//! `arch/{x86,arm64}/include/asm/elf.h` and `user_{32,64}.h`. Reading is the `object` library's.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Header64::ident`: ELF, 64 bits, little-endian, version 1.
pub(crate) const IDENT: [u8; 16] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
/// `Header64::kind`: `ET_CORE`.
pub(crate) const CORE: u16 = 4;
/// `Header64::machine`: 32-bit x86.
pub(crate) const MACHINE_386: u16 = 3;
/// `Header64::machine`: x64.
pub(crate) const MACHINE_X86_64: u16 = 62;
/// `Header64::machine`: ARM64.
pub(crate) const MACHINE_AARCH64: u16 = 183;
/// `Header64::segments` where the number is in [`Section64::info`]: there are as many, or more.
pub(crate) const MANY_SEGMENTS: u16 = 0xffff;
/// `Segment64::kind`: memory.
pub(crate) const LOAD: u32 = 1;
/// `Segment64::kind`: notes.
pub(crate) const NOTE: u32 = 4;
/// The name of [`PRSTATUS`].
pub(crate) const CORE_NAME: &[u8] = b"CORE";
/// Type of the note of a thread.
pub(crate) const PRSTATUS: u32 = 1;
/// Type of the note of a thread's floating point registers, behind its [`PRSTATUS`].
pub(crate) const FPREGSET: u32 = 2;

/// What the file begins with.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header64 {
    pub(crate) ident: [u8; 16],
    pub(crate) kind: U16,
    pub(crate) machine: U16,
    pub(crate) version: U32,
    pub(crate) entry: U64,
    pub(crate) segments_at: U64,
    pub(crate) sections_at: U64,
    pub(crate) flags: U32,
    pub(crate) header_bytes: U16,
    pub(crate) segment_bytes: U16,
    pub(crate) segments: U16,
    pub(crate) section_bytes: U16,
    pub(crate) sections: U16,
    pub(crate) names: U16,
}

/// A program header.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Segment64 {
    pub(crate) kind: U32,
    pub(crate) flags: U32,
    pub(crate) offset: U64,
    pub(crate) virtual_address: U64,
    pub(crate) physical_address: U64,
    pub(crate) file_bytes: U64,
    pub(crate) memory_bytes: U64,
    pub(crate) align: U64,
}

/// A section header; of the first one `info` may be the number of segments.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Section64 {
    pub(crate) name: U32,
    pub(crate) kind: U32,
    pub(crate) flags: U64,
    pub(crate) address: U64,
    pub(crate) offset: U64,
    pub(crate) bytes: U64,
    pub(crate) link: U32,
    pub(crate) info: U32,
    pub(crate) align: U64,
    pub(crate) entry_bytes: U64,
}

/// What a note begins with.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct NoteHeader {
    /// Bytes of the name, the zero at its end included.
    pub(crate) name: U32,
    /// Bytes of the contents.
    pub(crate) contents: U32,
    /// Type.
    pub(crate) kind: U32,
}

/// `elf_prstatus` of x64.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Prstatus64 {
    signal: [u8; 32],
    /// Thread; here the vCPU's number, from 1.
    pub(crate) pid: U32,
    times: [u8; 76],
    /// `r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds`
    /// `es fs gs`.
    pub(crate) registers: [U64; 27],
    tail: [u8; 8],
}

/// `elf_prstatus` of 32-bit x86.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Prstatus32 {
    signal: [u8; 24],
    /// Thread; here the vCPU's number, from 1.
    pub(crate) pid: U32,
    times: [u8; 44],
    /// `ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss`.
    pub(crate) registers: [U32; 17],
    tail: [u8; 4],
}

/// `elf_prstatus` of ARM64.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct PrstatusArm64 {
    signal: [u8; 32],
    /// Thread; here the vCPU's number, from 1.
    pub(crate) pid: U32,
    times: [u8; 76],
    /// X0 to X30, SP, PC, PSTATE.
    pub(crate) registers: [U64; 34],
    tail: [u8; 8],
}

/// `user_fpsimd_state` of ARM64.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FpregsetArm64 {
    /// V0 to V31.
    pub(crate) v: [[u8; 16]; 32],
    pub(crate) fpsr: U32,
    pub(crate) fpcr: U32,
    tail: [u8; 8],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header64>() == 64);
    assert!(size_of::<Segment64>() == 56);
    assert!(size_of::<Section64>() == 64);
    assert!(size_of::<NoteHeader>() == 12);
    assert!(size_of::<Prstatus64>() == 0x150);
    assert!(offset_of!(Prstatus64, registers) == 112);
    assert!(size_of::<Prstatus32>() == 0x90);
    assert!(offset_of!(Prstatus32, registers) == 72);
    assert!(size_of::<PrstatusArm64>() == 0x188);
    assert!(offset_of!(PrstatusArm64, registers) == 112);
    assert!(size_of::<FpregsetArm64>() == 0x210);
};
