//! The header of a dump, whatever is wrong with it.

use super::problem::{Problem, ProblemKind};
use crate::address::Pfn;
use crate::format::dump_values::{
    MACHINE_ARM64, MACHINE_X64, MACHINE_X86, SIGNATURE, VALID_DUMP32, VALID_DUMP64,
};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::{dump32, dump64, u32_at, u64_at};
use crate::memory::Frames;

/// The width of a header that may lack one of its marks: both tags, or one and a machine that is known.
pub(super) fn width(head: &[u8]) -> Option<HeaderWidth> {
    let signature = head.starts_with(&SIGNATURE);
    let by_tag = match head.get(4..8)? {
        tag if tag == VALID_DUMP64 => Some(HeaderWidth::Bits64),
        tag if tag == VALID_DUMP32 => Some(HeaderWidth::Bits32),
        _ => None,
    };
    match by_tag {
        Some(width) if signature => Some(width),
        Some(width) => (by_machine(head) == Some(width)).then_some(width),
        None if signature => by_machine(head),
        None => None,
    }
}

/// The width whose machine field holds a machine of that width.
fn by_machine(head: &[u8]) -> Option<HeaderWidth> {
    let machine = |width: HeaderWidth| {
        let field = width.field(FieldId::MachineImageType)?;
        u32_at(head, field.offset)
    };
    match (machine(HeaderWidth::Bits64), machine(HeaderWidth::Bits32)) {
        (Some(MACHINE_X64 | MACHINE_ARM64), _) => Some(HeaderWidth::Bits64),
        (_, Some(MACHINE_X86)) => Some(HeaderWidth::Bits32),
        _ => None,
    }
}

/// Runs that fit in a header.
pub(super) const fn most_runs(width: HeaderWidth) -> usize {
    match width {
        HeaderWidth::Bits32 => dump32::MAX_RUNS,
        HeaderWidth::Bits64 => dump64::MAX_RUNS,
    }
}

/// One slot of the table of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredRun {
    /// Where it is in the file.
    pub offset: u64,
    /// `BasePage`.
    pub first: u64,
    /// `PageCount`.
    pub count: u64,
    /// Whether it is Windows' filling, "PAGE".
    pub set: bool,
}

impl DeclaredRun {
    /// Its frames, if it names any that can be.
    pub(super) fn frames(self) -> Option<Frames> {
        let end = self.first.checked_add(self.count)?;
        let sound = self.set && self.count > 0 && end <= Pfn::END.get();
        sound.then(|| Frames::new(Pfn::new(self.first), self.count))
    }
}

/// The slots that `NumberOfRuns` counts, at most those that fit and that the header holds.
#[must_use]
pub fn declared_runs(width: HeaderWidth, header: &[u8]) -> Vec<DeclaredRun> {
    let number = |id| width.field(id).and_then(|field| field.number(header));
    let Some(table) = width.field(FieldId::Runs) else {
        return Vec::new();
    };
    let count = number(FieldId::NumberOfRuns).unwrap_or(0);
    let count = usize::try_from(count).map_or(most_runs(width), |n| n.min(most_runs(width)));
    let word = match width {
        HeaderWidth::Bits32 => 4_usize,
        HeaderWidth::Bits64 => 8,
    };
    let read = |at| match width {
        HeaderWidth::Bits32 => u32_at(header, at).map(u64::from),
        HeaderWidth::Bits64 => u64_at(header, at),
    };
    (0..count)
        .map_while(|index| {
            let skipped = index.saturating_mul(word).saturating_mul(2);
            let at = table.offset.saturating_add(skipped);
            let end = at.saturating_add(word).saturating_add(word);
            let (words, _) = header.get(at..end)?.as_chunks::<4>();
            Some(DeclaredRun {
                offset: at as u64,
                first: read(at)?,
                count: read(at.saturating_add(word))?,
                set: !words.iter().all(|word| *word == SIGNATURE),
            })
        })
        .collect()
}

/// What is odd about tags and runs.
pub(super) fn problems(width: HeaderWidth, header: &[u8], problems: &mut Vec<Problem>) {
    let text = |range: std::ops::Range<usize>| {
        let bytes = header.get(range).unwrap_or_default();
        bytes.escape_ascii().to_string()
    };
    if header.len() < width.bytes() {
        problems.push(Problem::new(
            ProblemKind::HeaderCutShort,
            "header",
            0,
            format!("{:#x} bytes", width.bytes()),
            format!("{:#x}", header.len()),
        ));
    }
    if !header.starts_with(&SIGNATURE) {
        problems.push(Problem::new(
            ProblemKind::Signature,
            "Signature",
            0,
            "PAGE",
            text(0..4),
        ));
    }
    if HeaderWidth::of(header).is_none() && header.starts_with(&SIGNATURE) {
        let expected = match width {
            HeaderWidth::Bits32 => "DUMP",
            HeaderWidth::Bits64 => "DU64",
        };
        problems.push(Problem::new(
            ProblemKind::ValidDump,
            "ValidDump",
            4,
            expected,
            text(4..8),
        ));
    }
    runs_problems(width, header, problems);
}

fn runs_problems(width: HeaderWidth, header: &[u8], problems: &mut Vec<Problem>) {
    let field = |id| width.field(id).map_or(0, |field| field.offset as u64);
    let number = |id| width.field(id).and_then(|field| field.number(header));
    let Some(count) = number(FieldId::NumberOfRuns) else {
        return;
    };
    if count > most_runs(width) as u64 {
        problems.push(Problem::new(
            ProblemKind::RunCount,
            "NumberOfRuns",
            field(FieldId::NumberOfRuns),
            format!("at most {}", most_runs(width)),
            count.to_string(),
        ));
    }
    let runs = declared_runs(width, header);
    for run in runs.iter().filter(|run| run.frames().is_none()) {
        problems.push(Problem::new(
            ProblemKind::Run,
            "Run",
            run.offset,
            "frames of memory",
            if run.set {
                format!("{:#x} frames from {:#x}", run.count, run.first)
            } else {
                "a run that was never set".to_owned()
            },
        ));
    }
    let sum = runs
        .iter()
        .filter(|run| run.set)
        .fold(0_u64, |sum, run| sum.saturating_add(run.count));
    let pages = number(FieldId::NumberOfPages);
    let whole = header.len() >= width.bytes();
    if let Some(pages) = pages.filter(|pages| whole && *pages != sum) {
        problems.push(Problem::new(
            ProblemKind::PageCount,
            "NumberOfPages",
            field(FieldId::NumberOfPages),
            format!("{sum}, the sum of the runs"),
            pages.to_string(),
        ));
    }
}
