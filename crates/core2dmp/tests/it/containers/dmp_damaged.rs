//! Dumps that were cut short, that lie, and that nobody would write: they open, say what is odd, and cost little.

use std::io;
use std::sync::Arc;

use core2dmp::container::dmp::{Body, BodyGuess, DumpFile, ProblemKind};
use core2dmp::container::{self, OpenOptions};
use core2dmp::header::HeaderWidth;
use core2dmp::memory::PhysicalMemory;
use core2dmp::source::ReadAt;
use core2dmp_synth::dump::{self, Dump, Ranges};
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::dmp::{assert_pages, kinds, open};

pub(super) fn guest() -> Guest {
    GuestSpec::windows7().memory_mib(20).build()
}

fn small(guest: &Guest) -> Vec<Dump> {
    vec![
        dump::summary(guest),
        dump::bitmap(guest, true),
        dump::rdmp(guest, Ranges::Kernel),
        dump::triage(guest),
    ]
}

/// Frame and file offset of every run, for comparisons.
fn runs(memory: &PhysicalMemory) -> Vec<(u64, u64)> {
    let runs = memory.runs().iter();
    runs.map(|run| (run.frames.first.get(), run.frames.count))
        .collect()
}

#[test]
fn cut_at_every_border() {
    let guest = guest();
    for written in small(&guest).into_iter().chain([dump::full(&guest)]) {
        let (header, first) = (written.header_bytes, written.first_page);
        let borders = [
            8,
            0x34,
            0x88,
            header,
            header + 0x38,
            first,
            written.bytes.len(),
        ];
        for at in borders.iter().flat_map(|at| [*at - 1, *at, *at + 1]) {
            let mut cut = written.clone();
            cut.truncate(at);
            let Ok(file) = DumpFile::open(Arc::new(cut.bytes.clone())) else {
                assert!(at < 8, "{at:#x}");
                continue;
            };
            let whole = at >= written.bytes.len();
            let pages = at.min(written.bytes.len()).saturating_sub(first) / 4096;
            if at >= first {
                let held = pages.min(written.pfns.len()) as u64;
                assert_eq!(file.memory().frame_count(), held, "{at:#x}");
            }
            assert_eq!(file.header_complete, at >= header);
            assert_eq!(file.body == Body::HeaderOnly, at <= header);
            assert_eq!(kinds(&file).is_empty(), whole || at == header, "{at:#x}");
            if at > first && !whole && !written.pfns.is_empty() {
                assert_eq!(kinds(&file), [ProblemKind::BodyCutShort], "{at:#x}");
                assert_eq!(file.body_end(), written.bytes.len() as u64);
            }
        }
    }
}

#[test]
fn a_bare_header_is_a_dump() {
    let guest = guest();
    for kind in [1, 2, 4, 5, 8, 0x4547_4150] {
        let file = open(&dump::header(&guest, kind));
        assert_eq!((&file.body, kinds(&file)), (&Body::HeaderOnly, vec![]));
        assert_eq!(file.guess_body(), BodyGuess::Nothing);
        assert_eq!(file.runs().len(), 2);
        assert_eq!(file.memory().frame_count(), 0);
        assert!(file.memory_as(BodyGuess::Full).is_none());
    }
}

#[test]
fn marks_that_are_missing() {
    let guest = guest();
    let head = dump::header(&guest, 1);
    let mut unfinished = head.clone();
    unfinished[4..8].fill(0);
    let mut foreign = head.clone();
    foreign[..4].copy_from_slice(b"JUNK");
    let (unfinished, foreign) = (open(&unfinished), open(&foreign));
    assert_eq!(kinds(&unfinished), [ProblemKind::ValidDump]);
    assert_eq!(kinds(&foreign), [ProblemKind::Signature]);
    assert_eq!(
        unfinished.problems()[0].to_string(),
        r"ValidDump at file offset 0x4: expected DU64, found \x00\x00\x00\x00"
    );
    assert_eq!(unfinished.width, HeaderWidth::Bits64);
    for wrong in [&b"PAGE"[..], b"", b"PAGEDU6", b"MDMP", &head[8..]] {
        assert!(!DumpFile::is_dump(wrong));
        assert!(DumpFile::open(Arc::new(wrong.to_vec())).is_err());
    }
    assert!(DumpFile::is_dump(b"PAGEDU64"));
    assert_eq!(kinds(&open(b"PAGEDUMP")), [ProblemKind::HeaderCutShort]);
}

/// A full dump of 16 pages whose table of runs is written by hand.
fn hand(runs: &[(u64, u64)], count: u32) -> Dump {
    let mut dump = dump::full(&guest());
    dump.truncate(0x2000 + 16 * 4096);
    dump.put_u32(0x88, count);
    dump.put_u64(
        0x90,
        runs.iter().fold(0, |sum, run| sum.wrapping_add(run.1)),
    );
    for (n, (first, pages)) in runs.iter().enumerate() {
        dump.put_u64(0x98 + n * 16, *first);
        dump.put_u64(0xa0 + n * 16, *pages);
    }
    dump
}

