//! Memory that was written for other programs.

use core2dmp::container::Guest;
use core2dmp::export::Export;

use super::convert::{VERIFIED, Written};
use super::{Table, container, count, warnings, windows};

/// The report.
pub(super) fn export(written: Written<'_>, guest: &Guest, export: &Export) -> String {
    let mut out = String::new();
    container::container(&mut out, written.source, guest);
    let mut table = Table::default();
    table.row("file", written.output.unwrap_or("standard output"));
    table.row("format", export.format.title());
    table.row("size", windows::exact_size(export.image.size()));
    table.row("memory", count(export.runs.len() as u64, "run"));
    table.row("registers", count(export.vcpus as u64, "vCPU"));
    if written.is_dry_run || written.verbose {
        table.row("segments", export.image.segments().len().to_string());
    }
    if written.is_verified {
        table.row("verified", VERIFIED);
    }
    let heading = if written.is_dry_run {
        "Would write"
    } else {
        "Wrote"
    };
    table.write(&mut out, heading);
    warnings(
        &mut out,
        guest
            .container
            .warnings
            .iter()
            .chain(&export.warnings)
            .chain(written.warnings),
    );
    out
}
