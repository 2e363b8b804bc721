//! Where each processor was: its registers from the vCPU, or from what Windows saved.
//!
//! ```text
//!              live guest                     crashed guest
//! auto         the vCPU's                     Windows' own, if sound (the vCPU halts elsewhere by then)
//! vcpu         the vCPU's where there is one
//! memory       Windows' own, always
//! ```
//!
//! A running guest whose container has no registers: what memory proves of an earlier moment ([`earlier`]).
//!
//! Debuggers read registers from the processor's control block, never from the dump's header; so what is
//! chosen here is written there.

mod earlier;

use zerocopy::FromBytes;

use super::Windows;
use super::processors::Processor;
use super::registers::{context_of, special_of};
use crate::address::{Gpa, Gva};
use crate::container::{CpuState, Guest};
use crate::format::context::{
    ContextAmd64, ContextArm64, ContextX86, FLAGS_AMD64_CONTROL, FLAGS_ARM64_CONTROL,
    FLAGS_X86_CONTROL, SpecialAmd64, SpecialX86,
};
use crate::format::nt::Layout;
use crate::paging::{AddressSpace, PagingMode};

/// Which registers to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContextPolicy {
    /// Windows' own for a crashed guest where they are sound, else the vCPU's.
    #[default]
    Auto,
    /// The vCPU's where a processor has one.
    Vcpu,
    /// What memory holds.
    Memory,
}

/// Whose registers a processor has in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextSource {
    /// Those of the vCPU at this position in the container.
    Vcpu(usize),
    /// Those that Windows saved.
    Memory,
    /// Where its thread last gave up the processor: only instruction and stack pointer. It has run since.
    Earlier,
}

/// The registers that were chosen for a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorContext {
    /// The processor's number.
    pub number: u32,
    /// Whose registers they are.
    pub source: ContextSource,
    /// Why these.
    pub why: String,
    /// A `CONTEXT` of the machine; empty if there is none.
    pub context: Vec<u8>,
    /// `KSPECIAL_REGISTERS`; empty if there are none.
    pub special: Vec<u8>,
    /// The instruction pointer.
    pub rip: Gva,
    /// The stack pointer.
    pub rsp: Gva,
}

impl ProcessorContext {
    /// Whether they are of an earlier moment, taken now or when the dump was made.
    #[must_use]
    pub fn is_earlier(&self) -> bool {
        self.source == ContextSource::Earlier || is_control_alone(&self.context)
    }

    /// CS of the context; `None` if there is no context, or the machine has no selectors.
    #[must_use]
    pub fn code_selector(&self) -> Option<u32> {
        selector(&self.context)
    }
}

/// Chooses for every processor.
pub(super) fn contexts(
    guest: &Guest,
    windows: &Windows,
    policy: ContextPolicy,
) -> Vec<ProcessorContext> {
    let space = windows.space(&guest.memory);
    windows
        .processors
        .iter()
        .map(|processor| {
            let chooser = Chooser {
                space: &space,
                processor,
                vcpu: processor
                    .vcpu
                    .and_then(|index| guest.cpus.iter().find(|cpu| cpu.index == index)),
                crashed: windows.bugcheck.value.crashed,
                kernel_base: windows.kernel.image.base,
                process_dtb: windows.process_of(processor).map(|process| process.dtb),
            };
            let chosen = chooser.choose(policy);
            match chosen.source {
                ContextSource::Memory if chooser.is_unknown(&chosen.context) => {
                    let earlier = earlier::context(&space, windows, processor);
                    earlier.map_or(chosen, |context| chooser.earlier(context))
                }
                _ => chosen,
            }
        })
        .collect()
}

struct Chooser<'a, 'm> {
    space: &'a AddressSpace<'m>,
    processor: &'a Processor,
    vcpu: Option<&'a CpuState>,
    crashed: bool,
    kernel_base: Gva,
    /// CR3 of the process that the processor's thread belongs to.
    process_dtb: Option<u64>,
}

impl Chooser<'_, '_> {
    fn choose(&self, policy: ContextPolicy) -> ProcessorContext {
        let memory = self.read_context();
        let unsound = self.unsound(&memory);
        let Some(vcpu) = self.vcpu else {
            return self.saved(memory, "no vCPU is this processor");
        };
        match (policy, self.crashed, unsound) {
            (ContextPolicy::Memory, ..) => self.saved(memory, "asked for"),
            (ContextPolicy::Vcpu, ..) => self.live(vcpu, &memory, "asked for"),
            (ContextPolicy::Auto, true, None) => {
                self.saved(memory, "saved at the bug check; the vCPU has moved on")
            }
            (ContextPolicy::Auto, true, Some(why)) => {
                let why = format!("what Windows saved is not sound: {why}");
                self.live(vcpu, &memory, &why)
            }
            (ContextPolicy::Auto, false, _) => self.live(vcpu, &memory, "the guest was running"),
        }
    }

    fn saved(&self, context: Vec<u8>, why: &str) -> ProcessorContext {
        let (rip, rsp) = pointers(&context).unwrap_or_default();
        ProcessorContext {
            number: self.processor.number,
            source: ContextSource::Memory,
            why: why.to_owned(),
            special: self.special(None),
            context,
            rip,
            rsp,
        }
    }

    /// Whether nothing tells where a processor of a running guest is.
    fn is_unknown(&self, context: &[u8]) -> bool {
        !self.crashed && self.vcpu.is_none() && self.unsound(context).is_some()
    }

    fn earlier(&self, context: Vec<u8>) -> ProcessorContext {
        let why = "no vCPU is this processor; where its thread last gave a processor away";
        ProcessorContext {
            source: ContextSource::Earlier,
            ..self.saved(context, why)
        }
    }

