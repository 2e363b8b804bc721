//! What a debugger would stumble over.

use serde::Serialize;

use core2dmp::audit::check::{Finding, Mend, Severity};

use super::diff::{Pages, pages};
use super::{Error, Head, hex};
use crate::outcome::{Checked, Deep};
use crate::render::{from_core, verdict};

/// `core2dmp check --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    #[serde(flatten)]
    head: Head,
    file: String,
    clean: Option<bool>,
    verdict: Option<&'static str>,
    debugger_of_2015: Option<Older>,
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
        let memory = &deep.pages.memory;
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
    debugger: Option<String>,
    follow_ups: Vec<&'static str>,
    debugger_of_2015: Option<Older>,
    mendable: bool,
    needs: Option<String>,
}

/// What the engine of 2015 does, where it differs.
#[derive(Debug, Serialize)]
struct Older {
    severity: &'static str,
    debugger: &'static str,
}

/// The name of a severity.
const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "refused",
        Severity::Broken => "opens_broken",
        Severity::Cosmetic => "cosmetic",
    }
}

const fn older(older: core2dmp::audit::check::Older) -> Older {
    Older {
        severity: severity(older.severity),
        debugger: older.words,
    }
}

impl Check {
    pub(crate) const fn new(file: String) -> Self {
        Self {
            head: Head::of("check"),
            file,
            clean: None,
            verdict: None,
            debugger_of_2015: None,
            memory_understood: None,
            findings: None,
            deep: None,
            error: None,
        }
    }

    /// What was found.
    pub(crate) fn fill(&mut self, checked: &Checked) {
        let report = &checked.report;
        self.clean = Some(checked.is_clean());
        self.deep = checked.deep.as_ref().map(Against::new);
        self.verdict = Some(verdict(report.worst()));
        self.debugger_of_2015 = report.of_2015.map(older);
        self.memory_understood = Some(report.windows.is_ok());
        self.findings = Some(found(&report.findings));
    }
}

/// Findings, the worst first.
pub(super) fn found(findings: &[Finding]) -> Vec<Found> {
    findings
        .iter()
        .map(|finding| Found {
            severity: severity(finding.severity),
            field: finding.field,
            offset: finding.offset.map(hex),
            expected: finding.expected.clone(),
            found: finding.found.clone(),
            debugger: finding.debugger.as_ref().map(|said| said.today.to_string()),
            follow_ups: finding
                .debugger
                .as_ref()
                .map_or_else(Vec::new, |said| said.follow_ups.to_vec()),
            debugger_of_2015: finding
                .debugger
                .as_ref()
                .and_then(|said| said.of_2015)
                .map(older),
            mendable: finding.mend == Mend::Yes,
            needs: match finding.mend {
                Mend::Yes => None,
                Mend::No(missing) => Some(missing.to_owned()),
                Mend::FromCore(missing) => Some(from_core(missing)),
            },
        })
        .collect()
}
