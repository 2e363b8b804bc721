//! The frames of an active dump: all but those that the PFN database calls free or zeroed.

use super::{Plan, pages};
use crate::container::Guest;
use crate::memory::Frames;
use crate::windows::{PfnDatabase, Windows};

/// The frames, ascending; all of them, with a warning, where the database is not understood.
pub(super) fn frames(plan: &mut Plan, guest: &Guest, windows: &Windows) -> Vec<Frames> {
    let runs = &windows.runs.value;
    let database = match PfnDatabase::find(&guest.memory, windows) {
        Ok(database) => database,
        Err(why) => {
            plan.warnings.push(format!(
                "all memory is in the dump, free pages too: the PFN database is not understood: {why}"
            ));
            return runs.clone();
        }
    };
    let unused = database.unused(&windows.space(&guest.memory), runs);
    let mut wanted = pages::present(guest, runs);
    let before = wanted.len();
    for run in unused.runs() {
        wanted.remove(run);
    }
    plan.left_out = before.saturating_sub(wanted.len());
    wanted.runs().collect()
}
