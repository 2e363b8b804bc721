//! Bitmap dumps: any number of runs, and absent frames absent; page by page against an encoder of its own.
//!
//! ```text
//! guest -> Xen core            \
//! guest -> dump of any type    -> identify -> plan -> stream -> DumpFile, kdmp-parser  =  core2dmp_synth::dump
//! ```

use std::sync::Arc;

use core2dmp::address::Gpa;
use core2dmp::container::dmp::{BodyGuess, DumpFile};
use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, DumpKind, PlanOptions};
use core2dmp::error::{Error, Remedy};
use core2dmp::windows;
use core2dmp::write::{self, Silent};
use core2dmp_synth::dump::{self as encoder, Dump, Ranges};
use core2dmp_synth::{Guest, GuestSpec};
use kdmp_parser::gxa::Gpa as TheirGpa;
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::phys;

use crate::support::open::{file_of, open};

/// What a conversion came to.
struct Converted {
    bytes: Vec<u8>,
    warnings: Vec<String>,
}

fn convert(opened: &container::Guest, kind: DumpKind) -> Result<Converted, Error> {
    let found = windows::identify(opened).unwrap();
    let options = PlanOptions::default().kind(kind);
    let plan = dump::plan(opened, &found, &options)?;
    let mut bytes = Vec::new();
    let written = write::to_stream(&plan.image, &opened.memory, &mut bytes, &Silent)?;
    assert_eq!(written.corrupt, 0);
    assert_eq!(bytes.len() as u64, plan.image.size());
    Ok(Converted {
        bytes,
        warnings: plan.warnings,
    })
}

fn of_core(spec: &GuestSpec, kind: DumpKind) -> (Guest, Result<Converted, Error>) {
    let guest = spec.clone().build();
    let opened = open(file_of(&guest.xen_core())).unwrap();
    (guest, convert(&opened, kind))
}

fn of_dump(file: &Dump, kind: DumpKind) -> Converted {
    let source = Arc::new(file.bytes.clone());
    let opened = container::open(source, OpenOptions::default()).unwrap();
    convert(&opened, kind).unwrap()
}

/// The dump holds the frames of `wanted`, no others, with the same contents, in our eyes and in another reader's.
#[track_caller]
fn assert_bitmap(bytes: &[u8], kind: u64, wanted: &Dump) {
    let file = DumpFile::open(Arc::new(bytes.to_vec())).unwrap();
    assert_eq!(file.problems(), []);
    assert_eq!(file.dump_type(), Some(kind));
    assert_eq!(file.guess_body(), BodyGuess::Bitmap { kernel: kind == 6 });
    let bitmap = file.bitmap().unwrap();
    assert_eq!(bitmap.first_page % 4096, 0);
    assert_eq!(bitmap.bits % 64, 0);
    assert_eq!(bitmap.declared_pages, wanted.pfns.len() as u64);
    let memory = file.memory();
    assert_eq!(memory.frame_count(), wanted.pfns.len() as u64);
    let mut page = vec![0; 4096];
    for &pfn in &wanted.pfns {
        memory.read(Gpa::new(pfn << 12), &mut page).unwrap();
        assert!(page == wanted.page(pfn).unwrap(), "frame {pfn:#x}");
    }
    if bytes[4..8] == *b"DU64" {
        assert_read_by_kdmp(bytes, wanted);
    }
}

#[track_caller]
fn assert_read_by_kdmp(bytes: &[u8], wanted: &Dump) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.dmp");
    std::fs::write(&path, bytes).unwrap();
    let parser = KernelDumpParser::new(&path).unwrap();
    assert_eq!(parser.physmem().count(), wanted.pfns.len());
    let reader = phys::Reader::new(&parser);
    let mut page = vec![0; 4096];
    for &pfn in &wanted.pfns {
        let gpa = TheirGpa::new(pfn << 12);
        reader.read_exact(gpa, &mut page).unwrap();
        assert!(page == wanted.page(pfn).unwrap(), "frame {pfn:#x}");
    }
}

