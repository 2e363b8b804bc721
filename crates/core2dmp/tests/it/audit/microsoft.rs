//! Dumps that today's engine of Microsoft wrote of guests of the corpus: what is read of them, and a header of ours
//! against one of theirs.
//!
//! The corpus holds them compressed; without `xz`, or without the corpus, these tests say so and check nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::audit::check::{Severity, check};
use core2dmp::audit::diff::{Behind, Bodies, Difference, diff_headers};
use core2dmp::container::dmp::{Body, DumpFile};
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::dump::{PlanOptions, plan};
use core2dmp::image::{Image, ImageReader};
use core2dmp::memory::Frames;
use core2dmp::memory::compare::compare;
use core2dmp::source::FileSource;
use core2dmp::windows::identify;
use core2dmp::write::Silent;

/// The folder of the corpus; `None` where there is none.
fn corpus() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("CORE2DMP_CORPUS").map_or(default, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// A file of the corpus, unpacked into target/; `None` where it cannot be.
fn unpacked(case: &str, name: &str) -> Option<PathBuf> {
    let packed = corpus()?.join(case).join(format!("{name}.xz"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("corpus")
        .join(case);
    let path = folder.join(name);
    if !path.exists() {
        std::fs::create_dir_all(&folder).ok()?;
        let out = Command::new("xz").arg("-dc").arg(&packed).output().ok()?;
        let whole = out.status.success().then_some(out.stdout)?;
        let part = folder.join(format!("{name}.{}", std::process::id()));
        std::fs::write(&part, whole).ok()?;
        std::fs::rename(&part, &path).ok()?;
    }
    Some(path)
}

fn open(name: &str) -> Option<DumpFile> {
    let Some(path) = unpacked("microsoft", name) else {
        eprintln!("skipped: no corpus, or no xz, for microsoft/{name}");
        return None;
    };
    Some(DumpFile::open(Arc::new(FileSource::open(&path).unwrap())).unwrap())
}

/// The guest of a dump as the Xen core that the corpus has of it.
fn core(case: &str) -> Option<Guest> {
    let path = unpacked(case, "xen.core")?;
    let source = Arc::new(FileSource::open(&path).unwrap());
    Some(container::open(source, OpenOptions::default()).unwrap())
}

/// A context that differs in the state of the FPU alone, or in bytes that belong to no register: so do both guests'.
/// Why is not known; the debugger does not read the header's context.
fn is_float_state(difference: &Difference) -> bool {
    let mut registers = difference.registers.iter();
    difference.field.name == "ContextRecord"
        && registers.all(|register| register.name == "FltSave" || register.name.starts_with("Xmm"))
}

/// What may differ: the type and what follows from it, and what docs/formats/dmp.md lists.
const MAY_DIFFER: [&str; 16] = [
    "Attributes",
    "BootId",
    "Comment",
    "DumpType",
    "KdSecondaryVersion",
    "MiniDumpFields",
    "PfnDataBase",
    "PhysicalMemoryBlock.NumberOfPages",
    "PhysicalMemoryBlock.NumberOfRuns",
    "PhysicalMemoryBlock.Run",
    "ProductType",
    "RequiredDumpSpace",
    "SecondaryDataState",
    "SuiteMask",
    "VersionUser",
    "WriterStatus",
];

#[test]
fn headers_and_pages_are_those_that_we_make_of_the_core() {
    for case in ["w10-live-2", "w2k3-crash"] {
        let (Some(dump), Some(guest)) = (open(&format!("{case}-f.dmp")), core(case)) else {
            eprintln!("skipped: no corpus, or no xz, for {case}");
            return;
        };
        let windows = identify(&guest).unwrap();
        let plan = plan(&guest, &windows, &PlanOptions::default()).unwrap();
        let diff = diff_headers(&dump.header, plan.header()).unwrap();
        let wrong: Vec<_> = diff
            .differences
            .iter()
            .filter(|difference| !MAY_DIFFER.contains(&difference.field.name))
            .filter(|difference| !is_float_state(difference))
            .map(|difference| (difference.field.name, &difference.registers))
            .collect();
        assert!(wrong.is_empty(), "{case}: {wrong:?}");

        // Every page is the core's, except those that a conversion changes; of the kernel dump, too.
        let space = windows.space(&guest.memory);
        let mut changed = BTreeSet::new();
        for patch in &plan.patches {
            let last = patch.gva.saturating_add(patch.bytes - 1);
            for gva in [patch.gva, last] {
                changed.insert(space.translate(gva).unwrap().gpa.pfn());
            }
        }
        for name in [format!("{case}-f.dmp"), format!("{case}-k.dmp")] {
            let Some(dump) = open(&name) else { return };
            let pages = compare(&guest.memory, &dump.memory(), &Silent).unwrap();
            assert_eq!(pages.only_new.pages, 0, "{name}");
            let different = pages.different.ranges.iter();
            let different: Vec<Pfn> = different.flat_map(|run| frames(*run)).collect();
            assert_eq!(different.len() as u64, pages.different.pages, "{name}");
            assert!(
                different.iter().all(|pfn| changed.contains(pfn)),
                "{name}: {different:?}"
            );
        }

        // Both dumps of the memory open, and hold the same pages: so says the comparison, whatever their bodies are.
        let ours = planned(&guest, plan.image.clone());
        let pages = compare(&ours.memory(), &dump.memory(), &Silent).unwrap();
        let mut diff = diff_headers(&ours.header, &dump.header).unwrap();
        diff.weigh_by_bodies(&Bodies {
            old: Behind::of(&ours).unwrap(),
            new: Behind::of(&dump).unwrap(),
            pages: Some(&pages),
        });
        let verdict = diff.verdict(Some(&pages));
        assert!(
            verdict.starts_with("both open, the same pages"),
            "{case}: {verdict}"
        );
        assert!(
            verdict.ends_with("; the differences are cosmetic"),
            "{case}: {verdict}"
        );
    }
}

/// Frames, one by one.
fn frames(run: Frames) -> impl Iterator<Item = Pfn> {
    (0..run.count).map(move |n| run.first.saturating_add(n))
}

/// The dump of a plan, without a file.
fn planned(guest: &Guest, image: Image) -> DumpFile {
    let reader = ImageReader::new(image, guest.memory.clone());
    DumpFile::open(Arc::new(reader)).unwrap()
}

/// As a source: what is made of it opens, and has every page of it.
fn assert_source(name: &str, dump: &DumpFile) {
    let source = Arc::clone(&dump.source);
    let guest = container::open(source, OpenOptions::default()).unwrap();
    let windows = identify(&guest).unwrap();
    let plan = plan(&guest, &windows, &PlanOptions::default()).unwrap();
    let made = planned(&guest, plan.image);
    let pages = compare(&dump.memory(), &made.memory(), &Silent).unwrap();
    assert!(pages.is_alike(), "{name}: {pages:?}");
    assert_eq!(check(&made).findings, [], "{name}");
}

#[test]
fn a_complete_dump_of_32_bit_is_a_full_dump() {
    let name = "x86pae-crash-f.dmp";
    let Some(dump) = open(name) else { return };
    assert_eq!(dump.body, Body::Full, "{name}");
    assert_eq!(dump.memory().frame_count(), 0x3f8e, "{name}");
    assert_eq!(check(&dump).findings, [], "{name}");
    assert_source(name, &dump);
}

#[test]
fn complete_and_kernel_dumps_are_read_whole() {
    for (name, pages) in [
        ("w10-live-2-f.dmp", 0x7f7e),
        ("w10-live-2-k.dmp", 0x10a2),
        ("w2k3-crash-f.dmp", 0x7f7e),
        ("w2k3-crash-k.dmp", 0x6a1),
    ] {
        let Some(dump) = open(name) else { return };
        let Body::Ranges(body) = &dump.body else {
            panic!("{name}: {:?}", dump.body);
        };
        assert_eq!(
            (body.pages, body.held_pages, body.end),
            (pages, pages, dump.size),
            "{name}"
        );
        assert_eq!(dump.memory().frame_count(), pages, "{name}");
        assert_eq!(dump.problems(), [], "{name}");
        assert!(dump.body_agrees(), "{name}");
        let worst = check(&dump).worst();
        assert!(
            worst.is_none_or(|worst| worst == Severity::Cosmetic),
            "{name}: {worst:?}"
        );
        assert_source(name, &dump);
    }
}

#[test]
fn small_dumps_have_all_their_parts() {
    for name in [
        "w10-live-2-m.dmp",
        "w2k3-crash-m.dmp",
        "x86pae-crash-m.dmp",
        "arm64-m.dmp",
        "live64-small.dmp",
    ] {
        let Some(dump) = open(name) else { return };
        let Body::Triage(body) = &dump.body else {
            panic!("{name}: {:?}", dump.body);
        };
        assert!(body.finished, "{name}");
        assert_eq!(body.size_of_dump, dump.size, "{name}");
        assert!(
            body.data_blocks.is_some_and(|blocks| blocks > 0),
            "{name}: {body:?}"
        );
        assert_eq!(dump.problems(), [], "{name}");
    }
}
