//! A processor's registers on ARM64, less PC and SP, and the CONTEXT record that Windows keeps of them.
//!
//! ```text
//! arm64 CONTEXT 0x390:  00 flags 04 Cpsr 08 X0.. 100 Sp 108 Pc 110 V0.. 310 Fpcr 314 Fpsr
//! ```
//!
//! References: ARM64_NT_CONTEXT in winnt.h of the Windows SDK; PSTATE in the Arm ARM, C5.2.

use crate::bytes::{put_bytes, put_u32, put_u64};

/// Registers of ARM64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm64 {
    /// X0 to X30.
    pub x: [u64; 31],
    /// PSTATE.
    pub pstate: u32,
    /// V0 to V31.
    pub v: [[u8; 16]; 32],
    /// Control of the FPU.
    pub fpcr: u32,
    /// Status of the FPU.
    pub fpsr: u32,
}

impl Arm64 {
    /// What a vCPU that nobody has started has: EL1 with all interrupts masked, and zeros.
    pub(crate) fn after_reset() -> Self {
        Self {
            x: [0; 31],
            pstate: 0x3c5,
            v: [[0; 16]; 32],
            fpcr: 0,
            fpsr: 0,
        }
    }

    pub(crate) fn pattern(series: u64, processor: u32) -> Self {
        let base = series << 56 | u64::from(processor) << 48;
        let mut x = [0; 31];
        let mut v = [[0; 16]; 32];
        for (number, register) in (0..).zip(&mut x) {
            *register = base | (number * 0x1111);
        }
        for (number, register) in (0..).zip(&mut v) {
            put_u64(register, 0, base | 0xd00d_0000 | number);
            put_u64(register, 8, !(base | number));
        }
        Self {
            x,
            // EL1 with its own stack pointer; Z and C.
            pstate: 0x6000_0345,
            v,
            fpcr: 0x0100_0000,
            fpsr: 0x10 + processor,
        }
    }

    /// The CONTEXT record, with PC and SP.
    pub(crate) fn context(&self, pc: u64, sp: u64) -> Vec<u8> {
        let mut c = vec![0; 0x390];
        put_u32(&mut c, 0, 0x40_0007);
        put_u32(&mut c, 4, self.pstate);
        for (i, &value) in self.x.iter().enumerate() {
            put_u64(&mut c, 8 + i * 8, value);
        }
        put_u64(&mut c, 0x100, sp);
        put_u64(&mut c, 0x108, pc);
        put_bytes(&mut c, 0x110, &self.v.concat());
        put_u32(&mut c, 0x310, self.fpcr);
        put_u32(&mut c, 0x314, self.fpsr);
        c
    }
}
