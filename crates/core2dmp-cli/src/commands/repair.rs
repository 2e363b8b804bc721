//! `core2dmp repair`: makes a dump's header agree with the memory behind it.
//!
//! ```text
//! open -> repair (from memory, or --from a core) -> [dry run: stop]
//!      -> a new file, sharing what did not change   (default)
//!      -> the file itself, its old bytes beside it  (--in-place; --undo puts them back)
//! ```

use std::path::{Path, PathBuf};

use core2dmp::audit::check::Severity;
use core2dmp::audit::repair::{self, Repair};
use core2dmp::container::dmp::DumpFile;
use core2dmp::error::Error;
use core2dmp::write::{self, WriteOptions, in_place};

use super::{open_core, open_dump, output};
use crate::args::RepairArgs;
use crate::interrupt::Interrupt;
use crate::message::{Failure, Outcome, to_stdout};
use crate::progress::Bar;
use crate::render::{json, text};

/// What became of a dump.
#[derive(Debug)]
struct Done {
    dump: DumpFile,
    repair: Repair,
    written: Written,
}

/// Where the changes went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nowhere: there are none, or it was a dry run.
    Nothing,
    /// Into a new file.
    File(PathBuf),
    /// Into the dump; the old bytes are in this file.
    InPlace(PathBuf),
}

/// Runs the command.
pub(crate) fn run(args: &RepairArgs) -> Result<Outcome, Failure> {
    run_with(args, &Interrupt::install()?)
}

/// The same, with signal handlers that are installed already.
pub(super) fn run_with(args: &RepairArgs, interrupt: &Interrupt) -> Result<Outcome, Failure> {
    let mut document = json::Repair::new(args);
    let result = if args.undo {
        undo(args, interrupt, &mut document)
    } else {
        mend(args, interrupt, &mut document)
    };
    if args.json {
        document.error = result.as_ref().err().map(Into::into);
        to_stdout(&json::render(&document))?;
        return result.map(|(outcome, _)| outcome);
    }
    let (outcome, text) = result?;
    to_stdout(&text)?;
    Ok(outcome)
}

fn undo(
    args: &RepairArgs,
    interrupt: &Interrupt,
    document: &mut json::Repair,
) -> Result<(Outcome, String), Failure> {
    let _guard = interrupt.guard();
    let undo = in_place::undo_path(&args.file);
    if undo.symlink_metadata().is_err() {
        return Err(Failure::Refused {
            message: format!(
                "{} was not repaired in place: there is no {}",
                args.file.display(),
                undo.display()
            ),
            hint: "the old bytes stand beside the dump, under its name; were they moved?",
        });
    }
    let places = in_place::undo(&args.file)?;
    document.undone = Some(places);
    Ok((Outcome::Done, text::undone(&args.file, places)))
}

fn mend(
    args: &RepairArgs,
    interrupt: &Interrupt,
    document: &mut json::Repair,
) -> Result<(Outcome, String), Failure> {
    let dump = open_dump(&args.file)?;
    let repair = match &args.from {
        None => repair::repair(&dump)?,
        Some(core) => from_core(&dump, core, interrupt)?,
    };
    document.fill(&repair);
    let written = if args.dry_run || repair.changes.is_empty() {
        Written::Nothing
    } else {
        apply(args, &dump, &repair, interrupt)?
    };
    document.written(&written);
    let done = Done {
        dump,
        repair,
        written,
    };
    Ok((done.outcome(), done.text(args)))
}

fn from_core(dump: &DumpFile, core: &Path, interrupt: &Interrupt) -> Result<Repair, Failure> {
    let (guest, windows) = open_core(core, interrupt)?;
    Ok(repair::repair_from(dump, &guest, &windows)?)
}

fn apply(
    args: &RepairArgs,
    dump: &DumpFile,
    repair: &Repair,
    interrupt: &Interrupt,
) -> Result<Written, Failure> {
    if args.in_place {
        // Small, and half of it is worse than all of it.
        let _guard = interrupt.guard();
        let applied = in_place::apply(&args.file, &repair.changes);
        return applied.map(Written::InPlace).map_err(|error| match error {
            Error::OutputExists { path } => Failure::Refused {
                message: format!("{path} exists: an earlier repair was not undone"),
                hint: "undo it with --undo, or move that file away to keep both repairs",
            },
            error => error.into(),
        });
    }
    let path = output::repaired(args)?;
    let segments = repair.segments(dump)?;
    let options = WriteOptions {
        force: args.force,
        sync: !args.no_sync,
        sparse: false,
        verify: false,
    };
    let bar = Bar::new(repair.size(), false, interrupt.clone());
    let result = {
        let _guard = interrupt.guard();
        write::segments_to_file(&segments, &dump.memory(), &path, options, &bar)
    };
    bar.clear();
    result?;
    Ok(Written::File(path))
}

impl Done {
    /// Cosmetic findings that cannot be mended are no reason to stop a script.
    fn outcome(&self) -> Outcome {
        let hurts = |severity| severity != Severity::Cosmetic;
        if self.repair.left.iter().any(|left| hurts(left.severity)) {
            Outcome::Findings
        } else {
            Outcome::Done
        }
    }

    fn text(&self, args: &RepairArgs) -> String {
        text::repair(&text::Repaired {
            file: &args.file,
            dump: &self.dump,
            repair: &self.repair,
            written: &self.written,
        })
    }
}
