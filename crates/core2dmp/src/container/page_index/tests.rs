use proptest::prelude::*;

use super::*;
use crate::address::Gpa;

/// A file whose bytes tell where they are.
fn file(bytes: usize) -> Vec<u8> {
    let word = |n: usize| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..bytes.div_ceil(8)).flat_map(word).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Against a naive twin: for each page the place of its bytes, the last one counts.
    #[test]
    fn the_last_place_counts(
        rounds in proptest::collection::vec(
            (0_u64..200, proptest::collection::vec(any::<bool>(), 1..160), 0_u8..8), 1..8,
        ),
    ) {
        let mut index = PageIndex::default();
        let mut naive = vec![None; 400];
        let mut end = 0;
        for (first, kinds, how) in rounds {
            if how == 0 {
                let offset = end;
                let pages = kinds.len() as u64;
                end += pages * 4096;
                let kind = Kind::Stored { stride: 4096 };
                index.pages(first, pages, offset, kind).unwrap();
                for (page, n) in (first as usize..).zip(0..pages) {
                    naive[page] = Some(Some(offset + n * 4096));
                }
                continue;
            }
            // Now and then a record has the name of its block.
            end += u64::from(how % 2) * 7;
            for (page, is_data) in (first..).zip(kinds) {
                end += if is_data { 4104 } else { 9 };
                index.record(page, is_data, end).unwrap();
                naive[page as usize] = Some(is_data.then(|| end - 4096));
            }
        }
        let there = naive.iter().filter(|page| page.is_some()).count() as u64;
        prop_assert_eq!(index.count(0, 400).unwrap(), there);
        let source = Arc::new(file(end as usize + 4096));
        // The second half lies elsewhere.
        let places = [
            (0, Frames::new(Pfn::new(0), 150)),
            (150, Frames::new(Pfn::new(1000), 250)),
        ];
        let memory = index.memory(Arc::clone(&source) as _, &places).unwrap();
        prop_assert_eq!(memory.frame_count(), there);
        for (page, place) in (0_u64..).zip(naive) {
            let pfn = if page < 150 { page } else { page + 850 };
            let mut got = [0xee; 4096];
            let read = memory.read(Gpa::new(pfn * 4096), &mut got);
            match place {
                None => prop_assert!(read.is_err()),
                Some(None) => prop_assert!(read.is_ok() && got == [0; 4096]),
                Some(Some(at)) => {
                    prop_assert!(read.is_ok());
                    prop_assert!(got[..] == source[at as usize..][..4096], "page {}", page);
                }
            }
        }
    }
}

#[test]
fn a_terabyte_in_order_is_few_entries() {
    let mut index = PageIndex::default();
    let (mut end, pages) = (0, 1_u64 << 28);
    // 64 MiB of data, 64 MiB of zeros, and a mixed MiB, over and over; a step stands for many.
    for start in (0..pages).step_by(0x8100) {
        for (first, count, is_data) in [(start, 0x4000, true), (start + 0x4000, 0x4000, false)] {
            for page in [first, first + 1] {
                end += if is_data { 4104 } else { 9 };
                index.record(page, is_data, end).unwrap();
            }
            assert!(count > 2);
        }
        for page in start + 0x8000..start + 0x8100 {
            end += if page % 3 == 0 { 4104 } else { 9 };
            index.record(page, page % 3 == 0, end).unwrap();
        }
    }
    index.close().unwrap();
    assert!(index.entries.len() < 60_000, "{}", index.entries.len());
}

#[test]
fn too_many_pieces_are_an_error() {
    let mut index = PageIndex::default();
    let stored = Kind::Stored { stride: 4096 };
    let error = (0..)
        .find_map(|n| index.pages(n * 2, 1, 0, stored).err())
        .unwrap();
    assert_eq!(
        error.to_string(),
        "pieces of memory in the stream: found 3145728, the limit is 3145728"
    );
}

#[test]
fn too_many_runs_of_zeros_are_made_like_any_page() {
    let zeros = |count: u64| {
        let mut index = PageIndex::default();
        for n in 0..count {
            index.pages(n * 17, 16, 0, Kind::Zero).unwrap();
        }
        let frames = Frames::new(Pfn::new(0), count * 17);
        let memory = index
            .memory(Arc::new(file(0)) as _, &[(0, frames)])
            .unwrap();
        let runs = memory.runs().iter();
        runs.filter(|run| run.backing == Backing::Zero).count()
    };
    assert_eq!(zeros(1 << 18), 1 << 18);
    assert_eq!(zeros((1 << 18) + 1), 0);
}
