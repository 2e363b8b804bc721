//! Hyper-V's saved states: what is read of good files.

use std::sync::LazyLock;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::memory::{Backing, MemoryError};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::containers::{assert_memory, open};
use crate::support::vcpus::assert_vcpus;

/// Two vCPUs, and memory at 4 GiB and above; without zeros in most pages.
static HIGH: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2).memory_mib(24);
    let mut guest = spec.above_4g().fill(60).build();
    // The other GS base is not in a saved state.
    guest
        .vcpus
        .iter_mut()
        .for_each(|vcpu| vcpu.gs_base_user = 0);
    guest
});

fn details(guest: &core2dmp::container::Guest) -> Vec<(&str, &str)> {
    let details = guest.container.details.iter();
    details
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[test]
fn stored_blocks_are_runs_of_the_file() {
    let opened = open(HIGH.hyperv().bytes()).unwrap();
    assert_memory(&opened, &HIGH);
    assert_vcpus(&opened, &HIGH);
    let runs = opened.memory.runs();
    assert!(
        runs.iter()
            .all(|run| matches!(run.backing, Backing::File { .. }))
    );
    assert_eq!(runs.len(), 2);
    let info = &opened.container;
    assert_eq!(info.format, "hyperv");
    assert_eq!(info.warnings, Vec::<String>::new());
    let blocks = HIGH.hyperv().bytes().len() >> 20;
    let blocks = format!("{blocks}, of them 0 compressed");
    assert_eq!(
        details(&opened),
        [
            ("version of the virtual machine", "10.0"),
            ("kind", "Normal"),
            ("ranges", "2"),
            ("blocks", blocks.as_str()),
        ]
    );
    for (cpu, vcpu) in opened.cpus.iter().zip(&HIGH.vcpus) {
        let registers = cpu.registers.x86().unwrap();
        assert_eq!(registers.fxsave, Some(vcpu.registers.fxsave));
        assert_eq!(registers.dr, Some([0, 0, 0, 0, 0xffff_0ff0, 0x400]));
    }
}

#[test]
fn compressed_blocks_are_decoded_where_somebody_reads() {
    let opened = open(HIGH.hyperv().compressed().bytes()).unwrap();
    assert!(opened.memory.runs().len() > 10);
    assert_memory(&opened, &HIGH);
    let (name, blocks) = *details(&opened).last().unwrap();
    assert_eq!(name, "blocks");
    assert!(!blocks.ends_with(" 0 compressed"), "{blocks}");
    // Backwards, and across blocks.
    for gpa in [0x90_fff8_u64, 0x3f_fff4, 0x30_0000, 0x1f_fff8, 0x7] {
        let (mut got, mut wanted) = ([0; 24], [0; 24]);
        opened.memory.read(Gpa::new(gpa), &mut got).unwrap();
        HIGH.frames.read(gpa, &mut wanted);
        assert_eq!(got, wanted, "{gpa:#x}");
    }
    // A guest of zeros: blocks so small that they stand in their keys.
    let zeros = GuestSpec::windows10().memory_mib(40).build();
    let file = zeros.hyperv().compressed().bytes();
    assert!(file.len() < 30 << 20);
    assert_memory(&open(file).unwrap(), &zeros);
}

#[test]
fn however_the_store_is_laid_out() {
    for file in [
        HIGH.hyperv().chained(),
        HIGH.hyperv().chained().compressed(),
        HIGH.hyperv().nodes_last(),
        HIGH.hyperv().stale(),
        HIGH.hyperv().packed(),
        HIGH.hyperv().packed().compressed(),
        HIGH.hyperv().machine(Some(0x0501)),
        HIGH.hyperv().machine(Some(0x0c00)),
        HIGH.hyperv().secure_kernel(),
    ] {
        let opened = open(file.bytes()).unwrap();
        assert_memory(&opened, &HIGH);
        assert_vcpus(&opened, &HIGH);
        assert_eq!(opened.container.warnings, Vec::<String>::new());
    }
}

#[test]
fn either_header_will_do() {
    for (at, field) in [(0, 0), (0, 20), (0x1000, 0), (0x1000, 20)] {
        let mut file = HIGH.hyperv().bytes();
        file[at + field] ^= 0xff;
        assert_memory(&open(file).unwrap(), &HIGH);
    }
}

#[test]
fn the_kernels_gs_base_is_known_in_ring_0() {
    let spec = GuestSpec::windows10().processors(2).memory_mib(20);
    let guest = spec.vcpu_user_mode(1).build();
    let opened = open(guest.hyperv().bytes()).unwrap();
    let bases = |cpu: usize| {
        let registers = opened.cpus[cpu].registers.x86().unwrap();
        (registers.gs_base_kernel, registers.gs_base_user)
    };
    assert_eq!(bases(0), (guest.vcpus[0].gs_base_kernel, 0));
    assert_eq!(bases(1), (0, guest.vcpus[1].gs_base_user));
}

#[test]
fn guests_of_32_bit() {
    for spec in [GuestSpec::windows2003_x86(), GuestSpec::windows2003_pae()] {
        let guest = spec.processors(2).memory_mib(20).fill(40).build();
        let opened = open(guest.hyperv().compressed().bytes()).unwrap();
        assert_memory(&opened, &guest);
        assert_vcpus(&opened, &guest);
    }
}

#[test]
fn what_is_not_there_is_told() {
    let opened = open(HIGH.hyperv().without_state().bytes()).unwrap();
    assert_memory(&opened, &HIGH);
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(
        opened.container.warnings,
        ["no partition_state: no registers"]
    );
    let opened = open(HIGH.hyperv().vendor(0x10).bytes()).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["the state of the processors: registers of ARM64 are not read"]
    );
    let opened = open(HIGH.hyperv().compressed().without_block(3).bytes()).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["256 frames of the guest's memory are in no block of the file"]
    );
    let read = |pfn| opened.memory.read(Pfn::new(pfn).gpa(), &mut [0; 8]);
    assert!(matches!(read(0x300), Err(MemoryError::Absent { .. })));
    assert!(read(0x2ff).is_ok() && read(0x400).is_ok());
}
