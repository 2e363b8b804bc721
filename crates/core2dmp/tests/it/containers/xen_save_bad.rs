//! Saved domains that are damaged, or made to hurt: one clear error each.

use std::sync::LazyLock;

use core2dmp::address::Pfn;
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec, XenSaver};
use proptest::prelude::*;

use crate::support::bad::{refusal, salvage};
use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;

static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    GuestSpec::windows10()
        .processors(2)
        .memory_mib(20)
        .fill(60)
        .build()
});

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.xen_save().bytes());
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.xen_save().saver(XenSaver::Libxc).bytes());

/// Where the first record of pages stands in `IMAGE`: behind both headers and three records.
const PAGES: usize = 24 + 16 + 32 + 8 + 16;

/// Where Xen's context stands in `IMAGE`.
fn context() -> usize {
    let magic = 0x5438_1286_u32.to_le_bytes();
    IMAGE
        .windows(4)
        .rposition(|window| window == magic)
        .unwrap()
        - 8
}

#[test]
fn cut_at_every_border() {
    assert_memory(&open(FILE.clone()).unwrap(), &SMALL);
    for bytes in [33, 47, 48, 60, 80, 88, 96, 110, 125, 148, 149, 159] {
        let line = refusal(FILE[..bytes].to_vec());
        assert!(
            line.starts_with("the core is cut short: expected 0x"),
            "{line}"
        );
        assert!(
            line.ends_with(&format!(", found {bytes:#x}; missing: all of the memory")),
            "{line}"
        );
        assert_eq!(
            salvage(FILE[..bytes].to_vec()).unwrap_err().to_string(),
            line
        );
    }
    for bytes in [
        PAGES,
        PAGES + 7,
        PAGES + 12,
        PAGES + 100,
        PAGES + 16 + 8192,
        PAGES + 9000,
        context() + 9,
    ] {
        let line = refusal(IMAGE[..bytes].to_vec());
        assert!(
            line.ends_with(&format!(", found {bytes:#x}; missing: the last records")),
            "{line}"
        );
        let opened = salvage(IMAGE[..bytes].to_vec()).unwrap();
        assert!(opened.container.salvaged.is_some());
    }
    // What is there is there.
    let opened = salvage(IMAGE[..PAGES + 16 + 8192 + 4096 * 9 + 1].to_vec()).unwrap();
    assert_eq!(opened.memory.frame_count(), 9);
    assert_eq!(Some(page(&opened, 8)), SMALL.page(8));
    let read = opened.memory.read(Pfn::new(9).gpa(), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Absent { .. })));
    // The end mark alone.
    let end = IMAGE.len() - 8;
    let opened = salvage(IMAGE[..end].to_vec()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(opened.cpus.len(), 2);
}

#[test]
fn headers_of_other_kinds_are_named() {
    for (at, bytes, wanted) in [
        (
            32,
            [4, 3, 2, 2].as_slice(),
            "header of xl at file offset 0x0: expected byte order 0x1020304, found 0x2020304",
        ),
        (
            36,
            &[7],
            "header of xl at file offset 0x0: expected mandatory flags 1 and 2, found 0x7",
        ),
        (
            36,
            &[1],
            "header of xl at file offset 0x0: expected a stream of Xen 4.6 or later, found one of Xen 4.5 or earlier: convert it with Xen's convert-legacy-stream",
        ),
        (
            80,
            b"x",
            "header of libxl at file offset 0x50: expected LibxlFmt version 2, found \"xibxlFmt\" version 2",
        ),
        (
            91,
            &[9],
            "header of libxl at file offset 0x50: expected LibxlFmt version 2, found \"LibxlFmt\" version 9",
        ),
        (
            95,
            &[1],
            "header of libxl at file offset 0x50: expected little-endian records, found big-endian",
        ),
        (
            112,
            &[0],
            "record of libxl at file offset 0x70: expected LIBXC_CONTEXT, the guest's memory, found the end",
        ),
        (
            112,
            &[9],
            "record of libxl at file offset 0x70: expected LIBXC_CONTEXT, the guest's memory, found 0x9",
        ),
        (
            0x78,
            &[0],
            "header of libxc at file offset 0x78: expected the marker, XENF, version 2 or 3, found",
        ),
    ] {
        let line = refusal(patched(FILE.clone(), at, bytes));
        assert!(line.starts_with(wanted), "{line}\n{wanted}");
    }
}

