//! A dump in parts, for transports with a limit: `cat` puts them together again.
//!
//! ```text
//! segments  |-header-|------ a ------|---- b ----|--- c ---|
//! parts     |-- .001 --|-- .002 --|-- .003 --|-- .004 -|
//! ```

use std::path::{Path, PathBuf};

use super::room::Room;
use super::{MAX_CORRUPT_PAGES, Part, Progress, WriteOptions, Written, decode, part};
use crate::address::PAGE_SIZE;
use crate::dump::Plan;
use crate::error::{Error, Result};
use crate::image::{Segment, SegmentData};
use crate::memory::PhysicalMemory;

/// Parts at most: their numbers have three digits.
const MAX_PARTS: u64 = 999;

/// Writes the planned file in parts of `part_bytes`, a multiple of 4096, the last one shorter: `PATH.001` and on. None
/// has its name before all are written.
///
/// # Errors
/// As [`super::to_file`]; [`Error::TooMany`] for more than 999 parts.
pub fn to_parts(
    plan: &Plan,
    memory: &PhysicalMemory,
    path: &Path,
    part_bytes: u64,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<(Vec<PathBuf>, Written)> {
    let part_bytes = part_bytes.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
    let count = plan.size.div_ceil(part_bytes);
    if count > MAX_PARTS {
        return Err(Error::TooMany {
            what: "parts",
            found: count,
            limit: MAX_PARTS,
        });
    }
    let names: Vec<PathBuf> = (1..=count).map(|number| part_name(path, number)).collect();
    let room = Room::new(progress, part::folder(path));
    let mut parts = Vec::new();
    let mut all = Written::default();
    for (number, name) in (0_u64..).zip(&names) {
        let start = number.saturating_mul(part_bytes);
        let segments = slice(&plan.segments, start, start.saturating_add(part_bytes));
        let damage = decode::Damage::new(memory, plan.salvage);
        let (part, written) = Part::write(&segments, memory, damage, name, options, &room)?;
        parts.push(part);
        all.corrupt = all.corrupt.saturating_add(written.corrupt);
        all.corrupt_pages.extend(written.corrupt_pages);
    }
    all.corrupt_pages.truncate(MAX_CORRUPT_PAGES);
    for part in parts {
        part.publish(options, progress)?;
    }
    Ok((names, all))
}

/// `guest.dmp.001`.
fn part_name(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:03}"));
    PathBuf::from(name)
}

/// The bytes from `start` to `end`, which is not included; both are multiples of a page or beyond the end.
fn slice(segments: &[Segment], start: u64, end: u64) -> Vec<Segment> {
    let mut at = 0_u64;
    let mut part = Vec::new();
    for segment in segments {
        let (first, last) = (at.max(start), at.saturating_add(segment.bytes).min(end));
        if first < last {
            let skipped = first.saturating_sub(at);
            let bytes = last.saturating_sub(first);
            part.push(Segment {
                bytes,
                data: data(&segment.data, skipped, bytes),
            });
        }
        at = at.saturating_add(segment.bytes);
    }
    part
}

fn data(data: &SegmentData, skipped: u64, bytes: u64) -> SegmentData {
    match data {
        SegmentData::Bytes(all) => {
            let from = usize::try_from(skipped).unwrap_or(usize::MAX);
            let count = usize::try_from(bytes).unwrap_or(usize::MAX);
            let here = all.iter().skip(from).take(count);
            SegmentData::Bytes(here.copied().collect())
        }
        SegmentData::Source { offset } => SegmentData::Source {
            offset: offset.saturating_add(skipped),
        },
        SegmentData::Encoded { index } => SegmentData::Encoded {
            index: index.saturating_add(skipped / PAGE_SIZE),
        },
        SegmentData::Zeros => SegmentData::Zeros,
    }
}
