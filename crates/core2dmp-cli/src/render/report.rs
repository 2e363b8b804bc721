//! Where a finished outcome goes: text for people or JSON for programs, on stdout unless the file is there.

use super::{json, text};
use crate::args::Command;
use crate::message::{self, Failure, to_stderr, to_stdout};
use crate::outcome::{Checked, Comparison, Converted, Described, Made, Repaired, Verdict};
use crate::request::{Check, Convert, Diff, Info, Output, Repair, Undo};

/// Reports a command line that could not be resolved.
pub(crate) fn unresolved(command: &Command, failure: Failure) -> Result<Verdict, Failure> {
    let error = Some((&failure).into());
    let document = match command {
        Command::Convert(args) if args.json => {
            let mut document = json::Convert::new(args.source());
            document.error = error;
            json::render(&document)
        }
        Command::Info(args) if args.json => {
            let mut document = json::Info::new(args.source());
            document.error = error;
            json::render(&document)
        }
        Command::Check(args) if args.json => {
            let mut document = json::Check::new(args.file.to_string_lossy().into_owned());
            document.error = error;
            json::render(&document)
        }
        Command::Diff(args) if args.json => {
            let mut document = json::Diff::default();
            document.error = error;
            json::render(&document)
        }
        Command::Repair(args) if args.json => {
            let name = args.file.to_string_lossy().into_owned();
            let mut document = json::Repair::new(name, args.dry_run);
            document.error = error;
            json::render(&document)
        }
        _ => return Err(failure),
    };
    to_stdout(&document)?;
    Err(failure)
}

/// Reports what `convert` did.
pub(crate) fn convert(request: &Convert, outcome: Converted) -> Result<Verdict, Failure> {
    let is_stream = request.output == Output::Stream;
    let print = |text: &str| {
        if is_stream {
            to_stderr(text);
            return Ok(());
        }
        to_stdout(text)
    };
    if request.report.json {
        print(&json::render(&json::Convert::of(request, &outcome)))?;
        return outcome.failure.map_or(Ok(Verdict::Done), Err);
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    if request.report.quiet {
        message::warnings(outcome.warnings());
        return Ok(Verdict::Done);
    }
    print(&text::converted(request, &outcome))?;
    Ok(Verdict::Done)
}

/// Reports what `convert --undo` did.
pub(crate) fn undo(
    request: &Undo,
    made_of: Result<std::path::PathBuf, Failure>,
) -> Result<Verdict, Failure> {
    let made_of = made_of.map(|path| path.to_string_lossy().into_owned());
    if request.report.json {
        let mut document = json::Convert::new(request.given.clone());
        document.error = made_of.as_ref().err().map(Into::into);
        document.undone = made_of.as_ref().ok().cloned();
        to_stdout(&json::render(&document))?;
    }
    let made_of = made_of?;
    if !request.report.json && !request.report.quiet {
        to_stdout(&text::made_again(&request.core, &made_of))?;
    }
    Ok(Verdict::Done)
}

/// Reports what `info` found. If a core has no Windows, the container is still shown, and the error follows.
pub(crate) fn info(
    request: &Info,
    outcome: Result<Described, Failure>,
) -> Result<Verdict, Failure> {
    if request.report.json {
        let document = json::Info::of(request, &outcome);
        to_stdout(&json::render(&document))?;
    }
    let described = outcome?;
    if !request.report.json {
        to_stdout(&text::described(request, &described))?;
    }
    match described.found {
        // The memory behind a dump's header may not be understood, or there is none: that is a warning.
        Err(failure) if described.dump.is_none() => Err(failure),
        _ => Ok(Verdict::Done),
    }
}

/// Reports what `check` found.
pub(crate) fn check(
    request: &Check,
    outcome: Result<Checked, Failure>,
) -> Result<Verdict, Failure> {
    if request.report.json {
        let mut document = json::Check::new(request.dump.to_string_lossy().into_owned());
        match &outcome {
            Ok(checked) => document.fill(checked),
            Err(failure) => document.error = Some(failure.into()),
        }
        to_stdout(&json::render(&document))?;
        return outcome.map(|checked| checked.verdict());
    }
    let checked = outcome?;
    to_stdout(&text::check(request, &checked))?;
    Ok(checked.verdict())
}

/// Reports what `diff` found.
pub(crate) fn diff(
    request: &Diff,
    outcome: Result<Comparison, Failure>,
) -> Result<Verdict, Failure> {
    if request.report.json {
        let mut document = json::Diff::default();
        match &outcome {
            Ok(comparison) => document.fill(comparison, request.bytes),
            Err(failure) => document.error = Some(failure.into()),
        }
        to_stdout(&json::render(&document))?;
        return outcome.map(|comparison| comparison.verdict());
    }
    let comparison = outcome?;
    to_stdout(&if request.bytes {
        text::byte_listing(&comparison.bytes)
    } else {
        text::diff(&comparison)
    })?;
    Ok(comparison.verdict())
}

/// Reports what `repair` did.
pub(crate) fn repair(request: &Repair, outcome: Repaired) -> Result<Verdict, Failure> {
    if request.report.json {
        to_stdout(&json::render(&json::Repair::of(request, &outcome)))?;
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    if !request.report.json {
        to_stdout(&match (&outcome.planned, outcome.undone) {
            (_, Some(places)) => text::undone(&request.dump, places),
            (Some((dump, repair)), None) => text::repair(&text::Repaired {
                file: &request.dump,
                dump,
                repair,
                change: &outcome.change,
            }),
            (None, None) => String::new(),
        })?;
    }
    Ok(outcome.verdict())
}

impl Converted {
    /// What the user should know, in the order in which it came up.
    fn warnings(&self) -> impl Iterator<Item = &String> {
        let windows = self.windows.iter().flat_map(|windows| &windows.warnings);
        // Windows' have the container's in them.
        let guest = self.guest.iter().filter(|_| self.windows.is_none());
        let guest = guest.flat_map(|guest| &guest.container.warnings);
        let made = match &self.made {
            Some(Made::Dump(plan)) => &plan.warnings[..],
            Some(Made::Export(export)) => &export.warnings[..],
            None => &[],
        };
        let written = self.written.iter().flat_map(|written| &written.warnings);
        windows.chain(guest).chain(made).chain(written)
    }

    /// The same, and what earlier runs left.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        self.warnings().chain(&self.leftovers).cloned().collect()
    }
}
