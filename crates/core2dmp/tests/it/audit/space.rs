//! `RequiredDumpSpace` of bitmap dumps against the rule that was measured on today's engine.
//!
//! ```text
//! limit of what is read   smaller than the file: the field; larger: the file's last multiple of 16 MiB, if it has one
//! ```

use core2dmp::audit::check::{Mend, Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp_synth::dump::{self, Dump};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::repaired::{open, repaired};

const VIEW: u64 = 16 << 20;

fn guest(mib: u64) -> Guest {
    let spec = GuestSpec::windows7().memory_mib(mib).processors(2);
    spec.crashed(0xe2, [1, 2, 3, 4]).build()
}

/// Pages that the file holds and the engine does not read, and the first of them, page by page.
fn hidden(dump: &Dump) -> (u64, Option<u64>) {
    let size = dump.bytes.len() as u64;
    let space = u64::from_le_bytes(dump.bytes[0xfa0..0xfa8].try_into().unwrap());
    let limit = match space {
        space if space < size => space,
        space if space > size && size >= VIEW => size / VIEW * VIEW,
        _ => size,
    };
    let (mut count, mut first) = (0, None);
    for (pfn, index) in dump.pfns.iter().zip(0..) {
        let end = dump.first_page as u64 + (index + 1) * 0x1000;
        if end <= size && end > limit {
            count += 1;
            first = first.or(Some(*pfn));
        }
    }
    (count, first)
}

/// The finding names the pages that are hidden; the repair gives them back.
fn assert_space(name: &str, dump: &Dump) {
    let report = check(&open(&dump.bytes));
    let mut found = report.findings.iter();
    let found = found.find(|finding| finding.field == "RequiredDumpSpace");
    let (count, first) = hidden(dump);
    let Some(first) = first else {
        assert!(found.is_none(), "{name}: {found:?}");
        return;
    };
    let found = found.unwrap_or_else(|| panic!("{name}: {count} pages are hidden"));
    assert_eq!(found.severity, Severity::Broken, "{name}");
    assert_eq!(found.mend, Mend::Yes, "{name}");
    let noun = if count == 1 { "page" } else { "pages" };
    let words = format!("{count} {noun}, from frame {first:#x} on");
    assert!(
        found.found.contains(&words),
        "{name}: {words}: {}",
        found.found
    );

    let plan = repair(&open(&dump.bytes)).unwrap();
    let mut again = dump.clone();
    again.bytes = repaired(&dump.bytes, &plan);
    let space = u64::from_le_bytes(again.bytes[0xfa0..0xfa8].try_into().unwrap());
    assert_eq!(space, dump.bytes.len() as u64, "{name}");
    assert_eq!(hidden(&again).0, 0, "{name}");
}

#[test]
fn off_by_little_and_much_of_files_under_and_over_a_view() {
    for (mib, is_kernel) in [(20, false), (20, true), (40, false)] {
        let good = dump::bitmap(&guest(mib), is_kernel);
        let size = good.bytes.len() as u64;
        assert_space("good", &good);
        for by in [1, 4096, 1 << 30] {
            for space in [size + by, size.saturating_sub(by)] {
                let mut dump = good.clone();
                dump.put_u64(0xfa0, space);
                assert_space(&format!("{mib} MiB, {space:#x} of {size:#x}"), &dump);
            }
        }
    }
}

#[test]
fn cut_at_twenty_places() {
    let good = dump::bitmap(&guest(40), false);
    let pages = good.bytes.len() - good.first_page;
    for place in 1..=20 {
        let mut dump = good.clone();
        dump.truncate(good.bytes.len() - pages * place / 21 - place % 3);
        assert_space(&format!("cut at {:#x}", dump.bytes.len()), &dump);
    }
}
