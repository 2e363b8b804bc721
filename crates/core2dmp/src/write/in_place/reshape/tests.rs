//! Compares the steps with a model that moves bytes, and interrupts them in every possible way.

mod sim;

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use self::sim::{BLOCK, Content, End, Fuse, Sim};
use super::journal::{Head, Journal};
use super::run;
use super::span::{DataMap, Moving, Place, Span};
use super::steps::{Kind, MAX_PIECES, Steps};
use crate::image::{Segment, SegmentData};

const MANY: usize = usize::MAX >> 1;

/// A core and a plan for it.
/// Appends a segment, and joins none.
fn push(segments: &mut Vec<Segment>, bytes: u64, data: SegmentData) {
    let start = segments.last().map_or(0, Segment::end);
    segments.push(Segment { start, bytes, data });
}

#[derive(Debug, Clone)]
struct Case {
    core: Content,
    segments: Vec<Segment>,
}

impl Case {
    /// Each part is blocks of a gap in the core, of it in the dump, and of what is kept behind both.
    fn new(
        parts: &[(usize, usize, usize)],
        tail: (usize, usize),
        extra: usize,
        holes: &[bool],
    ) -> Self {
        let (mut segments, mut source) = (Vec::new(), 0);
        let gap = |segments: &mut Vec<Segment>, blocks: usize, number: usize| {
            // Alternately bytes and zeros.
            for n in 0..blocks {
                let data = if (n + number) % 3 == 1 {
                    SegmentData::Zeros
                } else {
                    SegmentData::Bytes(
                        (0..BLOCK)
                            .map(|i| 0x80 | (i + n * 7 + number) as u8)
                            .collect(),
                    )
                };
                let bytes = BLOCK as u64;
                push(segments, bytes, data);
            }
        };
        for (number, (in_core, in_dump, kept)) in parts.iter().enumerate() {
            gap(&mut segments, *in_dump, number);
            source += in_core * BLOCK;
            let data = SegmentData::Source {
                offset: source as u64,
            };
            let bytes = (kept * BLOCK) as u64;
            push(&mut segments, bytes, data);
            source += kept * BLOCK;
        }
        gap(&mut segments, tail.1, parts.len());
        let size = source + tail.0 * BLOCK + extra;
        let mut core = Content::new((0..size).map(|n| (n % 127 + 1) as u8).collect());
        for (n, is_data) in core.is_data.iter_mut().enumerate() {
            if holes.get(n).copied().unwrap_or(false) {
                *is_data = false;
                let end = (n * BLOCK + BLOCK).min(size);
                core.bytes[n * BLOCK..end].fill(0);
            }
        }
        Self { core, segments }
    }

    fn steps(&self) -> Steps {
        Steps::of(&self.segments, self.core.bytes.len() as u64, BLOCK as u64).unwrap()
    }

    /// As the writer makes it.
    fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        for segment in &self.segments {
            let bytes = segment.bytes as usize;
            match &segment.data {
                SegmentData::Bytes(bytes) => dump.extend_from_slice(bytes),
                SegmentData::Zeros => dump.resize(dump.len() + bytes, 0),
                SegmentData::Source { offset } => {
                    let at = *offset as usize;
                    dump.extend_from_slice(&self.core.bytes[at..at + bytes]);
                }
                SegmentData::Encoded { .. } => unreachable!(),
            }
        }
        dump
    }

    fn head(&self) -> Head {
        Head {
            core: b"/a/\xff.core".to_vec(),
            dump: b"/a/b.dmp".to_vec(),
            inode: 7,
            mode: 0o640,
            block: BLOCK as u64,
            steps: self.steps(),
            wrote: run::wrote(&self.segments),
        }
    }
}

/// What is on the disk after a run.
#[derive(Debug, Clone)]
struct Left {
    core: Content,
    /// `None` if it never got its name.
    journal: Option<Content>,
    calls: usize,
    done: bool,
}

