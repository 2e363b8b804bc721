//! Headers: every field of the one that is written, and those that were found.

use core2dmp::audit::field_facts;
use core2dmp::dump::Plan;
use core2dmp::windows::{GuestRecord, RecordState, Windows};

use super::Table;
use crate::render::notation::value;
use crate::time;

/// Headers that were made inside the guest, and whether they are accepted.
pub(super) fn found(out: &mut String, windows: &Windows) {
    let mut table = Table::default();
    for header in &windows.headers {
        if header.is_confirmed() {
            table.noted(
                &header.origin.to_string(),
                "of this boot",
                "memory confirms it",
            );
            continue;
        }
        table.noted(&header.origin.to_string(), "stale", "");
        for why in &header.contradictions {
            table.row("", why);
        }
    }
    table.write(out, "Headers left in the guest");
}

/// Every field of the header, its source, and what other sources say.
pub(super) fn fields(out: &mut String, windows: &Windows, plan: &Plan) {
    let mut table = Table::default();
    for fact in field_facts(windows, plan) {
        let kind = fact.field.kind;
        table.noted(fact.field.name, value(kind, &fact.value), &fact.source);
        for rejected in &fact.rejected {
            table.noted(
                "",
                format!("not {}", value(kind, &rejected.value)),
                format!("{}: {}", rejected.source, rejected.why),
            );
        }
    }
    table.write(out, "Header of the dump");
}

/// The fields of a debugger data block that the guest does not have.
pub(super) fn rebuilt(out: &mut String, windows: &Windows) {
    let block = &windows.kdbg.value;
    let mut table = Table::default();
    for field in &block.rebuilt {
        table.noted(field.name, format!("{:#x}", field.value), &field.source);
    }
    table.write(
        out,
        &format!("Debugger data block, rebuilt at {}", block.gva),
    );
}

/// What a driver in the guest left for the host.
pub(super) fn records(out: &mut String, windows: &Windows) {
    let mut table = Table::default();
    for record in &windows.records {
        let verdict = if record.is_confirmed() {
            "of this boot"
        } else {
            "of another boot, not used"
        };
        table.noted("record", record.gpa.to_string(), verdict);
        for why in &record.contradictions {
            table.row("", why);
        }
        table.row("state", state(record.state));
        table.noted(
            "generation",
            format!("{:#x}", record.generation),
            writer(record),
        );
        let time =
            |units| time::utc(units).unwrap_or_else(|| format!("{units:#x}, which is no date"));
        table.row("driver started", time(record.start.0));
        let after = format!("{} after boot", time::duration(record.written.1));
        table.noted("written", time(record.written.0), after);
        if let Some((code, parameters)) = record.stop {
            let [a, b, c, d] = parameters;
            table.row(
                "stop code",
                format!("{code:#x} ({a:#x}, {b:#x}, {c:#x}, {d:#x})"),
            );
        }
        if record.status != 0 {
            let what = "status of the last header that Windows made";
            table.noted("", format!("{:#010x}", record.status), what);
        }
        for header in &record.headers {
            let name = if header.refreshed {
                "bug check header"
            } else {
                "boot header"
            };
            table.row(name, header.gpa.to_string());
        }
        if let Some(block) = &record.block {
            let place = block
                .gva
                .map_or("an unknown place".to_owned(), |gva| gva.to_string());
            let what = format!("{:#x} bytes, of Windows' own at {place}", block.bytes.len());
            table.row("debugger block", what);
        }
        for refused in &record.refused {
            table.noted("refused", refused, "");
        }
    }
    table.write(out, "Guest record");
}

fn writer(record: &GuestRecord) -> String {
    let text = record
        .writer
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    format!("written by \"{}\"", text.escape_ascii())
}

fn state(state: RecordState) -> &'static str {
    match state {
        RecordState::Boot => "the system ran",
        RecordState::Refreshing => "a bug check had begun, its header was being made",
        RecordState::Refreshed => "the header of the bug check is whole",
        RecordState::Failed => "the header of the bug check could not be made",
        _ => "unknown",
    }
}
