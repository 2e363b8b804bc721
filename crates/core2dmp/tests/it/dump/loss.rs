//! What a container lacks of the memory that Windows counts: said by share and cause, and never invented unasked.

use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, DumpKind, Plan, PlanOptions};
use core2dmp::measure::measured;
use core2dmp::windows;
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::counted::count;
use crate::support::open::{file_of, open};

const SAID: &str = "of what Windows counts is missing";

fn plan(guest: &container::Guest, kind: DumpKind) -> Plan {
    let found = windows::identify(guest).unwrap();
    dump::plan(guest, &found, &PlanOptions::default().kind(kind)).unwrap()
}

/// The warning of a plan.
fn said(plan: &Plan) -> Option<&str> {
    let mut warnings = plan.warnings.iter().map(String::as_str);
    warnings.find(|warning| warning.contains(SAID))
}

/// A guest of 32 MiB whose kernel is at the bottom, and its memory as Xen wrote it without some frames.
fn lacking(first: u64, count: u64) -> (Guest, container::Guest) {
    let guest = GuestSpec::windows10()
        .memory_mib(32)
        .ballooned(first, count)
        .build();
    let opened = open(file_of(&guest.xen_core())).unwrap();
    (guest, opened)
}

fn counted(guest: &Guest) -> u64 {
    guest.expected.runs.iter().map(|run| run.1).sum()
}

#[test]
fn up_to_one_in_a_hundred_is_filled_with_zeros() {
    let whole = counted(&GuestSpec::windows10().memory_mib(32).build());
    let most = whole / 100;
    let (_, opened) = lacking(0x1c00, most);
    let small = plan(&opened, DumpKind::Auto);
    assert_eq!((small.dump_type, small.missing.frames), (1, most));
    assert_eq!(said(&small), None);
    let (_, opened) = lacking(0x1c00, most + 1);
    let large = plan(&opened, DumpKind::Auto);
    assert_eq!((large.dump_type, large.missing.frames), (5, most + 1));
    let share = format!("1.0 % {SAID}, {} of {whole} frames: 0x1c00000-", most + 1);
    assert!(
        said(&large).unwrap().starts_with(&share),
        "{:?}",
        large.warnings
    );
}

#[test]
fn a_full_dump_is_written_where_it_is_asked_for() {
    let (_, opened) = lacking(0x1c00, 0x200);
    let full = plan(&opened, DumpKind::Full);
    assert_eq!((full.dump_type, full.missing.frames), (1, 0x200));
    assert!(
        said(&full)
            .unwrap()
            .contains("a balloon driver had taken it")
    );
}

/// A guest of 40 MiB that counts 4 MiB more at 64 MiB.
fn counting_more() -> Guest {
    let mut guest = GuestSpec::windows10().memory_mib(40).fill(10).build();
    let mut runs = guest.expected.runs.clone();
    runs.push((0x4000, 0x400));
    count(&mut guest, &runs);
    guest
}

/// The plan of a raw file.
fn plan_of(file: Vec<u8>) -> Plan {
    let first = container::open(Arc::new(file), OpenOptions::default()).unwrap();
    let found = windows::identify(&first);
    let (opened, found) = measured(first, found, &windows::identify);
    dump::plan(&opened, &found.unwrap(), &PlanOptions::default()).unwrap()
}

#[test]
fn a_file_that_ends_early_says_where() {
    let cut = plan_of(counting_more().raw(0, 0x2800));
    assert_eq!((cut.dump_type, cut.missing.frames), (5, 0x400));
    let said = said(&cut).unwrap();
    let cause = "the file ends at 40 MiB; Windows counts up to 68 MiB";
    assert!(said.contains(cause), "{said}");
    assert!(said.contains("--hole START-END"), "{said}");
}

/// What could not be placed is not said to be behind the file's end.
#[test]
fn pages_of_a_raw_file_that_cannot_be_placed_are_counted() {
    let mut file = counting_more().raw(0, 0x2800);
    file.drain(0x2700 * 4096..0x2703 * 4096);
    let plan = plan_of(file);
    let said = said(&plan).unwrap();
    assert!(
        said.contains("pages of the file could not be placed"),
        "{said}"
    );
    assert!(!said.contains("the file ends at"), "{said}");
}
