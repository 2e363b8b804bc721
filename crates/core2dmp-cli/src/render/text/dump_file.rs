//! A dump as a file: every field of its header, and what follows it.

use core2dmp::address::PAGE_SIZE;
use core2dmp::container::dmp::{BitmapFacts, Body, DumpFile, RangesBody, SummaryBody, TriageBody};
use core2dmp::header::{FieldId, FieldKind, FieldValue, HeaderWidth, dump_type_name, machine_name};

use super::windows::exact_size;
use super::{Table, count, size};
use crate::registers;
use crate::render::notation;

/// Runs of the header that are shown.
const RUNS: usize = 16;

/// The file, its header and its body.
pub(super) fn dump_file(out: &mut String, file: &str, dump: &DumpFile, verbose: bool) {
    let mut table = Table::default();
    table.row("file", file);
    table.row("size", exact_size(dump.size));
    table.row("type", kind(dump));
    table.row("header", width(dump));
    table.row("machine", machine(dump));
    if let Some(comment) = dump.comment() {
        table.row("comment", comment);
    }
    body(&mut table, dump);
    if let Some(trailing) = dump.trailing() {
        let bytes = trailing.end.saturating_sub(trailing.start);
        let what = if dump.has_blobs() {
            "secondary data (DumpBlob)"
        } else {
            "appended"
        };
        let place = format!("{what}, from {:#x}", trailing.start);
        table.noted("behind it", count(bytes, "byte"), place);
    }
    if dump.is_encrypted() {
        table.row("encrypted", "its pages are");
    }
    table.write(out, "Dump");
    parts(out, dump);
    header(out, dump);
    runs(out, dump);
    context(out, dump, verbose);
}

fn kind(dump: &DumpFile) -> String {
    match dump.dump_type() {
        Some(kind) => {
            let name = u32::try_from(kind).ok().and_then(dump_type_name);
            format!("{kind} ({})", name.unwrap_or("unknown"))
        }
        None if dump.header_complete => "not set: taken for full".to_owned(),
        None => "missing: the file ends in the header".to_owned(),
    }
}

fn width(dump: &DumpFile) -> String {
    let bits = match dump.width {
        HeaderWidth::Bits32 => 32,
        HeaderWidth::Bits64 => 64,
    };
    let all = dump.width.bytes();
    if dump.header_complete {
        return format!("{bits} bit, {all:#x} bytes");
    }
    let here = dump.header.len();
    format!("{bits} bit, cut short: {here:#x} of {all:#x} bytes")
}

fn machine(dump: &DumpFile) -> String {
    let Some(machine) = dump.machine() else {
        return "not set".to_owned();
    };
    let name = u32::try_from(machine).ok().and_then(machine_name);
    format!("{} ({machine:#x})", name.unwrap_or("unknown"))
}

/// What follows the header.
fn body(table: &mut Table, dump: &DumpFile) {
    match &dump.body {
        Body::Full => {
            let runs = count(dump.runs().len() as u64, "run");
            let pages = count(dump.declared_pages(), "page");
            table.row("body", format!("{pages} in {runs}"));
        }
        Body::Summary(SummaryBody {
            tag,
            second_tag,
            bitmap,
            ..
        }) => bitmap_rows(table, *tag, *second_tag, bitmap),
        Body::Bitmap(body) => bitmap_rows(table, body.tag, body.second_tag, &body.bitmap),
        Body::Ranges(body) => range_rows(table, body),
        Body::Triage(body) => triage_rows(table, body),
        Body::HeaderOnly => table.row("body", "none: only a header"),
        Body::Unknown => table.row("body", "not what the type says"),
    }
    let held = dump.declared_pages();
    if let Some(total) = dump.number_of_pages().filter(|total| held < *total)
        && held > 0
        && !matches!(dump.body, Body::Full)
    {
        let left_out = count(total.saturating_sub(held), "page");
        let bytes = size(total.saturating_sub(held).saturating_mul(PAGE_SIZE));
        let of = format!("of {total} that Windows counts");
        table.noted("left out", format!("{left_out}, {bytes}"), of);
    }
    if dump.body_end() > dump.size {
        let missing = dump.body_end().saturating_sub(dump.size);
        let end = format!("it should end at {:#x}", dump.body_end());
        table.noted("cut short", exact_size(missing), end);
    }
    if !dump.body_agrees() && !matches!(dump.body, Body::HeaderOnly) {
        let guess = dump.guess_body();
        let as_type = guess
            .dump_type()
            .map_or_else(String::new, |kind| format!("type {kind}"));
        table.noted("looks like", guess.name(), as_type);
    }
}

