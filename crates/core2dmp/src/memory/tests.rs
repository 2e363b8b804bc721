//! Runs and reads against a naive twin that keeps one map entry a frame.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::address::PAGE_SIZE;

const FILE_FRAMES: u64 = 64;

/// A file whose frame n is filled with the byte n.
fn file() -> Arc<dyn ReadAt> {
    Arc::new(
        (0..FILE_FRAMES)
            .flat_map(|n| vec![n as u8; 4096])
            .collect::<Vec<u8>>(),
    )
}

fn offset_of(frame: u64) -> Backing {
    Backing::File {
        offset: frame * PAGE_SIZE,
    }
}

/// Memory of the frames in `pages`: (pfn, frame in the file); later duplicates are dropped.
fn build(pages: &[(u64, u64)]) -> (PhysicalMemory, BTreeMap<u64, u64>) {
    let mut naive = BTreeMap::new();
    let mut builder = RunBuilder::default();
    for &(pfn, frame) in pages {
        if naive.contains_key(&pfn) {
            continue;
        }
        naive.insert(pfn, frame);
        builder
            .push(Frames::new(Pfn::new(pfn), 1), offset_of(frame))
            .unwrap();
    }
    (
        PhysicalMemory::new(file(), builder.finish().unwrap()),
        naive,
    )
}

proptest! {
    #[test]
    fn reads_agree_with_a_map(
        pages in proptest::collection::vec((0_u64..40, 0..FILE_FRAMES), 0..60),
        start in 0_u64..(40 * 4096),
        len in 0_usize..20000,
    ) {
        let (memory, naive) = build(&pages);
        prop_assert_eq!(memory.frame_count(), naive.len() as u64);
        let mut buf = vec![0xee; len];
        let expected: Result<Vec<u8>, u64> = (start..start + len as u64)
            .map(|gpa| naive.get(&(gpa / PAGE_SIZE)).map(|&frame| frame as u8).ok_or(gpa))
            .collect();
        match (memory.read(Gpa::new(start), &mut buf), expected) {
            (Ok(()), Ok(bytes)) => prop_assert_eq!(buf, bytes),
            (Err(MemoryError::Absent { gpa }), Err(first)) => prop_assert_eq!(gpa.get(), first),
            (got, wanted) => prop_assert!(false, "{got:?} {}", wanted.is_ok()),
        }
    }

    #[test]
    fn pieces_cover_a_range_once(
        pages in proptest::collection::vec((0_u64..40, 0..FILE_FRAMES), 0..60),
        first in 0_u64..40,
        count in 0_u64..40,
    ) {
        let (memory, naive) = build(&pages);
        let mut at = first;
        for (piece, backing) in memory.pieces(Frames::new(Pfn::new(first), count)) {
            prop_assert_eq!(piece.first.get(), at);
            prop_assert!(piece.count > 0);
            for n in 0..piece.count {
                prop_assert_eq!(
                    backing.map(|backing| backing.skip(n)),
                    naive.get(&(at + n)).map(|&frame| offset_of(frame))
                );
            }
            at += piece.count;
        }
        prop_assert_eq!(at, first + count);
    }

    #[test]
    fn scan_sees_every_frame_once(pages in proptest::collection::vec((0_u64..4000, 0..FILE_FRAMES), 0..60)) {
        let (memory, naive) = build(&pages);
        let mut seen = BTreeMap::new();
        let gaps = memory.scan(Frames::new(Pfn::new(0), u64::MAX), |gpa, block| {
            for (n, page) in block.chunks(4096).enumerate() {
                seen.insert(gpa.pfn().get() + n as u64, u64::from(page[0]));
            }
            std::ops::ControlFlow::Continue(())
        });
        prop_assert!(gaps.is_empty());
        prop_assert_eq!(seen, naive);
    }
}

#[test]
fn a_frame_listed_twice_is_named() {
    let mut builder = RunBuilder::default();
    builder
        .push(Frames::new(Pfn::new(4), 4), offset_of(0))
        .unwrap();
    builder
        .push(Frames::new(Pfn::new(7), 1), offset_of(9))
        .unwrap();
    assert_eq!(builder.finish().unwrap_err().pfn, Pfn::new(7));
}

#[test]
fn four_outcomes_stay_four() {
    let mut builder = RunBuilder::default();
    builder
        .push(Frames::new(Pfn::new(1), 1), Backing::Zero)
        .unwrap();
    let beyond = offset_of(FILE_FRAMES);
    builder.push(Frames::new(Pfn::new(2), 1), beyond).unwrap();
    let memory = PhysicalMemory::new(file(), builder.finish().unwrap());
    let mut byte = [1];
    memory.read(Gpa::new(0x1000), &mut byte).unwrap();
    assert_eq!(byte, [0]);
    assert!(matches!(
        memory.read(Gpa::new(0x2000), &mut byte),
        Err(MemoryError::Unreadable {
            offset: 0x40000,
            ..
        })
    ));
    assert!(matches!(
        memory.read(Gpa::new(0x3000), &mut byte),
        Err(MemoryError::Absent { .. })
    ));
}

/// Makes pages of their number; page 77 is broken.
#[derive(Debug)]
struct Maker;

impl PageDecoder for Maker {
    fn decode(&self, index: u64, page: &mut [u8; 4096]) -> Result<(), DecodeError> {
        if index == 77 {
            return Err(DecodeError::corrupt(0x1234, "no page"));
        }
        let (words, _) = page.as_chunks_mut::<8>();
        for (word, n) in words.iter_mut().zip(0_u64..) {
            *word = (index << 9 | n).to_le_bytes();
        }
        Ok(())
    }
}

#[test]
fn pages_are_made_whole_in_part_and_many_at_once() {
    let mut builder = RunBuilder::default();
    let backing = Backing::Encoded { index: 5 };
    builder
        .push(Frames::new(Pfn::new(0x100), 1000), backing)
        .unwrap();
    let runs = builder.finish().unwrap();
    let memory = PhysicalMemory::new(file(), runs).with_decoder(Arc::new(Maker));
    for (page, offset, bytes) in [
        (0, 0, 4096),
        (3, 8, 16),
        (3, 4088, 8),
        (3, 4088, 16),
        (73, 0, 900 << 12),
        (80, 16, 700 << 12),
        (100, 0, (600 << 12) + 8),
    ] {
        let gpa = Gpa::new(((0x100 + page) << 12) | offset);
        let mut buf = vec![0xee; bytes];
        memory.read(gpa, &mut buf).unwrap();
        let (words, _) = buf.as_chunks::<8>();
        for (word, n) in words.iter().zip((((5 + page) << 9) | (offset / 8))..) {
            assert_eq!(u64::from_le_bytes(*word), n);
        }
    }
    // Page 77 is frame 0x148; the first one that cannot be read is reported.
    let mut buf = vec![0; 1000 << 12];
    for (first, bytes) in [(0x100_u64, 1000 << 12), (0x148, 8), (0x120, 100 << 12)] {
        let error = memory.read(Gpa::new(first << 12), &mut buf[..bytes]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "physical address 0x148000 is corrupt in the container: file offset 0x1234: no page"
        );
    }
    // A scan loses that page and no other.
    let mut seen = 0;
    let gaps = memory.scan(Frames::new(Pfn::new(0), u64::MAX), |_, block| {
        seen += block.len() / 4096;
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(seen, 999);
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].frames, Frames::new(Pfn::new(0x148), 1));
    assert_eq!(memory.frame_of_page(77), Some(Pfn::new(0x148)));
    assert_eq!(memory.frame_of_page(4), None);
    assert_eq!(memory.frame_of_page(1005), None);
}
