//! x64: frames that are no ordinary call's: leaves, wild pointers, interrupts, chained parts.

use core2dmp::windows::unwind::{Ended, How};
use core2dmp_synth::unwind::x64::{Code, Function, Info, Insn, Machine};
use core2dmp_synth::unwind::{Image, TEXT};

use super::x64::{RETURN, START, assert_caller, called, image_of};
use super::{BASE, STACK, STACK_BYTES, Scene, at};
#[test]
fn a_leaf_returns_to_the_top_of_its_stack() {
    let function = Function::simple(&[3], 0x20);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image_of(&function));
    let machine = called();
    scene.stack(&machine.stack);
    let outside = BASE + u64::from(START) + 0x1000;
    let (found, how) = scene.caller(at(&machine, outside), How::Context).unwrap();
    assert_eq!((found.rip, how), (RETURN, How::Leaf));
    // A return address leads to no leaf, unless a call stands in front of what is on the stack.
    let (found, how) = scene
        .caller(at(&machine, outside), How::UnwindData)
        .unwrap();
    assert_eq!((found.rip, how), (RETURN, How::Leaf));
    let mut elsewhere = machine.clone();
    elsewhere
        .stack
        .insert(machine.gpr[4], BASE + u64::from(START));
    scene.stack(&elsewhere.stack);
    let ended = scene
        .caller(at(&machine, outside), How::UnwindData)
        .unwrap_err();
    assert!(matches!(ended, Ended::NoFunction { .. }), "{ended}");
}

#[test]
fn a_call_through_a_wild_pointer_is_told_by_the_top_of_the_stack() {
    let function = Function::simple(&[3], 0x20);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image_of(&function));
    let machine = called();
    scene.stack(&machine.stack);
    for wild in [0, 0x1234, 0xdead_0000_0000_0000, BASE - 1] {
        let (found, how) = scene.caller(at(&machine, wild), How::Context).unwrap();
        assert_eq!((found.rip, how), (RETURN, How::Leaf));
        let ended = scene
            .caller(at(&machine, wild), How::UnwindData)
            .unwrap_err();
        assert!(matches!(ended, Ended::NoImage { .. }), "{ended}");
    }
    let mut elsewhere = machine.clone();
    elsewhere.stack.insert(machine.gpr[4], RETURN + 1);
    scene.stack(&elsewhere.stack);
    let ended = scene
        .caller(at(&machine, 0x1234), How::Context)
        .unwrap_err();
    assert!(matches!(ended, Ended::NoImage { .. }), "{ended}");
}

#[test]
fn a_machine_frame_leads_to_interrupted_code_on_any_stack() {
    for error_code in [false, true] {
        let mut image = image_of(&Function::simple(&[3], 0x20));
        let handler = START + 0x400;
        image.code(handler, &[0x90; 0x40]);
        let info = Info {
            prolog: 8,
            codes: vec![
                (8, Code::AllocSmall(0x40)),
                (4, Code::PushNonvol(5)),
                (0, Code::PushMachframe(error_code)),
            ],
            ..Info::default()
        };
        let info = image.xdata(&info.bytes());
        image.entry(handler, &[handler + 0x40, info]);
        // Interrupted in the function's prolog, on a stack below: it has not pushed yet.
        let before = called();
        let interrupted = BASE + u64::from(START);
        let mut machine = before.clone();
        machine.gpr[4] = STACK + STACK_BYTES - 0x40;
        for word in [0x18, before.gpr[4], 0x246, 0x10, interrupted] {
            machine.push(word);
        }
        if error_code {
            machine.push(0xe);
        }
        machine.execute(Insn::Push(5));
        machine.execute(Insn::Sub(0x40));
        let mut scene = Scene::x64();
        scene.image("a.sys", BASE, &image);
        scene.stack(&machine.stack);
        let here = at(&machine, BASE + u64::from(handler) + 0x20);
        let (found, how) = scene.caller(here, How::Context).unwrap();
        assert_eq!(
            (found.rip, found.gpr[4], how),
            (interrupted, before.gpr[4], How::MachineFrame)
        );
        assert!(found.gpr[4] < machine.gpr[4], "the stack goes down");
        let (found, how) = scene.caller(found, how).unwrap();
        assert_caller(&found, &before, "behind the machine frame");
        assert_eq!(how, How::UnwindData);
    }
}

