//! Where the pages of a raw file belong: stretches of one shift, and the borders between them.
//!
//! ```text
//! file     |  shift 0  |? border ?|  shift 0x40000  |? border ?|  shift 0x40008  |
//! memory   |           |   hole   |                 |  pages missing from the file: its border is not known
//! ```
//!
//! A border lies between two pages whose place is proven. A hole there is where Windows counts no memory; if there is
//! no room for one, memory is missing from the file, and the pages in between cannot be placed.

use std::collections::BTreeMap;

use super::marks::{Kind, Mark, Marks};
use crate::address::{MEBIBYTE, Pfn};
use crate::container::raw::Region;
use crate::memory::Frames;

/// Lines that are tried, the likeliest first.
const MAX_LINES: usize = 8;
/// Frames below 4 GiB.
const FOUR_GIB: u64 = 0x10_0000;
/// Holes, where they may begin and where they end: that below 4 GiB, the video memory's window, that of all firmware.
const USUAL: [(u64, u64); 3] = [(0x100, FOUR_GIB), (0x80, 0xc0), (0x80, 0x100)];
/// Pages of the file with one shift: those between two that are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) shift: i64,
}

/// Stretches that tables of one kind prove, ascending in the file and in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) stretches: Vec<Stretch>,
    votes: usize,
}

/// The lines that the marks make, the one with most marks first.
pub(super) fn lines(marks: &Marks) -> Vec<Line> {
    let mut lines: Vec<Line> = marks
        .tables
        .iter()
        .flat_map(|(kind, marks)| of_kind(*kind, marks))
        .collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.votes));
    lines.truncate(MAX_LINES);
    lines
}

fn of_kind(kind: Kind, marks: &[Mark]) -> Vec<Line> {
    let mut shifts: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for mark in marks {
        shifts.entry(mark.shift()).or_default().push(mark.at.get());
    }
    let mut groups: Vec<(i64, Vec<u64>)> = shifts.into_iter().collect();
    groups.sort_by_key(|(_, pages)| std::cmp::Reverse(pages.len()));
    let agreed: Vec<_> = groups.iter().filter(|(_, at)| at.len() > 1).collect();
    if agreed.is_empty() {
        // One process alone: each is a line of its own, where the entry is known at least.
        let alone = groups
            .iter()
            .filter(|_| !matches!(kind, Kind::X64(_) | Kind::Arm64(_)));
        let line = |group: &(i64, Vec<u64>)| {
            Some(Line {
                kind,
                stretches: vec![stretch(group)?],
                votes: 1,
            })
        };
        return alone.filter_map(line).take(MAX_LINES).collect();
    }
    let mut line = Line {
        kind,
        stretches: Vec::new(),
        votes: 0,
    };
    for group in agreed {
        if let Some(stretch) = stretch(group).filter(|stretch| line.takes(stretch)) {
            line.votes = line.votes.saturating_add(group.1.len());
            line.stretches.push(stretch);
        }
    }
    line.stretches.sort_by_key(|stretch| stretch.first);
    vec![line]
}

fn stretch((shift, pages): &(i64, Vec<u64>)) -> Option<Stretch> {
    Some(Stretch {
        first: *pages.iter().min()?,
        last: *pages.iter().max()?,
        shift: *shift,
    })
}

impl Line {
    /// Whether a stretch lies beside the others, in the file as in memory.
    fn takes(&self, new: &Stretch) -> bool {
        self.stretches.iter().all(|old| {
            (new.last < old.first && new.shift < old.shift)
                || (new.first > old.last && new.shift > old.shift)
        })
    }

    /// Adds a page whose place is proven by what Windows says of it.
    pub(super) fn add(&mut self, mark: Mark) {
        let (at, shift) = (mark.at.get(), mark.shift());
        let new = Stretch {
            first: at,
            last: at,
            shift,
        };
        if let Some(old) = self.stretches.iter_mut().find(|old| old.shift == shift) {
            (old.first, old.last) = (old.first.min(at), old.last.max(at));
        } else if self.takes(&new) {
            self.stretches.push(new);
            self.stretches.sort_by_key(|stretch| stretch.first);
        }
    }

    /// Whether a mark is one of its own.
    pub(super) fn holds(&self, mark: &Mark) -> bool {
        let at = mark.at.get();
        self.stretches.iter().any(|stretch| {
            stretch.shift == mark.shift() && (stretch.first..=stretch.last).contains(&at)
        })
    }

    /// Whether all of the file is where its pages' numbers say.
    pub(super) fn is_flat(&self) -> bool {
        self.stretches.iter().all(|stretch| stretch.shift == 0)
    }

    pub(super) fn last(&self) -> Option<Stretch> {
        self.stretches.last().copied()
    }

    /// The places where the shift changes.
    fn borders(&self) -> Vec<Border> {
        let before_all = Stretch {
            first: 0,
            last: 0,
            shift: 0,
        };
        let before = std::iter::once(&before_all).chain(&self.stretches);
        let borders = before.zip(&self.stretches).enumerate();
        borders
            .filter(|(_, (old, new))| old.shift != new.shift)
            .map(|(number, (old, new))| Border {
                is_first: number == 0,
                first: if number == 0 {
                    0
                } else {
                    old.last.saturating_add(1)
                },
                last: new.first,
                old: old.shift,
                new: new.shift,
            })
            .collect()
    }
}