#[test]
fn runs_that_lie() {
    use ProblemKind as P;
    let never = u64::from_le_bytes(*b"PAGEPAGE");
    // A run beyond what was set: the debugger does not notice.
    let file = open(&hand(&[(1, 8), (0x100, 8), (never, never)], 3).bytes);
    assert_eq!(kinds(&file), [P::Run, P::PageCount]);
    assert_eq!(runs(&file.memory()), [(1, 8), (0x100, 8)]);
    // Runs that overlap: a search from the front finds the first page.
    let file = open(&hand(&[(4, 8), (8, 8)], 2).bytes);
    assert_eq!(kinds(&file), [P::Overlap]);
    assert_eq!(runs(&file.memory()), [(4, 8), (12, 4)]);
    assert_eq!(
        file.problems()[0].to_string(),
        "runs of the header at file offset 0x98: expected every frame once, \
         found 4 frames twice, the first is 0x8"
    );
    // Runs that do not ascend are no problem: the pages stand in their order.
    let file = open(&hand(&[(0x100, 8), (1, 8)], 2).bytes);
    assert_eq!(
        (kinds(&file), runs(&file.memory())),
        (vec![], vec![(1, 8), (0x100, 8)])
    );
    // Counts of all ones, a run without pages, and one where no memory is.
    let file = open(&hand(&[(1, u64::MAX), (u64::MAX, 1)], 2).bytes);
    assert_eq!(
        kinds(&file),
        [P::Run, P::Run, P::PageCount, P::BodyCutShort]
    );
    assert_eq!(runs(&file.memory()), [(1, 16)]);
    let file = open(&hand(&[(1, 0), (1, 16)], 2).bytes);
    assert_eq!(
        (kinds(&file), runs(&file.memory())),
        (vec![P::Run], vec![(1, 16)])
    );
    // More runs than fit.
    let file = open(&hand(&[(1, 16)], u32::MAX).bytes);
    assert_eq!((file.declared_runs().len(), file.runs().len()), (42, 2));
    assert_eq!(kinds(&file)[0], P::RunCount);
}

#[test]
fn bitmaps_that_lie() {
    use ProblemKind as P;
    let guest = guest();
    let good = dump::bitmap(&guest, true);
    let with = |offset: usize, value: u64| {
        let mut dump = good.clone();
        dump.put_u64(offset, value);
        open(&dump.bytes)
    };
    for first in [0, 0x2038, 1] {
        let file = with(0x2020, first);
        assert_eq!(kinds(&file)[0], P::FirstPage, "{first:#x}");
        assert_eq!(file.memory().frame_count(), 0);
    }
    let file = with(0x2020, u64::MAX);
    assert_eq!(kinds(&file), [P::BodyCutShort, P::RequiredSpace]);
    assert_eq!(file.memory().frame_count(), 0);
    for bits in [1 << 60, u64::MAX] {
        let file = with(0x2030, bits);
        assert_eq!(kinds(&file), [P::BitmapSize]);
        assert_eq!(file.memory().frame_count(), good.pfns.len() as u64);
    }
    assert_eq!(kinds(&with(0x2030, 0)), [P::SetBits]);
    assert_eq!(kinds(&with(0x2028, 7)), [P::SetBits]);
    assert_eq!(kinds(&with(0xfa0, 0x3000)), [P::RequiredSpace]);
    let file = with(0x2000, 0);
    assert_eq!(
        (kinds(&file), &file.body),
        (vec![P::BodyTag], &Body::Unknown)
    );
    assert_eq!(file.guess_body(), BodyGuess::Bitmap { kernel: true });
    // Both tags gone, and pages that are not counted so: nothing speaks for a bitmap.
    let mut gone = good.clone();
    gone.put_u64(0x2028, 7);
    gone.put_u64(0x2000, 0);
    assert_eq!(open(&gone.bytes).guess_body(), BodyGuess::Full);
    // Type 2 asks for a run that it does not use.
    let mut summary = dump::summary(&guest);
    summary.put_u32(0x88, 0);
    assert_eq!(kinds(&open(&summary.bytes)), [P::PageCount, P::RunCount]);
}

