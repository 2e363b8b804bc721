//! kdump-compressed dumps that are damaged, or made to hurt: one clear error each.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::LazyLock;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::bad::{answer, refusal, salvage, spoiled};
use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;

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

/// Where the header's numbers stand in a file of a 64-bit writer, and the sub header.
const NUMBERS: usize = 424;
const SUB: usize = 0x1000;

/// The offset of a page's descriptor in [`SMALL`]'s file.
fn descriptor(page: usize) -> usize {
    SMALL.kdump().descriptors_at() as usize + page * 24
}

/// A frame whose page is compressed and not zero, and the page's number.
fn a_full_page() -> (u64, usize) {
    let file = SMALL.kdump().bytes();
    let mut pages = (0..0xa0_u64).chain(0xc0..0x1400).zip(0..);
    let packed = |(pfn, number): &(u64, usize)| {
        file[descriptor(*number) + 12] == 1 && SMALL.page(*pfn).unwrap() != [0; 4096]
    };
    pages.find(packed).unwrap()
}

#[test]
fn cut_at_every_border() {
    let file = SMALL.kdump().bytes();
    let cut = |bytes: usize| file[..bytes].to_vec();
    let descriptors = descriptor(0);
    assert_eq!(
        refusal(cut(0x100)),
        "kdump header at file offset 0x0: expected 464 bytes, the file ends after 256"
    );
    assert_eq!(
        refusal(cut(SUB)),
        "kdump sub header at file offset 0x1000: expected 104 bytes, the file ends after 0"
    );
    assert_eq!(
        refusal(cut(SUB + 104)),
        "notes at file offset 0x1068: expected 1632 bytes, the file ends after 0"
    );
    assert_eq!(
        refusal(cut(SUB + 0x1000)),
        "second bitmap at file offset 0x3000: expected 640 bytes, the file ends after 0"
    );
    assert_eq!(
        refusal(cut(descriptors)),
        format!(
            "the core is cut short: expected {:#x} bytes, found {descriptors:#x}; missing: the data of all pages and 5088 of 5088 descriptors",
            descriptors + FRAMES as usize * 24
        )
    );
    let data = descriptors + FRAMES as usize * 24;
    assert_eq!(
        refusal(cut(data - 1)),
        format!(
            "the core is cut short: expected {data:#x} bytes, found {:#x}; missing: the data of all pages and 1 of 5088 descriptors",
            data - 1
        )
    );
    for bytes in [data, data + 1, file.len() - 1] {
        assert_eq!(
            refusal(cut(bytes)),
            format!(
                "the core is cut short: expected {:#x} bytes, found {bytes:#x}; missing: the data of the last pages",
                file.len()
            )
        );
    }
    // What is there is there.
    let opened = salvage(cut(file.len() - 1)).unwrap();
    assert_eq!(
        opened.container.salvaged.as_deref(),
        Some(
            "the dump was cut short (missing: the data of the last pages); what is there was taken"
        )
    );
    let (pfn, _) = a_full_page();
    assert!(Some(page(&opened, pfn)) == SMALL.page(pfn));
    let opened = salvage(cut(data)).unwrap();
    let read = opened.memory.read(Pfn::new(pfn).gpa(), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Unreadable { .. })));
    let opened = salvage(cut(descriptors + 48)).unwrap();
    let read = opened.memory.read(Pfn::new(3).gpa(), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Unreadable { .. })));
}

