//! The layout of a processor's control block, read off one.
//!
//! ```text
//! x64   PRCB + special   CR0 .. GDTR, IDTR (equal to the control region's) .. | CONTEXT
//! x86   PRCB + context   CONTEXT | CR0 .. GDTR, IDTR ..
//! ```

use std::collections::BTreeSet;

use crate::address::{Gva, PAGE_BYTES};
use crate::container::{CpuState, Registers};
use crate::format::context::{ContextAmd64, ContextX86};
use crate::format::nt::{
    Layout, PCR_ADDRESS_X86, PRCB_NUMBER_OFFSETS, PROCESS_OBJECT, PROCESSOR_STATE_X64,
    PROCESSOR_STATE_X86, THREAD_OBJECT,
};
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;
use crate::windows::lists;

/// Bytes of a PRCB in which the saved registers stand.
const SEARCHED: usize = PAGE_BYTES;
/// Bytes of a PRCB in which a pointer to them may stand: that of Windows 11 has 0xc000.
const PRCB_BYTES: usize = 16 * PAGE_BYTES;
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
    /// The pointer to the context, of Windows 7 and later.
    pub(super) context_pointer: Option<u16>,
    pub(super) thread_process: Option<u16>,
    /// Known only where a vCPU runs user code.
    pub(super) thread_teb: Option<u16>,
    pub(super) process_dtb: u16,
}

