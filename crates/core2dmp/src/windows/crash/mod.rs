//! Which processor crashed, and the exception behind the stop code.
//!
//! ```text
//! processor   whose saved RIP lies in KeBugCheckEx
//!             whose stack a parameter points into (trap frame, context or exception record)
//!             0
//! exception   the parameters of the stop codes that carry one, held against the records they point to;
//!             the machine frame on the crashed processor's stack, where the parameters name no address;
//!             else a breakpoint where it was
//! ```
//!
//! Sources: "Bug check code reference" of Microsoft's documentation for the parameters. Dumps that Windows
//! writes itself carry a breakpoint (seen in builds 19041 and 22000).

mod records;
mod state;

use super::bugcheck::Bugcheck;
use super::contexts::{self, ProcessorContext};
use super::fact::{Fact, Source};
use super::modules::Module;
use super::pe::PeImage;
use super::processors::Processor;
use crate::address::Gva;
use crate::format::dump_values::{
    EXCEPTION_NONCONTINUABLE, STATUS_ACCESS_VIOLATION, STATUS_BREAKPOINT,
};
use crate::paging::AddressSpace;

pub use state::CrashState;

/// Bytes of `KeBugCheckEx` in which the saved instruction pointer may be.
const BUGCHECK_FUNCTION: u64 = 0x200;
/// The bit of the variants of stop codes that a debugger or a driver raises, such as 0x1000007E.
const VARIANT: u32 = 0x1000_0000;
/// `STATUS_STACK_BUFFER_OVERRUN`: what a fast failure raises, whatever its kind.
const STATUS_STACK_BUFFER_OVERRUN: u32 = 0xc000_0409;
/// What the parameters of a stop code are called as a source.
const PARAMETERS: Source = Source::Rule("parameters of the stop code");

/// An exception, as a dump's header holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// An NTSTATUS.
    pub code: u32,
    /// `EXCEPTION_NONCONTINUABLE` or 0.
    pub flags: u32,
    /// Where it happened.
    pub address: Gva,
    /// Depends on the code.
    pub parameters: Vec<u64>,
}

/// What a crash is judged by.
pub(super) struct Scene<'a, 'm> {
    pub(super) space: &'a AddressSpace<'m>,
    pub(super) kernel: &'a PeImage,
    pub(super) modules: &'a [Module],
    pub(super) processors: &'a [Processor],
    pub(super) bugcheck: &'a Bugcheck,
    /// The registers that the processors have in the dump.
    pub(super) contexts: &'a [ProcessorContext],
}

impl Scene<'_, '_> {
    /// The number of the processor that crashed; of a live guest the first one.
    pub(super) fn processor(&self) -> Fact<u32> {
        let first = self.contexts.first().map_or(0, |context| context.number);
        if !self.bugcheck.crashed {
            return Fact::new(first, Source::Rule("a live guest: the first processor"));
        }
        let places = self.places();
        let function = self.kernel.export(self.space, "KeBugCheckEx");
        let in_function = |rip: Gva| {
            let offset = function.map(|function| rip.get().wrapping_sub(function.get()));
            offset.is_some_and(|offset| offset < BUGCHECK_FUNCTION)
        };
        if let Some((number, ..)) = places.iter().find(|(_, rip, _)| in_function(*rip)) {
            let rule = "its saved instruction pointer lies in KeBugCheckEx";
            return Fact::new(*number, Source::Rule(rule));
        }
        let on_stack = |rsp: Gva| {
            let mut parameters = self.bugcheck.parameters.iter();
            self.space.mode().is_kernel(rsp)
                && parameters.any(|parameter| {
                    let above = parameter.wrapping_sub(rsp.get());
                    above != 0 && above < records::STACK_BYTES
                })
        };
        if let Some((number, ..)) = places.iter().find(|(.., rsp)| on_stack(*rsp)) {
            let rule = "a parameter of the stop code points into its stack";
            return Fact::new(*number, Source::Rule(rule));
        }
        Fact::new(first, Source::Rule("nothing tells: the first processor"))
    }

    /// Number, instruction and stack pointer of each processor: as Windows saved them, then as chosen, which may
    /// be those of a vCPU that has moved on.
    fn places(&self) -> Vec<(u32, Gva, Gva)> {
        let saved = self.processors.iter().filter_map(|processor| {
            let (rip, rsp) = contexts::saved_pointers(self.space, processor)?;
            Some((processor.number, rip, rsp))
        });
        let chosen = self.contexts.iter();
        saved
            .chain(chosen.map(|context| (context.number, context.rip, context.rsp)))
            .collect()
    }

    /// The exception that the stop code speaks of; `crashed` is the processor that crashed.
    pub(super) fn exception(&self, crashed: u32) -> Fact<Exception> {
        if let Some(fact) = self.stop_code(crashed) {
            return fact;
        }
        let mut contexts = self.contexts.iter();
        let stood = contexts.find(|context| context.number == crashed);
        let breakpoint = Exception {
            code: STATUS_BREAKPOINT,
            flags: EXCEPTION_NONCONTINUABLE,
            address: stood.map_or_else(Gva::default, |context| context.rip),
            parameters: Vec::new(),
        };
        Fact::new(breakpoint, Source::Rule("a breakpoint where it stood"))
    }

