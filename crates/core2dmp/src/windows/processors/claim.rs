//! Which vCPU each processor is, by what their memory points to.

use super::{Offsets, Processor};
use crate::address::Gva;
use crate::container::{CpuState, Registers};
use crate::format::nt::Layout;
use crate::paging::{AddressSpace, PagingMode};

/// Gives each processor the vCPU that its memory points to.
pub(super) fn claim(
    space: &AddressSpace<'_>,
    offsets: &Offsets,
    processors: &mut [Processor],
    cpus: &[CpuState],
) {
    for processor in processors {
        let teb = processor
            .thread
            .zip(offsets.thread_teb)
            .and_then(|(thread, offset)| space.pointer(thread.checked_add(offset)?).ok());
        let gdt = processor
            .pcr
            .checked_add(Layout::of(space.mode().is_64bit()).pcr_gdt as u64);
        let gdt = gdt.and_then(|gdt| space.pointer(gdt).ok());
        processor.vcpu = cpus
            .iter()
            .filter(|cpu| cpu.registers.has_paging())
            .find(|cpu| is_on(cpu, processor.pcr, teb, space.mode()) || has_gdt(cpu, gdt))
            .map(|cpu| cpu.index);
    }
}

/// Whether the vCPU's bases lead to this control region or, in user code, to the environment block of the
/// processor's current thread.
fn is_on(cpu: &CpuState, pcr: Gva, teb: Option<Gva>, mode: PagingMode) -> bool {
    let pcr = pcr.get();
    match &cpu.registers {
        // Between entry and SWAPGS the two bases are exchanged.
        Registers::X86(registers) if mode.is_64bit() => {
            registers.gs_base_kernel == pcr || registers.gs_base_user == pcr
        }
        Registers::X86(registers) => {
            let in_thread = teb.is_some_and(|teb| teb.get() != 0 && teb.get() == registers.fs_base);
            registers.fs_base == pcr || (cpu.registers.is_user_mode() && in_thread)
        }
        Registers::Arm64(registers) => {
            let in_thread = teb.filter(|teb| teb.get() != 0).map(Gva::get);
            registers.region() == Some(pcr)
                || (in_thread.is_some() && registers.environment() == in_thread)
        }
    }
}

/// Whether the vCPU's GDT is the one that the control region names; each processor has its own. Containers that
/// have no bases, such as a hibernation file of 32 bit, have it.
fn has_gdt(cpu: &CpuState, gdt: Option<Gva>) -> bool {
    let table = cpu.registers.x86().and_then(|registers| registers.gdtr);
    table
        .zip(gdt)
        .is_some_and(|(table, gdt)| gdt.get() != 0 && table.base == gdt.get())
}

pub(super) fn unclaimed(processors: &[Processor], cpus: &[CpuState]) -> Vec<String> {
    cpus.iter()
        .filter(|cpu| !processors.iter().any(|p| p.vcpu == Some(cpu.index)))
        .map(|cpu| {
            let why = if cpu.registers.has_paging() {
                "no processor's control region is at its segment bases"
            } else {
                "it does not use page tables: Windows has not started it"
            };
            format!(
                "vCPU {} does not match any Windows processor: {why}",
                cpu.index
            )
        })
        .collect()
}
