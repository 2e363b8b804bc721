//! The driver's life on several systems: start, callbacks in every order, several processors, failures, unload.

use guest_harness::engine::Way;
use guest_harness::hardware;
use guest_harness::machine::Machine;
use guest_harness::windows::{self, Given, Setup, World};

use crate::reader::{self, Found};
use crate::setup::{self, dump_type, header, newest, server2003, subjects, windows7};

fn found() -> Option<Found> {
    reader::read(&windows::memory())
}

/// What Windows passes with a reason.
fn given(reason: i32, code: u32) -> Given {
    match reason {
        4 => Given::AddPages(code),
        7 => Given::Triage(code, [1, 2, 3, 4]),
        _ => Given::Nothing,
    }
}

fn crash(world: &World, machine: Machine, code: u32) {
    windows::set_stop_code(world, [code.into(), 1, 2, 3, 4]);
    windows::change(|setup| setup.header = header(machine, code, 0x8000));
}

#[test]
fn on_every_system() {
    for subject in subjects() {
        let (name, machine) = (&subject.name, subject.machine);
        for (setup, reasons, started, event) in [
            (newest(machine), vec![7, 4, 3, -1], 0, 0x6000_0001),
            (windows7(machine), vec![4, 3, -1], 0, 0x6000_0001),
            (server2003(machine), vec![3, -1], 0, 0xa000_0003),
        ] {
            let has_header = !setup.missing.contains(&"KeInitializeCrashDumpHeader");
            let world = subject.boot(setup);
            assert_eq!(world.status(), started, "{name}");
            assert_eq!(world.registered(), reasons, "{name}");
            let (code, _, text) = windows::events().pop().unwrap();
            assert_eq!((code, text.as_str()), (event, "0000000012345000"));
            let boot = found().unwrap();
            assert_eq!((boot.state, boot.boot.is_some()), (1, has_header));
            assert_eq!(boot.block, Some(setup::block()));
            crash(&world, machine, 0xd1);
            for reason in &reasons {
                world.callback(*reason, given(*reason, 0xd1));
            }
            assert_eq!(windows::violations(), Vec::<String>::new(), "{name}");
            let last = found().unwrap();
            assert_eq!(last.state, if has_header { 3 } else { 4 });
            assert_eq!((last.code, last.boot), (Some(0xd1), boot.boot));
            assert_eq!(last.refreshed.is_some(), has_header);
            let pages = windows::memory();
            assert!(world.unload());
            assert_eq!(windows::allocations(), 0, "{name}");
            assert!(world.registered().is_empty());
            assert!(pages.windows(8).any(|bytes| bytes == b"C2DMPREC"));
        }
    }
}

#[test]
fn nothing_at_all_fails_the_start() {
    for subject in subjects() {
        let machine = subject.machine;
        let missing = vec![
            "KeInitializeCrashDumpHeader",
            "KeCapturePersistentThreadState",
        ];
        let world = subject.boot(Setup {
            missing,
            ..newest(machine)
        });
        assert_eq!(world.status(), 0xc000_00bb_u32.cast_signed());
        let (code, status, _) = windows::events().pop().unwrap();
        assert_eq!((code, status), (0xe000_0005, 0xc000_00bb_u32.cast_signed()));
        assert_eq!(windows::allocations(), 0);
        assert!(world.registered().is_empty());
    }
}

/// The harness notices what a callback may not do: here the driver's end comes in the middle of one.
#[test]
fn a_call_in_a_callback_is_noticed() {
    for subject in subjects().iter().filter(|s| s.way == Way::Emulator) {
        let world = std::rc::Rc::new(subject.boot(newest(subject.machine)));
        crash(&world, subject.machine, 0x7e);
        let inner = std::rc::Rc::clone(&world);
        world.in_front_of(
            1,
            || _ = world.callback(3, Given::Nothing),
            move || {
                inner.unload_on(1);
            },
        );
        let found = windows::violations();
        for name in [
            "KeDeregisterBugCheckReasonCallback",
            "MmFreeContiguousMemory",
        ] {
            assert!(found.iter().any(|call| call == name), "{found:?}");
        }
    }
}

#[test]
fn callbacks_in_every_order() {
    let orders: [&[i32]; 6] = [
        &[7, 4, 3, -1],
        &[3, 3, 4, 7, -1],
        &[4, 3, -1],
        &[-1],
        &[3, -1, 7],
        &[-1, 4],
    ];
    for subject in subjects() {
        let machine = subject.machine;
        for order in orders {
            let world = subject.boot(newest(machine));
            crash(&world, machine, 0x7e);
            let calls = windows::calls().len();
            let mut first = None;
            for reason in order {
                world.callback(*reason, given(*reason, 0x7e));
                let record = found().unwrap();
                assert_eq!((record.state, record.code), (3, Some(0x7e)), "{order:?}");
                // Whoever comes later changes nothing.
                assert_eq!(&record, first.get_or_insert_with(|| record.clone()));
            }
            let made: Vec<String> = windows::calls()[calls..].to_vec();
            assert_eq!(made, ["KeInitializeCrashDumpHeader"], "{order:?}");
        }
    }
}

