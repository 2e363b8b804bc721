//! Stop codes whose exception is on the stack only: the processor's machine frame tells where it was.

use core2dmp::windows::ContextPolicy;
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use crate::support::cases::Case;
use crate::support::crashed::{
    ACCESS_VIOLATION, ANYWHERE, BAD, FRAME, PARAMETERS, crashed, crashed_spec, plan, put,
    put_parameter, told,
};

#[test]
fn the_machine_frame_where_the_parameter_is_zero() {
    let specs = [
        GuestSpec::windows10,
        GuestSpec::windows2003_x64,
        GuestSpec::windows2003_x86,
        GuestSpec::windows7_pae,
    ];
    for spec in specs {
        for (record, parameter) in [
            (CrashRecord::IrqlNotLessOrEqual, 4),
            (CrashRecord::DriverIrql, 4),
            (CrashRecord::PageFault, 3),
        ] {
            let mut guest = crashed(spec(), record);
            put_parameter(&mut guest, parameter, 0);
            let frame = guest.expected.bugcheck.clone().unwrap().exception.unwrap();
            let offset = if guest.expected.arch.is_64() {
                0x168
            } else {
                0x68
            };
            let source = format!("{FRAME} {:#x}", frame.trap_frame.unwrap() + offset);
            let plan = plan(guest);
            assert_eq!(
                told(&plan.crash.exception),
                (ACCESS_VIOLATION, frame.address, vec![0, BAD], source),
                "{record:?}"
            );
        }
    }
}

/// Where the saved stack pointer stands in a `CONTEXT`, and where the machine frame starts in a trap frame.
fn places(guest: &Guest) -> (u64, u64) {
    let stack = if guest.expected.arch.is_64() {
        0x98
    } else {
        0xc4
    };
    let frame = guest.expected.bugcheck.as_ref().unwrap().exception.as_ref();
    let offset = if guest.expected.arch.is_64() {
        0x168
    } else {
        0x68
    };
    (
        guest.expected.processors[1].context + stack,
        frame.unwrap().trap_frame.unwrap() + offset,
    )
}

#[test]
fn only_frames_of_kernel_code_above_the_stack_pointer_count() {
    for spec in [GuestSpec::windows10, GuestSpec::windows2003_x86] {
        let untouched = crashed(spec(), CrashRecord::UnexpectedTrap);
        let is_64 = untouched.expected.arch.is_64();
        let width = if is_64 { 8 } else { 4 };
        let (rsp, frame) = places(&untouched);
        let saved = untouched.expected.processors[1]
            .from_memory
            .clone()
            .unwrap();
        let kernel = untouched.expected.kernel.clone();
        // The stack pointer past the frame; code outside of every module; ring 3; flags that cannot be.
        let breaks = [
            (rsp, frame + width),
            (frame, kernel.base - 0x10),
            (frame, 0x1234_5678),
            (frame + width, if is_64 { 0x33 } else { 0x1b }),
            (frame + 2 * width, 0),
            (frame + 2 * width, 0x8246),
        ];
        for (va, value) in breaks {
            let mut guest = untouched.clone();
            put(&mut guest, va, value);
            let plan = plan(guest);
            let wanted = (0x8000_0003, saved.rip, Vec::new(), ANYWHERE.to_owned());
            assert_eq!(told(&plan.crash.exception), wanted, "{va:#x} = {value:#x}");
        }
    }
    // 64 bit: the frame says where the stack was, and that is right above it.
    let mut guest = crashed(GuestSpec::windows10(), CrashRecord::UnexpectedTrap);
    let (_, frame) = places(&guest);
    put(&mut guest, frame + 24, frame + 0x100);
    assert_eq!(told(&plan(guest).crash.exception).3, ANYWHERE);
}

#[test]
fn an_address_in_the_parameters_comes_before_the_stack() {
    let guest = crashed(GuestSpec::windows10(), CrashRecord::DriverIrql);
    let mut elsewhere = guest.clone();
    let (_, frame) = places(&guest);
    put(&mut elsewhere, frame, guest.expected.kernel.base + 0x1_2345);
    for guest in [guest, elsewhere] {
        let exception = guest.expected.bugcheck.clone().unwrap().exception;
        let found = told(&plan(guest).crash.exception);
        assert_eq!(
            (found.1, found.3.as_str()),
            (exception.unwrap().address, PARAMETERS)
        );
    }
}

#[test]
fn of_two_frames_the_first() {
    let mut guest = crashed(GuestSpec::windows10(), CrashRecord::UnexpectedTrap);
    let (_, frame) = places(&guest);
    let address = guest.expected.kernel.base + 0x1_2345;
    // A second one 0x200 below, of an interrupt that came later, with SS null.
    for (slot, value) in [(0, address), (1, 0x10), (2, 0x246), (4, 0)] {
        put(&mut guest, frame - 0x200 + slot * 8, value);
    }
    put(&mut guest, frame - 0x200 + 24, frame - 0x200 + 40 + 8);
    let source = format!("{FRAME} {:#x}", frame - 0x200);
    let wanted = (0xc000_0094, address, Vec::new(), source);
    assert_eq!(told(&plan(guest).crash.exception), wanted);
}

#[test]
fn a_frame_further_up_than_one_stack_is_not_looked_at() {
    let mut guest = crashed(GuestSpec::windows10(), CrashRecord::UnexpectedTrap);
    let (rsp, frame) = places(&guest);
    put(&mut guest, rsp, frame - 0x6000);
    assert_eq!(told(&plan(guest).crash.exception).3, ANYWHERE);
}

#[test]
fn traps_by_vector() {
    for (vector, code) in [
        (0, 0xc000_0094),
        (4, 0xc000_0095),
        (5, 0xc000_008c),
        (6, 0xc000_001d),
        (0xd, ACCESS_VIOLATION),
        (8, 0x8000_0003),
    ] {
        let mut guest = crashed(GuestSpec::windows2003_pae(), CrashRecord::UnexpectedTrap);
        put_parameter(&mut guest, 1, vector);
        let plan = plan(guest);
        assert_eq!(plan.crash.exception.value.code, code);
        assert_eq!(
            plan.crash.exception.source.to_string() == ANYWHERE,
            vector == 8
        );
    }
}

#[test]
fn whoevers_registers_are_shown_the_stack_is_the_one_that_windows_saved() {
    let case = Case::new(crashed_spec(
        GuestSpec::windows10(),
        CrashRecord::UnexpectedTrap,
    ));
    let exception = case
        .guest
        .expected
        .bugcheck
        .clone()
        .unwrap()
        .exception
        .unwrap();
    for policy in [
        ContextPolicy::Vcpu,
        ContextPolicy::Memory,
        ContextPolicy::Auto,
    ] {
        let plan = case.plan(policy);
        assert_eq!(plan.crash.processor.value, 1);
        assert_eq!(plan.crash.exception.value.address.get(), exception.address);
    }
}
