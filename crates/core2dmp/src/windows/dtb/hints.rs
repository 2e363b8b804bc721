//! What a vCPU and the low stub know of the kernel: its page tables' mode, and addresses inside its image.

use crate::address::{Gpa, Gva};
use crate::container::X86Registers;
use crate::format::nt::{LAYOUT32, LAYOUT64, low_stub};
use crate::format::{u16_at, u32_at, u64_at};
use crate::paging::{AddressSpace, PagingMode};

/// An address that is likely inside the kernel's image.
#[derive(Debug, Clone, Copy)]
pub(in crate::windows) struct EntryHint {
    pub(in crate::windows) gva: Gva,
    pub(in crate::windows) what: &'static str,
}

/// Modes that the control registers allow, the likelier first. Xen does not tell EFER, so that 64-bit mode
/// and PAE look alike.
pub(super) fn modes_of(registers: &X86Registers) -> &'static [PagingMode] {
    match (registers.has_pae(), registers.has_la57()) {
        (false, _) => &[PagingMode::X86],
        (true, false) => &[PagingMode::X64, PagingMode::X86Pae],
        (true, true) => &[PagingMode::X64La57, PagingMode::X64, PagingMode::X86Pae],
    }
}

/// Addresses in the kernel that a vCPU leads to: the handler of interrupt 0, through the PCR or the IDTR,
/// and RIP.
pub(super) fn vcpu_hints(space: &AddressSpace<'_>, registers: &X86Registers) -> Vec<EntryHint> {
    let mut hints = Vec::new();
    let idt = registers
        .idtr
        .map(|idtr| Gva::new(idtr.base))
        .or_else(|| pcr_idt(space, registers));
    if let Some(gva) = idt.and_then(|idt| interrupt_handler(space, idt)) {
        hints.push(EntryHint {
            gva,
            what: "the handler of interrupt 0",
        });
    }
    let rip = Gva::new(registers.rip);
    if space.mode().is_kernel(rip) {
        hints.push(EntryHint {
            gva: rip,
            what: "RIP",
        });
    }
    hints
}

fn pcr_idt(space: &AddressSpace<'_>, registers: &X86Registers) -> Option<Gva> {
    let (pcr, layout) = if space.mode().is_64bit() {
        (registers.gs_base_kernel, &LAYOUT64)
    } else {
        (registers.fs_base, &LAYOUT32)
    };
    let pcr = Gva::new(pcr);
    if !space.mode().is_kernel(pcr) {
        return None;
    }
    space.pointer(pcr.checked_add(layout.pcr_idt as u64)?).ok()
}

/// The address in gate 0 of an interrupt descriptor table.
fn interrupt_handler(space: &AddressSpace<'_>, idt: Gva) -> Option<Gva> {
    let gate = space.bytes(idt, 16).ok()?;
    let low = u64::from(u16_at(&gate, 0)?);
    let middle = u64::from(u16_at(&gate, 6)?) << 16;
    let high = if space.mode().is_64bit() {
        u64::from(u32_at(&gate, 8)?) << 32
    } else {
        0
    };
    let handler = Gva::new(low | middle | high);
    space.mode().is_kernel(handler).then_some(handler)
}

/// CR3 and target of a page that holds the processor start block.
pub(super) fn parse_stub(page: &[u8]) -> Option<(Gpa, Gva)> {
    if u64_at(page, 0)? & low_stub::SIGNATURE_MASK != low_stub::SIGNATURE & low_stub::SIGNATURE_MASK
    {
        return None;
    }
    let cr3 = u64_at(page, low_stub::CR3)?;
    let target = u64_at(page, low_stub::LM_TARGET)?;
    let plausible = cr3 != 0 && cr3 & 0xfff == 0 && target >> 43 == u64::MAX >> 43;
    plausible.then_some((Gpa::new(cr3), Gva::new(target)))
}