#[test]
fn headers_of_other_images_are_named() {
    for (at, bytes, wanted) in [
        (
            15,
            [9].as_slice(),
            "header of libxc at file offset 0x0: expected the marker, XENF, version 2 or 3, found \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xffXENF\" version 9",
        ),
        (
            17,
            &[1],
            "header of libxc at file offset 0x0: expected little-endian records, found big-endian",
        ),
        (
            24,
            &[1],
            "header of libxc at file offset 0x18: expected an HVM guest, found a PV guest, which is not Windows",
        ),
        (
            24,
            &[9],
            "header of libxc at file offset 0x18: expected an HVM guest, found type 0x9",
        ),
        (
            28,
            &[21],
            "header of libxc at file offset 0x18: expected pages of 4096 bytes, found pages of 2^21 bytes",
        ),
        (
            28,
            &[0xff; 2],
            "header of libxc at file offset 0x18: expected pages of 4096 bytes, found pages of 2^65535 bytes",
        ),
    ] {
        assert_eq!(refusal(patched(IMAGE.clone(), at, bytes)), wanted);
    }
    let libvirt = SMALL.xen_save().saver(XenSaver::Libvirt).bytes();
    let line = refusal(patched(libvirt.clone(), 16, &[1]));
    assert!(
        line.starts_with(
            "header of libvirt at file offset 0x0: expected a stream of Xen 4.6 or later"
        ),
        "{line}"
    );
    let line = refusal(patched(libvirt, 20, &[0xff; 4]));
    assert!(line.starts_with("the core is cut short"), "{line}");
}

#[test]
fn records_at_their_extremes() {
    for (at, bytes, wanted) in [
        (
            PAGES,
            [0x13].as_slice(),
            "record of libxc at file offset 0x60: expected a type below 0x13, or one that may be passed over, found 0x13",
        ),
        (
            PAGES + 4,
            &[0xff; 4],
            "record of libxc at file offset 0x60: expected 134217728 bytes at most, found 4294967295 of type 0x1",
        ),
        (
            PAGES + 8,
            &[0; 4],
            "PAGE_DATA of libxc at file offset 0x68: expected frames that fit into the record, one at least, found 0 in 4202504 bytes",
        ),
        (
            PAGES + 8,
            &[0xff; 4],
            "PAGE_DATA of libxc at file offset 0x68: expected frames that fit into the record, one at least, found 4294967295 in 4202504 bytes",
        ),
        (
            PAGES + 8,
            &[0xff, 3],
            "PAGE_DATA of libxc at file offset 0x68: expected 0x400008 bytes of pages, found 0x3ff000 of 1023 frames",
        ),
        (
            PAGES + 16 + 7,
            &[0x50],
            "PAGE_DATA of libxc at file offset 0x68: expected a type of page that Xen knows, found 0x5 of frame 0x0",
        ),
        (
            PAGES + 16,
            &[0xff; 7],
            "PAGE_DATA of libxc at file offset 0x68: expected a frame below 0x10000000000, found 0xfffffffffffff",
        ),
        (
            PAGES + 16 + 7,
            &[0xf0],
            "PAGE_DATA of libxc at file offset 0x68: expected 0x400000 bytes of pages, found 0x3ff000 of 1024 frames",
        ),
    ] {
        assert_eq!(refusal(patched(IMAGE.clone(), at, bytes)), wanted);
    }
    // One frame twice: the last counts.
    let opened = open(patched(IMAGE.clone(), PAGES + 16, &[1])).unwrap();
    assert_eq!(Some(page(&opened, 1)), SMALL.page(1));
    let read = opened.memory.read(Pfn::new(0).gpa(), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Absent { .. })));
}

#[test]
fn a_context_that_is_broken_costs_the_registers_alone() {
    let at = context();
    let cpu = at + 8 + 24;
    for (place, bytes, cpus, wanted) in [
        (
            at + 8,
            [0].as_slice(),
            0,
            "Xen's context does not begin with its header: no registers",
        ),
        (
            at + 4,
            &[0xff; 4],
            0,
            "the entry of Xen's context at file offset",
        ),
        (
            cpu + 4,
            &[0xff; 4],
            0,
            "the entry of Xen's context at file offset",
        ),
        (
            cpu + 8 + 1032 + 4,
            &[0xff; 4],
            1,
            "the entry of Xen's context at file offset",
        ),
    ] {
        let opened = open(patched(IMAGE.clone(), place, bytes)).unwrap();
        assert_memory(&opened, &SMALL);
        assert_eq!(opened.cpus.len(), cpus);
        assert!(
            opened.container.warnings[0].starts_with(wanted),
            "{:?}",
            opened.container.warnings
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_of_any_kind_do_not_panic(
        at in 0_usize..0x200, part in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let start = [0, PAGES, context()][part];
        let mut file = IMAGE.clone();
        for (target, byte) in file[start + at..].iter_mut().zip(bytes) {
            *target = byte;
        }
        if let Ok(guest) = salvage(file) {
            let _ = guest.memory.read(Pfn::new(0).gpa(), &mut [0; 0x10000]);
        }
    }
}
