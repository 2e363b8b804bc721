//! ARM64: at every instruction of a function, the caller's registers, as the machine had them when it called.

use core2dmp::windows::unwind::{Arm64, Ended, How, Registers};
use core2dmp_synth::bare::Tables;
use core2dmp_synth::unwind::arm64::{Epilog, FP, Insn, Kind, LR, Machine, Packed, Record};
use core2dmp_synth::unwind::{Image, TEXT};
use proptest::prelude::*;

use super::{BASE, STACK, STACK_BYTES, Scene};

const START: u32 = TEXT + 0x100;
const RETURN: u64 = BASE + TEXT as u64 + 4;
const SP: u64 = STACK + STACK_BYTES - 0x1000;

fn called() -> Machine {
    let mut machine = Machine {
        x: std::array::from_fn(|number| 0x1111 * number as u64),
        d: std::array::from_fn(|number| 0xd000 + number as u64),
        sp: SP,
        stack: Default::default(),
    };
    machine.x[usize::from(LR)] = RETURN;
    machine
}

fn scene(data: u32, records: &[u8]) -> Scene {
    let mut image = Image::arm64();
    // bl
    image.code(TEXT, &0x9400_0040_u32.to_le_bytes());
    let record = image.xdata(records);
    image.entry(START, &[if data == 0 { record } else { data }]);
    let mut scene = Scene::new(Tables::Arm64);
    scene.image("a.sys", BASE, &image);
    scene
}

fn caller(scene: &Scene, machine: &Machine, rva: u32, how: How) -> Result<(Arm64, How), Ended> {
    let registers = Registers::Arm64(Arm64 {
        x: machine.x,
        sp: machine.sp,
        pc: BASE + u64::from(rva),
    });
    match scene.with(|unwinder| unwinder.caller(&registers, how))? {
        (Registers::Arm64(found), how) => Ok((found, how)),
        (other, _) => panic!("{other:?}"),
    }
}

fn assert_caller(found: &Arm64, before: &Machine, what: &str) {
    assert_eq!((found.pc, found.sp), (RETURN, before.sp), "{what}");
    for number in 19..=29 {
        assert_eq!(found.x[number], before.x[number], "{what}: x{number}");
    }
}

/// Runs prolog, a body, and epilog, and asks at each instruction.
fn run(scene: &Scene, prolog: &[Insn], reversed: &[Insn], body: u32) {
    let before = called();
    let mut machine = before.clone();
    let mut scene = scene.clone();
    let mut rva = START;
    let mut ask = |machine: &Machine, rva: u32, what: String| {
        scene.stack(&machine.stack);
        let (found, how) = caller(&scene, machine, rva, How::Context).expect(&what);
        assert_caller(&found, &before, &what);
        how
    };
    for (number, instruction) in prolog.iter().enumerate() {
        ask(&machine, rva, format!("prolog {number} of {prolog:?}"));
        machine.execute(*instruction);
        rva += 4;
    }
    // What a body does to registers that were saved.
    for instruction in prolog {
        if let Insn::Store(Kind::X, first, count, _) | Insn::StoreFirst(Kind::X, first, count, _) =
            *instruction
        {
            for register in first..first + count {
                if register != FP {
                    machine.x[usize::from(register)] = 0xbad;
                }
            }
        }
    }
    for _ in 0..body {
        let how = ask(&machine, rva, format!("body of {prolog:?}"));
        assert_eq!(how, How::UnwindData);
        rva += 4;
    }
    for (number, instruction) in reversed.iter().rev().enumerate() {
        let how = ask(&machine, rva, format!("epilog {number} of {prolog:?}"));
        assert_eq!(how, How::Epilog, "epilog {number} of {prolog:?}");
        machine.reverse(*instruction);
        rva += 4;
    }
    ask(&machine, rva, format!("the return of {prolog:?}"));
}

/// What an epilog does not reverse: FP points to the frame until it is loaded.
fn reversed(prolog: &[Insn]) -> Vec<Insn> {
    let kept = |it: &&Insn| !matches!(it, Insn::SetFrame(_) | Insn::Nop);
    prolog.iter().filter(kept).copied().collect()
}

fn run_record(prolog: &[Insn], single: bool, extended: bool) {
    let reversed = reversed(prolog);
    let body = 5;
    let start = prolog.len() as u32 + body;
    let record = Record {
        length: start + reversed.len() as u32 + 1,
        prolog: prolog.to_vec(),
        epilogs: vec![Epilog {
            start,
            reversed: reversed.clone(),
        }],
        single,
        extended,
        ..Record::default()
    };
    run(&scene(0, &record.bytes()), prolog, &reversed, body);
}

