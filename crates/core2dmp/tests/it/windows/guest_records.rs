//! What a driver in the guest left for the host: found, weighed, and enough where everything else is destroyed.
//!
//! ```text
//! guest --KDBG, lists, KUSER_SHARED_DATA overwritten--> the record's page tables, block, stop code, runs, times
//! ```

use core2dmp::address::Gpa;
use core2dmp::error::Error;
use core2dmp::windows::{self, ContextPolicy, GuestRecord as Found, RecordState, Source};
use core2dmp_synth::{Guest, GuestRecord, GuestSpec, crc32};

use crate::support::cases::Case;
use crate::support::dump_bytes::number;
use crate::support::open::{file_of, open};
use crate::support::specs::releases;

const STOP: (u32, [u64; 4]) = (0xd1, [0x28, 2, 0, 0xf800_1234]);

fn kuser(guest: &Guest) -> u64 {
    if guest.expected.arch.is_64() {
        0xffff_f780_0000_0000
    } else {
        0xffdf_0000
    }
}

/// Overwrites the debugger data block, both list heads, and the shared page.
fn destroy(mut guest: Guest) -> Guest {
    let expected = guest.expected.clone();
    let block = expected.kdbg.as_ref().unwrap();
    guest.write_va(block.va, &vec![0xd5; block.plain.len()]);
    for head in [
        expected.ps_loaded_module_list,
        expected.ps_active_process_head,
    ] {
        guest.write_va(head, &[0xd5; 16]);
    }
    guest.write_va(kuser(&guest), &[0xd5; 0x1000]);
    guest
}

fn stopped(spec: GuestSpec) -> GuestSpec {
    spec.processors(2).crashed(STOP.0, STOP.1)
}

/// Rewrites a slot's bytes and sums it anew, as a forger would.
fn forge(guest: &mut Guest, slot: u64, at: u64, bytes: &[u8]) {
    let gpa = guest.expected.guest_records[0].gpa + slot * 0x400;
    guest.frames.write(gpa + at, bytes);
    let mut whole = [0; 0x400];
    guest.frames.read(gpa, &mut whole);
    guest
        .frames
        .write(gpa + 0x3fc, &crc32(&whole[..0x3fc]).to_le_bytes());
}

#[test]
fn a_record_alone() {
    for spec in releases() {
        let spec = stopped(spec).guest_record(GuestRecord::new().high());
        let case = Case::of(destroy(spec.build()));
        let (expected, windows) = (&case.guest.expected, &case.windows);
        let stop = &windows.bugcheck.value;
        assert_eq!((stop.code, stop.crashed), (STOP.0, true));
        assert_eq!(windows.processors.len(), 2);
        assert_eq!(windows.dtb.value, Gpa::new(expected.dtb));
        assert_eq!(windows.kernel.image.base.get(), expected.kernel.base);
        let block = expected.kdbg.as_ref().unwrap();
        assert_eq!(windows.kdbg.value.gva.get(), block.va);
        assert!(windows.kdbg.value.bytes == block.plain);
        let record = &windows.records[0];
        assert_eq!(record.contradictions, Vec::<String>::new());
        assert_eq!(record.state, RecordState::Refreshed);
        assert_eq!(record.gpa.get(), expected.guest_records[0].gpa);
        let build = windows.version.build.as_ref().unwrap();
        assert_eq!(build.value, expected.build);
        let times = [&windows.system_time, &windows.up_time].map(|time| time.as_ref().unwrap());
        assert_eq!(times[0].value, expected.system_time);
        assert_eq!(times[1].value, expected.system_uptime);
        let from = format!(
            "guest record's bug check header in memory at {}",
            record.headers[0].gpa
        );
        assert_eq!(times[0].source.to_string(), format!("{from}, SystemTime"));
        let runs: Vec<_> = windows
            .runs
            .value
            .iter()
            .map(|run| (run.first.get(), run.count))
            .collect();
        assert_eq!(runs, expected.runs);
        // The dump has the block where Windows had it, and the header is of a full dump.
        let plan = case.plan(ContextPolicy::Auto);
        assert!(case.dumped(&plan, block.va, block.plain.len()) == block.plain);
        let kind = if case.width() == 8 { 0xf98 } else { 0xf88 };
        assert_eq!(number(&plan.header()[kind..kind + 4]), 1);
    }
}

