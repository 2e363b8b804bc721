//! A hypervisor's registers in Windows' own structures.

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use crate::address::Gva;
use crate::container::{Arm64Registers, Registers, TableRegister, X86Registers};
use crate::format::context::{
    ContextAmd64, ContextArm64, ContextX86, FLAG_ARM64_FLOATING_POINT, FLAG_DEBUG_REGISTERS,
    FLAG_EXTENDED_REGISTERS, FLAG_FLOATING_POINT, FLAGS_AMD64_ALL, FLAGS_ARM64_ALL, FLAGS_X86_ALL,
    FXSAVE_MXCSR, SpecialAmd64, SpecialX86,
};
use crate::format::{put_at, u16_at, u32_at};
use crate::paging::PagingMode;

/// The low half of a register of a 32-bit guest.
const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// A `CONTEXT` of the guest's kind. What the container does not have (FPU, of x86 debug registers) stays as in
/// `stored`, the processor's context in memory, and the flags do not claim it.
pub(super) fn context_of(registers: &Registers, mode: PagingMode, stored: &[u8]) -> Vec<u8> {
    match registers {
        Registers::X86(registers) if mode.is_64bit() => {
            let stored = ContextAmd64::read_from_bytes(stored);
            let stored = stored.unwrap_or_else(|_| ContextAmd64::zeroed());
            amd64(registers, stored).as_bytes().to_vec()
        }
        Registers::X86(registers) => {
            let stored = ContextX86::read_from_bytes(stored);
            let stored = stored.unwrap_or_else(|_| ContextX86::zeroed());
            x86(registers, stored).as_bytes().to_vec()
        }
        Registers::Arm64(registers) => {
            let stored = ContextArm64::read_from_bytes(stored);
            let stored = stored.unwrap_or_else(|_| ContextArm64::zeroed());
            arm64(registers, stored).as_bytes().to_vec()
        }
    }
}

/// `all` without the parts that the container does not have.
const fn flags(registers: &X86Registers, all: u32, floating: u32, debug: u32) -> u32 {
    let mut flags = all;
    if registers.fxsave.is_none() {
        flags &= !floating;
    }
    if registers.dr.is_none() {
        flags &= !debug;
    }
    flags
}

fn arm64(registers: &Arm64Registers, stored: ContextArm64) -> ContextArm64 {
    let mut context = stored;
    context.context_flags.set(FLAGS_ARM64_ALL);
    context.cpsr.set(registers.cpsr);
    context.x = registers.x.map(Into::into);
    context.sp.set(registers.sp);
    context.pc.set(registers.pc);
    if let Some(floating) = &registers.floating {
        context.v = floating.v;
        context.fpcr.set(floating.fpcr);
        context.fpsr.set(floating.fpsr);
    } else {
        context
            .context_flags
            .set(FLAGS_ARM64_ALL & !FLAG_ARM64_FLOATING_POINT);
    }
    context
}

fn amd64(registers: &X86Registers, stored: ContextAmd64) -> ContextAmd64 {
    let mut context = stored;
    context.context_flags.set(flags(
        registers,
        FLAGS_AMD64_ALL,
        FLAG_FLOATING_POINT,
        FLAG_DEBUG_REGISTERS,
    ));
    if let Some(fxsave) = &registers.fxsave {
        let mxcsr = u32_at(fxsave, FXSAVE_MXCSR).unwrap_or(0);
        context.mxcsr.set(mxcsr);
        context.flt_save = *fxsave;
    }
    if let Some(dr) = registers.dr {
        context.dr = dr.map(Into::into);
    }
    context.seg_cs.set(registers.cs);
    context.seg_ds.set(registers.ds);
    context.seg_es.set(registers.es);
    context.seg_fs.set(registers.fs);
    context.seg_gs.set(registers.gs);
    context.seg_ss.set(registers.ss);
    context.eflags.set(low(registers.rflags));
    context.rax.set(registers.rax);
    context.rcx.set(registers.rcx);
    context.rdx.set(registers.rdx);
    context.rbx.set(registers.rbx);
    context.rsp.set(registers.rsp);
    context.rbp.set(registers.rbp);
    context.rsi.set(registers.rsi);
    context.rdi.set(registers.rdi);
    context.r8_r15 = registers.r8_r15.map(Into::into);
    context.rip.set(registers.rip);
    context
}

fn x86(registers: &X86Registers, stored: ContextX86) -> ContextX86 {
    let mut context = stored;
    context.context_flags.set(flags(
        registers,
        FLAGS_X86_ALL,
        FLAG_FLOATING_POINT | FLAG_EXTENDED_REGISTERS,
        FLAG_DEBUG_REGISTERS,
    ));
    if let Some(dr) = registers.dr {
        context.dr = dr.map(|register| low(register).into());
    }
    if let Some(fxsave) = &registers.fxsave {
        context.float_save = fnsave(fxsave, low(registers.cr0));
        context.extended = *fxsave;
    }
    context.seg_gs.set(u32::from(registers.gs));
    context.seg_fs.set(u32::from(registers.fs));
    context.seg_es.set(u32::from(registers.es));
    context.seg_ds.set(u32::from(registers.ds));
    context.edi.set(low(registers.rdi));
    context.esi.set(low(registers.rsi));
    context.ebx.set(low(registers.rbx));
    context.edx.set(low(registers.rdx));
    context.ecx.set(low(registers.rcx));
    context.eax.set(low(registers.rax));
    context.ebp.set(low(registers.rbp));
    context.eip.set(low(registers.rip));
    context.seg_cs.set(u32::from(registers.cs));
    context.eflags.set(low(registers.rflags));
    context.esp.set(low(registers.rsp));
    context.seg_ss.set(u32::from(registers.ss));
    context
}