/// The control regions that the vCPUs' segment bases lead to, or where x86 always has the first.
pub(super) fn regions(space: &AddressSpace<'_>, cpus: &[CpuState]) -> Vec<Region> {
    let wide = space.mode().is_64bit();
    let bases = cpus.iter().flat_map(|cpu| match &cpu.registers {
        Registers::X86(registers) if wide => [registers.gs_base_kernel, registers.gs_base_user],
        Registers::X86(registers) => [registers.fs_base, 0],
        Registers::Arm64(registers) => [registers.region().unwrap_or(0), 0],
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
    let layout = Layout::of(space.mode().is_64bit());
    let pointer = |offset: usize| space.pointer(pcr.checked_add(offset as u64)?).ok();
    let prcb = pcr.checked_add(layout.pcr_prcb as u64)?;
    let own = pointer(layout.pcr_self)? == pcr && pointer(layout.pcr_current_prcb)? == prcb;
    own.then_some(Region { pcr, prcb })
}

/// The control region around the control block at `prcb`, if one stands there.
pub(super) fn region_of(space: &AddressSpace<'_>, prcb: Gva) -> Option<Region> {
    region(
        space,
        prcb.checked_sub(Layout::of(space.mode().is_64bit()).pcr_prcb as u64)?,
    )
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

/// Reads the layout off the control blocks.
pub(super) fn read(
    space: &AddressSpace<'_>,
    regions: &[Region],
    process_list: Gva,
) -> Option<PrcbLayout> {
    let known = Layout::of(space.mode().is_64bit());
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
    let saved = saved_registers(space, known, regions, first)?;
    Some(PrcbLayout {
        pcr_self: narrow(known.pcr_self)?,
        pcr_current_prcb: narrow(known.pcr_current_prcb)?,
        pcr_prcb: narrow(known.pcr_prcb)?,
        current_thread: narrow(known.prcb_current_thread)?,
        number,
        special: narrow(saved.special)?,
        special_why: saved.special_why,
        context: narrow(saved.context)?,
        context_pointer: saved.context_pointer.and_then(narrow),
        thread_process: thread_process(space, thread, process_list),
        thread_teb: None,
        process_dtb: narrow(known.process_dtb)?,
    })
}

/// Where a PRCB keeps registers.
struct SavedRegisters {
    special: usize,
    special_why: &'static str,
    context: usize,
    context_pointer: Option<usize>,
}

/// Where special registers and `CONTEXT` are saved: found by the descriptor tables, or as this line of kernels
/// has it where nothing was ever saved.
fn saved_registers(
    space: &AddressSpace<'_>,
    known: &Layout,
    regions: &[Region],
    first: &Region,
) -> Option<SavedRegisters> {
    let table = |offset: usize| space.pointer(first.pcr.checked_add(offset as u64)?).ok();
    let (gdt, idt) = (table(known.pcr_gdt)?.get(), table(known.pcr_idt)?.get());
    let prcb = space.bytes_to_page_end(first.prcb, SEARCHED);
    let wide = space.mode().is_64bit();
    let word = space.mode().pointer_bytes();
    let read = |offset: usize| {
        if wide {
            u64_at(&prcb, offset)
        } else {
            u32_at(&prcb, offset).map(u64::from)
        }
    };
    // Bases in KSPECIAL_REGISTERS.
    let (gdt_at, idt_at) = if wide { (0x58, 0x68) } else { (0x2c, 0x34) };
    let found = (0..SEARCHED).step_by(word).find(|at| {
        gdt != 0
            && read(at.saturating_add(gdt_at)) == Some(gdt)
            && read(at.saturating_add(idt_at)) == Some(idt)
    });
    let usual = if wide {
        PROCESSOR_STATE_X64.special
    } else {
        PROCESSOR_STATE_X86
    };
    let special = found.unwrap_or(usual);
    let context = if wide {
        context_x64(space, regions, special, &prcb)
    } else {
        special.checked_sub(size_of::<ContextX86>())?
    };
    Some(SavedRegisters {
        special,
        special_why: if found.is_some() {
            "its descriptor tables are those of the control region"
        } else {
            "as kernels of this line have it; nothing was saved there"
        },
        context,
        context_pointer: context_pointer(space, regions, context),
    })
}

/// The special registers of x64 grew with Windows 8. A saved context tells by its flags, or a pointer leads to it.
fn context_x64(space: &AddressSpace<'_>, regions: &[Region], special: usize, prcb: &[u8]) -> usize {
    let candidates = PROCESSOR_STATE_X64
        .context_after
        .map(|gap| special.saturating_add(gap));
    let is_saved = |context: &usize| {
        let flags = u32_at(prcb, context.saturating_add(0x30));
        flags.is_some_and(|flags| flags & 0xffff_0000 == 0x0010_0000)
    };
    let is_pointed_to = |context: &usize| context_pointer(space, regions, *context).is_some();
    let [default, ..] = candidates;
    let saved = candidates.into_iter().find(is_saved);
    saved
        .or_else(|| candidates.into_iter().find(is_pointed_to))
        .unwrap_or(default)
}

/// Where every PRCB has a pointer to its own `context`. A register that was saved in there may happen to hold the
/// same (seen in ReactOS).
fn context_pointer(space: &AddressSpace<'_>, regions: &[Region], context: usize) -> Option<usize> {
    let end = context.saturating_add(if space.mode().is_64bit() {
        size_of::<ContextAmd64>()
    } else {
        size_of::<ContextX86>()
    });
    let leads = |region: &Region, at: usize| {
        let field = region.prcb.checked_add(at as u64)?;
        let context = region.prcb.checked_add(context as u64)?;
        Some(space.pointer(field).ok()? == context)
    };
    (0..PRCB_BYTES)
        .step_by(space.mode().pointer_bytes())
        .filter(|at| !(context..end).contains(at))
        .find(|at| {
            let mut regions = regions.iter();
            regions.all(|region| leads(region, *at).unwrap_or(false))
        })
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

/// Where a thread points to its environment block in user memory: at a segment base of the vCPU that runs it.
pub(super) fn thread_teb(
    space: &AddressSpace<'_>,
    prcbs: &[Gva],
    cpus: &[CpuState],
) -> Option<u16> {
    let known = Layout::of(space.mode().is_64bit());
    let word = space.mode().pointer_bytes();
    let threads: Vec<Gva> = prcbs
        .iter()
        .filter_map(|prcb| {
            let slot = prcb.checked_add(known.prcb_current_thread as u64)?;
            space.pointer(slot).ok()
        })
        .collect();
    let blocks: BTreeSet<Gva> = cpus
        .iter()
        .filter_map(|cpu| cpu.registers.x86())
        .flat_map(|registers| [registers.fs_base, registers.gs_base_user].map(Gva::new))
        .filter(|teb| teb.get() != 0 && !space.mode().is_kernel(*teb))
        .collect();
    (0..THREAD_BYTES).step_by(word).find_map(|offset| {
        let mut threads = threads.iter();
        let leads = threads.any(|thread| {
            let field = thread.checked_add(offset).map(|gva| space.pointer(gva));
            field.is_some_and(|teb| teb.is_ok_and(|teb| blocks.contains(&teb)))
        });
        leads.then(|| u16::try_from(offset).ok())?
    })
}

fn object_type(space: &AddressSpace<'_>, object: Gva) -> Option<u8> {
    let mut kind = [0];
    space.read(object, &mut kind).ok()?;
    Some(kind[0])
}

impl PrcbLayout {
    /// The number of the processor whose control block is at `prcb`.
    pub(super) fn number(&self, space: &AddressSpace<'_>, prcb: Gva) -> Option<u8> {
        number(space, prcb, self.number)
    }

    /// Whether the control block of processor `wanted` stands at `prcb`.
    pub(super) fn is_processor(&self, space: &AddressSpace<'_>, prcb: Gva, wanted: u8) -> bool {
        let pcr = prcb.checked_sub(u64::from(self.pcr_prcb));
        pcr.is_some_and(|pcr| region(space, pcr).is_some())
            && self.number(space, prcb) == Some(wanted)
    }
}
