//! A dump that lacks a page which the debugger reads: `check` names the page, and blames no field for it.

use core2dmp::audit::check::{Finding, Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp_synth::dump;
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::absent::{frame, take};
use crate::support::repaired::open;

fn guests() -> [(&'static str, Guest); 4] {
    [
        ("Windows 10", GuestSpec::windows10()),
        ("Windows 2003, x64", GuestSpec::windows2003_x64()),
        ("Windows 7, PAE", GuestSpec::windows7_pae()),
        ("Windows 2003, x86", GuestSpec::windows2003_x86()),
    ]
    .map(|(name, spec)| (name, spec.memory_mib(20).processors(2).build()))
}

/// What stands at an address, how bad its absence is, and in which words.
fn things(guest: &Guest) -> Vec<(&'static str, u64, Severity, &'static str)> {
    let expected = &guest.expected;
    let is_64 = expected.arch.is_64();
    let kuser = if is_64 {
        0xffff_f780_0000_0000
    } else {
        0xffdf_0000
    };
    let block = expected.kdbg.as_ref().unwrap().va;
    let second = &expected.processors[1];
    vec![
        (
            "KdDebuggerDataBlock",
            block,
            Severity::Broken,
            "PARTIALLY CORRUPT",
        ),
        (
            "KiProcessorBlock",
            expected.ki_processor_block,
            Severity::Refused,
            "KiProcessorBlock could not be read",
        ),
        (
            "PsLoadedModuleList",
            expected.ps_loaded_module_list,
            Severity::Refused,
            "",
        ),
        (
            "KUSER_SHARED_DATA",
            kuser,
            Severity::Cosmetic,
            "GetXStateConfiguration",
        ),
        (
            "PE header of the kernel",
            expected.kernel.base,
            Severity::Broken,
            "",
        ),
        (
            "processor 1",
            second.kprcb,
            Severity::Broken,
            "GetContextState failed",
        ),
        (
            "thread (KTHREAD) of processor 1",
            second.thread,
            Severity::Broken,
            "",
        ),
        ("GDT", second.gdt.0, Severity::Broken, ""),
        (
            "of PsActiveProcessHead",
            expected.processes[5].eprocess,
            Severity::Broken,
            "",
        ),
    ]
}

/// The finding about a frame.
fn about(findings: &[Finding], pfn: u64) -> Option<&Finding> {
    let frame = format!("frame {pfn:#x} is ");
    findings.iter().find(|f| f.found.starts_with(&frame))
}

#[test]
fn a_page_that_is_missing_is_named_and_no_field_is_blamed() {
    for (name, whole) in guests() {
        for (what, va, severity, words) in things(&whole) {
            let mut guest = whole.clone();
            let pfn = frame(&guest, va);
            take(&mut guest, pfn);
            let dump = open(&dump::bitmap(&guest, false).bytes);
            let report = check(&dump);
            let case = format!("{name}, {what}: {:#?}", report.findings);
            let found = about(&report.findings, pfn).unwrap_or_else(|| panic!("{case}"));
            assert!(found.expected.contains(what), "{case}");
            assert_eq!(found.severity, severity, "{case}");
            let said = found.debugger.as_ref().unwrap();
            let page = format!("Page {pfn:x} not present in the dump file");
            assert!(said.today.starts_with(&page), "{case}");
            assert!(said.today.contains(words), "{case}");
            let others = report
                .findings
                .iter()
                .filter(|f| !f.found.starts_with("frame "));
            assert_eq!(others.count(), 0, "{case}");
            // Nothing is invented for it.
            assert_eq!(repair(&dump).unwrap().changes, [], "{case}");
        }
    }
}

#[test]
fn page_tables_that_are_missing_are_named() {
    for (name, whole) in guests() {
        let mut guest = whole.clone();
        let root = guest.expected.dtb >> 12;
        take(&mut guest, root);
        let dump = open(&dump::bitmap(&guest, false).bytes);
        let report = check(&dump);
        let found = about(&report.findings, root);
        let case = format!("{name}: {:#?}", report.findings);
        assert_eq!(found.expect(&case).severity, Severity::Broken, "{case}");
        let blamed = report
            .findings
            .iter()
            .any(|f| f.field == "DirectoryTableBase");
        assert!(!blamed, "{case}");
        assert_eq!(repair(&dump).unwrap().changes, [], "{case}");
    }
}

#[test]
fn zeros_in_a_full_dump_are_named() {
    for (name, whole) in guests() {
        let va = whole.expected.processes[5].eprocess;
        let mut guest = whole.clone();
        let pfn = frame(&guest, va);
        guest.frames.write(pfn << 12, &[0; 4096]);
        let report = check(&open(&dump::full(&guest).bytes));
        let found = about(&report.findings, pfn);
        assert!(found.is_some(), "{name}: {:#?}", report.findings);
    }
}

/// A full dump with zeros for a frame.
fn zeroed(guest: &Guest, pfn: u64) -> Vec<Finding> {
    let mut dump = dump::full(guest);
    let at = dump.offset_of(pfn).unwrap();
    dump.put(at, &[0; 0x1000]);
    check(&open(&dump.bytes)).findings
}

/// Another process's tables lead to Windows then; the debugger has the header's alone.
#[test]
fn a_page_directory_of_the_header_is_missed_though_windows_is_found() {
    let spec = GuestSpec::windows2003_pae().memory_mib(20).processors(2);
    let guest = spec.build();
    let block = guest.expected.kdbg.as_ref().unwrap().va;
    let entry = (guest.expected.dtb & !0x1f) + ((block & 0xffff_ffff) >> 30) * 8;
    let directory = guest.frames.read_u64(entry) >> 12;
    let findings = zeroed(&guest, directory);
    let worst = findings.first().unwrap();
    assert_eq!(
        (worst.severity, worst.field),
        (Severity::Broken, "page of zeros"),
        "{findings:?}"
    );
}

/// The debugger shows every processor without the offsets at the block's end.
#[test]
fn the_end_of_the_block_is_cosmetic() {
    for (name, guest) in guests() {
        let block = guest.expected.kdbg.as_ref().unwrap();
        let last = guest
            .translate(block.va + u64::from(block.size) - 1)
            .unwrap()
            >> 12;
        if guest.translate(block.va + 0x2e0).unwrap() >> 12 != last {
            let findings = zeroed(&guest, last);
            let worst = findings.first().map(|finding| finding.severity);
            assert_ne!(worst, Some(Severity::Broken), "{name}: {findings:?}");
        }
    }
}
