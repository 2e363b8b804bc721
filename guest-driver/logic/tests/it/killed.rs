//! The guest dies after every single store: a reader finds the boot's record or the bug check's, whole.

use std::sync::atomic::Ordering;

use guest_record::{Crash, Poll, Started, Width, Writer};

use crate::machine::{GPA, GVA, Lab, Makes};
use crate::reader::{self, Found};

const WIDTHS: [Width; 2] = [Width::Bits32, Width::Bits64];

fn start(lab: &Lab) -> Writer {
    lab.put_block();
    let (writer, started) = Writer::start(lab, lab.width, (GPA, GVA), 0x8664, Some(0x340)).unwrap();
    assert_eq!(started, Started::Whole);
    writer
}

/// What a reader finds after each store of `act`.
fn after_each_store(lab: &Lab, act: impl FnOnce()) -> Vec<Option<Found>> {
    let (before, from) = (lab.bytes(), lab.stores());
    act();
    let count = lab.stores() - from;
    (0..=count)
        .map(|count| reader::read(&lab.memory_after(&before, from, count)))
        .collect()
}

/// The states that were seen, in order, each once.
fn states(found: &[Option<Found>]) -> Vec<Option<u32>> {
    let mut states: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|found| found.state))
        .collect();
    states.dedup();
    states
}

#[test]
fn at_the_start() {
    for width in WIDTHS {
        let lab = Lab::new(width);
        let found = after_each_store(&lab, || _ = start(&lab));
        assert_eq!(states(&found), [None, Some(1)]);
        let last = found.last().unwrap().as_ref().unwrap();
        assert_eq!(last.boot.as_deref(), Some(&*lab.header(1).tap_time(&lab)));
        assert_eq!(last.block.as_ref().map(Vec::len), Some(0x340));
        assert_eq!(
            (last.generation, &last.refreshed, last.code),
            (1, &None, None)
        );
    }
}

/// A header made now has another time than one that was made before; only that differs.
trait TapTime {
    fn tap_time(self, lab: &Lab) -> Self;
}

impl TapTime for Vec<u8> {
    fn tap_time(mut self, lab: &Lab) -> Self {
        let at = if lab.width == Width::Bits64 {
            0xfa8
        } else {
            0xfc0
        };
        let boot = reader::read(&lab.bytes()).unwrap().boot.unwrap();
        self[at..at + 8].copy_from_slice(&boot[at..at + 8]);
        self
    }
}

#[test]
fn when_memory_is_added() {
    for width in WIDTHS {
        let lab = Lab::new(width);
        let writer = start(&lab);
        // Several times, so that both boot headers are written over.
        for round in 1..6_u32 {
            let boot = reader::read(&lab.bytes()).unwrap().boot;
            let same = after_each_store(&lab, || assert_eq!(writer.poll(&lab), Poll::Same));
            assert!(
                same.iter()
                    .all(|found| found.as_ref().unwrap().boot == boot)
            );
            lab.pages_of_memory.fetch_add(0x100, Ordering::SeqCst);
            let found = after_each_store(&lab, || assert_eq!(writer.poll(&lab), Poll::Renewed));
            let renewed = lab.header(1).tap_time(&lab);
            for found in &found {
                let found = found.as_ref().unwrap();
                let new = found.generation == u64::from(round) + 1;
                assert_eq!(
                    found.boot,
                    if new {
                        Some(renewed.clone())
                    } else {
                        boot.clone()
                    }
                );
            }
            assert_ne!(boot, found.last().unwrap().as_ref().unwrap().boot);
        }
    }
}

