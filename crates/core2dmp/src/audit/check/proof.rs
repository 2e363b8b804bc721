//! Bodies that turn out to be Windows' memory when one number in front of them is corrected.
//!
//! ```text
//! runs    one run as many frames longer as the file has pages without a run
//! bitmap  the pages begin where those that are counted would fill the rest of the file
//! bitmap  as many bits as there is room for, up to the last that is set
//! ```
//!
//! Nothing is guessed: a candidate is taken if Windows is found through it, and if what Windows knows of its own
//! memory, or what the body counts, agrees with it.

use std::mem::offset_of;

use super::{CheckReport, Finding, Mend, Severity, block, check, words};
use crate::address::PAGE_SIZE;
use crate::audit::overlay::{Change, Overlay};
use crate::container::dmp::{BitmapFacts, Body, DumpFile};
use crate::format::bitmap::{BitmapHeader, SummaryHeader};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::memory::Frames;
use crate::windows::{Source, identify};

/// Runs that are tried with another count.
const MAX_CANDIDATES: usize = 4;

/// A dump whose memory can be read, and what had to be changed for that.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) dump: DumpFile,
    pub(super) finding: Finding,
    pub(super) changes: Vec<Change>,
}

impl Proven {
    /// What else there is to say, once the memory can be read.
    pub(super) fn report(self) -> CheckReport {
        let mut report = check(&self.dump);
        report.findings.push(self.finding);
        report
            .findings
            .sort_by_key(|finding| (finding.severity, finding.offset));
        report.changes.extend(self.changes);
        report
    }
}

/// The number that was wrong, if one can be shown to be.
pub(super) fn find(dump: &DumpFile) -> Option<Proven> {
    match (&dump.body, dump.bitmap()) {
        (Body::Full, _) => longer_run(dump),
        (_, Some(bitmap)) => first_page(dump, bitmap).or_else(|| bits(dump, bitmap)),
        _ => None,
    }
}

/// The dump with changes laid over it, if the debugger data block can be reached then: the cheap part of a proof.
fn try_with(dump: &DumpFile, changes: &[Change]) -> Option<DumpFile> {
    let mut overlay = Overlay::default();
    for change in changes {
        overlay.add(change.clone());
    }
    let patched = overlay.over(dump).ok()?;
    block::is_reached(&patched, &patched.memory()).then_some(patched)
}

fn change(what: &str, offset: u64, bytes: &[u8], reason: &str) -> Change {
    Change {
        what: what.to_owned(),
        offset,
        old: Vec::new(),
        new: bytes.to_vec(),
        reason: reason.to_owned(),
    }
}

/// One run with another count, proven by `MmPhysicalMemoryBlock`.
fn longer_run(dump: &DumpFile) -> Option<Proven> {
    let runs = dump.runs();
    let table = dump.width.field(FieldId::Runs)?;
    let body = dump.size.checked_sub(dump.width.bytes() as u64)?;
    let sum = Frames::total(&runs);
    let signed = |pages: u64| i64::try_from(pages).ok();
    let missing = signed(body / PAGE_SIZE)?
        .checked_sub(signed(sum)?)
        .filter(|pages| *pages != 0)?;
    let word: u64 = match dump.width {
        HeaderWidth::Bits32 => 4,
        HeaderWidth::Bits64 => 8,
    };
    let candidates = (0_u64..).zip(&runs).filter_map(|(index, run)| {
        let count = run
            .count
            .checked_add_signed(missing)
            .filter(|count| *count > 0)?;
        let slot = index
            .saturating_mul(2)
            .saturating_add(1)
            .saturating_mul(word);
        let offset = (table.offset as u64).saturating_add(slot);
        let bytes = count.to_le_bytes();
        let new = bytes.get(..usize::try_from(word).ok()?)?;
        let reason = "Windows is found so, and counts its memory so";
        let changes = vec![change(table.name, offset, new, reason)];
        let patched = try_with(dump, &changes)?;
        Some((run, count, offset, changes, patched))
    });
    // Each is a search for Windows, which a hostile file would ask for often.
    let mut candidates = candidates.take(MAX_CANDIDATES);
    candidates.find_map(|(run, count, offset, changes, patched)| {
        let windows = identify(&patched.guest()).ok()?;
        let true_runs = &windows.runs;
        let proven = true_runs.source != Source::Container && true_runs.value == patched.runs();
        proven.then(|| Proven {
            finding: Finding {
                severity: Severity::Broken,
                field: table.name,
                offset: Some(offset),
                expected: format!(
                    "{count} frames from {:#x} ({})",
                    run.first.gpa(),
                    true_runs.source
                ),
                found: run.count.to_string(),
                debugger: Some(words::PARTIALLY),
                mend: Mend::Yes,
            },
            dump: patched,
            changes,
        })
    })
}

