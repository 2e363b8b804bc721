//! The processors that Windows started, and the vCPU that each one is.
//!
//! ```text
//! KiProcessorBlock[n] -> PRCB n;  PRCB.Number == n
//!     PRCB + OffsetPrcbContext           -> pointer to a CONTEXT     (Windows 7 and later)
//!     PRCB + OffsetPrcbProcStateContext     a CONTEXT, inline        (before)
//!     PRCB - OffsetPcrContainedPrcb         KPCR  ==  the vCPU's kernel GS base (x64), FS base (x86), X18 (ARM64)
//! ```
//!
//! The order of vCPUs in a container says nothing: they are matched by what their segment bases point to.
//!
//! A control block that is not in the memory is a processor all the same: what it holds is unknown, not that it is.
//! How many there are, `KeNumberProcessors` and `KUSER_SHARED_DATA` know too, and a vCPU leads to its control block where
//! the array does not.

mod claim;

use self::claim::{claim, unclaimed};
use super::fact::{Fact, Source};
use super::kdbg::DebuggerData;
use super::kuser::Kuser;
use super::pe::PeImage;
use crate::address::Gva;
use crate::container::{CpuState, Registers};
use crate::format::kdbg::{
    KI_PROCESSOR_BLOCK, OFFSET_KTHREAD_APC_PROCESS, OFFSET_KTHREAD_TEB, OFFSET_PCR_CONTAINED_PRCB,
    OFFSET_PRCB_CONTEXT, OFFSET_PRCB_CURRENT_THREAD, OFFSET_PRCB_NUMBER,
    OFFSET_PRCB_PROC_STATE_CONTEXT, OFFSET_PRCB_PROC_STATE_SPECIAL_REG,
};
use crate::format::nt::Layout;
use crate::paging::{AccessError, AddressSpace, PagingMode};

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
    /// Why its control block is not known to hold what it should; the addresses above that are read from it are then
    /// `None`.
    pub lost: Option<String>,
}

/// What is known of the processors that Windows started.
#[derive(Debug)]
pub(super) struct Started {
    /// Those whose control blocks are known, by number.
    pub(super) processors: Vec<Processor>,
    /// How many there are.
    pub(super) count: Fact<u32>,
    /// What was odd about them.
    pub(super) warnings: Vec<String>,
}

/// How many processors Windows itself counts.
pub(super) fn counted(
    space: &AddressSpace<'_>,
    kernel: &PeImage,
    kuser: &Kuser,
) -> Option<Fact<u32>> {
    let name = "KeNumberProcessors";
    let exported = || {
        let mut count = [0];
        space
            .read(kernel.export(space, name)?, &mut count)
            .ok()
            .filter(|()| count != [0])?;
        // CHAR in every release.
        Some(Fact::new(
            u32::from(u8::from_le_bytes(count)),
            Source::Export(name),
        ))
    };
    let most = most(space.mode());
    kuser
        .active_processors()
        .or_else(exported)
        .filter(|count| count.value <= most)
}

