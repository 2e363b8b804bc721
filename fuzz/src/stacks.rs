//! Stack walks: tables, code, stack and registers are an attacker's.
//!
//! A scene is an image and a stack behind page tables; an input changes words of them, and registers (kind 5).

use std::sync::{Arc, LazyLock};

use core2dmp::address::{Gpa, Gva, Pfn};
use core2dmp::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use core2dmp::paging::{AddressSpace, PagingMode};
use core2dmp::source::ReadAt;
use core2dmp::windows::Module;
use core2dmp::windows::unwind::{Arm64, How, Registers, Unwinder, X64, X86};
use core2dmp_synth::bare::{Tables, VirtualMemory};
use core2dmp_synth::unwind::arm64::{Epilog, Insn as ArmInsn, Kind, Packed, Record};
use core2dmp_synth::unwind::x64::{Code, Function, Info, Insn};
use core2dmp_synth::unwind::{IMAGE_BYTES, Image, TEXT};

use crate::input::{self, Patched, Seed};

const STACK_BYTES: u64 = 0x2000;

struct Scene {
    seed: Seed,
    root: u64,
    mode: PagingMode,
    start: Registers,
}

static SCENES: LazyLock<Vec<Scene>> = LazyLock::new(|| {
    let wide = (0xffff_f800_1000_0000, 0xffff_d000_0010_0000);
    vec![
        Scene::new(&x64(), Tables::X64, wide),
        Scene::new(&arm64(), Tables::Arm64, wide),
        Scene::new(&x86(), Tables::X86, (0x8280_0000, 0x8a00_0000)),
    ]
});

/// Functions of every kind, and a call to return to every 16 bytes.
fn x64() -> Image {
    let mut image = Image::x64();
    let framed = Function {
        prolog: vec![
            Insn::Push(5),
            Insn::Sub(0x40),
            Insn::SetFrame(5, 0x20),
            Insn::Save(3, 0x30),
        ],
        body: vec![Insn::Nop, Insn::JumpShort(-2)],
        epilog: vec![Insn::FromFrame(5, 0x20), Insn::Pop(5), Insn::Ret],
        version: 1,
    };
    let mut listed = Function::simple(&[3, 12, 14], 0x88);
    listed.version = 2;
    let mut add = |rva: u32, code: &[u8], info: &[u8]| {
        image.code(rva, code);
        let info = image.xdata(info);
        image.entry(rva, &[rva + 0x80, info]);
        info
    };
    let first = add(TEXT + 0x100, &framed.code(), &framed.info().bytes());
    add(TEXT + 0x200, &listed.code(), &listed.info().bytes());
    let part = Info {
        chained: Some([TEXT + 0x100, TEXT + 0x180, first]),
        codes: vec![(5, Code::SaveNonvolFar(6, 0x40))],
        ..Info::default()
    };
    add(TEXT + 0x300, &[0x90; 0x40], &part.bytes());
    let trap = Info {
        prolog: 4,
        codes: vec![(4, Code::AllocLarge(0x100)), (0, Code::PushMachframe(true))],
        ..Info::default()
    };
    add(TEXT + 0x400, &[0x90; 0x40], &trap.bytes());
    image.export("Framed", TEXT + 0x100);
    image.export("Listed", TEXT + 0x200);
    image
}

fn arm64() -> Image {
    let mut image = Image::arm64();
    let prolog = vec![
        ArmInsn::Sign,
        ArmInsn::StoreFirst(Kind::X, 29, 2, 0x40),
        ArmInsn::SetFrame(0),
    ];
    let record = Record {
        length: 0x20,
        epilogs: vec![Epilog {
            start: 0x1d,
            reversed: prolog[..2].to_vec(),
        }],
        phantom: vec![ArmInsn::Sub(0x40)],
        prolog,
        ..Record::default()
    };
    let record = image.xdata(&record.bytes());
    image.entry(TEXT + 0x100, &[record]);
    let packed = Packed {
        flag: 1,
        length: 0x20,
        reg_i: 4,
        reg_f: 2,
        cr: 3,
        h: true,
        frame: 0xe0,
    };
    image.entry(TEXT + 0x200, &[packed.word()]);
    image
}

fn x86() -> Image {
    let mut image = Image::x86();
    image.code(TEXT + 0x100, &[0x55, 0x8b, 0xec, 0x90, 0x5d, 0xc3]);
    image
}

