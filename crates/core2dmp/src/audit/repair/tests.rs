//! Whatever is in a header, a repair is consistent with itself. What it fixes is in `tests/it/audit/repair.rs`.

use std::sync::Arc;

use core2dmp_synth::GuestSpec;
use core2dmp_synth::dump;
use proptest::prelude::*;

use super::*;
use crate::image::SegmentData;

fn open(bytes: &[u8]) -> DumpFile {
    DumpFile::open(Arc::new(bytes.to_vec())).unwrap()
}

fn bytes() -> Vec<u8> {
    let spec = GuestSpec::windows7().memory_mib(20).processors(2);
    let mut dump = dump::full(&spec.crashed(0xe2, [0; 4]).build());
    dump.put_u64(0x10, 0x7eec_1000);
    dump.put_u32(0xf98, 2);
    dump.bytes
}

#[test]
fn a_change_is_where_the_field_is() {
    let bytes = bytes();
    let repair = repair(&open(&bytes)).unwrap();
    let places: Vec<_> = repair
        .changes
        .iter()
        .map(|change| (change.what.as_str(), change.offset, change.new.len()))
        .collect();
    assert_eq!(
        places,
        [("DirectoryTableBase", 0x10, 8), ("DumpType", 0xf98, 4)]
    );
    assert_eq!(repair.changes[1].old, [2, 0, 0, 0]);
    assert_eq!(repair.changes[1].new, [1, 0, 0, 0]);
    assert_eq!(repair.size(), bytes.len() as u64);
}

#[test]
fn segments_are_whole_blocks_and_cover_the_file() {
    let mut bytes = bytes();
    bytes.extend([0x5a; 77]);
    let dump = open(&bytes);
    let image = repair(&dump).unwrap().image(&dump).unwrap();
    let segments = image.segments();
    let shapes: Vec<_> = segments
        .iter()
        .map(|segment| match segment.data {
            SegmentData::Bytes(_) => (segment.bytes, None),
            SegmentData::Source { offset } => (segment.bytes, Some(offset)),
            _ => panic!("{segment:?}"),
        })
        .collect();
    let rest = bytes.len() as u64 - 0x1000;
    assert_eq!(shapes, [(0x1000, None), (rest, Some(0x1000))]);
}

#[test]
fn a_good_dump_is_left_as_it_is() {
    let guest = GuestSpec::windows7().memory_mib(20).build();
    let dump = open(&dump::full(&guest).bytes);
    let repair = repair(&dump).unwrap();
    assert_eq!((repair.changes.len(), repair.left.len()), (0, 0));
    let image = repair.image(&dump).unwrap();
    let segments = image.segments();
    assert_eq!(segments.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_does_what_it_says(
        damage in proptest::collection::vec((8_usize..0x2000, any::<u32>()), 1..6),
    ) {
        let mut bytes = bytes();
        for (offset, value) in damage {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        let dump = open(&bytes);
        let Ok(repair) = repair(&dump) else {
            // Some value made it an encrypted one.
            prop_assert!(dump.is_encrypted());
            return Ok(());
        };
        for change in &repair.changes {
            let at = usize::try_from(change.offset).unwrap();
            let slot = &mut bytes[at..at + change.new.len()];
            prop_assert_eq!(&*slot, &change.old[..]);
            slot.copy_from_slice(&change.new);
        }
        // What it leaves is what is left, and nothing of that could have been fixed.
        let report = check(&open(&bytes));
        prop_assert_eq!(&report.findings, &repair.left);
        for finding in &repair.left {
            prop_assert!(finding.mend != Mend::Yes, "{finding:?}");
        }
    }
}
