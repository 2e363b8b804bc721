//! What was converted into what.

use core2dmp::address::PAGE_SIZE;
use core2dmp::container::Guest;
use core2dmp::dump::Plan;
use core2dmp::header::dump_type_name;
use core2dmp::windows::Windows;

use super::{
    Table, container, count, crash, export, header, in_place, sandbox, size, warnings, windows,
};
use crate::escape::printable;
use crate::outcome::{Converted, Made};
use crate::render::Bytes;
use crate::request::{Convert, Output};

/// Ranges of missing frames that are shown.
const RANGES: usize = 8;

/// What `--verify` has found, or there would be no file.
pub(super) const VERIFIED: &str = "every page, read again, is the source's";

/// What became of the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The source's name.
    pub(super) source: &'a str,
    /// The output's name; `None` if it is a stream.
    pub(super) output: Option<&'a str>,
    /// Nothing was written.
    pub(super) is_dry_run: bool,
    /// Everything that was found, too.
    pub(super) verbose: bool,
    /// How many parts the dump was written in.
    pub(super) parts: Option<usize>,
    /// Checksums, or where they are.
    pub(super) sums: &'a [(&'static str, String)],
    /// Whether it was read again.
    pub(super) is_verified: bool,
    /// What came up while it was written.
    pub(super) warnings: &'a [String],
}

/// The report.
pub(crate) fn converted(request: &Convert, outcome: &Converted) -> String {
    let name = request.output.name();
    let is_file = request.output != Output::Stream;
    let done = outcome.written.as_ref();
    let warnings: &[String] = done.map_or(&[], |done| &done.warnings);
    let written = Written {
        source: &request.source.given,
        output: is_file.then_some(&name),
        is_dry_run: request.dry_run,
        verbose: request.report.verbose,
        parts: request
            .split
            .map(|_| done.map_or(0, |done| done.files.len())),
        sums: done.map_or(&[], |done| &done.sums),
        is_verified: request.write.verify && !request.dry_run && is_file,
        warnings,
    };
    match (&outcome.guest, &outcome.windows, &outcome.made) {
        (Some(guest), Some(found), Some(Made::Dump(plan))) => {
            let mut text = convert(written, guest, found, plan);
            if let Some(in_place) = &outcome.in_place {
                in_place::in_place(&mut text, request.source.first(), in_place);
            }
            text
        }
        (Some(guest), _, Some(Made::Export(made))) => export::export(written, guest, made),
        _ => String::new(),
    }
}

/// A dump.
fn convert(written: Written<'_>, guest: &Guest, found: &Windows, plan: &Plan) -> String {
    let mut out = String::new();
    if written.verbose {
        container::container(&mut out, written.source, guest);
        windows::facts(&mut out, found, &plan.crash);
        windows::memory(&mut out, guest, found, true);
        windows::processors(&mut out, found, &plan.crash.contexts, true);
    } else {
        source(&mut out, written, guest, found);
    }
    header::found(&mut out, found);
    header::rebuilt(&mut out, found);
    if written.verbose {
        header::fields(&mut out, found, plan);
    }
    dump(&mut out, written, plan);
    changes(&mut out, written, plan);
    warnings(
        &mut out,
        found
            .warnings
            .iter()
            .chain(&plan.warnings)
            .chain(written.warnings),
    );
    let whole = !written.is_dry_run && written.parts.is_none();
    out.push('\n');
    if let Some(output) = written.output.filter(|_| whole) {
        out.push_str(&format!("open it: windbg -z {}\n", printable(output)));
    }
    sandbox(&mut out);
    out
}

/// In short what was found; `--verbose` and `info` say more.
fn source(out: &mut String, written: Written<'_>, guest: &Guest, found: &Windows) {
    let info = &guest.container;
    let mut table = Table::default();
    table.row("file", written.source);
    for (name, value) in &info.details {
        if matches!(*name, "with" | "unpacked") {
            table.row(name, value);
        }
    }
    table.row("format", format!("{}, {}", info.title, size(info.size)));
    if let Some(salvaged) = &info.salvaged {
        table.row("salvaged", salvaged);
    }
    table.row("guest", windows::title(found));
    table.row("state", crash::state(&found.bugcheck.value));
    table.write(out, "Found");
}

fn dump(out: &mut String, written: Written<'_>, plan: &Plan) {
    let mut table = Table::default();
    table.row("file", written.output.unwrap_or("standard output"));
    if let Some(parts) = written.parts.filter(|_| !written.is_dry_run) {
        table.row(
            "parts",
            format!("{parts}, numbered from .001; `cat` puts them together"),
        );
    }
    table.row("size", windows::exact_size(plan.image.size()));
    let name = dump_type_name(plan.dump_type).unwrap_or("unknown");
    table.row("type", format!("{name}, {}", plan.dump_type));
    let runs = count(plan.runs.len() as u64, "run");
    if plan.writes_missing() {
        table.row("memory", runs);
    } else {
        let frames = count(plan.frames, "frame");
        table.row("memory", format!("{frames}, in {runs} that Windows counts"));
    }
    if plan.left_out > 0 {
        let frames = count(plan.left_out, "frame");
        let bytes = size(plan.left_out.saturating_mul(PAGE_SIZE));
        table.row("left out", format!("{frames}, {bytes}"));
    }
    missing(&mut table, plan);
    if written.is_dry_run || written.verbose {
        let bytes = Bytes::of(plan);
        table.row("copied", windows::exact_size(bytes.copied));
        table.row("changed", windows::exact_size(bytes.patched));
        table.row("zeros", windows::exact_size(bytes.zeros));
        table.row("segments", plan.image.segments().len().to_string());
    }
    for context in &plan.crash.contexts {
        let key = format!("processor {}", context.number);
        table.row(&key, windows::chosen(context));
        table.row("", format!("rip {}  rsp {}", context.rip, context.rsp));
    }
    if written.is_verified {
        table.row("verified", VERIFIED);
    }
    for (name, sum) in written.sums {
        table.row(name, sum);
    }
    let heading = if written.is_dry_run {
        "Would write"
    } else {
        "Wrote"
    };
    table.write(out, heading);
}

/// Frames that the container lacks.
fn missing(table: &mut Table, plan: &Plan) {
    if plan.missing.frames == 0 {
        table.row("missing", "none");
        return;
    }
    let lacks = if plan.writes_missing() {
        "that the container lacks, zeros in the dump"
    } else {
        "that the container lacks, absent from the dump"
    };
    table.row(
        "missing",
        format!("{} {lacks}", count(plan.missing.frames, "frame")),
    );
    for range in plan.missing.ranges.iter().take(RANGES) {
        table.noted("", range.to_string(), count(range.count, "frame"));
    }
    if plan.missing.ranges.len() > RANGES {
        table.row("", "and more");
    }
}

/// Where the dump differs from the guest's memory.
fn changes(out: &mut String, written: Written<'_>, plan: &Plan) {
    let mut table = Table::default();
    for patch in &plan.patches {
        table.noted(
            &patch.what,
            patch.gva.to_string(),
            count(patch.bytes, "byte"),
        );
    }
    let heading = if written.is_dry_run {
        "Would change, only in the dump"
    } else {
        "Changed, only in the dump"
    };
    table.write(out, heading);
}
