//! A row of the table of broken dumps before `check` and `repair`.

use core2dmp::audit::check::{Finding, Mend, Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp_synth::broken::{Body, Case, Mended, Row, Verdict, rows};

use super::repaired::{open, repaired};

/// A finding in a line.
fn line(finding: &Finding) -> String {
    format!(
        "{} in {}: found {}, expected {}; {:?}; {:?}",
        finding.severity,
        finding.field,
        finding.found,
        finding.expected,
        finding.debugger,
        finding.mend
    )
}

/// All that a debugger says about a finding, of today and of 2015.
fn said(finding: &Finding) -> String {
    let said = finding.debugger.as_ref();
    let lines = said.map(|said| {
        let older = said.of_2015.map(|older| older.words.to_owned());
        let later = said.follow_ups.iter().map(ToString::to_string);
        let all = std::iter::once(said.today.to_string())
            .chain(later)
            .chain(older);
        all.collect::<Vec<_>>()
    });
    lines.unwrap_or_default().join("; ")
}

/// All findings of a file.
fn findings(bytes: &[u8]) -> Vec<Finding> {
    check(&open(bytes)).findings
}

/// Fails if a dump has any finding.
pub(crate) fn assert_clean(name: &str, bytes: &[u8]) {
    let lines: Vec<String> = findings(bytes).iter().map(line).collect();
    assert!(lines.is_empty(), "{name}: {lines:#?}");
}

/// Every row of a body; fails with the names of those that are not as the table says.
pub(crate) fn assert_rows(body: Body) {
    let good = body.good();
    assert_clean(body.name(), &good.dump.bytes);
    let wrong: Vec<String> = rows()
        .filter(|row| row.body == body)
        .filter_map(|row| judge(row, &good).err())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Holds a row against `check` and `repair`.
fn judge(row: &Row, good: &Case) -> Result<(), String> {
    let broken = row.broken(good).bytes;
    let found = findings(&broken);
    let told = |why: &str, found: &[Finding]| {
        let lines: Vec<String> = found.iter().map(line).collect();
        format!("{row:?}: {why}\n    {}", lines.join("\n    "))
    };
    let wanted = match row.verdict {
        Verdict::Refused => Severity::Refused,
        Verdict::Broken => Severity::Broken,
        Verdict::Cosmetic => Severity::Cosmetic,
        Verdict::Silent => {
            return if found.is_empty() {
                unchanged(row, &broken)
            } else {
                Err(told("not silent", &found))
            };
        }
    };
    let named = found.iter().find(|finding| finding.field == row.field);
    let Some(named) = named else {
        return Err(told(&format!("{} is not named", row.field), &found));
    };
    if found.first().map(|finding| finding.severity) != Some(wanted) || named.severity != wanted {
        return Err(told(&format!("not {wanted}"), &found));
    }
    if !said(named).contains(row.words) {
        return Err(told(&format!("not in the words {:?}", row.words), &found));
    }
    match row.mended {
        Mended::Whole | Mended::Anew => mended(row, good, &broken),
        Mended::No => given_up(row, &broken, named),
        Mended::Nothing => Err(told("is something, not nothing", &found)),
    }
}

/// A repair of what is not broken changes nothing.
fn unchanged(row: &Row, bytes: &[u8]) -> Result<(), String> {
    let repair = repair(&open(bytes)).map_err(|error| format!("{row:?}: {error}"))?;
    if repair.changes.is_empty() {
        return Ok(());
    }
    Err(format!("{row:?}: repaired, {:?}", repair.changes))
}

/// A repair leaves nothing, and page contents are those of the good dump.
fn mended(row: &Row, good: &Case, broken: &[u8]) -> Result<(), String> {
    let repair = repair(&open(broken)).map_err(|error| format!("{row:?}: {error}"))?;
    let repaired = repaired(broken, &repair);
    let left = findings(&repaired);
    if left != repair.left {
        return Err(format!("{row:?}: the repair thinks {:?}", repair.left));
    }
    if !left.is_empty() {
        let lines: Vec<String> = left.iter().map(line).collect();
        return Err(format!("{row:?}: left {}", lines.join("\n    ")));
    }
    let pages = |bytes: &[u8]| bytes[good.dump.header_bytes..].to_vec();
    if row.mended == Mended::Whole && pages(&repaired) != pages(&good.dump.bytes) {
        let first = (good.dump.header_bytes..).find(|n| repaired[*n] != good.dump.bytes[*n]);
        return Err(format!("{row:?}: pages differ, first at {first:x?}"));
    }
    Ok(())
}

/// What cannot be mended says what is missing, and is left.
fn given_up(row: &Row, broken: &[u8], named: &Finding) -> Result<(), String> {
    if named.mend == Mend::Yes {
        return Err(format!("{row:?}: said to be mendable"));
    }
    match repair(&open(broken)) {
        Err(_) => Ok(()),
        Ok(repair) if repair.left.iter().any(|left| left.field == row.field) => Ok(()),
        Ok(repair) => Err(format!("{row:?}: it is gone, {:?}", repair.left)),
    }
}
