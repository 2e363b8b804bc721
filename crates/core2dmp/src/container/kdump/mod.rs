//! kdump-compressed dumps: of makedumpfile, and of QEMU's `dump-guest-memory -z`, `-l`, `-s`.
//!
//! ```text
//! [flattened: records -> the file inside]
//! header, sub header -> second bitmap --read in blocks--> runs of page numbers
//!                    -> notes          -> vCPUs, as in an ELF core
//! page number --descriptor--> data --inflate--> page        when somebody wants it
//! ```
//!
//! Page descriptors stay in the file and are read when a page is: a terabyte's take 6 GiB. Frames that
//! makedumpfile left out are absent.
//!
//! See docs/formats/kdump.md, and `format/kdump.rs` for the sources.

mod bitmap;
mod decompress;
mod flat;
mod header;
mod pages;

use std::sync::Arc;

use self::flat::FlatSource;
use self::header::Header;
use self::pages::{Pages, Part};
use super::core_notes::{Found, Notes};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe};
use crate::error::{Error, Place, Result};
use crate::format::kdump::{FLAT_SIGNATURE, SIGNATURE, STATUS_INCOMPLETE};
use crate::memory::{Overlap, PhysicalMemory, RunBuilder};
use crate::source::{JoinedSource, ReadAt, fill_at};

pub(super) const TITLE: &str = "kdump-compressed dump";
pub(super) const MAGICS: &[&[u8]] = &[SIGNATURE, FLAT_SIGNATURE];

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

/// Which frames a part of a split dump is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitPart {
    /// The first.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// Frames of the whole dump: those of another dump may have another number.
    pub of: u64,
}

/// What a file is for, if it is a part of a split dump.
#[must_use]
pub fn split_part(source: &dyn ReadAt) -> Option<SplitPart> {
    let header = Header::read(source).ok()?;
    let (first, end) = header.split?;
    let of = header.max_mapnr;
    Some(SplitPart { first, end, of })
}

pub(super) fn open(sources: Vec<Arc<dyn ReadAt>>, options: &OpenOptions) -> Result<Guest> {
    check_count(&sources)?;
    let size = sources
        .iter()
        .fold(0_u64, |sum, source| sum.saturating_add(source.size()));
    let mut salvage = Salvage::new(options);
    let mut runs = RunBuilder::default();
    let mut parts: Vec<Part> = Vec::new();
    let mut notes = Notes::default();
    let mut details = Vec::new();
    let mut is_split = false;
    for (number, source) in (0_u64..).zip(sources) {
        let source = unflatten(source, &mut details, &mut salvage)?;
        let header = Header::read(&*source)?;
        if number == 0 {
            details.push(("format", header.describe()));
            is_split = header.split.is_some();
            notes.read(&*source, header.notes.0, header.notes.1)?;
        }
        check_part(&header, number, parts.first())?;
        let count = bitmap::read(&*source, &header, Pages::first_of(number), &mut runs)?;
        if header.numbers.status.get() & STATUS_INCOMPLETE != 0 {
            let missing = "what the writer had no space for";
            salvage.accept(header.descriptors, source.size(), missing)?;
        }
        let part = Part::new(source, header, count);
        part.check_end(&mut salvage)?;
        parts.push(part);
    }
    let machine = notes.machine();
    let found = Found::new(&notes, machine);
    details.extend(found.writer);
    let mut warnings = found.warnings;
    if is_split {
        details.push(("parts", parts.len().to_string()));
        warnings.extend(missing_parts(&parts));
    }
    let runs = runs.finish().map_err(|overlap| named_twice(&overlap))?;
    let source = parts.first().map_or_else(
        || Arc::new(Vec::new()) as Arc<dyn ReadAt>,
        |part| Arc::clone(part.source()),
    );
    Ok(Guest {
        memory: PhysicalMemory::new(source, runs).with_decoder(Arc::new(Pages::new(parts))),
        cpus: found.cpus,
        hints: Hints {
            not_ram: machine.not_ram(),
            headers: found.headers,
            left_out: None,
        },
        container: ContainerInfo {
            format: "kdump",
            title: TITLE,
            size,
            details,
            padding: 0,
            salvaged: salvage.done("dump"),
            warnings,
        },
    })
}

fn check_count(sources: &[Arc<dyn ReadAt>]) -> Result<()> {
    if sources.len() > JoinedSource::MAX_PARTS {
        return Err(Error::TooMany {
            what: "parts of a split dump",
            found: sources.len() as u64,
            limit: JoinedSource::MAX_PARTS as u64,
        });
    }
    Ok(())
}

fn named_twice(overlap: &Overlap) -> Error {
    let place = Place::Physical(overlap.pfn.gpa());
    Error::malformed("second bitmap", place, "every frame once", "it twice")
}

/// The file inside a flattened one; others as they are.
fn unflatten(
    source: Arc<dyn ReadAt>,
    details: &mut Vec<(&'static str, String)>,
    salvage: &mut Salvage,
) -> Result<Arc<dyn ReadAt>> {
    let mut magic = [0; FLAT_SIGNATURE.len()];
    let read = fill_at(&*source, 0, &mut magic);
    if !matches!(read, Ok(16)) || magic != *FLAT_SIGNATURE {
        return Ok(source);
    }
    let flat = FlatSource::read(source, salvage)?;
    details.push(("flattened", format!("{} records", flat.records())));
    Ok(Arc::new(flat))
}

/// Parts must be parts, and of one dump.
fn check_part(header: &Header, number: u64, first: Option<&Part>) -> Result<()> {
    let Some(first) = first else {
        return Ok(());
    };
    let (expected, found) = if header.split.is_none() {
        ("a part of a split dump", "a whole dump")
    } else if first.max_mapnr() != header.max_mapnr {
        ("a part of the same dump", "another number of frames")
    } else {
        return Ok(());
    };
    Err(Error::malformed(
        "sub header of a part",
        Place::Offset(header.sub_header),
        expected,
        format!("{found} in file {}", number.saturating_add(1)),
    ))
}

/// What of all frames no part covers.
fn missing_parts(parts: &[Part]) -> Option<String> {
    let mut ranges: Vec<(u64, u64)> = parts.iter().filter_map(Part::split).collect();
    ranges.sort_unstable();
    let mut next = 0;
    for (start, end) in ranges {
        if start > next {
            break;
        }
        next = next.max(end);
    }
    let all = parts.first().map_or(0, Part::max_mapnr);
    (next < all).then(|| {
        format!("parts of the split dump are missing: no file given has frame {next:#x}, the last is {all:#x}")
    })
}
