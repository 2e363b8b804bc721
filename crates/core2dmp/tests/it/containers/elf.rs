//! ELF cores of QEMU and VirtualBox: what is read of them.

use std::sync::LazyLock;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::memory::{Backing, Frames, MemoryError, MemoryRun};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;
use crate::support::vcpus::assert_vcpus;

/// Two vCPUs of 64 bit, 20 MiB.
static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    GuestSpec::windows10()
        .processors(2)
        .memory_mib(20)
        .fill(40)
        .build()
});

/// Of QEMU's file of [`SMALL`]: where program headers, notes and memory start.
const SEGMENTS: usize = 0x80;
const NOTES: usize = SEGMENTS + 3 * 0x38;
const MEMORY: usize = NOTES + 2 * (12 + 8 + 0x150) + 2 * (12 + 8 + 0x1b8);

/// A run of frames that stand in the file from `offset` on.
fn run(first: u64, count: u64, offset: usize) -> MemoryRun {
    MemoryRun {
        frames: Frames::new(Pfn::new(first), count),
        backing: Backing::File {
            offset: offset as u64,
        },
    }
}

/// The byte offset of a field of program header `n`: 0x08 offset, 0x18 address, 0x20 bytes.
const fn field(n: usize, field: usize) -> usize {
    SEGMENTS + n * 0x38 + field
}

#[test]
fn qemu_with_memory_above_4_gib() {
    let spec = GuestSpec::windows10().processors(3).above_4g().fill(40);
    let guest = spec.vcpu_order(vec![2, 3, 0, 1]).build();
    let opened = open(guest.qemu_elf().bytes()).unwrap();
    assert_memory(&opened, &guest);
    assert_vcpus(&opened, &guest);
    assert!(!opened.cpus[1].registers.has_paging());
    let info = &opened.container;
    assert_eq!(info.format, "elf");
    assert_eq!(
        info.details,
        [
            ("machine", "x86-64".to_owned()),
            ("written by", "QEMU, or in its way".to_owned())
        ]
    );
    assert_eq!(info.warnings, Vec::<String>::new());
    // The BIOS is in the file, and known not to be RAM; so is what the VGA hole hides.
    assert_eq!(page(&opened, 0xf_ffc0), [0xff; 4096]);
    assert_eq!(
        opened.hints.not_ram,
        [(0xa0, 0x20), (0xf_0000, 0x1_0000)].map(|(first, n)| Frames::new(Pfn::new(first), n))
    );
}

#[test]
fn data_stands_at_odd_offsets() {
    let file = SMALL.qemu_elf().bytes();
    let opened = open(file).unwrap();
    assert_eq!(MEMORY % 8, 0);
    assert_ne!(MEMORY % 4096, 0);
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, 0x1400, MEMORY),
            run(0xf_ffc0, 0x40, MEMORY + 0x140_0000)
        ]
    );
    assert_memory(&opened, &SMALL);
}

#[test]
fn files_of_32_bit_and_guests_of_32_bit() {
    for spec in [GuestSpec::windows2003_x86(), GuestSpec::windows2003_pae()] {
        let guest = spec.processors(2).memory_mib(20).fill(40).build();
        for core in [guest.qemu_elf(), guest.qemu_elf().narrow()] {
            let opened = open(core.bytes()).unwrap();
            assert_memory(&opened, &guest);
            assert_vcpus(&opened, &guest);
            assert_eq!(opened.container.details[0], ("machine", "x86".to_owned()));
        }
    }
}

