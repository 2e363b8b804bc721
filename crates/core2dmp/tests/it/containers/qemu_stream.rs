//! QEMU's migration stream: memory, registers, and where RAM lies.

use std::sync::{Arc, LazyLock};

use core2dmp::address::Pfn;
use core2dmp::container::{self, OpenOptions};
use core2dmp::memory::{Backing, Frames};
use core2dmp_synth::{Guest, GuestSpec, QemuStream};

use crate::support::containers::{assert_memory, open, page};
use crate::support::vcpus::assert_vcpus;

/// Two vCPUs, memory on both sides of the hole.
static GUEST: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2).memory_mib(40);
    spec.above_4g().fill(60).build()
});

fn detail<'a>(opened: &'a container::Guest, name: &str) -> &'a str {
    let found = opened
        .container
        .details
        .iter()
        .find(|detail| detail.0 == name);
    found.map_or("", |detail| detail.1.as_str())
}

/// Frames of `GUEST` as its container has them, the VGA hole among them.
#[track_caller]
fn assert_guest(stream: &QemuStream<'_>) -> container::Guest {
    let opened = open(stream.bytes()).unwrap();
    assert_memory(&opened, &GUEST);
    assert_vcpus(&opened, &GUEST);
    for (cpu, vcpu) in opened.cpus.iter().zip(&GUEST.vcpus) {
        let (got, wanted) = (cpu.registers.x86().unwrap(), &vcpu.registers);
        let dr = [
            wanted.dr0, wanted.dr1, wanted.dr2, wanted.dr3, wanted.dr6, wanted.dr7,
        ];
        assert_eq!(got.dr, Some(dr));
        // The place of the top of the FPU's stack is the writer's own.
        let mut fxsave = wanted.fxsave;
        fxsave[3] |= 3 << 3;
        assert_eq!(got.fxsave, Some(fxsave));
    }
    opened
}

#[test]
fn every_shape_gives_the_same_guest() {
    let stream = GUEST.qemu_stream();
    for (name, stream) in [
        ("plain", stream.clone()),
        ("old machine", stream.clone().old_machine()),
        ("sent again", stream.clone().again()),
        ("compressed", stream.clone().compressed()),
        ("compressed, again", stream.clone().compressed().again()),
        ("mapped", stream.clone().mapped()),
        ("nodes", stream.clone().nodes(0x30_0000)),
        ("nodes, mapped", stream.clone().nodes(0x30_0000).mapped()),
        ("unknown device", stream.clone().unknown_device()),
        ("libvirt", stream.clone().libvirt(0)),
        ("libvirt, sparse", stream.clone().libvirt(6).mapped()),
    ] {
        let opened = assert_guest(&stream);
        assert_eq!(opened.container.warnings, [""; 0], "{name}");
        assert_eq!(opened.container.format, "qemu-stream");
        assert!(
            detail(&opened, "holes").ends_with("-0xffffffff (the CMOS)"),
            "{name}"
        );
    }
}

#[test]
fn the_last_of_a_page_counts() {
    let opened = assert_guest(&GUEST.qemu_stream().again());
    assert!(detail(&opened, "pages sent again").parse::<u64>().unwrap() > 1000);
}

#[test]
fn without_a_description_there_are_no_registers() {
    let stream = GUEST.qemu_stream().without_description();
    let options = OpenOptions::default().holes(vec![hole()]);
    let opened = container::open(Arc::new(stream.bytes()), options.clone()).unwrap();
    assert_memory(&opened, &GUEST);
    assert_eq!(
        opened.container.warnings,
        ["the stream has no description of its devices: no registers"]
    );
    let stream = stream.old_machine();
    let opened = container::open(Arc::new(stream.bytes()), options).unwrap();
    assert_memory(&opened, &GUEST);
    assert!(
        opened.container.warnings[0]
            .starts_with("nothing tells how long device \"timer\" at file offset"),
        "{:?}",
        opened.container.warnings
    );
}

/// The hole of `GUEST`.
fn hole() -> Frames {
    let low = GUEST.present.iter().map(|run| run.0 + run.1);
    let low = low.filter(|end| *end <= 0x10_0000).max().unwrap();
    Frames::between(Pfn::new(low), Pfn::new(0x10_0000))
}

#[test]
fn holes_can_be_given() {
    let stream = GUEST.qemu_stream().without_clock().bytes();
    let opened = open(stream.clone()).unwrap();
    assert_eq!(
        detail(&opened, "holes"),
        "none (the rule of pc-i440fx-10.0)"
    );
    assert_eq!(
        opened.memory.runs().last().unwrap().frames.end().get(),
        40 << 8
    );
    let options = OpenOptions::default().holes(vec![hole()]);
    let opened = container::open(Arc::new(stream), options).unwrap();
    assert!(detail(&opened, "holes").ends_with("(as asked)"));
    assert_memory(&opened, &GUEST);
}

#[test]
fn long_runs_of_zeros_are_told_and_nothing_else_is_missing() {
    let guest = GuestSpec::windows7().memory_mib(64).build();
    for stream in [guest.qemu_stream(), guest.qemu_stream().mapped()] {
        let opened = open(stream.bytes()).unwrap();
        assert_memory(&opened, &guest);
        let runs = opened.memory.runs();
        let zeros = runs.iter().filter(|run| run.backing == Backing::Zero);
        let zeros: u64 = zeros.map(|run| run.frames.count).sum();
        assert!(zeros > 0x1800, "{zeros:#x}");
        assert!(runs.len() < 300, "{}", runs.len());
        assert_eq!(opened.memory.frame_count(), 64 << 8);
        // The VGA hole is memory of the machine.
        assert_eq!(page(&opened, 0xa0), [0; 4096]);
    }
}