    fn stop_code(&self, crashed: u32) -> Option<Fact<Exception>> {
        if !self.bugcheck.crashed {
            return None;
        }
        let [p1, p2, p3, p4] = self.bugcheck.parameters;
        // NTSTATUS codes are sign-extended on 64 bit.
        let status = u32::try_from(p1 & 0xffff_ffff).ok()?;
        let stated = |parameters| Fact::new(raised(status, p2, parameters), PARAMETERS);
        let violation = STATUS_ACCESS_VIOLATION;
        match self.bugcheck.code & !VARIANT {
            // KMODE_EXCEPTION_NOT_HANDLED: code, address, the exception's own parameters.
            0x1e => Some(stated(vec![p3, p4])),
            // SYSTEM_SERVICE_EXCEPTION: code, address, context.
            0x3b => Some(self.against_context(stated(Vec::new()), p3)),
            // KERNEL_MODE_EXCEPTION_NOT_HANDLED: code, address, trap frame.
            0x8e => Some(self.against_trap_frame(stated(Vec::new()), p3)),
            // SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: code, address, exception record, context.
            0x7e => {
                let fact = self.against_record(stated(Vec::new()), p3);
                Some(self.against_context(fact, p4))
            }
            // KERNEL_SECURITY_CHECK_FAILURE: kind, trap frame, exception record.
            0x139 => self.security_check(p1, p2, p3),
            // IRQL_NOT_LESS_OR_EQUAL and DRIVER_...: memory, IRQL, kind of access, instruction.
            0xa | 0xd1 => self.placed(crashed, raised(violation, p4, vec![p3, p1])),
            // PAGE_FAULT_IN_NONPAGED_AREA: memory, kind of access, instruction.
            0x50 => self.placed(crashed, raised(violation, p3, vec![p2, p1])),
            // UNEXPECTED_KERNEL_MODE_TRAP: vector; on x64 the instruction last.
            0x7f => {
                let is_address = self.space.mode().is_kernel(Gva::new(p4));
                let address = if is_address { p4 } else { 0 };
                self.placed(crashed, raised(trap_status(p1)?, address, Vec::new()))
            }
            _ => None,
        }
    }

    /// The exception where its parameters place it, else where the crashed processor was interrupted last.
    fn placed(&self, crashed: u32, exception: Exception) -> Option<Fact<Exception>> {
        if exception.address.get() != 0 {
            return Some(Fact::new(exception, PARAMETERS));
        }
        let places = self.places();
        let stacks = places.iter().filter(|(number, ..)| *number == crashed);
        let frame = stacks
            .map(|(.., rsp)| *rsp)
            .find_map(|stack| records::machine_frame(self.space, self.modules, stack))?;
        let found = Exception {
            address: frame.instruction,
            ..exception
        };
        let name = "machine frame on the stack of the processor that crashed,";
        let gva = frame.at;
        Some(Fact::new(found, Source::Variable { name, gva }))
    }

    /// The exception record rather than the parameters, if they agree; it knows more.
    fn against_record(&self, stated: Fact<Exception>, at: u64) -> Fact<Exception> {
        let Some(record) = records::exception_record(self.space, at) else {
            return stated;
        };
        let source = variable("EXCEPTION_RECORD", at);
        let says = &stated.value;
        if record.code == says.code && record.address == says.address {
            return Fact::new(record, source);
        }
        let why = format!(
            "its code is {:#x} at {}, the stop code's parameters say {:#x} at {}",
            record.code, record.address, says.code, says.address
        );
        stated.against(record, source, why)
    }

    fn against_context(&self, fact: Fact<Exception>, at: u64) -> Fact<Exception> {
        let pointers = contexts::pointers_at(self.space, Gva::new(at));
        let found = pointers.map(|(instruction, _)| instruction);
        against(fact, found.filter(|_| at != 0), variable("CONTEXT", at))
    }

    fn against_trap_frame(&self, fact: Fact<Exception>, at: u64) -> Fact<Exception> {
        let found = records::trap_frame(self.space, at);
        against(fact, found, variable("KTRAP_FRAME", at))
    }

    fn security_check(&self, kind: u64, frame: u64, record: u64) -> Option<Fact<Exception>> {
        let told = records::exception_record(self.space, record);
        if let Some(told) = told.filter(|told| told.code != 0) {
            let fact = Fact::new(told, variable("EXCEPTION_RECORD", record));
            return Some(self.against_trap_frame(fact, frame));
        }
        let address = records::trap_frame(self.space, frame)?;
        let exception = raised(STATUS_STACK_BUFFER_OVERRUN, address.get(), vec![kind]);
        Some(Fact::new(exception, variable("KTRAP_FRAME", frame)))
    }
}

/// A fact, and the instruction pointer of a record that says otherwise.
fn against(fact: Fact<Exception>, found: Option<Gva>, source: Source) -> Fact<Exception> {
    let Some(address) = found.filter(|address| *address != fact.value.address) else {
        return fact;
    };
    let why = format!(
        "its instruction pointer is {address}, {} says {}",
        fact.source, fact.value.address
    );
    let other = Exception {
        address,
        ..fact.value.clone()
    };
    fact.against(other, source, why)
}

fn variable(name: &'static str, at: u64) -> Source {
    let gva = Gva::new(at);
    Source::Variable { name, gva }
}

fn raised(code: u32, address: u64, parameters: Vec<u64>) -> Exception {
    Exception {
        code,
        flags: 0,
        address: Gva::new(address),
        parameters,
    }
}

/// The NTSTATUS that the kernel raises for a processor trap.
fn trap_status(vector: u64) -> Option<u32> {
    Some(match vector {
        0 => 0xc000_0094, // STATUS_INTEGER_DIVIDE_BY_ZERO
        4 => 0xc000_0095, // STATUS_INTEGER_OVERFLOW
        5 => 0xc000_008c, // STATUS_ARRAY_BOUNDS_EXCEEDED
        6 => 0xc000_001d, // STATUS_ILLEGAL_INSTRUCTION
        0xc..=0xe => STATUS_ACCESS_VIOLATION,
        _ => return None,
    })
}
