//! Guests that crashed with an exception, and what a plan says of it.

use core2dmp::dump::Plan;
use core2dmp::windows::{ContextPolicy, Exception, Fact};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use super::cases::Case;

pub(crate) const PARAMETERS: &str = "rule: parameters of the stop code";
pub(crate) const FRAME: &str = "machine frame on the stack of the processor that crashed, at";
pub(crate) const ACCESS_VIOLATION: u32 = 0xc000_0005;
/// The address that the faulting instruction used.
pub(crate) const BAD: u64 = 0xdead_bee0;
pub(crate) const ANYWHERE: &str = "rule: a breakpoint where it stood";

/// A guest of two processors that crashed on the second.
pub(crate) fn crashed(spec: GuestSpec, record: CrashRecord) -> Guest {
    crashed_spec(spec, record).build()
}

pub(crate) fn crashed_spec(spec: GuestSpec, record: CrashRecord) -> GuestSpec {
    let spec = spec.processors(2).crashed(0, [0; 4]).crashed_on(1);
    spec.crash_record(record)
}

/// Code, address, parameters and source.
pub(crate) fn told(fact: &Fact<Exception>) -> (u32, u64, Vec<u64>, String) {
    let exception = &fact.value;
    (
        exception.code,
        exception.address.get(),
        exception.parameters.clone(),
        fact.source.to_string(),
    )
}

pub(crate) fn plan(guest: Guest) -> Plan {
    Case::of(guest).plan(ContextPolicy::Auto)
}

/// Writes a parameter of the stop code, the first is 1.
pub(crate) fn put_parameter(guest: &mut Guest, parameter: u64, value: u64) {
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    let at = guest.expected.ki_bugcheck_data + parameter * width;
    guest.write_va(at, &value.to_le_bytes()[..width as usize]);
}

pub(crate) fn put(guest: &mut Guest, va: u64, value: u64) {
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    guest.write_va(va, &value.to_le_bytes()[..width]);
}
