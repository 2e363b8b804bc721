//! What an attacker may make of tables and stacks: each walk ends, and says why.

use core2dmp::windows::unwind::{Ended, How, Registers};
use core2dmp_synth::unwind::x64::{Code, Function, Info, Machine};
use core2dmp_synth::unwind::{Image, TEXT};

use super::x64::{called, image_of};
use super::{BASE, STACK, Scene, at, frames};

const START: u32 = TEXT + 0x100;

fn ended(image: &Image, machine: &Machine) -> Ended {
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, image);
    scene.stack(&machine.stack);
    let start = Registers::X64(at(machine, BASE + u64::from(START) + 0x20));
    scene.walk(&start).ended
}

fn of_info(info: &[u8]) -> Image {
    let mut image = Image::x64();
    image.code(TEXT, &[0xe8, 0xfb, 0, 0, 0, 0x90]);
    image.code(START, &[0x90; 0x40]);
    let info = image.xdata(info);
    image.entry(START, &[START + 0x40, info]);
    image
}

#[test]
fn information_that_is_chained_to_itself() {
    let own = Image::x64().next_xdata();
    let info = Info {
        chained: Some([START, START + 0x40, own]),
        ..Info::default()
    };
    let what = "a chain of unwind information";
    let found = ended(&of_info(&info.bytes()), &called());
    assert!(
        matches!(found, Ended::Corrupt { what: it, .. } if it == what),
        "{found}"
    );
}

#[test]
fn an_entry_that_points_to_itself() {
    let mut image = Image::x64();
    image.code(START, &[0x90; 0x40]);
    let own = image.next_xdata();
    let words = [START, START + 0x40, own | 1];
    image.xdata(&words.map(u32::to_le_bytes).concat());
    image.entry(START, &[START + 0x40, own | 1]);
    let what = "an entry that points to others";
    let found = ended(&image, &called());
    assert!(
        matches!(found, Ended::Corrupt { what: it, .. } if it == what),
        "{found}"
    );
}

/// As many parts as are followed, and one more.
#[test]
fn chains_have_an_end() {
    for (parts, is_whole) in [(31_u32, true), (32, true), (33, false)] {
        let mut image = Image::x64();
        image.code(TEXT, &[0xe8, 0xfb, 0, 0, 0, 0x90]);
        image.code(START, &[0x90; 0x40]);
        let mut info = image.xdata(&Info::default().bytes());
        for _ in 1..parts {
            let chained = Some([START, START + 0x40, info]);
            let next = Info {
                chained,
                ..Info::default()
            };
            info = image.xdata(&next.bytes());
        }
        image.entry(START, &[START + 0x40, info]);
        let mut scene = Scene::x64();
        scene.image("a.sys", BASE, &image);
        let machine = called();
        scene.stack(&machine.stack);
        let result = scene.caller(
            at(&machine, BASE + u64::from(START) + 0x20),
            How::UnwindData,
        );
        assert_eq!(result.is_ok(), is_whole, "{parts}: {result:?}");
    }
}

#[test]
fn more_frames_than_are_walked() {
    let function = Function::simple(&[], 0x28);
    let image = image_of(&function);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    // A function that called itself without end: every word returns into it.
    let back = BASE + u64::from(START) + 5;
    scene.memory.words(STACK, &[back; 0x1000]);
    let mut machine = called();
    machine.gpr[4] = STACK;
    let stack = scene.walk(&Registers::X64(at(&machine, back)));
    assert_eq!(
        (stack.frames.len(), stack.ended),
        (256, Ended::TooMany(256))
    );
}

#[test]
fn machine_frames_that_lead_to_themselves() {
    let info = Info {
        codes: vec![(0, Code::PushMachframe(false))],
        ..Info::default()
    };
    let image = of_info(&info.bytes());
    let mut machine = called();
    let here = machine.gpr[4] - 40;
    for word in [0x18, here, 0x246, 0x10, BASE + u64::from(START) + 0x20] {
        machine.push(word);
    }
    machine.gpr[4] = here - 8 + 8;
    machine.gpr[4] = *machine.stack.keys().next().unwrap();
    let found = ended(&image, &machine);
    assert!(
        matches!(
            found,
            Ended::TooMany(256) | Ended::Unreadable { .. } | Ended::NotGrowing { .. }
        ),
        "{found}"
    );
}

#[test]
fn a_stack_pointer_that_does_not_grow() {
    // The frame register leads downwards.
    let info = Info {
        frame: Some((5, 0)),
        codes: vec![(0, Code::SetFpreg)],
        ..Info::default()
    };
    let image = of_info(&info.bytes());
    let mut machine = called();
    machine.gpr[5] = STACK + 0x100;
    machine
        .stack
        .insert(STACK + 0x100, BASE + u64::from(START) + 0x20);
    let found = ended(&image, &machine);
    assert!(matches!(found, Ended::NotGrowing { .. }), "{found}");
    assert!(found.to_string().contains("is not above"), "{found}");
}

#[test]
fn information_that_cannot_be() {
    let corrupt = |image: &Image, wanted: &str| {
        let found = ended(image, &called());
        assert!(
            matches!(found, Ended::Corrupt { what, .. } if what == wanted),
            "{found}"
        );
    };
    // Operands that are not there; operations that are none.
    for codes in [
        vec![(4, Code::Raw(1, 0))],
        vec![(4, Code::Raw(1, 2))],
        vec![(4, Code::Raw(5, 3)), (0, Code::Raw(0, 0))],
        vec![(4, Code::Raw(10, 2))],
        vec![(4, Code::Raw(11, 0))],
    ] {
        let info = Info {
            codes,
            ..Info::default()
        };
        corrupt(&of_info(&info.bytes()), "unwind codes");
    }
    for version in [0, 3, 7] {
        let info = Info {
            version,
            ..Info::default()
        };
        let found = ended(&of_info(&info.bytes()), &called());
        assert!(matches!(found, Ended::Unknown { .. }), "{found}");
    }
    let mut outside = Image::x64();
    outside.entry(START, &[START + 0x40, 0xffff_fff0]);
    corrupt(&outside, "the address of unwind information");
}

/// A table of 4 GiB: it is searched as far as the image goes.
#[test]
fn a_table_larger_than_its_image() {
    let mut image = image_of(&Function::simple(&[], 0x28));
    image.table_bytes = Some(u32::MAX);
    let mut scene = Scene::x64();
    scene.image("a.sys", BASE, &image);
    let machine = called();
    scene.stack(&machine.stack);
    let stack = scene.walk(&Registers::X64(at(&machine, BASE + u64::from(START))));
    assert!(frames(&stack).len() <= 256);
}
