//! The processor that crashed, and the exception behind every stop code that carries one.
//!
//! ```text
//! parameters -> records they point to: agree, or the contradiction is told
//! no address in the parameters -> machine frame on the crashed processor's stack -> a breakpoint where it stood
//! ```

use core2dmp::dump::Plan;
use core2dmp::windows::ContextPolicy;
use core2dmp_synth::CrashRecord as R;
use core2dmp_synth::GuestSpec;

use crate::support::cases::Case;
use crate::support::crashed::{
    ACCESS_VIOLATION, ANYWHERE, BAD, FRAME, PARAMETERS, crashed, plan, put, put_parameter, told,
};

/// Source, address and reason of what was rejected.
fn rejected(plan: &Plan) -> Vec<(String, u64, String)> {
    let rejected = plan.crash.exception.rejected.iter();
    rejected
        .map(|r| (r.source.to_string(), r.value.address.get(), r.why.clone()))
        .collect()
}

/// A guest, its crash, and what has to be told: code, parameters, source.
type Row = (fn() -> GuestSpec, R, u32, &'static [u64], &'static str);

const VIOLATION: u32 = ACCESS_VIOLATION;
const RECORD: &str = "EXCEPTION_RECORD";
const WIDE: fn() -> GuestSpec = GuestSpec::windows10;
const NARROW: fn() -> GuestSpec = GuestSpec::windows2003_x86;

const ROWS: [Row; 14] = [
    (
        WIDE,
        R::IrqlNotLessOrEqual,
        VIOLATION,
        &[0, BAD],
        PARAMETERS,
    ),
    (WIDE, R::KmodeException, VIOLATION, &[0, BAD], PARAMETERS),
    (WIDE, R::SystemServiceException, VIOLATION, &[], PARAMETERS),
    (WIDE, R::PageFault, VIOLATION, &[0, BAD], PARAMETERS),
    (WIDE, R::SystemThreadException, VIOLATION, &[0, BAD], RECORD),
    (WIDE, R::UnexpectedTrap, 0xc000_0094, &[], FRAME),
    (WIDE, R::DriverIrql, VIOLATION, &[0, BAD], PARAMETERS),
    (WIDE, R::SecurityCheck, 0xc000_0409, &[0, BAD], RECORD),
    (
        NARROW,
        R::IrqlNotLessOrEqual,
        VIOLATION,
        &[0, BAD],
        PARAMETERS,
    ),
    (NARROW, R::KmodeException, VIOLATION, &[0, BAD], PARAMETERS),
    (
        NARROW,
        R::SystemThreadException,
        VIOLATION,
        &[0, BAD],
        RECORD,
    ),
    (NARROW, R::UnexpectedTrap, 0xc000_0094, &[], FRAME),
    (NARROW, R::KernelModeException, VIOLATION, &[], PARAMETERS),
    (
        GuestSpec::windows7_pae,
        R::DriverIrql,
        VIOLATION,
        &[0, BAD],
        PARAMETERS,
    ),
];

#[test]
fn every_stop_code_that_carries_an_exception() {
    for (spec, record, code, parameters, source) in ROWS {
        let guest = crashed(spec(), record);
        let stop = guest.expected.bugcheck.clone().unwrap();
        let wanted = stop.exception.unwrap();
        let is_64 = guest.expected.arch.is_64();
        let plan = plan(guest);
        let source = match source {
            RECORD => format!("{source} at {:#x}", wanted.exception_record.unwrap()),
            FRAME => {
                let eip = wanted.trap_frame.unwrap() + if is_64 { 0x168 } else { 0x68 };
                format!("{FRAME} {eip:#x}")
            }
            _ => source.to_owned(),
        };
        assert_eq!(
            told(&plan.crash.exception),
            (code, wanted.address, parameters.to_vec(), source),
            "{record:?}"
        );
        assert_eq!(rejected(&plan), [], "{record:?}");
        assert_eq!(plan.crash.processor.value, 1);
        assert_eq!(
            plan.crash.processor.source.to_string(),
            "rule: its saved instruction pointer lies in KeBugCheckEx"
        );
    }
}

#[test]
fn a_live_guest_has_a_breakpoint_where_its_first_processor_stood() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_pae()] {
        let case = Case::new(spec.processors(2));
        let plan = case.plan(ContextPolicy::Auto);
        let registers = case.guest.expected.processors[0].from_vcpu.clone().unwrap();
        let wanted = (0x8000_0003, registers.rip, Vec::new(), ANYWHERE.to_owned());
        assert_eq!(told(&plan.crash.exception), wanted);
        assert_eq!(plan.crash.exception.value.flags, 1);
        assert_eq!(
            (
                plan.crash.processor.value,
                plan.crash.processor.source.to_string()
            ),
            (0, "rule: a live guest: the first processor".to_owned())
        );
    }
}