#[test]
fn a_flattened_file_that_is_cut() {
    let file = SMALL.kdump().flattened(0x10000);
    for bytes in [0x1000, 0x1008, 0x1010, file.len() - 16, file.len() - 17] {
        let line = refusal(file[..bytes].to_vec());
        assert!(
            line.ends_with("missing: the end of the flattened file"),
            "{line}"
        );
    }
    // The end mark alone is missing.
    let opened = salvage(file[..file.len() - 16].to_vec()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(
        opened.container.salvaged.as_deref(),
        Some(
            "the dump was cut short (missing: the end of the flattened file); what is there was taken"
        )
    );
    for (offset, size) in [(0, 0), (1, u64::MAX), (u64::MAX - 1, 5)] {
        let mut record = u64::to_be_bytes(offset).to_vec();
        record.extend(size.to_be_bytes());
        assert_eq!(
            refusal(patched(file.clone(), 0x1000, &record)),
            format!(
                "a record of the flattened file at file offset 0x1000: expected a place and a number of bytes, found {size:#x} bytes for {offset:#x}"
            )
        );
    }
    // A record that claims all that follows: there is no dump inside.
    let mut record = [0; 16];
    record[8..].copy_from_slice(&(file.len() as u64 - 0x1020).to_be_bytes());
    let line = refusal(patched(file, 0x1000, &record));
    assert!(
        line.starts_with("kdump header at file offset 0x0: expected KDUMP, found"),
        "{line}"
    );
}

/// A page whose file is changed at `place` is one error, which begins so; the next page is as it was.
#[track_caller]
fn assert_lost(pfn: u64, place: usize, bytes: &[u8], wanted: &str) {
    let opened = open(patched(SMALL.kdump().bytes(), place, bytes)).unwrap();
    let mut page = [0; 4096];
    for part in [4096, 8] {
        let read = opened.memory.read(Gpa::new(pfn * 4096), &mut page[..part]);
        let line = read.unwrap_err().to_string();
        assert!(line.starts_with(wanted), "{line}\n{wanted}");
    }
    let next = Pfn::new(pfn + 1).gpa();
    opened.memory.read(next, &mut page).unwrap();
    assert!(Some(page) == SMALL.page(pfn + 1));
}

#[test]
fn one_bad_page_is_one_error() {
    let (pfn, number) = a_full_page();
    let good = SMALL.kdump().bytes();
    let at = descriptor(number);
    let offset = u64::from_le_bytes(good[at..at + 8].try_into().unwrap());
    let data = offset as usize;
    let corrupt = |place: usize, what: &str| {
        let gpa = pfn * 4096;
        format!(
            "physical address {gpa:#x} is corrupt in the container: file offset {place:#x}: {what}"
        )
    };
    let far = format!(
        "physical address {:#x}, file offset 0xffffffffffffffff: ",
        pfn * 4096
    );
    let own = (at as u64).to_le_bytes();
    let short = "zlib: the stream does not end with the page";
    let unknown = "compressed in an unknown way: flags 0x40";
    for (place, bytes, wanted) in [
        (data, [0xff; 4].as_slice(), corrupt(data, "zlib: ")),
        (at + 8, &[0; 4], corrupt(at, "a page of 0 bytes")),
        (
            at + 8,
            &[0xff; 4],
            corrupt(at, "a page of 4294967295 bytes"),
        ),
        (at + 8, &[20, 0], corrupt(data, short)),
        (at + 12, &[0], corrupt(data, "Plain data of ")),
        (at + 12, &[2], corrupt(data, "LZO: ")),
        (at + 12, &[4], corrupt(data, "Snappy: ")),
        (at + 12, &[0x20], corrupt(data, "Zstandard: ")),
        (at + 12, &[0x40], corrupt(at, unknown)),
        (at, &[0xff; 8], far),
        // Its own descriptor as its data.
        (at, &own, corrupt(at, "zlib: ")),
    ] {
        assert_lost(pfn, place, bytes, &wanted);
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let file = || SMALL.kdump().bytes();
    let ones = [0xff; 8];
    assert_eq!(
        refusal(patched(file(), NUMBERS + 4, &ones[..4])),
        "block size in the kdump header at file offset 0x1a8: expected 4096, and blocks of bitmaps, found 4294967295"
    );
    assert_eq!(
        refusal(patched(file(), SUB + 96, &ones)),
        "frames in a kdump: found 18446744073709551615, the limit is 68719476736"
    );
    assert_eq!(
        refusal(patched(file(), SUB + 96, &[0, 0, 0, 0, 1, 0, 0, 0])),
        "blocks of the bitmaps in the kdump header at file offset 0x0: expected 262144 for 0x100000000 frames, found 2"
    );
    assert_eq!(
        refusal(patched(file(), SUB + 56, &ones)),
        "bytes of notes: found 18446744073709551615, the limit is 16777216"
    );
    assert_eq!(
        refusal(patched(file(), SUB + 48, &ones)),
        "notes at file offset 0xffffffffffffffff: expected 1632 bytes, the file ends after 0"
    );
    let line = refusal(patched(file(), NUMBERS + 8, &ones[..4]));
    assert!(
        line.starts_with("second bitmap at file offset 0x"),
        "{line}"
    );
    let line = refusal(patched(file(), NUMBERS + 12, &ones[..4]));
    assert!(
        line.starts_with("second bitmap at file offset 0x"),
        "{line}"
    );
    // Bits behind the last frame do not count.
    let opened = open(patched(file(), 0x3000 + 0x280, &[0xff; 64])).unwrap();
    assert_eq!(opened.memory.frame_count(), FRAMES);
    assert_eq!(
        refusal(patched(file(), NUMBERS, &[1 | 8])),
        format!(
            "the core is cut short: expected 0x4000 bytes, found {:#x}; missing: what the writer had no space for",
            file().len()
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in the headers: a guest or one error, and no end of memory or time.
    #[test]
    fn rubbish_is_answered(
        changes in proptest::collection::vec((0_usize..0x4200, any::<u8>()), 1..8),
        cut in 0_usize..0x40000,
        take in any::<bool>(),
        flat in any::<bool>(),
    ) {
        static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.kdump().bytes());
        static FLAT: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.kdump().flattened(0x1000));
        let file = if flat { FLAT.clone() } else { PLAIN.clone() };
        answer(spoiled(file, &changes, cut), take, 0x10_0000);
    }
}
