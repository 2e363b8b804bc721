//! What a repair changed, and what it left.

use std::path::Path;

use core2dmp::audit::check::{Finding, Severity};
use core2dmp::audit::diff;
use core2dmp::audit::repair::{Change, Repair};
use core2dmp::container::dmp::DumpFile;
use core2dmp::header::{Field, FieldValue};

use super::{Table, check, count};
use crate::escape;
use crate::outcome::Change as Place;
use crate::render::{notation, verdict};

/// What became of a dump.
#[derive(Debug)]
pub(crate) struct Repaired<'a> {
    /// As it was given.
    pub(crate) file: &'a Path,
    /// As it was.
    pub(crate) dump: &'a DumpFile,
    /// What was changed, and what is left.
    pub(crate) repair: &'a Repair,
    /// Where.
    pub(crate) change: &'a Place,
}

/// The report.
pub(crate) fn repair(repaired: &Repaired<'_>) -> String {
    let Repaired {
        file,
        dump,
        repair,
        change,
    } = repaired;
    let name = escape::path(file);
    let changes = repair.changes.len() as u64;
    let mut out = match (changes, repair.left.is_empty()) {
        (0, true) => format!("{name}: nothing to repair\n"),
        (0, false) => format!("{name}: nothing that could be repaired\n"),
        _ => format!("{name}: {}\n", count(changes, "change")),
    };
    let mut table = Table::default();
    let after = after(&dump.header, &repair.changes);
    let differences = diff::diff_headers(&dump.header, &after).unwrap_or_default();
    for change in &repair.changes {
        one(&mut table, dump, &after, change);
        let field = field_of(dump, change);
        let difference = differences.differences.iter();
        let difference = difference.filter(|difference| Some(difference.field) == field);
        for run in difference.flat_map(|difference| &difference.runs) {
            table.row("", super::diff::run(run));
        }
    }
    table.write(
        &mut out,
        match change {
            Place::Nothing => "Would change",
            _ => "Changed",
        },
    );
    for severity in [Severity::Refused, Severity::Broken, Severity::Cosmetic] {
        let left = repair.left.iter();
        let left: Vec<&Finding> = left.filter(|f| f.severity == severity).collect();
        let heading = format!("Left: {}", check::heading(severity).to_lowercase());
        check::findings(&mut out, &heading, &left);
    }
    if changes > 0 {
        let worst = repair.left.iter().map(|left| left.severity).min();
        out.push_str(&format!("\nafter it: {}\n", verdict(worst)));
    }
    match change {
        Place::Nothing => {}
        Place::File(path) => {
            out.push_str(&format!("wrote {}\n", escape::path(path)));
        }
        Place::InPlace(undo) => out.push_str(&format!(
            "changed {name} itself; its old bytes are in {}\nput them back: core2dmp repair --undo {name}\n",
            escape::path(undo)
        )),
    }
    out
}

/// What was put back.
pub(crate) fn undone(file: &Path, places: usize) -> String {
    format!(
        "{}: as it was before; put back at {}\n",
        escape::path(file),
        count(places as u64, "place")
    )
}

/// One change, in the notation of its field if it is one.
fn one(table: &mut Table, dump: &DumpFile, after: &[u8], change: &Change) {
    let key = format!("{:#05x}", change.offset);
    let field = field_of(dump, change);
    let values = field.map(|field| (field, field.value(&dump.header), field.value(after)));
    let what = match &values {
        Some((_, FieldValue::Bytes(_), FieldValue::Bytes(_))) | None => {
            let bytes = count(change.new.len() as u64, "byte");
            format!("{}  {bytes}", change.what)
        }
        Some((field, old, new)) => {
            let (old, new) = notation::both(field, old, new);
            format!("{}  {old} -> {new}", field.name)
        }
    };
    table.row(&key, what);
    table.row("", &change.reason);
}

/// The field that a change replaces.
fn field_of(dump: &DumpFile, change: &Change) -> Option<&'static Field> {
    let mut fields = dump.width.fields().iter();
    fields.find(|field| field.offset as u64 == change.offset && field.bytes == change.new.len())
}

/// The header with its changes.
fn after(header: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut header = header.to_vec();
    for change in changes {
        let start = usize::try_from(change.offset).unwrap_or(usize::MAX);
        let there = header.get_mut(start..).unwrap_or_default();
        for (slot, byte) in there.iter_mut().zip(&change.new) {
            *slot = *byte;
        }
    }
    header
}
