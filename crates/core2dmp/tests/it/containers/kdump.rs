//! kdump-compressed dumps: what is read of them.

use std::sync::{Arc, LazyLock};

use core2dmp::address::Pfn;
use core2dmp::container::{self, OpenOptions};
use core2dmp::error::Result;
use core2dmp::memory::{Backing, Frames, MemoryError};
use core2dmp::source::ReadAt;
use core2dmp_synth::{Guest, GuestSpec, KdumpCompression};

use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;
use crate::support::vcpus::assert_vcpus;

/// Two vCPUs of 64 bit, 20 MiB.
static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    GuestSpec::windows10()
        .processors(2)
        .memory_mib(20)
        .fill(60)
        .build()
});

/// Frames of [`SMALL`].
const FRAMES: u64 = 0xa0 + 0x1340;

/// Where the header's numbers stand in a file of a 64-bit writer.
const NUMBERS: usize = 424;

/// Opens several files of one guest.
fn open_set(files: &[Vec<u8>]) -> Result<container::Guest> {
    let sources = files
        .iter()
        .map(|file| Arc::new(file.clone()) as Arc<dyn ReadAt>)
        .collect();
    container::open_set(sources, &OpenOptions::default())
}

#[test]
fn every_compression() {
    let guest = GuestSpec::windows10().processors(3).above_4g().fill(40);
    let guest = guest.vcpu_order(vec![2, 3, 0, 1]).build();
    for compression in [
        KdumpCompression::None,
        KdumpCompression::Zlib,
        KdumpCompression::Lzo,
        KdumpCompression::Snappy,
        KdumpCompression::Zstd,
    ] {
        let opened = open(guest.kdump().compression(compression).bytes()).unwrap();
        assert_memory(&opened, &guest);
        assert_vcpus(&opened, &guest);
        assert_eq!(opened.container.format, "kdump");
        assert_eq!(opened.container.warnings, Vec::<String>::new());
    }
}

#[test]
fn every_version_of_the_header() {
    for version in 1..=6 {
        for narrow in [false, true] {
            let kdump = SMALL.kdump().version(version);
            let kdump = if narrow { kdump.narrow() } else { kdump };
            let opened = open(kdump.bytes()).unwrap();
            assert_memory(&opened, &SMALL);
            let width = if narrow { 32 } else { 64 };
            assert_eq!(
                opened.container.details[0],
                ("format", format!("header version {version}, {width} bit"))
            );
            if version >= 4 {
                assert_vcpus(&opened, &SMALL);
            } else {
                assert_eq!(
                    opened.container.warnings,
                    ["no note tells the vCPUs: no registers"]
                );
            }
        }
    }
    let file = SMALL.kdump().bytes();
    for version in [0, 7] {
        assert_eq!(
            open(patched(file.clone(), 8, &[version]))
                .unwrap_err()
                .to_string(),
            format!(
                "version of the kdump header at file offset 0x8: expected 1 to 6, found {version}"
            )
        );
    }
}

#[test]
fn guests_of_32_bit() {
    let guest = GuestSpec::windows2003_pae().processors(2).memory_mib(20);
    let guest = guest.fill(40).build();
    let opened = open(guest.kdump().bytes()).unwrap();
    assert_memory(&opened, &guest);
    assert_vcpus(&opened, &guest);
}

#[test]
fn flattened_is_read_where_it_stands() {
    for record in [0x1000, 0x1001, 0x3333, 1 << 20] {
        let opened = open(SMALL.kdump().flattened(record)).unwrap();
        assert_memory(&opened, &SMALL);
        assert_vcpus(&opened, &SMALL);
        assert_eq!(opened.container.details[0].0, "flattened");
    }
}