/// Where the shift changes: at one of these pages of the file.
#[derive(Debug, Clone, Copy)]
struct Border {
    is_first: bool,
    first: u64,
    last: u64,
    old: i64,
    new: i64,
}

impl Border {
    /// The pages at which holes would begin that are where holes usually are.
    fn usual(&self) -> impl Iterator<Item = u64> + '_ {
        USUAL.iter().filter_map(|(least, end)| {
            let page = end.checked_add_signed(self.new.checked_neg()?)?;
            let begins = self.hole(page)?.first.get();
            let may_be = begins >= *least && (self.first..=self.last).contains(&page);
            may_be.then_some(page)
        })
    }

    /// The frames that a hole at this page would leave out.
    fn hole(&self, page: u64) -> Option<Frames> {
        let first = page.checked_add_signed(self.old)?;
        let end = page.checked_add_signed(self.new)?;
        Some(Frames::between(Pfn::new(first), Pfn::new(end)))
    }

    /// Where holes usually are, else at one end.
    fn guess(&self, late: bool) -> u64 {
        let at_end = if late { self.last } else { self.first };
        self.usual().find(|_| self.new > self.old).unwrap_or(at_end)
    }

    /// Where the hole is, by what Windows counts; `None` if there is no room for one.
    fn fit(&self, counted: &[Frames]) -> Option<u64> {
        // Something in front of the memory is no hole, nor is a file that begins further up.
        if self.is_first && self.new < 0 {
            return Some(0);
        }
        let fits = |page: &u64| {
            let hole = self.hole(*page);
            hole.is_some_and(|hole| !counted.iter().any(|run| overlap(run, &hole)))
        };
        let behind_runs = counted
            .iter()
            .filter_map(|run| run.end().get().checked_add_signed(self.old.checked_neg()?))
            .filter(|page| (self.first..=self.last).contains(page));
        let ends = [self.first, self.last];
        let starts_later = self.is_first && self.new.unsigned_abs().is_multiple_of(MEBIBYTE);
        self.usual()
            .chain(behind_runs)
            .chain(ends)
            .find(fits)
            .or_else(|| starts_later.then_some(0))
    }
}

fn overlap(a: &Frames, b: &Frames) -> bool {
    a.first < b.end() && b.first < a.end()
}

/// Where all pages of a file belong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// What is placed.
    pub(super) regions: Vec<Region>,
    /// Frames that the file leaves out because nothing is there.
    pub(super) holes: Vec<Frames>,
    /// Frames that are missing, and somewhere between them and which pages of the file cannot be placed.
    pub(super) lost: Vec<Lost>,
}

/// Memory that is missing from the file, at an unknown place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// How many frames are missing.
    pub(super) frames: u64,
    /// Where: somewhere among these.
    pub(super) among: Frames,
}

/// A placement to try: holes where they usually are, else at one end of where they may be.
pub(super) fn guess(line: &Line, pages: u64, late: bool) -> Placement {
    place(line, pages, pages, |border| Some(border.guess(late)))
}

/// The placement that agrees with what Windows counts; pages from `proven` on are left out.
pub(super) fn settle(line: &Line, pages: u64, proven: u64, counted: &[Frames]) -> Placement {
    place(line, pages, proven, |border| border.fit(counted))
}

fn place(
    line: &Line,
    pages: u64,
    proven: u64,
    choose: impl Fn(&Border) -> Option<u64>,
) -> Placement {
    let mut placed = Placement::default();
    let (mut start, mut shift) = (0_u64, 0_i64);
    for border in line.borders() {
        let page = choose(&border);
        let (end, next) = page.map_or((border.first, border.last), |page| (page, page));
        placed.region(start, end, shift);
        match page.and_then(|page| border.hole(page)) {
            Some(hole) if page.is_some() => placed.holes.push(hole),
            _ if page.is_none() => placed.lost.extend(border.lost()),
            _ => {}
        }
        (start, shift) = (next, border.new);
    }
    placed.region(start, proven.min(pages), shift);
    placed
}

impl Border {
    fn lost(&self) -> Option<Lost> {
        let first = self.first.checked_add_signed(self.old)?;
        let end = self.last.checked_add_signed(self.new)?;
        Some(Lost {
            frames: self.new.saturating_sub(self.old).unsigned_abs(),
            among: Frames::between(Pfn::new(first), Pfn::new(end)),
        })
    }
}

impl Placement {
    fn region(&mut self, start: u64, end: u64, shift: i64) {
        // What precedes the memory has no frame.
        let start = start.max(shift.min(0).unsigned_abs());
        let Some(first) = start.checked_add_signed(shift) else {
            return;
        };
        if start < end {
            self.regions.push(Region {
                frames: Frames::new(Pfn::new(first), end.saturating_sub(start)),
                page: start,
            });
        }
    }
}

/// Whether a file of this many pages with this shift at its end is whole: RAM ends at a whole mebibyte.
pub(super) fn ends_whole(pages: u64, shift: i64) -> bool {
    pages
        .checked_add_signed(shift)
        .is_some_and(|end| end.is_multiple_of(MEBIBYTE))
}
