//! x86: frames are proven by return addresses, and say so.

use core2dmp::windows::unwind::{Ended, How, Registers, X86};
use core2dmp_synth::bare::{Tables, VirtualMemory};
use core2dmp_synth::unwind::{Image, TEXT};

use super::{Scene, frames};

const KERNEL: u64 = 0x8280_0000;
const ESP: u32 = 0x8a00_1000;

/// An image of calls: every 16 bytes `call` to the next one, so that +5 is a return address; functions from 0x2000 on.
fn scene() -> Scene {
    let mut image = Image::x86();
    for slot in 0..0x40 {
        image.code(TEXT + slot * 16, &[0xe8, 0x0b, 0, 0, 0]);
    }
    image.code(
        TEXT + 0x1000,
        &[
            0x8b, 0xff, 0x55, 0x8b, 0xec, 0x83, 0xec, 0x10, 0x90, 0x90, 0x90, 0xc9, 0x5d, 0xc3,
        ],
    );
    image.code(
        TEXT + 0x1100,
        &[
            0xff, 0x15, 0, 0, 0, 0, 0x90, 0xff, 0xd0, 0x90, 0xff, 0x50, 0x08, 0x90,
        ],
    );
    let mut scene = Scene {
        memory: VirtualMemory::default(),
        modules: Vec::new(),
        tables: Tables::X86,
    };
    scene.memory.write(u64::from(ESP) & !0xfff, &[0; 0x4000]);
    scene.image("nt", KERNEL, &image);
    scene
}

fn call(slot: u32) -> u32 {
    KERNEL as u32 + TEXT + slot * 16 + 5
}

fn function(offset: u32) -> u32 {
    KERNEL as u32 + TEXT + 0x1000 + offset
}

fn put(scene: &mut Scene, words: &[(u32, u32)]) {
    for (at, word) in words {
        scene.memory.write(u64::from(*at), &word.to_le_bytes());
    }
}

fn walk(scene: &Scene, eip: u32, esp: u32, ebp: u32) -> (Vec<(How, u64, u64)>, Ended) {
    let stack = scene.walk(&Registers::X86(X86 { eip, esp, ebp }));
    (frames(&stack), stack.ended)
}

#[test]
fn a_chain_of_frame_pointers_to_its_bottom() {
    let mut scene = scene();
    let (first, second, third) = (ESP + 0x40, ESP + 0x80, ESP + 0xc0);
    put(
        &mut scene,
        &[
            (first, second),
            (first + 4, call(1)),
            (second, third),
            (second + 4, call(2)),
            (third, 0),
            (third + 4, 0),
            // Not in the chain, whatever stands there.
            (ESP + 8, call(9)),
        ],
    );
    let (found, ended) = walk(&scene, function(8), ESP, first);
    let pointer = How::FramePointer;
    assert_eq!(
        found,
        [
            (How::Context, u64::from(function(8)), u64::from(ESP)),
            (pointer, u64::from(call(1)), u64::from(first + 8)),
            (pointer, u64::from(call(2)), u64::from(second + 8)),
        ]
    );
    assert_eq!(ended, Ended::Bottom);
}

#[test]
fn at_its_borders_a_function_has_no_frame_of_its_own() {
    let mut scene = scene();
    let frame = ESP + 0x40;
    put(&mut scene, &[(ESP, call(1)), (frame, 0), (frame + 4, 0)]);
    // mov edi, edi; push ebp; then ret: the return address is on top.
    for offset in [0, 2, 13] {
        let (found, _) = walk(&scene, function(offset), ESP, frame);
        assert_eq!(
            found[1],
            (How::Leaf, u64::from(call(1)), u64::from(ESP + 4)),
            "{offset}"
        );
    }
    // mov ebp, esp behind the push; pop ebp: EBP is above it.
    put(&mut scene, &[(ESP, frame), (ESP + 4, call(2))]);
    for offset in [3, 12] {
        let (found, ended) = walk(&scene, function(offset), ESP, 0x1234);
        assert_eq!(
            found[1],
            (How::Leaf, u64::from(call(2)), u64::from(ESP + 8)),
            "{offset}"
        );
        assert_eq!(ended, Ended::Bottom, "EBP is the caller's: {offset}");
    }
}

#[test]
fn what_the_kernel_saved_of_interrupted_code() {
    let mut scene = scene();
    let (trap, frame) = (ESP + 0x40, ESP + 0x200);
    put(
        &mut scene,
        &[
            (trap + 8, 0xbadb_0d00),
            (trap + 0x60, frame),
            (trap + 0x68, function(9)),
            (trap + 0x6c, 8),
            (frame, 0),
            (frame + 4, 0),
        ],
    );
    let (found, ended) = walk(&scene, function(0x100), ESP, trap);
    assert_eq!(
        found[1],
        (
            How::MachineFrame,
            u64::from(function(9)),
            u64::from(trap + 0x74)
        )
    );
    assert_eq!((found.len(), ended), (2, Ended::Bottom));
    // From user code the processor saved a stack pointer as well: that of another stack.
    put(
        &mut scene,
        &[
            (trap + 0x6c, 0x1b),
            (trap + 0x68, 0x401000),
            (trap + 0x74, 0x12_f000),
        ],
    );
    let (found, _) = walk(&scene, function(0x100), ESP, trap);
    assert_eq!(found[1], (How::MachineFrame, 0x40_1000, 0x12_f000));
}

#[test]
fn without_a_chain_the_first_word_behind_a_call() {
    let mut scene = scene();
    put(
        &mut scene,
        &[
            (ESP + 4, call(3) + 1),        // not behind a call
            (ESP + 8, function(0x5000)),   // zeros
            (ESP + 12, 0x8b00_0000),       // in no image
            (ESP + 16, KERNEL as u32 + 3), // headers
            (ESP + 20, call(3)),
            (ESP + 40, function(0x106)), // call [n]
            (ESP + 44, function(0x109)), // call eax
            (ESP + 48, function(0x10d)), // call [eax + 8]
        ],
    );
    let (found, ended) = walk(&scene, function(8), ESP, 0);
    let word = |at: u32, ip: u32| (How::ProvenReturn, u64::from(ip), u64::from(at + 4));
    assert_eq!(
        found[1..],
        [
            word(ESP + 20, call(3)),
            word(ESP + 40, function(0x106)),
            word(ESP + 44, function(0x109)),
            word(ESP + 48, function(0x10d)),
        ]
    );
    assert!(matches!(ended, Ended::NoReturnAddress { .. }), "{ended}");
    assert!(
        ended
            .to_string()
            .contains("0x3000 bytes of stack from 0x8a001034"),
        "{ended}"
    );
}

#[test]
fn a_stack_that_is_absent_is_an_outcome() {
    let scene = scene();
    let (found, ended) = walk(&scene, function(8), 0x8b00_0000, 0);
    assert_eq!(found.len(), 1);
    assert!(
        matches!(
            ended,
            Ended::Unreadable {
                what: "the stack",
                ..
            }
        ),
        "{ended}"
    );
}