/// Processors that a system has at most.
const fn most(mode: PagingMode) -> u32 {
    if mode.is_64bit() {
        MAX_PROCESSORS.0
    } else {
        MAX_PROCESSORS.1
    }
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
        let layout = Layout::of(space.mode().is_64bit());
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

/// The started processors. `counted` is what Windows says of their number.
pub(super) fn read(
    space: &AddressSpace<'_>,
    kdbg: &DebuggerData,
    cpus: &[CpuState],
    counted: Option<Fact<u32>>,
) -> Started {
    let (Some(block), Some(offsets)) = (kdbg.pointer(KI_PROCESSOR_BLOCK), Offsets::of(space, kdbg))
    else {
        let why = "KDBG does not say where the processors' control blocks are";
        return Started {
            processors: Vec::new(),
            count: counted.unwrap_or_else(|| Fact::new(0, Source::Rule("none was found"))),
            warnings: vec![why.to_owned()],
        };
    };
    let reader = Reader {
        space,
        offsets: &offsets,
        block,
        counted: counted.as_ref().map(|count| count.value),
    };
    let (mut processors, mut warnings) = reader.pointers();
    let behind = processors.len();
    reader.add_vcpus(&mut processors, cpus);
    let found = u32::try_from(processors.len()).unwrap_or(u32::MAX);
    let array = Source::Variable {
        name: "KiProcessorBlock",
        gva: block,
    };
    let count = match counted {
        Some(count) if count.value > found && reader.is_cut(behind) => count,
        Some(count) if count.value != found => Fact::new(found, array).against(
            count.value,
            count.source,
            "the array has another number",
        ),
        _ => Fact::new(found, array),
    };
    claim(space, &offsets, &mut processors, cpus);
    warnings.extend(unclaimed(&processors, cpus));
    Started {
        processors,
        count,
        warnings,
    }
}

/// What is read to find the processors.
struct Reader<'a, 'm> {
    space: &'a AddressSpace<'m>,
    offsets: &'a Offsets,
    block: Gva,
    counted: Option<u32>,
}

impl Reader<'_, '_> {
    fn slot(&self, number: u32) -> Result<Gva, AccessError> {
        let word = self.space.mode().pointer_bytes() as u64;
        let slot = u64::from(number).saturating_mul(word);
        self.space.pointer(self.block.saturating_add(slot))
    }

    /// Whether the array is not in the memory behind so many pointers.
    fn is_cut(&self, pointers: usize) -> bool {
        u32::try_from(pointers).is_ok_and(|number| self.slot(number).is_err())
    }

    /// The processors that the array points to.
    fn pointers(&self) -> (Vec<Processor>, Vec<String>) {
        let limit = most(self.space.mode());
        let mut processors = Vec::new();
        let mut warnings = Vec::new();
        for number in 0..limit {
            let prcb = match self.slot(number) {
                Ok(prcb) if prcb.get() != 0 => prcb,
                Ok(_) => break,
                Err(why) => {
                    if self.counted.is_none_or(|count| number < count) {
                        warnings.push(format!("KiProcessorBlock[{number}]: {why}"));
                    }
                    break;
                }
            };
            match processor(self.space, self.offsets, number, prcb) {
                Ok(processor) => processors.push(processor),
                Err(odd) if self.is_processor(number, prcb, &odd) => {
                    let why = odd.to_string();
                    warnings.push(why.clone());
                    processors.push(lost(self.offsets, number, prcb, why));
                }
                // Behind the last pointer other variables may stand.
                Err(why) if number == 0 => {
                    warnings.push(why.to_string());
                    break;
                }
                Err(_) => break,
            }
        }
        (processors, warnings)
    }

    /// Whether a pointer whose control block does not show it is one all the same: Windows counts it, or its page is
    /// missing and nothing speaks against it.
    fn is_processor(&self, number: u32, prcb: Gva, odd: &Odd) -> bool {
        let missing = matches!(odd, Odd::Unread { .. });
        self.space.mode().is_kernel(prcb) && self.counted.map_or(missing, |count| number < count)
    }

    /// Control blocks that no pointer leads to, but a vCPU does: the array's page is missing.
    fn add_vcpus(&self, processors: &mut Vec<Processor>, cpus: &[CpuState]) {
        if !self.is_cut(processors.len()) {
            return;
        }
        let layout = Layout::of(self.space.mode().is_64bit());
        for cpu in cpus {
            let Some(pcr) = region(cpu, self.space.mode()) else {
                continue;
            };
            let own = pcr.checked_add(layout.pcr_current_prcb as u64);
            let prcb = own.and_then(|gva| self.space.pointer(gva).ok());
            let Some(prcb) = prcb.filter(|prcb| pcr.checked_add(self.offsets.pcr) == Some(*prcb))
            else {
                continue;
            };
            let mut number = [0];
            let read = self
                .space
                .read(prcb.saturating_add(self.offsets.number), &mut number);
            let number = u32::from(u8::from_le_bytes(number));
            let is_new = processors.iter().all(|known| known.number != number);
            if read.is_ok()
                && is_new
                && self.counted.is_none_or(|count| number < count)
                && let Ok(processor) = processor(self.space, self.offsets, number, prcb)
            {
                processors.push(processor);
            }
        }
        processors.sort_by_key(|processor| processor.number);
    }
}

/// The control region that a vCPU's registers lead to.
fn region(cpu: &CpuState, mode: PagingMode) -> Option<Gva> {
    let pcr = Gva::new(match &cpu.registers {
        Registers::X86(registers) if mode.is_64bit() => registers.gs_base_kernel,
        Registers::X86(registers) => registers.fs_base,
        Registers::Arm64(registers) => registers.region()?,
    });
    mode.is_kernel(pcr).then_some(pcr)
}

/// Why a pointer does not lead to a control block.
#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("KiProcessorBlock[{number}] is {prcb}: {why}")]
    Unread {
        number: u32,
        prcb: Gva,
        why: AccessError,
    },
    #[error("KiProcessorBlock[{number}] is {prcb}, whose Number is {found}")]
    OtherNumber { number: u32, prcb: Gva, found: u8 },
}

/// A processor of whose control block nothing is known but the address.
fn lost(offsets: &Offsets, number: u32, prcb: Gva, why: String) -> Processor {
    Processor {
        number,
        prcb,
        pcr: prcb.checked_sub(offsets.pcr).unwrap_or_default(),
        context: None,
        null_context_pointer: None,
        special: None,
        thread: None,
        process: None,
        vcpu: None,
        lost: Some(why),
    }
}

fn processor(
    space: &AddressSpace<'_>,
    offsets: &Offsets,
    number: u32,
    prcb: Gva,
) -> Result<Processor, Odd> {
    let field = |offset: u64| prcb.saturating_add(offset);
    let mut own = [0];
    space
        .read(field(offsets.number), &mut own)
        .map_err(|why| Odd::Unread { number, prcb, why })?;
    // One byte wide up to Windows Vista, four since.
    let [low, ..] = number.to_le_bytes();
    if own != [low] {
        let [found] = own;
        return Err(Odd::OtherNumber {
            number,
            prcb,
            found,
        });
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
        lost: None,
    })
}
