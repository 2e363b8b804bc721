//! Descriptor tables that a container does not have, from the control region of Windows that a vCPU leads to.
//!
//! Xen's cores carry none; readers of ELF cores (elf2dmp, crash) begin at the IDT's base.

use crate::address::{Gpa, Gva};
use crate::container::{TableRegister, X86Registers};
use crate::format::nt::Layout;
use crate::memory::PhysicalMemory;
use crate::paging::{AddressSpace, PagingMode};

/// CR4.PAE and CR4.LA57.
const PAE: u64 = 1 << 5;
const LA57: u64 = 1 << 12;

/// GDT and IDT of the processor that a vCPU is, if its control region points to itself.
pub(super) fn of_region(
    memory: &PhysicalMemory,
    registers: &X86Registers,
    is_64bit: bool,
) -> Option<(TableRegister, TableRegister)> {
    let mode = match (is_64bit, registers.cr4 & PAE, registers.cr4 & LA57) {
        (true, _, 0) => PagingMode::X64,
        (true, ..) => PagingMode::X64La57,
        (false, 0, _) => PagingMode::X86,
        (false, ..) => PagingMode::X86Pae,
    };
    let root = Gpa::new(registers.cr3 & mode.root_mask());
    let space = AddressSpace::new(memory, mode, root);
    let layout = Layout::of(is_64bit);
    let bases = if is_64bit {
        [registers.gs_base_kernel, registers.gs_base_user]
    } else {
        [registers.fs_base, 0]
    };
    let pointer = |region: Gva, offset: usize| {
        let gva = region.checked_add(offset as u64)?;
        space
            .pointer(gva)
            .ok()
            .filter(|pointer| mode.is_kernel(*pointer))
    };
    let mut regions = bases.into_iter().map(Gva::new);
    let region = regions.find(|region| pointer(*region, layout.pcr_self) == Some(*region))?;
    // The region has no limits: the most that there can be.
    let table = |offset| {
        Some(TableRegister {
            base: pointer(region, offset)?.get(),
            limit: u16::MAX,
        })
    };
    Some((table(layout.pcr_gdt)?, table(layout.pcr_idt)?))
}
