//! What a repair changed, and what it left.

use serde::Serialize;

use core2dmp::audit::repair;

use super::check::{Found, found};
use super::{Error, Head, hex};
use crate::outcome::{self, Repaired};
use crate::request;

/// `core2dmp repair --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Repair {
    #[serde(flatten)]
    head: Head,
    file: String,
    dry_run: bool,
    changes: Option<Vec<Change>>,
    left: Option<Vec<Found>>,
    output: Option<String>,
    undo_file: Option<String>,
    pub(crate) undone: Option<usize>,
    pub(crate) error: Option<Error>,
}

#[derive(Debug, Serialize)]
struct Change {
    what: String,
    offset: String,
    old: String,
    new: String,
    reason: String,
}

impl Repair {
    pub(crate) const fn new(file: String, dry_run: bool) -> Self {
        Self {
            head: Head::of("repair"),
            file,
            dry_run,
            changes: None,
            left: None,
            output: None,
            undo_file: None,
            undone: None,
            error: None,
        }
    }

    /// What came of it.
    pub(crate) fn of(request: &request::Repair, outcome: &Repaired) -> Self {
        let file = request.dump.to_string_lossy().into_owned();
        let planned = outcome.planned.as_ref().map(|(_, repair)| repair);
        let (output, undo_file) = match &outcome.change {
            outcome::Change::Nothing => (None, None),
            outcome::Change::File(path) => (Some(path.to_string_lossy().into_owned()), None),
            outcome::Change::InPlace(undo) => (
                Some(file.clone()),
                Some(undo.to_string_lossy().into_owned()),
            ),
        };
        Self {
            changes: planned.map(|repair| repair.changes.iter().map(change).collect()),
            left: planned.map(|repair| found(&repair.left)),
            output,
            undo_file,
            undone: outcome.undone,
            error: outcome.failure.as_ref().map(Into::into),
            ..Self::new(file, request.dry_run)
        }
    }
}

fn change(change: &repair::Change) -> Change {
    Change {
        what: change.what.clone(),
        offset: hex(change.offset),
        old: bytes(&change.old),
        new: bytes(&change.new),
        reason: change.reason.clone(),
    }
}

/// Bytes in the order of the file.
fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
