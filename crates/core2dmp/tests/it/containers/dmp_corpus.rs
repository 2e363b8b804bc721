//! Real headers, of three different writers: what they hold is read, and nothing is complained of that is not true.

use std::path::Path;
use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::container::dmp::{Body, BodyGuess, DumpFile, ProblemKind, TriageBody};
use core2dmp::header::{FieldId, HeaderWidth};
use core2dmp::memory::Frames;
use core2dmp::source::FileSource;

/// A file of the corpus; `None`, loudly, where there is no corpus.
fn corpus(name: &str) -> Option<DumpFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/headers");
    let path = root.join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    let source = FileSource::open(&path).unwrap();
    Some(DumpFile::open(Arc::new(source)).unwrap())
}

fn frames(runs: &[(u64, u64)]) -> Vec<Frames> {
    runs.iter()
        .map(|(first, count)| Frames::new(Pfn::new(*first), *count))
        .collect()
}

#[test]
fn the_beginning_of_a_full_dump_by_windows_10() {
    let Some(file) = corpus("imhex_dmp64_header.bin") else {
        return;
    };
    assert_eq!(
        (file.width, file.dump_type()),
        (HeaderWidth::Bits64, Some(1))
    );
    assert_eq!((file.machine(), &file.body), (Some(0x8664), &Body::Full));
    let runs = [
        (2, 0x9e),
        (0x100, 0x251),
        (0x3d8, 0xd7df),
        (0xdbb8, 0x1fb7),
        (0xfbff, 0x70401),
    ];
    assert_eq!(file.runs(), frames(&runs));
    assert_eq!(file.number_of_pages(), Some(0x7fe86));
    assert_eq!(file.body_end(), 0x7fe8_8000);
    assert_eq!(file.number(FieldId::RequiredDumpSpace), Some(0x7fe8_8000));
    // It is cut short, and that is all.
    let kinds: Vec<_> = file.problems().iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::BodyCutShort]);
    assert_eq!(file.memory().frame_count(), 2);
    assert_eq!((file.guess_body(), file.comment()), (BodyGuess::Full, None));
}

#[test]
fn headers_by_livekd() {
    if let Some(file) = corpus("memflow_coredump_win10_64bit_stripped.raw") {
        let runs = [
            (1, 0x9f),
            (0x100, 0x7f7ef),
            (0x7fbff, 0x3e1),
            (0x10_0000, 0x38_0000),
        ];
        assert_eq!(file.runs(), frames(&runs));
        assert_eq!((&file.body, file.problems()), (&Body::HeaderOnly, &[][..]));
        assert_eq!(file.comment().as_deref(), Some("LiveKD live system view"));
        assert_eq!((file.machine(), file.dump_type()), (Some(0x8664), Some(1)));
    }
    if let Some(file) = corpus("memflow_coredump_win7_32bit_stripped.raw") {
        assert_eq!(file.runs(), frames(&[(1, 0x9e), (0x100, 0xb_fedf)]));
        assert_eq!((&file.body, file.problems()), (&Body::HeaderOnly, &[][..]));
        assert_eq!(
            (file.width, file.machine()),
            (HeaderWidth::Bits32, Some(0x14c))
        );
        assert_eq!(file.guess_body(), BodyGuess::Nothing);
    }
}

/// The block of a whole small dump.
fn triage(name: &str, machine: u64) -> Option<(DumpFile, TriageBody)> {
    let file = corpus(name)?;
    assert_eq!((file.dump_type(), file.machine()), (Some(4), Some(machine)));
    assert_eq!(file.problems(), []);
    assert_eq!((file.number_of_runs(), file.runs().len()), (None, 0));
    assert_eq!(file.guess_body(), BodyGuess::Triage);
    assert!(file.body_agrees() && file.has_blobs());
    assert_eq!(file.memory().frame_count(), 0);
    let Body::Triage(body) = file.body.clone() else {
        panic!("{:?}", file.body);
    };
    assert!(body.finished);
    Some((file, body))
}

#[test]
fn small_dumps_by_windows_10_and_11() {
    let part = |body: &TriageBody, name| {
        let part = body.parts.iter().find(|part| part.name == name).unwrap();
        (part.offset, part.bytes)
    };
    if let Some((file, body)) = triage("rizin_triage_x64.dmp", 0x8664) {
        assert_eq!(body.size_of_dump, 0x13_a28c);
        assert_eq!(file.trailing(), Some(0x13_a28c..file.size));
        assert_eq!((body.drivers, body.data_blocks), (0x97, Some(0x727)));
        assert_eq!(part(&body, "debugger data"), (0x1_04a8, Some(0x380)));
        assert_eq!(part(&body, "call stack"), (0xe390, Some(0x2118)));
        assert_eq!(body.top_of_stack, Some(0xffff_8504_2989_0ee8));
    }
    if let Some((file, body)) = triage("rizin_triage_arm64.dmp", 0xaa64) {
        assert_eq!(body.size_of_dump, 0xa_c46c);
        assert_eq!(file.trailing(), Some(0xa_c46c..file.size));
        assert_eq!((body.drivers, body.data_blocks), (0xf5, Some(0x2a7)));
        assert_eq!(part(&body, "debugger data"), (0xdab0, Some(0x380)));
    }
}
