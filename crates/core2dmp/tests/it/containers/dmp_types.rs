//! Every type of dump in both widths: what the library reads from what `core2dmp-synth` writes, page by page.

use std::sync::Arc;

use core2dmp::container::dmp::{Body, BodyGuess, DumpFile};
use core2dmp::container::{self, OpenOptions};
use core2dmp::header::HeaderWidth;
use core2dmp::windows;
use core2dmp_synth::dump::{self, Dump, Ranges};
use core2dmp_synth::{Guest, GuestSpec};
use kdmp_parser::gxa::Gpa as TheirGpa;
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::phys;

use crate::support::dmp::{assert_pages, kinds, open};

/// Guests of all shapes: both widths, all paging modes, few and many runs, frames that are missing.
fn guests() -> Vec<(&'static str, Guest)> {
    let many = GuestSpec::windows10().processors(2).above_4g().fill(40);
    vec![
        ("windows 10", many.runs(30).ballooned(0x900, 0x30).build()),
        (
            "windows 7",
            GuestSpec::windows7().crashed(0xd1, [1, 2, 3, 4]).build(),
        ),
        ("2003 x64", GuestSpec::windows2003_x64().fill(40).build()),
        ("2003 PAE", GuestSpec::windows2003_pae().above_4g().build()),
        ("2003 x86", GuestSpec::windows2003_x86().fill(40).build()),
    ]
}

/// All types that hold pages.
fn dumps(guest: &Guest) -> Vec<(u64, BodyGuess, Dump)> {
    let kernel = BodyGuess::Ranges;
    vec![
        (1, BodyGuess::Full, dump::full(guest)),
        (2, BodyGuess::Summary, dump::summary(guest)),
        (
            5,
            BodyGuess::Bitmap { kernel: false },
            dump::bitmap(guest, false),
        ),
        (
            6,
            BodyGuess::Bitmap { kernel: true },
            dump::bitmap(guest, true),
        ),
        (8, kernel, dump::rdmp(guest, Ranges::Kernel)),
        (9, kernel, dump::rdmp(guest, Ranges::KernelAndUser)),
        (10, BodyGuess::Ranges, dump::rdmp(guest, Ranges::Complete)),
    ]
}

/// The facts that do not depend on the type.
fn assert_header(file: &DumpFile, guest: &Guest, written: &Dump) {
    let wide = guest.expected.arch.is_64();
    let (width, machine) = if wide {
        (HeaderWidth::Bits64, 0x8664)
    } else {
        (HeaderWidth::Bits32, 0x14c)
    };
    assert_eq!((file.width, file.machine()), (width, Some(machine)));
    assert!(file.header_complete);
    assert_eq!(file.header, written.bytes[..written.header_bytes]);
    assert_eq!(file.size, written.bytes.len() as u64);
    let runs: Vec<(u64, u64)> = file
        .runs()
        .iter()
        .map(|run| (run.first.get(), run.count))
        .collect();
    assert_eq!(runs, guest.expected.runs);
    assert_eq!(file.number_of_runs(), Some(runs.len() as u64));
    let pages = runs.iter().map(|run| run.1).sum();
    assert_eq!(file.number_of_pages(), Some(pages));
    assert_eq!(file.comment(), None);
    assert!(!file.is_encrypted());
}

#[test]
fn every_page_of_every_type() {
    for (name, guest) in guests() {
        for (kind, guess, written) in dumps(&guest) {
            let file = open(&written.bytes);
            assert_eq!(kinds(&file), [], "{name}, type {kind}");
            assert_eq!(file.dump_type(), Some(kind));
            assert_header(&file, &guest, &written);
            assert_eq!(file.guess_body(), guess, "{name}, type {kind}");
            assert!(file.body_agrees());
            assert_eq!(file.body_end(), file.size);
            assert_eq!(file.trailing(), None);
            assert_eq!(file.declared_pages(), written.pfns.len() as u64);
            assert_eq!(file.size_is_full(), kind == 1);
            assert_pages(&file.memory(), &written);
        }
    }
}

#[test]
fn a_body_is_recognised_whatever_the_type_says() {
    for (name, guest) in guests() {
        for (kind, guess, written) in dumps(&guest) {
            for wrong in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x4547_4150] {
                let mut written = written.clone();
                written.set_type(wrong);
                let file = open(&written.bytes);
                assert_eq!(file.guess_body(), guess, "{name}, type {kind} as {wrong}");
                let memory = file.memory_as(guess).unwrap();
                assert_pages(&memory, &written);
            }
        }
    }
}

#[test]
fn a_type_that_was_never_set_is_a_full_dump() {
    let guest = GuestSpec::windows2003_x64().build();
    let mut written = dump::full(&guest);
    written.set_type(0x4547_4150);
    let file = open(&written.bytes);
    assert_eq!((file.dump_type(), &file.body), (None, &Body::Full));
    assert_eq!(kinds(&file), []);
    assert_pages(&file.memory(), &written);
}

