//! Any order of events, two processors at once: what is published is what the last event made.

use std::sync::atomic::Ordering;

use guest_record::{
    Crash, Poll, Settings, StartError, Started, StopCode, Teller, Width, Word, Writer,
};
use proptest::prelude::*;

use crate::machine::{BLOCK_AT, GPA, GVA, Lab, Makes};
use crate::reader;

#[derive(Debug, Clone, Copy)]
enum Event {
    AddMemory,
    Poll(Makes),
    Crash(Makes, u32),
}

fn makes() -> impl Strategy<Value = Makes> {
    prop_oneof![
        4 => Just(Makes::Full),
        1 => (0_u32..12).prop_map(Makes::OfType),
        1 => Just(Makes::Half(-1)),
        1 => Just(Makes::Half(0)),
        1 => Just(Makes::Nothing(-2)),
        // Success is claimed and nothing was written.
        1 => Just(Makes::Nothing(0)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::AddMemory),
        4 => makes().prop_map(Event::Poll),
        1 => (makes(), 1_u32..0x200).prop_map(|(makes, code)| Event::Crash(makes, code)),
    ]
}

/// What a header of these makes is worth: the half that has no DumpType is none.
fn is_good(makes: Makes) -> bool {
    matches!(makes, Makes::Full | Makes::OfType(1))
}

/// What the record has to say, naively.
struct Twin {
    memory_of_boot: Option<u32>,
    /// The state that the first bug check came to, and its code.
    crashed: Option<(u32, u32)>,
}

impl Twin {
    fn happens(&mut self, lab: &Lab, writer: &Writer, event: Event) -> Result<(), TestCaseError> {
        let memory = lab.pages_of_memory.load(Ordering::SeqCst);
        match event {
            Event::AddMemory => lab.pages_of_memory.store(memory + 1, Ordering::SeqCst),
            Event::Poll(makes) => {
                lab.will(makes);
                let wanted = match (self.crashed, is_good(makes)) {
                    (Some(_), _) => None,
                    (None, false) => Some(false),
                    (None, true) => Some(self.memory_of_boot != Some(memory)),
                };
                let polled = match writer.poll(lab) {
                    Poll::Crashing => None,
                    Poll::Failed(_) | Poll::Same => Some(false),
                    Poll::Renewed => Some(true),
                };
                prop_assert_eq!(polled, wanted);
                if polled == Some(true) {
                    self.memory_of_boot = Some(memory);
                }
            }
            Event::Crash(makes, code) => {
                lab.will(makes);
                lab.crashes(code);
                let wanted = match (self.crashed, is_good(makes)) {
                    (Some(_), _) => 0,
                    (None, true) => 3,
                    (None, false) => 4,
                };
                let came = match writer.crash(lab, None) {
                    Crash::NotFirst => 0,
                    Crash::Refreshed => 3,
                    Crash::Failed(_) => 4,
                };
                prop_assert_eq!(came, wanted);
                self.crashed.get_or_insert((wanted, code));
            }
        }
        Ok(())
    }

