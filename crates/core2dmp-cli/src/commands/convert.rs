//! `core2dmp convert`: the guest's memory becomes a dump, or another program's file.
//!
//! ```text
//! open -> identify -> plan -> [dry run: stop] -> write, or change the core itself (in_place)  -> Converted
//!     \-> export ----------/
//! ```
//!
//! Each stage returns what it has made; what was made so far is the outcome, wherever it ends.

use std::io;

use core2dmp::container::Guest;
use core2dmp::dump;
use core2dmp::export;
use core2dmp::open::Opened;
use core2dmp::progress::Work;
use core2dmp::windows::HeaderSearch;
use core2dmp::write;

use super::changes::Watch;
use super::{in_place, leftovers, open_options};
use crate::escape;
use crate::hash::{self, Hashed};
use crate::interrupt::Interrupt;
use crate::message::{self, Failure};
use crate::outcome::{Converted, Made, Written};
use crate::progress::Bar;
use crate::request::{Convert, Output, Product};

/// Runs the command.
pub(crate) fn run(request: &Convert, interrupt: &Interrupt) -> Converted {
    let leftovers = leftovers::report(request);
    let watch = Watch::start(&request.source.files.paths);
    let mut outcome = Converted {
        leftovers,
        ..stages(request, interrupt)
    };
    let changed = watch.changed();
    match (&outcome.failure, &mut outcome.written) {
        // It may explain the error.
        (Some(_), _) => message::warnings(&changed),
        // A core that became its dump was written to.
        (None, Some(written)) if outcome.in_place.is_none() => written.warnings.extend(changed),
        _ => {}
    }
    outcome
}

/// From the sources to the file.
fn stages(request: &Convert, interrupt: &Interrupt) -> Converted {
    let bar = Bar::new(request.report.quiet, interrupt);
    match open(request, &bar) {
        Err(failure) => Converted::default().failed(failure),
        Ok(opened) => match &request.product {
            Product::Dump(_) => to_dump(request, opened, &bar, interrupt),
            Product::Export(format) => {
                let mut export = export::export(&opened.guest, *format);
                export.image.set_salvage(request.reading.salvage);
                let outcome = Converted {
                    made: Some(Made::Export(export)),
                    guest: Some(opened.guest),
                    ..Converted::default()
                };
                written(request, outcome, &bar, interrupt)
            }
        },
    }
}

fn open(request: &Convert, bar: &Bar) -> Result<Opened, Failure> {
    let mut reading = request.reading.clone();
    if matches!(request.product, Product::Export(_)) {
        reading.headers.clear();
    }
    let mut options = open_options(&reading, HeaderSearch::default())?;
    options.unpack_in = Some(request.unpack_in());
    Ok(request.source.files.clone().open(&options, bar)?)
}

fn to_dump(request: &Convert, mut opened: Opened, bar: &Bar, interrupt: &Interrupt) -> Converted {
    let found = opened.identify();
    let outcome = Converted {
        guest: Some(opened.guest),
        ..Converted::default()
    };
    let windows = match found {
        Ok(windows) => windows,
        Err(error) => return outcome.failed(error.into()),
    };
    let plan = match (&request.product, &outcome.guest) {
        (Product::Dump(options), Some(guest)) => {
            let crash = windows.crash_state(guest, request.contexts);
            dump::plan_with(guest, &windows, crash, options)
        }
        _ => return outcome,
    };
    let outcome = Converted {
        windows: Some(windows),
        ..outcome
    };
    match plan {
        Err(error) => outcome.failed(error.into()),
        Ok(plan) => {
            let made = Some(Made::Dump(Box::new(plan)));
            written(request, Converted { made, ..outcome }, bar, interrupt)
        }
    }
}

/// Writes what was planned; in a dry run nothing.
fn written(request: &Convert, outcome: Converted, bar: &Bar, interrupt: &Interrupt) -> Converted {
    let (Some(guest), Some(made)) = (&outcome.guest, &outcome.made) else {
        return outcome;
    };
    if let (Some(asks), Made::Dump(plan)) = (request.in_place, made) {
        return match in_place::execute(request, asks, guest, plan, bar, interrupt) {
            Ok((in_place, written)) => Converted {
                in_place: Some(in_place),
                written,
                ..outcome
            },
            Err(failure) => outcome.failed(failure),
        };
    }
    if request.dry_run {
        return outcome;
    }
    match execute(request, guest, made, bar, interrupt) {
        Ok(written) => Converted {
            written: Some(written),
            ..outcome
        },
        Err(failure) => outcome.failed(failure),
    }
}

/// Moves the bytes.
fn execute(
    request: &Convert,
    guest: &Guest,
    made: &Made,
    bar: &Bar,
    interrupt: &Interrupt,
) -> Result<Written, Failure> {
    let mut done = Written::default();
    let (image, memory) = (made.image(), &guest.memory);
    let written = bar.over(Work::Write, image.size(), |bar| match &request.output {
        // Nothing to clean up: a signal ends it at once, even where the reader does not read.
        Output::Stream if request.hash => {
            let mut out = Hashed::new(io::stdout().lock());
            let written = write::to_stream(image, memory, &mut out, bar);
            let sums = out.sums();
            done.sums = vec![("sha256", sums.sha256), ("blake3", sums.blake3)];
            written
        }
        Output::Stream => write::to_stream(image, memory, &mut io::stdout().lock(), bar),
        Output::File(path) => {
            let _guard = interrupt.guard();
            let options = request.write;
            match request.split {
                Some(bytes) => write::to_parts(image, memory, path, bytes, options, bar).map(
                    |(files, written)| {
                        done.files = files;
                        written
                    },
                ),
                None => {
                    done.files = vec![path.clone()];
                    write::to_file(image, memory, path, options, bar)
                }
            }
        }
    })?;
    let corrupt = written.corrupt_pages.iter();
    done.warnings = corrupt
        .map(|page| format!("the page at {} is zeros: {}", page.gpa, page.why))
        .collect();
    if let Output::File(path) = &request.output
        && request.hash
    {
        let manifests = hash::write(path, &done.files)?;
        done.sums = vec![
            ("sha256", escape::path(&manifests.sha256)),
            ("blake3", escape::path(&manifests.blake3)),
        ];
    }
    Ok(done)
}