#[test]
fn stop_code_and_runs_where_their_variables_are_destroyed_too() {
    for spec in releases() {
        let spec = stopped(spec).guest_record(GuestRecord::new());
        let mut guest = destroy(spec.build());
        let block = guest.expected.kdbg.as_ref().unwrap().plain.clone();
        let mask = if guest.expected.arch.is_64() {
            u64::MAX
        } else {
            0xffff_ffff
        };
        let variable = |at: usize| number(&block[at..at + 8]) & mask;
        let (code, memory) = (variable(0x88), variable(0x270));
        guest.write_va(code, &[0; 40]);
        guest.write_va(memory, &[0; 8]);
        let case = Case::of(guest);
        let stop = &case.windows.bugcheck;
        let parameters = if mask == u64::MAX {
            STOP.1
        } else {
            STOP.1.map(|value| value & mask)
        };
        assert_eq!(
            (stop.value.code, stop.value.parameters),
            (STOP.0, parameters)
        );
        let record = &case.windows.records[0];
        let source = format!("guest record at {}, stop code", record.gpa);
        assert_eq!(stop.source.to_string(), source);
        let runs = &case.windows.runs;
        let source = runs.source.to_string();
        assert!(
            source.starts_with("guest record's bug check header"),
            "{source}"
        );
        let runs: Vec<_> = runs
            .value
            .iter()
            .map(|run| (run.first.get(), run.count))
            .collect();
        assert_eq!(runs, case.guest.expected.runs);
    }
}

#[test]
fn every_state_of_the_driver() {
    for (state, wanted, headers) in [
        (1, RecordState::Boot, 1),
        (2, RecordState::Refreshing, 1),
        (3, RecordState::Refreshed, 2),
        (4, RecordState::Failed, 1),
    ] {
        let record = GuestRecord::new().state(state);
        let case = Case::of(destroy(
            stopped(GuestSpec::windows10()).guest_record(record).build(),
        ));
        let found = &case.windows.records[0];
        assert_eq!((found.state, found.headers.len()), (wanted, headers));
        assert_eq!(found.stop.map(|stop| stop.0), (state > 1).then_some(STOP.0));
        // KiBugcheckData is there, whatever the driver came to.
        assert_eq!(case.windows.bugcheck.value.code, STOP.0);
    }
}

#[test]
fn two_boots_are_told_apart() {
    for spec in releases() {
        let spec = stopped(spec)
            .guest_record(GuestRecord::new().stale())
            .guest_record(GuestRecord::new());
        let case = Case::of(destroy(spec.build()));
        let records = &case.windows.records;
        assert_eq!(records.len(), 2);
        for record in records {
            let known = &case.guest.expected.guest_records;
            let fresh = known
                .iter()
                .find(|known| known.gpa == record.gpa.get())
                .unwrap()
                .fresh;
            assert_eq!(record.is_confirmed(), fresh, "{:?}", record.contradictions);
        }
        assert_eq!(case.windows.dtb.value, Gpa::new(case.guest.expected.dtb));
    }
    // Alone, that of another boot proves nothing.
    let spec = stopped(GuestSpec::windows10()).guest_record(GuestRecord::new().stale());
    let guest = destroy(spec.build());
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let error = windows::identify(&opened).unwrap_err();
    // The kernel's image is found without it; nothing leads to a debugger data block.
    assert!(matches!(error, Error::NoDebuggerData { .. }), "{error:?}");
}

/// The record, in a guest where nothing else is damaged.
fn whole(guest: Guest) -> Result<Found, String> {
    let case = Case::of(guest);
    let refused = || case.windows.warnings.join("\n");
    case.windows.records.first().cloned().ok_or_else(refused)
}

#[test]
fn torn_slots_and_areas_are_refused() {
    let guest = stopped(GuestSpec::windows2003_x64())
        .guest_record(GuestRecord::new())
        .build();
    let gpa = guest.expected.guest_records[0].gpa;
    let flipped = |places: &[u64]| {
        let mut guest = guest.clone();
        for place in places {
            let mut byte = [0];
            guest.frames.read(gpa + place, &mut byte);
            guest.frames.write(gpa + place, &[byte[0] ^ 0x10]);
        }
        whole(guest)
    };
    // The final slot: the one before it counts.
    let record = flipped(&[0xc00 + 0x58]).unwrap();
    assert_eq!(record.state, RecordState::Refreshing);
    assert!(
        record.refused[0].starts_with("slot 3: torn: its sum is 0x"),
        "{:?}",
        record.refused
    );
    let record = flipped(&[0xc00 + 0x58, 0x800 + 0x58]).unwrap();
    assert_eq!((record.state, record.generation), (RecordState::Boot, 1));
    let none = flipped(&[0xc00 + 0x58, 0x800 + 0x58, 0x58]).unwrap_err();
    assert!(none.contains("no valid slot: slot 0: torn"), "{none}");
    // Areas: the block, the boot's header, the bug check's.
    for (place, name) in [
        (0x1020, "the debugger block"),
        (0x2010, "the boot's header"),
        (0x6010, "the bug check's header"),
    ] {
        let record = flipped(&[place]).unwrap();
        assert_eq!(record.refused.len(), 1);
        assert!(record.refused[0].starts_with(name) && record.refused[0].contains("is torn"));
        assert_eq!(record.headers.len(), if place == 0x1020 { 2 } else { 1 });
        assert_eq!(record.block.is_none(), place == 0x1020);
    }
    // Every area of the newest slots: an older one that names what is whole. Here all name the same.
    let record = flipped(&[0x1020, 0x2010, 0x6010]).unwrap();
    assert_eq!((record.headers.len(), record.block), (0, None));
}

