//! The thread that this program starts from: `seed/osr-thread.txt`, 2011, a dump that WinDbg calls corrupt.
//!
//! ```text
//! listing   offset: good converted            65 bytes of two headers of one Windows 2003 x64
//! headers   what dumpchk printed of the good one, with the listing's bytes    -> diff
//! a guest   its own true header, with the listing's converted bytes in it     -> check, repair
//! ```
//!
//! The pages of the thread are not public, so the headers are married to a guest of the same Windows that crashed as
//! theirs did (Ctrl-Scroll, 0xE2). Its own header takes the place of the good one: what was true of the machine of the
//! thread (its page tables, its times) is not true of this guest. The converted one is that header with every byte of
//! the listing's second column at its place; all others are equal in both, as they were in the thread.

use std::path::Path;

use core2dmp::audit::check::{Finding, Severity, check};
use core2dmp::audit::diff::{ByteDifference, Weight, apply, diff_headers, parse_listing};
use core2dmp::audit::repair::repair;
use core2dmp_synth::dump::{self, Dump};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::repaired::{open, repaired};

/// What differs between the headers, the weightiest first.
const FIELDS: [(&str, Weight); 7] = [
    ("DumpType", Weight::Decides),
    ("DirectoryTableBase", Weight::Misleads),
    ("PfnDataBase", Weight::Misleads),
    ("ContextRecord", Weight::Cosmetic),
    ("RequiredDumpSpace", Weight::Cosmetic),
    ("SystemTime", Weight::Cosmetic),
    ("SystemUpTime", Weight::Cosmetic),
];
const VERDICT: &str =
    "DumpType decides; DirectoryTableBase, PfnDataBase mislead; the rest is cosmetic";

/// The listing, and the thread around it; `None`, loudly, where it is absent.
fn listing() -> Option<Vec<ByteDifference>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../../../shared/seed/osr-thread.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    let mut lines = parse_listing(&text).unwrap();
    // The thread quotes it once more.
    let twice = lines.len() / 2;
    assert_eq!(lines[..twice], lines[twice..]);
    lines.truncate(twice);
    Some(lines)
}

