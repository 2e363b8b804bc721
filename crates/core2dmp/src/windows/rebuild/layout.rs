//! The layout of a processor's control block, read off one.
//!
//! ```text
//! x64   PRCB + special   CR0 .. GDTR, IDTR (equal to the control region's) .. | CONTEXT
//! x86   PRCB + context   CONTEXT | CR0 .. GDTR, IDTR ..
//! ```

use std::collections::BTreeSet;

use crate::address::{Gva, PAGE_BYTES};
use crate::container::{CpuState, Registers};
use crate::format::context::ContextX86;
use crate::format::nt::{
    Layout, PCR_ADDRESS_X86, PRCB_NUMBER_OFFSETS, PROCESS_OBJECT, PROCESSOR_STATE_X64,
    PROCESSOR_STATE_X86, THREAD_OBJECT,
};
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;
use crate::windows::lists;
use crate::windows::modules::layout;

/// Bytes of a PRCB in which the saved registers stand.
const SEARCHED: usize = PAGE_BYTES;
/// Bytes of a KTHREAD in which the pointer to its process stands.
const THREAD_BYTES: u64 = 0x300;
/// Processes that the pointer is compared with.
const MAX_PROCESSES: usize = 4096;

/// A control region and the control block in it.
#[derive(Debug)]
pub(super) struct Region {
    pcr: Gva,
    pub(super) prcb: Gva,
}

/// Where things are in a PRCB and around it.
#[derive(Debug)]
pub(super) struct PrcbLayout {
    pub(super) pcr_self: u16,
    pub(super) pcr_current_prcb: u16,
    pub(super) pcr_prcb: u16,
    pub(super) current_thread: u16,
    pub(super) number: u16,
    pub(super) special: u16,
    pub(super) special_why: &'static str,
    pub(super) context: u16,
    pub(super) thread_process: Option<u16>,
    pub(super) process_dtb: u16,
}

/// The control regions that the vCPUs' segment bases lead to, or where x86 always has the first.
pub(super) fn regions(space: &AddressSpace<'_>, cpus: &[CpuState]) -> Vec<Region> {
    let wide = space.mode().is_64bit();
    let bases = cpus.iter().flat_map(|cpu| match &cpu.registers {
        Registers::X86(registers) if wide => [registers.gs_base_kernel, registers.gs_base_user],
        Registers::X86(registers) => [registers.fs_base, 0],
        Registers::Arm64(registers) => [registers.tpidr_el1, 0],
    });
    let fixed = (!wide).then_some(PCR_ADDRESS_X86);
    let addresses: BTreeSet<Gva> = fixed.into_iter().chain(bases).map(Gva::new).collect();
    addresses
        .into_iter()
        .filter(|pcr| space.mode().is_kernel(*pcr))
        .filter_map(|pcr| region(space, pcr))
        .collect()
}

/// The control region at `pcr`, if it points to itself and to the control block in it.
fn region(space: &AddressSpace<'_>, pcr: Gva) -> Option<Region> {
    let layout = layout(space);
    let pointer = |offset: usize| space.pointer(pcr.checked_add(offset as u64)?).ok();
    let prcb = pcr.checked_add(layout.pcr_prcb as u64)?;
    let own = pointer(layout.pcr_self)? == pcr && pointer(layout.pcr_current_prcb)? == prcb;
    own.then_some(Region { pcr, prcb })
}