    fn live(&self, vcpu: &CpuState, stored: &[u8], why: &str) -> ProcessorContext {
        let (rip, rsp) = vcpu.registers.pointers();
        ProcessorContext {
            number: self.processor.number,
            source: ContextSource::Vcpu(vcpu.index),
            why: why.to_owned(),
            context: context_of(&vcpu.registers, self.space.mode(), stored),
            special: self.special(Some(vcpu)),
            rip: Gva::new(rip),
            rsp: Gva::new(rsp),
        }
    }

    fn read_context(&self) -> Vec<u8> {
        self.processor
            .context
            .and_then(|gva| self.space.bytes(gva, context_bytes(self.space.mode())).ok())
            .unwrap_or_default()
    }

    /// Why the context in memory cannot be one that Windows saved; `None` if it can.
    fn unsound(&self, context: &[u8]) -> Option<String> {
        let Some((rip, rsp)) = pointers(context) else {
            return Some("there is none".to_owned());
        };
        if selector(context) == Some(0) {
            return Some("CS is 0".to_owned());
        }
        [("instruction", rip), ("stack", rsp)]
            .into_iter()
            .find_map(|(what, gva)| {
                let error = self.space.translate(gva).err()?;
                Some(format!("its {what} pointer: {error}"))
            })
    }

    /// The special registers: what Windows stored, with the vCPU's control and debug registers over it.
    /// Descriptor tables stay unless they are zero, since Xen does not tell them.
    fn special(&self, vcpu: Option<&CpuState>) -> Vec<u8> {
        let bytes = if self.space.mode().is_64bit() {
            size_of::<SpecialAmd64>()
        } else {
            size_of::<SpecialX86>()
        };
        let stored = self
            .processor
            .special
            .filter(|_| self.space.mode() != PagingMode::Arm64)
            .and_then(|gva| self.space.bytes(gva, bytes).ok());
        let Some(stored) = stored else {
            return Vec::new();
        };
        let pcr = |offset: usize| {
            let gva = self.processor.pcr.checked_add(offset as u64)?;
            self.space.pointer(gva).ok()
        };
        let layout = Layout::of(self.space.mode().is_64bit());
        let tables = (pcr(layout.pcr_gdt), pcr(layout.pcr_idt));
        let registers = vcpu.and_then(|vcpu| vcpu.registers.x86()).cloned();
        let registers = registers.map(|mut registers| {
            registers.cr3 = self.unshadowed(registers.cr3);
            registers
        });
        special_of(stored, registers.as_ref(), tables)
    }

    /// The CR3 that a debugger can read the kernel with: a vCPU that runs user code with KVA shadowing has one
    /// that does not map it; its process has the other.
    fn unshadowed(&self, cr3: u64) -> u64 {
        let base = self.kernel_base;
        let here = self.space.translate(base).ok();
        let own = AddressSpace::new(self.space.memory(), self.space.mode(), Gpa::new(cr3));
        if own.translate(base).ok() == here {
            return cr3;
        }
        self.process_dtb.unwrap_or(self.space.root().get())
    }
}

/// Bytes of a `CONTEXT`.
const fn context_bytes(mode: PagingMode) -> usize {
    match mode {
        PagingMode::X86 | PagingMode::X86Pae => size_of::<ContextX86>(),
        PagingMode::X64 | PagingMode::X64La57 => size_of::<ContextAmd64>(),
        PagingMode::Arm64 => size_of::<ContextArm64>(),
    }
}

/// Instruction and stack pointer that Windows saved of a processor.
pub(super) fn saved_pointers(
    space: &AddressSpace<'_>,
    processor: &Processor,
) -> Option<(Gva, Gva)> {
    pointers_at(space, processor.context?)
}

/// Instruction and stack pointer of the `CONTEXT` at an address.
pub(super) fn pointers_at(space: &AddressSpace<'_>, gva: Gva) -> Option<(Gva, Gva)> {
    let context = space.bytes(gva, context_bytes(space.mode())).ok()?;
    pointers(&context)
}

/// Instruction and stack pointer of a `CONTEXT`.
fn pointers(context: &[u8]) -> Option<(Gva, Gva)> {
    if let Ok(context) = ContextAmd64::ref_from_bytes(context) {
        return Some((Gva::new(context.rip.get()), Gva::new(context.rsp.get())));
    }
    if let Ok(context) = ContextArm64::ref_from_bytes(context) {
        return Some((Gva::new(context.pc.get()), Gva::new(context.sp.get())));
    }
    let context = ContextX86::ref_from_bytes(context).ok()?;
    Some((
        Gva::new(u64::from(context.eip.get())),
        Gva::new(u64::from(context.esp.get())),
    ))
}

/// Whether a `CONTEXT` claims instruction and stack pointer alone, as one of an earlier moment does.
fn is_control_alone(context: &[u8]) -> bool {
    let flags = if let Ok(context) = ContextAmd64::ref_from_bytes(context) {
        (context.context_flags.get(), FLAGS_AMD64_CONTROL)
    } else if let Ok(context) = ContextArm64::ref_from_bytes(context) {
        (context.context_flags.get(), FLAGS_ARM64_CONTROL)
    } else if let Ok(context) = ContextX86::ref_from_bytes(context) {
        (context.context_flags.get(), FLAGS_X86_CONTROL)
    } else {
        return false;
    };
    flags.0 == flags.1
}

/// CS of a `CONTEXT`; ARM64 has none.
fn selector(context: &[u8]) -> Option<u32> {
    if let Ok(context) = ContextAmd64::ref_from_bytes(context) {
        return Some(u32::from(context.seg_cs.get()));
    }
    let context = ContextX86::ref_from_bytes(context).ok()?;
    Some(context.seg_cs.get() & 0xffff)
}
