//! Hibernation files that are cut, damaged or made by somebody who wants to break a reader.

use std::sync::Arc;

use core2dmp::address::{Gpa, PAGE_BYTES};
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::{Error, Result};
use core2dmp::memory::MemoryError;
use core2dmp_synth::{self as synth, GuestSpec, HiberFile, HiberVersion};

fn open(file: Vec<u8>) -> Result<Guest> {
    container::open(Arc::new(file), OpenOptions::default())
}

fn guest() -> synth::Guest {
    GuestSpec::windows7().fill(50).build()
}

fn salvaged(file: Vec<u8>) -> Result<Guest> {
    let options = OpenOptions::default().salvage(true);
    container::open(Arc::new(file), options)
}

/// Every page that can be read is the guest's; how many cannot.
fn unreadable(opened: &Guest, guest: &synth::Guest) -> Vec<MemoryError> {
    let mut page = [0; PAGE_BYTES];
    let mut errors = Vec::new();
    for run in opened.memory.runs() {
        let first = run.frames.first.get();
        for pfn in first..first + run.frames.count {
            match opened.memory.read(Gpa::new(pfn << 12), &mut page) {
                Ok(()) => assert!(Some(page) == guest.page(pfn), "frame {pfn:#x}"),
                Err(error) => errors.push(error),
            }
        }
    }
    errors
}

fn old() -> (synth::Guest, HiberFile) {
    let guest = guest();
    let file = guest.hiberfil(HiberVersion::Seven64).build();
    (guest, file)
}