#[test]
fn ranges_that_lie() {
    use ProblemKind as P;
    let good = dump::rdmp(&guest(), Ranges::Complete);
    let with = |values: &[(usize, u64)]| {
        let mut dump = good.clone();
        for (offset, value) in values {
            dump.put_u64(*offset, *value);
        }
        open(&dump.bytes)
    };
    // Out of order, and one inside the other.
    let file = with(&[
        (0x2030, 0x200),
        (0x2038, 16),
        (0x2040, 0x100),
        (0x2048, 0x200),
        (0x2050, 0),
    ]);
    assert_eq!(kinds(&file), [P::Overlap]);
    assert_eq!(
        runs(&file.memory()),
        [(0x100, 0x100), (0x200, 16), (0x210, 0xf0)]
    );
    assert_eq!(kinds(&with(&[(0x2018, 0)]))[0], P::FirstPage);
    // Nobody looks at the metadata's bytes, at the number of pages and at the tags.
    assert_eq!(kinds(&with(&[(0x2010, u64::MAX)])), []);
    assert_eq!(kinds(&with(&[(0x2028, 3)])), []);
    assert_eq!(kinds(&with(&[(0x2020, 0)])), [P::RangeTable]);
    let file = with(&[(0x2038, u64::MAX), (0x2040, u64::MAX), (0x2048, u64::MAX)]);
    assert!(kinds(&file).contains(&P::BodyCutShort));
    assert_eq!(kinds(&with(&[(0x2000, 0)])), []);
    // Without tags, numbers that cannot be: another body.
    assert_eq!(kinds(&with(&[(0x2000, 0), (0x2018, 5)])), [P::BodyTag]);
}

#[test]
fn triage_parts_that_lie() {
    let mut written = dump::triage(&guest());
    written.put_u32(0x2030, u32::MAX);
    written.put_u32(0x2078, 0x10);
    written.put_u32(0x207c, u32::MAX);
    let file = open(&written.bytes);
    assert_eq!(kinds(&file), [ProblemKind::TriagePart; 2]);
    written.put_u32(0x2008, u32::MAX);
    assert_eq!(
        kinds(&open(&written.bytes))[0],
        ProblemKind::TriageUnfinished
    );
}

#[test]
fn what_was_appended_is_not_the_body() {
    let mut written = dump::bitmap(&guest(), true);
    let end = written.bytes.len() as u64;
    written.bytes.extend(b"DumpBlob");
    written.bytes.extend([0; 0x20]);
    let file = open(&written.bytes);
    assert_eq!((kinds(&file), file.body_end()), (vec![], end));
    assert_eq!(file.trailing(), Some(end..end + 0x28));
    assert!(file.has_blobs());
    written.truncate(usize::try_from(end).unwrap());
    assert_pages(&file.memory(), &written);
    let opened = container::open(Arc::clone(&file.source), OpenOptions::default()).unwrap();
    assert!(
        opened
            .container
            .details
            .contains(&("appended", "40 bytes".to_owned()))
    );
}

/// A file that fails to read from an offset on.
#[derive(Debug)]
struct Failing(Vec<u8>, u64);

impl ReadAt for Failing {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.1 {
            return Err(io::Error::other("a bad sector"));
        }
        let n = buf.len().min(usize::try_from(self.1 - offset).unwrap());
        self.0.read_at(offset, &mut buf[..n])
    }
}

#[test]
fn a_body_that_cannot_be_read_is_a_problem_and_no_error() {
    for written in small(&guest()) {
        let file = DumpFile::open(Arc::new(Failing(written.bytes.clone(), 0x2000))).unwrap();
        assert_eq!(kinds(&file)[0], ProblemKind::Unreadable);
        assert!(file.problems()[0].to_string().contains("a bad sector"));
        assert!(DumpFile::open(Arc::new(Failing(written.bytes, 0x1000))).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Any damage to the first pages: it opens or it says why not, and what it holds can be read.
    #[test]
    fn any_damage(
        which in 0_usize..4,
        places in proptest::collection::vec((0_usize..0x2090, any::<u64>(), any::<bool>()), 1..12),
        dump_type in 0_u32..11,
    ) {
        static SMALL: std::sync::OnceLock<Vec<Dump>> = std::sync::OnceLock::new();
        let mut written = SMALL.get_or_init(|| small(&guest()))[which].clone();
        for (at, value, extreme) in places {
            written.put_u64(at, if extreme { u64::MAX } else { value });
        }
        written.set_type(dump_type);
        written.put(0, b"PAGEDU64");
        let file = open(&written.bytes);
        for guess in [
            BodyGuess::Full,
            BodyGuess::Summary,
            BodyGuess::Bitmap { kernel: true },
            BodyGuess::Ranges,
            BodyGuess::Triage,
            file.guess_body(),
        ] {
            let other = file.memory_as(guess);
            prop_assert!(other.is_none_or(|memory| memory.frame_count() > 0));
        }
        let memory = file.memory();
        let mut page = [0; 4096];
        for run in memory.runs() {
            let last = run.frames.end().get() - 1;
            memory.read(core2dmp::address::Pfn::new(last).gpa(), &mut page).unwrap();
        }
        container::open(Arc::new(written.bytes), OpenOptions::default()).unwrap();
    }
}
