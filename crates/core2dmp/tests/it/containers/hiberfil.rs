//! Hibernation files of every version: memory, the processor's registers, and what the first page says.

use std::sync::Arc;

use core2dmp::address::{Gpa, PAGE_BYTES};
use core2dmp::container::{self, Guest, OpenOptions, Registers};
use core2dmp::error::{Error, Remedy, Result};
use core2dmp::windows;
use core2dmp_synth::{self as synth, GuestSpec, HiberVersion};

fn open(file: Vec<u8>) -> Result<Guest> {
    container::open(Arc::new(file), OpenOptions::default())
}

/// A guest that this version could be.
fn guest_of(version: HiberVersion) -> synth::Guest {
    let spec = match version {
        HiberVersion::Xp32 => GuestSpec::windows2003_x86(),
        HiberVersion::Xp64 => GuestSpec::windows2003_x64(),
        HiberVersion::Vista32 | HiberVersion::VistaSp2x32 | HiberVersion::Seven32 => {
            GuestSpec::windows7_pae()
        }
        HiberVersion::Eight32 | HiberVersion::Ten32 => GuestSpec::windows7_pae(),
        HiberVersion::Vista64 | HiberVersion::VistaSp2x64 | HiberVersion::Seven64 => {
            GuestSpec::windows7()
        }
        HiberVersion::Eight64 | HiberVersion::Ten64 | HiberVersion::Eleven => {
            GuestSpec::windows10()
        }
    };
    spec.processors(2).fill(80).build()
}

/// Every frame is as the guest has it, and there are no others.
#[track_caller]
fn assert_memory(opened: &Guest, guest: &synth::Guest) {
    assert_eq!(opened.memory.frame_count(), guest.frame_count());
    let mut page = [0; PAGE_BYTES];
    for &(first, count) in &guest.present {
        for pfn in first..first + count {
            opened.memory.read(Gpa::new(pfn << 12), &mut page).unwrap();
            assert!(Some(page) == guest.page(pfn), "frame {pfn:#x}");
        }
    }
}

fn detail(opened: &Guest, name: &str) -> String {
    let details = &opened.container.details;
    let found = details.iter().find(|(key, _)| *key == name);
    found
        .unwrap_or_else(|| panic!("{name} in {details:?}"))
        .1
        .clone()
}

#[track_caller]
fn warned(opened: &Guest, part: &str) {
    let warnings = &opened.container.warnings;
    assert!(
        warnings.iter().any(|text| text.contains(part)),
        "{warnings:?}"
    );
}

#[test]
fn all_versions_hold_the_guest() {
    for version in HiberVersion::ALL {
        let guest = guest_of(version);
        let file = guest.hiberfil(version).build();
        let opened = open(file.bytes).unwrap();
        assert_eq!(opened.container.format, "hiberfil", "{version:?}");
        assert_memory(&opened, &guest);
        let layout = detail(&opened, "layout");
        let bits = if version.is_64() { "64 bit" } else { "32 bit" };
        assert!(
            layout.contains(bits) || version == HiberVersion::Eleven,
            "{version:?}: {layout}"
        );
        if !version.has_runs() {
            assert_eq!(detail(&opened, "tables"), file.tables.len().to_string());
        }
        assert_registers(&opened, &guest);
        let found = windows::identify(&opened).unwrap();
        let whose: Vec<_> = found.processors.iter().map(|p| p.vcpu).collect();
        assert_eq!(whose, [Some(0), None], "{version:?}");
    }
}

/// The one processor of the file is the guest's first vCPU.
fn assert_registers(opened: &Guest, guest: &synth::Guest) {
    assert_eq!(opened.cpus.len(), 1);
    let Registers::X86(got) = &opened.cpus[0].registers else {
        panic!("of another architecture");
    };
    let vcpu = &guest.vcpus[0];
    let wanted = &vcpu.registers;
    assert_eq!(
        (got.rip, got.rsp, got.rbp),
        (wanted.rip, wanted.rsp, wanted.rbp)
    );
    assert_eq!((got.rax, got.rdi), (wanted.rax, wanted.rdi));
    assert_eq!(
        (got.cr0, got.cr3, got.cr4),
        (wanted.cr0, wanted.cr3, wanted.cr4)
    );
    assert_eq!((got.cs, got.ss, got.fs), (wanted.cs, wanted.ss, wanted.fs));
    assert_eq!(got.rflags, wanted.rflags);
    assert_eq!(got.fxsave, Some(wanted.fxsave));
    let gdtr = got.gdtr.unwrap();
    assert_eq!((gdtr.base, gdtr.limit), vcpu.gdt);
    if guest.expected.arch.is_64() {
        assert_eq!(got.r8_r15[7], wanted.r15);
        assert_eq!(got.gs_base_kernel, vcpu.gs_base_kernel);
    }
}

#[test]
fn all_ways_of_compression() {
    let guest = guest_of(HiberVersion::Ten64);
    for method in 0..4 {
        let file = guest.hiberfil(HiberVersion::Ten64).method(method);
        assert_memory(&open(file.bytes()).unwrap(), &guest);
    }
}

#[test]
fn ranges_from_the_last_to_the_first() {
    for version in [HiberVersion::Seven64, HiberVersion::Ten64] {
        let guest = guest_of(version);
        let file = guest.hiberfil(version).reversed();
        assert_memory(&open(file.bytes()).unwrap(), &guest);
    }
}

