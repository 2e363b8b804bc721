//! What is an epilog of x64 and what only looks like one: each shape, from its first instruction to its last.

use core2dmp::windows::unwind::{Ended, How};
use core2dmp_synth::unwind::x64::{Function, Info, Insn};
use core2dmp_synth::unwind::{Image, TEXT};

use super::x64::{assert_caller, called, image_of, run};
use super::{BASE, Scene, at};

const START: u32 = TEXT + 0x100;

fn ending(last: Insn) -> Function {
    let mut function = Function::simple(&[3, 13], 0x30);
    *function.epilog.last_mut().unwrap() = last;
    function
}

#[test]
fn every_end_of_an_epilog() {
    let ends: [&[u8]; 8] = [
        &[0xf3, 0xc3],                               // rep ret
        &[0xf2, 0xc3],                               // bnd ret
        &[0xc2, 0x10, 0x00],                         // ret 10h
        &[0xff, 0x25, 0x00, 0x10, 0x00, 0x00],       // jmp [rip + n]
        &[0x48, 0xff, 0x25, 0x00, 0x10, 0x00, 0x00], // the same with REX.W
        &[0x48, 0xff, 0xe0],                         // jmp rax, a tail call
        &[0x49, 0xff, 0xe3],                         // jmp r11
        &[0x48, 0xff, 0x20],                         // jmp [rax]
    ];
    for end in ends {
        run(&ending(Insn::Raw(end)));
    }
    // Leaves the function, forward and backward; leaves the image; calls itself from the start.
    run(&ending(Insn::Jump(0x1000)));
    run(&ending(Insn::Jump(-0x100)));
    run(&ending(Insn::Jump(0x4000_0000)));
    let function = ending(Insn::Jump(0));
    let length = function.code().len() as i32;
    run(&ending(Insn::Jump(-length)));
    let short = ending(Insn::JumpShort(0));
    let length = short.code().len() as i8;
    run(&ending(Insn::JumpShort(-length)));
}

/// What stays in the function, as the first instruction of the body: the frame is all there.
fn is_body(body: Vec<Insn>) {
    let mut function = Function::simple(&[3, 13], 0x30);
    function.body = [body, vec![Insn::Nop; 0x10]].concat();
    let image = image_of(&function);
    let before = called();
    let mut machine = before.clone();
    for instruction in &function.prolog {
        machine.execute(*instruction);
    }
    let prolog: usize = function.prolog.iter().map(|it| it.bytes().len()).sum();
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    let rip = BASE + u64::from(START) + prolog as u64;
    let (found, how) = scene.caller(at(&machine, rip), How::Context).unwrap();
    let what = format!("{:x?}", function.body[0]);
    assert_caller(&found, &before, &what);
    assert_eq!(how, How::UnwindData, "{what}");
}

#[test]
fn jumps_within_the_function_are_none() {
    is_body(vec![Insn::JumpShort(2)]);
    is_body(vec![Insn::JumpShort(-2)]); // a processor that spins
    is_body(vec![Insn::Jump(4)]);
    is_body(vec![Insn::Jump(-5)]);
    is_body(vec![Insn::Raw(&[0xff, 0xe0])]); // jmp rax: a switch
    is_body(vec![Insn::Raw(&[0xff, 0x24, 0xc5, 0, 0, 0, 0])]); // jmp [table + rax * 8]
    is_body(vec![Insn::Raw(&[0x48, 0xff, 0x60, 0x08])]); // jmp [rax + 8]: not allowed in an epilog
    is_body(vec![Insn::Raw(&[0xff, 0x15, 0, 0, 0, 0])]); // call
    is_body(vec![Insn::Raw(&[0x48, 0x8d, 0x65, 0x10, 0xc3])]); // lea rsp, [rbp + 10h] without a frame register
    is_body(vec![Insn::Raw(&[0x48, 0x83, 0xc4, 0x08, 0x90])]); // add rsp, 8; nop
}

