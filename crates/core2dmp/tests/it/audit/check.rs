//! `check` on good dumps, and on every row of the table of broken ones.

use std::io::Cursor;
use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{PlanOptions, plan};
use core2dmp::windows::identify;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::broken::Body;
use core2dmp_synth::dump::{self, Ranges};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use crate::support::rows::{assert_clean, assert_rows};

#[test]
fn rows_of_a_full_dump() {
    assert_rows(Body::Full64);
}

#[test]
fn rows_of_a_full_dump_of_32_bit() {
    assert_rows(Body::Full32);
}

#[test]
fn rows_of_a_dump_of_a_running_guest() {
    assert_rows(Body::Live64);
}

#[test]
fn rows_of_a_bitmap_dump() {
    assert_rows(Body::Bitmap64);
}

#[test]
fn rows_of_a_kernel_dump() {
    assert_rows(Body::Kernel64);
}

#[test]
fn rows_of_a_summary_dump() {
    assert_rows(Body::Summary64);
    assert_rows(Body::Summary32);
}

#[test]
fn rows_of_dumps_with_ranges() {
    assert_rows(Body::Ranges8);
    assert_rows(Body::Ranges9);
    assert_rows(Body::RangesA);
}

#[test]
fn rows_of_five_levels_of_page_tables() {
    assert_rows(Body::Levels5);
}

#[test]
fn rows_of_a_bitmap_dump_of_more_than_a_view() {
    assert_rows(Body::Large64);
}

/// All types that a guest of this Windows can be dumped as.
fn assert_all_types_clean(name: &str, guest: &Guest) {
    for (kind, dump) in [
        ("full", dump::full(guest)),
        ("bitmap", dump::bitmap(guest, false)),
        ("kernel", dump::bitmap(guest, true)),
        ("summary", dump::summary(guest)),
        ("ranges", dump::rdmp(guest, Ranges::Complete)),
        ("kernel ranges", dump::rdmp(guest, Ranges::Kernel)),
    ] {
        assert_clean(&format!("{name}, {kind}"), &dump.bytes);
    }
}

#[test]
fn good_dumps_of_64_bit_have_no_findings() {
    for (name, spec) in [
        ("Windows 10", GuestSpec::windows10().processors(4)),
        ("Windows 10, five levels", GuestSpec::windows10_la57()),
        (
            "Windows 10, above 4 GiB",
            GuestSpec::windows10().memory_mib(24).above_4g(),
        ),
        (
            "Windows 7",
            GuestSpec::windows7().crashed(0xd1, [1, 2, 3, 4]),
        ),
        ("Windows 2003", GuestSpec::windows2003_x64().processors(2)),
    ] {
        assert_all_types_clean(name, &spec.build());
    }
}

/// The guest as a Xen core, converted.
fn converted(guest: &Guest) -> Vec<u8> {
    let mut core = Cursor::new(Vec::new());
    guest.xen_core().write_to(&mut core).unwrap();
    let opened = container::open(Arc::new(core.into_inner()), OpenOptions::default()).unwrap();
    let windows = identify(&opened).unwrap();
    let plan = plan(&opened, &windows, &PlanOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted.dmp");
    let options = WriteOptions::default();
    write::to_file(&plan.image, &opened.memory, &path, options, &Silent).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn converted_dumps_have_no_findings() {
    let stop = [1, 2, 3, 4];
    for (name, spec) in [
        ("Windows 10, running", GuestSpec::windows10().processors(4)),
        (
            "Windows 10, in user mode",
            GuestSpec::windows10().processors(2).vcpu_user_mode(0),
        ),
        (
            "Windows 10, a stop code with records",
            GuestSpec::windows10().crash_record(CrashRecord::SystemThreadException),
        ),
        (
            "Windows 10, ballooned",
            GuestSpec::windows10().fill(40).ballooned(0x1f00, 0x20),
        ),
        ("Windows 7", GuestSpec::windows7().crashed(0xd1, stop)),
        (
            "Windows 2003",
            GuestSpec::windows2003_x64().crashed(0xe2, [0; 4]),
        ),
        ("Windows 2003, x86", GuestSpec::windows2003_x86()),
        (
            "Windows 2003, PAE",
            GuestSpec::windows2003_pae()
                .processors(4)
                .crashed(0xe2, stop),
        ),
        ("Windows 7, PAE", GuestSpec::windows7_pae().processors(2)),
    ] {
        assert_clean(name, &converted(&spec.build()));
    }
}

#[test]
fn good_dumps_of_32_bit_have_no_findings() {
    for (name, spec) in [
        ("Windows 2003", GuestSpec::windows2003_x86().processors(2)),
        (
            "Windows 2003 with PAE",
            GuestSpec::windows2003_pae().crashed(0xe2, [0; 4]),
        ),
        ("Windows 7", GuestSpec::windows7_pae()),
    ] {
        assert_all_types_clean(name, &spec.build());
    }
}