/// Offsets in the header of a bitmap, and the bytes of a number there.
struct Places {
    first_page: usize,
    bits: usize,
    width: usize,
}

impl Places {
    const fn of(dump: &DumpFile) -> Self {
        match dump.body {
            Body::Summary(_) => Self {
                first_page: offset_of!(SummaryHeader, first_page),
                bits: offset_of!(SummaryHeader, bits),
                width: 4,
            },
            _ => Self {
                first_page: offset_of!(BitmapHeader, first_page),
                bits: offset_of!(BitmapHeader, bits),
                width: 8,
            },
        }
    }

    /// The change of one number.
    fn change(&self, what: &str, offset: u64, value: u64) -> Option<Change> {
        let bytes = value.to_le_bytes();
        let reason = "Windows is found so, and the counted pages fill the file";
        Some(change(what, offset, bytes.get(..self.width)?, reason))
    }
}

/// A bitmap's dump with one number changed, if Windows is in it and its pages fill the file.
fn counted(
    dump: &DumpFile,
    change: Change,
    expected: u64,
    found: u64,
    field: &'static str,
) -> Option<Proven> {
    let offset = change.offset;
    let changes = vec![change];
    let patched = try_with(dump, &changes)?;
    let bitmap = patched.bitmap()?;
    let fills = bitmap.set_bits == bitmap.declared_pages && bitmap.end == dump.size;
    (fills && identify(&patched.guest()).is_ok()).then(|| Proven {
        finding: Finding {
            severity: Severity::Broken,
            field,
            offset: Some(offset),
            expected: format!("{expected:#x}, with which the pages fill the file"),
            found: format!("{found:#x}"),
            debugger: Some(words::PARTIALLY),
            mend: Mend::Yes,
        },
        dump: patched,
        changes,
    })
}

/// The pages begin elsewhere.
fn first_page(dump: &DumpFile, bitmap: &BitmapFacts) -> Option<Proven> {
    let field = "offset of the first page";
    let places = Places::of(dump);
    let pages = bitmap.declared_pages.checked_mul(PAGE_SIZE)?;
    let first = dump.size.checked_sub(pages)?;
    if first == bitmap.first_page || first <= bitmap.offset {
        return None;
    }
    let offset = bitmap.header.saturating_add(places.first_page as u64);
    let change = places.change(field, offset, first)?;
    counted(dump, change, first, bitmap.first_page, field)
}

/// The bitmap is longer.
fn bits(dump: &DumpFile, bitmap: &BitmapFacts) -> Option<Proven> {
    let field = "bits of the bitmap";
    let places = Places::of(dump);
    let room = bitmap.first_page.checked_sub(bitmap.offset)?;
    let most = room.saturating_mul(8).min(u64::from(u32::MAX));
    let offset = bitmap.header.saturating_add(places.bits as u64);
    let all = try_with(dump, &[places.change(field, offset, most)?])?;
    // What follows the last set bit is padding.
    let bits = all.memory().runs().last()?.frames.end().get();
    let change = places.change(field, offset, bits)?;
    counted(dump, change, bits, bitmap.bits, field)
}