/// A function in two parts: one jumps to the other, frame and all.
#[test]
fn a_jump_to_a_part_that_is_chained_stays_in_the_function() {
    let hot = Function::simple(&[3, 13], 0x30);
    let mut image = image_of(&hot);
    let end = START + hot.code().len() as u32;
    let prolog: u32 = hot.prolog.iter().map(|it| it.bytes().len() as u32).sum();
    let info = image.next_xdata() - hot.info().bytes().len().next_multiple_of(4) as u32;
    let cold = START + 0x2000;
    let chained = Info {
        chained: Some([START, end, info]),
        ..Info::default()
    };
    let chained = image.xdata(&chained.bytes());
    image.entry(cold, &[cold + 0x20, chained]);
    // cold: jmp hot's body; jmp hot's start. hot's body: jmp cold.
    let back = (START + prolog) as i32 - (cold + 5) as i32;
    let again = START as i32 - (cold + 10) as i32;
    image.code(
        cold,
        &[Insn::Jump(back).bytes(), Insn::Jump(again).bytes()].concat(),
    );
    let there = cold as i32 - (START + prolog + 5) as i32;
    image.code(START + prolog, &Insn::Jump(there).bytes());

    let before = called();
    let mut framed = before.clone();
    for instruction in &hot.prolog {
        framed.execute(*instruction);
    }
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&framed.stack);
    for rva in [START + prolog, cold] {
        let here = at(&framed, BASE + u64::from(rva));
        let (found, how) = scene.caller(here, How::Context).unwrap();
        assert_caller(&found, &before, &format!("{rva:#x}"));
        assert_eq!(how, How::UnwindData);
    }
    // A call of itself is a tail call from its cold part, too: the frame is gone.
    let (found, how) = scene
        .caller(at(&before, BASE + u64::from(cold) + 5), How::Context)
        .unwrap();
    assert_caller(&found, &before, "a call of itself");
    assert_eq!(how, How::Epilog);

    // Where the target's entry cannot be read, the stack tells: with the frame it has no return address on top.
    let mut absent = scene.clone();
    absent
        .memory
        .remove(BASE + u64::from(image.next_xdata()) - 16);
    let here = at(&framed, BASE + u64::from(START + prolog));
    let result = absent.caller(here, How::Context);
    assert!(
        matches!(result, Err(Ended::Unreadable { .. })),
        "{result:?}"
    );
}

#[test]
fn without_its_code_a_frame_is_found_by_data_alone_and_that_is_said() {
    let function = Function::simple(&[3], 0x30);
    let mut image = image_of(&function);
    // Far from the call that is returned to.
    let far = START + 0x4000;
    image.code(far, &function.code());
    let info = image.xdata(&function.info().bytes());
    image.entry(far, &[far + function.code().len() as u32, info]);
    let before = called();
    let mut machine = before.clone();
    for instruction in &function.prolog {
        machine.execute(*instruction);
    }
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    scene.memory.remove(BASE + u64::from(far));
    let here = at(&machine, BASE + u64::from(far) + 8);
    let (found, how) = scene.caller(here, How::Context).unwrap();
    assert_caller(&found, &before, "code absent");
    assert_eq!(how, How::UnwindDataAlone);
    // Behind a call it does not matter.
    let (_, how) = scene.caller(here, How::UnwindData).unwrap();
    assert_eq!(how, How::UnwindData);
}

/// An epilog at a page's end, whose other half is absent, is not taken for one by what is not there.
#[test]
fn an_epilog_that_is_cut_by_an_absent_page_is_none() {
    let function = Function::simple(&[3], 0x30);
    let mut image = Image::x64();
    image.code(TEXT, &[0xe8, 0xfb, 0, 0, 0, 0x90]);
    let start = TEXT + 0x2000 - function.code().len() as u32 + 1;
    image.code(start, &function.code());
    let info = image.xdata(&function.info().bytes());
    image.entry(start, &[start + function.code().len() as u32, info]);
    let before = called();
    let mut machine = before.clone();
    let mut rip = start;
    for instruction in function.prolog.iter().chain(&function.body) {
        machine.execute(*instruction);
        rip += instruction.bytes().len() as u32;
    }
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    scene.stack(&machine.stack);
    scene.memory.remove(BASE + u64::from(TEXT) + 0x2000);
    let (found, how) = scene
        .caller(at(&machine, BASE + u64::from(rip)), How::Context)
        .unwrap();
    assert_caller(&found, &before, "its ret is absent");
    assert_eq!(how, How::UnwindData);
}