#[test]
fn two_hundred_runs() {
    for (spec, limit) in [
        (GuestSpec::windows10().processors(2).fill(20), 42),
        (GuestSpec::windows7_pae().crashed(0xd1, [8, 2, 0, 1]), 86),
        (GuestSpec::windows2003_x86().crashed(0xd1, [8, 2, 0, 1]), 86),
    ] {
        let (guest, dump) = of_core(&spec.runs(200), DumpKind::Auto);
        let dump = dump.unwrap();
        assert_eq!(
            dump.warnings,
            [format!(
                "a bitmap dump: memory is in 200 runs, and the header of a full dump has room for {limit}"
            )]
        );
        assert_bitmap(&dump.bytes, 5, &encoder::bitmap(&guest, false));
        // Runs that do not fit are not half there.
        let file = DumpFile::open(Arc::new(dump.bytes)).unwrap();
        assert_eq!(
            (file.number_of_runs(), file.number_of_pages()),
            (None, None)
        );
    }
}

#[test]
fn a_full_dump_that_was_asked_for_is_not_replaced() {
    let (_, dump) = of_core(&GuestSpec::windows10().runs(43), DumpKind::Full);
    let error = dump.err().unwrap();
    assert!(matches!(
        error,
        Error::TooManyRuns {
            found: 43,
            limit: 42
        }
    ));
    assert!(error.remedy() == Some(Remedy::MakeBitmap));
}

#[test]
fn frames_that_the_container_lacks_are_absent() {
    let spec = GuestSpec::windows10().fill(30).ballooned(0x1900, 0x30);
    let (guest, dump) = of_core(&spec, DumpKind::Bitmap);
    let dump = dump.unwrap();
    assert_eq!(guest.expected.missing, [(0x1900, 0x30)]);
    assert_bitmap(&dump.bytes, 5, &encoder::bitmap(&guest, false));
    let file = DumpFile::open(Arc::new(dump.bytes)).unwrap();
    assert!(
        file.memory()
            .run_of(core2dmp::address::Pfn::new(0x1910))
            .is_none()
    );
    // Runs that fit are named, too.
    let runs = file.runs().into_iter();
    let runs = runs.map(|run| (run.first.get(), run.count));
    assert_eq!(runs.collect::<Vec<_>>(), guest.expected.runs);
}

#[test]
fn a_kernel_dump_becomes_one_with_a_bitmap() {
    for spec in [
        GuestSpec::windows10().processors(2),
        GuestSpec::windows7_pae(),
    ] {
        let guest = spec.crashed(0xe2, [1, 2, 3, 4]).build();
        let mut dumps = vec![encoder::summary(&guest), encoder::bitmap(&guest, true)];
        if guest.expected.arch.is_64() {
            dumps.push(encoder::rdmp(&guest, Ranges::Kernel));
        }
        for source in dumps {
            let dump = of_dump(&source, DumpKind::Auto);
            assert_bitmap(&dump.bytes, 6, &source);
            assert_eq!(dump.warnings.len(), 1);
            assert!(dump.warnings[0].contains("absent"), "{:?}", dump.warnings);
            // Who wants zeros gets them.
            let full = of_dump(&source, DumpKind::Full);
            let file = DumpFile::open(Arc::new(full.bytes)).unwrap();
            assert_eq!((file.dump_type(), file.size_is_full()), (Some(1), true));
        }
    }
}

#[test]
fn a_dump_that_holds_everything_becomes_a_full_one() {
    let guest = GuestSpec::windows7().crashed(0xe2, [1, 2, 3, 4]).build();
    let wanted = encoder::full(&guest);
    for source in [
        encoder::full(&guest),
        encoder::bitmap(&guest, false),
        encoder::rdmp(&guest, Ranges::Complete),
    ] {
        let dump = of_dump(&source, DumpKind::Auto);
        assert_eq!(dump.warnings, [""; 0]);
        let at = wanted.first_page;
        assert!(dump.bytes[at..] == wanted.bytes[at..]);
    }
}