#[test]
fn every_code_of_a_prolog() {
    let x = |first, count, at| Insn::Store(Kind::X, first, count, at);
    let d = |first, count, at| Insn::Store(Kind::D, first, count, at);
    let first = |kind, register, count, bytes| Insn::StoreFirst(kind, register, count, bytes);
    let fplr = first(Kind::X, FP, 2, 0x40);
    let prologs: Vec<Vec<Insn>> = vec![
        vec![fplr, Insn::SetFrame(0)],
        vec![fplr, Insn::SetFrame(0), Insn::Sub(0x1f0)],
        vec![fplr, Insn::SetFrame(0), Insn::Sub(0x200)],
        vec![Insn::Sub(0x60), x(FP, 2, 0x40), Insn::SetFrame(0x40)],
        vec![first(Kind::X, 19, 2, 0x30), x(21, 2, 0x10), x(LR, 1, 0x20)],
        vec![
            first(Kind::X, 21, 2, 0x100),
            x(19, 2, 0x20),
            Insn::StoreWithLr(23, 0x30),
        ],
        vec![first(Kind::X, 22, 1, 0x20), x(27, 1, 8), x(LR, 1, 0x10)],
        vec![
            first(Kind::D, 8, 2, 0x60),
            d(10, 2, 0x10),
            d(12, 1, 0x20),
            x(FP, 2, 0x30),
        ],
        vec![first(Kind::D, 15, 1, 0x20), x(LR, 1, 8)],
        vec![Insn::Sign, fplr, Insn::Nop, Insn::Nop, Insn::SetFrame(0)],
        vec![fplr, Insn::SetFrame(0), Insn::Sub(0x4000)],
    ];
    for prolog in prologs {
        run_record(&prolog, false, false);
        run_record(&prolog, true, false);
        run_record(&prolog, false, true);
    }
}

/// A stack of half a megabyte, by code alone: there is no room for it here.
#[test]
fn a_large_stack_grows_by_a_code_of_four_bytes() {
    let record = Record {
        length: 0x20,
        prolog: vec![Insn::Sub(0x10_0000), Insn::Nop],
        ..Record::default()
    };
    let machine = called();
    let (found, _) = caller(
        &scene(0, &record.bytes()),
        &machine,
        START + 0x20,
        How::Context,
    )
    .unwrap();
    assert_eq!((found.sp, found.pc), (SP + 0x10_0000, RETURN));
}

#[test]
fn pairs_that_follow_pairs() {
    // save_next twice, then save_regp_x of x19 and x20 with 0x40 bytes: x19 to x24.
    let bytes = [0xe6, 0xe6, 0xcc, 0x07, 0xe4, 0xe3, 0xe3, 0xe3];
    let header = 0x20_u32 | 2 << 27;
    let record = [&header.to_le_bytes()[..], &bytes].concat();
    let before = called();
    let mut machine = before.clone();
    machine.execute(Insn::StoreFirst(Kind::X, 19, 2, 0x40));
    machine.execute(Insn::Store(Kind::X, 21, 2, 0x10));
    machine.execute(Insn::Store(Kind::X, 23, 2, 0x20));
    for register in 19..25 {
        machine.x[register] = 0xbad;
    }
    let mut scene = scene(0, &record);
    scene.stack(&machine.stack);
    let (found, _) = caller(&scene, &machine, START + 0x20, How::Context).unwrap();
    assert_caller(&found, &before, "save_next");
}

#[test]
fn a_fragment_undoes_the_prolog_that_is_elsewhere() {
    let phantom = vec![
        Insn::StoreFirst(Kind::X, FP, 2, 0x40),
        Insn::SetFrame(0),
        Insn::Sub(0x80),
    ];
    let record = Record {
        length: 0x10,
        phantom: phantom.clone(),
        ..Record::default()
    };
    let before = called();
    let mut machine = before.clone();
    for instruction in &phantom {
        machine.execute(*instruction);
    }
    let mut scene = scene(0, &record.bytes());
    scene.stack(&machine.stack);
    for instruction in [0, 1, 7] {
        let (found, how) = caller(&scene, &machine, START + 4 * instruction, How::Context).unwrap();
        assert_caller(&found, &before, "a fragment");
        assert_eq!(how, How::UnwindData);
    }
}

