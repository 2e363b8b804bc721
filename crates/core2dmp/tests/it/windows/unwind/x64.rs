//! x64: at every instruction of a function, the caller's registers, as the machine had them when it called.

use core2dmp::windows::unwind::{How, X64};
use core2dmp_synth::unwind::x64::{Code, Function, Info, Insn, Machine};
use core2dmp_synth::unwind::{Image, TEXT};
use proptest::prelude::*;

use super::{BASE, STACK, STACK_BYTES, Scene, at};

/// Registers that functions must keep, but for RSP.
const KEPT: [u8; 8] = [3, 5, 6, 7, 12, 13, 14, 15];
/// Where the function is, and where it returns to.
pub(super) const START: u32 = TEXT + 0x100;
pub(super) const RETURN: u64 = BASE + TEXT as u64 + 5;

/// A machine that has just been called.
pub(super) fn called() -> Machine {
    let mut machine = Machine::default();
    for (number, register) in machine.gpr.iter_mut().enumerate() {
        *register = 0x1111_1111_1111_1111 * number as u64;
    }
    machine.gpr[4] = STACK + STACK_BYTES - 0x100;
    machine.push(RETURN);
    machine
}

/// An image with this function; a call stands in front of where it returns to.
pub(super) fn image_of(function: &Function) -> Image {
    let mut image = Image::x64();
    image.code(TEXT, &[0xe8, 0xfb, 0, 0, 0, 0x90]);
    image.code(START, &function.code());
    let info = image.xdata(&function.info().bytes());
    image.entry(START, &[START + function.code().len() as u32, info]);
    image
}

/// What a caller has to look like.
pub(super) fn assert_caller(found: &X64, before: &Machine, what: &str) {
    assert_eq!(found.rip, RETURN, "{what}");
    assert_eq!(found.gpr[4], before.gpr[4] + 8, "{what}: rsp");
    for number in KEPT.map(usize::from) {
        let wanted = before.gpr[number];
        assert_eq!(found.gpr[number], wanted, "{what}: register {number}");
    }
}

/// Runs the function and asks for the caller at each instruction.
pub(super) fn run(function: &Function) {
    let image = image_of(function);
    let before = called();
    let mut machine = before.clone();
    let mut rip = BASE + u64::from(START);
    for (number, instruction) in function.instructions().enumerate() {
        let mut scene = Scene::x64();
        scene.image("a.sys", BASE, &image);
        scene.stack(&machine.stack);
        let what = format!("instruction {number}, {instruction:x?} of {function:x?}");
        let (found, how) = scene.caller(at(&machine, rip), How::Context).expect(&what);
        assert_caller(&found, &before, &what);
        assert!(
            matches!(how, How::UnwindData | How::Epilog),
            "{what}: {how}"
        );
        let in_body =
            (function.prolog.len()..function.prolog.len() + function.body.len()).contains(&number);
        if in_body {
            assert_eq!(how, How::UnwindData, "{what}");
            let (found, _) = scene
                .caller(at(&machine, rip), How::UnwindData)
                .expect(&what);
            assert_caller(&found, &before, &what);
        }
        machine.execute(instruction);
        rip += instruction.bytes().len() as u64;
    }
}

#[test]
fn pushes_and_stack() {
    for bytes in [0, 8, 0x20, 0x78, 0x80, 0x88, 0x1000, 0x7_fff8] {
        run(&Function::simple(&[3, 7, 14], bytes.min(0x7000)));
    }
    run(&Function::simple(&[], 0x28));
    run(&Function::simple(&[15, 12, 5], 0));
}

/// Stack sizes are read, whatever is behind them: the return address is just there.
#[test]
fn every_size_of_stack_is_encoded_in_its_own_way() {
    let sizes = [
        (Code::AllocSmall(8), 8),
        (Code::AllocSmall(128), 128),
        (Code::AllocLarge(136), 136),
        (Code::AllocLarge(0x3ff8), 0x3ff8),
        (Code::AllocHuge(0x4000), 0x4000),
    ];
    for (code, bytes) in sizes {
        let mut image = Image::x64();
        image.code(START, &[0x90; 0x40]);
        let info = Info {
            prolog: 7,
            codes: vec![(7, code)],
            ..Info::default()
        };
        let info = image.xdata(&info.bytes());
        image.entry(START, &[START + 0x40, info]);
        let before = called();
        let mut machine = before.clone();
        machine.gpr[4] -= bytes;
        let mut scene = Scene::x64();
        scene.image("a.sys", BASE, &image);
        scene.stack(&machine.stack);
        let here = at(&machine, BASE + u64::from(START) + 0x10);
        let (found, how) = scene.caller(here, How::Context).unwrap();
        assert_caller(&found, &before, &format!("{code:?}"));
        assert_eq!(how, How::UnwindData);
    }
}

#[test]
fn registers_saved_in_the_frame_and_in_the_callers_home() {
    run(&Function {
        prolog: vec![
            Insn::Save(3, 8),
            Insn::Push(7),
            Insn::Sub(0x40),
            Insn::Save(6, 0x30),
            Insn::Save(12, 0x38),
        ],
        body: vec![Insn::Use(6, 1), Insn::Use(12, 2), Insn::Nop],
        epilog: vec![
            Insn::Restore(6, 0x30),
            Insn::Restore(12, 0x38),
            Insn::Add(0x40),
            Insn::Pop(7),
            Insn::Ret,
        ],
        version: 1,
    });
}

