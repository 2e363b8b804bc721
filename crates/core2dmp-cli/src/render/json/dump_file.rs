//! A dump as a file: every field of its header, and what follows it.

use std::collections::BTreeMap;

use serde::Serialize;

use core2dmp::container::dmp::{self, BitmapFacts, Body, TriageBody};
use core2dmp::header::{Field, FieldId, HeaderWidth, dump_type_name, machine_name};

use super::header::{kind, value};
use super::{Run, hex};
use crate::registers;
use crate::render::notation;

/// A dump.
#[derive(Debug, Serialize)]
pub(crate) struct DumpFile {
    bits: u32,
    header_complete: bool,
    dump_type: Option<u64>,
    dump_type_name: Option<&'static str>,
    machine: Option<String>,
    machine_name: Option<&'static str>,
    comment: Option<String>,
    encrypted: bool,
    fields: Vec<Held>,
    declared_runs: Vec<Run>,
    context: BTreeMap<&'static str, String>,
    body: Behind,
    problems: Vec<Problem>,
}

/// A field of the header.
#[derive(Debug, Serialize)]
struct Held {
    name: &'static str,
    offset: String,
    bytes: usize,
    kind: &'static str,
    value: Option<String>,
    shown: String,
    meaning: Option<String>,
}

/// What follows the header.
#[derive(Debug, Serialize)]
struct Behind {
    kind: &'static str,
    looks_like: &'static str,
    agrees: bool,
    pages: u64,
    held_pages: u64,
    end: String,
    cut_bytes: u64,
    trailing_bytes: u64,
    secondary_data: bool,
    bitmap: Option<Bitmap>,
    ranges: Option<Ranges>,
    triage: Option<Triage>,
}

#[derive(Debug, Serialize)]
struct Bitmap {
    offset: String,
    first_page: String,
    bits: u64,
    set_bits: u64,
    declared_pages: u64,
}

#[derive(Debug, Serialize)]
struct Ranges {
    metadata_bytes: u64,
    first_page: String,
    declared_ranges: u32,
    declared_pages: u64,
    ranges: u64,
}

#[derive(Debug, Serialize)]
struct Triage {
    offset: String,
    finished: bool,
    drivers: u32,
    options: String,
    service_pack_build: u32,
    top_of_stack: Option<String>,
    data_blocks: Option<u32>,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Part {
    name: &'static str,
    offset: String,
    bytes: Option<u64>,
}

/// Something that the format does not allow.
#[derive(Debug, Serialize)]
struct Problem {
    what: &'static str,
    place: String,
    expected: String,
    found: String,
}

impl DumpFile {
    pub(crate) fn new(dump: &dmp::DumpFile) -> Self {
        let number = |id| dump.number(id).and_then(|n| u32::try_from(n).ok());
        Self {
            bits: match dump.width {
                HeaderWidth::Bits32 => 32,
                HeaderWidth::Bits64 => 64,
            },
            header_complete: dump.header_complete,
            dump_type: dump.dump_type(),
            dump_type_name: number(FieldId::DumpType).and_then(dump_type_name),
            machine: dump.machine().map(hex),
            machine_name: number(FieldId::MachineImageType).and_then(machine_name),
            comment: dump.comment(),
            encrypted: dump.is_encrypted(),
            fields: fields(dump, number(FieldId::BugCheckCode)),
            declared_runs: declared_runs(dump),
            context: registers::of_header(dump)
                .into_iter()
                .map(|(name, value)| (name, hex(value)))
                .collect(),
            body: Behind::new(dump),
            problems: dump.problems().iter().map(problem).collect(),
        }
    }
}

fn fields(dump: &dmp::DumpFile, stop: Option<u32>) -> Vec<Held> {
    let held = |field: &Field| {
        let held = field.value(&dump.header);
        Held {
            name: field.name,
            offset: hex(field.offset as u64),
            bytes: field.bytes,
            kind: kind(&held),
            value: value(&held),
            shown: notation::value(field.kind, &held),
            meaning: notation::explain(field, &held, stop),
        }
    };
    dump.width.fields().iter().map(held).collect()
}

fn declared_runs(dump: &dmp::DumpFile) -> Vec<Run> {
    let runs = dump.declared_runs().into_iter();
    runs.filter(|run| run.set)
        .map(|run| Run {
            first: hex(run.first),
            frames: run.count,
        })
        .collect()
}

impl Behind {
    fn new(dump: &dmp::DumpFile) -> Self {
        let trailing = dump.trailing();
        Self {
            kind: match dump.body {
                Body::Full => "full",
                Body::Summary(_) => "summary",
                Body::Triage(_) => "triage",
                Body::Bitmap(_) => "bitmap",
                Body::Ranges(_) => "ranges",
                Body::HeaderOnly => "none",
                Body::Unknown => "unknown",
            },
            looks_like: dump.guess_body().name(),
            agrees: dump.body_agrees(),
            pages: dump.declared_pages(),
            held_pages: dump.memory().frame_count(),
            end: hex(dump.body_end()),
            cut_bytes: dump.body_end().saturating_sub(dump.size),
            trailing_bytes: trailing.map_or(0, |range| range.end.saturating_sub(range.start)),
            secondary_data: dump.has_blobs(),
            bitmap: dump.bitmap().map(bitmap),
            ranges: match &dump.body {
                Body::Ranges(body) => Some(Ranges {
                    metadata_bytes: body.metadata_bytes,
                    first_page: hex(body.first_page),
                    declared_ranges: body.declared_ranges,
                    declared_pages: body.declared_pages,
                    ranges: body.ranges,
                }),
                _ => None,
            },
            triage: match &dump.body {
                Body::Triage(body) => Some(triage(body)),
                _ => None,
            },
        }
    }
}

fn bitmap(bitmap: &BitmapFacts) -> Bitmap {
    Bitmap {
        offset: hex(bitmap.offset),
        first_page: hex(bitmap.first_page),
        bits: bitmap.bits,
        set_bits: bitmap.set_bits,
        declared_pages: bitmap.declared_pages,
    }
}

fn triage(body: &TriageBody) -> Triage {
    Triage {
        offset: hex(body.offset),
        finished: body.finished,
        drivers: body.drivers,
        options: hex(body.options),
        service_pack_build: body.service_pack_build,
        top_of_stack: body.top_of_stack.map(hex),
        data_blocks: body.data_blocks,
        parts: body
            .parts
            .iter()
            .map(|part| Part {
                name: part.name,
                offset: hex(part.offset),
                bytes: part.bytes,
            })
            .collect(),
    }
}

fn problem(problem: &dmp::Problem) -> Problem {
    Problem {
        what: problem.what,
        place: problem.place.to_string(),
        expected: problem.expected.clone(),
        found: problem.found.clone(),
    }
}
