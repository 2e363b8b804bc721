//! One guest through every container: the same dump, byte for byte, but for what a container lacks.
//!
//! ```text
//!         +-- Xen core ---------+
//! guest --+-- QEMU ELF ---------+--> identify --> plan --> stream      the reference is Xen's
//!         +-- kdump, LiME, raw -+
//!         +-- hiberfil ---------+
//! ```
//!
//! What may differ: the header's comment, which names the container; and of a running guest the registers.
//! QEMU's notes have no debug registers and no FPU state; LiME and raw files have no registers at all, so that
//! what Windows saved itself stays, and the exception in the header, which is made of them. A hibernation file has those
//! of one processor.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::ops::Range;
use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::container::{self, Guest, OpenOptions, raw};
use core2dmp::dump::{self, PlanOptions};
use core2dmp::error::Remedy;
use core2dmp::memory::Frames;
use core2dmp::windows;
use core2dmp::write::{self, Silent};
use core2dmp_synth::{self as synth, GuestSpec, VirtualboxFormat};

use crate::support::every::{Carries, containers, hiberfil};
use crate::support::open::{file_of, open};

/// The header's comment, of 64 and of 32 bit.
const COMMENT: [Range<usize>; 2] = [0xfb0..0x1030, 0x820..0x8a0];
/// Fields of a `CONTEXT` of amd64: `MxCsr` and the FXSAVE image; DR0 to DR3, DR6 and DR7.
const FPU: [Range<usize>; 2] = [0x34..0x38, 0x100..0x300];
const DEBUG: Range<usize> = 0x48..0x78;
/// Debug registers in `KSPECIAL_REGISTERS` of amd64.
const SPECIAL_DEBUG: Range<usize> = 0x20..0x50;

/// A dump of what was opened.
fn dump(guest: &Guest) -> Vec<u8> {
    let found = windows::identify(guest).unwrap();
    let plan = dump::plan(guest, &found, &PlanOptions::default()).unwrap();
    let mut file = Vec::new();
    let written = write::to_stream(&plan.image, &guest.memory, &mut file, &Silent).unwrap();
    assert_eq!(written.corrupt, 0);
    assert_eq!(file.len() as u64, plan.image.size());
    file
}

/// The same bytes but for these.
#[track_caller]
fn assert_same(name: &str, got: &[u8], wanted: &[u8], masks: &[Range<usize>]) {
    assert_eq!(got.len(), wanted.len(), "{name}");
    let (mut got, mut wanted) = (got.to_vec(), wanted.to_vec());
    for mask in masks {
        got[mask.clone()].fill(0);
        wanted[mask.clone()].fill(0);
    }
    let differs = got.iter().zip(&wanted).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}: the first offset that differs");
}

/// Where a kernel address stands in a dump with these runs.
fn place(guest: &synth::Guest, header: usize, va: u64) -> usize {
    let gpa = guest.translate(va).unwrap();
    let mut at = header as u64;
    for &(first, count) in &guest.expected.runs {
        if (first..first + count).contains(&(gpa >> 12)) {
            return (at + gpa - (first << 12)) as usize;
        }
        at += count << 12;
    }
    panic!("{va:#x} is in no run");
}

#[test]
fn a_crashed_guest_is_the_same_through_all() {
    let crash = |spec: GuestSpec| spec.processors(2).fill(50).crashed(0xd1, [8, 2, 0, 0x1234]);
    for (spec, comment) in [
        (crash(GuestSpec::windows7()), 0),
        (crash(GuestSpec::windows10().memory_mib(24).above_4g()), 0),
        (crash(GuestSpec::windows2003_pae()), 1),
        (crash(GuestSpec::windows2003_x86()), 1),
    ] {
        let guest = spec.build();
        let wanted = dump(&open(file_of(&guest.xen_core())).unwrap());
        for (name, file, _) in containers(&guest) {
            let opened = open(file).unwrap();
            assert_same(name, &dump(&opened), &wanted, &[COMMENT[comment].clone()]);
        }
    }
}

#[test]
fn virtualbox_carries_all_that_xen_does_in_every_format() {
    let guest = GuestSpec::windows10().processors(2).fill(50).build();
    let wanted = dump(&open(file_of(&guest.xen_core())).unwrap());
    for (minor, area_at) in [(4, 0x238), (5, 0x240), (6, 0x248), (6, 0x250)] {
        let format = VirtualboxFormat { minor, area_at };
        let opened = open(guest.qemu_elf().virtualbox_format(format).bytes()).unwrap();
        assert_eq!(opened.container.warnings, Vec::<String>::new());
        let name = format!("VirtualBox 1.{minor}, {area_at:#x}");
        assert_same(&name, &dump(&opened), &wanted, &COMMENT[..1]);
    }
}