#[test]
fn a_part_that_is_chained_undoes_its_own_codes_and_all_of_the_primarys() {
    let function = Function {
        prolog: vec![Insn::Push(5), Insn::Sub(0x40)],
        body: vec![Insn::Nop],
        epilog: vec![Insn::Add(0x40), Insn::Pop(5), Insn::Ret],
        version: 1,
    };
    let mut image = image_of(&function);
    let end = START + function.code().len() as u32;
    let primary = image.xdata(&function.info().bytes());
    let (part, further) = (START + 0x800, START + 0x900);
    image.code(part, &[0x90; 0x40]);
    image.code(further, &[0x90; 0x40]);
    let saves = Info {
        prolog: 5,
        codes: vec![(5, Code::SaveNonvol(3, 0x30))],
        chained: Some([START, end, primary]),
        ..Info::default()
    };
    let saves = image.xdata(&saves.bytes());
    image.entry(part, &[part + 0x40, saves]);
    // A part of the part, with nothing of its own; and an entry that points to another entry.
    let plain = Info {
        chained: Some([part, part + 0x40, saves]),
        ..Info::default()
    };
    let plain = image.xdata(&plain.bytes());
    image.entry(further, &[further + 0x40, plain]);
    let entry: Vec<u8> = [part, part + 0x40, saves]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let entry = image.xdata(&entry);
    image.entry(START + 0xa00, &[START + 0xa40, entry | 1]);
    image.code(START + 0xa00, &[0x90; 0x40]);

    let before = called();
    let mut machine = before.clone();
    for instruction in &function.prolog {
        machine.execute(*instruction);
    }
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    let mut look = |rva: u32, machine: &Machine| {
        scene.stack(&machine.stack);
        let (found, _) = scene
            .caller(at(machine, BASE + u64::from(rva)), How::Context)
            .unwrap();
        assert_caller(&found, &before, &format!("at {rva:#x}"));
    };
    look(part, &machine);
    machine.execute(Insn::Save(3, 0x30));
    look(part, &machine);
    machine.execute(Insn::Use(3, 9));
    for rva in [part + 8, further, further + 8, START + 0xa00, START + 0xa08] {
        look(rva, &machine);
    }
}

/// A call that never returns may be a function's last instruction.
#[test]
fn a_return_address_behind_its_function_belongs_to_it() {
    let mut image = Image::x64();
    image.code(TEXT, &[0xe8, 0xfb, 0, 0, 0, 0x90]);
    let first = Function {
        prolog: vec![Insn::Sub(0x28)],
        body: vec![Insn::Raw(&[0xe8, 0, 0, 0, 0])],
        epilog: Vec::new(),
        version: 1,
    };
    let next = START + first.code().len() as u32;
    image.code(START, &first.code());
    let info = image.xdata(&first.info().bytes());
    image.entry(START, &[next, info]);
    let second = Function::simple(&[3, 5], 0x20);
    image.code(next, &second.code());
    let info = image.xdata(&second.info().bytes());
    image.entry(next, &[next + second.code().len() as u32, info]);
    let before = called();
    let mut machine = before.clone();
    machine.execute(first.prolog[0]);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    let here = at(&machine, BASE + u64::from(next));
    let (found, _) = scene.caller(here, How::UnwindData).unwrap();
    assert_caller(&found, &before, "behind a call that never returns");
    let walked = scene.walk(&core2dmp::windows::unwind::Registers::X64(here));
    assert_eq!(
        walked.frames[0].place.as_ref().unwrap().function,
        Some(next)
    );
}