fn there(case: &Case, calls: usize, end: End) -> Left {
    let fuse = Fuse::new(calls, end);
    let (core_after, journal_after) = <(Rc<RefCell<Content>>, Rc<RefCell<Content>>)>::default();
    let mut core = Sim::new(case.core.clone(), Rc::clone(&fuse), Rc::clone(&core_after));
    let disk = Sim::new(
        Content::default(),
        Rc::clone(&fuse),
        Rc::clone(&journal_after),
    );
    let created = Journal::create(disk, case.head(), &mut |disk: &mut Sim, to, span| {
        super::disk::Disk::take(disk, to, &core, span)
    });
    let mut left = Left {
        core: core_after.borrow().clone(),
        journal: None,
        calls: 0,
        done: false,
    };
    if let Ok(mut journal) = created {
        left.done = run::there(&mut core, &mut journal, &case.segments).is_ok();
        assert!(left.done || fuse.is_blown.get(), "no reason to fail");
        left.journal = Some(journal_after.borrow().clone());
        left.core = core_after.borrow().clone();
    }
    left.calls = fuse.used(calls);
    left
}

fn back(left: &Left, calls: usize, end: End) -> Left {
    let fuse = Fuse::new(calls, end);
    let (core_after, journal_after) = <(Rc<RefCell<Content>>, Rc<RefCell<Content>>)>::default();
    let mut core = Sim::new(left.core.clone(), Rc::clone(&fuse), Rc::clone(&core_after));
    let content = left.journal.clone().unwrap();
    let disk = Sim::new(content, Rc::clone(&fuse), Rc::clone(&journal_after));
    let result =
        Journal::open(disk, true).and_then(|mut journal| run::back(&mut core, &mut journal));
    assert!(result.is_ok() || fuse.is_blown.get(), "{result:?}");
    let (core, journal) = (core_after.borrow().clone(), journal_after.borrow().clone());
    Left {
        core,
        journal: Some(journal),
        calls: fuse.used(calls),
        done: result.is_ok(),
    }
}

fn assert_core(case: &Case, left: &Left, what: &str) {
    assert!(left.done, "{what}");
    assert!(left.core.bytes == case.core.bytes, "{what}");
}

/// Interrupts at every call, goes back, interrupts that at every call, and goes back again; returns how many ends it
/// tried.
fn break_off_everywhere(case: &Case, seeds: u64) -> usize {
    let whole = there(case, MANY, End::After);
    assert!(whole.done);
    assert!(whole.core.bytes == case.dump(), "another dump");
    assert_core(case, &back(&whole, MANY, End::After), "from the end");
    let mut ends = vec![End::Before, End::After];
    ends.extend((1..=seeds).map(End::Power));
    let mut tried = 0;
    for calls in 0..=whole.calls {
        for &end in &ends {
            let left = there(case, calls, end);
            tried += 1;
            if left.journal.is_none() {
                assert!(
                    left.core == case.core,
                    "{calls} {end:?}: changed before the journal"
                );
                continue;
            }
            let undone = back(&left, MANY, End::After);
            assert_core(case, &undone, &format!("{calls} {end:?}"));
            for back_calls in 0..undone.calls {
                // The seeds of the way back are others.
                let end = match end {
                    End::Power(seed) => End::Power(seed * 1000 + back_calls as u64),
                    end => end,
                };
                let again = back(&back(&left, back_calls, end), MANY, End::After);
                tried += 1;
                assert_core(case, &again, &format!("{calls}, back {back_calls} {end:?}"));
            }
        }
    }
    tried
}