    fn compare(&self, lab: &Lab, has_block: bool, wide: bool) -> Result<(), TestCaseError> {
        let found = reader::read(&lab.bytes()).unwrap();
        prop_assert_eq!(found.boot.is_some(), self.memory_of_boot.is_some());
        prop_assert_eq!(found.block.is_some(), has_block);
        prop_assert_eq!(found.state, self.crashed.map_or(1, |crashed| crashed.0));
        prop_assert_eq!(found.code, self.crashed.map(|crashed| crashed.1));
        // The seed's case: a type other than 1 in front of a full body.
        let kind = if wide { 0xf98 } else { 0xf88 };
        for header in found.boot.iter().chain(&found.refreshed) {
            prop_assert_eq!(&header[kind..kind + 4], &[1, 0, 0, 0]);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A naive twin keeps what the record has to say; the guest dies after a store of the last event.
    #[test]
    fn any_order(
        at_start in makes(), has_block: bool, wide: bool,
        events in prop::collection::vec(event(), 0..12), died: prop::sample::Index,
    ) {
        let lab = Lab::new(if wide { Width::Bits64 } else { Width::Bits32 });
        lab.will(at_start);
        if has_block {
            lab.put_block();
        }
        let writer = Writer::start(&lab, lab.width, (GPA, GVA), 0x8664, has_block.then_some(0x340));
        let Ok((writer, started)) = writer else {
            prop_assert!(!has_block && !is_good(at_start));
            prop_assert_eq!(reader::read(&lab.bytes()), None);
            return Ok(());
        };
        prop_assert_eq!(started == Started::Whole, is_good(at_start));
        let memory_of_boot = is_good(at_start).then(|| lab.pages_of_memory.load(Ordering::SeqCst));
        let mut twin = Twin { memory_of_boot, crashed: None };
        let (mut before, mut from, mut record) = (lab.bytes(), lab.stores(), reader::read(&lab.bytes()));
        for event in events {
            (before, from, record) = (lab.bytes(), lab.stores(), reader::read(&lab.bytes()));
            twin.happens(&lab, &writer, event)?;
            twin.compare(&lab, has_block, wide)?;
        }
        let died = died.index(lab.stores() - from + 1);
        let found = reader::read(&lab.memory_after(&before, from, died)).unwrap();
        let last = reader::read(&lab.bytes()).unwrap();
        prop_assert!(
            Some(&found) == record.as_ref() || found == last || found.state == 2,
            "a record that nothing published"
        );
    }
}

#[test]
fn many_processors_at_once() {
    for _ in 0..50 {
        let lab = Lab::new(Width::Bits64);
        let (writer, _) = Writer::start(&lab, Width::Bits64, (GPA, GVA), 0x8664, None).unwrap();
        lab.crashes(0x1e);
        let calls = lab.calls.load(Ordering::SeqCst);
        let first = std::thread::scope(|scope| {
            let crash = || matches!(writer.crash(&lab, None), Crash::Refreshed);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(crash)).collect();
            threads
                .into_iter()
                .map(|t| u32::from(t.join().unwrap()))
                .sum::<u32>()
        });
        assert_eq!(first, 1);
        assert_eq!(lab.calls.load(Ordering::SeqCst), calls + 1);
        assert_eq!(reader::read(&lab.bytes()).unwrap().state, 3);
    }
}

#[test]
fn without_the_function() {
    // Server 2003 before SP1: no header can be made, but the block is there.
    let lab = Lab::new(Width::Bits64);
    lab.will(Makes::Nothing(0xc000_00bb_u32.cast_signed()));
    let none = Writer::start(&lab, Width::Bits64, (GPA, GVA), 0x8664, None);
    assert_eq!(
        none.err(),
        Some(StartError::Nothing(0xc000_00bb_u32.cast_signed()))
    );
    assert_eq!(reader::read(&lab.bytes()), None);
    lab.put_block();
    let (writer, started) =
        Writer::start(&lab, Width::Bits64, (GPA, GVA), 0x8664, Some(0x340)).unwrap();
    assert_eq!(started, Started::BlockAlone(0xc000_00bb_u32.cast_signed()));
    // No KiBugCheckData either: the callback was told the code.
    let told = StopCode {
        code: 0x7b,
        parameters: [9, 0, 0, 0],
    };
    assert!(matches!(writer.crash(&lab, Some(told)), Crash::Failed(_)));
    let found = reader::read(&lab.bytes()).unwrap();
    assert_eq!((found.state, found.code, found.boot), (4, Some(0x7b), None));
    assert!(found.block.is_some());
}

#[test]
fn the_blocks_address_is_the_headers() {
    let lab = Lab::new(Width::Bits64);
    lab.put_block();
    Writer::start(&lab, Width::Bits64, (GPA, GVA), 0x8664, Some(0x340)).unwrap();
    let bytes = lab.bytes();
    let slot = guest_record::Slot::read(&bytes[..0x400]).unwrap();
    assert_eq!(slot.block.unwrap().gva, BLOCK_AT);
    assert_eq!((slot.gpa, slot.gva, slot.machine), (GPA, GVA, 0x8664));
    assert_eq!(slot.boot.unwrap().gpa, GPA + 0x2000);
}

#[test]
fn the_host_is_told_what_was_asked_for_and_once() {
    let settings = Settings {
        pvpanic_port: 0x505,
        xen: true,
    };
    let teller = Teller::new(settings, 3, true);
    assert_eq!(teller.begun(), Some(Word::Port(0x505, 2)));
    assert_eq!(teller.begun(), None);
    assert_eq!(
        teller.ended(),
        [Some(Word::Port(0x505, 1)), Some(Word::XenCrash)]
    );
    assert_eq!(teller.ended(), [None, None]);
    // An old device knows one of the two; no device answers all ones; nobody asked; another hypervisor.
    let old = Teller::new(settings, 1, false);
    assert_eq!(
        (old.begun(), old.ended()),
        (None, [Some(Word::Port(0x505, 1)), None])
    );
    for (settings, features, is_xen) in [(settings, 0xff, false), (Settings::default(), 3, true)] {
        let teller = Teller::new(settings, features, is_xen);
        assert_eq!((teller.begun(), teller.ended()), (None, [None, None]));
    }
}
