//! The runs of the header, and whether the file has pages for them.

use super::structure::Checker;
use super::{Finding, Mend, Severity, words};
use crate::address::PAGE_SIZE;
use crate::container::dmp::{Body, DumpFile, ProblemKind, declared_runs};
use crate::error::Place;
use crate::format::header_fields::FieldId;
use crate::format::put_at;

/// What nothing but the core can tell.
const WHICH_FRAME: Mend = Mend::FromCore("which frame each page is");

/// How many of the header's runs have pages that fill the file exactly, whatever `NumberOfRuns` says.
pub(in crate::audit) fn fitting_runs(dump: &DumpFile) -> Option<u64> {
    let body = dump.size.checked_sub(dump.width.bytes() as u64)?;
    let mut header = dump.header.clone();
    let field = dump.width.field(FieldId::NumberOfRuns)?;
    if !put_at(&mut header, field.offset, &u32::MAX.to_le_bytes()) {
        return None;
    }
    let mut pages = 0_u64;
    let slots = declared_runs(dump.width, &header);
    for (run, count) in slots.iter().zip(1..) {
        if !run.set || run.count == 0 {
            return None;
        }
        pages = pages.saturating_add(run.count);
        if pages.saturating_mul(PAGE_SIZE) == body {
            return Some(count);
        }
    }
    None
}

