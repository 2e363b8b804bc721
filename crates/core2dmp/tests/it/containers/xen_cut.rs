//! Cores that were cut short: at every border of the file's structures, and anywhere.
//!
//! ```text
//! headers | notes | vCPUs | shared info | pages ............ | table ... | names
//!  unknown  format    CutShort; with --salvage the map is the true one from here on
//! ```

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::io::{self, Cursor, Write};
use std::sync::{Arc, LazyLock};

use core2dmp::address::Pfn;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::{Error, Result};
use core2dmp::memory::{Backing, Frames, MemoryRun};
use core2dmp::source::{FileSource, ReadAt};
use core2dmp_synth::GuestSpec;
use proptest::prelude::*;

use crate::support::hand::{Hand, notes};

/// Frames: 0 to 0x9f, 0xc0 to 0x13ff, and 16 of an option ROM.
const PAGES: u64 = 0xa0 + 0x1340 + 0x10;
const PAGES_AT: u64 = 0x3000;
const TABLE_AT: u64 = PAGES_AT + PAGES * 0x1000;
const NAMES_AT: u64 = TABLE_AT + PAGES * 8;
const END: u64 = NAMES_AT + 0x48;

static CORE: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| {
    let guest = GuestSpec::windows10().memory_mib(20).fill(50).build();
    let mut file = Cursor::new(Vec::new());
    guest.xen_core().padding(0).write_to(&mut file).unwrap();
    assert_eq!(file.get_ref().len() as u64, END);
    Arc::new(file.into_inner())
});

/// The beginning of a file.
#[derive(Debug)]
struct Cut {
    whole: Arc<Vec<u8>>,
    size: u64,
}

impl ReadAt for Cut {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset).min(buf.len() as u64);
        self.whole.read_at(offset, &mut buf[..left as usize])
    }
}

fn open_cut(size: u64, salvage: bool) -> Result<Guest> {
    let whole = Arc::clone(&CORE);
    container::open(
        Arc::new(Cut { whole, size }),
        OpenOptions::default().salvage(salvage),
    )
}

/// What a cut at `size` takes away.
fn missing(size: u64) -> String {
    let pages = size.saturating_sub(PAGES_AT).min(PAGES * 0x1000) / 0x1000;
    let entries = size.saturating_sub(TABLE_AT).min(PAGES * 8) / 8;
    let mut missing = Vec::new();
    if pages < PAGES {
        missing.push(format!("{} of {PAGES} pages", PAGES - pages));
    }
    if entries == 0 {
        missing.push("the map from pages to frames (.xen_pfn)".to_owned());
    } else if entries < PAGES {
        missing.push(format!(
            "{} of {PAGES} entries of .xen_pfn",
            PAGES - entries
        ));
    }
    missing.push("the section names (.shstrtab)".to_owned());
    missing.join("; ")
}

/// The runs of the first `pages` pages of the true map.
fn true_map(pages: u64) -> Vec<MemoryRun> {
    [(0, 0xa0, 0), (0xc0, 0x1350, 0xa0)]
        .into_iter()
        .filter(|(_, _, index)| pages > *index)
        .map(|(first, count, index)| MemoryRun {
            frames: Frames::new(Pfn::new(first), (pages - index).min(count)),
            backing: Backing::File {
                offset: PAGES_AT + index * 0x1000,
            },
        })
        .collect()
}

/// Opens the core cut at `size`, both ways, and checks everything that is promised.
fn check(size: u64) {
    let headers = 0x40 + 7 * 0x40;
    let plain = open_cut(size, false);
    let salvaged = open_cut(size, true);
    if size >= END {
        let opened = plain.unwrap();
        assert_eq!(opened.memory.runs(), true_map(PAGES));
        assert_eq!(salvaged.unwrap().container.salvaged, None);
        return;
    }
    if size < headers + 0x568 {
        for refused in [plain, salvaged] {
            let error = refused.unwrap_err();
            // Before the first note's name nothing says that it is Xen's.
            let unknown = matches!(error, Error::UnknownContainer { .. });
            assert_eq!(unknown, size < headers + 16, "{size:#x}: {error}");
            if !unknown {
                let found = size - headers;
                let line = format!(
                    ".note.Xen at file offset 0x200: expected 1384 bytes, the file ends after {found}"
                );
                assert_eq!(error.to_string(), line);
            }
        }
        return;
    }
    let line = |missing: &str| {
        format!(
            "the core is cut short: expected {END:#x} bytes, found {size:#x}; missing: {missing}"
        )
    };
    assert_eq!(plain.unwrap_err().to_string(), line(&missing(size)));
    let pages = size.saturating_sub(PAGES_AT).min(PAGES * 0x1000) / 0x1000;
    if pages == 0 {
        assert_eq!(salvaged.unwrap_err().to_string(), line("all pages"));
        return;
    }
    let opened = salvaged.unwrap();
    assert_eq!(opened.memory.runs(), true_map(pages), "{size:#x}");
    assert_eq!(opened.cpus.len(), 1);
    let entries = size.saturating_sub(TABLE_AT).min(PAGES * 8) / 8;
    let guessed = pages - entries;
    assert_eq!(
        opened.container.salvaged.unwrap(),
        format!(
            "the core was cut short (missing: {}); the frames of {guessed} pages were numbered by rule",
            missing(size)
        )
    );
}

