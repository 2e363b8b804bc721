//! What the header and the body say without any memory being understood.

use super::{Finding, Mend, Severity, words};
use crate::container::dmp::{Body, BodyGuess, DumpFile, Problem, ProblemKind};
use crate::error::Place;
use crate::format::dump_values::{
    MACHINE_ARM64, MACHINE_X64, MACHINE_X86, STATUS_BREAKPOINT, dump_type_name,
};
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};

/// Findings of the file alone.
pub(super) fn findings(dump: &DumpFile) -> Vec<Finding> {
    let checker = Checker { dump };
    let mut findings = Vec::new();
    findings.extend(checker.dump_type());
    findings.extend(dump.problems().iter().filter_map(|p| checker.problem(p)));
    findings.extend(checker.versions());
    findings.extend(checker.machine());
    findings.extend(checker.processors());
    findings.extend(checker.runs());
    findings.extend(checker.pages());
    findings.extend(checker.exception());
    findings.extend(checker.times());
    if dump.is_encrypted() {
        findings.push(checker.field(
            FieldId::Attributes,
            Severity::Broken,
            "pages in the clear",
            None,
            Mend::No("the key"),
        ));
    }
    findings
}

struct Checker<'a> {
    dump: &'a DumpFile,
}

/// A field's value as a finding shows it.
pub(super) fn show(dump: &DumpFile, id: FieldId) -> String {
    match dump.value(id) {
        None | Some(FieldValue::Missing) => "the file ends before it".to_owned(),
        Some(FieldValue::NotSet) => "not set (\"PAGE\")".to_owned(),
        Some(FieldValue::Number(number)) => format!("{number:#x}"),
        Some(FieldValue::Text(text)) => format!("\"{text}\""),
        Some(FieldValue::Bytes(bytes)) => format!("{} bytes", bytes.len()),
    }
}

/// A finding about a header's field.
pub(super) fn field_finding(
    dump: &DumpFile,
    id: FieldId,
    severity: Severity,
    expected: impl Into<String>,
    debugger: Option<&'static str>,
    mend: Mend,
) -> Finding {
    let field = dump.width.field(id);
    Finding {
        severity,
        field: field.map_or("header", |field| field.name),
        offset: field.map(|field| field.offset as u64),
        expected: expected.into(),
        found: show(dump, id),
        debugger,
        mend,
    }
}