impl Checker<'_> {
    /// Findings about the runs, and about a body that is not there.
    pub(super) fn body(&self) -> Vec<Finding> {
        let all = [
            self.no_body(),
            self.no_runs(),
            self.run_count(),
            self.impossible_runs(),
            self.pages(),
            self.space(),
        ];
        all.into_iter().flatten().collect()
    }

    /// A header of a dump that has pages, and nothing behind it.
    fn no_body(&self) -> Option<Finding> {
        let pages = self.dump.declared_runs().iter().any(|run| run.set);
        let alone = self.dump.header_complete && matches!(self.dump.body, Body::HeaderOnly);
        let (severity, debugger) = match self.dump.dump_type() {
            // Without a bitmap, a table or a block.
            Some(2 | 4..=6) => (Severity::Refused, words::CORRUPT_FILE),
            Some(1) | None => (Severity::Broken, words::TRUNCATED),
            Some(8..=10) => (Severity::Refused, words::NO_RANGES),
            _ => (Severity::Refused, words::SIGNATURE),
        };
        alone.then(|| Finding {
            severity,
            field: "body",
            offset: Some(self.dump.width.bytes() as u64),
            expected: if pages {
                "the pages of the runs".to_owned()
            } else {
                "what the type promises".to_owned()
            },
            found: "nothing: the file is only a header".to_owned(),
            debugger: Some(debugger),
            mend: Mend::No("the memory; convert the original core"),
        })
    }

    /// `NumberOfRuns` that counts unused slots, or does not count slots whose pages are in the body.
    fn run_count(&self) -> Option<Finding> {
        if !matches!(self.dump.body, Body::Full) {
            return None;
        }
        let count = self.dump.number_of_runs()?;
        let runs = self.dump.declared_runs();
        let set = runs.iter().take_while(|run| run.set).count();
        let rest_is_unset = set > 0 && runs.iter().skip(set).all(|run| !run.set);
        let too_many = count > self.dump.most_runs() as u64;
        let (expected, mend) = match fitting_runs(self.dump) {
            Some(fit) if fit == count => return None,
            Some(fit) => (format!("{fit}, whose pages fill the file"), Mend::Yes),
            None if too_many || set < runs.len() && rest_is_unset => (
                format!("{set}, those that are set"),
                if rest_is_unset {
                    Mend::Yes
                } else {
                    WHICH_FRAME
                },
            ),
            None => return None,
        };
        let (severity, debugger) = if too_many {
            (Severity::Broken, Some(words::RUNS_TRUNCATED))
        } else if rest_is_unset && set < runs.len() {
            // No page belongs to the runs that are not there.
            (Severity::Cosmetic, None)
        } else {
            (Severity::Broken, Some(words::PARTIALLY))
        };
        Some(Finding {
            found: count.to_string(),
            ..self.field(FieldId::NumberOfRuns, severity, expected, debugger, mend)
        })
    }

    /// `NumberOfPages` against runs that are sound.
    pub(super) fn sum_matters(&self) -> bool {
        self.run_count().is_none() && self.impossible_runs().is_none()
    }

    /// Runs of no frames, or of frames where no memory can be.
    fn impossible_runs(&self) -> Option<Finding> {
        let unset_tail = self.run_count().is_some();
        let mut odd = self.dump.problems().iter().filter(|problem| {
            let at_unset = |offset| {
                let runs = self.dump.declared_runs();
                runs.iter().any(|run| run.offset == offset && !run.set)
            };
            problem.kind == ProblemKind::Run
                && !matches!(problem.place, Place::Offset(offset) if unset_tail && at_unset(offset))
        });
        let first = odd.next()?;
        let more = odd.count();
        Some(Finding {
            severity: Severity::Broken,
            field: "PhysicalMemoryBlock.Run",
            offset: match first.place {
                Place::Offset(offset) => Some(offset),
                Place::Physical(_) | Place::Virtual(_) => None,
            },
            expected: first.expected.clone(),
            found: match more {
                0 => first.found.clone(),
                _ => format!("{}, and {more} more like it", first.found),
            },
            debugger: Some(words::PARTIALLY),
            mend: WHICH_FRAME,
        })
    }

    /// A full dump without runs has no memory; a summary dump has no use for them, and is refused without.
    fn no_runs(&self) -> Option<Finding> {
        let none = self.dump.runs().is_empty();
        let counts_none = self.dump.number_of_runs().unwrap_or(0) == 0;
        match self.dump.body {
            Body::Full if counts_none => {
                let (expected, mend) = match fitting_runs(self.dump) {
                    Some(fit) => (format!("{fit}, whose pages fill the file"), Mend::Yes),
                    None => ("the runs of the body".to_owned(), WHICH_FRAME),
                };
                let debugger = match self.dump.number_of_runs() {
                    Some(_) => words::PARTIALLY,
                    // "PAGE" is a large number.
                    None => words::RUNS_TRUNCATED,
                };
                let severity = Severity::Broken;
                Some(self.field(
                    FieldId::NumberOfRuns,
                    severity,
                    expected,
                    Some(debugger),
                    mend,
                ))
            }
            Body::Summary(_) if none => Some(self.field(
                FieldId::NumberOfRuns,
                Severity::Refused,
                "at least one run",
                Some(words::TOO_LARGE),
                Mend::Yes,
            )),
            _ => None,
        }
    }

    /// `NumberOfPages` of a full dump against the file: too many gives a warning, too few nothing.
    fn pages(&self) -> Option<Finding> {
        if !matches!(self.dump.body, Body::Full) {
            return None;
        }
        let pages = self.dump.number_of_pages()?;
        let header = self.dump.width.bytes() as u64;
        let needed = pages.saturating_mul(0x1000).saturating_add(header);
        let declared = self.dump.declared_pages();
        (pages != declared && needed > self.dump.size).then(|| {
            self.field(
                FieldId::NumberOfPages,
                Severity::Broken,
                format!("{declared:#x}, the sum of the runs"),
                Some(words::TRUNCATED),
                Mend::Yes,
            )
        })
    }

    /// `RequiredDumpSpace` of a full dump, which no debugger reads; some writers leave the header out.
    fn space(&self) -> Option<Finding> {
        let space = self.dump.number(FieldId::RequiredDumpSpace)?;
        let end = self.dump.body_end();
        let header = self.dump.width.bytes() as u64;
        let near =
            space == 0 || (end.saturating_sub(header)..=self.dump.size.max(end)).contains(&space);
        let is_full = matches!(self.dump.body, Body::Full) && self.sum_matters();
        (is_full && !near).then(|| {
            self.field(
                FieldId::RequiredDumpSpace,
                Severity::Cosmetic,
                format!("{end:#x}, where the body ends"),
                None,
                Mend::Yes,
            )
        })
    }
}