#[test]
fn in_the_bug_check() {
    for width in WIDTHS {
        let lab = Lab::new(width);
        let writer = start(&lab);
        let boot = reader::read(&lab.bytes()).unwrap().boot;
        lab.crashes(0xd1);
        let found = after_each_store(&lab, || {
            assert_eq!(writer.crash(&lab, None), Crash::Refreshed);
        });
        assert_eq!(states(&found), [Some(1), Some(2), Some(3)]);
        for found in found.iter().flatten() {
            assert_eq!(found.boot, boot);
            assert_eq!(found.code, (found.state > 1).then_some(0xd1));
            assert_eq!(found.refreshed.is_some(), found.state == 3);
        }
        let refreshed = found
            .last()
            .unwrap()
            .as_ref()
            .unwrap()
            .refreshed
            .clone()
            .unwrap();
        assert_eq!(
            refreshed[if width == Width::Bits64 { 0x38 } else { 0x28 }],
            0xd1
        );
        // Whatever comes later changes nothing.
        let stores = lab.stores();
        assert_eq!(writer.crash(&lab, None), Crash::NotFirst);
        assert_eq!(writer.poll(&lab), Poll::Crashing);
        assert_eq!(lab.stores(), stores);
    }
}

#[test]
fn when_the_header_cannot_be_made_in_the_bug_check() {
    for makes in [
        Makes::Nothing(0xc000_0001_u32.cast_signed()),
        Makes::Half(0xc000_009a_u32.cast_signed()),
        Makes::OfType(2),
        Makes::OfType(6),
    ] {
        let lab = Lab::new(Width::Bits64);
        let writer = start(&lab);
        let boot = reader::read(&lab.bytes()).unwrap().boot;
        lab.crashes(0x7e);
        lab.will(makes);
        let found = after_each_store(&lab, || {
            assert!(matches!(writer.crash(&lab, None), Crash::Failed(_)));
        });
        assert_eq!(states(&found), [Some(1), Some(2), Some(4)], "{makes:?}");
        for found in found.into_iter().flatten() {
            assert_eq!((found.boot, found.refreshed), (boot.clone(), None));
        }
    }
}

#[test]
fn in_a_bug_check_while_memory_is_added() {
    let lab = Lab::new(Width::Bits64);
    let writer = start(&lab);
    lab.pages_of_memory.store(0x9000, Ordering::SeqCst);
    let count = after_each_store(&lab, || assert_eq!(writer.poll(&lab), Poll::Renewed)).len();
    for stopped_after in (0..count)
        .step_by(397)
        .chain((count - 140..count).step_by(7))
    {
        let lab = Lab::new(Width::Bits64);
        let writer = start(&lab);
        let boot = reader::read(&lab.bytes()).unwrap().boot;
        let (before, from) = (lab.bytes(), lab.stores());
        lab.pages_of_memory.store(0x9000, Ordering::SeqCst);
        // The thread that polls is stopped before it has told anyone: its later stores never happen, and the
        // driver's own state is that of a twin that did not poll.
        let stopped = start(&Lab::new(Width::Bits64));
        assert_eq!(writer.poll(&lab), Poll::Renewed);
        let memory = lab.memory_after(&before, from, stopped_after.min(count - 1));
        for (word, bytes) in lab.words.iter().zip(memory.chunks_exact(8)) {
            word.store(
                u64::from_le_bytes(bytes.try_into().unwrap()),
                Ordering::SeqCst,
            );
        }
        lab.crashes(0x50);
        let found = after_each_store(&lab, || {
            assert_eq!(stopped.crash(&lab, None), Crash::Refreshed);
        });
        for found in found {
            let found = found.unwrap();
            assert!(found.state > 1 || found.boot.is_some());
            assert!(found.state == 1 || found.boot == boot);
        }
    }
}

#[test]
fn when_the_driver_is_unloaded() {
    let lab = Lab::new(Width::Bits64);
    let writer = start(&lab);
    lab.pages_of_memory.fetch_add(1, Ordering::SeqCst);
    assert_eq!(writer.poll(&lab), Poll::Renewed);
    let found = after_each_store(&lab, || writer.stop(&lab));
    assert_eq!(found.last(), Some(&None));
    assert!(!lab.bytes().windows(8).any(|bytes| bytes == b"C2DMPREC"));
    assert_eq!(writer.crash(&lab, None), Crash::NotFirst);
    assert_eq!(writer.poll(&lab), Poll::Crashing);
}