impl Checker<'_> {
    fn field(
        &self,
        id: FieldId,
        severity: Severity,
        expected: impl Into<String>,
        debugger: Option<&'static str>,
        mend: Mend,
    ) -> Finding {
        field_finding(self.dump, id, severity, expected, debugger, mend)
    }

    /// The type against what stands behind the header.
    fn dump_type(&self) -> Option<Finding> {
        let guess = self.dump.guess_body();
        let expected = match guess.dump_type() {
            Some(kind) => format!(
                "{kind:#x} ({})",
                dump_type_name(kind).unwrap_or("unknown")
            ),
            None => "a type that fits the body".to_owned(),
        };
        let mend = match guess {
            BodyGuess::Nothing | BodyGuess::Unknown => Mend::No("a body that can be recognised"),
            _ => Mend::Yes,
        };
        let refused = |words| {
            Some(self.field(
                FieldId::DumpType,
                Severity::Refused,
                expected.clone(),
                Some(words),
                mend.clone(),
            ))
        };
        match (self.dump.dump_type(), &self.dump.body) {
            (None, Body::Full) => Some(self.field(
                FieldId::DumpType,
                Severity::Cosmetic,
                expected.clone(),
                None,
                mend.clone(),
            )),
            (None, _) => refused(words::CORRUPT_FILE),
            // Types of files, whose body is not here.
            (Some(2 | 4 | 5 | 6), Body::Unknown) => refused(words::CORRUPT_FILE),
            (Some(8..=10), Body::Unknown) => refused(words::CORRUPT_FILE),
            (Some(1..=2 | 4..=6 | 8..=10), _) => self.other_body(&expected, mend.clone()),
            (Some(_), _) => refused(words::SIGNATURE),
        }
    }

    /// A full dump whose body begins like another: opened, and read wrongly.
    fn other_body(&self, expected: &str, mend: Mend) -> Option<Finding> {
        let misread = !self.dump.body_agrees()
            && !matches!(
                self.dump.guess_body(),
                BodyGuess::Nothing | BodyGuess::Unknown | BodyGuess::Full
            );
        misread.then(|| {
            self.field(
                FieldId::DumpType,
                Severity::Broken,
                expected,
                Some(words::PARTIALLY),
                mend,
            )
        })
    }

    /// What the reader found odd, in the debugger's terms.
    fn problem(&self, problem: &Problem) -> Option<Finding> {
        let (severity, debugger, mend) = match problem.kind {
            ProblemKind::HeaderCutShort => (
                Severity::Refused,
                Some(words::SIGNATURE),
                Mend::No("the rest of the file"),
            ),
            ProblemKind::Signature | ProblemKind::ValidDump => {
                (Severity::Refused, Some(words::SIGNATURE), Mend::Yes)
            }
            ProblemKind::RunCount => (Severity::Broken, Some(words::RUNS_TRUNCATED), Mend::Yes),
            ProblemKind::BodyCutShort => (
                Severity::Broken,
                Some(words::TRUNCATED),
                Mend::No("the pages that were cut off; --from the original core"),
            ),
            ProblemKind::SetBits => (Severity::Broken, Some(words::SET_BITS), Mend::Yes),
            ProblemKind::RequiredSpace => {
                (Severity::Broken, Some(words::PARTIALLY), Mend::Yes)
            }
            ProblemKind::PageCount => (Severity::Cosmetic, None, Mend::Yes),
            ProblemKind::FirstPage
            | ProblemKind::BitmapSize
            | ProblemKind::RangeTable
            | ProblemKind::TooScattered
            | ProblemKind::Run
            | ProblemKind::Overlap => (
                Severity::Broken,
                Some(words::PARTIALLY),
                Mend::No("which frame each page is; --from the original core"),
            ),
            ProblemKind::TriagePart | ProblemKind::TriageUnfinished => {
                (Severity::Broken, None, Mend::No("the memory that it describes"))
            }
            ProblemKind::Unreadable => (Severity::Broken, None, Mend::No("a disk that can be read")),
            // Said by `dump_type`, with what it should be.
            ProblemKind::DumpType | ProblemKind::BodyTag => return None,
        };
        Some(Finding {
            severity,
            field: problem.what,
            offset: match problem.place {
                Place::Offset(offset) => Some(offset),
                Place::Physical(_) | Place::Virtual(_) => None,
            },
            expected: problem.expected.clone(),
            found: problem.found.clone(),
            debugger,
            mend,
        })
    }

    fn versions(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.dump.number(FieldId::MajorVersion) {
            Some(0xc | 0xf) => {}
            Some(0) => findings.push(self.field(
                FieldId::MajorVersion,
                Severity::Cosmetic,
                "0xf, a free build, or 0xc, a checked one",
                None,
                Mend::Yes,
            )),
            _ => findings.push(self.field(
                FieldId::MajorVersion,
                Severity::Broken,
                "0xf, a free build, or 0xc, a checked one",
                Some(words::PARTIALLY),
                Mend::Yes,
            )),
        }
        if self.dump.number(FieldId::MinorVersion) == Some(0) {
            findings.push(self.field(
                FieldId::MinorVersion,
                Severity::Broken,
                "the build number",
                Some(words::PARTIALLY),
                Mend::Yes,
            ));
        }
        findings
    }

    fn machine(&self) -> Option<Finding> {
        let known: &[u32] = match self.dump.width {
            HeaderWidth::Bits32 => &[MACHINE_X86],
            HeaderWidth::Bits64 => &[MACHINE_X64, MACHINE_ARM64],
        };
        let machine = self.dump.machine();
        let fits = known.iter().any(|known| machine == Some(u64::from(*known)));
        let expected = known
            .iter()
            .map(|known| format!("{known:#x}"))
            .collect::<Vec<_>>()
            .join(" or ");
        (!fits).then(|| {
            self.field(
                FieldId::MachineImageType,
                Severity::Refused,
                expected,
                Some(words::MACHINE),
                Mend::Yes,
            )
        })
    }

    fn processors(&self) -> Option<Finding> {
        (self.dump.number(FieldId::NumberProcessors) == Some(0)).then(|| {
            self.field(
                FieldId::NumberProcessors,
                Severity::Refused,
                "the number of started processors",
                Some(words::NO_EVENT),
                Mend::Yes,
            )
        })
    }

    /// A full dump without runs has no memory.
    fn runs(&self) -> Option<Finding> {
        let is_full = matches!(self.dump.body, Body::Full);
        (is_full && self.dump.number_of_runs().unwrap_or(0) == 0).then(|| {
            self.field(
                FieldId::NumberOfRuns,
                Severity::Broken,
                "the runs of the body",
                Some(words::PARTIALLY),
                Mend::No("which frame each page is; --from the original core"),
            )
        })
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

    fn exception(&self) -> Option<Finding> {
        let debugger = match self.dump.value(FieldId::ExceptionCode)? {
            FieldValue::NotSet => words::EXCEPTION_PAGE,
            FieldValue::Number(0) => words::EXCEPTION_ZERO,
            _ => return None,
        };
        Some(self.field(
            FieldId::ExceptionCode,
            Severity::Cosmetic,
            format!("an exception, {STATUS_BREAKPOINT:#x} where there was none"),
            Some(debugger),
            Mend::Yes,
        ))
    }

    /// Times that the debugger would not show.
    fn times(&self) -> Vec<Finding> {
        [
            (FieldId::SystemTime, "the time of the crash"),
            (FieldId::SystemUpTime, "the time since boot"),
        ]
        .into_iter()
        .filter(|(id, _)| matches!(self.dump.number(*id), None | Some(0)))
        .filter(|(id, _)| self.dump.value(*id) != Some(FieldValue::Missing))
        .map(|(id, expected)| self.field(id, Severity::Cosmetic, expected, None, Mend::Yes))
        .collect()
    }
}