/// Offsets at which systems of this width keep the processor's number.
fn numbers(space: &AddressSpace<'_>) -> &'static [u16] {
    if space.mode().is_64bit() {
        PRCB_NUMBER_OFFSETS.1
    } else {
        PRCB_NUMBER_OFFSETS.0
    }
}

fn number(space: &AddressSpace<'_>, prcb: Gva, offset: u16) -> Option<u8> {
    let mut byte = [0];
    space
        .read(prcb.checked_add(u64::from(offset))?, &mut byte)
        .ok()?;
    Some(byte[0])
}

/// Reads the layout off the control blocks; also tells that of processor 0.
pub(super) fn read(
    space: &AddressSpace<'_>,
    regions: &[Region],
    process_list: Gva,
) -> Option<(PrcbLayout, Gva)> {
    let known = layout(space);
    let narrow = |offset: usize| u16::try_from(offset).ok();
    // Every processor has another number, and one has 0.
    let (number, first) = numbers(space).iter().find_map(|&at| {
        let found: Vec<u8> = regions
            .iter()
            .filter_map(|region| number(space, region.prcb, at))
            .collect();
        let distinct = found.iter().collect::<BTreeSet<_>>().len() == regions.len();
        let zero = found.iter().position(|number| *number == 0)?;
        distinct.then_some((at, regions.get(zero)?))
    })?;
    let thread_slot = first.prcb.checked_add(known.prcb_current_thread as u64)?;
    let thread = space.pointer(thread_slot).ok()?;
    if object_type(space, thread) != Some(THREAD_OBJECT) {
        return None;
    }
    let (special, context, special_why) = saved_registers(space, known, first)?;
    let layout = PrcbLayout {
        pcr_self: narrow(known.pcr_self)?,
        pcr_current_prcb: narrow(known.pcr_current_prcb)?,
        pcr_prcb: narrow(known.pcr_prcb)?,
        current_thread: narrow(known.prcb_current_thread)?,
        number,
        special: narrow(special)?,
        special_why,
        context: narrow(context)?,
        thread_process: thread_process(space, thread, process_list),
        process_dtb: narrow(known.process_dtb)?,
    };
    Some((layout, first.prcb))
}

/// Where special registers and `CONTEXT` are saved: found by the descriptor tables, or as this line of kernels
/// has it where nothing was ever saved.
fn saved_registers(
    space: &AddressSpace<'_>,
    known: &Layout,
    first: &Region,
) -> Option<(usize, usize, &'static str)> {
    let table = |offset: usize| space.pointer(first.pcr.checked_add(offset as u64)?).ok();
    let (gdt, idt) = (table(known.pcr_gdt)?.get(), table(known.pcr_idt)?.get());
    let prcb = space.bytes_to_page_end(first.prcb, SEARCHED);
    let proven = "its descriptor tables are those of the control region";
    let assumed = "as kernels of this line have it; nothing was saved there";
    if space.mode().is_64bit() {
        let found = (0..SEARCHED).step_by(8).find(|at| {
            u64_at(&prcb, at.saturating_add(0x58)) == Some(gdt)
                && u64_at(&prcb, at.saturating_add(0x68)) == Some(idt)
        });
        let special = found.unwrap_or(PROCESSOR_STATE_X64.special);
        // The special registers grew with Windows 8; a saved context tells by its flags.
        let saved = |context: &usize| {
            let flags = u32_at(&prcb, context.saturating_add(0x30));
            flags.is_some_and(|flags| flags & 0xffff_0000 == 0x0010_0000)
        };
        let candidates = PROCESSOR_STATE_X64
            .context_after
            .map(|gap| special.saturating_add(gap));
        let context = candidates.iter().copied().find(saved);
        let [default, ..] = candidates;
        let why = if found.is_some() { proven } else { assumed };
        return Some((special, context.unwrap_or(default), why));
    }
    let found = (0..SEARCHED).step_by(4).find(|at| {
        let at32 = |offset: usize| u32_at(&prcb, at.saturating_add(offset)).map(u64::from);
        at32(0x2c) == Some(gdt) && at32(0x34) == Some(idt)
    });
    let special = found.unwrap_or(PROCESSOR_STATE_X86);
    let context = special.checked_sub(size_of::<ContextX86>())?;
    let why = if found.is_some() { proven } else { assumed };
    Some((special, context, why))
}

/// Where a thread points to its process: the first pointer to an entry of the process list.
fn thread_process(space: &AddressSpace<'_>, thread: Gva, process_list: Gva) -> Option<u16> {
    let word = space.mode().pointer_bytes();
    let links = lists::walk(space, process_list, MAX_PROCESSES).entries;
    (0..THREAD_BYTES).step_by(word).find_map(|offset| {
        let process = space.pointer(thread.checked_add(offset)?).ok()?;
        let listed = links
            .iter()
            .any(|links| links.get().wrapping_sub(process.get()) < 0x800);
        let is_process = listed && object_type(space, process) == Some(PROCESS_OBJECT);
        is_process.then(|| u16::try_from(offset).ok())?
    })
}

fn object_type(space: &AddressSpace<'_>, object: Gva) -> Option<u8> {
    let mut kind = [0];
    space.read(object, &mut kind).ok()?;
    Some(kind[0])
}

impl PrcbLayout {
    /// Whether the control block of processor `wanted` stands at `prcb`.
    pub(super) fn is_processor(&self, space: &AddressSpace<'_>, prcb: Gva, wanted: u8) -> bool {
        let pcr = prcb.checked_sub(u64::from(self.pcr_prcb));
        pcr.is_some_and(|pcr| region(space, pcr).is_some())
            && number(space, prcb, self.number) == Some(wanted)
    }
}