#[test]
fn a_header_that_cannot_be_made_leaves_that_of_the_boot() {
    for subject in subjects() {
        let machine = subject.machine;
        let cases: [fn(&mut Setup, Machine); 3] = [
            |setup, _| setup.status = -1,
            |setup, _| setup.header = Vec::new(),
            // The seed's case: a kernel dump's header.
            |setup, machine| setup.header[dump_type(machine)] = 2,
        ];
        for case in cases {
            let world = subject.boot(newest(machine));
            let boot = found().unwrap().boot;
            assert!(boot.is_some());
            crash(&world, machine, 0x50);
            windows::change(|setup| case(setup, machine));
            for reason in [7, 4, 3, -1] {
                world.callback(reason, given(reason, 0x50));
            }
            let record = found().unwrap();
            assert_eq!((record.state, record.code), (4, Some(0x50)));
            assert_eq!((record.boot, record.refreshed), (boot, None));
            assert_eq!(windows::violations(), Vec::<String>::new());
        }
    }
}

#[test]
fn the_pages_are_handed_to_the_dump() {
    for subject in subjects() {
        let machine = subject.machine;
        let world = subject.boot(newest(machine));
        let [flags, address, count] = world.callback(4, Given::AddPages(0x1e));
        assert_eq!(flags, 1, "virtual");
        assert_eq!((address, count), (windows::pages() as u64, 8));
        // KiBugCheckData was not set: the callback told the code.
        assert_eq!(found().unwrap().code, Some(0x1e));
        // A structure that is too short is not touched.
        assert_eq!(world.callback(4, Given::ShortAddPages), [0; 3]);
    }
}

/// Threads of this machine, as its processors come.
#[test]
fn two_processors_at_once() {
    for subject in subjects().iter().filter(|s| s.way == Way::Processor) {
        let machine = subject.machine;
        for _ in 0..20 {
            let world = subject.boot(newest(machine));
            crash(&world, machine, 0x101);
            let calls = windows::calls().len();
            std::thread::scope(|scope| {
                for reason in [3, 4, 7, -1] {
                    let world = &world;
                    scope.spawn(move || world.callback(reason, given(reason, 0x101)));
                }
            });
            assert_eq!(windows::calls().len(), calls + 1);
            let record = found().unwrap();
            assert_eq!((record.state, record.code), (3, Some(0x101)));
        }
    }
}

/// In front of every store of the first, emulated: the second changes nothing, and calls nothing.
#[test]
fn another_processor_at_every_store() {
    let (first, second) = ((3, Given::Nothing), (7, Given::Triage(0x102, [9; 4])));
    for subject in subjects().iter().filter(|s| s.way == Way::Emulator) {
        let (name, machine) = (&subject.name, subject.machine);
        let alone = {
            let world = subject.boot(newest(machine));
            crash(&world, machine, 0x101);
            world.watched(|| _ = world.callback(first.0, first.1))
        };
        // One of each 16, and all of the slots: a header's words are alike.
        let is_slot = |number: &usize| alone[*number - 1].offset < 0x1000;
        let numbers = (1..=alone.len()).filter(|number| number % 16 == 1 || is_slot(number));
        let mut interrupted = 0;
        for number in numbers {
            let world = std::rc::Rc::new(subject.boot(newest(machine)));
            crash(&world, machine, 0x101);
            let calls = windows::calls().len();
            let other = std::rc::Rc::clone(&world);
            let stores = world.in_front_of(
                number,
                || _ = world.callback(first.0, first.1),
                move || _ = other.callback_on(1, second.0, second.1),
            );
            assert_eq!(stores, alone, "{name}: store {number}");
            assert_eq!(windows::calls().len(), calls + 1);
            assert_eq!(windows::violations(), Vec::<String>::new());
            interrupted += 1;
        }
        println!("{name}: another processor in front of {interrupted} stores");
        assert!(interrupted > 100);
    }
}

#[test]
fn memory_that_was_added() {
    for subject in subjects() {
        let machine = subject.machine;
        let world = subject.boot(newest(machine));
        let boot = found().unwrap();
        world.tick();
        assert_eq!(found().unwrap(), boot, "nothing was added");
        windows::change(|setup| setup.header = header(machine, 0, 0x9000));
        world.tick();
        let renewed = found().unwrap();
        assert_eq!((renewed.generation, renewed.state), (2, 1));
        assert_eq!(renewed.boot, Some(header(machine, 0, 0x9000)));
        assert_eq!(windows::events().pop().unwrap().0, 0x6000_0002);
        // A look that fails is told once, and changes nothing.
        windows::change(|setup| setup.status = -7);
        let events = windows::events().len();
        world.tick();
        world.tick();
        assert_eq!(windows::events().len(), events + 1);
        assert_eq!(windows::events().pop().unwrap().1, -7);
        assert_eq!(found().unwrap().boot, renewed.boot);
    }
}

#[test]
fn the_host_is_told_where_it_was_asked_for() {
    for subject in subjects() {
        let (name, machine) = (&subject.name, subject.machine);
        for (port, answer, told) in [
            (0, 3, vec![]),
            (0x505, 0xff, vec![]),
            (0x505, 1, vec![(0x505, 1)]),
            (0x505, 3, vec![(0x505, 2), (0x505, 1)]),
        ] {
            hardware::set_port(answer);
            let parameters = vec![
                ("PvpanicPort", port),
                ("XenShutdown", 1),
                ("PollSeconds", 0),
            ];
            let world = subject.boot(Setup {
                parameters,
                ..newest(machine)
            });
            assert!(
                !windows::calls()
                    .iter()
                    .any(|call| call == "PsCreateSystemThread")
            );
            for reason in [7, 3, 3, -1, -1] {
                world.callback(reason, given(reason, 1));
            }
            // ARM64 has no ports.
            let told = if machine == Machine::Arm64 {
                vec![]
            } else {
                told
            };
            assert_eq!(hardware::port_writes(), told, "{name}");
        }
    }
}