impl Scene {
    fn new(image: &Image, tables: Tables, (base, stack): (u64, u64)) -> Self {
        let mut memory = VirtualMemory::default();
        image.write_to(&mut memory, base);
        let call: &[u8] = if tables == Tables::Arm64 {
            &[0x40, 0, 0, 0x94]
        } else {
            &[0xe8, 0, 0, 0, 0]
        };
        for slot in 0..0x10 {
            memory.write(base + u64::from(TEXT) + slot * 16, call);
        }
        let back = base + u64::from(TEXT) + call.len() as u64;
        let width = if tables == Tables::X86 { 4 } else { 8 };
        for at in (0..STACK_BYTES).step_by(width) {
            // Return addresses, frames further up, and addresses of functions' middles.
            let word = match at / 8 % 4 {
                0 => back + at % 0x100,
                1 => stack + at + 0x40,
                2 => base + u64::from(TEXT) + 0x110 + at % 0x400,
                _ => at,
            };
            memory.write(stack + at, &word.to_le_bytes()[..width]);
        }
        let built = memory.build(tables);
        let (ip, sp) = (base + u64::from(TEXT) + 0x110, stack + 0x400);
        let (mode, start) = match tables {
            Tables::X64 => {
                let mut gpr = [sp + 0x80; 16];
                gpr[4] = sp;
                (PagingMode::X64, Registers::X64(X64 { gpr, rip: ip }))
            }
            Tables::Arm64 => {
                let mut x = [sp + 0x80; 31];
                x[30] = back;
                (PagingMode::Arm64, Registers::Arm64(Arm64 { x, sp, pc: ip }))
            }
            Tables::X86 => {
                let [eip, esp, ebp] = [ip, sp, sp + 0x80].map(|value| value as u32);
                (PagingMode::X86, Registers::X86(X86 { eip, esp, ebp }))
            }
        };
        Self {
            seed: Seed::new(built.bytes),
            root: built.root,
            mode,
            start,
        }
    }

    fn base(&self) -> u64 {
        self.start.ip().get() - u64::from(TEXT) - 0x110
    }

    fn registers(&self, data: &[u8]) -> Registers {
        let mut start = self.start.clone();
        for record in input::records(data).filter(|record| record.kind == 5) {
            let (number, value) = (record.word as usize, record.value);
            match &mut start {
                Registers::X64(to) if number % 17 == 16 => to.rip = value,
                Registers::X64(to) => to.gpr[number % 17] = value,
                Registers::Arm64(to) if number % 33 == 31 => to.sp = value,
                Registers::Arm64(to) if number % 33 == 32 => to.pc = value,
                Registers::Arm64(to) => to.x[number % 33] = value,
                Registers::X86(to) => {
                    let slots = [&mut to.eip, &mut to.esp, &mut to.ebp];
                    *slots.into_iter().nth(number % 3).expect("three") = value as u32;
                }
            }
        }
        start
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let scenes = 0..SCENES.len() as u8;
    scenes
        .flat_map(|number| {
            [[0; 12], [7; 12], [0x13; 12]].map(|record| [&[number][..], &record[..]].concat())
        })
        .collect()
}

/// A walk ends, its frames are in bounds, and the stack grows.
pub(crate) fn walk(data: &[u8]) -> bool {
    let Some(first) = data.first() else {
        return false;
    };
    let scene = &SCENES[usize::from(*first & 0x7f) % SCENES.len()];
    let frames = scene.seed.bytes.len() as u64 / 4096;
    let mut runs = RunBuilder::default();
    let backing = Backing::File { offset: 0 };
    runs.push(Frames::new(Pfn::new(0), frames), backing)
        .unwrap();
    let source: Arc<dyn ReadAt> = Arc::new(Patched::new(&scene.seed, data));
    let memory = PhysicalMemory::new(source, runs.finish().unwrap());
    let space = AddressSpace::new(&memory, scene.mode, Gpa::new(scene.root));
    let module = Module {
        name: "image".to_owned(),
        path: String::new(),
        base: Gva::new(scene.base()),
        size: IMAGE_BYTES,
        timestamp: None,
        pdb: None,
    };
    let stack = Unwinder::new(&space, [module]).walk(&scene.registers(data));
    assert!((1..=256).contains(&stack.frames.len()));
    for pair in stack.frames.windows(2) {
        let stays = pair[0].how.is_exact() && pair[1].sp == pair[0].sp;
        let grows = pair[1].sp > pair[0].sp || stays;
        assert!(grows || pair[1].how == How::MachineFrame, "{stack:?}");
    }
    assert!(!stack.ended.to_string().is_empty());
    true
}
