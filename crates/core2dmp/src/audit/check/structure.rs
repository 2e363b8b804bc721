//! Checks header and body alone, without using the memory in the body.

use super::{Finding, Mend, Said, Severity, words};
use crate::container::dmp::{Body, BodyGuess, DumpFile, Problem, ProblemKind};
use crate::error::Place;
use crate::format::dump_values::{
    MACHINE_ARM64, MACHINE_X64, MACHINE_X86, STATUS_BREAKPOINT, dump_type_name,
};
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};

/// Findings that need only the file.
pub(super) fn findings(dump: &DumpFile) -> Vec<Finding> {
    let checker = Checker { dump };
    let mut findings = Vec::new();
    findings.extend(checker.dump_type());
    let problems = dump.problems().iter();
    // If the body is read as another type's, nothing else matters.
    let misread = checker.is_misread() || checker.is_no_triage();
    let problems = problems.filter(|problem| !misread || is_of_the_header(problem.kind));
    findings.extend(problems.filter_map(|problem| checker.problem(problem)));
    findings.extend(checker.versions());
    findings.extend(checker.machine());
    findings.extend(checker.processors());
    findings.extend(checker.body());
    findings.extend(checker.exception());
    findings.extend(checker.times());
    findings.extend(super::space::finding(dump));
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

/// Processors that the debugger can think of.
pub(super) const MAX_PROCESSORS: u64 = 2048;

/// Machines that the debugger knows: the wrong one of them opens, and reads nothing.
const MACHINES: [u32; 5] = [MACHINE_X86, 0x1c4, 0x200, MACHINE_X64, MACHINE_ARM64];

/// What a machine that is not the dump's makes of it.
pub(super) fn other_machine(found: Option<u64>) -> (Severity, Said) {
    let is_known = MACHINES
        .iter()
        .any(|known| found == Some(u64::from(*known)));
    if is_known {
        (Severity::Broken, words::PARTIALLY)
    } else {
        (Severity::Refused, words::MACHINE)
    }
}

pub(super) struct Checker<'a> {
    pub(super) dump: &'a DumpFile,
}

/// Whether an oddity is the header's own, whatever follows it.
const fn is_of_the_header(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::HeaderCutShort
            | ProblemKind::Signature
            | ProblemKind::ValidDump
            | ProblemKind::PageCount
    )
}

