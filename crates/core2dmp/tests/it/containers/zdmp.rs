//! DumpIt's compressed dumps: the same guest as from the dump itself, and files that are cut or damaged.

use std::sync::Arc;

use core2dmp::address::PAGE_BYTES;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::{Error, Result};
use core2dmp::memory::MemoryError;
use core2dmp::{dump, windows, write};
use core2dmp_synth::dump::{self as dumps, Ranges};
use core2dmp_synth::{GuestSpec, zdmp};

const BLOCK: usize = 0x1_8000;

fn open(file: Vec<u8>) -> Result<Guest> {
    container::open(Arc::new(file), OpenOptions::default())
}

fn salvaged(file: Vec<u8>) -> Result<Guest> {
    let options = OpenOptions::default().salvage(true);
    container::open(Arc::new(file), options)
}

/// Where the blocks of a file stand.
fn blocks(file: &[u8]) -> Vec<usize> {
    let mut blocks = Vec::new();
    let mut at = 0x1000;
    while at < file.len() {
        blocks.push(at);
        let size = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap());
        at += 12 + size as usize;
    }
    blocks
}

#[track_caller]
fn assert_same_memory(a: &Guest, b: &Guest) {
    let frames = |guest: &Guest| -> Vec<_> {
        let runs = guest.memory.runs().iter();
        runs.flat_map(|run| run.frames.first.get()..run.frames.end().get())
            .collect()
    };
    assert_eq!(frames(a), frames(b));
    let (mut one, mut other) = ([0; PAGE_BYTES], [0; PAGE_BYTES]);
    for run in a.memory.runs() {
        for pfn in run.frames.first.get()..run.frames.end().get() {
            let gpa = core2dmp::address::Pfn::new(pfn).gpa();
            a.memory.read(gpa, &mut one).unwrap();
            b.memory.read(gpa, &mut other).unwrap();
            assert!(one == other, "frame {pfn:#x}");
        }
    }
}

#[test]
fn every_type_of_dump_is_the_same_inside() {
    for guest in [
        GuestSpec::windows10().processors(2).fill(60).build(),
        GuestSpec::windows2003_x86().fill(60).build(),
    ] {
        for inside in [
            dumps::full(&guest),
            dumps::bitmap(&guest, true),
            dumps::summary(&guest),
            dumps::rdmp(&guest, Ranges::Kernel),
        ] {
            let outside = open(inside.bytes.clone()).unwrap();
            for size in [BLOCK, 0x12345] {
                let opened = open(zdmp(&inside.bytes, size)).unwrap();
                assert_eq!(opened.container.format, "zdmp");
                assert_eq!(
                    opened.hints.headers[0].bytes,
                    outside.hints.headers[0].bytes
                );
                assert_same_memory(&outside, &opened);
            }
        }
    }
}

#[test]
fn it_converts_to_the_dump_that_the_dump_itself_converts_to() {
    let guest = GuestSpec::windows7().processors(2).fill(60);
    let guest = guest.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let inside = dumps::full(&guest);
    let convert = |file: Vec<u8>| {
        let opened = open(file).unwrap();
        let found = windows::identify(&opened).unwrap();
        let plan = dump::plan(&opened, &found, &dump::PlanOptions::default()).unwrap();
        let mut out = Vec::new();
        write::to_stream(&plan.image, &opened.memory, &mut out, &write::Silent).unwrap();
        // The comment names the container.
        out[0xfb0..0x1030].fill(0);
        out
    };
    let wanted = convert(inside.bytes.clone());
    assert!(convert(zdmp(&inside.bytes, BLOCK)) == wanted);
}

#[test]
fn cut_at_every_border() {
    let guest = GuestSpec::windows7().fill(90).build();
    let file = zdmp(&dumps::full(&guest).bytes, BLOCK);
    for cut in [4, 23, 24, 0xfff, 0x1000, 0x1001] {
        assert!(open(file[..cut].to_vec()).is_err(), "{cut:#x}");
    }
    for block in blocks(&file).into_iter().skip(1).step_by(20) {
        for cut in [block, block + 4, block + 12, block + 13] {
            let error = open(file[..cut].to_vec()).unwrap_err();
            assert!(matches!(error, Error::CutShort { .. }), "{cut:#x}: {error}");
            let opened = salvaged(file[..cut].to_vec()).unwrap();
            assert!(opened.memory.frame_count() < guest.frame_count());
            let text = opened.container.salvaged.unwrap();
            assert!(text.contains("bytes of the dump"), "{text}");
        }
    }
}

#[test]
fn a_damaged_block_loses_its_pages_alone() {
    let guest = GuestSpec::windows7().fill(60).build();
    let inside = dumps::full(&guest);
    let mut file = zdmp(&inside.bytes, BLOCK);
    let block = blocks(&file)[40];
    file[block + 12] ^= 1;
    let opened = open(file).unwrap();
    let mut page = [0; PAGE_BYTES];
    let mut lost = 0;
    for run in opened.memory.runs() {
        for pfn in run.frames.first.get()..run.frames.end().get() {
            let gpa = core2dmp::address::Pfn::new(pfn).gpa();
            match opened.memory.read(gpa, &mut page) {
                Ok(()) => assert_eq!(inside.page(pfn), Some(page.as_slice())),
                Err(error) => {
                    assert!(matches!(error, MemoryError::Corrupt { .. }), "{error}");
                    let text = error.to_string();
                    assert!(
                        text.contains(&format!("file offset {:#x}: CRC 0x", block + 12)),
                        "{text}"
                    );
                    lost += 1;
                }
            }
        }
    }
    assert_eq!(lost, BLOCK / PAGE_BYTES);
}

#[test]
fn what_cannot_be_is_told() {
    let guest = GuestSpec::windows7().fill(90).build();
    let file = zdmp(&dumps::full(&guest).bytes, BLOCK);
    let second = blocks(&file)[1];
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        open(changed).unwrap_err().to_string()
    };
    assert!(changed(4, &[0xff; 4]).contains("expected version 0x100, found 0xffffffff"));
    assert!(changed(20, &[2]).contains("found data of type 2, compression 2"));
    assert!(changed(22, &[4]).contains("compression 4"));
    for size in [[0; 4], [0xff; 4]] {
        assert!(changed(16, &size).contains("expected blocks of 1 byte to 16 MiB"));
    }
    assert!(changed(second, b"X").contains("expected \"ZBLK\", found \"XBLK\""));
    for size in [[0; 4], [0xff; 4]] {
        assert!(changed(second + 4, &size).contains("bytes of data"));
    }
    let error = changed(8, &[0xff; 8]);
    assert!(error.contains("cut short"), "{error}");
    // The dump's own header cannot be decoded.
    let error = changed(0x100c, &[0xff; 8]);
    assert!(
        error.contains("cannot read the dump's header") && error.contains("CRC"),
        "{error}"
    );
    // No dump inside.
    let error = open(zdmp(&vec![7; 3 * BLOCK], BLOCK))
        .unwrap_err()
        .to_string();
    assert!(error.contains("PAGEDU64 or PAGEDUMP"), "{error}");
}
