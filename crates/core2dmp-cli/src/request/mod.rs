//! What the user asks for, resolved once: which files, which output, which options.
//!
//! ```text
//! args (clap) --resolve--> request --> confine::enter (what of the system it needs)
//!                             \------> commands (what it does) --> outcome --> render
//! ```
//!
//! Whatever can be refused before a guest is read is refused here.

mod convert;
mod output;
mod reading;
mod source;

use std::path::{Path, PathBuf};

use core2dmp::windows::ContextPolicy;

use crate::args::{CheckArgs, Command, DiffArgs, InfoArgs, RepairArgs};
use crate::message::Failure;

pub(crate) use convert::{Asks, Convert, Product, Undo};
pub(crate) use output::{Output, check_repaired};
pub(crate) use reading::{Reading, Report};
pub(crate) use source::Source;

/// What a command does.
#[derive(Debug)]
pub(crate) enum Request {
    Convert(Box<Convert>),
    Undo(Undo),
    Info(Info),
    Check(Check),
    Diff(Diff),
    Repair(Repair),
    /// In this folder.
    Demo(PathBuf),
}

/// `info`.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) source: Source,
    pub(crate) reading: Reading,
    pub(crate) contexts: ContextPolicy,
    pub(crate) facts: bool,
    pub(crate) modules: bool,
    pub(crate) processes: bool,
    pub(crate) report: Report,
}

/// `check`.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) dump: PathBuf,
    /// The core that every page is compared with.
    pub(crate) core: Option<Source>,
    pub(crate) report: Report,
}

/// `diff`.
#[derive(Debug)]
pub(crate) struct Diff {
    pub(crate) what: Compare,
    /// The bytes that differ, instead of the fields.
    pub(crate) bytes: bool,
    pub(crate) report: Report,
}

/// What `diff` compares.
#[derive(Debug)]
pub(crate) enum Compare {
    /// Two files; the contents of all pages too, or not, or where the bodies differ.
    Files {
        old: Source,
        new: Source,
        memory: Option<bool>,
    },
    /// A listing of bytes, laid over a header.
    Listing { listing: PathBuf, with: PathBuf },
}

/// `repair`.
#[derive(Debug)]
pub(crate) struct Repair {
    pub(crate) dump: PathBuf,
    pub(crate) target: Target,
    /// The core that the header is written anew from.
    pub(crate) core: Option<Source>,
    pub(crate) dry_run: bool,
    pub(crate) report: Report,
}

/// Where a repair goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// Into a new file.
    File {
        path: PathBuf,
        force: bool,
        sync: bool,
    },
    /// Into the dump itself.
    InPlace,
    /// Back out of the dump.
    Undo,
}

impl Request {
    /// Resolves a command line.
    pub(crate) fn resolve(command: &Command) -> Result<Self, Failure> {
        Ok(match command {
            Command::Convert(args) if args.undo => Self::Undo(Undo::resolve(args)),
            Command::Convert(args) => Self::Convert(Box::new(Convert::resolve(args)?)),
            Command::Info(args) => Self::Info(Info::resolve(args)?),
            Command::Check(args) => Self::Check(Check::resolve(args)?),
            Command::Diff(args) => Self::Diff(Diff::resolve(args)?),
            Command::Repair(args) => Self::Repair(Repair::resolve(args)?),
            Command::Demo(args) => Self::Demo(args.dir.clone()),
        })
    }
}

impl Info {
    fn resolve(args: &InfoArgs) -> Result<Self, Failure> {
        Ok(Self {
            source: Source::of(&args.files)?,
            reading: Reading {
                salvage: args.salvage,
                holes: args.hole.clone(),
                headers: args.header.clone(),
                kernel: args.kernel,
                format: args.format.clone(),
            },
            contexts: args.context.into(),
            facts: args.facts,
            modules: args.modules,
            processes: args.processes,
            report: Report {
                json: args.json,
                verbose: args.verbose,
                quiet: args.json,
            },
        })
    }
}

impl Check {
    /// Of a dump alone.
    pub(crate) fn of(dump: &Path) -> Self {
        Self {
            dump: dump.to_path_buf(),
            core: None,
            report: Report::default(),
        }
    }

    fn resolve(args: &CheckArgs) -> Result<Self, Failure> {
        let core = args.with.as_deref().filter(|_| args.deep);
        Ok(Self {
            dump: args.file.clone(),
            core: core.map(Source::of_one).transpose()?,
            report: Report {
                json: args.json,
                verbose: args.verbose,
                quiet: false,
            },
        })
    }
}

impl Diff {
    fn resolve(args: &DiffArgs) -> Result<Self, Failure> {
        let what = match (&args.listing, &args.with, &args.old, &args.new) {
            (Some(listing), Some(with), ..) => Compare::Listing {
                listing: listing.clone(),
                with: with.clone(),
            },
            (_, _, Some(old), Some(new)) => Compare::Files {
                old: Source::of_one(old)?,
                new: Source::of_one(new)?,
                memory: match (args.memory, args.no_memory) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    (false, false) => None,
                },
            },
            _ => {
                return Err(Failure::Refused {
                    message: "there are no two files to compare".to_owned(),
                    hint: "core2dmp diff A B, or core2dmp diff --listing FILE --with HEADER",
                });
            }
        };
        Ok(Self {
            what,
            bytes: args.bytes,
            report: Report {
                json: args.json,
                ..Report::default()
            },
        })
    }
}

impl Repair {
    /// Of a dump into a new file beside it, which is replaced.
    pub(crate) fn of(dump: &Path) -> Self {
        Self {
            dump: dump.to_path_buf(),
            target: Target::File {
                path: output::repaired(dump, None),
                force: true,
                sync: false,
            },
            core: None,
            dry_run: false,
            report: Report::default(),
        }
    }

    fn resolve(args: &RepairArgs) -> Result<Self, Failure> {
        let target = if args.undo {
            Target::Undo
        } else if args.in_place {
            Target::InPlace
        } else {
            Target::File {
                path: output::repaired(&args.file, args.output.as_deref()),
                force: args.force,
                sync: !args.no_sync,
            }
        };
        Ok(Self {
            dump: args.file.clone(),
            target,
            core: args.from.as_deref().map(Source::of_one).transpose()?,
            dry_run: args.dry_run,
            report: Report {
                json: args.json,
                verbose: args.verbose,
                quiet: false,
            },
        })
    }
}
