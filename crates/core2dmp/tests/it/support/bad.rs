//! Files that are not as they should be.

use std::sync::Arc;

use core2dmp::address::Gpa;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;

use super::open::open;

/// Opens a file's bytes, taking what there is of one that was cut short.
pub(crate) fn salvage(file: Vec<u8>) -> Result<Guest> {
    let options = OpenOptions::default().salvage(true);
    container::open(Arc::new(file), options)
}

/// The error's line, for a file that must not open.
#[track_caller]
pub(crate) fn refusal(file: Vec<u8>) -> String {
    let opened = container::open(Arc::new(file), OpenOptions::default());
    opened.unwrap_err().to_string()
}

/// A file with bytes changed at these offsets, and cut off where `cut` says so.
pub(crate) fn spoiled(mut file: Vec<u8>, changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for &(at, byte) in changes {
        file[at] = byte;
    }
    if cut < 0x20000 {
        file.truncate(cut);
    }
    file
}

/// Opens what may be rubbish, and reads a page's border and 16 pages of it: whatever comes of that is an answer.
pub(crate) fn answer(file: Vec<u8>, take: bool, gpa: u64) {
    let opened = if take { salvage(file) } else { open(file) };
    if let Ok(guest) = opened {
        let _ = guest.memory.read(Gpa::new(0x1ff0), &mut [0; 64]);
        let _ = guest.memory.read(Gpa::new(gpa), &mut [0; 0x10000]);
    }
}
