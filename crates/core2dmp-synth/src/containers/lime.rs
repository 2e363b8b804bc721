//! The guest's memory as LiME and as AVML write it.
//!
//! ```text
//! LiME  "EMiL" 1 first last 0 | bytes                      for each range
//! AVML  "AVML" 2 first last 0 | Snappy frames | length     for each 16 MiB that are not all zero
//! ```
//!
//! References: LiME, doc/README.md; AVML, README.md.

use std::io::Write;

use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

/// Bytes of a range of AVML at most.
const AVML_RANGE: u64 = 16 << 20;

impl Guest {
    /// The guest's memory as LiME writes it, its ranges cut at these physical addresses.
    #[must_use]
    pub fn lime(&self, cuts: &[u64]) -> Vec<u8> {
        lime(self, cuts)
    }

    /// The guest's memory as AVML writes it, its ranges cut at these physical addresses.
    #[must_use]
    pub fn avml(&self, cuts: &[u64]) -> Vec<u8> {
        avml(self, cuts)
    }
}

/// The guest as LiME writes it; ranges that end at `cuts` are cut there.
fn lime(guest: &Guest, cuts: &[u64]) -> Vec<u8> {
    let mut file = Vec::new();
    for (gpa, bytes) in ranges(guest, cuts) {
        file.extend(header(*b"EMiL", 1, gpa, bytes));
        file.extend(read(guest, gpa, bytes));
    }
    file
}

/// The guest as AVML writes it.
fn avml(guest: &Guest, cuts: &[u64]) -> Vec<u8> {
    let mut file = Vec::new();
    for (mut gpa, mut bytes) in ranges(guest, cuts) {
        while bytes > 0 {
            let now = bytes.min(AVML_RANGE);
            let data = read(guest, gpa, now);
            if data.iter().any(|byte| *byte != 0) {
                file.extend(header(*b"AVML", 2, gpa, now));
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(&data).unwrap();
                let stream = encoder.into_inner().unwrap();
                file.extend(&stream);
                file.extend((stream.len() as u64).to_le_bytes());
            }
            gpa += now;
            bytes -= now;
        }
    }
    file
}

fn header(magic: [u8; 4], version: u32, gpa: u64, bytes: u64) -> Vec<u8> {
    let mut header = magic.to_vec();
    header.extend(version.to_le_bytes());
    header.extend(gpa.to_le_bytes());
    header.extend((gpa + bytes - 1).to_le_bytes());
    header.extend([0; 8]);
    header
}

/// Addresses and bytes, cut where asked.
fn ranges(guest: &Guest, cuts: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for &(first, count) in &guest.present {
        let (mut at, end) = (first * PAGE as u64, (first + count) * PAGE as u64);
        for &cut in cuts {
            if at < cut && cut < end {
                ranges.push((at, cut - at));
                at = cut;
            }
        }
        ranges.push((at, end - at));
    }
    ranges
}

fn read(guest: &Guest, gpa: u64, bytes: u64) -> Vec<u8> {
    let mut data = vec![0; bytes as usize];
    guest.frames.read(gpa, &mut data);
    data
}