fn bitmap_rows(table: &mut Table, tag: [u8; 4], second: [u8; 4], bitmap: &BitmapFacts) {
    let tags = format!("\"{}{}\"", tag.escape_ascii(), second.escape_ascii());
    table.noted("body", tags, format!("at {:#x}", bitmap.header));
    table.noted(
        "bitmap",
        format!("{} of {} bits set", bitmap.set_bits, bitmap.bits),
        format!("at {:#x}", bitmap.offset),
    );
    table.noted(
        "pages",
        format!(
            "{} declared, {} there",
            bitmap.declared_pages, bitmap.held_pages
        ),
        format!("from {:#x} to {:#x}", bitmap.first_page, bitmap.end),
    );
}

fn range_rows(table: &mut Table, body: &RangesBody) {
    table.noted("body", "\"RDMPDUMP\"", format!("at {:#x}", body.header));
    let metadata = format!("{:#x} bytes of metadata", body.metadata_bytes);
    table.noted("ranges", body.ranges.to_string(), metadata);
    table.noted(
        "pages",
        format!("{} named, {} there", body.pages, body.held_pages),
        format!("from {:#x} to {:#x}", body.first_page, body.end),
    );
}

fn triage_rows(table: &mut Table, body: &TriageBody) {
    let end = if body.finished {
        "finished"
    } else {
        "not finished, or cut"
    };
    table.noted("body", exact_size(body.size_of_dump), end);
    table.row("drivers", body.drivers.to_string());
    table.row("service pack", body.service_pack_build.to_string());
    table.row("options", format!("{:#x}", body.options));
    if let Some(top) = body.top_of_stack {
        table.row("top of stack", format!("{top:#x}"));
    }
    if let Some(blocks) = body.data_blocks {
        table.row("data blocks", blocks.to_string());
    }
}

/// The parts of a triage dump.
fn parts(out: &mut String, dump: &DumpFile) {
    let Body::Triage(body) = &dump.body else {
        return;
    };
    let mut table = Table::default();
    for part in &body.parts {
        let bytes = part
            .bytes
            .map_or_else(String::new, |bytes| count(bytes, "byte"));
        table.noted(&format!("{:#07x}", part.offset), part.name, bytes);
    }
    table.write(out, "Parts");
}

/// Every field, by offset.
fn header(out: &mut String, dump: &DumpFile) {
    let stop = dump.number(FieldId::BugCheckCode);
    let stop = stop.and_then(|code| u32::try_from(code).ok());
    let mut table = Table::default();
    for field in dump.width.fields() {
        let value = field.value(&dump.header);
        if value == FieldValue::Missing {
            table.row(&format!("{:#05x}", dump.header.len()), "the file ends here");
            break;
        }
        let shown = match (&value, field.kind) {
            // Its own table follows.
            (FieldValue::Bytes(_), FieldKind::Bytes) if field.id == FieldId::Runs => {
                count(dump.declared_runs().len() as u64, "run")
            }
            _ => notation::value(field.kind, &value),
        };
        let meaning = notation::explain(field, &value, stop).unwrap_or_default();
        let offset = format!("{:#05x}", field.offset);
        table.noted(
            &offset,
            field.name,
            format!("{shown:<23}  {meaning}").trim_end(),
        );
    }
    table.write(out, "Header");
}

/// The slots of the table of runs that are counted.
fn runs(out: &mut String, dump: &DumpFile) {
    let runs = dump.declared_runs();
    let mut table = Table::default();
    for run in runs.iter().take(RUNS) {
        let offset = format!("{:#05x}", run.offset);
        if run.set {
            let last = run.first.saturating_add(run.count).saturating_sub(1);
            let frames = format!("frames {:#x} to {last:#x}", run.first);
            table.noted(&offset, frames, count(run.count, "frame"));
        } else {
            table.row(&offset, "not set");
        }
    }
    let rest = runs.len().saturating_sub(RUNS);
    if rest > 0 {
        table.row("", format!("and {rest} more"));
    }
    table.write(out, "Runs in the header");
}

/// The registers in the header's context.
fn context(out: &mut String, dump: &DumpFile, verbose: bool) {
    let registers = registers::of_header(dump);
    let mut table = Table::default();
    if verbose {
        super::windows::register_rows(&mut table, &registers);
    } else {
        let first = ["rip", "rsp", "pc", "sp"];
        for (name, value) in registers.iter().filter(|(name, _)| first.contains(name)) {
            table.row(name, format!("{value:#x}"));
        }
    }
    table.write(out, "Context in the header");
}
