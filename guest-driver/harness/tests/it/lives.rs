//! The driver's life on several systems: start, callbacks in every order, several processors, failures, unload.

use guest_harness::step;
use guest_harness::windows::{self, Setup, World};

use crate::reader::{self, Found};
use crate::setup::{self, header, images, newest, server2003, windows7};

fn found() -> Option<Found> {
    reader::read(&windows::memory())
}

/// What Windows passes with a reason.
fn data(reason: i32, code: u64) -> Vec<u64> {
    match reason {
        4 => vec![0, code << 32, 0, 0],
        7 => vec![0, 0, code, 1, 2, 3, 4],
        _ => vec![0; 4],
    }
}

fn crash(code: u32) {
    windows::set_stop_code([code.into(), 1, 2, 3, 4]);
    windows::change(|setup| setup.header = header(code, 0x8000));
}

#[test]
fn on_every_system() {
    for (name, image) in images() {
        for (setup, reasons, started, event) in [
            (newest(), vec![7, 4, 3, -1], 0, 0x6000_0001),
            (windows7(), vec![4, 3, -1], 0, 0x6000_0001),
            (server2003(), vec![3, -1], 0, 0xa000_0003),
        ] {
            let has_header = !setup.missing.contains(&"KeInitializeCrashDumpHeader");
            let mut world = World::boot(&image, setup).unwrap();
            assert_eq!(world.status(), started, "{name}");
            assert_eq!(world.registered(), reasons, "{name}");
            let (code, _, text) = windows::events().pop().unwrap();
            assert_eq!((code, text.as_str()), (event, "0000000012345000"));
            let boot = found().unwrap();
            assert_eq!((boot.state, boot.boot.is_some()), (1, has_header));
            assert_eq!(boot.block, Some(setup::block()));
            crash(0xd1);
            for reason in &reasons {
                world.callback(*reason, &mut data(*reason, 0xd1));
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
    for (_, image) in images() {
        let missing = vec![
            "KeInitializeCrashDumpHeader",
            "KeCapturePersistentThreadState",
        ];
        let world = World::boot(
            &image,
            Setup {
                missing,
                ..newest()
            },
        )
        .unwrap();
        assert_eq!(world.status(), 0xc000_00bb_u32.cast_signed());
        let (code, status, _) = windows::events().pop().unwrap();
        assert_eq!((code, status), (0xe000_0005, 0xc000_00bb_u32.cast_signed()));
        assert_eq!(windows::allocations(), 0);
        assert!(world.registered().is_empty());
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
    for (_, image) in images() {
        for order in orders {
            let world = World::boot(&image, newest()).unwrap();
            crash(0x7e);
            let calls = windows::calls().len();
            let mut first = None;
            for reason in order {
                world.callback(*reason, &mut data(*reason, 0x7e));
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
    for (_, image) in images() {
        let cases: [fn(&mut Setup); 3] = [
            |setup| setup.status = -1,
            |setup| setup.header = Vec::new(),
            // The seed's case: a kernel dump's header.
            |setup| setup.header[0xf98] = 2,
        ];
        for case in cases {
            let world = World::boot(&image, newest()).unwrap();
            let boot = found().unwrap().boot;
            assert!(boot.is_some());
            crash(0x50);
            windows::change(case);
            for reason in [7, 4, 3, -1] {
                world.callback(reason, &mut data(reason, 0x50));
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
    for (_, image) in images() {
        let world = World::boot(&image, newest()).unwrap();
        let mut request = data(4, 0x1e);
        world.callback(4, &mut request);
        assert_eq!(request[1] & 0xffff_ffff, 1, "virtual");
        assert_eq!(request[2..], [windows::pages() as u64, 8]);
        // KiBugCheckData was not set: the callback told the code.
        assert_eq!(found().unwrap().code, Some(0x1e));
        // A structure that is too short is not touched.
        let mut short = vec![0; 2];
        world.callback(4, &mut short);
        assert_eq!(short, [0, 0]);
    }
}

#[test]
fn two_processors_at_once() {
    for (_, image) in images() {
        for _ in 0..20 {
            let world = World::boot(&image, newest()).unwrap();
            crash(0x101);
            let calls = windows::calls().len();
            std::thread::scope(|scope| {
                for reason in [3, 4, 7, -1] {
                    let world = &world;
                    scope.spawn(move || world.callback(reason, &mut data(reason, 0x101)));
                }
            });
            assert_eq!(windows::calls().len(), calls + 1);
            let record = found().unwrap();
            assert_eq!((record.state, record.code), (3, Some(0x101)));
        }
    }
}

#[test]
fn memory_that_was_added() {
    for (_, image) in images() {
        let world = World::boot(&image, newest()).unwrap();
        let boot = found().unwrap();
        world.tick();
        assert_eq!(found().unwrap(), boot, "nothing was added");
        windows::change(|setup| setup.header = header(0, 0x9000));
        world.tick();
        let renewed = found().unwrap();
        assert_eq!((renewed.generation, renewed.state), (2, 1));
        assert_eq!(renewed.boot, Some(header(0, 0x9000)));
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
    for (_, image) in images() {
        for (port, answer, told) in [
            (0, 3, vec![]),
            (0x505, 0xff, vec![]),
            (0x505, 1, vec![(0x505, 1)]),
            (0x505, 3, vec![(0x505, 2), (0x505, 1)]),
        ] {
            step::set_port(answer);
            let parameters = vec![
                ("PvpanicPort", port),
                ("XenShutdown", 1),
                ("PollSeconds", 0),
            ];
            let world = World::boot(
                &image,
                Setup {
                    parameters,
                    ..newest()
                },
            )
            .unwrap();
            assert!(
                !windows::calls()
                    .iter()
                    .any(|call| call == "PsCreateSystemThread")
            );
            for reason in [7, 3, 3, -1, -1] {
                world.callback(reason, &mut data(reason, 1));
            }
            assert_eq!(step::port_writes(), told);
        }
    }
}
