//! Every mode against tables laid out by hand.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::*;
use crate::address::{Gpa, Gva, PAGE_SIZE, Pfn};
use crate::memory::{Backing, Frames, PhysicalMemory, RunBuilder};

/// Memory of `frames` frames with 64-bit entries put in: (address, value).
fn memory(frames: u64, entries: &[(u64, u64)]) -> PhysicalMemory {
    let mut bytes = vec![0_u8; (frames * PAGE_SIZE) as usize];
    for &(at, value) in entries {
        let at = at as usize;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let mut runs = RunBuilder::default();
    runs.push(
        Frames::new(Pfn::new(0), frames),
        Backing::File { offset: 0 },
    )
    .unwrap();
    PhysicalMemory::new(Arc::new(bytes), runs.finish().unwrap())
}

fn gpa(space: &AddressSpace<'_>, gva: u64) -> (u64, u64) {
    let mapping = space.translate(Gva::new(gva)).unwrap();
    (mapping.gpa.get(), mapping.page_bytes)
}

#[test]
fn x64_small_large_and_huge() {
    let memory = memory(
        8,
        &[
            (0x1000 + 8 * 0x1f0, 0x2003), // PML4E of fffff80000000000
            (0x2000, 0x3003),             // PDPTE
            (0x2008, 0x4000_0083),        // 1 GiB
            (0x3000, 0x4003),             // PDE
            (0x3008, 0x0020_1083),        // 2 MiB, PAT bit set
            (0x4000, 0x8000_0000_0000_5003),
        ],
    );
    let space = AddressSpace::new(&memory, PagingMode::X64, Gpa::new(0x1fff));
    assert_eq!(gpa(&space, 0xffff_f800_0000_0123), (0x5123, 0x1000));
    assert_eq!(gpa(&space, 0xffff_f800_0020_1234), (0x20_1234, 0x20_0000));
    assert_eq!(
        gpa(&space, 0xffff_f800_4000_1234),
        (0x4000_1234, 0x4000_0000)
    );
    assert!(matches!(
        space.translate(Gva::new(0x0000_f800_0000_0000)),
        Err(TranslateError::NotCanonical { .. })
    ));
    let mut seen = Vec::new();
    let whole = space.mapped(
        Gva::new(0xffff_8000_0000_0000),
        Gva::new(u64::MAX),
        |range| {
            seen.push((range.gva.get(), range.bytes));
            ControlFlow::Continue(())
        },
    );
    assert!(whole);
    assert_eq!(
        seen,
        [
            (0xffff_f800_0000_0000, 0x1000),
            (0xffff_f800_0020_0000, 0x20_0000),
            (0xffff_f800_4000_0000, 0x4000_0000)
        ]
    );
}

#[test]
fn x64_five_levels() {
    let memory = memory(
        8,
        &[
            (0x1000 + 8 * 511, 0x2003),
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x4000, 0x5003),
            (0x5000, 0x6003),
        ],
    );
    let space = AddressSpace::new(&memory, PagingMode::X64La57, Gpa::new(0x1000));
    assert_eq!(gpa(&space, 0xffff_0000_0000_0042), (0x6042, 0x1000));
}

#[test]
fn pae_root_is_32_byte_aligned() {
    let memory = memory(
        8,
        &[
            (0x1060 + 2 * 8, 0x2001),
            (0x2000, 0x3003),
            (0x2008, 0x20_00e3),
            (0x3008, 0x4003),
        ],
    );
    let space = AddressSpace::new(&memory, PagingMode::X86Pae, Gpa::new(0x1060));
    assert_eq!(gpa(&space, 0x8000_1010), (0x4010, 0x1000));
    assert_eq!(gpa(&space, 0xffff_ffff_8000_1010), (0x4010, 0x1000));
    assert_eq!(gpa(&space, 0x8020_0010), (0x20_0010, 0x20_0000));
}

#[test]
fn x86_two_levels() {
    // Two 32-bit entries side by side: a table, and a 4 MiB page at 1 << 32 | 0x400000.
    let memory = memory(
        8,
        &[
            (0x1000 + 4 * 512, 0x0040_20e3_0000_2003),
            (0x2000, 0x0000_3003_0000_0000),
        ],
    );
    let space = AddressSpace::new(&memory, PagingMode::X86, Gpa::new(0x1000));
    assert_eq!(gpa(&space, 0x8000_1010), (0x3010, 0x1000));
    assert_eq!(gpa(&space, 0x8040_0010), (0x1_0040_0010, 0x40_0000));
}

#[test]
fn arm64_pages_and_blocks() {
    let memory = memory(
        8,
        &[
            (0x1000 + 8 * 0x1f0, 0x2003),
            (0x2000, 0x3003),
            (0x2008, 0x4000_0001), // block
            (0x3000, 0x4003),
            (0x4000, 0x0060_0000_0000_5003),
            (0x4008, 0x6001), // not a page at level 3
        ],
    );
    let space = AddressSpace::new(&memory, PagingMode::Arm64, Gpa::new(0x1000));
    assert_eq!(gpa(&space, 0xffff_f800_0000_0001), (0x5001, 0x1000));
    assert_eq!(
        gpa(&space, 0xffff_f800_4000_0001),
        (0x4000_0001, 0x4000_0000)
    );
    assert!(space.translate(Gva::new(0xffff_f800_0000_1000)).is_err());
}

#[test]
fn entries_that_are_not_valid_are_told_apart() {
    let kinds = [
        (0, NotPresent::Zero),
        (
            0x0000_0000_0123_4880,
            NotPresent::Transition(Pfn::new(0x1234)),
        ),
        (0xffff_8000_0000_0400, NotPresent::Prototype),
        (0x0000_1234_0000_0080, NotPresent::Elsewhere),
    ];
    for (raw, expected) in kinds {
        let memory = memory(
            8,
            &[
                (0x1000, 0x2003),
                (0x2000, 0x3003),
                (0x3000, 0x4003),
                (0x4000, raw),
            ],
        );
        let space = AddressSpace::new(&memory, PagingMode::X64, Gpa::new(0x1000));
        let Err(TranslateError::NotPresent { kind, level, .. }) = space.translate(Gva::new(0))
        else {
            panic!("{raw:#x} is present");
        };
        assert_eq!((kind, level), (expected, "PTE"));
    }
}

#[test]
fn tables_that_point_at_themselves_end() {
    let entries: Vec<_> = (0..512).map(|n| (0x1000 + 8 * n, 0x1003)).collect();
    let memory = memory(2, &entries);
    let space = AddressSpace::new(&memory, PagingMode::X64, Gpa::new(0x1000));
    let mut pages = 0_u64;
    let whole = space.mapped(Gva::new(0), Gva::new(u64::MAX), |_| {
        pages += 1;
        ControlFlow::Continue(())
    });
    assert!(!whole);
    assert!(pages < 1 << 26);
}
