//! Processors whose control blocks, or the array that leads to them, are not in the memory.

use core2dmp::windows::{self, Windows};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::absent::{frame, take};
use crate::support::open::{file_of, open};

fn guests() -> [(&'static str, Guest); 4] {
    [
        ("Windows 10", GuestSpec::windows10()),
        ("Windows 2003, x64", GuestSpec::windows2003_x64()),
        ("Windows 7, PAE", GuestSpec::windows7_pae()),
        ("Windows 2003, x86", GuestSpec::windows2003_x86()),
    ]
    .map(|(name, spec)| (name, spec.processors(3).build()))
}

fn identify(guest: &Guest) -> Windows {
    windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap()
}

fn vcpus(windows: &Windows) -> Vec<(u32, Option<usize>)> {
    let processors = windows.processors.iter();
    processors.map(|p| (p.number, p.vcpu)).collect()
}

#[test]
fn a_control_block_that_is_missing_is_a_processor() {
    for (name, whole) in guests() {
        for lost in 0..3 {
            let mut guest = whole.clone();
            let prcb = guest.expected.processors[lost].kprcb;
            let pfn = frame(&guest, prcb);
            take(&mut guest, pfn);
            let windows = identify(&guest);
            assert_eq!(windows.processor_count.value, 3, "{name}, {lost}");
            let all = [(0, Some(0)), (1, Some(1)), (2, Some(2))];
            assert_eq!(vcpus(&windows), all, "{name}, {lost}");
            let is_lost = |n: usize| windows.processors[n].lost.is_some();
            // Elsewhere the control block's first page does not hold its number.
            if name == "Windows 10" {
                assert_eq!([0, 1, 2].map(is_lost), [0, 1, 2].map(|n| n == lost));
            }
        }
    }
}

#[test]
fn a_control_block_of_zeros_is_a_processor() {
    for (name, whole) in guests() {
        let mut guest = whole.clone();
        let pfn = frame(&guest, guest.expected.processors[2].kprcb);
        guest.frames.write(pfn << 12, &[0; 4096]);
        let windows = identify(&guest);
        assert_eq!(windows.processor_count.value, 3, "{name}");
    }
}

/// The array's page has lists and the version block on it too, so only the pointers are taken away here: the array is
/// said to begin before the end of a page whose successor is missing.
#[test]
fn vcpus_lead_to_processors_where_the_array_is_cut() {
    let mut guest = GuestSpec::windows10()
        .processors(3)
        .crashed(0xe2, [0; 4])
        .build();
    let block = guest.expected.kdbg.clone().unwrap().va;
    let base = guest.expected.kernel.base;
    let end = base + 0x21_6000;
    let first = guest.expected.processors[0].kprcb;
    guest.write_va(end - 8, &first.to_le_bytes());
    guest.write_va(block + 0x218, &(end - 8).to_le_bytes());
    let pfn = frame(&guest, end);
    take(&mut guest, pfn);
    let windows = identify(&guest);
    assert_eq!(vcpus(&windows), [(0, Some(0)), (1, Some(1)), (2, Some(2))]);
    assert_eq!(windows.processor_count.value, 3);

    // Without them the number is known still.
    guest.vcpus.truncate(1);
    let windows = identify(&guest);
    assert_eq!(vcpus(&windows).len(), 1);
    assert_eq!(windows.processor_count.value, 3);
    assert_eq!(
        windows.processor_count.source.to_string(),
        "KUSER_SHARED_DATA ActiveProcessorCount"
    );
}