/// `FLOATING_SAVE_AREA` from an FXSAVE image: the older layout, with the full tag word.
///
/// Source: Intel SDM volume 1, 10.5.1 (FXSAVE) and 8.1.10 (FNSAVE); winnt.h for `Cr0NpxState`.
fn fnsave(fxsave: &[u8; 512], cr0: u32) -> [u8; 112] {
    let half = |offset| u32::from(u16_at(fxsave, offset).unwrap_or(0));
    let word = |offset| u32_at(fxsave, offset).unwrap_or(0);
    let status = half(2);
    let selector = half(12) | half(6) << 16;
    let environment = [
        half(0) | 0xffff_0000,
        status | 0xffff_0000,
        tag_word(fxsave, status) | 0xffff_0000,
        word(8),
        selector,
        word(16),
        half(20) | 0xffff_0000,
    ];
    let mut area = [0; 112];
    for (slot, value) in environment.iter().enumerate() {
        let _ = put_at(&mut area, slot.saturating_mul(4), &value.to_le_bytes());
    }
    for register in 0..8_usize {
        let from = 32_usize.saturating_add(register.saturating_mul(16));
        let to = 28_usize.saturating_add(register.saturating_mul(10));
        if let Some(value) = fxsave.get(from..from.saturating_add(10)) {
            let _ = put_at(&mut area, to, value);
        }
    }
    let _ = put_at(&mut area, 108, &cr0.to_le_bytes());
    area
}

/// Two bits a register: 0 valid, 1 zero, 2 special, 3 empty. FXSAVE keeps only whether it is empty.
fn tag_word(fxsave: &[u8; 512], status: u32) -> u32 {
    let used = fxsave.get(4).copied().unwrap_or(0);
    let top = status >> 11 & 7;
    (0..8_u32).fold(0, |tags, physical| {
        let tag = if used >> physical & 1 == 0 {
            3
        } else {
            // The image holds the registers in stack order.
            let stack = physical.wrapping_sub(top) & 7;
            let at = usize::try_from(stack).unwrap_or(0).saturating_mul(16);
            classify(fxsave.get(at.saturating_add(32)..).unwrap_or_default())
        };
        tags | tag << (physical << 1)
    })
}

/// The tag of an 80-bit number.
fn classify(number: &[u8]) -> u32 {
    let mantissa = crate::format::u64_at(number, 0).unwrap_or(0);
    let exponent = u16_at(number, 8).unwrap_or(0) & 0x7fff;
    match (exponent, mantissa) {
        (0, 0) => 1,
        (0 | 0x7fff, _) => 2,
        (_, mantissa) if mantissa >> 63 == 0 => 2,
        _ => 0,
    }
}

/// `KSPECIAL_REGISTERS`: `stored` with a vCPU's control and debug registers over it. What only some containers
/// have (descriptor tables, TR, LDTR) is filled only where it is zero: from the vCPU, or from the addresses
/// (GDT, IDT) in the PCR.
pub(super) fn special_of(
    mut stored: Vec<u8>,
    registers: Option<&X86Registers>,
    tables: (Option<Gva>, Option<Gva>),
) -> Vec<u8> {
    let gdt = table(registers.and_then(|registers| registers.gdtr), tables.0);
    let idt = table(registers.and_then(|registers| registers.idtr), tables.1);
    if let Ok(special) = SpecialAmd64::mut_from_bytes(&mut stored) {
        if let Some(registers) = registers {
            special.cr0.set(registers.cr0);
            special.cr2.set(registers.cr2);
            special.cr3.set(registers.cr3);
            special.cr4.set(registers.cr4);
            if let Some(dr) = registers.dr {
                special.dr = dr.map(Into::into);
            }
            fill(&mut special.tr, registers.tr);
            fill(&mut special.ldtr, registers.ldtr);
        }
        for (slot, table) in [(&mut special.gdtr, gdt), (&mut special.idtr, idt)] {
            if slot.base.get() == 0 {
                slot.base.set(table.base);
                slot.limit.set(table.limit);
            }
        }
    } else if let Ok(special) = SpecialX86::mut_from_bytes(&mut stored) {
        if let Some(registers) = registers {
            special.cr0.set(low(registers.cr0));
            special.cr2.set(low(registers.cr2));
            special.cr3.set(low(registers.cr3));
            special.cr4.set(low(registers.cr4));
            if let Some(dr) = registers.dr {
                special.dr = dr.map(|register| low(register).into());
            }
            fill(&mut special.tr, registers.tr);
            fill(&mut special.ldtr, registers.ldtr);
        }
        let gdtr = (&mut special.gdtr_base, &mut special.gdtr_limit, gdt);
        let idtr = (&mut special.idtr_base, &mut special.idtr_limit, idt);
        for (base, limit, table) in [gdtr, idtr] {
            if base.get() == 0 {
                base.set(low(table.base));
                limit.set(table.limit);
            }
        }
    }
    stored
}

/// A descriptor table: the vCPU's, else the one at the address in the PCR, of unknown size.
fn table(vcpu: Option<TableRegister>, pcr: Option<Gva>) -> TableRegister {
    vcpu.filter(|table| table.base != 0)
        .unwrap_or_else(|| TableRegister {
            base: pcr.unwrap_or_default().get(),
            limit: u16::MAX,
        })
}

/// A selector that is null takes the vCPU's.
fn fill(slot: &mut U16, vcpu: Option<u16>) {
    if let Some(selector) = vcpu.filter(|_| slot.get() == 0) {
        slot.set(selector);
    }
}

#[cfg(test)]
mod tests;