#[test]
fn broken_off_anywhere_the_core_comes_back() {
    // A header for sections, a patched page, a hole of the guest, pages outside the runs, a table behind.
    let parts = [(3, 2, 4), (1, 1, 3), (0, 2, 2), (4, 0, 5), (1, 1, 2)];
    let dense = Case::new(&parts, (3, 0), 3, &[]);
    let holes: Vec<bool> = (0..40).map(|n| n % 5 == 3 || n % 11 == 7).collect();
    let sparse = Case::new(&parts, (1, 3), 0, &holes);
    let longer = Case::new(&[(1, 2, 6), (1, 3, 6)], (0, 2), 1, &[]);
    let mut tried = 0;
    for case in [&dense, &sparse, &longer] {
        tried += break_off_everywhere(case, 12);
    }
    println!("broken off {tried} times, and the core came back each time");
    assert!(tried > 10_000, "{tried}");
}

fn cases() -> impl Strategy<Value = Case> {
    let part = (0..5_usize, 0..5_usize, 1..5_usize);
    let parts = prop::collection::vec(part, 1..6);
    let holes = prop::collection::vec(prop::bool::weighted(0.2), 0..60);
    (parts, (0..4_usize, 0..4_usize), 0..BLOCK, holes)
        .prop_map(|(parts, tail, extra, holes)| Case::new(&parts, tail, extra, &holes))
}

/// The steps on plain bytes.
fn naive(case: &Case) -> Vec<u8> {
    let steps = case.steps();
    let mut file = case.core.bytes.clone();
    file.resize(steps.tail_size as usize, 0);
    for shift in &steps.shifts {
        let (at, bytes) = (shift.span.at as usize, shift.span.bytes as usize);
        match shift.kind {
            Kind::Collapse => {
                assert_eq!(file.len() as u64, shift.wide);
                assert!(at + bytes < file.len());
                file.drain(at..at + bytes);
            }
            Kind::Insert => {
                assert!(at < file.len());
                file.splice(at..at, vec![0; bytes]);
                assert_eq!(file.len() as u64, shift.wide);
            }
        }
    }
    let mut at = 0;
    for segment in &case.segments {
        let end = at + segment.bytes as usize;
        match &segment.data {
            SegmentData::Bytes(bytes) => file[at..end].copy_from_slice(bytes),
            SegmentData::Zeros => file[at..end].fill(0),
            SegmentData::Source { .. } | SegmentData::Encoded { .. } => {}
        }
        at = end;
    }
    assert_eq!(file.len() as u64, steps.new_size);
    file
}

