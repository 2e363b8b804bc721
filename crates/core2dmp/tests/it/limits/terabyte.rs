//! A large guest takes no more memory than a small one: the file's page table becomes runs while it is read.
//!
//! The core has 64 GiB, so 128 MiB of table: a terabyte's 2 GiB differ in time alone. Its pages are a hole.

#![cfg(target_os = "linux")]
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Instant;

use core2dmp::address::Pfn;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;
use core2dmp::memory::{Backing, Frames, MemoryRun, RunBuilder};
use core2dmp::source::FileSource;

use crate::support::hand::{Hand, notes};
use crate::support::peak::{alone, peak};

const FRAMES: u64 = 64 << 18;
const MIB: u64 = 1 << 20;

/// A core of so many pages; page i is frame `frame(i)`. The table is written in pieces.
fn core(pages: u64, frame: impl Fn(u64) -> u64) -> (tempfile::NamedTempFile, Hand) {
    let mut hand = Hand::sparse(pages);
    hand.part(".note.Xen").data = notes(1, pages, 4096);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let out: &mut File = file.as_file_mut();
    hand.write(out);
    out.seek(SeekFrom::Start(hand.offset(".xen_pfn"))).unwrap();
    let mut block = Vec::new();
    for index in 0..pages {
        block.extend_from_slice(&frame(index).to_le_bytes());
        if block.len() == 1 << 20 || index + 1 == pages {
            out.write_all(&block).unwrap();
            block.clear();
        }
    }
    (file, hand)
}

fn timed_open(file: &tempfile::NamedTempFile) -> Result<Guest> {
    let source = Arc::new(FileSource::open(file.path()).unwrap());
    let start = Instant::now();
    let opened = container::open(source, OpenOptions::default());
    println!("opened in {:?}", start.elapsed());
    opened
}

/// As the tool stack numbers them: without VGA, without MMIO below 4 GiB.
fn real_frame(index: u64) -> u64 {
    match index {
        0..0xa0 => index,
        0xa0..0xe_ffe0 => index + 0x20,
        _ => index + 0x20 + 0x1_0000,
    }
}

/// One test, since the peak is the whole process'.
#[test]
fn memory_grows_with_the_runs_and_not_with_the_frames() {
    if !alone("limits::terabyte::memory_grows_with_the_runs_and_not_with_the_frames") {
        return;
    }
    let (file, hand) = core(FRAMES, real_frame);
    let before = peak();
    let opened = timed_open(&file).unwrap();
    let used = peak() - before;
    println!("64 GiB in 3 runs: {} KiB more", used / 1024);
    let pages = hand.offset(".xen_pages");
    let run = |first, count, index: u64| MemoryRun {
        frames: Frames::new(Pfn::new(first), count),
        backing: Backing::File {
            offset: pages + index * 0x1000,
        },
    };
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, 0xa0, 0),
            run(0xc0, 0xe_ff40, 0xa0),
            run(0x10_0000, FRAMES - 0xe_ffe0, 0xe_ffe0),
        ]
    );
    assert!(used < 64 * MIB, "{used} bytes");
    drop((opened, file));

    // As many runs as are accepted: no two frames are neighbours.
    let most = RunBuilder::MAX_RUNS as u64;
    let (file, _) = core(most, |index| index * 2);
    let before = peak();
    let opened = timed_open(&file).unwrap();
    let used = peak() - before;
    println!("{most} runs: {} KiB more", used / 1024);
    assert_eq!(opened.memory.runs().len() as u64, most);
    assert!(used < 64 * MIB, "{used} bytes");
    drop((opened, file));

    let (file, _) = core(most + 1, |index| index * 2);
    let error = timed_open(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "runs of frames in the container: found 1048576, the limit is 1048576"
    );
}