#[test]
fn records_that_contradict_the_parameters() {
    let cases = [
        (GuestSpec::windows10(), R::SystemServiceException, "CONTEXT"),
        (GuestSpec::windows10(), R::SystemThreadException, "CONTEXT"),
        (
            GuestSpec::windows7_pae(),
            R::KernelModeException,
            "KTRAP_FRAME",
        ),
    ];
    for (spec, record, name) in cases {
        let mut guest = crashed(spec, record);
        let exception = guest.expected.bugcheck.clone().unwrap().exception.unwrap();
        let (place, offset) = match name {
            "CONTEXT" => (exception.context_record.unwrap(), 0xf8),
            _ => (exception.trap_frame.unwrap(), 0x68),
        };
        let other = exception.address - 0x333;
        put(&mut guest, place + offset, other);
        let plan = plan(guest);
        let (code, address, _, source) = told(&plan.crash.exception);
        assert_eq!((code, address), (ACCESS_VIOLATION, exception.address));
        assert_eq!(
            rejected(&plan),
            [(
                format!("{name} at {place:#x}"),
                other,
                format!(
                    "its instruction pointer is {other:#x}, {source} says {:#x}",
                    exception.address
                )
            )]
        );
    }
}

#[test]
fn an_exception_record_of_something_else() {
    for (offset, value, code) in [
        (0, 0xc000_001d_u64, 0xc000_001d_u32),
        (0x10, 0, ACCESS_VIOLATION),
    ] {
        let mut guest = crashed(GuestSpec::windows10(), R::SystemThreadException);
        let exception = guest.expected.bugcheck.clone().unwrap().exception.unwrap();
        let record = exception.exception_record.unwrap();
        let address = exception.address;
        let value = if offset == 0 { value } else { address + 4 };
        put(&mut guest, record + offset, value);
        let plan = plan(guest);
        let wanted = (ACCESS_VIOLATION, address, Vec::new(), PARAMETERS.to_owned());
        assert_eq!(told(&plan.crash.exception), wanted);
        let at = if offset == 0 { address } else { value };
        assert_eq!(
            rejected(&plan),
            [(
                format!("EXCEPTION_RECORD at {record:#x}"),
                at,
                format!(
                    "its code is {code:#x} at {at:#x}, the stop code's parameters say {ACCESS_VIOLATION:#x} at {address:#x}"
                )
            )]
        );
    }
}

#[test]
fn a_security_check_whose_records_disagree_or_are_gone() {
    let untouched = crashed(GuestSpec::windows10(), R::SecurityCheck);
    let exception = untouched
        .expected
        .bugcheck
        .clone()
        .unwrap()
        .exception
        .unwrap();
    let (record, frame) = (
        exception.exception_record.unwrap(),
        exception.trap_frame.unwrap(),
    );
    let other = exception.address + 9;
    let mut guest = untouched.clone();
    put(&mut guest, frame + 0x168, other);
    let contradicted = plan(guest);
    let source = format!("EXCEPTION_RECORD at {record:#x}");
    let wanted = (0xc000_0409, exception.address, vec![0, BAD], source.clone());
    assert_eq!(told(&contradicted.crash.exception), wanted);
    let why = format!(
        "its instruction pointer is {other:#x}, {source} says {:#x}",
        exception.address
    );
    let trap = format!("KTRAP_FRAME at {frame:#x}");
    assert_eq!(rejected(&contradicted), [(trap.clone(), other, why)]);
    // No record, or one of zeros: the frame alone, and the kind of the check.
    for pointer in [0, record] {
        let mut guest = untouched.clone();
        put_parameter(&mut guest, 3, pointer);
        guest.write_va(record, &[0; 0x98]);
        let wanted = (0xc000_0409, exception.address, vec![3], trap.clone());
        assert_eq!(told(&plan(guest).crash.exception), wanted);
    }
}

#[test]
fn the_crashed_processor_by_the_stack_that_a_parameter_points_into() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_pae()] {
        let mut guest = crashed(spec, R::SystemThreadException);
        let other = guest.expected.processors[0]
            .from_memory
            .clone()
            .unwrap()
            .rip;
        let rip = if guest.expected.arch.is_64() {
            0xf8
        } else {
            0xb8
        };
        let context = guest.expected.processors[1].context;
        put(&mut guest, context + rip, other);
        let found = plan(guest.clone());
        assert_eq!(
            (
                found.crash.processor.value,
                found.crash.processor.source.to_string()
            ),
            (
                1,
                "rule: a parameter of the stop code points into its stack".to_owned()
            )
        );
        for parameter in 1..=4 {
            put_parameter(&mut guest, parameter, 0);
        }
        let found = plan(guest);
        assert_eq!(
            (
                found.crash.processor.value,
                found.crash.processor.source.to_string()
            ),
            (0, "rule: nothing tells: the first processor".to_owned())
        );
    }
}
