//! Windows on ARM64, from a hypervisor's file to a dump.
//!
//! ```text
//!         +-- QEMU ELF (vCPUs: X0 .. PSTATE, V0 ..; no system registers) --+
//! guest --+-- kdump, LiME, raw memory from the start of RAM on             +--> identify --> dump of three types --> check
//!         +-- dump of another writer                                      --+
//! ```
//!
//! RAM begins at 0, at 1 GiB (QEMU's `virt`) and at 2 GiB (VMware).

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use core2dmp::container;
use core2dmp::dump::{DumpKind, PlanOptions, plan};
use core2dmp::measure::measured;
use core2dmp::windows::{ContextSource, Source, Windows, identify};
use core2dmp::write::{self, Silent};
use core2dmp_synth::{Guest, GuestSpec, dump};

use crate::support::facts::{Block, assert_facts};
use crate::support::open::open;
use crate::support::rows::assert_clean;

/// Where RAM begins.
const STARTS: [u64; 3] = [0, 0x4000_0000, 0x8000_0000];
/// The header's comment, which names the container.
const COMMENT: std::ops::Range<usize> = 0xfb0..0x1030;
const RAW: &str = "a raw file carries no registers, and does not say where memory has holes";

/// Running and crashed guests, with how their block is found.
fn guests(start: u64) -> [(Guest, Block); 2] {
    let spec = GuestSpec::windows11_arm64()
        .ram_start(start)
        .processors(2)
        .fill(50);
    let crashed = spec.clone().crashed(0xd1, [0x28, 2, 0, 0x8070_1234]);
    [
        (spec.build(), Block::Plaintext),
        (crashed.build(), Block::Tag),
    ]
}

fn running() -> Guest {
    let [(guest, _), _] = guests(0x4000_0000);
    guest
}

fn crashed() -> Guest {
    let [_, (guest, _)] = guests(0x4000_0000);
    guest
}

/// Opens a file as the program does, which measures a raw one.
fn read(file: Vec<u8>) -> (container::Guest, Windows) {
    let guest = open(file).unwrap();
    let found = identify(&guest);
    let (guest, found) = measured(guest, found, &identify);
    (guest, found.unwrap())
}

fn converted(guest: &container::Guest, windows: &Windows, kind: DumpKind) -> Vec<u8> {
    let plan = plan(guest, windows, &PlanOptions::default().kind(kind)).unwrap();
    let mut file = Vec::new();
    let written = write::to_stream(&plan.image, &guest.memory, &mut file, &Silent).unwrap();
    assert_eq!(written.corrupt, 0);
    file
}

fn u32_at(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}

fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

/// Bytes of a full dump at a kernel address; they may cross pages.
fn dumped(guest: &Guest, dump: &[u8], va: u64, bytes: u64) -> Vec<u8> {
    (va..va + bytes)
        .map(|va| dump[place(guest, guest.translate(va).unwrap())])
        .collect()
}

/// Where a physical address stands in a full dump.
fn place(guest: &Guest, gpa: u64) -> usize {
    let mut at = 0x2000;
    for &(first, count) in &guest.expected.runs {
        if (first..first + count).contains(&(gpa >> 12)) {
            return (at + gpa - (first << 12)) as usize;
        }
        at += count << 12;
    }
    panic!("{gpa:#x} is in no run");
}

#[test]
fn an_elf_core_tells_everything_wherever_ram_begins() {
    for start in STARTS {
        for (guest, block) in guests(start) {
            let opened = open(guest.qemu_elf().bytes()).unwrap();
            assert_eq!(opened.cpus.len(), 2);
            let windows = identify(&opened).unwrap();
            assert_facts(&windows, &guest.expected, &block);
            assert_eq!(windows.warnings, Vec::<String>::new());
            assert!(matches!(windows.root_source, Source::PageTableScan(_)));
        }
    }
}

#[test]
fn raw_memory_tells_where_ram_begins() {
    for start in STARTS {
        for (mut guest, block) in guests(start) {
            for processor in &mut guest.expected.processors {
                processor.vcpu = None;
            }
            let (opened, windows) = read(guest.raw_from_start());
            assert_facts(&windows, &guest.expected, &block);
            assert_eq!(opened.memory.runs()[0].frames.first.gpa().get(), start);
            let begins = format!(
                "the file begins at physical address {start:#x}, by page tables that map themselves"
            );
            let wanted = if start == 0 {
                vec![RAW]
            } else {
                vec![RAW, &begins]
            };
            assert_eq!(windows.warnings, wanted);
        }
    }
}

#[test]
fn dumps_of_every_type_are_clean() {
    for start in STARTS {
        for (guest, _) in guests(start) {
            let opened = open(guest.qemu_elf().bytes()).unwrap();
            let windows = identify(&opened).unwrap();
            for (kind, number) in [
                (DumpKind::Full, 1),
                (DumpKind::Bitmap, 5),
                (DumpKind::Kernel, 6),
            ] {
                let file = converted(&opened, &windows, kind);
                assert_eq!(u32_at(&file, 0xf98), number);
                assert_clean(&format!("{kind:?} from {start:#x}"), &file);
                assert_header(&file, &guest);
            }
        }
    }
}

