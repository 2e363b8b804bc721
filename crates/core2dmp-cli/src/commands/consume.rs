//! `core2dmp convert --in-place`: the core becomes the dump where it stands; `--undo` makes it the core again.
//!
//! ```text
//! earlier journal? -> open -> identify -> plan -> can it be done? -> [dry run: stop] -> ask -> do -> report
//! ```

use std::io::{self, BufRead as _, IsTerminal as _};

use core2dmp::container::Guest;
use core2dmp::dump::Plan;
use core2dmp::error::Error;
use core2dmp::write::in_place::reshape::{self, Consumed, Cost};

use super::output::Output;
use crate::args::ConvertArgs;
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stderr};
use crate::progress::Bar;
use crate::sources::{self, Sources};

/// What does not fit.
const NOT_ONE_FILE: &str = "several files, or a compressed one, do not become a dump in place";

/// What was, or would be, done in place.
#[derive(Debug)]
pub(crate) struct InPlace {
    pub(crate) cost: Cost,
    /// `None` in a dry run.
    pub(crate) done: Option<Consumed>,
}

fn refused<T>(message: String, hint: &'static str) -> Result<T, Failure> {
    Err(Failure::Refused { message, hint })
}

/// Refuses what an earlier conversion in place, or a missing answer, speaks against, before the guest is read.
pub(super) fn look(args: &ConvertArgs) -> Result<(), Failure> {
    let source = escape::path(args.core());
    if args.in_place
        && args
            .sources_and_output()
            .1
            .is_some_and(|out| out.as_os_str() == "-")
    {
        let message = "standard output is not in place".to_owned();
        return refused(
            message,
            "give the name that the core is to have as a dump, or none",
        );
    }
    let found = match reshape::find(args.core()) {
        Ok(found) => found,
        Err(e) if args.in_place => return Err(e.into()),
        // Of another conversion than this one.
        Err(_) => None,
    };
    if let Some(found) = found {
        let is_gone = args.core().symlink_metadata().is_err();
        let dump = escape::path(&found.dump);
        if !found.is_done && (found.is_here || is_gone) {
            return refused(
                format!(
                    "{source} is neither core nor dump: its conversion in place was broken off"
                ),
                "`core2dmp convert --undo CORE` makes it the core again; then convert it once more",
            );
        }
        if found.is_here {
            return refused(
                format!("{source} is the dump already: only its name is still the core's"),
                "rename it, or make it the core again with `core2dmp convert --undo CORE`",
            );
        }
        if is_gone {
            return refused(
                format!("{source} was converted in place into {dump}"),
                "`core2dmp convert --undo CORE` makes it the core again",
            );
        }
        if args.in_place {
            let journal = escape::path(&found.journal);
            return refused(
                format!("{journal} exists: it can make {dump} a core again"),
                "delete it if nobody will want that",
            );
        }
    }
    if args.in_place && sources::is_compressed(args.core()) {
        return refused(NOT_ONE_FILE.to_owned(), "convert without --in-place");
    }
    let asks = args.in_place && !args.dry_run && !args.yes;
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return refused(
            format!("--in-place consumes {source}, and there is no terminal to ask on"),
            "--yes does it without asking",
        );
    }
    Ok(())
}

/// Refuses what is not one uncompressed file.
pub(super) fn look_at(args: &ConvertArgs, sources: &Sources) -> Result<(), Failure> {
    if !args.in_place || sources.is_one_file_as_it_is() {
        return Ok(());
    }
    refused(NOT_ONE_FILE.to_owned(), "convert without --in-place")
}

/// Makes the dump of the core; only says what it would take in a dry run.
pub(super) fn execute(
    args: &ConvertArgs,
    output: &Output,
    guest: &Guest,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<InPlace, Failure> {
    let Output::File(dump) = output else {
        return refused("standard output is not in place".to_owned(), "give a name");
    };
    let prepared = reshape::prepare(plan, &guest.memory, args.core(), dump)?;
    let cost = prepared.cost();
    if args.dry_run {
        return Ok(InPlace { cost, done: None });
    }
    if !args.yes {
        ask(args, dump, cost)?;
    }
    let bar = Bar::new(cost.saved, args.quiet, interrupt.clone());
    let done = {
        let _guard = interrupt.guard();
        prepared.execute(plan, args.force, &bar)
    };
    bar.clear();
    Ok(InPlace {
        cost,
        done: Some(done?),
    })
}

fn ask(args: &ConvertArgs, dump: &std::path::Path, cost: Cost) -> Result<(), Failure> {
    to_stderr(&format!(
        "{} becomes {} and is gone then; {} ({} bytes) can make it the core again.\nGo on? [y/N] ",
        escape::path(args.core()),
        escape::path(dump),
        escape::path(&reshape::journal_path(args.core())),
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

/// Makes the core again; the name of the file that it was made of.
pub(super) fn undo(args: &ConvertArgs, interrupt: &Interrupt) -> Result<String, Failure> {
    let _guard = interrupt.guard();
    let journal = reshape::journal_path(args.core());
    if journal.symlink_metadata().is_err() {
        return refused(
            format!(
                "{} was not converted in place: there is no {}",
                escape::path(args.core()),
                escape::path(&journal)
            ),
            "the journal stands beside the core, under its name; was it moved or deleted?",
        );
    }
    match reshape::undo(args.core(), args.sources_and_output().1) {
        Ok(made_of) => Ok(made_of.to_string_lossy().into_owned()),
        Err(Error::CannotConsume { why }) => refused(
            format!("the core is not made again: {why}"),
            "nothing was changed; if the dump was moved or renamed, give its name after the core's",
        ),
        Err(e) => Err(e.into()),
    }
}
