//! The guest dies between any two stores of the real driver, and of Windows while it makes headers for it.

use guest_harness::step::{self, Store};
use guest_harness::windows::{self, World};

use crate::reader::{self, Found};
use crate::setup::{header, images, newest};

/// What a reader finds after each store; stores of one instruction are one.
fn after_each(before: &[u8], stores: &[Store]) -> Vec<Option<Found>> {
    let mut memory = before.to_vec();
    let mut found = vec![reader::read(&memory)];
    for group in stores.chunk_by(|one, other| one.step == other.step) {
        for store in group {
            let at = store.offset as usize;
            memory[at..at + 8].copy_from_slice(&store.value.to_le_bytes());
        }
        found.push(reader::read(&memory));
    }
    found
}

fn states(found: &[Option<Found>]) -> Vec<u32> {
    let mut states: Vec<u32> = found
        .iter()
        .map(|found| found.as_ref().unwrap().state)
        .collect();
    states.dedup();
    states
}

#[test]
fn in_the_bug_check() {
    for (name, image) in images() {
        let world = World::boot(&image, newest()).unwrap();
        windows::set_stop_code([0x9f, 3, 2, 1, 0]);
        windows::change(|setup| setup.header = header(0x9f, 0x8000));
        let before = windows::memory();
        let boot = reader::read(&before).unwrap().boot;
        let stores = step::stepped(windows::pages(), || world.callback(3, &mut [0; 4]));
        assert!(stores.len() > 0x2000 / 8, "{name}: {} stores", stores.len());
        let found = after_each(&before, &stores);
        println!(
            "{name}: dead at each of {} stores in the bug check",
            found.len() - 1
        );
        assert_eq!(states(&found), [1, 2, 3]);
        for found in found.iter().flatten() {
            assert_eq!(found.boot, boot);
            assert_eq!(found.refreshed.is_some(), found.state == 3);
            assert_eq!(found.code, (found.state > 1).then_some(0x9f));
        }
        let last = found.last().unwrap().as_ref().unwrap();
        assert_eq!(last.refreshed, Some(header(0x9f, 0x8000)));
        assert_eq!(windows::violations(), Vec::<String>::new());
        // Nothing was stored unseen.
        assert_eq!(reader::read(&windows::memory()).as_ref(), Some(last));
    }
}

#[test]
fn in_a_bug_check_whose_header_fails() {
    for (_, image) in images() {
        let world = World::boot(&image, newest()).unwrap();
        windows::set_stop_code([0x9f, 3, 2, 1, 0]);
        windows::change(|setup| setup.status = -1);
        let before = windows::memory();
        let stores = step::stepped(windows::pages(), || world.callback(7, &mut [0; 7]));
        let found = after_each(&before, &stores);
        assert_eq!(states(&found), [1, 2, 4]);
        assert!(
            found
                .iter()
                .flatten()
                .all(|found| found.boot.is_some() && found.refreshed.is_none())
        );
    }
}
