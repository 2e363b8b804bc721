//! A processor's registers, and the two CONTEXT records and special registers that Windows keeps of them.
//!
//! ```text
//! amd64 CONTEXT 0x4D0:  30 flags 34 MxCsr 38 segments 44 EFlags 48 Dr 78 Rax.. F8 Rip 100 FXSAVE image
//! x86   CONTEXT 0x2CC:  00 flags 04 Dr 1C FSAVE area 8C Gs.. 9C Edi.. B8 Eip C4 Esp CC FXSAVE image
//! ```
//!
//! References: CONTEXT in winnt.h of the Windows SDK; `KSPECIAL_REGISTERS`: ntddk.h and public symbols.

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::registers_arm64::Arm64;

/// The registers of one processor; 64-bit names even for 32-bit guests. On ARM64 `rip` and `rsp` are PC and SP, and all
/// others are in `arm64`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the registers of those names")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub cs: u16,
    pub ss: u16,
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub dr0: u64,
    pub dr1: u64,
    pub dr2: u64,
    pub dr3: u64,
    pub dr6: u64,
    pub dr7: u64,
    /// The FXSAVE image.
    pub fxsave: [u8; 512],
    pub arm64: Option<Box<Arm64>>,
}

impl Registers {
    /// Makes distinguishable values: `series` tells the vCPU's registers (1) from those in memory (2) and others.
    pub(crate) fn pattern(arch: Arch, series: u64, processor: u32) -> Self {
        let n = u64::from(processor);
        let value = |digit: u64| {
            let low = digit * 0x1111;
            if arch.is_64() {
                series << 56 | n << 48 | low
            } else {
                series << 28 | n << 20 | low
            }
        };
        let [cs, ss, ds, fs, gs] = kernel_selectors(arch);
        let wide = |digit: u64| if arch.is_64() { value(digit) } else { 0 };
        Self {
            rax: value(1),
            rbx: value(2),
            rcx: value(3),
            rdx: value(4),
            rsi: value(5),
            rdi: value(6),
            rbp: value(7),
            rsp: 0,
            r8: wide(8),
            r9: wide(9),
            r10: wide(0xa),
            r11: wide(0xb),
            r12: wide(0xc),
            r13: wide(0xd),
            r14: wide(0xe),
            r15: wide(0xf),
            rip: 0,
            rflags: 0x246,
            cs,
            ss,
            ds,
            es: ds,
            fs,
            gs,
            cr0: if arch.is_64() {
                0x8005_0031
            } else {
                0x8001_003b
            },
            cr2: if arch.is_64() {
                0x7ff6_a000_2000 + n * 0x1000
            } else {
                0x77a0_2000 + n * 0x1000
            },
            cr3: 0,
            cr4: cr4(arch),
            dr0: 0,
            dr1: 0,
            dr2: 0,
            dr3: 0,
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            fxsave: fxsave(series, processor),
            arm64: (arch == Arch::Arm64).then(|| Box::new(Arm64::pattern(series, processor))),
        }
    }

    /// Puts what Windows keeps in X18: in the kernel the address of the KPCR, in user mode that of the TEB.
    ///
    /// Reference: "Overview of ARM64 ABI conventions" on learn.microsoft.com.
    pub(crate) fn set_platform_register(&mut self, address: u64) {
        if let Some(arm64) = &mut self.arm64 {
            arm64.x[18] = address;
        }
    }

    /// The registers of a processor that no one has started: real mode at the reset vector.
    pub(crate) fn after_reset(arch: Arch) -> Self {
        if arch == Arch::Arm64 {
            return Self {
                cr0: 0,
                arm64: Some(Box::new(Arm64::after_reset())),
                ..Self::pattern(arch, 0, 0)
            }
            .cleared();
        }
        Self {
            rip: 0xfff0,
            rflags: 2,
            cs: 0xf000,
            ss: 0,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
            cr0: 0x6000_0010,
            cr2: 0,
            cr4: 0,
            fxsave: [0; 512],
            ..Self::pattern(Arch::X64, 0, 0)
        }
        .cleared()
    }

    /// The same with all general registers zero.
    fn cleared(self) -> Self {
        let mut zero = self;
        for register in [
            &mut zero.rax,
            &mut zero.rbx,
            &mut zero.rcx,
            &mut zero.rdx,
            &mut zero.rsi,
            &mut zero.rdi,
            &mut zero.rbp,
            &mut zero.rsp,
            &mut zero.r8,
            &mut zero.r9,
            &mut zero.r10,
            &mut zero.r11,
            &mut zero.r12,
            &mut zero.r13,
            &mut zero.r14,
            &mut zero.r15,
        ] {
            *register = 0;
        }
        zero
    }