/// The fields that a debugger starts with.
fn assert_header(file: &[u8], guest: &Guest) {
    let expected = &guest.expected;
    assert_eq!(&file[..8], b"PAGEDU64");
    let stop = expected.bugcheck.as_ref().map_or(0x161, |stop| stop.code);
    for (at, wanted) in [
        (0x0c, 22000),
        (0x30, 0xaa64),
        (0x34, 2),
        (0x38, stop),
        (0x348, 0x40_0007),
    ] {
        assert_eq!(u32_at(file, at), wanted, "{at:#x}");
    }
    for (at, wanted) in [
        (0x10, expected.dtb),
        (0x18, expected.pfn_database),
        (0x20, expected.ps_loaded_module_list),
        (0x28, expected.ps_active_process_head),
        (0x80, expected.kdbg.as_ref().unwrap().va),
    ] {
        assert_eq!(u64_at(file, at), wanted, "{at:#x}");
    }
}

#[test]
fn a_running_guest_has_its_vcpus_registers() {
    let guest = running();
    let opened = open(guest.qemu_elf().bytes()).unwrap();
    let windows = identify(&opened).unwrap();
    let plan = plan(&opened, &windows, &PlanOptions::default()).unwrap();
    let sources = plan.crash.contexts.iter().map(|one| one.source);
    assert!(sources.eq([ContextSource::Vcpu(0), ContextSource::Vcpu(1)]));
    let file = converted(&opened, &windows, DumpKind::Full);
    for processor in &guest.expected.processors {
        let registers = processor.from_vcpu.as_ref().unwrap();
        let wanted = registers.context(guest.expected.arch);
        assert!(dumped(&guest, &file, processor.context, 0x390) == wanted);
        if processor.number == 0 {
            assert!(file[0x348..0x348 + 0x390] == wanted);
        }
    }
}

#[test]
fn a_crashed_guest_keeps_what_windows_saved() {
    let guest = crashed();
    let opened = open(guest.qemu_elf().bytes()).unwrap();
    let windows = identify(&opened).unwrap();
    let file = converted(&opened, &windows, DumpKind::Full);
    for processor in &guest.expected.processors {
        let registers = processor.from_memory.as_ref().unwrap();
        let wanted = registers.context(guest.expected.arch);
        assert!(dumped(&guest, &file, processor.context, 0x390) == wanted);
    }
}

#[test]
fn a_core_without_vector_registers_leaves_memorys() {
    let guest = running();
    let mut file = guest.qemu_elf().bytes();
    // Notes named CORE with 0x210 bytes: their type becomes one that nothing reads.
    let head = [&5_u32.to_le_bytes()[..], &0x210_u32.to_le_bytes(), &[2]].concat();
    let places: Vec<usize> = memchr::memmem::find_iter(&file[..0x4000], &head).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        file[at + 8] = 0x77;
    }
    let opened = open(file).unwrap();
    let windows = identify(&opened).unwrap();
    let file = converted(&opened, &windows, DumpKind::Full);
    let processor = &guest.expected.processors[1];
    let context = |registers: &Option<core2dmp_synth::Registers>| {
        registers.as_ref().unwrap().context(guest.expected.arch)
    };
    let mut wanted = context(&processor.from_memory);
    wanted[..0x110].copy_from_slice(&context(&processor.from_vcpu)[..0x110]);
    wanted[..4].copy_from_slice(&0x40_0003_u32.to_le_bytes());
    assert!(dumped(&guest, &file, processor.context, 0x390) == wanted);
}

#[test]
fn a_vcpu_in_user_mode_is_known_by_its_threads_block() {
    let spec = GuestSpec::windows11_arm64().processors(3).vcpus(4);
    let spec = spec.vcpu_order(vec![3, 1, 0, 2]).vcpu_user_mode(1);
    let guest = spec.build();
    let opened = open(guest.qemu_elf().bytes()).unwrap();
    let windows = identify(&opened).unwrap();
    assert_facts(&windows, &guest.expected, &Block::Plaintext);
    assert_eq!(
        windows.warnings,
        [
            "vCPU 0 does not match any Windows processor: it does not use page tables: Windows has not started it"
        ]
    );
}

#[test]
fn every_container_gives_the_same_dump() {
    let guest = crashed();
    let (opened, windows) = read(guest.qemu_elf().bytes());
    let mut wanted = converted(&opened, &windows, DumpKind::Full);
    wanted[COMMENT].fill(0);
    for (name, file) in [
        ("raw", guest.raw_from_start()),
        ("LiME", guest.lime(&[])),
        ("kdump", guest.kdump().bytes()),
        ("full dump", dump::full(&guest).bytes),
        ("bitmap dump", dump::bitmap(&guest, false).bytes),
    ] {
        let (opened, windows) = read(file);
        let mut file = converted(&opened, &windows, DumpKind::Full);
        file[COMMENT].fill(0);
        let differs = file.iter().zip(&wanted).position(|(a, b)| a != b);
        assert_eq!((file.len(), differs), (wanted.len(), None), "{name}");
    }
}

#[test]
fn a_kdump_has_the_same_vcpus() {
    let guest = running();
    let elf = open(guest.qemu_elf().bytes()).unwrap();
    let kdump = open(guest.kdump().bytes()).unwrap();
    let registers = |guest: &container::Guest| -> Vec<_> {
        guest.cpus.iter().map(|cpu| cpu.registers.clone()).collect()
    };
    assert_eq!(registers(&elf), registers(&kdump));
}

#[test]
fn dumps_of_another_writer_are_clean() {
    for (guest, _) in guests(0x4000_0000) {
        assert_clean("full", &dump::full(&guest).bytes);
        assert_clean("bitmap", &dump::bitmap(&guest, false).bytes);
        assert_clean("kernel", &dump::bitmap(&guest, true).bytes);
    }
}
