//! LiME and AVML: what is read of good files, and what is said of bad ones.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::LazyLock;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::memory::{Backing, Frames, MemoryError, MemoryRun};
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::bad::{answer, refusal, salvage, spoiled};
use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;

/// 20 MiB: frames 0 to 0x9f, and 0xc0 to 0x13ff.
static SMALL: LazyLock<Guest> =
    LazyLock::new(|| GuestSpec::windows10().memory_mib(20).fill(60).build());

/// A LiME file's second header.
const SECOND: usize = 32 + 0xa0000;

#[test]
fn lime_ranges_are_runs_of_the_file() {
    let guest = GuestSpec::windows10().above_4g().fill(40).build();
    let opened = open(guest.lime(&[])).unwrap();
    assert_memory(&opened, &guest);
    let run = |first, count, offset: usize| MemoryRun {
        frames: Frames::new(Pfn::new(first), count),
        backing: Backing::File {
            offset: offset as u64,
        },
    };
    let low_end = guest.present[1].0 + guest.present[1].1;
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, 0xa0, 32),
            run(0xc0, low_end - 0xc0, SECOND + 32),
            run(
                0x10_0000,
                guest.present[2].1,
                SECOND + 64 + (low_end as usize - 0xc0) * 4096
            ),
        ]
    );
    let info = &opened.container;
    assert_eq!(info.format, "lime");
    assert_eq!(
        info.details,
        [("kind", "LiME 1".to_owned()), ("ranges", "3".to_owned())]
    );
    assert_eq!(info.warnings, ["the format carries no registers"]);
    assert_eq!(opened.cpus.len(), 0);
}

#[test]
fn avml_is_decoded_where_somebody_reads() {
    let guest = GuestSpec::windows10().above_4g().fill(40).build();
    let opened = open(guest.avml(&[])).unwrap();
    assert_memory(&opened, &guest);
    let info = &opened.container;
    assert_eq!(info.format, "avml");
    assert_eq!(info.details[0], ("kind", "AVML 2, Snappy".to_owned()));
    // Backwards, and across chunks.
    let mut words = [0; 24];
    for gpa in [0x11_fff8_u64, 0x10_fff4, 0x4_0000, 0x3_fff0, 0x7] {
        let mut wanted = [0; 24];
        opened.memory.read(Gpa::new(gpa), &mut words).unwrap();
        guest.frames.read(gpa, &mut wanted);
        assert_eq!(words, wanted, "{gpa:#x}");
    }
}

#[test]
fn avml_leaves_zeros_out() {
    let guest = GuestSpec::windows10().memory_mib(20).build();
    let cuts: Vec<u64> = (0xc_0000..0x140_0000).step_by(0x10000).collect();
    let opened = open(guest.avml(&cuts)).unwrap();
    assert!(opened.memory.frame_count() < guest.frame_count());
    assert!(
        opened.container.warnings.contains(
            &"AVML leaves out stretches that are zeros: they count as missing".to_owned()
        )
    );
    let mut seen = [0; 4096];
    for pfn in guest.present.iter().flat_map(|run| run.0..run.0 + run.1) {
        match opened.memory.read(Pfn::new(pfn).gpa(), &mut seen) {
            Ok(()) => assert!(guest.page(pfn) == Some(seen)),
            Err(_) => assert!(guest.page(pfn) == Some([0; 4096])),
        }
    }
}

#[test]
fn ranges_that_end_inside_a_frame_are_put_together() {
    // As Linux lists memory: the first range ends where the EBDA starts.
    let cuts = [0x9fc00, 0x12_3456, 0x12_3999];
    for file in [SMALL.lime(&cuts), SMALL.avml(&cuts)] {
        let opened = open(file).unwrap();
        assert_memory(&opened, &SMALL);
        // AVML may have left out one of the pieces.
        assert!(
            opened.container.format == "avml"
                || !opened
                    .container
                    .warnings
                    .iter()
                    .any(|line| line.contains("partly")),
            "{:?}",
            opened.container.warnings
        );
    }
    // Without the EBDA its frame is there in part, and that is said.
    let lime = SMALL.lime(&cuts);
    let without = [&lime[..32 + 0x9fc00], &lime[32 + 0x9fc00 + 32 + 0x400..]].concat();
    let opened = open(without).unwrap();
    assert_eq!(
        opened.container.warnings[1],
        "1 frames are only partly in the file; the rest of them is zeros"
    );
    let mut wanted = SMALL.page(0x9f).unwrap();
    wanted[0xc00..].fill(0);
    assert!(page(&opened, 0x9f) == wanted);
}

