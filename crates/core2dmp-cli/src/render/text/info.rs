//! What is in a file.

use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;

use super::{container, dump_file, header, sandbox, warnings, windows};
use crate::message::Failure;
use crate::outcome::{Described, Found};
use crate::render::not_understood;
use crate::request::Info;

/// A container without Windows in it.
fn container_alone(request: &Info, guest: &Guest) -> String {
    let mut out = String::new();
    container::container(&mut out, &request.source.given, guest);
    let mut table = super::Table::default();
    for run in guest.memory.runs().iter().take(24) {
        table.row(
            &run.frames.to_string(),
            super::count(run.frames.count, "frame"),
        );
    }
    let rest = guest.memory.runs().len().saturating_sub(24);
    if rest > 0 {
        table.row("", format!("and {rest} more"));
    }
    table.write(&mut out, "Memory");
    warnings(&mut out, &guest.container.warnings);
    end(out)
}

/// Reports a dump in whose memory no Windows was found, or that has no memory.
fn dump_alone(request: &Info, dump: &DumpFile, notes: &[String]) -> String {
    let mut out = String::new();
    dump_file::dump_file(
        &mut out,
        &request.source.given,
        dump,
        request.report.verbose,
    );
    warnings(&mut out, notes);
    end(out)
}

/// What was found, and how far it came.
pub(crate) fn described(request: &Info, described: &Described) -> String {
    let Described { guest, dump, found } = described;
    match (found, dump) {
        (Ok(found), _) => info(request, guest, dump.as_ref(), found),
        (Err(failure), Some(dump)) => dump_alone(request, dump, &notes(request, guest, failure)),
        (Err(_), None) => container_alone(request, guest),
    }
}

/// What is to be known of a dump whose memory is not understood.
fn notes(request: &Info, guest: &Guest, failure: &Failure) -> Vec<String> {
    let tried = failure.attempts().iter().filter(|_| request.report.verbose);
    let warnings = guest.container.warnings.iter().cloned();
    warnings
        .chain(tried.map(|attempt| format!("tried: {attempt}")))
        .chain(not_understood(guest, failure))
        .collect()
}

/// Prints everything.
fn info(request: &Info, guest: &Guest, dump: Option<&DumpFile>, found: &Found) -> String {
    let name = &request.source.given;
    let Found {
        windows: found,
        crash,
        plan,
    } = found;
    let mut out = String::new();
    match dump {
        Some(dump) => dump_file::dump_file(&mut out, name, dump, request.report.verbose),
        None => container::container(&mut out, name, guest),
    }
    windows::facts(&mut out, found, crash);
    header::rebuilt(&mut out, found);
    header::records(&mut out, found);
    header::found(&mut out, found);
    windows::memory(&mut out, guest, found, request.report.verbose);
    windows::processors(&mut out, found, &crash.contexts, request.report.verbose);
    windows::modules(&mut out, &found.modules, request.modules);
    windows::processes(&mut out, &found.processes, request.processes);
    if let Some(plan) = plan.as_ref().filter(|_| request.facts) {
        header::fields(&mut out, found, plan);
    }
    warnings(&mut out, &found.warnings);
    end(out)
}

/// The last line.
fn end(mut out: String) -> String {
    out.push('\n');
    sandbox(&mut out);
    out
}
