//! Dumps, listings and names that have too much of something.
//!
//! docs/security.md lists all limits, and which test reaches each.

use std::sync::Arc;

use core2dmp::audit::check;
use core2dmp::audit::diff::parse_listing;
use core2dmp::container::dmp::DumpFile;
use core2dmp_synth::{GuestSpec, dump};

#[test]
fn a_listing_of_more_than_a_header() {
    let line = "00000018: 40 20\n";
    assert_eq!(parse_listing(&line.repeat(0x2000)).unwrap().len(), 0x2000);
    assert_eq!(
        parse_listing(&line.repeat(0x2001)).unwrap_err().to_string(),
        "the listing has more than 8192 lines: it compares more than headers"
    );
}

#[test]
fn more_processors_than_the_debugger_can_think_of() {
    let spec = GuestSpec::windows7().memory_mib(20).processors(2);
    let guest = spec.crashed(0xe2, [0; 4]).build();
    let weight = |count: u32| {
        let mut dump = dump::full(&guest);
        dump.put_u32(0x34, count);
        let file = DumpFile::open(Arc::new(dump.bytes)).unwrap();
        let report = check::check(&file);
        let mut findings = report.findings.into_iter();
        findings
            .find(|finding| finding.field == "NumberProcessors")
            .map(|finding| format!("{:?} {:?}", finding.severity, finding.debugger))
    };
    assert_eq!(weight(2), None);
    // Both are refused, in other words.
    assert_ne!(weight(2048), weight(2049));
}
