//! `core2dmp convert`: the main job.
//!
//! ```text
//! open -> identify -> plan -> [dry run: stop] -> write, or change the core itself (consume) -> report
//! ```

use std::io;
use std::path::PathBuf;

use core2dmp::container::{Guest, OpenOptions};
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::windows::{self, HeaderSearch, Windows};
use core2dmp::write::{self, WriteOptions};

use super::around;
use super::consume::{self, InPlace};
use super::output::Output;
use super::{export, identify};
use crate::args::ConvertArgs;
use crate::escape;
use crate::hash::{self, Hashed};
use crate::interrupt::Interrupt;
use crate::message::{self, Failure, to_stderr, to_stdout};
use crate::progress::Bar;
use crate::render::{json, text};
use crate::sources::{self, Files, Identified, Unpack};

/// What a conversion found and planned.
struct Conversion {
    guest: Guest,
    found: Windows,
    plan: Plan,
    done: Done,
}

/// What stands on the disk afterwards.
#[derive(Default)]
struct Done {
    /// The dump, or its parts.
    files: Vec<PathBuf>,
    /// Checksums, of a stream, or where they were written.
    sums: Vec<(&'static str, String)>,
    /// What could not be written as it was, and what else the user should know.
    warnings: Vec<String>,
    /// How the core became the dump, if it did.
    in_place: Option<InPlace>,
}

impl around::Warned for Conversion {
    fn warn(&mut self, warning: String) {
        // A core that became its dump was written to.
        if self.done.in_place.is_none() {
            self.plan.warnings.push(warning);
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    run_with(args, &Interrupt::install()?)
}

/// The same, with signal handlers that are installed already.
pub(super) fn run_with(args: &ConvertArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.undo {
        return undo(args, interrupt);
    }
    if let Some(format) = args.to.export() {
        return export::run(args, format, interrupt);
    }
    if !args.json {
        let (output, conversion) = convert(args, interrupt, &mut None)?;
        return report(args, &output, &conversion);
    }
    let mut document = json::Convert::new(args.source());
    let result = convert(args, interrupt, &mut Some(&mut document)).map(|_| ());
    document.written = result.is_ok() && !args.dry_run;
    document.error = result.as_ref().err().map(Into::into);
    // The stream, if there is one, is the dump.
    let json = json::render(&document);
    if document.output.as_deref() == Some("-") {
        to_stderr(&json);
    } else {
        to_stdout(&json)?;
    }
    result
}

/// Does the work; `document` learns of it step by step.
fn convert(
    args: &ConvertArgs,
    interrupt: &Interrupt,
    document: &mut Option<&mut json::Convert>,
) -> Result<(Output, Conversion), Failure> {
    // Of a core that was consumed nothing is left to be found.
    consume::look(args)?;
    let files = sources::find(args.sources_and_output().0)?;
    let output = Output::of(args, &files)?;
    if let Some(document) = document {
        document.output = Some(output.name());
    }
    let leftovers = around::leftovers(args, &output);
    let watch = around::Watch::start(&files.paths);
    let read = read(args, files, &output, interrupt, document);
    let conversion = watch.end(read)?;
    if let Some(document) = document {
        document
            .warnings
            .extend_from_slice(&conversion.plan.warnings);
        document.warnings.extend(leftovers);
        let done = &conversion.done;
        let files = done.files.iter();
        document.files = files
            .map(|file| file.to_string_lossy().into_owned())
            .collect();
        document.in_place = done.in_place.as_ref().map(json::InPlace::new);
        document.checksums = done.sums.iter().cloned().collect();
    }
    Ok((output, conversion))
}

/// From the sources to the dump.
fn read(
    args: &ConvertArgs,
    files: Files,
    output: &Output,
    interrupt: &Interrupt,
    document: &mut Option<&mut json::Convert>,
) -> Result<Conversion, Failure> {
    let Identified { guest, found } = opened(args, files, output, interrupt)?;
    if let Some(document) = document {
        document.container = Some(json::Container::new(&guest));
        document.warnings.clone_from(&guest.container.warnings);
    }
    let found = found?;
    if let Some(document) = document {
        let contexts = windows::contexts(&guest, &found, args.context.into());
        document.windows = Some(json::Windows::new(&guest, &found, &contexts));
        document.warnings.clone_from(&found.warnings);
    }
    let options = PlanOptions {
        kind: args.kind.into(),
        keep: args.keep_user.clone(),
        strict: args.strict,
        contexts: args.context.into(),
        salvage: args.salvage,
    };
    let mut plan = dump::plan(&guest, &found, &options)?;
    if let Some(document) = document {
        document.header = Some(json::fields(&found, &plan));
        document.dump = Some(json::Dump::new(&plan));
    }
    let mut done = if args.in_place {
        in_place(args, output, &guest, &plan, interrupt)?
    } else if args.dry_run {
        Done::default()
    } else {
        execute(args, output, &guest, &plan, interrupt)?
    };
    plan.warnings.append(&mut done.warnings);
    Ok(Conversion {
        guest,
        found,
        plan,
        done,
    })
}

/// Opens the sources, and looks for Windows.
fn opened(
    args: &ConvertArgs,
    files: Files,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Identified, Failure> {
    let sources = files.open(&Unpack {
        folder: output.folder(args.dry_run),
        salvage: args.salvage,
        quiet: args.quiet,
        interrupt: interrupt.clone(),
    })?;
    consume::look_at(args, &sources)?;
    let options = OpenOptions {
        salvage: args.salvage,
        holes: args.hole.clone(),
    };
    let guest = sources.guest(&options)?;
    let search = |guest: &Guest| identify(guest, &args.header, HeaderSearch::default());
    Ok(sources::identified(&sources, &options, guest, &search))
}

/// Makes the dump of the core itself.
fn in_place(
    args: &ConvertArgs,
    output: &Output,
    guest: &Guest,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let in_place = consume::execute(args, output, guest, plan, interrupt)?;
    let files = match output {
        Output::File(path) if !args.dry_run => vec![path.clone()],
        _ => Vec::new(),
    };
    Ok(Done {
        files,
        in_place: Some(in_place),
        ..Done::default()
    })
}

/// Makes the core again.
fn undo(args: &ConvertArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let result = consume::undo(args, interrupt);
    if args.json {
        let mut document = json::Convert::new(args.source());
        document.error = result.as_ref().err().map(Into::into);
        document.undone = result.as_ref().ok().cloned();
        to_stdout(&json::render(&document))?;
    }
    let made_of = result?;
    if args.json || args.quiet {
        return Ok(());
    }
    to_stdout(&text::made_again(args.core(), &made_of))
}

/// Writes the dump.
fn execute(
    args: &ConvertArgs,
    output: &Output,
    guest: &Guest,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let mut done = Done::default();
    let memory = &guest.memory;
    let bar = Bar::new(plan.size, args.quiet, interrupt.clone());
    let result = match output {
        // Nothing to clean up: a signal ends it at once, even where the reader does not read.
        Output::Stream if args.hash => {
            let mut out = Hashed::new(io::stdout().lock());
            let written = write::to_stream(plan, memory, &mut out, &bar);
            let sums = out.sums();
            done.sums = vec![("sha256", sums.sha256), ("blake3", sums.blake3)];
            written
        }
        Output::Stream => write::to_stream(plan, memory, &mut io::stdout().lock(), &bar),
        Output::File(path) => {
            let options = WriteOptions {
                force: args.force,
                sync: !args.no_sync,
                sparse: args.sparse,
                verify: args.verify,
            };
            let _guard = interrupt.guard();
            match args.split {
                Some(bytes) => write::to_parts(plan, memory, path, bytes, options, &bar).map(
                    |(files, written)| {
                        done.files = files;
                        written
                    },
                ),
                None => {
                    done.files = vec![path.clone()];
                    write::to_file(plan, memory, path, options, &bar)
                }
            }
        }
    };
    bar.clear();
    let corrupt = result?.corrupt_pages;
    let corrupt = corrupt.iter();
    done.warnings = corrupt
        .map(|page| format!("the page at {} is zeros: {}", page.gpa, page.why))
        .collect();
    if let Output::File(path) = output
        && args.hash
    {
        let manifests = hash::write(path, &done.files)?;
        done.sums = vec![
            ("sha256", escape::path(&manifests.sha256)),
            ("blake3", escape::path(&manifests.blake3)),
        ];
    }
    Ok(done)
}

/// The report, on stdout unless the dump is there.
fn report(args: &ConvertArgs, output: &Output, conversion: &Conversion) -> Result<(), Failure> {
    let Conversion {
        guest,
        found,
        plan,
        done,
    } = conversion;
    if args.quiet {
        message::warnings(found.warnings.iter().chain(&plan.warnings));
        return Ok(());
    }
    let name = output.name();
    let written = text::Written {
        source: &args.source(),
        output: (*output != Output::Stream).then_some(&name),
        is_dry_run: args.dry_run,
        verbose: args.verbose,
        parts: args.split.map(|_| done.files.len()),
        sums: &done.sums,
        is_verified: args.verify && !args.dry_run && *output != Output::Stream,
    };
    let mut text = text::convert(written, guest, found, plan);
    if let Some(in_place) = &done.in_place {
        text::in_place(&mut text, args.core(), in_place);
    }
    if *output == Output::Stream {
        to_stderr(&text);
        return Ok(());
    }
    to_stdout(&text)
}
