//! `CONTEXT` of amd64 and x86, and `KSPECIAL_REGISTERS`: how Windows writes down a processor.
//!
//! A `CONTEXT` of amd64 is 0x4d0 bytes, of x86 0x2cc, of ARM64 0x390; in a dump they stand in each
//! processor's PRCB, and once more in the header, where newer debuggers ignore them.
//!
//! Sources: winnt.h and ntddk.h of the SDK and WDK (10.0.22621); Intel SDM volume 1, 10.5.1 (FXSAVE).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `ContextFlags` of amd64: control, integer, segments, floating point, debug registers.
pub(crate) const FLAGS_AMD64_ALL: u32 = 0x10_001f;
/// `ContextFlags` of x86: the same, and the extended registers (the FXSAVE image).
pub(crate) const FLAGS_X86_ALL: u32 = 0x1_003f;

/// `ContextFlags` of amd64: control and segments alone.
pub(crate) const FLAGS_AMD64_CONTROL: u32 = 0x10_0005;
/// `ContextFlags` of x86: control and segments alone.
pub(crate) const FLAGS_X86_CONTROL: u32 = 0x1_0005;
/// `ContextFlags` of ARM64: control alone.
pub(crate) const FLAGS_ARM64_CONTROL: u32 = 0x40_0001;

/// `CONTEXT_FLOATING_POINT` of amd64 and x86, without the architecture's bit.
pub(crate) const FLAG_FLOATING_POINT: u32 = 8;
/// `CONTEXT_DEBUG_REGISTERS` of amd64 and x86, without the architecture's bit.
pub(crate) const FLAG_DEBUG_REGISTERS: u32 = 0x10;
/// `CONTEXT_EXTENDED_REGISTERS` of x86, without the architecture's bit.
pub(crate) const FLAG_EXTENDED_REGISTERS: u32 = 0x20;

/// `ContextFlags` of ARM64: control, integer, floating point (as in a dump of build 22000).
pub(crate) const FLAGS_ARM64_ALL: u32 = 0x40_0007;

/// `CONTEXT_FLOATING_POINT` of ARM64, without the architecture's bit.
pub(crate) const FLAG_ARM64_FLOATING_POINT: u32 = 4;

/// Bytes of an FXSAVE image.
pub(crate) const FXSAVE_SIZE: usize = 512;
/// MXCSR in an FXSAVE image, u32.
pub(crate) const FXSAVE_MXCSR: usize = 24;

/// `CONTEXT` of amd64.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct ContextAmd64 {
    /// Home space of the unwinder's parameters.
    pub home: [U64; 6],
    /// Which parts are set; 0x10001f is all of them.
    pub context_flags: U32,
    pub mxcsr: U32,
    pub seg_cs: U16,
    pub seg_ds: U16,
    pub seg_es: U16,
    pub seg_fs: U16,
    pub seg_gs: U16,
    pub seg_ss: U16,
    pub eflags: U32,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [U64; 6],
    pub rax: U64,
    pub rcx: U64,
    pub rdx: U64,
    pub rbx: U64,
    pub rsp: U64,
    pub rbp: U64,
    pub rsi: U64,
    pub rdi: U64,
    /// R8 to R15.
    pub r8_r15: [U64; 8],
    pub rip: U64,
    /// The FXSAVE image.
    pub flt_save: [u8; FXSAVE_SIZE],
    vector: [u8; 416],
    vector_control: U64,
    debug_control: U64,
    last_branch: [U64; 4],
}

/// `CONTEXT` of x86.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct ContextX86 {
    /// Which parts are set; 0x1003f is all of them.
    pub context_flags: U32,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [U32; 6],
    /// `FLOATING_SAVE_AREA`: an FNSAVE image and CR0.
    pub float_save: [u8; 112],
    pub seg_gs: U32,
    pub seg_fs: U32,
    pub seg_es: U32,
    pub seg_ds: U32,
    pub edi: U32,
    pub esi: U32,
    pub ebx: U32,
    pub edx: U32,
    pub ecx: U32,
    pub eax: U32,
    pub ebp: U32,
    pub eip: U32,
    pub seg_cs: U32,
    pub eflags: U32,
    pub esp: U32,
    pub seg_ss: U32,
    /// The FXSAVE image.
    pub extended: [u8; FXSAVE_SIZE],
}