fn new() -> (synth::Guest, HiberFile) {
    let guest = guest();
    let file = guest.hiberfil(HiberVersion::Ten64).build();
    (guest, file)
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn cut_at_every_border() {
    for (guest, file) in [old(), new()] {
        let mut borders = vec![
            1, 4, 0xc, 0x10, 0x60, 0x1000, 0x1001, 0x2000, 0x6000, 0x6010, 0x7000,
        ];
        for place in file.tables.iter().chain(file.blocks.iter().step_by(301)) {
            borders
                .extend([0, 1, 4, 8, 0x20, 0x24, 0x100, 0x1000, 0x1020].map(|more| place + more));
        }
        borders.extend(file.blocks.last());
        for cut in borders.into_iter().filter(|cut| *cut < file.bytes.len()) {
            let bytes = file.bytes[..cut].to_vec();
            // All runs there and only the zeros behind them gone: nothing is missing.
            let is_whole = file.blocks.last().is_some_and(|last| *last < cut);
            let error = match open(bytes.clone()) {
                Err(error) => error,
                Ok(_) if is_whole => continue,
                Ok(_) => panic!("cut at {cut:#x} is taken for whole"),
            };
            assert!(!error.to_string().contains('\n'));
            // What stands before the cut can be had.
            if cut > file.blocks[0] + 0x10000 && !is_whole {
                assert!(matches!(error, Error::CutShort { .. }), "{cut:#x}: {error}");
                let opened = salvaged(bytes).unwrap();
                assert!(opened.memory.frame_count() > 0);
                assert!(opened.memory.frame_count() < guest.frame_count());
                assert_eq!(unreadable(&opened, &guest).len(), 0);
                let salvaged = opened.container.salvaged.unwrap();
                assert!(salvaged.contains("missing: "), "{salvaged}");
            }
        }
    }
}

#[test]
fn the_message_of_a_cut_says_what_is_missing() {
    let (_, file) = old();
    let cut = file.blocks[100] + 0x30;
    let error = open(file.bytes[..cut].to_vec()).unwrap_err().to_string();
    assert!(
        error.starts_with("the core is cut short: expected 0x"),
        "{error}"
    );
    assert!(
        error.contains("pages of a table, and all behind them"),
        "{error}"
    );
    let (_, file) = new();
    let cut = file.blocks[100] + 0x30;
    let error = open(file.bytes[..cut].to_vec()).unwrap_err().to_string();
    assert!(error.contains("pages of the "), "{error}");
}

#[test]
fn a_damaged_block_loses_its_pages_alone() {
    for (guest, mut file) in [old(), new()] {
        // A block that is compressed: all matches, and the first reaches before the beginning.
        let packed = |pair: &&[usize]| pair[1] - pair[0] < 0x8000;
        let block = file.blocks.windows(2).skip(20).find(packed).unwrap()[0];
        let is_old = file.bytes[block..].starts_with(b"\x81\x81xpress");
        let data = if is_old {
            block + 0x20
        } else {
            block + 4 + 8 * usize::from(file.bytes[block])
        };
        put(&mut file.bytes, data, &[0xff; 8]);
        let opened = open(file.bytes).unwrap();
        let errors = unreadable(&opened, &guest);
        assert_eq!(errors.len(), 16);
        for error in errors {
            assert!(matches!(error, MemoryError::Corrupt { .. }));
            let text = error.to_string();
            assert!(
                text.contains(&format!(
                    "file offset {data:#x}: Xpress: a match before the beginning"
                )),
                "{text}"
            );
        }
    }
}

#[test]
fn a_block_that_is_too_short_is_told() {
    let (guest, mut file) = old();
    let packed = |pair: &&[usize]| pair[1] - pair[0] < 0x8000;
    let pair = file.blocks.windows(2).skip(20).find(packed).unwrap();
    // Everything is a literal zero, so that the data ends before the pages do.
    file.bytes[pair[0] + 0x20..pair[1]].fill(0);
    let opened = open(file.bytes).unwrap();
    let errors = unreadable(&opened, &guest);
    assert_eq!(errors.len(), 16);
    let text = errors[0].to_string();
    assert!(text.contains("bytes instead of 0x10000"), "{text}");
}

#[test]
fn tables_that_cannot_be() {
    let (_, file) = old();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.bytes.clone();
        put(&mut changed, at, bytes);
        open(changed).unwrap_err().to_string()
    };
    let [first, second] = [file.tables[0], file.tables[1]];
    // The first table is no table any more.
    let error = changed(first + 8, &[0xff; 4]);
    assert!(
        error.contains("header of the hibernation file at file offset 0xc"),
        "{error}"
    );
    // One that is.
    let error = changed(second + 8, &[0xff; 4]);
    assert!(
        error.contains("expected at most 255 ranges, found 4294967295"),
        "{error}"
    );
    let error = changed(second + 0x18, &[0xff; 8]);
    assert!(error.contains("range of frames in a table"), "{error}");
    let error = changed(second + 0x10, &[0xff; 8]);
    assert!(
        error.contains("a first frame and an end behind it"),
        "{error}"
    );
    // Itself, before itself, inside its own blocks, and all ones.
    for next in [second / 0x1000, first / 0x1000, second / 0x1000 + 1] {
        let error = changed(second, &(next as u64).to_le_bytes());
        assert!(
            error.contains("a page behind its blocks"),
            "{next:#x}: {error}"
        );
    }
    let error = changed(second, &[0xff; 8]);
    assert!(error.contains("cut short"), "{error}");
    // A frame twice: the second table's first is the first table's.
    let same = file.bytes[first + 0x10..first + 0x20].to_vec();
    let old = &file.bytes[second + 0x10..second + 0x20];
    let count = |range: &[u8]| {
        let number = |at: usize| u64::from_le_bytes(range[at..at + 8].try_into().unwrap());
        number(8) - number(0)
    };
    let mut twice = same[..8].to_vec();
    let start = u64::from_le_bytes(same[..8].try_into().unwrap());
    twice.extend((start + count(old)).to_le_bytes());
    let error = changed(second + 0x10, &twice);
    assert!(
        error.contains("expected every frame once, found it twice"),
        "{error}"
    );
}

