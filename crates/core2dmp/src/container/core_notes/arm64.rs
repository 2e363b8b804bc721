//! vCPUs of ARM64 from the notes of threads, which QEMU writes for each vCPU.
//!
//! ```text
//! CORE 1  X0 .. X30, SP, PC, PSTATE      CORE 2  V0 .. V31, FPSR, FPCR      of one vCPU after the other
//! ```
//!
//! System registers are in none: neither the page tables' roots nor where Windows keeps the control region.
//!
//! Sources: QEMU, `target/arm/arch_dump.c` (`aarch64_elf_prstatus`, `aarch64_user_vfp_state`).

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::notes::{Note, Notes};
use crate::container::{Arm64Floating, Arm64Registers, CpuState, Registers};
use crate::format::elf_core::{CORE_NAME, FPREGSET, FpregsetArm64, PRSTATUS, PrstatusArm64};

/// The vCPUs, in the order of their notes; one that cannot be read keeps its number.
pub(super) fn read(notes: &Notes, warnings: &mut Vec<String>) -> Vec<CpuState> {
    let mut cpus: Vec<CpuState> = Vec::new();
    let mut threads = 0_usize;
    for note in notes.named(CORE_NAME) {
        match note.kind {
            PRSTATUS => {
                match general(note) {
                    Some(registers) => cpus.push(CpuState {
                        index: threads,
                        online: true,
                        registers: Registers::Arm64(Box::new(registers)),
                    }),
                    None => warnings.push(format!(
                        "CORE note {threads}: {} bytes, too short for a vCPU",
                        note.desc.len()
                    )),
                }
                threads = threads.saturating_add(1);
            }
            FPREGSET => {
                let last = cpus
                    .last_mut()
                    .filter(|cpu| cpu.index.checked_add(1) == Some(threads));
                if let Some(Registers::Arm64(registers)) = last.map(|cpu| &mut cpu.registers) {
                    registers.floating = floating(note);
                }
            }
            _ => {}
        }
    }
    cpus
}

fn general(note: &Note) -> Option<Arm64Registers> {
    let (status, _) = PrstatusArm64::ref_from_prefix(&note.desc).ok()?;
    let (x, rest) = status.registers.split_first_chunk::<31>()?;
    let [sp, pc, pstate] = *rest.first_chunk::<3>()?;
    Some(Arm64Registers {
        x: x.map(U64::get),
        sp: sp.get(),
        pc: pc.get(),
        // The high half is reserved, or of features that a CONTEXT has no place for.
        cpsr: u32::try_from(pstate.get() & 0xffff_ffff).ok()?,
        floating: None,
        system: None,
    })
}

fn floating(note: &Note) -> Option<Arm64Floating> {
    let (state, _) = FpregsetArm64::ref_from_prefix(&note.desc).ok()?;
    Some(Arm64Floating {
        v: state.v,
        fpcr: state.fpcr.get(),
        fpsr: state.fpsr.get(),
    })
}