/// `CONTEXT` of ARM64.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct ContextArm64 {
    /// Which parts are set; 0x400007 is all that a dump has.
    pub context_flags: U32,
    pub cpsr: U32,
    /// X0 to X28, FP, LR.
    pub x: [U64; 31],
    pub sp: U64,
    pub pc: U64,
    /// V0 to V31.
    pub v: [[u8; 16]; 32],
    pub fpcr: U32,
    pub fpsr: U32,
    bcr: [U32; 8],
    bvr: [U64; 8],
    wcr: [U32; 2],
    wvr: [U64; 2],
}

/// `KDESCRIPTOR` of amd64: the base stands at a multiple of 8.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Descriptor64 {
    pad: [U16; 3],
    /// Bytes of the table, less one.
    pub limit: U16,
    /// Virtual address of the table.
    pub base: U64,
}

/// `KSPECIAL_REGISTERS` of amd64, the part that all versions have.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct SpecialAmd64 {
    pub cr0: U64,
    pub cr2: U64,
    pub cr3: U64,
    pub cr4: U64,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [U64; 6],
    pub gdtr: Descriptor64,
    pub idtr: Descriptor64,
    pub tr: U16,
    pub ldtr: U16,
    pub mxcsr: U32,
    debug_control: U64,
    last_branch: [U64; 4],
    pub cr8: U64,
    pub msr_gs_base: U64,
    pub msr_gs_swap: U64,
    msr_star: U64,
    msr_lstar: U64,
    msr_cstar: U64,
    msr_syscall_mask: U64,
}

/// `KSPECIAL_REGISTERS` of x86.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct SpecialX86 {
    pub cr0: U32,
    pub cr2: U32,
    pub cr3: U32,
    pub cr4: U32,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [U32; 6],
    gdtr_pad: U16,
    pub gdtr_limit: U16,
    pub gdtr_base: U32,
    idtr_pad: U16,
    pub idtr_limit: U16,
    pub idtr_base: U32,
    pub tr: U16,
    pub ldtr: U16,
    reserved: [U32; 6],
}