#[test]
fn blocks_that_cannot_be() {
    let (_, file) = old();
    let block = *file
        .blocks
        .iter()
        .rfind(|block| **block > file.tables[1])
        .unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.bytes.clone();
        put(&mut changed, at, bytes);
        open(changed).unwrap_err().to_string()
    };
    let error = changed(block, b"XX");
    assert!(
        error.contains("expected \\x81\\x81xpress") || error.contains("cut short"),
        "{error}"
    );
    let error = changed(block + 8, &[0xff; 4]);
    assert!(error.contains("expected 1 to 16 pages"), "{error}");
    // More pages than the table has left.
    let last = file.bytes[block + 8];
    if last < 15 {
        let error = changed(block + 8, &[last + 1]);
        assert!(error.contains("as its table has left"), "{error}");
    }
}

#[test]
fn runs_that_cannot_be() {
    let (_, file) = new();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.bytes.clone();
        put(&mut changed, at, bytes);
        open(changed)
    };
    let run = file.blocks[30];
    let error = changed(run, &[0xff]).unwrap_err().to_string();
    assert!(error.contains("255 descriptors"), "{error}");
    let error = changed(run + 1, &[0xff; 3]).unwrap_err().to_string();
    assert!(error.contains("expected 1 to 16 pages"), "{error}");
    let error = changed(run + 4, &[0xff; 8]).unwrap_err().to_string();
    assert!(error.contains("frame 0xfffffffffffffff"), "{error}");
    // Zeros in the middle: the set ends there, and that is told.
    let opened = changed(run, &[0; 4]).unwrap();
    let warnings = opened.container.warnings.join("; ");
    assert!(
        warnings.contains(&format!("the loader set ends at {run:#x}")),
        "{warnings}"
    );
    // A frame twice.
    let (a, b) = (file.blocks[30] + 4, file.blocks[31] + 4);
    let pages = |at: usize| file.bytes[at] & 0xf;
    let mut same = file.bytes[a..a + 8].to_vec();
    same[0] = same[0] & 0xf0 | pages(b);
    let error = changed(b, &same).unwrap_err().to_string();
    assert!(
        error.contains("expected every frame once, found it twice"),
        "{error}"
    );
}

#[test]
fn sets_that_cannot_be() {
    let (_, file) = new();
    for at in [0x68, 0x70] {
        for (page, part) in [
            (u64::MAX, "a page that no file can have"),
            (file.bytes.len() as u64 / 0x1000, "cut short"),
            (1 << 40, "cut short"),
        ] {
            let mut changed = file.bytes.clone();
            put(&mut changed, at, &page.to_le_bytes());
            let error = open(changed).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
    // Both sets are one: every frame is there twice.
    let mut changed = file.bytes.clone();
    put(&mut changed, 0x70, &7_u64.to_le_bytes());
    let error = open(changed).unwrap_err().to_string();
    assert!(error.contains("it twice"), "{error}");
    // More pages than there are: the set ends where runs do.
    let mut changed = file.bytes;
    put(&mut changed, 0x230, &[0xff; 8]);
    let opened = open(changed).unwrap();
    let warnings = opened.container.warnings.join("; ");
    assert!(
        warnings.contains("of 18446744073709551615 pages"),
        "{warnings}"
    );
}

/// Every byte of the headers set to all ones: an answer, whichever, and nothing else.
#[test]
fn any_byte_of_a_header_may_be_wrong() {
    let small = GuestSpec::windows7().fill(90).build();
    for version in [HiberVersion::Seven64, HiberVersion::Ten64] {
        let file = small.hiberfil(version).build();
        let mut places: Vec<usize> = (0..0x140).step_by(3).collect();
        places.extend((0..0x40).map(|more| file.tables[0] + more));
        places.extend((0..0x40).map(|more| file.blocks[1] + more));
        for at in places {
            let mut changed = file.bytes.clone();
            changed[at] ^= 0xff;
            if let Ok(opened) = open(changed) {
                let mut page = [0; PAGE_BYTES];
                for run in opened.memory.runs().iter().take(20) {
                    let _ = opened.memory.read(run.frames.first.gpa(), &mut page);
                }
            }
        }
    }
}
