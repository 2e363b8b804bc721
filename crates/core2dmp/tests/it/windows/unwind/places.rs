//! Where frames are: image, offset, function, nearest export; and images that are there in part.

use core2dmp::windows::unwind::{Ended, How, Place, Registers};
use core2dmp_synth::unwind::x64::{Function, Insn, Machine};
use core2dmp_synth::unwind::{Image, PDATA, TEXT, XDATA};

use super::{BASE, OTHER, STACK, STACK_BYTES, Scene, at, frames};

/// Two images: `outer` in one calls `inner` in the other, which is where it stands.
struct Call {
    scene: Scene,
    start: Registers,
    sp: [u64; 3],
}

const INNER: u32 = TEXT + 0x40;
const OUTER: u32 = TEXT + 0x1200;
const THREAD: u32 = TEXT + 0x2400;

fn call() -> Call {
    let outer = Function::simple(&[3], 0x60);
    let inner = Function::simple(&[7, 12], 0x28);
    let thread = Function::simple(&[], 0x28);
    let mut one = Image::x64();
    let mut two = Image::x64();
    let add = |image: &mut Image, rva: u32, function: &Function| {
        image.code(rva, &function.code());
        let info = image.xdata(&function.info().bytes());
        image.entry(rva, &[rva + 0x100, info]);
    };
    add(&mut one, OUTER, &outer);
    add(&mut one, THREAD, &thread);
    add(&mut two, INNER, &inner);
    one.export("ZwOuter", OUTER);
    one.export("AbEarlier", OUTER - 0x200);
    one.export("AbLater", OUTER + 0x1000);
    two.export("Inner", INNER);
    let mut machine = Machine::default();
    machine.gpr[4] = STACK + STACK_BYTES - 0x100;
    // Nobody called the thread's function.
    let mut sp = Vec::new();
    for (function, back) in [
        (&thread, 0),
        (&outer, BASE + u64::from(THREAD) + 0x20),
        (&inner, BASE + u64::from(OUTER) + 0x20),
    ] {
        machine.push(back);
        for instruction in &function.prolog {
            machine.execute(*instruction);
        }
        sp.push(machine.gpr[4]);
        machine.execute(Insn::Use(3, 1));
    }
    let mut scene = Scene::x64();
    scene.image("one.sys", BASE, &one);
    scene.image("two.sys", OTHER, &two);
    scene.stack(&machine.stack);
    let start = Registers::X64(at(&machine, OTHER + u64::from(INNER) + 8));
    Call {
        scene,
        start,
        sp: [sp[2], sp[1], sp[0]],
    }
}

/// Module, offset in it, function; export, offset from it, whether it is the function's own.
fn of(place: &Place) -> (String, u32, Option<u32>, String, u32, bool) {
    let export = place.export.clone().unwrap();
    (
        place.module.name.clone(),
        place.rva,
        place.function,
        export.name,
        export.offset,
        export.is_function,
    )
}

#[test]
fn a_stack_from_the_context_to_its_bottom() {
    let Call { scene, start, sp } = call();
    let stack = scene.walk(&start);
    assert_eq!(
        frames(&stack),
        [
            (How::Context, OTHER + u64::from(INNER) + 8, sp[0]),
            (How::UnwindData, BASE + u64::from(OUTER) + 0x20, sp[1]),
            (How::UnwindData, BASE + u64::from(THREAD) + 0x20, sp[2]),
        ]
    );
    assert_eq!(stack.ended, Ended::Bottom);
    assert!(stack.ended.is_whole());
    let places: Vec<_> = stack
        .frames
        .iter()
        .map(|frame| frame.place.clone().unwrap())
        .collect();
    assert_eq!(
        of(&places[0]),
        (
            "two.sys".to_owned(),
            INNER + 8,
            Some(INNER),
            "Inner".to_owned(),
            8,
            true
        )
    );
    assert_eq!(
        of(&places[1]),
        (
            "one.sys".to_owned(),
            OUTER + 0x20,
            Some(OUTER),
            "ZwOuter".to_owned(),
            0x20,
            true
        )
    );
    // The nearest export is another function: a landmark.
    let offset = THREAD + 0x20 - OUTER - 0x1000;
    assert_eq!(
        of(&places[2]),
        (
            "one.sys".to_owned(),
            THREAD + 0x20,
            Some(THREAD),
            "AbLater".to_owned(),
            offset,
            false
        )
    );
}

#[test]
fn pages_that_are_absent_are_named() {
    let removed = [
        (OTHER, "the image's headers"),
        (OTHER + u64::from(PDATA), "an entry of .pdata"),
        (OTHER + u64::from(XDATA), "unwind information"),
        (STACK + STACK_BYTES - 0x1000, "the stack"),
    ];
    for (page, wanted) in removed {
        let Call {
            mut scene, start, ..
        } = call();
        scene.memory.remove(page);
        let stack = scene.walk(&start);
        let Ended::Unreadable { what, gva, why } = &stack.ended else {
            panic!("{page:#x}: {}", stack.ended);
        };
        assert_eq!((*what, gva.page_start().get()), (wanted, page));
        assert!(why.contains("not present"), "{why}");
        assert_eq!(stack.frames.len(), 1);
    }
    // Nothing that is absent hides what is there: image and offset.
    let Call {
        mut scene, start, ..
    } = call();
    scene.memory.remove(OTHER);
    let place = scene.walk(&start).frames[0].place.clone().unwrap();
    assert_eq!(
        (place.module.name.as_str(), place.rva),
        ("two.sys", INNER + 8)
    );
    assert_eq!((place.function, place.export), (None, None));
}

#[test]
fn an_image_without_a_table_and_code_in_no_image() {
    let Call { scene, start, .. } = call();
    let mut without = scene.clone();
    without.modules.retain(|module| module.name != "one.sys");
    let stack = without.walk(&start);
    assert_eq!(stack.frames.len(), 2);
    assert_eq!(stack.frames[1].place, None);
    let ip = stack.frames[1].ip;
    assert_eq!(stack.ended, Ended::NoImage { ip });

    let mut bare = Image::x64();
    bare.with_table = false;
    let mut without = scene.clone();
    bare.write_to(&mut without.memory, OTHER);
    let stack = without.walk(&start);
    let module = "two.sys".to_owned();
    assert_eq!(
        (stack.frames.len(), stack.ended),
        (1, Ended::NoTable { module })
    );
}