#[test]
fn nothing_between_blocks_is_passed_over() {
    let guest = guest_of(HiberVersion::Xp32);
    let file = guest.hiberfil(HiberVersion::Xp32).gap(0x1238);
    assert_memory(&open(file.bytes()).unwrap(), &guest);
}

#[test]
fn a_resumed_file_is_read_with_a_warning() {
    for (version, tag) in [
        (HiberVersion::Xp32, *b"wake"),
        (HiberVersion::Seven64, *b"WAKE"),
        (HiberVersion::Ten64, *b"WAKE"),
    ] {
        let guest = guest_of(version);
        let opened = open(guest.hiberfil(version).signature(tag).bytes()).unwrap();
        assert_memory(&opened, &guest);
        assert_eq!(detail(&opened, "state"), "resumed since");
        warned(&opened, "resumed or started after");
    }
    let guest = guest_of(HiberVersion::Seven64);
    let file = guest.hiberfil(HiberVersion::Seven64).signature(*b"RSTR");
    warned(&open(file.bytes()).unwrap(), "begun and not ended");
}

#[test]
fn up_to_windows_7_a_wiped_header_does_not_matter() {
    for version in HiberVersion::ALL {
        if version.has_runs() {
            continue;
        }
        let guest = guest_of(version);
        let mut file = guest.hiberfil(version).bytes();
        file[..PAGE_BYTES].fill(0);
        let opened = open(file).unwrap();
        assert_memory(&opened, &guest);
        assert_registers(&opened, &guest);
        warned(&opened, "the first page is zeros");
    }
}

#[test]
fn since_windows_8_a_wiped_header_is_told_and_salvaged() {
    for version in [HiberVersion::Ten32, HiberVersion::Eleven] {
        let guest = guest_of(version);
        let mut file = guest.hiberfil(version).bytes();
        file[..PAGE_BYTES].fill(0);
        let error = open(file.clone()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this hibernation file holds no memory: its header is zeros, as Windows 8 and later leave it when they resume; its former memory is still there from 0x7000 on"
        );
        assert!(error.remedy() == Some(Remedy::TakeWhileHibernated));
        let salvage = OpenOptions::default().salvage(true);
        let opened = container::open(Arc::new(file), salvage).unwrap();
        assert_memory(&opened, &guest);
        assert!(
            opened
                .container
                .salvaged
                .unwrap()
                .contains("missing: the header")
        );
    }
}

#[test]
fn an_empty_file_says_what_that_means() {
    let error = open(vec![0; 0x20_0000]).unwrap_err();
    assert!(matches!(error, Error::NoMemory { .. }));
    assert_eq!(
        error.to_string(),
        "this hibernation file holds no memory: all of its 2097152 bytes are zeros"
    );
    assert!(error.remedy() == Some(Remedy::TakeWhileHibernated));
    // Resumed, and its sets wiped.
    let guest = guest_of(HiberVersion::Ten64);
    let file = guest.hiberfil(HiberVersion::Ten64).signature(*b"WAKE");
    let mut file = file.build();
    file.bytes[file.tables[0]..].fill(0);
    let error = open(file.bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this hibernation file holds no memory: its pages are zeros (resumed since)"
    );
}

#[test]
fn a_link_names_the_file() {
    let mut file = b"linkmulti(0)disk(0)rdisk(0)partition(2)\\hiberfil.sys\0".to_vec();
    file.resize(0x1000, 0);
    let error = open(file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this hibernation file holds no memory: it is a link to \"multi(0)disk(0)rdisk(0)partition(2)\\\\hiberfil.sys\""
    );
    assert!(error.remedy() == Some(Remedy::GiveLinkTarget));
    assert!(matches!(
        open(b"link to another page".repeat(300)).unwrap_err(),
        Error::UnknownContainer { .. }
    ));
}

#[test]
fn a_header_of_another_length_is_read_by_what_stands_there() {
    for version in [
        HiberVersion::Seven32,
        HiberVersion::Eight64,
        HiberVersion::Ten32,
        HiberVersion::Eleven,
    ] {
        let guest = guest_of(version);
        let file = guest.hiberfil(version).length_self(0x5b0);
        let opened = open(file.bytes()).unwrap();
        assert_memory(&opened, &guest);
        if version.has_runs() {
            warned(&opened, "a header of 0x5b0 bytes is not known");
        }
    }
}

#[test]
fn a_file_without_the_processor_has_none() {
    let guest = guest_of(HiberVersion::Ten64);
    let opened = open(guest.hiberfil(HiberVersion::Ten64).processor(None).bytes()).unwrap();
    assert!(opened.cpus.is_empty());
    warned(&opened, "no registers were found");
}

#[test]
fn fast_startup_and_the_secure_kernel_are_told() {
    let guest = guest_of(HiberVersion::Ten64);
    let mut file = guest.hiberfil(HiberVersion::Ten64).bytes();
    file[0x364] = 1;
    file[0x60] = 9;
    let opened = open(file).unwrap();
    warned(&opened, "a fast startup's file");
    warned(&opened, "secure kernel");
    assert_memory(&opened, &guest);
}
