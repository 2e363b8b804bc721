//! Text for people: aligned tables, one idea a line.
//!
//! ```text
//! Windows
//!   page tables  0x1ad000   process System at 0xffffe0..
//!                not 0x1cf7000   vCPU 1 CR3: page tables of process 1234, as good to read with
//! ```
//! Everything that enters a table is escaped here, whatever its source.

mod check;
mod container;
mod convert;
mod crash;
mod diff;
mod dump_file;
mod export;
mod header;
mod in_place;
mod info;
mod repair;
mod windows;

use core2dmp::windows::Fact;

use crate::confine;
use crate::escape::printable;

pub(crate) use core2dmp::text::{count, size};

pub(crate) use check::check;
pub(crate) use convert::converted;
pub(crate) use diff::{byte_listing, diff};
pub(crate) use in_place::made_again;
pub(crate) use info::described;
pub(crate) use repair::{Repaired, repair, undone};
pub(crate) use windows::service_pack;

/// Values wider than this do not push their neighbours to the right.
const MAX_VALUE_WIDTH: usize = 36;

/// Rows of a key, a value and a note.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<[String; 3]>,
}

impl Table {
    fn row(&mut self, key: &str, value: impl AsRef<str>) {
        self.noted(key, value, "");
    }

    fn noted(&mut self, key: &str, value: impl AsRef<str>, note: impl AsRef<str>) {
        self.rows
            .push([key, value.as_ref(), note.as_ref()].map(printable));
    }

    /// A fact, its source, and what was rejected.
    fn fact<T>(&mut self, key: &str, fact: &Fact<T>, show: impl Fn(&T) -> String) {
        self.noted(key, show(&fact.value), fact.source.to_string());
        self.rejected(fact, show);
    }

    fn rejected<T>(&mut self, fact: &Fact<T>, show: impl Fn(&T) -> String) {
        for rejected in &fact.rejected {
            let value = format!("not {}", show(&rejected.value));
            self.noted("", value, format!("{}: {}", rejected.source, rejected.why));
        }
    }

    /// Appends the table under a heading; nothing if there are no rows.
    fn write(&self, out: &mut String, heading: &str) {
        if self.rows.is_empty() {
            return;
        }
        if !heading.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(heading);
            out.push('\n');
        }
        let width = |column: fn(&[String; 3]) -> &String, rows: &mut dyn Iterator<Item = _>| {
            rows.map(|row| column(row).chars().count())
                .filter(|width| *width <= MAX_VALUE_WIDTH)
                .max()
                .unwrap_or(0)
        };
        let keys = width(|[key, _, _]| key, &mut self.rows.iter());
        let noted = |row: &&[String; 3]| matches!(row, [_, _, note] if !note.is_empty());
        let values = width(|[_, value, _]| value, &mut self.rows.iter().filter(noted));
        for [key, value, note] in &self.rows {
            let line = if note.is_empty() {
                format!("  {key:keys$}  {value}")
            } else {
                format!("  {key:keys$}  {value:values$}  {note}")
            };
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// What the program gave up before it looked, in a line.
fn sandbox(out: &mut String) {
    if let Some(level) = confine::level() {
        out.push_str(&format!("sandbox: {level}\n"));
    }
}

/// Warnings that are printed; a header of garbage makes dozens. JSON has all.
const MAX_WARNINGS: usize = 24;

/// Warnings, each on a line.
fn warnings<'a>(out: &mut String, warnings: impl IntoIterator<Item = &'a String>) {
    let mut warnings = warnings.into_iter();
    let mut first = true;
    for warning in warnings.by_ref().take(MAX_WARNINGS) {
        if std::mem::take(&mut first) {
            out.push('\n');
        }
        out.push_str(&format!("warning: {}\n", printable(warning)));
    }
    let rest = warnings.count();
    if rest > 0 {
        out.push_str(&format!("and {rest} more warnings: --json\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_values_do_not_push() {
        let mut table = Table::default();
        table.noted("a", "1", "one");
        table.noted("long key", "22", "two");
        table.noted("", "x".repeat(40), "far");
        table.row("b", "evil\x1b[2J");
        let mut out = String::new();
        table.write(&mut out, "Heading");
        let far = format!("            {}  far\n", "x".repeat(40));
        let expected = "Heading\n  a         1   one\n  long key  22  two\n".to_owned()
            + &far
            + "  b         evil\\u{1b}[2J\n";
        assert_eq!(out, expected);
    }
}
