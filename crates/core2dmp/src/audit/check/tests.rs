//! Order, one finding a field, and whose fault it is. The rows of the table are in `tests/it/audit/check.rs`.

use std::sync::Arc;

use core2dmp_synth::dump::{self, Dump};
use core2dmp_synth::{Guest, GuestSpec};

use super::*;
use crate::audit::repair::repair;

fn guest() -> Guest {
    let spec = GuestSpec::windows7().memory_mib(20).processors(2);
    spec.crashed(0x7e, [1, 2, 3, 4]).build()
}

fn findings(dump: &Dump) -> Vec<Finding> {
    check(&DumpFile::open(Arc::new(dump.bytes.clone())).unwrap()).findings
}

fn fields(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.field).collect()
}

#[test]
fn the_worst_comes_first_and_each_field_once() {
    let mut dump = dump::full(&guest());
    dump.put_u32(0x34, 0);
    dump.put_u32(0x0c, 0);
    dump.put_u64(0x18, 0);
    dump.put_u64(0x10, 0x7eec_1000);
    let found = findings(&dump);
    assert!(found.is_sorted_by_key(|finding| finding.severity));
    assert_eq!(
        fields(&found),
        [
            "NumberProcessors",
            "MinorVersion",
            "DirectoryTableBase",
            "PfnDataBase"
        ]
    );
    let report = check(&DumpFile::open(Arc::new(dump.bytes)).unwrap());
    assert_eq!(report.worst(), Some(Severity::Refused));
}

#[test]
fn a_bare_header_lacks_its_body_as_its_type_says() {
    for (kind, severity) in [
        (1, Severity::Broken),
        (2, Severity::Refused),
        (5, Severity::Refused),
        (8, Severity::Refused),
    ] {
        let mut dump = dump::full(&guest());
        dump.set_type(kind);
        dump.truncate(0x2000);
        let found = findings(&dump);
        assert_eq!(
            (found[0].field, found[0].severity),
            ("body", severity),
            "type {kind}"
        );
        assert!(matches!(found[0].mend, Mend::No(_)));
    }
}

/// Windows marks the stop code of an exception that it handled before.
#[test]
fn a_marked_stop_code_is_the_same_stop_code() {
    let mut dump = dump::full(&guest());
    dump.put_u32(0x38, 0x1000_007e);
    assert_eq!(findings(&dump), []);
    dump.put_u32(0x38, 0x1000_007f);
    assert_eq!(fields(&findings(&dump)), ["BugCheckCode"]);
}

/// Where header and debugger data block disagree, the list itself says who is wrong.
#[test]
fn a_damaged_block_is_not_blamed_on_the_header() {
    let guest = guest();
    let good = dump::full(&guest);
    let block = guest.expected.kdbg.as_ref().unwrap().va;
    let field = guest.translate(block + 0x48).unwrap();
    let at = good.offset_of(field >> 12).unwrap() + (field & 0xfff) as usize;

    let mut dump = good.clone();
    dump.put_u64(at, 0);
    let found = findings(&dump);
    assert_eq!(fields(&found), ["KDBG.PsLoadedModuleList"]);
    assert_eq!(found[0].offset, Some(at as u64));

    // With the header's gone too the list is found by what it holds.
    dump.put_u64(0x20, 0);
    let list = guest.expected.ps_loaded_module_list;
    let opened = DumpFile::open(Arc::new(dump.bytes)).unwrap();
    let changes = repair(&opened).unwrap().changes;
    let mended: Vec<_> = changes
        .iter()
        .map(|change| (change.offset, change.new.as_slice()))
        .collect();
    let list = list.to_le_bytes();
    assert_eq!(mended, [(0x20, &list[..]), (at as u64, &list[..])]);
}

#[test]
fn a_plain_copy_of_the_block_is_as_good() {
    let guest = guest();
    let mut dump = dump::full(&guest);
    let plain = guest.expected.kdbg.as_ref().unwrap().plain.clone();
    // Far below the second processor's stack pointer.
    let registers = guest.expected.processors[1].from_memory.as_ref().unwrap();
    let copy = (registers.rsp & !0xfff) - 0x2000;
    let gpa = guest.translate(copy).unwrap();
    let at = dump.offset_of(gpa >> 12).unwrap();
    dump.put(at, &plain);
    dump.put_u64(0x80, copy);
    assert!(!fields(&findings(&dump)).contains(&"KdDebuggerDataBlock"));
}
