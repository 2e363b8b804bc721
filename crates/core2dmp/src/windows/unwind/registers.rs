//! The registers that a walk needs, from where Windows or the hypervisor wrote them.

use zerocopy::FromBytes;

use crate::address::Gva;
use crate::container::{self, X86Registers};
use crate::format::context::{ContextAmd64, ContextArm64, ContextX86};
use crate::paging::PagingMode;

/// RSP among the general registers of x64.
pub(super) const RSP: usize = 4;
/// RBP among the general registers of x64.
const RBP: usize = 5;
/// FP and LR among the general registers of ARM64.
pub(super) const FP: usize = 29;
pub(super) const LR: usize = 30;
/// Selectors of 32-bit user code on x64.
const COMPATIBILITY_CS: u16 = 0x23;

/// Registers of x64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct X64 {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: the processor's own order.
    pub gpr: [u64; 16],
    /// The instruction pointer.
    pub rip: u64,
}

impl X64 {
    /// The register of a number.
    pub(super) fn get(&self, number: u8) -> u64 {
        self.gpr.get(usize::from(number)).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, number: u8, value: u64) {
        if let Some(slot) = self.gpr.get_mut(usize::from(number)) {
            *slot = value;
        }
    }

    pub(super) const fn rsp(&self) -> u64 {
        let [_, _, _, _, rsp, ..] = self.gpr;
        rsp
    }

    pub(super) const fn set_rsp(&mut self, value: u64) {
        let [_, _, _, _, rsp, ..] = &mut self.gpr;
        *rsp = value;
    }
}

/// Registers of x86.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct X86 {
    pub eip: u32,
    pub esp: u32,
    pub ebp: u32,
}

/// Registers of ARM64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arm64 {
    /// X0 to X30: 29 is FP, 30 is LR.
    pub x: [u64; 31],
    /// The stack pointer.
    pub sp: u64,
    /// The instruction pointer.
    pub pc: u64,
}

impl Arm64 {
    pub(super) fn get(&self, number: usize) -> u64 {
        self.x.get(number).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, number: usize, value: u64) {
        if let Some(slot) = self.x.get_mut(number) {
            *slot = value;
        }
    }
}

/// Registers of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the machines' own names")]
pub enum Registers {
    X64(X64),
    X86(X86),
    Arm64(Arm64),
}

impl Registers {
    /// Those of a `CONTEXT`, whose size says which machine's it is.
    #[must_use]
    pub fn from_context(context: &[u8]) -> Option<Self> {
        if let Ok(context) = ContextAmd64::ref_from_bytes(context) {
            return Some(amd64(context));
        }
        if let Ok(context) = ContextArm64::ref_from_bytes(context) {
            return Some(Self::Arm64(Arm64 {
                x: context.x.map(Into::into),
                sp: context.sp.get(),
                pc: context.pc.get(),
            }));
        }
        let context = ContextX86::ref_from_bytes(context).ok()?;
        Some(Self::X86(X86 {
            eip: context.eip.get(),
            esp: context.esp.get(),
            ebp: context.ebp.get(),
        }))
    }

    /// Those of a vCPU of a guest that translates addresses so.
    #[must_use]
    pub fn from_vcpu(vcpu: &container::Registers, mode: PagingMode) -> Self {
        match vcpu {
            container::Registers::X86(registers) => x86(registers, mode),
            container::Registers::Arm64(registers) => Self::Arm64(Arm64 {
                x: registers.x,
                sp: registers.sp,
                pc: registers.pc,
            }),
        }
    }

    /// The instruction pointer.
    #[must_use]
    pub const fn ip(&self) -> Gva {
        Gva::new(match self {
            Self::X64(registers) => registers.rip,
            Self::X86(registers) => registers.eip as u64,
            Self::Arm64(registers) => registers.pc,
        })
    }

    /// The stack pointer.
    #[must_use]
    pub const fn sp(&self) -> Gva {
        Gva::new(match self {
            Self::X64(registers) => registers.rsp(),
            Self::X86(registers) => registers.esp as u64,
            Self::Arm64(registers) => registers.sp,
        })
    }
}

fn amd64(context: &ContextAmd64) -> Registers {
    let low = [
        &context.rax,
        &context.rcx,
        &context.rdx,
        &context.rbx,
        &context.rsp,
        &context.rbp,
        &context.rsi,
        &context.rdi,
    ];
    let high = &context.r8_r15;
    let gpr = of_halves(low.map(|value| value.get()), high.map(Into::into));
    wide(gpr, context.rip.get(), context.seg_cs.get())
}

fn x86(registers: &X86Registers, mode: PagingMode) -> Registers {
    let low = [
        registers.rax,
        registers.rcx,
        registers.rdx,
        registers.rbx,
        registers.rsp,
        registers.rbp,
        registers.rsi,
        registers.rdi,
    ];
    let gpr = of_halves(low, registers.r8_r15);
    if mode.is_64bit() {
        return wide(gpr, registers.rip, registers.cs);
    }
    Registers::X86(narrow(&gpr, registers.rip))
}

fn of_halves(low: [u64; 8], high: [u64; 8]) -> [u64; 16] {
    let mut gpr = [0; 16];
    for (slot, value) in gpr.iter_mut().zip(low.into_iter().chain(high)) {
        *slot = value;
    }
    gpr
}

/// 64-bit code, or 32-bit code of a 64-bit system.
fn wide(gpr: [u64; 16], rip: u64, cs: u16) -> Registers {
    if cs == COMPATIBILITY_CS {
        return Registers::X86(narrow(&gpr, rip));
    }
    Registers::X64(X64 { gpr, rip })
}

fn narrow(gpr: &[u64; 16], rip: u64) -> X86 {
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    let at = |number: usize| low(gpr.get(number).copied().unwrap_or(0));
    X86 {
        eip: low(rip),
        esp: at(RSP),
        ebp: at(RBP),
    }
}
