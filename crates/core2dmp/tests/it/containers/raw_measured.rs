//! Raw memory that measures itself: files that leave something out and do not say so.
//!
//! ```text
//! video memory's window | the first mebibyte | the hole below 4 GiB | all of them       read as they belong
//! something in front    | pages between page tables, or behind all of them              what is proven, no page wrong
//! ```

use core2dmp::address::Pfn;
use core2dmp::container;
use core2dmp::error::Result;
use core2dmp::measure::measured;
use core2dmp::windows::{self, Windows};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::containers::open;
use crate::support::counted::count;

const PAGE: usize = 4096;

/// Every kind of page tables, with the kernel's structures all over the memory.
fn specs() -> Vec<(&'static str, GuestSpec)> {
    vec![
        ("windows10", GuestSpec::windows10()),
        ("windows10, five levels", GuestSpec::windows10_la57()),
        ("windows7", GuestSpec::windows7()),
        ("windows2003_x64", GuestSpec::windows2003_x64()),
        ("windows2003_x86", GuestSpec::windows2003_x86()),
        ("windows2003_pae", GuestSpec::windows2003_pae()),
        ("windows7_pae", GuestSpec::windows7_pae()),
    ]
    .into_iter()
    .map(|(name, spec)| (name, spec.memory_mib(24).low_stub(false).fill(20)))
    .collect()
}

/// A file's pages without these.
fn without(file: &[u8], pages: std::ops::Range<usize>) -> Vec<u8> {
    [&file[..pages.start * PAGE], &file[pages.end * PAGE..]].concat()
}

fn read(file: Vec<u8>) -> (container::Guest, Result<Windows>) {
    let guest = open(file).unwrap();
    let found = windows::identify(&guest);
    measured(guest, found, &windows::identify)
}

/// Fails where a frame that Windows counts is not the guest's; returns how many are missing.
fn missing(name: &str, opened: &container::Guest, guest: &Guest) -> u64 {
    let mut missing = 0;
    let (mut page, mut own) = ([0; PAGE], [0; PAGE]);
    for &(first, count) in &guest.expected.runs {
        for pfn in first..first + count {
            if opened.memory.read(Pfn::new(pfn).gpa(), &mut page).is_err() {
                missing += 1;
                continue;
            }
            guest.frames.read_frame(pfn, &mut own);
            assert!(page == own, "{name}: frame {pfn:#x} is another one's");
        }
    }
    missing
}

/// Windows is found, every page is in its place, and so many are missing; returns the warnings.
fn check(name: &str, file: Vec<u8>, guest: &Guest, lost: u64) -> Vec<String> {
    let (opened, found) = read(file);
    let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(found.dtb.value.get(), guest.expected.dtb, "{name}");
    assert_eq!(
        missing(name, &opened, guest),
        lost,
        "{name}: {:?}",
        found.warnings
    );
    found.warnings
}

fn says(warnings: &[String], text: &str) -> bool {
    warnings.iter().any(|warning| warning.contains(text))
}

#[test]
fn a_flat_file_stays_as_it_is() {
    for (name, spec) in specs() {
        let guest = spec.build();
        let warnings = check(name, guest.raw(0, 0x1800), &guest, 0);
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
    }
}

#[test]
fn the_video_memory_window_is_skipped() {
    for (name, spec) in specs() {
        let guest = spec.build();
        let file = without(&guest.raw(0, 0x1800), 0xa0..0xc0);
        let warnings = check(name, file, &guest, 0);
        assert!(
            says(&warnings, "leaves out 0xa0000-0xbffff"),
            "{name}: {warnings:?}"
        );
    }
}

#[test]
fn the_file_begins_at_a_mebibyte() {
    for (name, spec) in specs()
        .into_iter()
        .filter(|(name, _)| *name != "windows2003_x86")
    {
        let guest = spec.build();
        let file = without(&guest.raw(0, 0x1800), 0..0x100);
        let warnings = check(name, file, &guest, 0x9e);
        assert!(
            says(&warnings, "begins at physical address 0x100000"),
            "{name}: {warnings:?}"
        );
    }
}

#[test]
fn something_is_in_front_of_the_memory() {
    for (name, spec) in specs() {
        let guest = spec.build();
        let file = [vec![0x41; 3 * PAGE], guest.raw(0, 0x1800)].concat();
        let warnings = check(name, file, &guest, 0);
        assert!(
            says(&warnings, "0x3000 bytes in front"),
            "{name}: {warnings:?}"
        );
    }
}

#[test]
fn the_hole_below_4_gib_and_the_window_are_skipped() {
    for (name, spec) in specs()
        .into_iter()
        .filter(|(name, _)| *name != "windows2003_x86")
    {
        let guest = spec.above_4g().build();
        let whole = guest.raw_without_hole();
        let warnings = check(name, whole.clone(), &guest, 0);
        assert!(says(&warnings, "hole"), "{name}: {warnings:?}");
        let warnings = check(name, without(&whole, 0xa0..0xc0), &guest, 0);
        assert!(
            says(&warnings, "leaves out 0xa0000-0xbffff"),
            "{name}: {warnings:?}"
        );
        assert!(
            says(&warnings, "leaves out 0xc00000-0xffffffff"),
            "{name}: {warnings:?}"
        );
    }
}

/// Pages that Windows counts are not in the file: what is between the page tables before and behind cannot be placed.
#[test]
fn pages_are_missing_between_page_tables() {
    for (name, spec) in specs() {
        let guest = spec.build();
        let mut roots: Vec<u64> = guest
            .expected
            .processes
            .iter()
            .map(|p| p.dtb >> 12)
            .collect();
        roots.sort_unstable();
        let middle = (roots[6] + 1) as usize;
        let file = without(&guest.raw(0, 0x1800), middle..middle + 3);
        let (opened, found) = read(file);
        match found {
            Ok(windows) => {
                let lost = missing(name, &opened, &guest);
                assert!(lost >= 3, "{name}: {:?}", windows.warnings);
                assert!(
                    says(&windows.warnings, "missing from this file"),
                    "{name}: {:?}",
                    windows.warnings
                );
            }
            // Where the pages that are missing are what finds it.
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
}

/// Behind the last page tables: nothing but the file's end tells.
#[test]
fn pages_are_missing_behind_all_page_tables() {
    for (name, spec) in specs() {
        let guest = spec.memory_mib(40).build();
        let file = without(&guest.raw(0, 0x2800), 0x2700..0x2703);
        let (opened, found) = read(file);
        let windows = found.unwrap();
        let lost = missing(name, &opened, &guest);
        assert!(lost >= 3, "{name}: {:?}", windows.warnings);
        assert!(
            says(&windows.warnings, "missing from this file"),
            "{name}: {:?}",
            windows.warnings
        );
    }
}

/// High memory that nobody used yet: the frames that Windows counts fit the file to the frame.
#[test]
fn high_memory_that_is_all_zeros() {
    let guest = GuestSpec::windows10().memory_mib(24).build();
    let mut runs = guest.expected.runs.clone();
    let high = (0x10_0000, 0x800);
    runs.push(high);
    let mut guest = guest;
    count(&mut guest, &runs);
    let mut file = guest.raw(0, 0x1800);
    file.resize(file.len() + 0x800 * PAGE, 0);
    let (opened, found) = read(file);
    let windows = found.unwrap();
    assert_eq!(opened.memory.runs().len(), 2, "{:?}", windows.warnings);
    assert_eq!(missing("zeros", &opened, &guest), 0);
    assert!(
        says(&windows.warnings, "--hole 0x1800000-0x100000000"),
        "{:?}",
        windows.warnings
    );
}
