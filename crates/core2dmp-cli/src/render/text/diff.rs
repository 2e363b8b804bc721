//! What differs between two headers and two memories, and what that means.

use core2dmp::audit::diff::{
    ByteDifference, Difference, RegisterDifference, RunDifference, Weight,
};
use core2dmp::header::{FieldId, FieldValue};
use core2dmp::memory::compare::{Class, MemoryDiff};

use super::{Table, count, size};
use crate::escape::printable;
use crate::outcome::Comparison;
use crate::render::notation;

/// Ranges of a class of pages that are shown.
const RANGES: usize = 16;

/// The bytes that differ, as the thread that this program comes from has them.
pub(crate) fn byte_listing(bytes: &[ByteDifference]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{:08x}: {:02x} {:02x}\n", byte.offset, byte.old, byte.new))
        .collect()
}

/// Everything, the verdict last.
pub(crate) fn diff(comparison: &Comparison) -> String {
    let mut out = String::new();
    let mut table = Table::default();
    let types_differ = |d: &Difference| d.field.id == FieldId::DumpType;
    let types_differ = comparison.fields.differences.iter().any(types_differ);
    for (key, name, what, body) in [
        (
            "old",
            &comparison.old,
            comparison.old_what,
            &comparison.old_body,
        ),
        (
            "new",
            &comparison.new,
            comparison.new_what,
            &comparison.new_body,
        ),
    ] {
        table.noted(key, name, what);
        // Who is right about the type is in the file.
        if let Some(body) = body.as_ref().filter(|_| types_differ) {
            table.noted("", "", format!("behind it {body}"));
        }
    }
    table.write(&mut out, "Compared");
    let fields = &comparison.fields;
    for (weight, heading) in [
        (Weight::Decides, "Decides whether the dump opens"),
        (Weight::Misleads, "Misleads"),
        (Weight::Cosmetic, "Cosmetic"),
    ] {
        let group = fields.differences.iter();
        let group: Vec<&Difference> = group.filter(|d| d.weight == weight).collect();
        if group.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{heading}\n"));
        for difference in group {
            field(&mut out, difference);
        }
    }
    if let Some(memory) = &comparison.memory {
        pages(&mut out, memory);
    }
    out.push('\n');
    if fields.unnamed > 0 {
        let bytes = count(fields.unnamed as u64, "byte");
        out.push_str(&format!("{bytes} that belong to no field differ, too\n"));
    }
    if comparison.behind > 0 {
        let lines = count(comparison.behind as u64, "line");
        out.push_str(&format!("{lines} of the listing lie behind the header\n"));
    }
    out.push_str(&format!("verdict: {}\n", printable(&comparison.words())));
    if let Some(memory) = &comparison.memory {
        out.push_str(&format!("memory: {}\n", memory_verdict(memory)));
    }
    out
}

/// One field: both values, the sentence, and the registers of a context.
fn field(out: &mut String, difference: &Difference) {
    let field = difference.field;
    let values = match (&difference.old, &difference.new) {
        (FieldValue::Bytes(_), FieldValue::Bytes(_)) => String::new(),
        (old, new) => {
            let (old, new) = notation::both(field, old, new);
            format!("  {old} -> {new}")
        }
    };
    let mut table = Table::default();
    let offset = format!("{:#05x}", field.offset);
    table.row(&offset, format!("{}{values}", field.name));
    table.row("", &difference.meaning);
    for line in difference.registers.iter().map(register) {
        table.row("", format!("  {line}"));
    }
    for line in difference.runs.iter().map(run) {
        table.row("", format!("  {line}"));
    }
    table.write(out, "");
}

fn register(register: &RegisterDifference) -> String {
    let RegisterDifference { name, old, new } = register;
    format!("{name:<12} {} -> {}", number(old), number(new))
}

pub(super) fn run(run: &RunDifference) -> String {
    let frames = |run: Option<(u64, u64)>| {
        run.map_or_else(
            || "none".to_owned(),
            |(first, frames)| format!("{} from {first:#x}", count(frames, "frame")),
        )
    };
    format!(
        "run {}: {} -> {}",
        run.index,
        frames(run.old),
        frames(run.new)
    )
}

/// Little-endian bytes as a number.
fn number(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().rev().map(|b| format!("{b:02x}")).collect();
    let digits = digits.trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

/// The memories.
fn pages(out: &mut String, memory: &MemoryDiff) {
    let mut table = Table::default();
    table.row("alike", count(memory.alike, "page"));
    for (key, class) in [
        ("different", &memory.different),
        ("only in old", &memory.only_old),
        ("only in new", &memory.only_new),
        ("unreadable", &memory.unreadable),
    ] {
        ranges(&mut table, key, class);
    }
    table.write(out, "Memory");
}

fn ranges(table: &mut Table, key: &str, class: &Class) {
    table.row(key, count(class.pages, "page"));
    for range in class.ranges.iter().take(RANGES) {
        table.noted("", range.to_string(), count(range.count, "page"));
    }
    let shown = class.ranges.len().min(RANGES) as u64;
    let rest = class.range_count.saturating_sub(shown);
    if rest > 0 {
        table.row("", format!("and {}", count(rest, "more range")));
    }
}

fn memory_verdict(memory: &MemoryDiff) -> String {
    if memory.is_alike() {
        return "alike".to_owned();
    }
    let different = memory.different.pages;
    let compared = memory.alike.saturating_add(different);
    let bytes = different.saturating_mul(core2dmp::address::PAGE_SIZE);
    let mut words = format!(
        "{different} of {} that both have differ ({})",
        count(compared, "page"),
        size(bytes)
    );
    for (class, whose) in [
        (&memory.only_old, "the old one alone has"),
        (&memory.only_new, "the new one alone has"),
        (&memory.unreadable, "unreadable:"),
    ] {
        if class.pages > 0 {
            words.push_str(&format!("; {whose} {}", class.pages));
        }
    }
    words
}