    /// The SSE control and status register.
    #[must_use]
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes([
            self.fxsave[24],
            self.fxsave[25],
            self.fxsave[26],
            self.fxsave[27],
        ])
    }

    /// The CONTEXT record of this architecture.
    #[must_use]
    pub fn context(&self, arch: Arch) -> Vec<u8> {
        match arch {
            Arch::X64 | Arch::X64La57 => self.context_amd64(),
            Arch::X86 | Arch::X86Pae => self.context_x86(),
            Arch::Arm64 => {
                let arm64 = self.arm64.as_ref().expect("registers of ARM64");
                arm64.context(self.rip, self.rsp)
            }
        }
    }

    fn context_amd64(&self) -> Vec<u8> {
        let mut c = vec![0; 0x4d0];
        put_u32(&mut c, 0x30, 0x10_001f);
        put_u32(&mut c, 0x34, self.mxcsr());
        for (i, segment) in [self.cs, self.ds, self.es, self.fs, self.gs, self.ss]
            .into_iter()
            .enumerate()
        {
            put_u16(&mut c, 0x38 + i * 2, segment);
        }
        put_u32(&mut c, 0x44, self.rflags as u32);
        for (i, value) in [self.dr0, self.dr1, self.dr2, self.dr3, self.dr6, self.dr7]
            .into_iter()
            .enumerate()
        {
            put_u64(&mut c, 0x48 + i * 8, value);
        }
        let general = [
            self.rax, self.rcx, self.rdx, self.rbx, self.rsp, self.rbp, self.rsi, self.rdi,
            self.r8, self.r9, self.r10, self.r11, self.r12, self.r13, self.r14, self.r15, self.rip,
        ];
        for (i, value) in general.into_iter().enumerate() {
            put_u64(&mut c, 0x78 + i * 8, value);
        }
        put_bytes(&mut c, 0x100, &self.fxsave);
        c
    }

    fn context_x86(&self) -> Vec<u8> {
        let mut c = vec![0; 0x2cc];
        put_u32(&mut c, 0, 0x1_003f);
        for (i, value) in [self.dr0, self.dr1, self.dr2, self.dr3, self.dr6, self.dr7]
            .into_iter()
            .enumerate()
        {
            put_u32(&mut c, 4 + i * 4, value as u32);
        }
        // FSAVE's control, status and tag words.
        for (i, value) in [0xffff_027f, 0xffff_0000, 0xffff_ffff]
            .into_iter()
            .enumerate()
        {
            put_u32(&mut c, 0x1c + i * 4, value);
        }
        for (i, segment) in [self.gs, self.fs, self.es, self.ds].into_iter().enumerate() {
            put_u32(&mut c, 0x8c + i * 4, u32::from(segment));
        }
        let general = [
            self.rdi,
            self.rsi,
            self.rbx,
            self.rdx,
            self.rcx,
            self.rax,
            self.rbp,
            self.rip,
            u64::from(self.cs),
            self.rflags,
            self.rsp,
            u64::from(self.ss),
        ];
        for (i, value) in general.into_iter().enumerate() {
            put_u32(&mut c, 0x9c + i * 4, value as u32);
        }
        put_bytes(&mut c, 0xcc, &self.fxsave);
        c
    }

    /// The `KSPECIAL_REGISTERS` of this architecture, with the descriptor tables that only the guest knows.
    pub(crate) fn special(
        &self,
        arch: Arch,
        gdt: (u64, u16),
        idt: (u64, u16),
        task: u16,
    ) -> Vec<u8> {
        match arch {
            Arch::X64 | Arch::X64La57 => {}
            Arch::X86 | Arch::X86Pae => return self.special_x86(gdt, idt, task),
            // What KSPECIAL_REGISTERS of ARM64 hold is in no public header, nor does a debugger need it.
            Arch::Arm64 => return Vec::new(),
        }
        let mut s = vec![0; 0xd8];
        let values = [
            self.cr0, self.cr2, self.cr3, self.cr4, self.dr0, self.dr1, self.dr2, self.dr3,
            self.dr6, self.dr7,
        ];
        for (i, value) in values.into_iter().enumerate() {
            put_u64(&mut s, i * 8, value);
        }
        put_u16(&mut s, 0x56, gdt.1);
        put_u64(&mut s, 0x58, gdt.0);
        put_u16(&mut s, 0x66, idt.1);
        put_u64(&mut s, 0x68, idt.0);
        put_u16(&mut s, 0x70, task);
        put_u32(&mut s, 0x74, self.mxcsr());
        s
    }

    fn special_x86(&self, gdt: (u64, u16), idt: (u64, u16), task: u16) -> Vec<u8> {
        let mut s = vec![0; 0x54];
        let values = [
            self.cr0, self.cr2, self.cr3, self.cr4, self.dr0, self.dr1, self.dr2, self.dr3,
            self.dr6, self.dr7,
        ];
        for (i, value) in values.into_iter().enumerate() {
            put_u32(&mut s, i * 4, value as u32);
        }
        put_u16(&mut s, 0x2a, gdt.1);
        put_u32(&mut s, 0x2c, gdt.0 as u32);
        put_u16(&mut s, 0x32, idt.1);
        put_u32(&mut s, 0x34, idt.0 as u32);
        put_u16(&mut s, 0x38, task);
        s
    }
}

/// CS, SS, DS (and ES), FS, GS in kernel mode.
fn kernel_selectors(arch: Arch) -> [u16; 5] {
    if arch.is_64() {
        [0x10, 0x18, 0x2b, 0x53, 0x2b]
    } else {
        [8, 0x10, 0x23, 0x30, 0]
    }
}

fn cr4(arch: Arch) -> u64 {
    match arch {
        Arch::X64 => 0x6f8,
        Arch::X64La57 => 0x16f8,
        Arch::X86 => 0x6d9,
        Arch::X86Pae => 0x6f9,
        Arch::Arm64 => 0,
    }
}

/// An FXSAVE image with a default control word and one recognisable value in XMM0 and XMM1.
fn fxsave(series: u64, processor: u32) -> [u8; 512] {
    let mut image = [0; 512];
    put_u16(&mut image, 0, 0x27f);
    put_u32(&mut image, 24, 0x1f80);
    put_u32(&mut image, 28, 0xffff);
    put_u64(
        &mut image,
        160,
        series << 56 | u64::from(processor) << 48 | 0x0001_d00d,
    );
    put_u64(&mut image, 176, 0x3ff0_0000_0000_0000);
    image
}
