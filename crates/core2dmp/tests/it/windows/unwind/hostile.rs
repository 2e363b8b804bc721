//! Anything at all for tables, stack and registers: a walk ends, with frames in bounds, and the same each time.

use core2dmp::windows::unwind::{Arm64, How, Registers, X64, X86};
use core2dmp_synth::bare::{Tables, VirtualMemory};
use core2dmp_synth::unwind::arm64::{Insn as ArmInsn, Kind, Record};
use core2dmp_synth::unwind::x64::Function;
use core2dmp_synth::unwind::{Image, PDATA, TEXT, XDATA};
use proptest::prelude::*;

use super::x64::image_of;
use super::{BASE, STACK, Scene};

/// Small numbers, addresses that matter, and anything.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0_u64..0x100),
        (0_u64..0x3_0000).prop_map(|offset| BASE + offset),
        (0_u64..0x8000).prop_map(|offset| STACK + offset),
        any::<u64>(),
    ]
}

fn place() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0_u32..0x80).prop_map(|at| BASE + u64::from(PDATA + at)),
        (0_u32..0x80).prop_map(|at| BASE + u64::from(XDATA + at)),
        (0_u32..0x300).prop_map(|at| BASE + u64::from(TEXT + at)),
        (0_u32..0x200).prop_map(|at| BASE + u64::from(at)),
        (0_u64..0x1000).prop_map(|at| STACK + 8 * at),
    ]
}

fn scene(tables: Tables, image: &Image, patches: &[(u64, u64, usize)]) -> Scene {
    let mut scene = Scene::new(tables);
    scene.image("a.sys", BASE, image);
    for (at, value, bytes) in patches {
        scene.memory.write(*at, &value.to_le_bytes()[..*bytes]);
    }
    scene
}

fn walks(scene: &Scene, start: &Registers) {
    let stack = scene.walk(start);
    assert!((1..=256).contains(&stack.frames.len()));
    for pair in stack.frames.windows(2) {
        let may_fall = pair[1].how == How::MachineFrame
            || (pair[0].how.is_exact() && pair[1].sp == pair[0].sp);
        assert!(pair[1].sp > pair[0].sp || may_fall, "{stack:?}");
    }
    assert!(!stack.ended.to_string().is_empty());
    assert_eq!(scene.walk(start), stack);
}

fn patches() -> impl Strategy<Value = Vec<(u64, u64, usize)>> {
    proptest::collection::vec(
        (
            place(),
            word(),
            prop_oneof![Just(1_usize), Just(2), Just(4), Just(8)],
        ),
        0..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn x64(patches in patches(), gpr in proptest::array::uniform16(word()), rip in word()) {
        let image = image_of(&Function::simple(&[3, 5], 0x40));
        walks(&scene(Tables::X64, &image, &patches), &Registers::X64(X64 { gpr, rip }));
    }

    #[test]
    fn arm64(patches in patches(), x in proptest::collection::vec(word(), 31), sp in word(), pc in word()) {
        let mut image = Image::arm64();
        let prolog = vec![ArmInsn::StoreFirst(Kind::X, 29, 2, 0x40), ArmInsn::SetFrame(0)];
        let record = Record { length: 0x40, prolog, ..Record::default() };
        let record = image.xdata(&record.bytes());
        image.entry(TEXT + 0x100, &[record]);
        image.entry(TEXT + 0x200, &[1 | 0x20 << 2 | 3 << 21 | 4 << 23]);
        let x = x.try_into().unwrap();
        walks(&scene(Tables::Arm64, &image, &patches), &Registers::Arm64(Arm64 { x, sp, pc }));
    }

    #[test]
    fn x86(words in proptest::collection::vec(any::<u32>(), 64), esp in 0_u32..0x2000, ebp in any::<u32>(), near in any::<bool>()) {
        let base = 0x8280_0000_u64;
        let mut image = Image::x86();
        for slot in 0..0x20 {
            image.code(TEXT + slot * 8, &[0xe8, 3, 0, 0, 0]);
        }
        let mut scene = Scene { memory: VirtualMemory::default(), modules: Vec::new(), tables: Tables::X86 };
        scene.image("a.sys", base, &image);
        let stack = 0x8a00_0000_u32;
        scene.memory.write(u64::from(stack), &[0; 0x2000]);
        for (slot, word) in (0_u32..).zip(words) {
            // Half of the words are return addresses or frame pointers.
            let word = match word % 4 {
                0 => base as u32 + TEXT + (word >> 8) % 0x20 * 8 + 5,
                1 => stack + (word >> 8) % 0x2000,
                _ => word,
            };
            scene.memory.write(u64::from(stack + slot * 32), &word.to_le_bytes());
        }
        let ebp = if near { stack + ebp % 0x2000 } else { ebp };
        let registers = X86 { eip: base as u32 + TEXT, esp: stack + esp, ebp };
        walks(&scene, &Registers::X86(registers));
    }
}