#[test]
fn notes_may_stand_anywhere() {
    let opened = open(SMALL.qemu_elf().notes_last().bytes()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_vcpus(&opened, &SMALL);
}

#[test]
fn more_segments_than_the_header_can_count() {
    // With -p memory is listed once a virtual mapping; here the first name of a frame is the right one.
    for mappings in [0xffff - 3, 0xffff - 2, 70_000] {
        let file = SMALL.qemu_elf().mappings(mappings).bytes();
        let opened = open(file).unwrap();
        assert_memory(&opened, &SMALL);
        assert_eq!(opened.memory.runs().len(), 2);
        assert_eq!(
            opened.container.details[1],
            (
                "overlapping ranges",
                "yes, from 0x0 on: the first of them counts".to_owned()
            )
        );
    }
}

#[test]
fn the_kernels_gs_base_follows_from_the_ring() {
    let spec = GuestSpec::windows10().processors(2).memory_mib(20);
    let guest = spec.vcpu_user_mode(1).build();
    let opened = open(guest.qemu_elf().bytes()).unwrap();
    assert_vcpus(&opened, &guest);
    assert!(opened.cpus[1].registers.is_user_mode());
    // An older QEMU tells the active one alone.
    let opened = open(guest.qemu_elf().without_kernel_gs().bytes()).unwrap();
    let bases = |cpu: usize| {
        let registers = opened.cpus[cpu].registers.x86().unwrap();
        (registers.gs_base_kernel, registers.gs_base_user)
    };
    assert_eq!(bases(0), (guest.vcpus[0].gs_base_kernel, 0));
    assert_eq!(bases(1), (0, guest.vcpus[1].gs_base_user));
}

#[test]
fn without_notes_there_are_no_registers_and_a_warning() {
    let opened = open(SMALL.qemu_elf().without_cpu_notes().bytes()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(
        opened.container.warnings,
        ["2 CORE notes, but none with control registers: no registers"]
    );
    // No note segment at all.
    let file = patched(SMALL.qemu_elf().bytes(), field(0, 0), &[0]);
    let opened = open(file).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["no note tells the vCPUs: no registers"]
    );
    assert!(core2dmp::windows::identify(&opened).is_ok());
}

#[test]
fn another_machine_has_memory_and_no_registers() {
    // EM_RISCV.
    let opened = open(patched(SMALL.qemu_elf().bytes(), 18, &[243])).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(
        opened.container.details[0],
        ("machine", "ELF machine 243".to_owned())
    );
    assert_eq!(
        opened.container.warnings,
        ["the vCPUs of this machine are not read: no registers"]
    );
}

#[test]
fn notes_too_short_for_arm64_are_reported() {
    let opened = open(patched(SMALL.qemu_elf().bytes(), 18, &[183])).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(opened.container.details[0], ("machine", "ARM64".to_owned()));
    let warnings = &opened.container.warnings;
    assert_eq!(warnings[0], "CORE note 0: 336 bytes, too short for a vCPU");
    let last = warnings.last().map(String::as_str);
    let count = opened.container.warnings.len() - 1;
    let wanted = format!("{count} CORE notes, none of which can be read: no registers");
    assert_eq!(last, Some(wanted.as_str()));
}

#[test]
fn a_driver_of_fw_cfg_leaves_a_header() {
    let mut header = b"PAGEDU64".to_vec();
    header.resize(0x2000, 0x33);
    let core = SMALL.qemu_elf().vmcoreinfo(header.clone());
    let opened = open(core.bytes()).unwrap();
    assert_eq!(opened.hints.headers.len(), 1);
    assert_eq!(opened.hints.headers[0].name, "VMCOREINFO");
    assert!(opened.hints.headers[0].bytes == header);
    // What Linux leaves there is text.
    let core = SMALL.qemu_elf().vmcoreinfo(b"OSRELEASE=6.1.0\n".to_vec());
    assert_eq!(open(core.bytes()).unwrap().hints.headers.len(), 0);
}

#[test]
fn virtualbox() {
    let guest = GuestSpec::windows7().processors(2).memory_mib(20).fill(40);
    let guest = guest.vcpu_user_mode(1).build();
    let opened = open(guest.qemu_elf().virtualbox().bytes()).unwrap();
    assert_memory(&opened, &guest);
    assert_vcpus(&opened, &guest);
    for (cpu, vcpu) in opened.cpus.iter().zip(&guest.vcpus) {
        let (r, e) = (cpu.registers.x86().unwrap(), &vcpu.registers);
        assert_eq!(r.dr, Some([e.dr0, e.dr1, e.dr2, e.dr3, e.dr6, e.dr7]));
        assert!(r.fxsave == Some(e.fxsave));
    }
    assert_eq!(
        opened.container.details[1],
        ("written by", "VirtualBox 7.0.14".to_owned())
    );
    assert_eq!(opened.container.warnings, Vec::<String>::new());
    let file = guest.qemu_elf().virtualbox().without_cpu_notes().bytes();
    assert_eq!(
        open(file).unwrap().container.warnings,
        [
            "VBCORE promises 2 vCPUs, 0 notes tell one",
            "no note tells the vCPUs: no registers"
        ]
    );
}

#[test]
fn frames_that_are_cut_are_put_together() {
    let core = SMALL.qemu_elf().cut_at(0x9fc00).cut_at(0x12_3456);
    let opened = open(core.bytes()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.container.warnings, Vec::<String>::new());
    // The second of three is moved by a frame: its first and last frames now are made of pieces.
    let address = 0x9fc00_u64 + 0x1000;
    let file = patched(core.bytes(), field(2, 0x18), &address.to_le_bytes());
    let opened = open(file.clone()).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["2 frames are only partly in the file; the rest of them is zeros"]
    );
    let mut wanted = SMALL.page(0x9f).unwrap();
    wanted[0xc00..].fill(0);
    assert!(page(&opened, 0x9f) == wanted);
    let mut byte = [9];
    opened.memory.read(Gpa::new(0x9_fffe), &mut byte).unwrap();
    assert_eq!(byte, [0]);
}

#[test]
fn bytes_that_memory_has_and_the_file_has_not_are_absent() {
    // p_filesz is 0x1000 less than p_memsz.
    let bytes = 0x13f_f000_u64;
    let file = patched(
        SMALL.qemu_elf().bytes(),
        field(1, 0x20),
        &bytes.to_le_bytes(),
    );
    let opened = open(file).unwrap();
    let mut byte = [0];
    assert!(matches!(
        opened.memory.read(Gpa::new(0x13f_f000), &mut byte),
        Err(MemoryError::Absent { .. })
    ));
}

#[test]
fn the_first_that_holds_a_frame_wins() {
    // The BIOS claims frame 0x10 and those behind it.
    let file = SMALL.qemu_elf().bytes();
    let file = patched(file, field(2, 0x18), &0x10000_u64.to_le_bytes());
    let opened = open(file.clone()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.memory.runs(), [run(0, 0x1400, MEMORY)]);
    // In the other order the BIOS is first.
    let mut swapped = file.clone();
    swapped[field(1, 0)..field(2, 0)].copy_from_slice(&file[field(2, 0)..field(3, 0)]);
    swapped[field(2, 0)..field(3, 0)].copy_from_slice(&file[field(1, 0)..field(2, 0)]);
    let opened = open(swapped).unwrap();
    assert_eq!(page(&opened, 0x4f), [0xff; 4096]);
    assert!(Some(page(&opened, 0x50)) == SMALL.page(0x50));
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, 0x10, MEMORY),
            run(0x10, 0x40, MEMORY + 0x140_0000),
            run(0x50, 0x13b0, MEMORY + 0x50000)
        ]
    );
}