#[test]
fn forged_records_are_refused() {
    let guest = stopped(GuestSpec::windows10())
        .guest_record(GuestRecord::new())
        .build();
    let va = guest.expected.guest_records[0].va;
    let forged = |at: u64, bytes: &[u8]| {
        let mut guest = guest.clone();
        for slot in [0, 2, 3] {
            forge(&mut guest, slot, at, bytes);
        }
        whole(guest)
    };
    for (at, bytes, why) in [
        (0x08, &[2_u8, 0][..], "version 2 of 0x400 bytes"),
        (0x20, &[0x77, 0x66][..], "a copy of the page at"),
        (0x34, &[1][..], "a copy of slot 1"),
    ] {
        let refused = forged(at, bytes).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    for (at, bytes, why) in [
        (
            0x28,
            &(va + 0x1000).to_le_bytes()[..],
            "its page is not mapped at",
        ),
        (0x30, &[0x64, 0xaa, 0, 0][..], "another machine than 0x8664"),
        (0x50, &[0xff; 8][..], "ticks of 100 ns after boot"),
    ] {
        let record = forged(at, bytes).unwrap();
        assert!(
            record
                .contradictions
                .iter()
                .any(|found| found.contains(why)),
            "{record:?}"
        );
        assert!(!record.is_confirmed());
    }
    // Areas that lead elsewhere, or are larger than they may be.
    let record = forged(0x90 + 0x10, &[0xff; 4]).unwrap();
    assert!(
        record.refused[0].contains("has 0xffffffff bytes"),
        "{:?}",
        record.refused
    );
    let record = forged(0xb0 + 0x10, &[0, 0x20]).unwrap();
    assert!(
        record.refused[0].contains("the debugger block at"),
        "{:?}",
        record.refused
    );
    let record = forged(0x98, &[0xff; 8]).unwrap();
    assert!(
        record.refused[0].starts_with("the boot's header"),
        "{:?}",
        record.refused
    );
}

#[test]
fn the_seeds_case_is_no_source() {
    // A header whose type follows the guest's own settings, summed as if it were right.
    let mut guest = stopped(GuestSpec::windows2003_x64())
        .guest_record(GuestRecord::new())
        .build();
    let gpa = guest.expected.guest_records[0].gpa;
    guest.frames.write(gpa + 0x6000 + 0xf98, &[2]);
    let mut header = [0; 0x2000];
    guest.frames.read(gpa + 0x6000, &mut header);
    forge(&mut guest, 3, 0x90 + 0x44, &crc32(&header).to_le_bytes());
    let record = whole(destroy(guest)).unwrap();
    assert_eq!(record.headers.len(), 1);
    assert!(
        record.refused[0].ends_with("is no header of a full dump"),
        "{:?}",
        record.refused
    );
}

#[test]
fn no_more_pages_are_looked_at_than_the_limit() {
    // docs/security.md: MAX_RECORDS. Pages that begin as slots do.
    let looked_at = |count: usize| {
        let mut guest = GuestSpec::windows7().build();
        let frames = guest.present.iter().flat_map(|run| run.0..run.0 + run.1);
        let is_zero = |pfn: &u64| guest.page(*pfn).unwrap() == [0; 0x1000];
        let free: Vec<u64> = frames.filter(is_zero).take(count).collect();
        assert_eq!(free.len(), count);
        for pfn in free {
            guest.frames.write(pfn << 12, b"C2DMPREC");
        }
        let opened = open(file_of(&guest.xen_core())).unwrap();
        let options = windows::IdentifyOptions::default().header_search(windows::HeaderSearch::All);
        let warnings = windows::identify_with(&opened, &options).unwrap().warnings;
        let refused = |warning: &&String| warning.starts_with("guest record at");
        warnings.iter().filter(refused).count()
    };
    assert_eq!(looked_at(63), 63);
    assert_eq!(looked_at(64), 64);
    assert_eq!(looked_at(65), 64);
}

#[test]
fn a_record_beside_a_whole_system_changes_nothing() {
    for spec in releases() {
        let with = Case::new(stopped(spec.clone()).guest_record(GuestRecord::new()));
        let record = &with.windows.records[0];
        assert_eq!(record.contradictions, Vec::<String>::new());
        assert!(
            with.windows
                .headers
                .iter()
                .all(windows::GuestHeader::is_confirmed)
        );
        assert_eq!(with.windows.headers.len(), 2);
        assert!(!matches!(
            with.windows.bugcheck.source,
            Source::Header { .. }
        ));
        assert!(with.windows.bugcheck.rejected.is_empty());
        assert!(!matches!(with.windows.kdbg.source, Source::Header { .. }));
    }
}
