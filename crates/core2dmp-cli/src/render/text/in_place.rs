//! What was done in place, and what can be undone.

use std::path::Path;

use super::{Table, count, size};
use crate::escape;
use crate::outcome::InPlace;

/// The part of the report on a conversion in place.
pub(super) fn in_place(out: &mut String, source: &Path, in_place: &InPlace) {
    let mut table = Table::default();
    let shifts = count(in_place.cost.shifts as u64, "range");
    table.row(
        "moved",
        format!("{shifts} taken out or put in; no page is copied"),
    );
    let (heading, journal) = match &in_place.done {
        None => ("Would convert in place", size(in_place.cost.saved)),
        Some(done) => {
            let name = escape::path(&done.journal);
            (
                "Converted in place",
                format!("{name}, {}", size(done.bytes)),
            )
        }
    };
    table.row("journal", journal);
    if in_place.done.is_some() {
        let undo = format!("core2dmp convert --undo {}", escape::path(source));
        table.row("", format!("makes it the core again: {undo}"));
        table.row("", "may be deleted if nobody needs that");
    }
    table.write(out, heading);
}

/// The report on an undone one.
pub(crate) fn made_again(source: &Path, made_of: &str) -> String {
    let (source, made_of) = (escape::path(source), escape::printable(made_of));
    if source == made_of {
        return format!("{source} is the core again\n");
    }
    format!("{source} is the core again; {made_of} is gone\n")
}
