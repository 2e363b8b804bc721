//! The guest dies between any two stores of the real driver, and of Windows while it makes headers for it.

use guest_harness::engine::Way;
use guest_harness::step::Store;
use guest_harness::windows::{self, Given};

use crate::reader::{self, Found};
use crate::setup::{Subject, header, newest, subjects};

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
    for subject in subjects() {
        let (name, machine) = (&subject.name, subject.machine);
        let world = subject.boot(newest(machine));
        windows::set_stop_code(&world, [0x9f, 3, 2, 1, 0]);
        windows::change(|setup| setup.header = header(machine, 0x9f, 0x8000));
        let before = windows::memory();
        let boot = reader::read(&before).unwrap().boot;
        let stores = world.watched(|| _ = world.callback(3, Given::Nothing));
        let words = header(machine, 0x9f, 0x8000).len() / 8;
        assert!(stores.len() > words, "{name}: {} stores", stores.len());
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
        assert_eq!(last.refreshed, Some(header(machine, 0x9f, 0x8000)));
        assert_eq!(windows::violations(), Vec::<String>::new());
        // Nothing was stored unseen.
        assert_eq!(reader::read(&windows::memory()).as_ref(), Some(last));
    }
}

#[test]
fn in_a_bug_check_whose_header_fails() {
    for subject in subjects() {
        let world = subject.boot(newest(subject.machine));
        windows::set_stop_code(&world, [0x9f, 3, 2, 1, 0]);
        windows::change(|setup| setup.status = -1);
        let before = windows::memory();
        let stores = world.watched(|| _ = world.callback(7, Given::Triage(0x9f, [3, 2, 1, 0])));
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

/// The emulator is held against the processor: both see the same stores of the same image.
#[test]
fn the_emulator_stores_what_the_processor_does() {
    let subjects = subjects();
    for one in subjects.iter().filter(|s| s.way == Way::Processor) {
        let twin = |s: &&Subject| s.way == Way::Emulator && s.image.bytes == one.image.bytes;
        let Some(other) = subjects.iter().find(twin) else {
            continue;
        };
        let [seen, emulated] = [one, other].map(|subject| {
            let world = subject.boot(newest(subject.machine));
            windows::set_stop_code(&world, [0x9f, 3, 2, 1, 0]);
            windows::change(|setup| setup.header = header(subject.machine, 0x9f, 0x8000));
            let stores = world.watched(|| _ = world.callback(3, Given::Nothing));
            let stores = stores.into_iter().map(|store| (store.offset, store.value));
            stores.collect::<Vec<_>>()
        });
        assert!(
            seen == emulated,
            "{}: {} and {} stores",
            one.name,
            seen.len(),
            emulated.len()
        );
    }
}
