//! Raw memory: by address, and with a hole that nothing in the file tells.

use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::container::{self, OpenOptions, raw};
use core2dmp::memory::{Backing, Frames, MemoryRun};
use core2dmp::windows;
use core2dmp_synth::GuestSpec;

use crate::support::containers::{assert_memory, open};

fn frames(first: u64, count: u64) -> Frames {
    Frames::new(Pfn::new(first), count)
}

fn run(first: u64, count: u64, offset: u64) -> MemoryRun {
    MemoryRun {
        frames: frames(first, count),
        backing: Backing::File { offset },
    }
}

/// Opens a file with holes.
fn with_holes(file: &[u8], holes: &[Frames]) -> core2dmp::error::Result<container::Guest> {
    let options = OpenOptions::default().holes(holes.to_vec());
    container::open(Arc::new(file.to_vec()), options)
}

#[test]
fn by_address() {
    let guest = GuestSpec::windows10().memory_mib(20).fill(40).build();
    let opened = open(guest.raw(0xff, 0x1400)).unwrap();
    assert_memory(&opened, &guest);
    assert_eq!(opened.memory.runs(), [run(0, 0x1400, 0)]);
    let info = &opened.container;
    assert_eq!((info.format, info.title), ("raw", "raw memory"));
    assert_eq!(info.details, [("holes", "none: by address".to_owned())]);
    assert_eq!(
        info.warnings,
        ["a raw file carries no registers, and does not say where memory has holes"]
    );
    let found = windows::identify(&opened).unwrap();
    assert_eq!(raw::hole(&opened, &found.runs.value), None);
}

#[test]
fn holes_that_are_given() {
    let guest = GuestSpec::windows10().memory_mib(24).above_4g().fill(40);
    let guest = guest.build();
    let file = guest.raw_without_hole();
    let low = guest.present[1].0 + guest.present[1].1;
    let hole = Frames::between(Pfn::new(low), Pfn::new(0x10_0000));
    let opened = with_holes(&file, &[hole]).unwrap();
    assert_memory(&opened, &guest);
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, low, 0),
            run(0x10_0000, guest.present[2].1, low * 4096)
        ]
    );
    assert_eq!(
        opened.container.details,
        [("holes", format!("{:#x}-0xffffffff", low * 4096))]
    );
    // In any order; behind the end they do nothing; twice they make no sense.
    let opened = with_holes(
        &file,
        &[frames(0x90_0000, 5), frames(0x200, 3), frames(0, 1)],
    );
    assert_eq!(
        opened.unwrap().memory.runs(),
        [run(1, 0x1ff, 0), run(0x203, 0x1601, 0x1ff000)]
    );
    assert_eq!(
        with_holes(&file, &[frames(4, 5), frames(8, 1)])
            .unwrap_err()
            .to_string(),
        "holes at physical address 0x8000: expected holes that do not overlap, found two of them"
    );
    // All of it, so that the memory would lie behind the last address.
    let nowhere = with_holes(&file, &[frames(0, u64::MAX)]).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .starts_with("a page frame number of the container: found ")
    );
}

#[test]
fn the_hole_follows_from_what_windows_counts() {
    // The kernel's structures lie low here, so that Windows is found without the hole.
    let guest = GuestSpec::windows10().memory_mib(24).above_4g().fill(40);
    let guest = guest.build();
    let low = guest.present[1].0 + guest.present[1].1;
    let counted: Vec<Frames> = guest
        .expected
        .runs
        .iter()
        .map(|run| frames(run.0, run.1))
        .collect();
    let hole = Frames::between(Pfn::new(low), Pfn::new(0x10_0000));
    let compact = open(guest.raw_without_hole()).unwrap();
    assert_eq!(raw::hole(&compact, &counted), Some(hole));
    let opened = with_holes(&guest.raw_without_hole(), &[hole]).unwrap();
    assert_memory(&opened, &guest);
    // Asked again, with the hole, there is no other.
    assert_eq!(raw::hole(&opened, &counted), None);
    // As pmemsave leaves it: the file is as long, but ends inside the hole.
    let frames_in_all = guest.frame_count() + 0x20;
    for filler in [0, 0xff] {
        let cut = open(guest.raw(filler, frames_in_all)).unwrap();
        assert_eq!(raw::hole(&cut, &counted), None);
    }
    // Other containers know their holes.
    let elf = open(guest.qemu_elf().bytes()).unwrap();
    assert_eq!(raw::hole(&elf, &counted), None);
    assert_eq!(raw::hole(&compact, &[]), None);
    // Low memory that would reach into what the high memory takes.
    assert_eq!(
        raw::hole(&compact, &[frames(0, low + 5), frames(0x10_0000, 0xc00)]),
        None
    );
}

#[test]
fn only_what_nothing_else_claims() {
    let guest = GuestSpec::windows10().memory_mib(20).build();
    let file = guest.raw(0, 0x1400);
    let unknown = |file: Vec<u8>| {
        let line = open(file).unwrap_err().to_string();
        assert!(
            line.starts_with("not a container that core2dmp knows"),
            "{line}"
        );
    };
    unknown(Vec::new());
    unknown(vec![0x41]);
    unknown(vec![0; 0xf_ffff]);
    for magic in [
        b"\x7fELF\x02\x01".as_slice(),
        b"QFI\xfb",
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
    ] {
        let mut other = file.clone();
        other[..magic.len()].copy_from_slice(magic);
        unknown(other);
    }
    // What does not fill a frame is told.
    let opened = open(file[..0x10_0fff].to_vec()).unwrap();
    assert_eq!(opened.memory.frame_count(), 0x100);
    assert_eq!(
        opened.container.warnings[1],
        "the last 4095 bytes of the file are no whole frame and are left out"
    );
}
