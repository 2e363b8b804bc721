//! What a debugger would stumble over.

use serde::Serialize;

use core2dmp::dump::check::{CheckReport, Finding, Mend, Severity};

use super::{Error, Head, hex};
use crate::render::verdict;

/// `core2dmp check --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    #[serde(flatten)]
    head: Head,
    file: String,
    clean: Option<bool>,
    verdict: Option<&'static str>,
    memory_understood: Option<bool>,
    findings: Option<Vec<Found>>,
    pub(crate) error: Option<Error>,
}

/// A finding.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    severity: &'static str,
    field: &'static str,
    offset: Option<String>,
    expected: String,
    found: String,
    debugger: Option<&'static str>,
    mendable: bool,
    needs: Option<&'static str>,
}

impl Check {
    pub(crate) const fn new(file: String) -> Self {
        Self {
            head: Head::of("check"),
            file,
            clean: None,
            verdict: None,
            memory_understood: None,
            findings: None,
            error: None,
        }
    }

    /// What was found.
    pub(crate) fn fill(&mut self, report: &CheckReport) {
        self.clean = Some(report.findings.is_empty());
        self.verdict = Some(verdict(report.worst()));
        self.memory_understood = Some(report.windows.is_ok());
        self.findings = Some(found(&report.findings));
    }
}

/// Findings, the worst first.
pub(super) fn found(findings: &[Finding]) -> Vec<Found> {
    findings
        .iter()
        .map(|finding| Found {
            severity: match finding.severity {
                Severity::Refused => "refused",
                Severity::Broken => "opens_broken",
                Severity::Cosmetic => "cosmetic",
            },
            field: finding.field,
            offset: finding.offset.map(hex),
            expected: finding.expected.clone(),
            found: finding.found.clone(),
            debugger: finding.debugger,
            mendable: finding.mend == Mend::Yes,
            needs: match finding.mend {
                Mend::Yes => None,
                Mend::No(missing) => Some(missing),
            },
        })
        .collect()
}
