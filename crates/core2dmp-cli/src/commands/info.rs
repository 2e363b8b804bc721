//! `core2dmp info`: what is in a file: a core, a dump, or a dump's header.
//!
//! Where no Windows is found in a core the container is shown all the same, and the error follows. Of a dump the
//! header is shown first; that the memory behind it is not understood, or that there is none, is a warning.

use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{Guest, OpenOptions};
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::windows::{self, HeaderSearch, Windows};

use super::identify;
use crate::args::InfoArgs;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stdout};
use crate::render::{json, text};
use crate::sources::{self, Identified, Unpack};

/// A file that was opened; a dump's memory is a guest like any other.
struct Opened {
    dump: Option<DumpFile>,
    guest: Guest,
    found: Result<Windows, Failure>,
}

/// Runs the command.
pub(crate) fn run(args: &InfoArgs) -> Result<(), Failure> {
    if args.json {
        return run_json(args);
    }
    let Opened { dump, guest, found } = opened(args)?;
    let mut found = match (found, &dump) {
        (Ok(found), _) => found,
        (Err(failure), Some(dump)) => return to_stdout(&dump_alone(args, dump, &guest, &failure)),
        (Err(failure), None) => {
            to_stdout(&text::container_alone(args, &guest))?;
            return Err(failure);
        }
    };
    let contexts = windows::contexts(&guest, &found, args.context.into());
    let plan = args.facts.then(|| plan(args, &guest, &mut found)).flatten();
    let file = text::File {
        args,
        guest: &guest,
        dump: dump.as_ref(),
    };
    to_stdout(&text::info(file, &found, &contexts, plan.as_ref()))
}

fn opened(args: &InfoArgs) -> Result<Opened, Failure> {
    let unpack = Unpack::temporary(args.salvage, args.json, Interrupt::install()?);
    let sources = sources::find(&args.files)?.open(&unpack)?;
    let options = OpenOptions {
        salvage: args.salvage,
        holes: args.hole.clone(),
    };
    let dump = sources.dump()?;
    let guest = match &dump {
        Some(dump) => dump.guest(),
        None => sources.guest(&options)?,
    };
    let search = |guest: &Guest| look(args, guest);
    let Identified { guest, found } = sources::identified(&sources, &options, guest, &search);
    Ok(Opened { dump, guest, found })
}

fn look(args: &InfoArgs, guest: &Guest) -> Result<Windows, Failure> {
    // Who asks for every source of every field gets every source.
    let search = if args.facts {
        HeaderSearch::All
    } else {
        HeaderSearch::default()
    };
    identify(guest, &args.header, search)
}

/// A dump whose memory says nothing.
fn dump_alone(args: &InfoArgs, dump: &DumpFile, guest: &Guest, failure: &Failure) -> String {
    let mut warnings = guest.container.warnings.clone();
    let tried = failure.attempts().iter().filter(|_| args.verbose);
    warnings.extend(tried.map(|attempt| format!("tried: {attempt}")));
    if guest.memory.frame_count() > 0 {
        warnings.push(not_understood(failure));
    }
    text::dump_alone(args, dump, &warnings)
}

fn not_understood(failure: &Failure) -> String {
    format!(
        "the memory behind the header says nothing: {}",
        failure.message()
    )
}

/// The dump that would be written, for its header; if there can be none that is a warning.
fn plan(args: &InfoArgs, guest: &Guest, found: &mut Windows) -> Option<Plan> {
    let options = PlanOptions {
        contexts: args.context.into(),
        ..PlanOptions::default()
    };
    match dump::plan(guest, found, &options) {
        Ok(plan) => Some(plan),
        Err(error) => {
            found
                .warnings
                .push(format!("there is no header for a dump of it: {error}"));
            None
        }
    }
}

fn run_json(args: &InfoArgs) -> Result<(), Failure> {
    let mut document = json::Info::new(args.source());
    let result = fill(args, &mut document);
    document.error = result.as_ref().err().map(Into::into);
    to_stdout(&json::render(&document))?;
    result
}

fn fill(args: &InfoArgs, document: &mut json::Info) -> Result<(), Failure> {
    let Opened { dump, guest, found } = opened(args)?;
    document.container = Some(json::Container::new(&guest));
    document.dump_file = dump.as_ref().map(json::DumpFile::new);
    document.warnings.clone_from(&guest.container.warnings);
    let mut found = match found {
        Ok(found) => found,
        Err(failure) if dump.is_some() => {
            if guest.memory.frame_count() > 0 {
                document.warnings.push(not_understood(&failure));
            }
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    let contexts = windows::contexts(&guest, &found, args.context.into());
    document.windows = Some(json::Windows::new(&guest, &found, &contexts));
    let plan = plan(args, &guest, &mut found);
    document.header = plan.map(|plan| json::fields(&found, &plan));
    document.warnings = found.warnings;
    Ok(())
}
