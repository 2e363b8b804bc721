//! What a repair changed, and what it left.

use serde::Serialize;

use core2dmp::audit::repair;

use super::check::{Found, found};
use super::{Error, Head, hex};
use crate::args::RepairArgs;
use crate::commands::repair::Written;

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
    pub(crate) fn new(args: &RepairArgs) -> Self {
        Self {
            head: Head::of("repair"),
            file: args.file.to_string_lossy().into_owned(),
            dry_run: args.dry_run,
            changes: None,
            left: None,
            output: None,
            undo_file: None,
            undone: None,
            error: None,
        }
    }

    /// What was planned.
    pub(crate) fn fill(&mut self, repair: &repair::Repair) {
        self.changes = Some(repair.changes.iter().map(change).collect());
        self.left = Some(found(&repair.left));
    }

    /// Where it went.
    pub(crate) fn written(&mut self, written: &Written) {
        match written {
            Written::Nothing => {}
            Written::File(path) => self.output = Some(path.to_string_lossy().into_owned()),
            Written::InPlace(undo) => {
                self.output = Some(self.file.clone());
                self.undo_file = Some(undo.to_string_lossy().into_owned());
            }
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
