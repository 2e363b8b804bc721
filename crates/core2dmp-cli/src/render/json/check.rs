//! What a debugger would stumble over.

use serde::Serialize;

use core2dmp::audit::check::{CheckReport, Finding, Mend, Severity};

use super::diff::{Pages, pages};
use super::{Error, Head, hex};
use crate::commands::deep::Deep;
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
    deep: Option<Against>,
    pub(crate) error: Option<Error>,
}

/// The pages, against the core's.
#[derive(Debug, Serialize)]
struct Against {
    core: String,
    alike_pages: u64,
    changed_pages: u64,
    different: Pages,
    not_in_dump: Pages,
    not_in_core: Pages,
    unreadable: Pages,
}

impl Against {
    fn new(deep: &Deep) -> Self {
        let memory = &deep.memory;
        Self {
            core: deep.core.clone(),
            alike_pages: memory.alike,
            changed_pages: memory.expected,
            different: pages(&memory.different),
            not_in_dump: pages(&memory.only_old),
            not_in_core: pages(&memory.only_new),
            unreadable: pages(&memory.unreadable),
        }
    }
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
            deep: None,
            error: None,
        }
    }

    /// What was found.
    pub(crate) fn fill(&mut self, report: &CheckReport, deep: Option<&Deep>) {
        self.clean = Some(report.findings.is_empty() && deep.is_none_or(Deep::is_clean));
        self.deep = deep.map(Against::new);
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