/// `dump` of a guest whose container carries everything, less what this one lacks: that is as in the guest's memory, and
/// the flags do not claim it.
fn without(guest: &synth::Guest, mut dump: Vec<u8>, carries: Carries) -> Vec<u8> {
    for (index, processor) in guest.expected.processors.iter().enumerate() {
        let stored = guest.read_va(processor.context, 0x4d0).unwrap();
        let at = place(guest, 0x2000, processor.context);
        // The first processor's stands in the header too.
        for at in [Some(at), (index == 0).then_some(0x348)]
            .into_iter()
            .flatten()
        {
            let mut lack = |field: Range<usize>, flag: u8| {
                let to = &mut dump[at + field.start..at + field.end];
                to.copy_from_slice(&stored[field]);
                dump[at + 0x30] &= !flag;
            };
            for field in FPU.into_iter().filter(|_| !carries.fpu) {
                lack(field, 8);
            }
            if !carries.debug {
                lack(DEBUG, 0x10);
            }
        }
        if !carries.debug {
            let stored = guest.read_va(processor.special, 0x50).unwrap();
            let at = place(guest, 0x2000, processor.special);
            dump[at + SPECIAL_DEBUG.start..at + SPECIAL_DEBUG.end]
                .copy_from_slice(&stored[SPECIAL_DEBUG]);
        }
    }
    dump
}

#[test]
fn a_running_guest_differs_in_what_a_container_lacks() {
    let guest = GuestSpec::windows10().processors(2).fill(50).build();
    let complete = dump(&open(file_of(&guest.xen_core())).unwrap());
    for (name, file, carries) in containers(&guest) {
        let mut masks = vec![COMMENT[0].clone()];
        if !carries.registers {
            // Whole contexts, CR0 to CR4 and the exception's address.
            let processors = &guest.expected.processors;
            let contexts = processors
                .iter()
                .map(|one| place(&guest, 0x2000, one.context));
            masks.extend(contexts.chain([0x348]).map(|at| at..at + 0x4d0));
            let special = processors
                .iter()
                .map(|one| place(&guest, 0x2000, one.special));
            masks.extend(special.map(|at| at..at + 0x20));
            masks.push(0xf00..0xf98);
        }
        if name == "QEMU stream" {
            // The synthetic writer puts the top of the FPU's stack at 3, to prove the order of its registers.
            let processors = &guest.expected.processors;
            let contexts = processors
                .iter()
                .map(|one| place(&guest, 0x2000, one.context));
            masks.extend(contexts.chain([0x348]).map(|at| at + 0x103..at + 0x104));
        }
        let wanted = without(&guest, complete.clone(), carries);
        assert_same(name, &dump(&open(file).unwrap()), &wanted, &masks);
    }
}

#[test]
fn a_hibernation_file_carries_the_processor_that_hibernated() {
    let guest = GuestSpec::windows10().processors(2).fill(50).build();
    let wanted = dump(&open(file_of(&guest.xen_core())).unwrap());
    let other = &guest.expected.processors[1];
    let context = place(&guest, 0x2000, other.context);
    let special = place(&guest, 0x2000, other.special);
    let masks = [
        COMMENT[0].clone(),
        context..context + 0x4d0,
        special..special + 0x50,
    ];
    for (name, file) in hiberfil(&guest) {
        assert_same(name, &dump(&open(file).unwrap()), &wanted, &masks);
    }
}

#[test]
fn a_raw_file_without_its_hole_is_opened_again_with_it() {
    let spec = GuestSpec::windows10().memory_mib(24).above_4g().fill(50);
    let guest = spec.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let wanted = dump(&open(file_of(&guest.xen_core())).unwrap());
    let file = Arc::new(guest.raw_without_hole());
    let counted: Vec<Frames> = guest
        .expected
        .runs
        .iter()
        .map(|run| Frames::new(Pfn::new(run.0), run.1))
        .collect();
    let first = container::open(Arc::clone(&file) as _, OpenOptions::default()).unwrap();
    let options = OpenOptions::default().holes(vec![raw::hole(&first, &counted).unwrap()]);
    let opened = container::open(file, options).unwrap();
    assert_same("raw", &dump(&opened), &wanted, &COMMENT[..1]);
}

#[test]
fn a_page_that_was_lost_is_zeros_and_listed() {
    let guest = GuestSpec::windows7().processors(2).fill(50);
    let guest = guest.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let wanted = dump(&open(file_of(&guest.xen_core())).unwrap());
    let mut file = guest.kdump().bytes();
    // A frame that nothing was written to, but that is not zero.
    let pfn = (0x200..)
        .find(|pfn| !guest.frames.is_written(*pfn) && guest.page(*pfn) != Some([0; 4096]))
        .unwrap();
    let descriptor = guest.kdump().descriptors_at() + (pfn - 0x20) * 24;
    file[descriptor as usize + 12] = 0x40;
    let opened = open(file).unwrap();
    let found = windows::identify(&opened).unwrap();
    let plan = dump::plan(&opened, &found, &PlanOptions::default()).unwrap();
    let refused = write::to_stream(&plan.image, &opened.memory, &mut Vec::new(), &Silent);
    let error = refused.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the page of physical address {:#x} cannot be decoded: file offset {descriptor:#x}: compressed in an unknown way: flags 0x40",
            pfn << 12
        )
    );
    assert!(error.remedy() == Some(Remedy::AcceptCorrupt));
    let options = PlanOptions::default().salvage(true);
    let plan = dump::plan(&opened, &found, &options).unwrap();
    let mut got = Vec::new();
    let written = write::to_stream(&plan.image, &opened.memory, &mut got, &Silent).unwrap();
    assert_eq!(written.corrupt, 1);
    assert_eq!(written.corrupt_pages[0].gpa.get(), pfn << 12);
    let at = 0x2000 + ((0x9e + pfn - 0x100) << 12) as usize;
    assert_eq!(got[at..at + 4096], [0; 4096]);
    assert_same("kdump", &got, &wanted, &[COMMENT[0].clone(), at..at + 4096]);
}
