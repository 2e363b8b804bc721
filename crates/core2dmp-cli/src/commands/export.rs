//! `core2dmp convert --to raw|elf|lime`: the same memory for other programs.
//!
//! ```text
//! open -> [raw: identify, for its hole] -> export -> [dry run: stop] -> write -> report
//! ```
//!
//! The guest need not be Windows: nothing of it is looked at, but for the hole that a raw file may leave out.

use std::io;

use core2dmp::container::{Guest, OpenOptions};
use core2dmp::export::{self, Export, ExportFormat};
use core2dmp::windows::HeaderSearch;
use core2dmp::write::{self, WriteOptions};

use super::output::Output;
use super::{around, identify};
use crate::args::{ConvertArgs, Kind};
use crate::interrupt::Interrupt;
use crate::message::{self, Failure, to_stderr, to_stdout};
use crate::progress::Bar;
use crate::render::{json, text};
use crate::sources::{self, Sources, Unpack};

/// What was opened and planned.
struct Exported {
    guest: Guest,
    export: Export,
}

/// Runs the command.
pub(super) fn run(
    args: &ConvertArgs,
    format: ExportFormat,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let is_for_dumps = args.kind != Kind::Auto || !args.keep_user.is_empty();
    if is_for_dumps || args.split.is_some() || args.hash {
        return Err(Failure::Refused {
            message: "--type, --keep-user, --split and --hash are for dumps; --to writes all memory, in one file"
                .to_owned(),
            hint: "leave them out, or leave --to out",
        });
    }
    if !args.json {
        let (output, exported) = export(args, format, interrupt, &mut None)?;
        return report(args, &output, &exported);
    }
    let mut document = json::Convert::new(args.source());
    let result = export(args, format, interrupt, &mut Some(&mut document)).map(|_| ());
    document.written = result.is_ok() && !args.dry_run;
    document.error = result.as_ref().err().map(Into::into);
    let json = json::render(&document);
    if document.output.as_deref() == Some("-") {
        to_stderr(&json);
    } else {
        to_stdout(&json)?;
    }
    result
}

fn export(
    args: &ConvertArgs,
    format: ExportFormat,
    interrupt: &Interrupt,
    document: &mut Option<&mut json::Convert>,
) -> Result<(Output, Exported), Failure> {
    let files = sources::find(args.sources_and_output().0)?;
    let output = Output::of(args, &files)?;
    if let Some(document) = document {
        document.output = Some(output.name());
    }
    let leftovers = around::leftovers(args, &output);
    let watch = around::Watch::start(&files.paths);
    let unpack = Unpack {
        folder: output.folder(args.dry_run),
        salvage: args.salvage,
        quiet: args.quiet,
        interrupt: interrupt.clone(),
    };
    let opened = files.open(&unpack).and_then(|sources| open(args, &sources));
    let guest = watch.explain(opened)?;
    if let Some(document) = document {
        document.container = Some(json::Container::new(&guest));
        document.warnings.clone_from(&guest.container.warnings);
    }
    let mut export = export::export(&guest, format);
    if let Some(document) = document {
        document.export = Some(json::Export::new(&export));
    }
    if !args.dry_run {
        let executed = execute(args, &output, &guest, &export, interrupt);
        export.warnings.extend(watch.end(executed)?);
        if let (Some(document), Output::File(path)) = (&mut *document, &output) {
            document.files = vec![path.to_string_lossy().into_owned()];
        }
    }
    if let Some(document) = document {
        document.warnings.extend_from_slice(&export.warnings);
        document.warnings.extend(leftovers);
    }
    Ok((output, Exported { guest, export }))
}

/// The guest; of raw memory with the hole that Windows in it speaks of, if there is Windows in it.
fn open(args: &ConvertArgs, sources: &Sources) -> Result<Guest, Failure> {
    let options = OpenOptions {
        salvage: args.salvage,
        holes: args.hole.clone(),
    };
    if let Some(dump) = sources.dump()? {
        return Ok(dump.guest());
    }
    let guest = sources.guest(&options)?;
    if guest.container.format != "raw" {
        return Ok(guest);
    }
    let search = |guest: &Guest| identify(guest, &[], HeaderSearch::default());
    Ok(sources::identified(sources, &options, guest, &search).guest)
}

/// Writes the file; what could not be written as it was.
fn execute(
    args: &ConvertArgs,
    output: &Output,
    guest: &Guest,
    export: &Export,
    interrupt: &Interrupt,
) -> Result<Vec<String>, Failure> {
    let (memory, salvage) = (&guest.memory, args.salvage);
    let bar = Bar::new(export.size, args.quiet, interrupt.clone());
    let result = match output {
        Output::Stream => {
            let mut out = io::stdout().lock();
            write::export_to_stream(export, memory, &mut out, salvage, &bar)
        }
        Output::File(path) => {
            let options = WriteOptions {
                force: args.force,
                sync: !args.no_sync,
                sparse: args.sparse,
                verify: args.verify,
            };
            let _guard = interrupt.guard();
            write::export_to_file(export, memory, path, salvage, options, &bar)
        }
    };
    bar.clear();
    let corrupt = result?.corrupt_pages;
    Ok(corrupt
        .iter()
        .map(|page| format!("the page at {} is zeros: {}", page.gpa, page.why))
        .collect())
}

fn report(args: &ConvertArgs, output: &Output, exported: &Exported) -> Result<(), Failure> {
    let Exported { guest, export } = exported;
    if args.quiet {
        message::warnings(guest.container.warnings.iter().chain(&export.warnings));
        return Ok(());
    }
    let name = output.name();
    let written = text::Written {
        source: &args.source(),
        output: (*output != Output::Stream).then_some(&name),
        parts: None,
        sums: &[],
        is_verified: args.verify && !args.dry_run && *output != Output::Stream,
        is_dry_run: args.dry_run,
        verbose: args.verbose,
    };
    let text = text::export(written, guest, export);
    if *output == Output::Stream {
        to_stderr(&text);
        return Ok(());
    }
    to_stdout(&text)
}
