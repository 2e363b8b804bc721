//! What people reported, as small inputs with the right answer: damaged, doubled and shifted memory.
//!
//! The cases stand beside the repository, not in it. Where they are absent these tests say so and do nothing.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use core2dmp::audit::check::{Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{self, OpenOptions};
use core2dmp::error::Error;
use core2dmp::measure::measured;
use core2dmp::windows::{self, IdentifyOptions, Windows};

/// The kernel of the guest of most cases.
const KERNEL: u64 = 0xffff_f803_1220_0000;

/// A case's file, unpacked; `None`, said aloud, where it is not there.
fn file(name: &str) -> Option<Vec<u8>> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases");
    let Ok(packed) = fs::read(cases.join(format!("{name}.xz"))) else {
        eprintln!("SKIPPED: ../shared/cases/{name}.xz is not there");
        return None;
    };
    let mut file = Vec::new();
    let mut reader = lzma_rust2::XzReader::new(&packed[..], true);
    reader.read_to_end(&mut file).unwrap();
    Some(file)
}

fn read(file: Vec<u8>, kernel: Option<u64>) -> (container::Guest, Windows) {
    let guest = container::open(Arc::new(file), OpenOptions::default()).unwrap();
    let options = IdentifyOptions::default().kernel(kernel);
    let identify = |guest: &container::Guest| windows::identify_with(guest, &options);
    let found = identify(&guest);
    let (guest, found) = measured(guest, found, &identify);
    (guest, found.unwrap())
}

/// A warm reset left the earlier boot's kernel: the newer clock wins, the other is named, and can be chosen.
#[test]
fn two_boots() {
    let Some(file) = file("two-boots/memory.raw") else {
        return;
    };
    let (_, found) = read(file.clone(), None);
    assert_eq!(found.kernel.image.base.get(), KERNEL);
    assert_eq!(found.system_time.unwrap().value, 0x01da_d000_0111_1111);
    let [rival] = &found.rivals[..] else {
        panic!("{:?}", found.rivals);
    };
    assert!(rival.why.contains("3601 seconds behind"), "{}", rival.why);
    let named = format!("whose page tables are at {}", rival.root);
    assert!(found.warnings.iter().any(|line| line.contains(&named)));
    for wanted in [rival.root.get(), rival.base.get()] {
        let (_, chosen) = read(file.clone(), Some(wanted));
        assert_eq!(chosen.kernel.image.base, rival.base);
        assert_eq!(chosen.rivals[0].base.get(), KERNEL);
    }
    let guest = container::open(Arc::new(file), OpenOptions::default()).unwrap();
    let options = IdentifyOptions::default().kernel(Some(0x1234));
    let error = windows::identify_with(&guest, &options).unwrap_err();
    assert!(
        matches!(&error, Error::NoSuchKernel { wanted: 0x1234, kernels } if kernels.len() == 2),
        "{error}"
    );
}

/// What the writer left out is measured; no frame is another one's.
#[test]
fn shifted_raw_memory() {
    let names = ["vga-skipped", "from1m", "mid-skipped"];
    let files = names.map(|name| file(&format!("raw-shift/{name}.raw")));
    let [Some(whole), Some(from), Some(middle)] = files else {
        return;
    };
    let (whole, found) = read(whole, None);
    assert_eq!(found.kernel.image.base.get(), KERNEL);
    let counted: u64 = found.runs.value.iter().map(|run| run.count).sum();
    for (file, most_lost) in [(from, 0xa0), (middle, counted / 3 * 2)] {
        let (guest, found) = read(file, None);
        assert_eq!(found.kernel.image.base.get(), KERNEL);
        let (mut page, mut own, mut lost) = ([0; 4096], [0; 4096], 0);
        for run in &found.runs.value {
            for pfn in run.first.get()..run.end().get() {
                let gpa = core2dmp::address::Pfn::new(pfn).gpa();
                if guest.memory.read(gpa, &mut page).is_err() {
                    lost += 1;
                } else if whole.memory.read(gpa, &mut own).is_ok() {
                    assert!(page == own, "frame {pfn:#x} is another one's");
                }
            }
        }
        assert!(lost <= most_lost, "{lost} of {counted}");
    }
}

/// One page is not in a bitmap dump: it is named, and nothing else of the header is called wrong, or changed.
#[test]
fn one_page_is_missing() {
    const SPACE: &str = "RequiredDumpSpace";
    for (name, frame, thing, severity) in [
        ("no-kdbg", 0x3801, "KdDebuggerDataBlock", Severity::Broken),
        (
            "no-kernelpd",
            0x147f,
            "KdDebuggerDataBlock",
            Severity::Broken,
        ),
        (
            "no-modulehead",
            0x3803,
            "PsLoadedModuleList",
            Severity::Refused,
        ),
        (
            "no-processorblock",
            0x3803,
            "KiProcessorBlock",
            Severity::Refused,
        ),
        ("one-kdver", 0x3803, "PsLoadedModuleList", Severity::Refused),
        (
            "one-hdr",
            0x3000,
            "PE header of the kernel",
            Severity::Broken,
        ),
        ("one-kuser", 0x1a45, "KUSER_SHARED_DATA", Severity::Cosmetic),
    ] {
        let Some(file) = file(&format!("missing-page/{name}.dmp")) else {
            return;
        };
        let dump = DumpFile::open(Arc::new(file)).unwrap();
        let findings = check(&dump).findings;
        // The files are one page shorter than their headers say, too.
        let mut others = findings.iter().filter(|finding| finding.field != SPACE);
        let finding = others.next().unwrap();
        assert!(others.next().is_none(), "{name}: {findings:?}");
        assert_eq!(
            (finding.field, finding.severity),
            ("page not in the file", severity)
        );
        assert!(
            finding.expected.contains(thing),
            "{name}: {}",
            finding.expected
        );
        let said = finding.debugger.as_ref().unwrap().today.to_string();
        let words = format!("Page {frame:x} not present in the dump file");
        assert!(said.starts_with(&words), "{name}: {said}");
        let changed = repair(&dump).unwrap().changes;
        let changed: Vec<_> = changed.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(changed, [SPACE], "{name}");
    }
}