#[test]
fn a_frame_register_counts_once_it_is_set() {
    // Every register may be one; R12 and RSP's kin need another encoding.
    for register in [3, 5, 6, 7, 12, 13, 14, 15] {
        for offset in [0, 0x20, 0xf0] {
            run(&Function {
                prolog: vec![
                    Insn::Push(register),
                    Insn::Sub(0x100),
                    Insn::SetFrame(register, offset),
                ],
                // A stack that grows later: only the frame register tells.
                body: vec![Insn::Nop, Insn::Sub(0x60), Insn::Nop],
                epilog: vec![
                    Insn::FromFrame(register, 0x100 - offset as i32),
                    Insn::Pop(register),
                    Insn::Ret,
                ],
                version: 1,
            });
        }
    }
}

#[test]
fn saves_are_counted_from_the_frame_register_and_far_ones_too() {
    let mut image = Image::x64();
    image.code(START, &[0x90; 0x40]);
    let codes = vec![
        (0x20, Code::SaveXmm128Far(6, 0x10_0000)),
        (0x1c, Code::SaveXmm128(7, 0x20)),
        (0x18, Code::SaveNonvolFar(6, 0x300)),
        (0x14, Code::SaveNonvol(3, 0x48)),
        (0x10, Code::SetFpreg),
        (0x8, Code::AllocLarge(0x400)),
        (0x1, Code::PushNonvol(5)),
    ];
    let info = Info {
        prolog: 0x20,
        frame: Some((5, 0x80)),
        codes,
        ..Info::default()
    };
    let info = image.xdata(&info.bytes());
    image.entry(START, &[START + 0x40, info]);
    let before = called();
    let mut machine = before.clone();
    for instruction in [
        Insn::Push(5),
        Insn::Sub(0x400),
        Insn::SetFrame(5, 0x80),
        Insn::Save(3, 0x48),
        Insn::Save(6, 0x300),
        Insn::Use(3, 1),
        Insn::Use(6, 2),
        Insn::Sub(0x30),
    ] {
        machine.execute(instruction);
    }
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    let here = at(&machine, BASE + u64::from(START) + 0x30);
    let (found, _) = scene.caller(here, How::Context).unwrap();
    assert_caller(&found, &before, "saved in the frame");
}

#[test]
fn version_2_lists_its_epilogs() {
    for last in [Insn::Ret, Insn::Jump(0x4000)] {
        let mut function = Function::simple(&[3, 14, 5], 0x40);
        function.version = 2;
        *function.epilog.last_mut().unwrap() = last;
        run(&function);
    }
    // What is not listed is none, whatever it looks like: a version 2 function whose list is empty.
    let mut function = Function::simple(&[], 0x40);
    function.version = 2;
    function.body = vec![Insn::Raw(&[0xc3]), Insn::Nop];
    let image = image_of(&function);
    let before = called();
    let mut machine = before.clone();
    machine.execute(function.prolog[0]);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    let rip = BASE + u64::from(START) + 4;
    let (found, how) = scene.caller(at(&machine, rip), How::Context).unwrap();
    assert_caller(&found, &before, "a return in the body of version 2");
    assert_eq!(how, How::UnwindData);
}

/// Any prolog that a compiler may write.
fn any_function() -> impl Strategy<Value = Function> {
    let pushed = proptest::sample::subsequence(KEPT.to_vec(), 0..=5).prop_shuffle();
    let saved = proptest::sample::subsequence(KEPT.to_vec(), 0..=3);
    let frame = proptest::option::of((proptest::sample::select(KEPT.to_vec()), 0_u32..16));
    (pushed, 0_u32..0x80, saved, frame, 1_u8..=2).prop_map(
        |(pushed, words, saved, frame, version)| {
            let bytes = words * 8 + 0x40;
            let frame =
                frame.filter(|(register, units)| pushed.contains(register) && units * 16 <= bytes);
            let mut prolog: Vec<Insn> = pushed.iter().copied().map(Insn::Push).collect();
            prolog.push(Insn::Sub(bytes));
            if let Some((register, units)) = frame {
                prolog.push(Insn::SetFrame(register, units * 16));
            }
            let mut body = vec![Insn::Nop];
            let mut epilog = Vec::new();
            for (slot, register) in saved.iter().filter(|it| !pushed.contains(it)).enumerate() {
                let place = 8 * slot as u32;
                prolog.push(Insn::Save(*register, place));
                body.push(Insn::Use(*register, 7));
                epilog.push(Insn::Restore(*register, place));
            }
            match frame {
                Some((register, units)) => {
                    epilog.push(Insn::FromFrame(register, bytes as i32 - 16 * units as i32));
                }
                None => epilog.push(Insn::Add(bytes)),
            }
            epilog.extend(pushed.iter().rev().copied().map(Insn::Pop));
            epilog.push(Insn::Ret);
            body.push(Insn::Nop);
            Function {
                prolog,
                body,
                epilog,
                version,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_function_at_every_instruction(function in any_function()) {
        run(&function);
    }
}