#[test]
fn ranges_may_stand_in_any_order_but_once() {
    for file in [SMALL.lime(&[0x20_0000]), SMALL.avml(&[0x20_0000])] {
        let magic = file[..4].to_vec();
        let starts: Vec<usize> = (0..file.len() - 3)
            .filter(|at| file[*at..*at + 4] == magic[..])
            .chain([file.len()])
            .collect();
        let parts: Vec<&[u8]> = starts
            .windows(2)
            .map(|pair| &file[pair[0]..pair[1]])
            .collect();
        let reversed: Vec<&[u8]> = parts.iter().rev().copied().collect();
        assert_memory(&open(reversed.concat()).unwrap(), &SMALL);
        let twice = [file.as_slice(), parts[0]].concat();
        assert_eq!(
            refusal(twice),
            "ranges of memory at physical address 0x0: expected every address once, found it twice"
        );
        // The last byte of the first range again.
        let mut touching = file.clone();
        let second = starts[1];
        let last = 0x9_ffff_u64.to_le_bytes();
        let shift = u64::from_le_bytes(file[second + 16..second + 24].try_into().unwrap());
        touching[second + 8..second + 16].copy_from_slice(&last);
        let end = shift - 0xc_0000 + 0x9_ffff;
        touching[second + 16..second + 24].copy_from_slice(&end.to_le_bytes());
        assert_eq!(
            refusal(touching),
            "ranges of memory at physical address 0x9ffff: expected every address once, found it twice"
        );
    }
}

