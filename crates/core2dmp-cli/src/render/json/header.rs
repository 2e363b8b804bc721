//! Headers: the fields of the one that is written, and those that were found.

use serde::Serialize;

use core2dmp::audit::{FieldFact, RejectedValue, field_facts};
use core2dmp::dump::Plan;
use core2dmp::header::{FieldValue, HeaderWidth};
use core2dmp::windows::{GuestHeader, GuestRecord, RecordState, Windows};

use super::hex;

/// A field of the header that is written.
#[derive(Debug, Serialize)]
pub(crate) struct Field {
    name: &'static str,
    offset: String,
    bytes: usize,
    value: Option<String>,
    kind: &'static str,
    source: String,
    rejected: Vec<RejectedField>,
}

/// What another source says.
#[derive(Debug, Serialize)]
struct RejectedField {
    value: Option<String>,
    source: String,
    why: String,
}

/// All fields of a planned header.
pub(crate) fn fields(windows: &Windows, plan: &Plan) -> Vec<Field> {
    field_facts(windows, plan).iter().map(field).collect()
}

fn field(fact: &FieldFact) -> Field {
    Field {
        name: fact.field.name,
        offset: hex(fact.field.offset as u64),
        bytes: fact.field.bytes,
        value: value(&fact.value),
        kind: kind(&fact.value),
        source: fact.source.clone(),
        rejected: fact.rejected.iter().map(rejected).collect(),
    }
}

fn rejected(rejected: &RejectedValue) -> RejectedField {
    RejectedField {
        value: value(&rejected.value),
        source: rejected.source.clone(),
        why: rejected.why.clone(),
    }
}

/// What a field holds.
pub(super) const fn kind(value: &FieldValue) -> &'static str {
    match value {
        FieldValue::Missing => "missing",
        FieldValue::NotSet => "not_set",
        FieldValue::Number(_) => "number",
        FieldValue::Text(_) => "text",
        FieldValue::Bytes(_) => "bytes",
    }
}

/// Numbers and text; other bytes are in the dump.
pub(super) fn value(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::Number(number) => Some(hex(*number)),
        FieldValue::Text(text) => Some(text.clone()),
        FieldValue::Missing | FieldValue::NotSet | FieldValue::Bytes(_) => None,
    }
}

/// A header that was made inside the guest.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    origin: String,
    bits: u32,
    confirmed: bool,
    contradictions: Vec<String>,
}

impl From<&GuestHeader> for Found {
    fn from(header: &GuestHeader) -> Self {
        Self {
            origin: header.origin.to_string(),
            bits: match header.width {
                HeaderWidth::Bits32 => 32,
                HeaderWidth::Bits64 => 64,
            },
            confirmed: header.is_confirmed(),
            contradictions: header.contradictions.clone(),
        }
    }
}

/// What a driver in the guest left for the host.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    gpa: String,
    gva: String,
    state: &'static str,
    generation: String,
    confirmed: bool,
    contradictions: Vec<String>,
    driver_started: String,
    written: String,
    stop_code: Option<String>,
    parameters: Option<[String; 4]>,
    status: String,
    boot_header: Option<String>,
    bugcheck_header: Option<String>,
    debugger_block: bool,
    refused: Vec<String>,
}

impl From<&GuestRecord> for Record {
    fn from(record: &GuestRecord) -> Self {
        let header = |refreshed| {
            let mut headers = record.headers.iter();
            let found = headers.find(|header| header.refreshed == refreshed);
            found.map(|header| hex(header.gpa.get()))
        };
        Self {
            gpa: hex(record.gpa.get()),
            gva: hex(record.gva.get()),
            state: match record.state {
                RecordState::Boot => "boot",
                RecordState::Refreshing => "refreshing",
                RecordState::Refreshed => "refreshed",
                RecordState::Failed => "failed",
                _ => "unknown",
            },
            generation: hex(record.generation),
            confirmed: record.is_confirmed(),
            contradictions: record.contradictions.clone(),
            driver_started: hex(record.start.0),
            written: hex(record.written.0),
            stop_code: record.stop.map(|stop| hex(stop.0)),
            parameters: record.stop.map(|stop| stop.1.map(hex)),
            status: hex(record.status),
            boot_header: header(false),
            bugcheck_header: header(true),
            debugger_block: record.block.is_some(),
            refused: record.refused.clone(),
        }
    }
}