#[test]
fn runs_that_no_header_holds_are_in_the_bitmap() {
    let guest = GuestSpec::windows10().runs(50).build();
    let written = dump::bitmap(&guest, false);
    let file = open(&written.bytes);
    assert_eq!(kinds(&file), []);
    assert_eq!((file.number_of_runs(), file.runs().len()), (None, 0));
    let bitmap = file.bitmap().unwrap();
    let pages = written.pfns.len() as u64;
    assert_eq!(
        [bitmap.declared_pages, bitmap.set_bits, bitmap.held_pages],
        [pages; 3]
    );
    assert_eq!(bitmap.bits, written.pfns.last().unwrap() + 1);
    assert_eq!(bitmap.bits_read, bitmap.bits);
    assert_pages(&file.memory(), &written);
}

#[test]
fn a_triage_dump_has_parts_and_no_pages() {
    for (_, guest) in guests() {
        let written = dump::triage(&guest);
        let file = open(&written.bytes);
        assert_eq!(kinds(&file), []);
        assert_eq!(file.guess_body(), BodyGuess::Triage);
        assert_eq!(file.memory().frame_count(), 0);
        assert_eq!(file.number_of_runs(), None);
        let Body::Triage(body) = &file.body else {
            panic!("{:?}", file.body);
        };
        assert!(body.finished);
        assert_eq!(body.size_of_dump, file.size);
        assert_eq!(body.drivers as usize, guest.expected.modules.len());
        let wide = guest.expected.arch.is_64();
        assert_eq!(body.data_blocks, Some(u32::from(wide)));
        let named = |name: &str| body.parts.iter().find(|part| part.name == name);
        if let Some(part) = named("debugger data") {
            let at = usize::try_from(part.offset).unwrap() + 0x10;
            assert_eq!(written.bytes[at..at + 4], *b"KDBG");
        }
        assert_eq!(named("debugger data").is_some(), wide);
    }
}

#[test]
fn a_dump_is_a_container() {
    for (name, guest) in guests() {
        for (kind, _, written) in dumps(&guest) {
            let source = Arc::new(written.bytes.clone());
            let opened = container::open(source, OpenOptions::default()).unwrap();
            assert_eq!(opened.container.format, "dmp");
            assert_eq!(opened.container.warnings, Vec::<String>::new());
            assert!(opened.cpus.is_empty());
            assert_eq!(opened.hints.headers[0].name, "the dump");
            assert_pages(&opened.memory, &written);
            let windows = windows::identify(&opened).unwrap();
            let expected = &guest.expected;
            assert_eq!(
                windows.kdbg.value.gva.get(),
                expected.kdbg.as_ref().unwrap().va,
                "{name}, type {kind}"
            );
            assert_eq!(windows.processors.len(), expected.processors.len());
            assert_eq!(windows.runs.value.len(), expected.runs.len());
        }
    }
}

#[test]
fn a_wrong_type_does_not_keep_the_memory_away() {
    let guest = GuestSpec::windows2003_x64().crashed(0xe2, [0; 4]).build();
    // The thread's dump: a header for type 2 in front of all memory.
    let mut written = dump::full(&guest);
    written.set_type(2);
    let opened = container::open(Arc::new(written.bytes.clone()), OpenOptions::default()).unwrap();
    assert_pages(&opened.memory, &written);
    assert_eq!(
        opened.container.warnings,
        [
            "body at file offset 0x2000: expected \"SDMP\", found \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"",
            "the header is followed by the pages of the runs, not by what DumpType says; they are read as such"
        ]
    );
    for (_, _, mut written) in dumps(&guest) {
        for wrong in [0, 2, 4, 5, 8] {
            written.set_type(wrong);
            let source = Arc::new(written.bytes.clone());
            let opened = container::open(source, OpenOptions::default()).unwrap();
            assert_pages(&opened.memory, &written);
        }
    }
}

#[test]
fn arm64_is_read_like_x64() {
    let guest = GuestSpec::windows10().build();
    let mut written = dump::bitmap(&guest, true);
    written.put_u32(0x30, 0xaa64);
    let file = open(&written.bytes);
    assert_eq!((kinds(&file), file.machine()), (vec![], Some(0xaa64)));
    let opened = container::open(Arc::new(written.bytes.clone()), OpenOptions::default()).unwrap();
    let machine = ("machine", "ARM64".to_owned());
    assert!(opened.container.details.contains(&machine));
    assert_pages(&opened.memory, &written);
}

#[test]
fn somebody_elses_reader_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.dmp");
    for (name, guest) in guests() {
        if !guest.expected.arch.is_64() {
            continue;
        }
        for (kind, _, written) in dumps(&guest) {
            if kind == 2 {
                continue; // It does not know the type.
            }
            std::fs::write(&path, &written.bytes).unwrap();
            let parser = KernelDumpParser::new(&path).unwrap();
            let reader = phys::Reader::new(&parser);
            let mut page = [0; 4096];
            assert_eq!(parser.physmem().len(), written.pfns.len());
            for (index, pfn) in written.pfns.iter().enumerate() {
                reader
                    .read_exact(TheirGpa::new(pfn << 12), &mut page)
                    .unwrap();
                let at = written.first_page + index * 4096;
                assert!(page == written.bytes[at..at + 4096], "{name}, type {kind}");
            }
        }
    }
}