#[test]
fn excluded_pages_are_absent() {
    let kdump = SMALL.kdump().excluded(0x200..0x203).excluded(0x500..0x501);
    let opened = open(kdump.bytes()).unwrap();
    let run = |first, count| Frames::new(Pfn::new(first), count);
    let frames: Vec<Frames> = opened.memory.runs().iter().map(|run| run.frames).collect();
    assert_eq!(
        frames,
        [
            run(0, 0xa0),
            run(0xc0, 0x140),
            run(0x203, 0x2fd),
            run(0x501, 0xeff)
        ]
    );
    let mut byte = [0];
    for pfn in [0x200, 0x202, 0x500] {
        assert!(matches!(
            opened.memory.read(Pfn::new(pfn).gpa(), &mut byte),
            Err(MemoryError::Absent { .. })
        ));
    }
    for pfn in [0x1ff, 0x203, 0x4ff, 0x501, 0x13ff] {
        assert!(Some(page(&opened, pfn)) == SMALL.page(pfn));
    }
}

#[test]
fn a_split_dump_is_one_guest() {
    let kdump = SMALL.kdump().excluded(0x600..0x640);
    let parts = kdump.split(&[0x345, 0xfff]);
    assert_eq!(parts.len(), 3);
    for order in [[0, 1, 2], [2, 0, 1]] {
        let files = order.map(|part| parts[part].clone());
        let opened = open_set(&files).unwrap();
        assert_eq!(opened.memory.frame_count(), FRAMES - 0x40);
        for pfn in (0..0xa0).chain(0xc0..0x600).chain(0x640..0x1400) {
            assert!(Some(page(&opened, pfn)) == SMALL.page(pfn), "{pfn:#x}");
        }
        assert_vcpus(&opened, &SMALL);
        assert_eq!(opened.container.warnings, Vec::<String>::new());
        assert!(
            opened
                .container
                .details
                .contains(&("parts", "3".to_owned()))
        );
    }
    // A part alone is what it is, and says so; the same part twice is a mistake.
    let opened = open(parts[1].clone()).unwrap();
    assert_eq!(opened.memory.frame_count(), 0xfff - 0x345 - 0x40);
    assert_eq!(
        opened.container.warnings,
        ["parts of the split dump are missing: no file given has frame 0x0, the last is 0x1400"]
    );
    let opened = open_set(&[parts[0].clone(), parts[2].clone()]).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["parts of the split dump are missing: no file given has frame 0x345, the last is 0x1400"]
    );
    let line = |files: &[Vec<u8>]| open_set(files).unwrap_err().to_string();
    assert_eq!(
        line(&[parts[0].clone(), parts[0].clone()]),
        "second bitmap at physical address 0x0: expected every frame once, found it twice"
    );
    assert_eq!(
        line(&[parts[0].clone(), kdump.bytes()]),
        "sub header of a part at file offset 0x1000: expected a part of a split dump, found a whole dump in file 2"
    );
    let other = GuestSpec::windows10().memory_mib(24).build();
    assert_eq!(
        line(&[parts[0].clone(), other.kdump().split(&[0x345])[1].clone()]),
        "sub header of a part at file offset 0x1000: expected a part of the same dump, found another number of frames in file 2"
    );
    assert_eq!(
        line(&[SMALL.raw(0, 0x1400), SMALL.raw(0, 0x1400)]),
        "files of a format that is one file: found 2, the limit is 1"
    );
}

#[test]
fn memory_is_runs_of_page_numbers() {
    let opened = open(SMALL.kdump().bytes()).unwrap();
    let backings: Vec<Backing> = opened.memory.runs().iter().map(|run| run.backing).collect();
    assert_eq!(
        backings,
        [
            Backing::Encoded { index: 0 },
            Backing::Encoded { index: 0xa0 }
        ]
    );
}

#[test]
fn a_dump_without_a_second_bitmap_has_all_that_the_first_has() {
    // Its one bitmap starts where the first does; descriptors stand where they stood.
    let mut file = SMALL.kdump().bytes();
    let bitmap = file[0x3000..0x4000].to_vec();
    file = patched(file, NUMBERS + 8, &[2]);
    file = patched(file, NUMBERS + 12, &[1]);
    file = patched(file, 0x3000, &bitmap);
    assert_memory(&open(file).unwrap(), &SMALL);
}
