//! ELF cores that are damaged, or made to hurt: one clear error each.

use std::sync::LazyLock;

use core2dmp::address::Gpa;
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::bad::{refusal, salvage};
use crate::support::containers::{assert_memory, open};
use crate::support::patch::patched;

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

/// The byte offset of a field of program header `n`: 0x08 offset, 0x18 address, 0x20 bytes.
const fn field(n: usize, field: usize) -> usize {
    SEGMENTS + n * 0x38 + field
}

#[test]
fn cut_at_every_border() {
    let file = SMALL.qemu_elf().bytes();
    assert_eq!(file.len(), MEMORY + 0x144_0000);
    let cut = |bytes: usize| file[..bytes].to_vec();
    assert!(refusal(cut(0x3f)).starts_with("not a container that core2dmp knows"));
    assert_eq!(
        refusal(cut(SEGMENTS)),
        "program headers at file offset 0x80: expected 168 bytes, the file ends after 0"
    );
    assert_eq!(
        refusal(cut(NOTES - 1)),
        "program headers at file offset 0x80: expected 168 bytes, the file ends after 167"
    );
    for (bytes, segments) in [
        (NOTES, 3),
        (MEMORY - 1, 3),
        (MEMORY, 2),
        (MEMORY + 0x140_0000, 1),
        (file.len() - 1, 1),
    ] {
        assert_eq!(
            refusal(cut(bytes)),
            format!(
                "the core is cut short: expected {:#x} bytes, found {bytes:#x}; missing: (part of) {segments} of 3 segments",
                file.len()
            )
        );
        let opened = salvage(cut(bytes)).unwrap();
        assert_eq!(
            opened.container.salvaged.unwrap(),
            format!(
                "the core was cut short (missing: (part of) {segments} of 3 segments); what is there was taken"
            )
        );
        let frames = bytes.saturating_sub(MEMORY).div_ceil(4096) as u64;
        assert_eq!(opened.memory.frame_count(), frames);
    }
    let extended = SMALL.qemu_elf().mappings(70_000).bytes();
    assert_eq!(
        refusal(extended[..0x7f].to_vec()),
        "section header 0 at file offset 0x40: expected 64 bytes, the file ends after 63"
    );
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let file = || SMALL.qemu_elf().bytes();
    let ones = [0xff; 8];
    let many = patched(file(), 56, &[0xff, 0xff]);
    assert_eq!(
        refusal(many.clone()),
        "sh_info of section header 0 at file offset 0x40: expected the number of program headers, 65535 or more, found 0"
    );
    assert_eq!(
        refusal(patched(many, 0x40 + 44, &ones[..4])),
        "program headers: found 4294967295, the limit is 1048576"
    );
    assert_eq!(
        refusal(patched(file(), 54, &[0x20])),
        "e_phentsize at file offset 0x36: expected 56, found 32"
    );
    assert_eq!(
        refusal(patched(file(), 32, &ones)),
        "program headers at file offset 0xffffffffffffffff: expected 168 bytes, the file ends after 0"
    );
    // The headers as their own segments.
    assert_eq!(
        refusal(patched(file(), 32, &[0])),
        "program headers at file offset 0x0: expected memory (PT_LOAD), found none"
    );
    for at in [field(1, 8), field(1, 0x20)] {
        let line = refusal(patched(file(), at, &ones));
        assert!(
            line.starts_with("the core is cut short: expected 0xffffffffffffffff"),
            "{line}"
        );
    }
    let line = refusal(patched(file(), field(1, 0x18), &ones));
    assert_eq!(
        line,
        format!(
            "physical address of a PT_LOAD at file offset {MEMORY:#x}: expected physical addresses below 0x10000000000000, found 0x1400000 bytes at 0xffffffffffffffff"
        )
    );
    assert_eq!(
        refusal(patched(
            file(),
            field(0, 0x20),
            &(17_u64 << 20).to_le_bytes()
        )),
        "bytes of notes: found 17825792, the limit is 16777216"
    );
}

#[test]
fn notes_that_cannot_be_are_told() {
    let file = || SMALL.qemu_elf().bytes();
    let first_cpu = NOTES + 2 * (12 + 8 + 0x150);
    for (at, note) in [
        (NOTES, NOTES),
        (NOTES + 4, NOTES),
        (first_cpu + 4, first_cpu),
    ] {
        let opened = open(patched(file(), at, &[0xff; 4])).unwrap();
        assert_memory(&opened, &SMALL);
        assert_eq!(opened.cpus.len(), 0);
        assert_eq!(
            opened.container.warnings[1],
            format!("a note at file offset {note:#x} reaches beyond the end of the notes")
        );
    }
    // A vCPU of a version that nobody knows; the other keeps its number.
    let opened = open(patched(file(), first_cpu + 20, &[9])).unwrap();
    assert_eq!(opened.cpus.len(), 1);
    assert_eq!(opened.cpus[0].index, 1);
    assert_eq!(
        opened.container.warnings,
        ["QEMU note 0: version 9, which is not known"]
    );
    let opened = open(patched(file(), first_cpu + 4, &[0x10, 0])).unwrap();
    assert_eq!(
        opened.container.warnings[0],
        "QEMU note 0: 16 bytes, too short for a vCPU"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands before the memory: a guest or one error, and no end of memory or time.
    #[test]
    fn rubbish_is_answered(
        changes in proptest::collection::vec((0..MEMORY, any::<u8>()), 1..8),
        cut in 0_usize..MEMORY + 0x4000,
        take in any::<bool>(),
    ) {
        static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let mut file = SMALL.qemu_elf().bytes();
            file.truncate(MEMORY + 0x4000);
            file
        });
        let mut file = HEAD.clone();
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(cut.max(0x40));
        let opened = if take { salvage(file) } else { open(file) };
        if let Ok(guest) = opened {
            let _ = guest.memory.read(Gpa::new(0x1ff0), &mut [0; 64]);
        }
    }
}