/// A register in a `CONTEXT`: name, offset, bytes.
pub(crate) type RegisterPlace = (&'static str, usize, usize);

/// Registers in a `CONTEXT` of amd64, by offset.
pub(crate) static REGISTERS_AMD64: &[RegisterPlace] = &[
    ("ContextFlags", 0x30, 4),
    ("MxCsr", 0x34, 4),
    ("SegCs", 0x38, 2),
    ("SegDs", 0x3a, 2),
    ("SegEs", 0x3c, 2),
    ("SegFs", 0x3e, 2),
    ("SegGs", 0x40, 2),
    ("SegSs", 0x42, 2),
    ("EFlags", 0x44, 4),
    ("Dr0", 0x48, 8),
    ("Dr1", 0x50, 8),
    ("Dr2", 0x58, 8),
    ("Dr3", 0x60, 8),
    ("Dr6", 0x68, 8),
    ("Dr7", 0x70, 8),
    ("Rax", 0x78, 8),
    ("Rcx", 0x80, 8),
    ("Rdx", 0x88, 8),
    ("Rbx", 0x90, 8),
    ("Rsp", 0x98, 8),
    ("Rbp", 0xa0, 8),
    ("Rsi", 0xa8, 8),
    ("Rdi", 0xb0, 8),
    ("R8", 0xb8, 8),
    ("R9", 0xc0, 8),
    ("R10", 0xc8, 8),
    ("R11", 0xd0, 8),
    ("R12", 0xd8, 8),
    ("R13", 0xe0, 8),
    ("R14", 0xe8, 8),
    ("R15", 0xf0, 8),
    ("Rip", 0xf8, 8),
    ("FltSave", 0x100, 0xa0),
    ("Xmm0", 0x1a0, 16),
    ("Xmm1", 0x1b0, 16),
    ("Xmm2", 0x1c0, 16),
    ("Xmm3", 0x1d0, 16),
    ("Xmm4", 0x1e0, 16),
    ("Xmm5", 0x1f0, 16),
    ("Xmm6", 0x200, 16),
    ("Xmm7", 0x210, 16),
    ("Xmm8", 0x220, 16),
    ("Xmm9", 0x230, 16),
    ("Xmm10", 0x240, 16),
    ("Xmm11", 0x250, 16),
    ("Xmm12", 0x260, 16),
    ("Xmm13", 0x270, 16),
    ("Xmm14", 0x280, 16),
    ("Xmm15", 0x290, 16),
];

/// Registers in a `CONTEXT` of x86, by offset.
pub(crate) static REGISTERS_X86: &[RegisterPlace] = &[
    ("ContextFlags", 0x00, 4),
    ("Dr0", 0x04, 4),
    ("Dr1", 0x08, 4),
    ("Dr2", 0x0c, 4),
    ("Dr3", 0x10, 4),
    ("Dr6", 0x14, 4),
    ("Dr7", 0x18, 4),
    ("FloatSave", 0x1c, 112),
    ("SegGs", 0x8c, 4),
    ("SegFs", 0x90, 4),
    ("SegEs", 0x94, 4),
    ("SegDs", 0x98, 4),
    ("Edi", 0x9c, 4),
    ("Esi", 0xa0, 4),
    ("Ebx", 0xa4, 4),
    ("Edx", 0xa8, 4),
    ("Ecx", 0xac, 4),
    ("Eax", 0xb0, 4),
    ("Ebp", 0xb4, 4),
    ("Eip", 0xb8, 4),
    ("SegCs", 0xbc, 4),
    ("EFlags", 0xc0, 4),
    ("Esp", 0xc4, 4),
    ("SegSs", 0xc8, 4),
    ("ExtendedRegisters", 0xcc, FXSAVE_SIZE),
];

impl ContextAmd64 {
    /// A context of zeros.
    #[must_use]
    pub(crate) fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

impl ContextArm64 {
    /// A context of zeros.
    #[must_use]
    pub(crate) fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

impl ContextX86 {
    /// A context of zeros.
    #[must_use]
    pub(crate) fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ContextAmd64>() == 0x4d0);
    assert!(offset_of!(ContextAmd64, context_flags) == 0x30);
    assert!(offset_of!(ContextAmd64, seg_cs) == 0x38);
    assert!(offset_of!(ContextAmd64, rax) == 0x78);
    assert!(offset_of!(ContextAmd64, rip) == 0xf8);
    assert!(offset_of!(ContextAmd64, flt_save) == 0x100);
    assert!(size_of::<ContextX86>() == 0x2cc);
    assert!(offset_of!(ContextX86, seg_gs) == 0x8c);
    assert!(offset_of!(ContextX86, eip) == 0xb8);
    assert!(offset_of!(ContextX86, extended) == 0xcc);
    assert!(size_of::<ContextArm64>() == 0x390);
    assert!(offset_of!(ContextArm64, sp) == 0x100);
    assert!(offset_of!(ContextArm64, v) == 0x110);
    assert!(offset_of!(ContextArm64, fpcr) == 0x310);
    assert!(size_of::<SpecialAmd64>() == 0xd8);
    assert!(offset_of!(SpecialAmd64, gdtr) == 0x50);
    assert!(offset_of!(SpecialAmd64, idtr) == 0x60);
    assert!(offset_of!(SpecialAmd64, tr) == 0x70);
    assert!(size_of::<SpecialX86>() == 84);
    assert!(offset_of!(SpecialX86, gdtr_base) == 0x2c);
    assert!(offset_of!(SpecialX86, tr) == 0x38);
};