/// A field's value as a finding shows it.
pub(super) fn show(dump: &DumpFile, id: FieldId) -> String {
    match dump.value(id) {
        None | Some(FieldValue::Missing) => "the file ends before it".to_owned(),
        Some(FieldValue::NotSet) => "not set (\"PAGE\")".to_owned(),
        Some(FieldValue::Number(number)) => {
            let name = u32::try_from(number).ok().and_then(dump_type_name);
            match name.filter(|_| id == FieldId::DumpType) {
                Some(name) => format!("{number:#x} ({name})"),
                None => format!("{number:#x}"),
            }
        }
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
    debugger: Option<Said>,
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
    pub(super) fn field(
        &self,
        id: FieldId,
        severity: Severity,
        expected: impl Into<String>,
        debugger: Option<Said>,
        mend: Mend,
    ) -> Finding {
        field_finding(self.dump, id, severity, expected, debugger, mend)
    }

    /// The type against what follows the header.
    fn dump_type(&self) -> Option<Finding> {
        let guess = self.dump.guess_body();
        let expected = match guess.dump_type() {
            Some(kind) => format!("{kind:#x} ({})", dump_type_name(kind).unwrap_or("unknown")),
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
            (None, Body::Full) => self.other_body(&expected, mend.clone()).or_else(|| {
                Some(self.field(
                    FieldId::DumpType,
                    Severity::Cosmetic,
                    expected.clone(),
                    None,
                    mend.clone(),
                ))
            }),
            (_, Body::HeaderOnly) => None,
            (None, _) => refused(words::CORRUPT_FILE),
            (Some(2 | 5 | 6), Body::Unknown) if self.is_own_type() => self.bitmap_tag(),
            // Types of files, whose body is not here.
            (Some(2 | 4 | 5 | 6), Body::Unknown) => refused(words::CORRUPT_FILE),
            (Some(4), Body::Triage(body)) if !body.finished => refused(words::CORRUPT_FILE),
            (Some(8..=10), Body::Unknown) => refused(words::NO_RANGES),
            (Some(1..=2 | 4..=6 | 8..=10), _) => self.other_body(&expected, mend.clone()),
            (Some(_), _) => refused(words::SIGNATURE),
        }
    }

    /// Whether the type is that of a triage dump, and the body is none, or a part of one.
    fn is_no_triage(&self) -> bool {
        matches!(&self.dump.body, Body::Triage(body) if !body.finished)
    }

    /// Whether the body matches the type, except for its tag.
    fn is_own_type(&self) -> bool {
        let guess = self.dump.guess_body().dump_type().map(u64::from);
        let kind = self.dump.dump_type();
        let is_bitmap = |kind| matches!(kind, Some(5 | 6));
        guess == kind || is_bitmap(guess) && is_bitmap(kind)
    }

    /// The tag in front of the bitmap.
    fn bitmap_tag(&self) -> Option<Finding> {
        let problem = self.dump.problems().iter();
        let mut problem = problem.filter(|problem| problem.kind == ProblemKind::BodyTag);
        let problem = problem.next()?;
        Some(Finding {
            severity: Severity::Refused,
            field: "bitmap",
            offset: Some(self.dump.width.bytes() as u64),
            expected: problem.expected.clone(),
            found: problem.found.clone(),
            debugger: Some(words::CORRUPT_FILE),
            mend: Mend::Yes,
        })
    }

    /// A full dump whose body begins like another: opened, and read wrongly.
    fn other_body(&self, expected: &str, mend: Mend) -> Option<Finding> {
        self.is_misread().then(|| {
            self.field(
                FieldId::DumpType,
                Severity::Broken,
                expected,
                Some(words::PARTIALLY),
                mend,
            )
        })
    }

    /// Whether the bytes behind the header are a sound body of another type.
    fn is_misread(&self) -> bool {
        let guess = self.dump.guess_body();
        let structured = !matches!(
            guess,
            BodyGuess::Nothing | BodyGuess::Unknown | BodyGuess::Full
        );
        let is_sound = || {
            let other = self.dump.reread(guess);
            other.is_some_and(|(_, end, problems)| problems.is_empty() && end <= self.dump.size)
        };
        !self.dump.body_agrees() && structured && is_sound()
    }

    /// What the reader found odd, in the debugger's terms.
    fn problem(&self, problem: &Problem) -> Option<Finding> {
        let is_ranges = matches!(self.dump.body, Body::Ranges(_));
        let (severity, debugger, mend) = match problem.kind {
            // The check of the ranges' header reports it, with what fixes it.
            ProblemKind::FirstPage | ProblemKind::RangeTable if is_ranges => return None,
            ProblemKind::HeaderCutShort => (
                Severity::Refused,
                Some(words::SIGNATURE),
                Mend::No("the rest of the file"),
            ),
            ProblemKind::Signature | ProblemKind::ValidDump => {
                (Severity::Refused, Some(words::SIGNATURE), Mend::Yes)
            }
            ProblemKind::BodyCutShort => (
                Severity::Broken,
                Some(words::TRUNCATED),
                Mend::No("the pages that were cut off; convert the original core"),
            ),
            ProblemKind::SetBits => (Severity::Broken, Some(words::SET_BITS), Mend::Yes),
            // If the runs are wrong, their sum is no evidence.
            ProblemKind::PageCount if !self.sum_matters() => return None,
            ProblemKind::PageCount => (Severity::Cosmetic, None, Mend::Yes),
            ProblemKind::FirstPage
            | ProblemKind::BitmapSize
            | ProblemKind::RangeTable
            | ProblemKind::TooScattered
            | ProblemKind::Overlap => (
                Severity::Broken,
                Some(words::PARTIALLY),
                Mend::FromCore("which frame each page is"),
            ),
            ProblemKind::TriagePart => (
                Severity::Broken,
                None,
                Mend::No("the memory that it describes"),
            ),
            ProblemKind::Unreadable => {
                (Severity::Broken, None, Mend::No("a disk that can be read"))
            }
            // `dump_type` and the checks of the runs report it, with the right value.
            ProblemKind::DumpType
            | ProblemKind::RequiredSpace
            | ProblemKind::TriageUnfinished
            | ProblemKind::BodyTag
            | ProblemKind::RunCount
            | ProblemKind::Run => return None,
        };
        Some(Finding {
            severity,
            field: self.name(problem),
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

    /// The SDK's name, which `repair` goes by.
    fn name(&self, problem: &Problem) -> &'static str {
        let id = match problem.kind {
            ProblemKind::PageCount => FieldId::NumberOfPages,
            _ => return problem.what,
        };
        let field = self.dump.width.field(id);
        field.map_or(problem.what, |field| field.name)
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
        let machine = self.dump.machine();
        let known: &[u32] = match self.dump.width {
            HeaderWidth::Bits32 => &[MACHINE_X86],
            HeaderWidth::Bits64 => &[MACHINE_X64, MACHINE_ARM64],
        };
        let fits = known.iter().any(|known| machine == Some(u64::from(*known)));
        let expected = known
            .iter()
            .map(|known| format!("{known:#x}"))
            .collect::<Vec<_>>()
            .join(" or ");
        let (severity, debugger) = other_machine(machine);
        (!fits).then(|| {
            self.field(
                FieldId::MachineImageType,
                severity,
                expected,
                Some(debugger),
                Mend::Yes,
            )
        })
    }

    fn processors(&self) -> Option<Finding> {
        let debugger = match self.dump.number(FieldId::NumberProcessors) {
            Some(0) => words::NO_EVENT,
            Some(1..=MAX_PROCESSORS) => return None,
            _ => words::PROCESSORS,
        };
        let whole = self.dump.value(FieldId::NumberProcessors) != Some(FieldValue::Missing);
        whole.then(|| {
            self.field(
                FieldId::NumberProcessors,
                Severity::Refused,
                "the number of started processors",
                Some(debugger),
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
