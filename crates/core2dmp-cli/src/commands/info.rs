//! `core2dmp info`: what is in a file: a core, a dump, or a dump's header.

use core2dmp::container::Guest;
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::windows::{CrashState, HeaderSearch, Windows};

use super::open_options;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::outcome::{Described, Found};
use crate::progress::Bar;
use crate::request::Info;

/// Runs the command.
pub(crate) fn run(request: &Info, interrupt: &Interrupt) -> Result<Described, Failure> {
    // Who asks for every source of every field gets every source.
    let search = if request.facts {
        HeaderSearch::All
    } else {
        HeaderSearch::default()
    };
    let bar = Bar::new(request.report.quiet, interrupt);
    let options = open_options(&request.reading, search)?;
    let mut opened = request.source.files.clone().open(&options, &bar)?;
    let found = match opened.identify() {
        Ok(windows) => Ok(describe(request, &opened.guest, windows)),
        Err(error) => Err(error.into()),
    };
    Ok(Described {
        guest: opened.guest,
        dump: opened.dump,
        found,
    })
}

/// Windows, and the dump that would be made of it where its header is shown.
fn describe(request: &Info, guest: &Guest, mut windows: Windows) -> Found {
    let crash = windows.crash_state(guest, request.contexts);
    let is_shown = request.facts || request.report.json;
    let plan = is_shown
        .then(|| plan(guest, &mut windows, crash.clone()))
        .flatten();
    Found {
        windows,
        crash,
        plan,
    }
}

/// The dump that would be written; if there can be none that is a warning.
fn plan(guest: &Guest, windows: &mut Windows, crash: CrashState) -> Option<Plan> {
    match dump::plan_with(guest, windows, crash, &PlanOptions::default()) {
        Ok(plan) => Some(plan),
        Err(error) => {
            windows
                .warnings
                .push(format!("no header for a dump can be planned: {error}"));
            None
        }
    }
}
