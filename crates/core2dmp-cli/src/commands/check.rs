//! `core2dmp check`: whether the debugger would open a dump, and whether it would show the truth.

use core2dmp::audit::{against_core, check};
use core2dmp::open;

use super::open_core;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::outcome::{Checked, Deep};
use crate::progress::Bar;
use crate::request::Check;

/// Runs the command.
pub(crate) fn run(request: &Check, interrupt: &Interrupt) -> Result<Checked, Failure> {
    let dump = open::dump(&request.dump)?;
    let report = check::check(&dump);
    let deep = match &request.core {
        None => None,
        Some(core) => {
            let bar = Bar::new(request.report.quiet, interrupt);
            let (guest, windows) = open_core(core, &bar)?;
            Some(Deep {
                core: core.given.clone(),
                pages: against_core(&dump, &guest, &windows, &bar)?,
            })
        }
    };
    Ok(Checked { dump, report, deep })
}
