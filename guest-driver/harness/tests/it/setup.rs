//! What the tests boot.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use guest_harness::engine::{self, Way};
use guest_harness::image::Image;
use guest_harness::machine::Machine;
use guest_harness::windows::{Setup, World};

use crate::machine::GPA;

/// A driver, and who runs it.
pub(crate) struct Subject {
    /// Of both.
    pub(crate) name: String,
    pub(crate) image: Image,
    pub(crate) machine: Machine,
    pub(crate) way: Way,
}

impl Subject {
    pub(crate) fn boot(&self, setup: Setup) -> World {
        World::boot(&self.image, self.way, setup).unwrap()
    }
}

/// Every driver that was built, on every processor that can run it; says what cannot be run.
pub(crate) fn subjects() -> Vec<Subject> {
    let mut found = Vec::new();
    for (name, path) in guest_harness::drivers() {
        let image = || Image::read(std::fs::read(&path).unwrap()).unwrap();
        let machine = Machine::of(image().machine).unwrap();
        for way in [Way::Processor, Way::Emulator] {
            match engine::runs(machine, way) {
                Ok(()) => found.push(Subject {
                    name: format!("{name} ({way:?})"),
                    image: image(),
                    machine,
                    way,
                }),
                Err(_) if way == Way::Processor => {}
                Err(why) => skipped(&format!("{name}: {why}")),
            }
        }
    }
    if found.is_empty() {
        skipped("no driver was built (cargo xtask driver)");
    }
    found
}

/// Says once what is not tested.
pub(crate) fn skipped(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(what.to_owned()) {
        eprintln!("SKIPPED: {what}");
    }
}

/// Where fields are in a header: machine, code, block, runs, type, time.
const NARROW: [usize; 6] = [0x20, 0x28, 0x60, 0x64, 0xf88, 0xfc0];
const WIDE: [usize; 6] = [0x30, 0x38, 0x80, 0x88, 0xf98, 0xfa8];

/// Where a header has its DumpType.
pub(crate) fn dump_type(machine: Machine) -> usize {
    machine.choose(NARROW, WIDE)[4]
}

/// A header of a full dump as Windows makes it.
pub(crate) fn header(machine: Machine, code: u32, pages: u64) -> Vec<u8> {
    let mut header: Vec<u8> = b"PAGE".repeat(machine.choose(0x400, 0x800));
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let number = match machine {
        Machine::X86 => 0x14c_u32,
        Machine::X64 => 0x8664,
        Machine::Arm64 => 0xaa64,
    };
    let [at_machine, at_code, at_block, at_runs, at_type, at_time] = machine.choose(NARROW, WIDE);
    let pointer = machine.pointer();
    put(4, machine.choose(b"DUMP", b"DU64"));
    put(at_machine, &number.to_le_bytes());
    put(at_code, &code.to_le_bytes());
    let block = machine.choose(0x8054_1000, 0xffff_f800_0400_1000_u64);
    put(at_block, &block.to_le_bytes()[..pointer]);
    put(at_runs, &1_u32.to_le_bytes());
    for (n, value) in [pages, 1, pages].into_iter().enumerate() {
        put(at_runs + (n + 1) * pointer, &value.to_le_bytes()[..pointer]);
    }
    put(at_type, &1_u32.to_le_bytes());
    put(at_time, &u64::from(code).to_le_bytes());
    header
}

/// A small dump with this debugger block.
pub(crate) fn triage(machine: Machine, block: &[u8]) -> Vec<u8> {
    let mut dump = vec![0; 0x3000 + block.len()];
    let at = machine.choose(0x1058, 0x2070);
    dump[at..at + 4].copy_from_slice(&0x3000_u32.to_le_bytes());
    dump[at + 4..at + 8].copy_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
    dump[0x3000..].copy_from_slice(block);
    dump
}

pub(crate) fn block() -> Vec<u8> {
    let mut block: Vec<u8> = (0..=u8::MAX).cycle().take(0x340).collect();
    block[0x10..0x14].copy_from_slice(b"KDBG");
    block[0x14..0x18].copy_from_slice(&0x340_u32.to_le_bytes());
    block
}

/// Windows 11: everything there is.
pub(crate) fn newest(machine: Machine) -> Setup {
    guest_harness::hardware::set_clock(0x01dd_1234_5678_9abc, 0x5_0000_1111);
    Setup {
        missing: Vec::new(),
        reasons: vec![3, 4, 7],
        parameters: Vec::new(),
        gpa: GPA,
        header: header(machine, 0, 0x8000),
        status: 0,
        triage: triage(machine, &block()),
    }
}

/// Windows 7: no triage callback, no memory of a node.
pub(crate) fn windows7(machine: Machine) -> Setup {
    Setup {
        missing: vec!["MmAllocateContiguousNodeMemory"],
        reasons: vec![3, 4],
        ..newest(machine)
    }
}

/// Server 2003 before SP1: no header can be made; pages cannot be added either.
pub(crate) fn server2003(machine: Machine) -> Setup {
    Setup {
        missing: vec![
            "MmAllocateContiguousNodeMemory",
            "KeInitializeCrashDumpHeader",
        ],
        reasons: vec![3],
        ..newest(machine)
    }
}
