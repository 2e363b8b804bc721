//! The processors that Windows started, and the vCPU that each one is.
//!
//! ```text
//! KiProcessorBlock[n] -> PRCB n;  PRCB.Number == n
//!     PRCB + OffsetPrcbContext           -> pointer to a CONTEXT     (Windows 7 and later)
//!     PRCB + OffsetPrcbProcStateContext     a CONTEXT, inline        (before)
//!     PRCB - OffsetPcrContainedPrcb         KPCR  ==  the vCPU's kernel GS base (x64), FS base (x86)
//! ```
//!
//! The order of vCPUs in a container says nothing: they are matched by what their segment bases point to.

use super::kdbg::DebuggerData;
use super::modules::layout;
use crate::address::Gva;
use crate::container::{CpuState, Registers};
use crate::format::kdbg::{
    KI_PROCESSOR_BLOCK, OFFSET_KTHREAD_APC_PROCESS, OFFSET_KTHREAD_TEB, OFFSET_PCR_CONTAINED_PRCB,
    OFFSET_PRCB_CONTEXT, OFFSET_PRCB_CURRENT_THREAD, OFFSET_PRCB_NUMBER,
    OFFSET_PRCB_PROC_STATE_CONTEXT, OFFSET_PRCB_PROC_STATE_SPECIAL_REG,
};
use crate::paging::{AddressSpace, PagingMode};

/// Processors of a 64-bit system at most (Windows Server 2022), and of a 32-bit one.
const MAX_PROCESSORS: (u32, u32) = (2048, 32);

/// Offsets in the PRCB of Windows XP, whose block ends before it names them (seen in 5.1 build 2600).
mod xp {
    pub(super) const NUMBER: u64 = 0x10;
    pub(super) const CURRENT_THREAD: u64 = 0x04;
    pub(super) const CONTEXT: u64 = 0x1c;
    pub(super) const SPECIAL: u64 = 0x2e8;
    /// In a KTHREAD: `ApcState.Process`.
    pub(super) const THREAD_PROCESS: u64 = 0x44;
    /// In a KTHREAD: `Teb`.
    pub(super) const THREAD_TEB: u64 = 0x20;
}

/// A processor that Windows started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Windows' number.
    pub number: u32,
    /// Its control block.
    pub prcb: Gva,
    /// Its control region, which contains the control block.
    pub pcr: Gva,
    /// Where the debugger reads its `CONTEXT`.
    pub context: Option<Gva>,
    /// The pointer to the context, where it is null and has to be set for a debugger to read one.
    pub null_context_pointer: Option<Gva>,
    /// Where the debugger reads its `KSPECIAL_REGISTERS`.
    pub special: Option<Gva>,
    /// The thread that it runs.
    pub thread: Option<Gva>,
    /// The process that the thread is attached to.
    pub process: Option<Gva>,
    /// The vCPU that it is: its position in the container.
    pub vcpu: Option<usize>,
}

/// Where things are in a PRCB.
struct Offsets {
    number: u64,
    current_thread: u64,
    context: ContextPlace,
    special: u64,
    pcr: u64,
    thread_process: Option<u64>,
    thread_teb: Option<u64>,
}

enum ContextPlace {
    /// A pointer to it, and where it stands inline should the pointer be null.
    Pointer(u64, Option<u64>),
    Inline(u64),
}

impl Offsets {
    fn of(space: &AddressSpace<'_>, kdbg: &DebuggerData) -> Option<Self> {
        let offset = |field| kdbg.offset(field).map(u64::from);
        let layout = layout(space);
        let is_xp = !space.mode().is_64bit() && kdbg.bytes.len() <= OFFSET_PRCB_PROC_STATE_CONTEXT;
        let or_xp = |field, old: u64| offset(field).or_else(|| is_xp.then_some(old));
        let inline = or_xp(OFFSET_PRCB_PROC_STATE_CONTEXT, xp::CONTEXT);
        let context = match offset(OFFSET_PRCB_CONTEXT) {
            Some(pointer) => ContextPlace::Pointer(pointer, inline),
            None => ContextPlace::Inline(inline?),
        };
        Some(Self {
            number: or_xp(OFFSET_PRCB_NUMBER, xp::NUMBER)?,
            current_thread: or_xp(OFFSET_PRCB_CURRENT_THREAD, xp::CURRENT_THREAD)?,
            context,
            special: or_xp(OFFSET_PRCB_PROC_STATE_SPECIAL_REG, xp::SPECIAL)?,
            pcr: offset(OFFSET_PCR_CONTAINED_PRCB).unwrap_or(layout.pcr_prcb as u64),
            thread_process: or_xp(OFFSET_KTHREAD_APC_PROCESS, xp::THREAD_PROCESS),
            thread_teb: or_xp(OFFSET_KTHREAD_TEB, xp::THREAD_TEB),
        })
    }
}

