//! The search for dump headers in memory: bounded however many tags a guest holds, and blind to no place.

use std::time::{Duration, Instant};

use core2dmp::address::Gpa;
use core2dmp::windows::{
    self, GuestHeader, HeaderKind, HeaderOrigin, HeaderSearch, IdentifyOptions,
};
use core2dmp_synth::{Guest, GuestSpec, RamHeader};

use crate::support::open::{file_of, open};

/// The headers in all of the guest's memory.
fn search(guest: &Guest) -> Vec<GuestHeader> {
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let options = IdentifyOptions::default().header_search(HeaderSearch::All);
    windows::identify_with(&opened, &options).unwrap().headers
}

/// Fills every frame that the guest does not use.
fn fill(guest: &mut Guest, pattern: &[u8]) -> usize {
    let page: Vec<u8> = pattern.iter().copied().cycle().take(4096).collect();
    let frames: Vec<u64> = guest
        .present
        .iter()
        .flat_map(|run| run.0..run.0 + run.1)
        .filter(|pfn| !guest.frames.is_written(*pfn))
        .collect();
    for pfn in &frames {
        guest.frames.write(pfn << 12, &page);
    }
    frames.len() * 4096 / pattern.len()
}

#[test]
fn millions_of_tags_take_bounded_time_and_room() {
    let mut aligned = [0; 4096];
    aligned[..8].copy_from_slice(b"PAGEDU64");
    aligned[0x30..0x34].copy_from_slice(&0x8664_u32.to_le_bytes());
    let mut wrapped = [0; 64];
    wrapped[..16].copy_from_slice(b"XENXEN\x40\0PAGEDU64");
    wrapped[0x38..0x3c].copy_from_slice(&0x8664_u32.to_le_bytes());
    let patterns: [(&[u8], usize, usize); 4] = [
        (b"PAGEDU64", 1_000_000, 0),
        (b"XENXEN\x40\0PAGEDU64", 400_000, 0),
        (&aligned, 1000, 64),
        (&wrapped, 100_000, 64),
    ];
    for (pattern, tags, headers) in patterns {
        let spec = GuestSpec::windows10().ram_header(RamHeader::gplpv());
        let mut guest = spec.build();
        assert!(fill(&mut guest, pattern) > tags);
        let start = Instant::now();
        let found = search(&guest);
        // A second, on a machine that does nothing else.
        assert!(start.elapsed() < Duration::from_secs(30));
        let confirmed = found.iter().filter(|header| header.is_confirmed());
        if headers == 0 {
            assert_eq!((found.len(), confirmed.count()), (1, 1));
        } else {
            assert_eq!(found.len(), headers);
        }
    }
}

/// Moves a header's buffer so that the header itself starts at `gpa`: it is found there, and believed.
fn assert_found_at(gpa: u64) {
    const BUFFER: usize = 0x2010;
    let spec = GuestSpec::windows10().ram_header(RamHeader::gplpv());
    let mut guest = spec.build();
    let old = guest.expected.ram_headers[0].buffer;
    let mut buffer = vec![0; BUFFER];
    guest.frames.read(old, &mut buffer);
    guest.frames.write(old, &[0; BUFFER]);
    let frames = (gpa - 8) >> 12..=(gpa + BUFFER as u64) >> 12;
    assert!(frames.into_iter().all(|pfn| !guest.frames.is_written(pfn)));
    guest.frames.write(gpa - 8, &buffer);
    let found = search(&guest);
    assert_eq!(found.len(), 1, "{gpa:#x}");
    let origin = HeaderOrigin::Memory {
        gpa: Gpa::new(gpa),
        kind: HeaderKind::Gplpv,
    };
    assert_eq!(found[0].origin, origin);
    assert!(found[0].is_confirmed());
}

#[test]
fn a_tag_that_ends_in_the_next_block_of_the_scan() {
    // Blocks of 1 MiB from where the run starts, at 0xc0000: the sixteenth ends here.
    for before in [1, 5, 6, 8] {
        assert_found_at(0xc_0000 + (16 << 20) - before);
    }
}

#[test]
fn a_header_behind_a_hole() {
    // The VGA hole ends at 0xc0000, and the prefix is all that stands before the header.
    assert_found_at(0xc_0008);
}
