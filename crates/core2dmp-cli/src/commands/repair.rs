//! `core2dmp repair`: makes a dump's header agree with the memory behind it.
//!
//! ```text
//! open -> repair (from memory, or --from a core) -> [dry run: stop]
//!      -> a new file, sharing what did not change   (default)
//!      -> the file itself, its old bytes beside it  (--in-place; --undo puts them back)
//! ```

use core2dmp::audit::repair;
use core2dmp::container::dmp::DumpFile;
use core2dmp::error::Error;
use core2dmp::open;
use core2dmp::progress::Work;
use core2dmp::write::{self, WriteOptions, in_place};

use super::open_core;
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::outcome::{Change, Repaired};
use crate::progress::Bar;
use crate::request::{Repair, Target, check_repaired};

/// Runs the command.
pub(crate) fn run(request: &Repair, interrupt: &Interrupt) -> Repaired {
    if let Target::Undo = request.target {
        return match undo(request, interrupt) {
            Ok(places) => Repaired {
                undone: Some(places),
                ..Repaired::default()
            },
            Err(failure) => failed(failure),
        };
    }
    let (dump, repair) = match plan(request, interrupt) {
        Ok(planned) => planned,
        Err(failure) => return failed(failure),
    };
    let change = if request.dry_run || repair.changes.is_empty() {
        Ok(Change::Nothing)
    } else {
        apply(request, &dump, &repair, interrupt)
    };
    let planned = Some((dump, repair));
    match change {
        Ok(change) => Repaired {
            planned,
            change,
            ..Repaired::default()
        },
        Err(failure) => Repaired {
            planned,
            ..failed(failure)
        },
    }
}

fn failed(failure: Failure) -> Repaired {
    Repaired {
        failure: Some(failure),
        ..Repaired::default()
    }
}

/// Puts the old bytes back; at how many places.
fn undo(request: &Repair, interrupt: &Interrupt) -> Result<usize, Failure> {
    let _guard = interrupt.guard();
    let undo = in_place::undo_path(&request.dump);
    if undo.symlink_metadata().is_err() {
        return Err(Failure::Refused {
            message: format!(
                "{} was not repaired in place: there is no {}",
                escape::path(&request.dump),
                escape::path(&undo)
            ),
            hint: "the old bytes belong beside the dump, under its name; were they moved?",
        });
    }
    Ok(in_place::undo(&request.dump)?)
}

/// The dump, and what is to be changed in it.
fn plan(request: &Repair, interrupt: &Interrupt) -> Result<(DumpFile, repair::Repair), Failure> {
    let dump = open::dump(&request.dump)?;
    let repair = match &request.core {
        None => repair::repair(&dump)?,
        Some(core) => {
            let bar = Bar::new(request.report.quiet, interrupt);
            let (guest, windows) = open_core(core, &bar)?;
            repair::repair_from(&dump, &guest, &windows)?
        }
    };
    Ok((dump, repair))
}

fn apply(
    request: &Repair,
    dump: &DumpFile,
    repair: &repair::Repair,
    interrupt: &Interrupt,
) -> Result<Change, Failure> {
    let Target::File { path, force, sync } = &request.target else {
        // Small, and half of it is worse than all of it.
        let _guard = interrupt.guard();
        let applied = in_place::apply(&request.dump, &repair.changes);
        return applied.map(Change::InPlace).map_err(|error| match error {
            Error::OutputExists { path } => Failure::Refused {
                message: format!("{path} exists: an earlier repair was not undone"),
                hint: "undo it with --undo, or move that file away to keep both repairs",
            },
            error => error.into(),
        });
    };
    check_repaired(&request.dump, path, *force)?;
    let image = repair.image(dump)?;
    let options = WriteOptions::default().force(*force).sync(*sync);
    let _guard = interrupt.guard();
    let bar = Bar::new(request.report.quiet, interrupt);
    bar.over(Work::Write, repair.size(), |bar| {
        write::to_file(&image, &dump.memory(), path, options, bar)
    })?;
    Ok(Change::File(path.clone()))
}
