//! A conversion in place.

use serde::Serialize;

use crate::outcome;

/// What it took.
#[derive(Debug, Serialize)]
pub(crate) struct InPlace {
    shifts: usize,
    saved_bytes: u64,
    journal: Option<String>,
    journal_bytes: Option<u64>,
}

impl InPlace {
    pub(crate) fn new(in_place: &outcome::InPlace) -> Self {
        let done = in_place.done.as_ref();
        Self {
            shifts: in_place.cost.shifts,
            saved_bytes: in_place.cost.saved,
            journal: done.map(|done| done.journal.to_string_lossy().into_owned()),
            journal_bytes: done.map(|done| done.bytes),
        }
    }
}