/// The good header as far as the thread shows it: dumpchk's lines, the listing's first column, and "PAGE".
fn good_header(listing: &[ByteDifference]) -> Vec<u8> {
    let mut header = b"PAGE".repeat(0x2000 / 4);
    header[4..8].copy_from_slice(b"DU64");
    let fields: [(usize, usize, u64); 14] = [
        (0x08, 4, 0xf),
        (0x0c, 4, 0xece),
        (0x10, 8, 0x5479_6000),
        (0x18, 8, 0xffff_fadf_c940_0000),
        (0x20, 8, 0xffff_f800_011d_4140),
        (0x28, 8, 0xffff_f800_011d_0e50),
        (0x30, 4, 0x8664),
        (0x34, 4, 2),
        (0x38, 4, 0x8642_7531),
        (0x40, 8, 0),
        (0x80, 8, 0xffff_f800_011a_ed40),
        (0xf98, 4, 1),
        (0xfa0, 8, 0x7fe0_0000),
        (0x1030, 8, 0),
    ];
    for (offset, bytes, value) in fields {
        header[offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
    for byte in listing {
        header[byte.offset] = byte.old;
    }
    header
}

/// The differences of two headers are those of the thread.
fn assert_is_the_thread(good: &[u8], converted: &[u8]) {
    let diff = diff_headers(good, converted).unwrap();
    let fields: Vec<_> = diff
        .differences
        .iter()
        .map(|difference| (difference.field.name, difference.weight))
        .collect();
    assert_eq!(fields, FIELDS);
    assert_eq!(diff.unnamed, 0);
    assert_eq!(diff.verdict(None), VERDICT);
    assert!(diff.differences[0].meaning.contains("Win32 error 0n1392"));
    for sign in &diff.differences[1..3] {
        assert!(sign.meaning.contains("another boot"), "{}", sign.meaning);
    }
    let registers: Vec<_> = diff.differences[3]
        .registers
        .iter()
        .map(|register| register.name)
        .collect();
    let shown = ["Rbx", "Rsp", "Rbp", "Rsi", "Rdi", "R12", "R14", "R15"];
    assert_eq!(&registers[..shown.len()], shown);
}

#[test]
fn its_two_headers_differ_in_the_type() {
    let Some(listing) = listing() else {
        return;
    };
    assert_eq!(listing.len(), 65);
    let good = good_header(&listing);
    // What dumpchk printed is what the listing says.
    assert_eq!(&good[0x10..0x18], &0x5479_6000_u64.to_le_bytes());
    let converted = apply(&good, &listing).unwrap();
    assert_eq!(&converted[0x10..0x18], &0x7eec_1000_u64.to_le_bytes());
    assert_eq!(apply(&converted, &listing).unwrap(), good);
    assert_is_the_thread(&good, &converted);
}

/// The guest, its dump, and the same with the converted header.
fn married(listing: &[ByteDifference]) -> (Guest, Dump, Vec<u8>) {
    let spec = GuestSpec::windows2003_x64().processors(2);
    let guest = spec.crashed(0xe2, [0; 4]).build();
    let good = dump::full(&guest);
    let mut converted = good.bytes.clone();
    for byte in listing {
        converted[byte.offset] = byte.new;
    }
    (guest, good, converted)
}

#[test]
fn its_dump_is_refused_and_opens_after_the_repair() {
    let Some(listing) = listing() else {
        return;
    };
    let (guest, good, converted) = married(&listing);
    assert_is_the_thread(&good.bytes[..0x2000], &converted[..0x2000]);

    let report = check(&open(&converted));
    let worst = &report.findings[0];
    assert_eq!(
        (worst.field, worst.severity),
        ("DumpType", Severity::Refused)
    );
    assert!(
        worst
            .debugger
            .as_ref()
            .unwrap()
            .today
            .contains("Win32 error 0n1392")
    );
    let named: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.field)
        .collect();
    let signs = [
        "DirectoryTableBase",
        "PfnDataBase",
        "SystemTime",
        "SystemUpTime",
    ];
    assert!(signs.iter().all(|sign| named.contains(sign)), "{named:?}");

    let repair = repair(&open(&converted)).unwrap();
    assert_eq!(repair.left, []);
    let repaired = repaired(&converted, &repair);
    assert!(check(&open(&repaired)).findings.is_empty());
    // The pages are as they were, and every change is in the header.
    assert!(repaired[0x2000..] == good.bytes[0x2000..]);
    let dtb = u64::from_le_bytes(repaired[0x10..0x18].try_into().unwrap());
    assert_eq!(dtb, guest.expected.dtb);
    // Nothing of the converted header is left, not even the registers of another moment.
    let diff = diff_headers(&good.bytes[..0x2000], &repaired[..0x2000]).unwrap();
    assert_eq!(diff.verdict(None), "the headers are alike");
}

/// What the thread was about to try: replacing the page tables' address alone.
#[test]
fn the_page_tables_alone_would_not_have_helped() {
    let Some(listing) = listing() else {
        return;
    };
    let (_, good, mut converted) = married(&listing);
    converted[0x10..0x18].copy_from_slice(&good.bytes[0x10..0x18]);
    let findings = check(&open(&converted)).findings;
    assert_eq!(
        (findings[0].field, findings[0].severity),
        ("DumpType", Severity::Refused)
    );
    assert!(
        findings[0]
            .debugger
            .as_ref()
            .unwrap()
            .today
            .contains("Win32 error 0n1392")
    );
    // With the type it opens, and what is stale shows.
    converted[0xf98] = 1;
    let findings = check(&open(&converted)).findings;
    let cosmetic = |finding: &Finding| finding.severity == Severity::Cosmetic;
    assert!(
        !findings.is_empty() && findings.iter().all(cosmetic),
        "{findings:?}"
    );
}

#[test]
fn the_type_alone_would_have_opened_and_shown_nothing() {
    let Some(listing) = listing() else {
        return;
    };
    let (_, _, mut converted) = married(&listing);
    converted[0xf98] = 1;
    let findings = check(&open(&converted)).findings;
    let worst = &findings[0];
    assert_eq!(
        (worst.field, worst.severity),
        ("DirectoryTableBase", Severity::Broken)
    );
    assert!(
        worst
            .debugger
            .as_ref()
            .unwrap()
            .today
            .contains("PARTIALLY CORRUPT")
    );
}
