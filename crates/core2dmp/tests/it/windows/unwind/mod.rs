//! Stacks, by images and functions whose every instruction is known.

mod arm64;
mod bounds;
mod epilogs;
mod golden;
mod guests;
mod hostile;
mod places;
mod x64;
mod x64_frames;
mod x86;

use std::collections::BTreeMap;
use std::sync::Arc;

use core2dmp::address::{Gpa, Gva, Pfn};
use core2dmp::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use core2dmp::paging::{AddressSpace, PagingMode};
use core2dmp::windows::Module;
use core2dmp::windows::unwind::{Ended, How, Registers, Stack, Unwinder, X64};
use core2dmp_synth::bare::{Tables, VirtualMemory};
use core2dmp_synth::unwind::{IMAGE_BYTES, Image, x64::Machine};

/// Where images and stacks are.
const BASE: u64 = 0xffff_f800_1000_0000;
const OTHER: u64 = 0xffff_f800_2000_0000;
const STACK: u64 = 0xffff_d000_0010_0000;
const STACK_BYTES: u64 = 0x8000;

/// Memory with images and a stack.
#[derive(Clone)]
struct Scene {
    memory: VirtualMemory,
    modules: Vec<Module>,
    tables: Tables,
}

impl Scene {
    fn new(tables: Tables) -> Self {
        let mut memory = VirtualMemory::default();
        memory.write(STACK, &[0; STACK_BYTES as usize]);
        Self {
            memory,
            modules: Vec::new(),
            tables,
        }
    }

    fn x64() -> Self {
        Self::new(Tables::X64)
    }

    fn module(&mut self, name: &str, base: u64, size: u32) {
        self.modules
            .push(Module::new(name.to_owned(), Gva::new(base), size));
    }

    fn image(&mut self, name: &str, base: u64, image: &Image) {
        image.write_to(&mut self.memory, base);
        self.module(name, base, IMAGE_BYTES);
    }

    fn stack(&mut self, words: &BTreeMap<u64, u64>) {
        for (at, word) in words {
            self.memory.words(*at, &[*word]);
        }
    }

    fn with<T>(&self, ask: impl FnOnce(&Unwinder<'_, '_>) -> T) -> T {
        let physical = self.memory.build(self.tables);
        let root = Gpa::new(physical.root);
        let mut runs = RunBuilder::default();
        let frames = physical.bytes.len() as u64 / 4096;
        let backing = Backing::File { offset: 0 };
        runs.push(Frames::new(Pfn::new(0), frames), backing)
            .unwrap();
        let memory = PhysicalMemory::new(Arc::new(physical.bytes), runs.finish().unwrap());
        let mode = match self.tables {
            Tables::X64 => PagingMode::X64,
            Tables::X86 => PagingMode::X86,
            Tables::Arm64 => PagingMode::Arm64,
        };
        let space = AddressSpace::new(&memory, mode, root);
        ask(&Unwinder::new(&space, self.modules.iter().cloned()))
    }

    fn walk(&self, start: &Registers) -> Stack {
        self.with(|unwinder| unwinder.walk(start))
    }

    fn caller(&self, registers: X64, how: How) -> Result<(X64, How), Ended> {
        let from = Registers::X64(registers);
        let (caller, how) = self.with(|unwinder| unwinder.caller(&from, how))?;
        match caller {
            Registers::X64(caller) => Ok((caller, how)),
            other => panic!("{other:?}"),
        }
    }
}

/// The registers of a machine of ours, at an instruction.
fn at(machine: &Machine, rip: u64) -> X64 {
    X64 {
        gpr: machine.gpr,
        rip,
    }
}

/// Frames as (how, instruction pointer, stack pointer).
fn frames(stack: &Stack) -> Vec<(How, u64, u64)> {
    let frame =
        |frame: &core2dmp::windows::unwind::Frame| (frame.how, frame.ip.get(), frame.sp.get());
    stack.frames.iter().map(frame).collect()
}
