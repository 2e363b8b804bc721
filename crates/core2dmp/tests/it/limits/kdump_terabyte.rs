//! A kdump of a terabyte takes no more memory than a small one: descriptors stay in the file.
//!
//! Its 6 GiB of descriptors and its pages are holes.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use core2dmp::address::Pfn;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;
use core2dmp::memory::{Backing, Frames, MemoryRun};
use core2dmp::source::FileSource;

use crate::support::peak::{alone, peak};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// A dump of so many frames whose second bitmap repeats a byte.
fn dump(frames: u64, bitmap: u8) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let out: &File = file.as_file();
    let blocks = frames.div_ceil(8).div_ceil(PAGE);
    let put = |at: u64, bytes: &[u8]| out.write_all_at(bytes, at).unwrap();
    put(0, b"KDUMP   \x06");
    for (at, value) in [(428, PAGE), (432, 1), (436, blocks * 2)] {
        put(at, &u32::try_from(value).unwrap().to_le_bytes());
    }
    put(PAGE + 96, &frames.to_le_bytes());
    let second = (2 + blocks) * PAGE;
    let piece = vec![bitmap; 1 << 20];
    for at in (0..blocks * PAGE).step_by(piece.len()) {
        let bytes = (blocks * PAGE - at).min(piece.len() as u64);
        put(second + at, &piece[..usize::try_from(bytes).unwrap()]);
    }
    let pages = frames / 8 * u64::from(bitmap.count_ones());
    out.set_len((2 + blocks * 2) * PAGE + pages * 24 + 100 * PAGE)
        .unwrap();
    file
}

fn timed_open(file: &tempfile::NamedTempFile) -> Result<Guest> {
    let source = Arc::new(FileSource::open(file.path()).unwrap());
    let start = Instant::now();
    let opened = container::open(source, OpenOptions::default());
    println!("opened in {:?}", start.elapsed());
    opened
}

/// One test, since the peak is the whole process'.
#[test]
fn memory_grows_with_the_runs_and_not_with_the_frames() {
    if !alone("limits::kdump_terabyte::memory_grows_with_the_runs_and_not_with_the_frames") {
        return;
    }
    let frames = 1 << 28;
    let file = dump(frames, 0xff);
    let before = peak();
    let opened = timed_open(&file).unwrap();
    let read = opened.memory.read(Pfn::new(frames - 1).gpa(), &mut [0; 8]);
    let used = peak() - before;
    println!("a terabyte in one run: {} KiB more", used / 1024);
    assert_eq!(
        opened.memory.runs(),
        [MemoryRun {
            frames: Frames::new(Pfn::new(0), frames),
            backing: Backing::Encoded { index: 0 }
        }]
    );
    let line = read.unwrap_err().to_string();
    assert!(line.ends_with("a page of 0 bytes"), "{line}");
    assert!(used < 16 * MIB, "{used} bytes");
    drop((opened, file));

    // As many runs as are accepted, and more.
    let file = dump(1 << 21, 0x55);
    let before = peak();
    let opened = timed_open(&file).unwrap();
    let used = peak() - before;
    assert_eq!(opened.memory.runs().len(), 1 << 20);
    assert!(used < 64 * MIB, "{used} bytes");
    drop((opened, file));
    assert_eq!(
        timed_open(&dump(1 << 22, 0x55)).unwrap_err().to_string(),
        "runs of frames in the container: found 1048576, the limit is 1048576"
    );
}
