//! From a plan's segments to the steps that make the dump of the core; nothing here touches a file.
//!
//! ```text
//! core   |headers,notes|  run 0  |page| run 0 |outside|   run 1   |tables|
//! dump   |hdr|            run 0  |new | run 0 |           run 1
//!          gap 0          kept    gap 1  kept   gap 2      kept     tail
//!
//! a gap longer in the core   collapse the difference       its bytes are saved first: all of the gap's
//! a gap longer in the dump   insert the difference
//! the tail                   cut or extend
//! ```
//!
//! Gaps are done from the last to the first, so that a step's offset in the file is its offset in the core.

use super::span::Span;
use crate::image::{Segment, SegmentData};

/// Shifts of one conversion: each moves the places of all extents behind it.
pub(super) const MAX_SHIFTS: usize = 4096;
/// Stretches of the core that are saved, and pieces that are written.
pub(super) const MAX_PIECES: usize = 1 << 16;

/// A range that is taken out of the file, or put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) kind: Kind,
    /// The range, as long as it is in the file.
    pub(super) span: Span,
    /// Bytes of the file that has the range.
    pub(super) wide: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Collapse,
    Insert,
}

/// What has to be done to a core, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    /// Bytes of the core.
    pub(super) old_size: u64,
    /// Stretches of the core that do not survive, ascending.
    pub(super) saved: Vec<Span>,
    /// Bytes of the file once its tail is cut or extended.
    pub(super) tail_size: u64,
    /// The shifts, the last in the file first.
    pub(super) shifts: Vec<Shift>,
    /// Bytes of the dump.
    pub(super) new_size: u64,
}

impl Steps {
    /// The steps, or why there are none for this plan.
    pub(super) fn of(segments: &[Segment], old_size: u64, block: u64) -> Result<Self, String> {
        let mut gaps = Gaps::default();
        let mut pieces = 0_usize;
        for segment in segments {
            let dump_at = gaps.new_size;
            gaps.new_size = dump_at.saturating_add(segment.bytes);
            let offset = match segment.data {
                SegmentData::Source { offset } => offset,
                SegmentData::Bytes(_) | SegmentData::Zeros => {
                    pieces = pieces.saturating_add(1);
                    continue;
                }
                SegmentData::Encoded { .. } => {
                    return Err("its pages are encoded, and a dump's are not".to_owned());
                }
            };
            let kept = Span::new(offset, segment.bytes);
            gaps.keep(kept, dump_at, old_size, block)?;
        }
        if gaps.kept_in_core == 0 {
            return Err("none of its pages can stay where it is".to_owned());
        }
        if pieces > MAX_PIECES || gaps.saved.len() > MAX_PIECES || gaps.shifts.len() > MAX_SHIFTS {
            return Err(format!(
                "its memory is in too many pieces: {} shifts and {} others, the limits are {MAX_SHIFTS} and {MAX_PIECES}",
                gaps.shifts.len(),
                pieces.max(gaps.saved.len())
            ));
        }
        Ok(gaps.finish(old_size))
    }

    /// Bytes that the journal has to save.
    pub(super) fn saved_bytes(&self) -> u64 {
        self.saved
            .iter()
            .fold(0, |sum, span| sum.saturating_add(span.bytes))
    }
}

/// What is between the stretches that stay.
#[derive(Default)]
struct Gaps {
    saved: Vec<Span>,
    /// Ascending, without sizes of the file.
    shifts: Vec<(Kind, Span)>,
    /// Ends of what was kept last.
    kept_in_core: u64,
    kept_in_dump: u64,
    new_size: u64,
}

impl Gaps {
    fn keep(&mut self, kept: Span, dump_at: u64, old_size: u64, block: u64) -> Result<(), String> {
        let at = kept.at;
        if kept.bytes == 0 {
            return Ok(());
        }
        if [at, dump_at, kept.bytes]
            .iter()
            .any(|n| !n.is_multiple_of(block))
        {
            return Err(format!(
                "its pages are not at multiples of the file system's blocks: {at:#x} is to be {dump_at:#x} in the dump, blocks are of {block} bytes"
            ));
        }
        if at < self.kept_in_core {
            return Err(format!(
                "its pages are in another order than a dump's: those at {at:#x} follow those before {:#x}",
                self.kept_in_core
            ));
        }
        if kept.end() > old_size {
            return Err(format!(
                "it ends at {old_size:#x}, before its pages do at {:#x}",
                kept.end()
            ));
        }
        let in_core = self.tail(at);
        let in_dump = dump_at.saturating_sub(self.kept_in_dump);
        let shift = if in_core.bytes > in_dump {
            let (at, bytes) = (in_core.at.saturating_add(in_dump), in_core.bytes - in_dump);
            Some((Kind::Collapse, Span::new(at, bytes)))
        } else if in_core.bytes < in_dump {
            let bytes = in_dump - in_core.bytes;
            Some((Kind::Insert, Span::new(in_core.end(), bytes)))
        } else {
            None
        };
        self.shifts.extend(shift);
        self.save(in_core);
        self.kept_in_core = kept.end();
        self.kept_in_dump = dump_at.saturating_add(kept.bytes);
        Ok(())
    }

    /// From what was kept last up to `end`, in the core.
    fn tail(&self, end: u64) -> Span {
        Span::new(self.kept_in_core, end.saturating_sub(self.kept_in_core))
    }

    fn save(&mut self, span: Span) {
        if span.bytes > 0 {
            self.saved.push(span);
        }
    }

    fn finish(mut self, old_size: u64) -> Steps {
        self.save(self.tail(old_size));
        let after = self.new_size.saturating_sub(self.kept_in_dump);
        let tail_size = self.kept_in_core.saturating_add(after);
        let mut size = tail_size;
        let shifts = self.shifts.into_iter().rev().map(|(kind, span)| {
            let (small, large) = match kind {
                Kind::Collapse => (size.saturating_sub(span.bytes), size),
                Kind::Insert => (size, size.saturating_add(span.bytes)),
            };
            size = if kind == Kind::Collapse { small } else { large };
            Shift {
                kind,
                span,
                wide: large,
            }
        });
        Steps {
            old_size,
            saved: self.saved,
            tail_size,
            shifts: shifts.collect(),
            new_size: self.new_size,
        }
    }
}
