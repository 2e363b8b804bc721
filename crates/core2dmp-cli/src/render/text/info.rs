//! What is in a file.

use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::Plan;
use core2dmp::windows::{ProcessorContext, Windows};

use super::{container, dump_file, header, sandbox, warnings, windows};
use crate::args::InfoArgs;

/// A container without Windows in it.
pub(crate) fn container_alone(args: &InfoArgs, guest: &Guest) -> String {
    let mut out = String::new();
    container::container(&mut out, &args.source(), guest);
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

/// A dump whose memory says nothing, or that has none.
pub(crate) fn dump_alone(args: &InfoArgs, dump: &DumpFile, notes: &[String]) -> String {
    let mut out = String::new();
    dump_file::dump_file(&mut out, &args.source(), dump, args.verbose);
    warnings(&mut out, notes);
    end(out)
}

/// A file that was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    /// What was asked.
    pub(crate) args: &'a InfoArgs,
    /// Its memory.
    pub(crate) guest: &'a Guest,
    /// Its header and body, if it is a dump.
    pub(crate) dump: Option<&'a DumpFile>,
}

/// Everything.
pub(crate) fn info(
    file: File<'_>,
    found: &Windows,
    contexts: &[ProcessorContext],
    plan: Option<&Plan>,
) -> String {
    let File { args, guest, dump } = file;
    let name = args.source();
    let mut out = String::new();
    match dump {
        Some(dump) => dump_file::dump_file(&mut out, &name, dump, args.verbose),
        None => container::container(&mut out, &name, guest),
    }
    windows::facts(&mut out, guest, found, contexts);
    header::rebuilt(&mut out, found);
    header::found(&mut out, found);
    windows::memory(&mut out, guest, found, args.verbose);
    windows::processors(&mut out, found, contexts, args.verbose);
    windows::modules(&mut out, &found.modules, args.modules);
    windows::processes(&mut out, &found.processes, args.processes);
    if let Some(plan) = plan {
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