fn any_packed() -> impl Strategy<Value = Packed> {
    (
        0_u32..8,
        0_u32..=10,
        any::<bool>(),
        0_u32..4,
        0_u32..0x11,
        any::<bool>(),
    )
        .prop_map(|(reg_f, reg_i, h, cr, locals, large)| {
            let locals = match (cr, locals) {
                (2 | 3, 0) => 16,
                (_, locals) if large => locals * 16 + 0x400,
                (_, locals) => locals * 16,
            };
            let mut packed = Packed {
                flag: 1,
                length: 60,
                reg_f,
                reg_i,
                h,
                cr,
                frame: 0,
            };
            packed.frame = packed.saved() + locals;
            packed
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_packed_word_at_every_instruction(packed in any_packed()) {
        let prolog = packed.prolog();
        // LR is not saved with CR 0: such a function calls nobody, and keeps it.
        let reversed = reversed(&prolog);
        let body = packed.length - prolog.len() as u32 - reversed.len() as u32 - 1;
        run(&scene(packed.word(), &[]), &prolog, &reversed, body);
    }
}

#[test]
fn a_frame_of_more_than_4080_bytes_is_taken_in_two() {
    for cr in [0, 3] {
        let packed = Packed {
            flag: 1,
            length: 40,
            reg_i: 2,
            cr,
            frame: 0x1ff0,
            ..Packed::default()
        };
        // Too large for the stack of these tests: the sizes alone.
        let mut machine = called();
        machine.sp -= 0x1ff0;
        let mut scene = scene(packed.word(), &[]);
        let frame = [0, RETURN];
        scene.memory.words(machine.sp, &frame);
        machine.x[usize::from(FP)] = machine.sp;
        let (found, _) = caller(&scene, &machine, START + 0x40, How::Context).unwrap();
        assert_eq!((found.sp, found.pc), (SP, RETURN), "{cr}");
    }
}

#[test]
fn packed_fragments_and_words_that_cannot_be() {
    let fragment = Packed {
        flag: 2,
        length: 8,
        reg_i: 2,
        cr: 1,
        frame: 0x40,
        ..Packed::default()
    };
    let before = called();
    let mut machine = before.clone();
    for instruction in fragment.prolog() {
        machine.execute(instruction);
    }
    machine.x[19] = 0xbad;
    let mut of_fragment = scene(fragment.word(), &[]);
    of_fragment.stack(&machine.stack);
    for instruction in [0, 7] {
        let (found, _) = caller(
            &of_fragment,
            &machine,
            START + 4 * instruction,
            How::Context,
        )
        .unwrap();
        assert_caller(&found, &before, "a packed fragment");
    }
    // More registers than there are; a frame smaller than what is saved; a flag that is reserved.
    let reserved = 3;
    let too_many = Packed {
        reg_i: 11,
        frame: 0x100,
        ..fragment
    }
    .word();
    let too_small = Packed {
        reg_i: 10,
        frame: 0x10,
        ..fragment
    }
    .word();
    for (word, corrupt) in [
        (too_many, true),
        (too_small, true),
        (reserved | 0x100, false),
    ] {
        let ended = caller(&scene(word, &[]), &machine, START, How::Context).unwrap_err();
        let is_corrupt = matches!(ended, Ended::Corrupt { .. });
        let is_unknown = matches!(ended, Ended::Unknown { .. });
        assert_eq!(
            (is_corrupt, is_unknown),
            (corrupt, !corrupt),
            "{word:#x}: {ended}"
        );
    }
}

#[test]
fn leaves_return_to_lr_and_only_where_execution_stands() {
    let record = Record {
        length: 4,
        ..Record::default()
    };
    let scene = scene(0, &record.bytes());
    let machine = called();
    for rva in [START + 0x40, TEXT + 0x40] {
        let (found, how) = caller(&scene, &machine, rva, How::Context).unwrap();
        assert_eq!((found.pc, found.sp, how), (RETURN, SP, How::Leaf));
        let ended = caller(&scene, &machine, rva, How::UnwindData).unwrap_err();
        assert!(matches!(ended, Ended::NoFunction { .. }), "{ended}");
    }
    // A signed return address loses its signature.
    let mut signed = machine.clone();
    signed.execute(Insn::Sign);
    let (found, _) = caller(&scene, &signed, START + 0x40, How::Context).unwrap();
    assert_eq!(found.pc, RETURN);
}

#[test]
fn frames_that_the_processor_or_the_kernel_made() {
    let of_codes = |codes: [u8; 4]| {
        let header = 0x20_u32 | 1 << 27;
        scene(0, &[&header.to_le_bytes()[..], &codes].concat())
    };
    let machine = called();
    let mut frame = of_codes([0xe9, 0xe4, 0xe3, 0xe3]);
    frame.memory.words(SP, &[STACK + 0x40, BASE + 0x1234]);
    let (found, how) = caller(&frame, &machine, START + 0x10, How::Context).unwrap();
    assert_eq!(
        (found.sp, found.pc, how),
        (STACK + 0x40, BASE + 0x1234, How::MachineFrame)
    );

    let mut context = of_codes([0xea, 0xe4, 0xe3, 0xe3]);
    context.memory.words(SP + 8 + 8 * 19, &[0x1919]);
    context
        .memory
        .words(SP + 0x100, &[STACK + 0x80, BASE + 0x5678]);
    let (found, how) = caller(&context, &machine, START + 0x10, How::Context).unwrap();
    assert_eq!(
        (found.sp, found.pc, found.x[19]),
        (STACK + 0x80, BASE + 0x5678, 0x1919)
    );
    assert_eq!(how, How::MachineFrame);

    for code in [0xe8, 0xeb] {
        let custom = of_codes([code, 0xe4, 0xe3, 0xe3]);
        let ended = caller(&custom, &machine, START + 0x10, How::Context).unwrap_err();
        assert!(matches!(ended, Ended::Unknown { .. }), "{ended}");
    }
}
