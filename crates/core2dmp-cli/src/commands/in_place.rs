//! `core2dmp convert --in-place`: the core becomes the dump where it is; `--undo` makes it the core again.
//!
//! ```text
//! request (earlier journal? one file?) -> open -> identify -> plan -> can it be done? -> [dry run: stop] -> ask -> do
//! ```

use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use core2dmp::container::Guest;
use core2dmp::dump::Plan;
use core2dmp::error::Error;
use core2dmp::progress::Work;
use core2dmp::write::in_place::reshape::{self, Cost};

use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stderr};
use crate::outcome::{InPlace, Written};
use crate::progress::Bar;
use crate::request::{Asks, Convert, Output, Undo};

fn refused<T>(message: String, hint: &'static str) -> Result<T, Failure> {
    Err(Failure::Refused { message, hint })
}

/// Makes the dump of the core; in a dry run only what it would take.
pub(super) fn execute(
    request: &Convert,
    asks: Asks,
    guest: &Guest,
    plan: &Plan,
    bar: &Bar,
    interrupt: &Interrupt,
) -> Result<(InPlace, Option<Written>), Failure> {
    let Output::File(dump) = &request.output else {
        return refused(
            "--in-place cannot write to standard output".to_owned(),
            "give a name",
        );
    };
    let core = request.source.first();
    let prepared = reshape::prepare(&plan.image, &guest.memory, core, dump)?;
    let cost = prepared.cost();
    if request.dry_run {
        return Ok((InPlace { cost, done: None }, None));
    }
    if asks == Asks::Yes {
        ask(core, dump, cost)?;
    }
    let _guard = interrupt.guard();
    let done = bar.over(Work::Write, cost.saved, |bar| {
        prepared.execute(&plan.image, request.write.force, bar)
    })?;
    let written = Written {
        files: vec![dump.clone()],
        ..Written::default()
    };
    let done = Some(done);
    Ok((InPlace { cost, done }, Some(written)))
}

fn ask(core: &Path, dump: &Path, cost: Cost) -> Result<(), Failure> {
    to_stderr(&format!(
        "{} becomes {} and is gone then; {} ({} bytes) can make it the core again.\nGo on? [y/N] ",
        escape::path(core),
        escape::path(dump),
        escape::path(&reshape::journal_path(core)),
        cost.saved
    ));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| Error::io("cannot read the answer", e))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    refused(
        "not done: the answer was not y".to_owned(),
        "nothing was changed",
    )
}

/// Makes the core again; the file that it was made of.
pub(crate) fn undo(request: &Undo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let _guard = interrupt.guard();
    if request.journal.symlink_metadata().is_err() {
        return refused(
            format!(
                "{} was not converted in place: there is no {}",
                escape::path(&request.core),
                escape::path(&request.journal)
            ),
            "the journal belongs beside the core, under its name; was it moved or deleted?",
        );
    }
    match reshape::undo(&request.core, request.dump.as_deref()) {
        Ok(made_of) => Ok(made_of),
        Err(Error::CannotConsume { why }) => refused(
            format!("the core is not made again: {why}"),
            "nothing was changed; if the dump was moved or renamed, give its name after the core's",
        ),
        Err(e) => Err(e.into()),
    }
}