#[test]
fn every_border_of_every_structure() {
    let sections = (0..8).map(|i| 0x40 + i * 0x40);
    let notes = [0x200, 0x210, 0x240, 0x750, 0x768];
    let vcpus = [0x768 + 5168, 0x768 + 5168 + 4096];
    let pages = [0, 1, 2, 0x9f, 0xa0, 0xa1, PAGES - 1, PAGES].map(|i| PAGES_AT + i * 0x1000);
    let entries = [0, 1, 2, 0x9f, 0xa0, 0xa1, PAGES - 1, PAGES].map(|i| TABLE_AT + i * 8);
    let borders = sections
        .chain(notes)
        .chain(vcpus)
        .chain(pages)
        .chain(entries)
        .chain([0x10, NAMES_AT + 1, END]);
    check(0);
    for border in borders {
        for size in [border - 1, border, border + 1] {
            check(size.min(END));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut(size in 0..=END) {
        check(size);
    }

    #[test]
    fn any_cut_before_the_pages(size in 0..PAGES_AT + 0x2000) {
        check(size);
    }

    #[test]
    fn any_cut_behind_the_pages(size in TABLE_AT - 0x2000..=END) {
        check(size);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Headers, notes, a vCPU's entry and the table of a hostile writer: refused or opened, and what is opened
    /// can be read.
    #[test]
    fn changed_numbers_are_no_reason_to_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), number()), 1..6),
        salvage: bool,
    ) {
        let hand = Hand::new(&[0, 1, 0x9f, 0xc0, 0xc1]);
        let mut file = hand.bytes();
        let (notes_end, table) = (hand.offset(".xen_prstatus"), hand.offset(".xen_pfn"));
        let words: Vec<u64> = (0..notes_end - 8).chain(table..table + 40).collect();
        for (index, value) in changes {
            let at = words[index.index(words.len())] as usize;
            let end = file.len().min(at + 8);
            file[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        if let Ok(opened) = container::open(Arc::new(file), OpenOptions::default().salvage(salvage)) {
            for run in opened.memory.runs() {
                let _ = opened.memory.read(run.frames.first.gpa(), &mut [0; 0x2000]);
            }
        }
    }
}

/// Numbers that files break on: small, near a power of two, near the end, anything.
fn number() -> impl Strategy<Value = u64> {
    let near = (0_u32..64, 0_u64..3).prop_map(|(bit, more)| (1_u64 << bit).wrapping_add(more) - 1);
    prop_oneof![
        0_u64..0x100,
        near,
        (0_u64..0x2000).prop_map(|n| u64::MAX - n),
        any::<u64>()
    ]
}

/// A sparse core of a guest with 4 GiB and 1 MiB, as a file; where its table stands.
fn large_core() -> (tempfile::NamedTempFile, Hand, Vec<u64>) {
    let frames = (0..0xa0).chain(0xc0..0xf_0000).chain(0x10_0000..0x10_0100);
    let frames: Vec<u64> = frames.collect();
    let mut hand = Hand::sparse(frames.len() as u64);
    hand.part(".xen_pfn").data = frames.iter().flat_map(|pfn| pfn.to_le_bytes()).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    hand.write(file.as_file_mut());
    file.flush().unwrap();
    (file, hand, frames)
}

#[test]
fn the_rule_skips_vga_and_mmio_wherever_the_table_ends() {
    let (file, hand, frames) = large_core();
    let (pages, table) = (hand.offset(".xen_pages"), hand.offset(".xen_pfn"));
    let open = || {
        let source = Arc::new(FileSource::open(file.path()).unwrap());
        container::open(source, OpenOptions::default().salvage(true)).unwrap()
    };
    let whole = open().memory.runs().to_vec();
    assert_eq!(whole.len(), 3);
    assert_eq!(whole[2].frames, Frames::new(Pfn::new(0x10_0000), 0x100));
    // Backwards, since a file that was cut does not grow again. The borders are where the frames jump.
    let jump = frames.iter().position(|pfn| *pfn == 0x10_0000).unwrap() as u64;
    for entries in [jump + 1, jump, jump - 1, 0xa1, 0xa0, 0x9f, 1, 0] {
        file.as_file().set_len(table + entries * 8 + 3).unwrap();
        assert_eq!(open().memory.runs(), whole, "{entries} entries");
    }
    file.as_file().set_len(pages + jump * 0x1000).unwrap();
    assert_eq!(open().memory.runs(), whole.get(..2).unwrap());
}

#[test]
fn the_rule_needs_counts_that_agree() {
    let mut hand = Hand::new(&[0, 1, 2]);
    hand.part(".note.Xen").data = notes(1, 9, 4096);
    let mut file = hand.bytes();
    file.truncate(hand.offset(".xen_pfn") as usize);
    let opened = container::open(Arc::new(file), OpenOptions::default().salvage(true));
    assert_eq!(
        opened.unwrap_err().to_string(),
        format!(
            "number of pages at file offset {:#x}: expected 9, as .note.Xen says, found 3 pages and 3 entries of .xen_pfn",
            hand.offset(".xen_pfn")
        )
    );
}
