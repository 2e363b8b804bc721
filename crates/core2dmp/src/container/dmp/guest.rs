//! A dump as the source of another one.

use std::sync::Arc;

use super::{Body, BodyGuess, DumpFile, ProblemKind};
use crate::container::{ContainerInfo, Guest, HeaderHint, Hints, LeftOut, OpenOptions, Probe};
use crate::error::Result;
use crate::format::dump_values::{
    DUMP_TYPE_BITMAP_KERNEL, DUMP_TYPE_RANGES_KERNEL, dump_type_name, machine_name,
};
use crate::format::header_fields::HeaderWidth;
use crate::memory::PhysicalMemory;
use crate::source::ReadAt;

pub(in crate::container) const TITLE: &str = "Windows crash dump";
/// Both tags; a dump that lacks one of them is known by its machine.
pub(in crate::container) const MAGICS: &[&[u8]] = &[b"PAGEDU64", b"PAGEDUMP"];

pub(in crate::container) fn probe(probe: &Probe<'_>) -> bool {
    DumpFile::is_dump(probe.head)
}

pub(in crate::container) fn open(source: Arc<dyn ReadAt>, _: &OpenOptions) -> Result<Guest> {
    Ok(guest(&DumpFile::open(source)?))
}

/// The guest in a dump.
pub(super) fn guest(dump: &DumpFile) -> Guest {
    let mut warnings = dump
        .problems()
        .iter()
        .filter(|problem| problem.kind != ProblemKind::HeaderCutShort)
        .map(ToString::to_string)
        .collect();
    let memory = memory(dump, &mut warnings);
    if dump.is_encrypted() {
        warnings.push("the dump says that its pages are encrypted".to_owned());
    }
    let headers = if dump.header_complete {
        vec![HeaderHint {
            name: "the dump",
            bytes: dump.header.clone(),
        }]
    } else {
        Vec::new()
    };
    Guest {
        memory,
        // The processors' registers are in their control blocks in memory.
        cpus: Vec::new(),
        hints: Hints {
            not_ram: Vec::new(),
            headers,
            left_out: left_out(dump),
        },
        container: ContainerInfo {
            format: "dmp",
            title: TITLE,
            size: dump.size,
            details: details(dump),
            padding: 0,
            salvaged: None,
            warnings,
        },
    }
}

/// The memory: as the type says, or as the bytes say where the type is wrong.
fn memory(dump: &DumpFile, warnings: &mut Vec<String>) -> PhysicalMemory {
    let guess = dump.guess_body();
    // Full by elimination is a weak guess: it does not overrule a tag.
    let structured = matches!(
        guess,
        BodyGuess::Summary | BodyGuess::Bitmap { .. } | BodyGuess::Ranges
    );
    let misled = match dump.body {
        Body::Unknown | Body::Triage(_) => true,
        Body::Full | Body::Summary(_) | Body::Bitmap(_) | Body::Ranges(_) => structured,
        Body::HeaderOnly => false,
    } && !dump.body_agrees();
    if misled && let Some(memory) = dump.memory_as(guess) {
        warnings.push(format!(
            "the header is followed by {}, not by what DumpType says; they are read as such",
            guess.name()
        ));
        return memory;
    }
    dump.memory()
}

/// What a dump of this type leaves out.
fn left_out(dump: &DumpFile) -> Option<LeftOut> {
    let kind = match dump.guess_body() {
        BodyGuess::Summary | BodyGuess::Bitmap { kernel: true } => return Some(LeftOut::User),
        BodyGuess::Bitmap { kernel: false } | BodyGuess::Ranges => dump.dump_type(),
        _ => return None,
    };
    let kind = kind.and_then(|kind| u32::try_from(kind).ok());
    Some(match kind {
        Some(DUMP_TYPE_BITMAP_KERNEL | DUMP_TYPE_RANGES_KERNEL) => LeftOut::User,
        _ => LeftOut::Some,
    })
}

fn details(dump: &DumpFile) -> Vec<(&'static str, String)> {
    let named = |value: u64, name: fn(u32) -> Option<&'static str>| {
        let name = u32::try_from(value).ok().and_then(name);
        name.map_or_else(|| format!("unknown ({value:#x})"), str::to_owned)
    };
    let kind = match dump.dump_type() {
        Some(kind) => format!("{} ({kind:#x})", named(kind, dump_type_name)),
        None => "not set: taken for full".to_owned(),
    };
    let width = match dump.width {
        HeaderWidth::Bits32 => "32 bit",
        HeaderWidth::Bits64 => "64 bit",
    };
    let mut details = vec![("type", kind), ("header", width.to_owned())];
    if let Some(machine) = dump.machine() {
        details.push(("machine", named(machine, machine_name)));
    }
    if let Some(bitmap) = dump.bitmap() {
        details.push((
            "bitmap",
            format!("{} of {} bits set", bitmap.set_bits, bitmap.bits),
        ));
    }
    if let Some(comment) = dump.comment() {
        details.push(("comment", comment));
    }
    if let Some(trailing) = dump.trailing() {
        let bytes = trailing.end.saturating_sub(trailing.start);
        details.push(("appended", format!("{bytes} bytes")));
    }
    details
}
