//! Which processor crashed, and the exception behind the stop code.
//!
//! ```text
//! processor   whose saved RIP lies in KeBugCheckEx
//!             whose stack a parameter points into (trap frame, context or exception record)
//!             0
//! exception   from the parameters of the stop codes that carry one, else a breakpoint where it stood
//! ```
//!
//! Sources: "Bug check code reference" of Microsoft's documentation for the parameters; wdm.h for
//! `EXCEPTION_RECORD`. Dumps that Windows writes itself carry a breakpoint (seen in builds 19041 and 22000).

use super::bugcheck::Bugcheck;
use super::contexts::ProcessorContext;
use super::fact::{Fact, Source};
use super::pe::PeImage;
use crate::address::Gva;
use crate::format::dump_values::{
    EXCEPTION_NONCONTINUABLE, STATUS_ACCESS_VIOLATION, STATUS_BREAKPOINT,
};
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;

/// Bytes of `KeBugCheckEx` in which the saved instruction pointer may stand.
const BUGCHECK_FUNCTION: u64 = 0x200;
/// Bytes of a kernel stack: a record on it is at most this far above the stack pointer.
const STACK_BYTES: u64 = 0x6000;
/// `EXCEPTION_MAXIMUM_PARAMETERS`.
const MAX_PARAMETERS: usize = 15;
/// The bit of the variants of stop codes that a debugger or a driver raises, such as 0x1000007E.
const VARIANT: u32 = 0x1000_0000;

/// An exception, as a dump's header holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The number of the processor that crashed; of a live guest the first one.
pub(super) fn processor(
    space: &AddressSpace<'_>,
    kernel: &PeImage,
    bugcheck: &Bugcheck,
    contexts: &[ProcessorContext],
) -> Fact<u32> {
    let first = contexts.first().map_or(0, |context| context.number);
    if !bugcheck.crashed {
        return Fact::new(first, Source::Rule("a live guest: the first processor"));
    }
    let function = kernel.export(space, "KeBugCheckEx");
    let in_function = |context: &&ProcessorContext| {
        function.is_some_and(|function| {
            let offset = context.rip.get().wrapping_sub(function.get());
            offset < BUGCHECK_FUNCTION
        })
    };
    if let Some(context) = contexts.iter().find(in_function) {
        return Fact::new(
            context.number,
            Source::Rule("its saved instruction pointer lies in KeBugCheckEx"),
        );
    }
    let on_stack = |context: &&ProcessorContext| {
        bugcheck.parameters.iter().any(|parameter| {
            let above = parameter.wrapping_sub(context.rsp.get());
            above != 0 && above < STACK_BYTES
        })
    };
    if let Some(context) = contexts.iter().find(on_stack) {
        return Fact::new(
            context.number,
            Source::Rule("a parameter of the stop code points into its stack"),
        );
    }
    Fact::new(first, Source::Rule("nothing tells: the first processor"))
}

/// The exception that the stop code speaks of.
pub(super) fn exception(
    space: &AddressSpace<'_>,
    bugcheck: &Bugcheck,
    crashed: Option<&ProcessorContext>,
) -> Fact<Exception> {
    let parameters = Source::Rule("parameters of the stop code");
    if let Some((exception, record)) = from_parameters(space, bugcheck) {
        let source = match record {
            Some(gva) => Source::Variable {
                name: "EXCEPTION_RECORD",
                gva,
            },
            None => parameters,
        };
        return Fact::new(exception, source);
    }
    let breakpoint = Exception {
        code: STATUS_BREAKPOINT,
        flags: EXCEPTION_NONCONTINUABLE,
        address: crashed.map_or_else(Gva::default, |context| context.rip),
        parameters: Vec::new(),
    };
    Fact::new(breakpoint, Source::Rule("a breakpoint where it stood"))
}

/// The exception in the parameters, and the address of the record that was read, if one was.
fn from_parameters(
    space: &AddressSpace<'_>,
    bugcheck: &Bugcheck,
) -> Option<(Exception, Option<Gva>)> {
    if !bugcheck.crashed {
        return None;
    }
    let [p1, p2, p3, p4] = bugcheck.parameters;
    // NTSTATUS codes are sign-extended on 64 bit.
    let status = u32::try_from(p1 & 0xffff_ffff).ok()?;
    let raised = |code, address, parameters| Exception {
        code,
        flags: 0,
        address: Gva::new(address),
        parameters,
    };
    let violation = |address, parameters| raised(STATUS_ACCESS_VIOLATION, address, parameters);
    let plain = match bugcheck.code & !VARIANT {
        // KMODE_EXCEPTION_NOT_HANDLED: code, address, the exception's own parameters.
        0x1e => raised(status, p2, vec![p3, p4]),
        // SYSTEM_SERVICE_EXCEPTION, KERNEL_MODE_EXCEPTION_NOT_HANDLED: code, address, context or trap frame.
        0x3b | 0x8e => raised(status, p2, Vec::new()),
        // SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: code, address, exception record, context.
        0x7e => {
            if let Some(exception) = record(space, p3).filter(|e| e.code == status) {
                return Some((exception, Some(Gva::new(p3))));
            }
            raised(status, p2, Vec::new())
        }
        // KERNEL_SECURITY_CHECK_FAILURE: kind, trap frame, exception record.
        0x139 => return Some((record(space, p3)?, Some(Gva::new(p3)))),
        // IRQL_NOT_LESS_OR_EQUAL and DRIVER_...: memory, IRQL, kind of access, instruction.
        0xa | 0xd1 => violation(p4, vec![p3, p1]),
        // PAGE_FAULT_IN_NONPAGED_AREA: memory, kind of access, instruction.
        0x50 if p3 != 0 => violation(p3, vec![p2, p1]),
        // UNEXPECTED_KERNEL_MODE_TRAP: vector; on x64 the instruction last.
        0x7f if space.mode().is_kernel(Gva::new(p4)) => raised(trap_status(p1)?, p4, Vec::new()),
        _ => return None,
    };
    Some((plain, None))
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

/// The `EXCEPTION_RECORD` at an address: code, flags, chain, address, count, parameters.
fn record(space: &AddressSpace<'_>, address: u64) -> Option<Exception> {
    let wide = space.mode().is_64bit();
    let word = space.mode().pointer_bytes();
    let (at_address, at_count, at_parameters) = if wide { (16, 24, 32) } else { (12, 16, 20) };
    let size = MAX_PARAMETERS
        .checked_mul(word)?
        .checked_add(at_parameters)?;
    let raw = space.bytes(Gva::new(address), size).ok()?;
    let read = |offset: usize| {
        if wide {
            u64_at(&raw, offset)
        } else {
            u32_at(&raw, offset).map(u64::from)
        }
    };
    let count = usize::try_from(u32_at(&raw, at_count)?).ok()?;
    if count > MAX_PARAMETERS {
        return None;
    }
    let parameters = (0..count)
        .map_while(|n| read(at_parameters.checked_add(n.checked_mul(word)?)?))
        .collect();
    Some(Exception {
        code: u32_at(&raw, 0)?,
        flags: u32_at(&raw, 4)?,
        address: Gva::new(read(at_address)?),
        parameters,
    })
}
