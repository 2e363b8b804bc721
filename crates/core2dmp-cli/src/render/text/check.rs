//! What a debugger would stumble over.

use core2dmp::audit::check::{Finding, Mend, Older, Severity};
use core2dmp::container::dmp::{Body, DumpFile};
use core2dmp::error::Error;

use super::{Table, count};
use crate::escape::{self, printable};
use crate::outcome::{Checked, Deep};
use crate::render::{from_core, verdict};
use crate::request::Check;

/// Columns of the keys under a finding.
const KEYS: usize = 8;

/// The verdict, and each finding under its severity.
pub(crate) fn check(request: &Check, checked: &Checked) -> String {
    let Checked { dump, report, deep } = checked;
    let name = escape::path(&request.dump);
    let mut out = format!("{name}: {}\n", verdict(report.worst()));
    for severity in [Severity::Refused, Severity::Broken, Severity::Cosmetic] {
        let found = report.findings.iter();
        let found: Vec<&Finding> = found.filter(|f| f.severity == severity).collect();
        findings(&mut out, heading(severity), &found);
    }
    if let Err(error) = &report.windows {
        out.push('\n');
        out.push_str(&not_judged(dump, error));
        for attempt in error.attempts().iter().filter(|_| request.report.verbose) {
            out.push_str(&format!("  tried: {}\n", printable(&attempt.to_string())));
        }
    }
    if let Some(older) = report
        .of_2015
        .filter(|_| report.worst() != Some(Severity::Refused))
    {
        let said = of_2015(Severity::Cosmetic, older);
        out.push_str(&format!("\n{said}, as every dump of ranges\n"));
    }
    summary(&mut out, &name, &report.findings);
    if let Some(deep) = deep {
        against_core(&mut out, deep);
    }
    out
}

/// The pages, against the core's.
fn against_core(out: &mut String, deep: &Deep) {
    let memory = &deep.pages.memory;
    let mut table = Table::default();
    table.row("core", &deep.core);
    table.row("alike", count(memory.alike, "page"));
    table.noted(
        "changed",
        count(memory.expected, "page"),
        "where convert changes what the guest held",
    );
    table.row("different", count(memory.different.pages, "page"));
    if memory.unreadable.pages > 0 {
        table.row("unreadable", count(memory.unreadable.pages, "page"));
    }
    if let Some((pfn, offset)) = deep.pages.first {
        let place = offset.map_or_else(String::new, |at| format!("at offset {at:#x} of the dump"));
        table.noted("first", format!("frame {pfn}"), place);
    }
    table.row("not in dump", count(memory.only_old.pages, "page"));
    table.row("not in core", count(memory.only_new.pages, "page"));
    table.write(out, "Against the core");
}

/// Why the fields were not held against memory.
fn not_judged(dump: &DumpFile, error: &Error) -> String {
    if dump.guest().memory.frame_count() > 0 {
        let why = printable(&error.to_string());
        return format!("The header could not be held against the memory behind it: {why}\n");
    }
    let none = match dump.body {
        Body::Triage(_) => "A small memory dump holds no physical memory",
        _ => "There is no memory behind the header",
    };
    format!("{none}: only its structure was judged\n")
}

/// The heading of the findings of a severity.
pub(super) const fn heading(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "Refused",
        Severity::Broken => "Opens broken",
        Severity::Cosmetic => "Cosmetic",
    }
}

/// Findings under a heading; nothing if there are none.
pub(super) fn findings(out: &mut String, heading: &str, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    out.push_str(&format!("\n{heading}\n"));
    for finding in findings {
        let place = finding
            .offset
            .map_or_else(String::new, |offset| format!(" at {offset:#x}"));
        out.push_str(&format!("  {}{place}\n", printable(finding.field)));
        let mut table = Table::default();
        table.row(&indented("expected"), &finding.expected);
        table.row(&indented("found"), &finding.found);
        if let Some(said) = &finding.debugger {
            table.row(&indented("WinDbg"), &said.today);
            if !said.follow_ups.is_empty() {
                table.row(&indented("and then"), said.follow_ups.join("; "));
            }
            if let Some(older) = said.of_2015 {
                table.row(&indented("of 2015"), of_2015(finding.severity, older));
            }
        }
        table.row(&indented("repair"), mended(finding));
        table.write(out, "");
    }
}

/// What WinDbg of 2015 does.
fn of_2015(today: Severity, older: Older) -> String {
    let what = match older.severity {
        _ if older.severity == today => return older.words.to_owned(),
        Severity::Refused => "refuses it",
        Severity::Broken => "opens it broken",
        Severity::Cosmetic => "opens it",
    };
    if older.words.is_empty() {
        return format!("WinDbg of 2015: {what}");
    }
    format!("WinDbg of 2015: {what} ({})", older.words)
}

fn indented(key: &str) -> String {
    format!("  {key:KEYS$}")
}

/// Whether `repair` helps, in words.
pub(super) fn mended(finding: &Finding) -> String {
    match finding.mend {
        Mend::Yes => "mends it".to_owned(),
        Mend::No(missing) => format!("cannot: it needs {missing}"),
        Mend::FromCore(missing) => format!("cannot: it needs {}", from_core(missing)),
    }
}

fn summary(out: &mut String, name: &str, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let mendable = findings
        .iter()
        .filter(|finding| finding.mend == Mend::Yes)
        .count();
    let all = count(findings.len() as u64, "finding");
    out.push_str(&match mendable {
        0 => format!("\n{all}; none of it can be mended from this file alone\n"),
        1 if findings.len() == 1 => {
            format!("\n{all}, which can be mended: core2dmp repair {name}\n")
        }
        _ if mendable == findings.len() => {
            format!("\n{all}, all of which can be mended: core2dmp repair {name}\n")
        }
        _ => format!("\n{all}, {mendable} of which can be mended: core2dmp repair {name}\n"),
    });
}
