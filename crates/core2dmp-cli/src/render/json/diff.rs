//! What differs between two headers and two memories.

use serde::Serialize;

use core2dmp::audit::diff::{
    ByteDifference, Difference, RegisterDifference, RunDifference, Weight,
};
use core2dmp::memory::compare::{Class, MemoryDiff};

use super::header::{kind, value};
use super::{Error, Head, Run, hex, runs};
use crate::outcome::Comparison;
use crate::render::notation;

/// `core2dmp diff --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Diff {
    #[serde(flatten)]
    head: Head,
    old: Option<Side>,
    new: Option<Side>,
    alike: Option<bool>,
    verdict: Option<String>,
    differences: Option<Vec<Changed>>,
    unnamed_bytes: Option<usize>,
    bytes: Option<Vec<Byte>>,
    memory: Option<Memory>,
    pub(crate) error: Option<Error>,
}

#[derive(Debug, Serialize)]
struct Side {
    file: String,
    what: &'static str,
    body: Option<String>,
}

#[derive(Debug, Serialize)]
struct Changed {
    field: &'static str,
    offset: String,
    weight: &'static str,
    old: Held,
    new: Held,
    meaning: String,
    registers: Vec<Register>,
    runs: Vec<ChangedRun>,
}

/// A run of the header that differs.
#[derive(Debug, Serialize)]
struct ChangedRun {
    index: usize,
    old: Option<Run>,
    new: Option<Run>,
}

/// What a header holds in a field.
#[derive(Debug, Serialize)]
struct Held {
    kind: &'static str,
    value: Option<String>,
    shown: String,
}

#[derive(Debug, Serialize)]
struct Register {
    name: &'static str,
    old: String,
    new: String,
}

#[derive(Debug, Serialize)]
struct Byte {
    offset: String,
    old: String,
    new: String,
}

#[derive(Debug, Serialize)]
struct Memory {
    alike_pages: u64,
    different: Pages,
    only_old: Pages,
    only_new: Pages,
    unreadable: Pages,
}

#[derive(Debug, Serialize)]
pub(super) struct Pages {
    pages: u64,
    range_count: u64,
    first_runs: Vec<Run>,
}

impl Default for Diff {
    fn default() -> Self {
        Self {
            head: Head::of("diff"),
            old: None,
            new: None,
            alike: None,
            verdict: None,
            differences: None,
            unnamed_bytes: None,
            bytes: None,
            memory: None,
            error: None,
        }
    }
}

impl Diff {
    /// What was compared; the single bytes only where they were asked for.
    pub(crate) fn fill(&mut self, comparison: &Comparison, bytes: bool) {
        let fields = &comparison.fields;
        self.old = Some(Side {
            file: comparison.old.clone(),
            what: comparison.old_what,
            body: comparison.old_body.clone(),
        });
        self.new = Some(Side {
            file: comparison.new.clone(),
            what: comparison.new_what,
            body: comparison.new_body.clone(),
        });
        self.alike = Some(comparison.is_alike());
        self.verdict = Some(comparison.words());
        self.differences = Some(fields.differences.iter().map(changed).collect());
        self.unnamed_bytes = Some(fields.unnamed);
        self.bytes = bytes.then(|| comparison.bytes.iter().map(byte).collect());
        self.memory = comparison.memory.as_ref().map(memory);
    }
}

fn changed(difference: &Difference) -> Changed {
    let field = difference.field;
    let (old, new) = notation::both(field, &difference.old, &difference.new);
    let held = |held, shown| Held {
        kind: kind(held),
        value: value(held),
        shown,
    };
    Changed {
        field: field.name,
        offset: hex(field.offset as u64),
        weight: match difference.weight {
            Weight::Decides => "decides",
            Weight::Misleads => "misleads",
            Weight::Cosmetic => "cosmetic",
        },
        old: held(&difference.old, old),
        new: held(&difference.new, new),
        meaning: difference.meaning.clone(),
        registers: difference.registers.iter().map(register).collect(),
        runs: difference.runs.iter().map(changed_run).collect(),
    }
}

fn changed_run(run: &RunDifference) -> ChangedRun {
    let shown = |(first, frames)| Run {
        first: hex(first),
        frames,
    };
    ChangedRun {
        index: run.index,
        old: run.old.map(shown),
        new: run.new.map(shown),
    }
}

fn register(register: &RegisterDifference) -> Register {
    Register {
        name: register.name,
        old: digits(&register.old),
        new: digits(&register.new),
    }
}

/// Little-endian bytes as a number, in the form of every hexstring.
fn digits(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().rev().map(|b| format!("{b:02x}")).collect();
    let digits = digits.trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

fn byte(byte: &ByteDifference) -> Byte {
    Byte {
        offset: hex(byte.offset as u64),
        old: hex(byte.old),
        new: hex(byte.new),
    }
}

fn memory(diff: &MemoryDiff) -> Memory {
    Memory {
        alike_pages: diff.alike,
        different: pages(&diff.different),
        only_old: pages(&diff.only_old),
        only_new: pages(&diff.only_new),
        unreadable: pages(&diff.unreadable),
    }
}

pub(super) fn pages(class: &Class) -> Pages {
    Pages {
        pages: class.pages,
        range_count: class.range_count,
        first_runs: runs(&class.ranges),
    }
}