#[test]
fn cut_at_every_border() {
    let lime = SMALL.lime(&[]);
    for (bytes, expected, missing, frames) in [
        (16, 0x20, "the header of a range", 0),
        (32, SECOND, "the rest of a range, and what followed it", 0),
        (
            32 + 0x1800,
            SECOND,
            "the rest of a range, and what followed it",
            2,
        ),
        (SECOND + 31, SECOND + 32, "the header of a range", 0xa0),
        (
            lime.len() - 1,
            lime.len(),
            "the rest of a range, and what followed it",
            0xa0 + 0x1340,
        ),
    ] {
        assert_eq!(
            refusal(lime[..bytes].to_vec()),
            format!(
                "the core is cut short: expected {expected:#x} bytes, found {bytes:#x}; missing: {missing}"
            )
        );
        let opened = salvage(lime[..bytes].to_vec()).unwrap();
        assert_eq!(opened.memory.frame_count(), frames);
        assert_eq!(
            opened.container.salvaged.unwrap(),
            format!("the file was cut short (missing: {missing}); what is there was taken")
        );
    }
    // Nothing says that a whole range is missing.
    assert_eq!(
        open(lime[..SECOND].to_vec()).unwrap().memory.frame_count(),
        0xa0
    );
    let avml = SMALL.avml(&[]);
    for bytes in [33, 0x2345, avml.len() - 1, avml.len() - 8, avml.len() - 9] {
        let line = refusal(avml[..bytes].to_vec());
        assert!(
            line.ends_with("missing: the rest of a compressed range, and what followed it"),
            "{bytes:#x}: {line}"
        );
        let opened = salvage(avml[..bytes].to_vec()).unwrap();
        for run in opened.memory.runs() {
            let pfn = run.frames.first.get();
            assert!(Some(page(&opened, pfn)) == SMALL.page(pfn));
        }
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let ones = [0xff; 8];
    for (file, version) in [(SMALL.lime(&[]), 1_u8), (SMALL.avml(&[]), 2)] {
        let name = if version == 1 { "EMiL" } else { "AVML" };
        for (at, bytes, wanted) in [
            (4, [9].as_slice(), format!("header of a range at file offset 0x0: expected EMiL version 1 or AVML version 2, found {name} version 9")),
            (8, &ones, "header of a range at file offset 0x0: expected a first and a last address, found 0xffffffffffffffff and 0x9ffff".to_owned()),
            (16, &[0; 8], String::new()),
        ] {
            let opened = open(patched(file.clone(), at, bytes));
            let line = opened.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(line == wanted || wanted.is_empty(), "{line}");
        }
        // All of memory.
        let line = refusal(patched(file.clone(), 16, &ones));
        assert_eq!(
            line,
            "header of a range at file offset 0x0: expected a first and a last address, found 0x0 and 0xffffffffffffffff"
        );
        let line = refusal(patched(file, 16, &(u64::MAX - 1).to_le_bytes()));
        assert!(
            line.contains("expected physical addresses below 0x10000000000000")
                || line.starts_with("the core is cut short"),
            "{line}"
        );
    }
    // Kinds that are mixed; a header that is none.
    let mixed = [SMALL.lime(&[]), SMALL.avml(&[])].concat();
    assert_eq!(
        refusal(mixed),
        "header of a range at file offset 0x0: expected ranges of one kind, found some of LiME and some of AVML"
    );
    assert_eq!(
        refusal(patched(SMALL.lime(&[]), SECOND, b"what")),
        format!(
            "header of a range at file offset {SECOND:#x}: expected EMiL version 1 or AVML version 2, found what version 1"
        )
    );
}

#[test]
fn streams_that_cannot_be_are_refused() {
    let avml = SMALL.avml(&[]);
    // The stream identifier is 10 bytes, the first chunk follows.
    let chunk = 32 + 10;
    assert_eq!(&avml[36 - 4..42][..4], b"\xff\x06\0\0");
    for (at, bytes, wanted) in [
        (
            chunk,
            [0x02].as_slice(),
            "chunk of a Snappy stream at file offset 0x2a: expected 1 to 65536 bytes of data, found type 0x2, ",
        ),
        (
            chunk + 8,
            &[0xff; 5],
            "chunk of a Snappy stream at file offset 0x2a: expected 1 to 65536 bytes of data, found type 0x0, ",
        ),
        (
            chunk + 8,
            &[0],
            "chunk of a Snappy stream at file offset 0x2a: expected 1 to 65536 bytes of data, found type 0x0, ",
        ),
        (
            16,
            &[0xff, 0x0f, 0, 0],
            "Snappy stream of a range at file offset 0x20: expected 0x1000 bytes, found 0x10000 or more",
        ),
    ] {
        let line = refusal(patched(avml.clone(), at, bytes));
        assert!(line.starts_with(wanted), "{line}");
    }
    let tail = avml.len() - 8;
    let line = refusal(patched(avml.clone(), tail, &[0xff; 8]));
    assert!(
        line.starts_with(&format!(
            "length behind a range at file offset {tail:#x}: expected "
        )) && line.ends_with("found 18446744073709551615"),
        "{line}"
    );
    // A chunk that cannot be decoded is one page's trouble, and its neighbours'.
    let opened = open(patched(avml, chunk + 8 + 3, &[0xff; 8])).unwrap();
    let read = opened.memory.read(Gpa::new(0x2000), &mut [0; 8]);
    let Err(MemoryError::Corrupt { gpa, what }) = read else {
        panic!("{read:?}");
    };
    assert_eq!(gpa, Gpa::new(0x2000));
    assert!(what.starts_with("file offset 0x2a: Snappy: "), "{what}");
    assert!(Some(page(&opened, 0x10)) == SMALL.page(0x10));
    // The checksum finds what would decode.
    let opened = open(patched(SMALL.avml(&[]), chunk + 4, &[1, 2, 3, 4])).unwrap();
    let line = opened.memory.read(Gpa::new(0), &mut [0; 8]).unwrap_err();
    assert!(line.to_string().contains("checksum"), "{line}");
}

#[test]
fn chunks_without_data_are_passed_over_and_bounded() {
    let avml = SMALL.avml(&[]);
    let insert = |count: usize| {
        // Padding chunks in front of the first: they count for the stream's length.
        let padding: Vec<u8> = [0xfe, 0, 0, 0].repeat(count);
        let mut file = [&avml[..42], &padding, &avml[42..]].concat();
        let second = (32..file.len() - 4)
            .find(|at| &file[*at..*at + 4] == b"AVML")
            .unwrap();
        let length = (second - 8 - 32) as u64;
        file[second - 8..second].copy_from_slice(&length.to_le_bytes());
        file
    };
    assert_memory(&open(insert(1000)).unwrap(), &SMALL);
    let line = refusal(insert(70_000));
    assert!(
        line.ends_with("expected data, found 65536 chunks without any"),
        "{line}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in the headers: a guest or one error, and no end of memory or time.
    #[test]
    fn rubbish_is_answered(
        changes in proptest::collection::vec((0_usize..0x80, any::<u8>()), 1..6),
        cut in 0_usize..0x40000,
        take in any::<bool>(),
        compressed in any::<bool>(),
    ) {
        static LIME: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.lime(&[0x2345]));
        static AVML: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.avml(&[0x2345]));
        let file = if compressed { AVML.clone() } else { LIME.clone() };
        answer(spoiled(file, &changes, cut), take, 0);
    }
}