/// The started processors, in order, and what was odd about them.
pub(super) fn read(
    space: &AddressSpace<'_>,
    kdbg: &DebuggerData,
    cpus: &[CpuState],
) -> (Vec<Processor>, Vec<String>) {
    let mut warnings = Vec::new();
    let (Some(block), Some(offsets)) = (kdbg.pointer(KI_PROCESSOR_BLOCK), Offsets::of(space, kdbg))
    else {
        warnings.push("KDBG does not say where the processors' control blocks are".to_owned());
        return (Vec::new(), warnings);
    };
    let limit = if space.mode().is_64bit() {
        MAX_PROCESSORS.0
    } else {
        MAX_PROCESSORS.1
    };
    let word = space.mode().pointer_bytes() as u64;
    let mut processors = Vec::new();
    for number in 0..limit {
        let slot = block.saturating_add(u64::from(number).saturating_mul(word));
        let Some(prcb) = space.pointer(slot).ok().filter(|prcb| prcb.get() != 0) else {
            break;
        };
        match processor(space, &offsets, number, prcb) {
            Ok(processor) => processors.push(processor),
            // Behind the last pointer other variables may stand.
            Err(why) if number == 0 => {
                warnings.push(why);
                break;
            }
            Err(_) => break,
        }
    }
    claim(space, &offsets, &mut processors, cpus);
    warnings.extend(unclaimed(&processors, cpus));
    (processors, warnings)
}

fn processor(
    space: &AddressSpace<'_>,
    offsets: &Offsets,
    number: u32,
    prcb: Gva,
) -> Result<Processor, String> {
    let field = |offset: u64| prcb.saturating_add(offset);
    let mut own = [0];
    space
        .read(field(offsets.number), &mut own)
        .map_err(|why| format!("KiProcessorBlock[{number}] is {prcb}: {why}"))?;
    // One byte wide up to Windows Vista, four since.
    let [low, ..] = number.to_le_bytes();
    if own != [low] {
        return Err(format!(
            "KiProcessorBlock[{number}] is {prcb}, whose Number is {}",
            own[0]
        ));
    }
    let pointer = |gva| space.pointer(gva).ok().filter(|p| p.get() != 0);
    let (context, null_context_pointer) = match offsets.context {
        ContextPlace::Inline(offset) => (Some(field(offset)), None),
        ContextPlace::Pointer(offset, inline) => match (space.pointer(field(offset)), inline) {
            (Ok(null), Some(inline)) if null.get() == 0 => {
                (Some(field(inline)), Some(field(offset)))
            }
            (Ok(context), _) if context.get() != 0 => (Some(context), None),
            _ => (None, None),
        },
    };
    let thread = pointer(field(offsets.current_thread));
    let process = thread
        .zip(offsets.thread_process)
        .and_then(|(thread, offset)| pointer(thread.checked_add(offset)?));
    Ok(Processor {
        number,
        prcb,
        pcr: prcb.checked_sub(offsets.pcr).unwrap_or_default(),
        context,
        null_context_pointer,
        special: Some(field(offsets.special)),
        thread,
        process,
        vcpu: None,
    })
}

/// Gives each processor the vCPU that its memory points to.
fn claim(
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
        let gdt = processor.pcr.checked_add(layout(space).pcr_gdt as u64);
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
        Registers::Arm64(registers) => registers.tpidr_el1 == pcr,
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

fn unclaimed(processors: &[Processor], cpus: &[CpuState]) -> Vec<String> {
    cpus.iter()
        .filter(|cpu| !processors.iter().any(|p| p.vcpu == Some(cpu.index)))
        .map(|cpu| {
            let why = if cpu.registers.has_paging() {
                "no processor's control region is at its segment bases"
            } else {
                "it does not use page tables: Windows has not started it"
            };
            format!("vCPU {} is none of Windows' processors: {why}", cpu.index)
        })
        .collect()
}
