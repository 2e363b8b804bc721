//! The steps, done and undone.
//!
//! ```text
//! there   cut the tail;  each shift: announce, do, flush;  announce, write the pieces, flush;  done
//! back    finish the interrupted shift;  each shift, the last first: announce, undo, flush;
//!         announce, put back the saved bytes and the size, flush
//! ```
//! Every step can be interrupted anywhere, also while going back: the next attempt finds how far it came.

use std::io;

use super::disk::Disk;
use super::journal::{Journal, Record, checksum};
use super::span::{DataMap, Moving, Place, Span};
use super::steps::{Kind, Shift};
use crate::image::{Segment, SegmentData};

/// Bytes that are compared at once.
const BLOCK: u64 = 1 << 20;

/// Makes the dump of the core.
pub(super) fn there<D: Disk>(
    core: &mut D,
    journal: &mut Journal<D>,
    segments: &[Segment],
) -> io::Result<()> {
    let steps = &journal.head.steps;
    let (old_size, tail_size, new_size) = (steps.old_size, steps.tail_size, steps.new_size);
    if tail_size != old_size {
        core.set_size(tail_size)?;
        core.sync()?;
    }
    for index in 0..journal.head.steps.shifts.len() {
        shift(core, journal, index, true)?;
    }
    journal.append(Record::Write)?;
    let mut at = 0_u64;
    for segment in segments {
        match &segment.data {
            SegmentData::Bytes(bytes) => core.write(at, bytes)?,
            SegmentData::Zeros => core.punch(Span::new(at, segment.bytes))?,
            SegmentData::Source { .. } | SegmentData::Encoded { .. } => {}
        }
        at = at.saturating_add(segment.bytes);
    }
    if core.size()? != new_size {
        return Err(io::Error::other("the file has another size than the dump"));
    }
    core.sync()?;
    journal.append(Record::Done)
}

/// Makes the core of whatever the file is.
pub(super) fn back<D: Disk>(core: &mut D, journal: &mut Journal<D>) -> io::Result<()> {
    let shifts = journal.head.steps.shifts.len();
    // Those before this one are done.
    let (mut open, moving) = match &journal.last {
        None | Some(Record::Restore) => (0, None),
        Some(Record::Write | Record::Done) => (shifts, None),
        Some(Record::Move { shift, narrow }) => (*shift, Some(narrow.clone())),
    };
    if let Some(narrow) = moving {
        let shift = *journal.head.steps.shifts.get(open).ok_or_else(lost)?;
        if settle(core, &shift, narrow)? != (shift.kind == Kind::Collapse) {
            open = open.saturating_add(1);
        }
    }
    for index in (0..open).rev() {
        shift(core, journal, index, false)?;
    }
    if journal.last != Some(Record::Restore) {
        journal.append(Record::Restore)?;
    }
    core.set_size(journal.head.steps.old_size)?;
    for (span, from) in journal.saved() {
        core.punch(span)?;
        core.take(span.at, &journal.disk, Span::new(from, span.bytes))?;
    }
    core.sync()
}

/// Does or undoes one shift that is known not to have begun.
fn shift<D: Disk>(
    core: &mut D,
    journal: &mut Journal<D>,
    index: usize,
    there: bool,
) -> io::Result<()> {
    let Shift { kind, span, wide } = *journal.head.steps.shifts.get(index).ok_or_else(lost)?;
    let collapses = (kind == Kind::Collapse) == there;
    let size = core.size()?;
    let from = if collapses { span.end() } else { span.at };
    let narrow = core.data(from)?.cut(Span::between(from, size), span.at);
    let moving = Moving {
        range: span,
        wide,
        narrow: narrow.clone(),
    };
    let right_size = if collapses {
        wide
    } else {
        moving.narrow_size()
    };
    if size != right_size {
        return Err(lost());
    }
    // Going back there is no choice.
    if there && moving.is_ambiguous() {
        return Err(io::Error::other(
            "its holes repeat, so that a power cut could not be undone",
        ));
    }
    journal.append(Record::Move {
        shift: index,
        narrow,
    })?;
    if collapses {
        core.collapse(span)?;
    } else {
        core.insert(span)?;
    }
    core.sync()
}

/// Finishes an interrupted shift; returns whether the file has the range.
fn settle<D: Disk>(core: &mut D, shift: &Shift, narrow: DataMap) -> io::Result<bool> {
    let moving = Moving {
        range: shift.span,
        wide: shift.wide,
        narrow,
    };
    let place = moving
        .place(core.size()?, &core.data(shift.span.at)?)
        .ok_or_else(lost)?;
    match place {
        Place::Wide => return Ok(true),
        Place::Narrow => return Ok(false),
        // The hole goes on down, through the same places.
        Place::Torn(at) => core.collapse(Span::new(at, shift.span.bytes))?,
        Place::Uncut => core.set_size(moving.narrow_size())?,
    }
    core.sync()?;
    Ok(false)
}

fn lost() -> io::Error {
    io::Error::other("the file is not as core2dmp left it: it was changed since")
}

/// Whether a finished dump is still what was written.
pub(super) fn is_untouched<D: Disk>(core: &D, journal: &Journal<D>) -> io::Result<bool> {
    if core.size()? != journal.head.steps.new_size {
        return Ok(false);
    }
    for (span, sum) in &journal.head.wrote {
        // Pieces are headers, pages and bitmaps; a bitmap may have 512 MiB.
        let mut crc = flate2::Crc::new();
        let mut at = span.at;
        while at < span.end() {
            let bytes = span.end().saturating_sub(at).min(BLOCK);
            let mut block = vec![0; usize::try_from(bytes).unwrap_or(0)];
            core.read(at, &mut block)?;
            crc.update(&block);
            at = at.saturating_add(bytes);
        }
        if crc.sum() != *sum {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The pieces that are written, with their checksums.
pub(super) fn wrote(segments: &[Segment]) -> Vec<(Span, u32)> {
    let mut at = 0_u64;
    let mut wrote = Vec::new();
    for segment in segments {
        if let SegmentData::Bytes(bytes) = &segment.data {
            wrote.push((Span::new(at, bytes.len() as u64), checksum(bytes)));
        }
        at = at.saturating_add(segment.bytes);
    }
    wrote
}