/// What is saved, over what is kept, is the core.
fn saved_and_kept(case: &Case) -> Vec<u8> {
    let mut core = vec![0; case.core.bytes.len()];
    let kept = case
        .segments
        .iter()
        .filter_map(|segment| match segment.data {
            SegmentData::Source { offset } => Some(Span::new(offset, segment.bytes)),
            _ => None,
        });
    for span in case.steps().saved.into_iter().chain(kept) {
        let range = span.at as usize..span.end() as usize;
        assert!(core[range.clone()].iter().all(|byte| *byte == 0), "twice");
        core[range.clone()].copy_from_slice(&case.core.bytes[range]);
    }
    core
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_steps_make_the_dump_and_save_the_rest(case in cases()) {
        prop_assert_eq!(naive(&case), case.dump());
        prop_assert_eq!(saved_and_kept(&case), case.core.bytes);
    }

    #[test]
    fn any_core_comes_back_from_any_end(case in cases(), calls in 0..60_usize, end in 0..40_u64, again in 0..40_usize) {
        let end = match end {
            0 => End::Before,
            1 => End::After,
            seed => End::Power(seed),
        };
        // Holes may repeat by chance; then it is refused, and undone at once.
        let whole = std::panic::catch_unwind(|| there(&case, MANY, End::After));
        prop_assume!(whole.is_ok());
        let left = there(&case, calls, end);
        if left.journal.is_none() {
            prop_assert_eq!(&left.core, &case.core);
        } else {
            let half = back(&left, again, end);
            let undone = if half.done { half } else { back(&half, MANY, End::After) };
            prop_assert!(undone.core.bytes == case.core.bytes);
        }
    }

    #[test]
    fn a_torn_shift_is_placed_by_its_holes(
        blocks in prop::collection::vec(prop::bool::weighted(0.7), 2..30),
        bytes in 1..4_u64,
        moved in 0..30_u64,
        junk in any::<u8>(),
    ) {
        let narrow_size = blocks.len() as u64;
        let map = |is_data: &mut dyn Iterator<Item = (u64, bool)>| {
            let mut map = DataMap::default();
            for (at, _) in is_data.filter(|(_, is_data)| *is_data) {
                map.push(Span::new(at, 1));
            }
            map
        };
        let narrow = map(&mut (0..).zip(blocks.iter().copied()));
        let wide = narrow_size + bytes;
        let moving = Moving { range: Span::new(0, bytes), wide, narrow: narrow.clone() };
        prop_assert_eq!(moving.place(narrow_size, &narrow), Some(Place::Narrow));
        prop_assert_eq!(moving.place(wide + 1, &narrow), None);
        prop_assume!(!moving.is_ambiguous());
        let hole = moved.min(narrow_size);
        let torn = map(&mut (0..wide).map(|at| {
            let is_data = if at < hole {
                blocks[at as usize]
            } else if at < hole + bytes {
                // Only where nothing has moved may anything be in the range.
                hole == 0 && junk & (1 << at) != 0
            } else {
                blocks[(at - bytes) as usize]
            };
            (at, is_data)
        }));
        let nothing_moved = blocks[..hole as usize].iter().all(|is_data| !is_data);
        match moving.place(wide, &torn) {
            Some(Place::Wide) => prop_assert!(nothing_moved),
            Some(Place::Torn(at)) => {
                // Holes before it are as good as moved.
                prop_assert!(at >= hole && blocks[hole as usize..at as usize].iter().all(|is_data| !is_data));
            }
            Some(Place::Uncut) => {
                prop_assert!(blocks[hole as usize..].iter().all(|is_data| !is_data));
            }
            place => prop_assert!(false, "{place:?}"),
        }
    }
}

#[test]
fn what_cannot_be_done_in_place_is_refused() {
    let source = |offset, bytes| (bytes, SegmentData::Source { offset });
    let all = |parts: &[(u64, SegmentData)]| {
        let mut segments = Vec::new();
        for (bytes, data) in parts {
            push(&mut segments, *bytes, data.clone());
        }
        segments
    };
    let refused = |parts: &[_]| Steps::of(&all(parts), 0x10000, 0x1000).unwrap_err();
    let order = refused(&[source(0x4000, 0x1000), source(0x2000, 0x1000)]);
    assert!(order.contains("another order"), "{order}");
    let same = refused(&[source(0x4000, 0x1000), source(0x4000, 0x1000)]);
    assert!(same.contains("another order"), "{same}");
    let unaligned = refused(&[source(0x4008, 0x1000)]);
    assert!(unaligned.contains("multiples"), "{unaligned}");
    let beyond = refused(&[source(0xf000, 0x2000)]);
    assert!(beyond.contains("it ends at 0x10000"), "{beyond}");
    let encoded = refused(&[(0x1000, SegmentData::Encoded { index: 0 })]);
    assert!(encoded.contains("encoded"), "{encoded}");
    assert!(refused(&[]).contains("none of its pages"));
    let many: Vec<_> = (0..5000).map(|n| source(n * 0x2000, 0x1000)).collect();
    let many = Steps::of(&all(&many), u64::MAX, 0x1000).unwrap_err();
    assert!(many.contains("too many pieces"), "{many}");
    let zeros = (0x1000, SegmentData::Zeros);
    let mut small = vec![source(0, 0x1000)];
    small.extend(vec![zeros; MAX_PIECES + 1]);
    let small = Steps::of(&all(&small), u64::MAX, 0x1000).unwrap_err();
    assert_eq!(
        small,
        "its memory is in too many pieces: 0 shifts and 65537 others, the limits are 4096 and 65536"
    );
}
