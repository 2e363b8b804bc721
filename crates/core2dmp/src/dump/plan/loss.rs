//! What Windows counts and the container lacks: how much of it, where, and why that is likely.

use super::Missing;
use crate::address::PAGE_SIZE;
use crate::container::Guest;
use crate::memory::Frames;

/// Of what Windows counts a full dump may invent this part at most: one in a hundred.
const MOST_INVENTED: u64 = 100;
/// Ranges that are named.
const NAMED: usize = 3;

/// Whether more is missing than a full dump should fill with zeros without being asked to.
pub(super) const fn is_large(missing: u64, counted: u64) -> bool {
    missing.saturating_mul(MOST_INVENTED) > counted
}

/// Frames of these runs that the container lacks.
pub(super) fn missing(guest: &Guest, runs: &[Frames]) -> u64 {
    let pieces = runs.iter().flat_map(|run| guest.memory.pieces(*run));
    pieces
        .filter(|(_, backing)| backing.is_none())
        .fold(0, |sum, (frames, _)| sum.saturating_add(frames.count))
}

/// The warning, if it takes one.
pub(super) fn warning(guest: &Guest, runs: &[Frames], missing: &Missing) -> Option<String> {
    let counted = Frames::total(runs);
    if !is_large(missing.frames, counted) {
        return None;
    }
    let tenths = u128::from(missing.frames)
        .saturating_mul(1000)
        .checked_div(u128::from(counted))?;
    let first: Vec<String> = missing
        .ranges
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let more = if missing.ranges.len() > NAMED {
        ", .."
    } else {
        ""
    };
    Some(format!(
        "{}.{} % of what Windows counts is missing, {} of {counted} frames: {}{more}; {}",
        tenths / 10,
        tenths % 10,
        missing.frames,
        first.join(", "),
        cause(guest, runs, missing)
    ))
}

/// Why it is likely missing.
fn cause(guest: &Guest, runs: &[Frames], missing: &Missing) -> String {
    let counted_end = runs.last().map_or(0, |run| run.end().gpa().get());
    // Firmware, and what else lies behind all RAM, is no end of it.
    let held = guest.memory.runs().iter();
    let end = held
        .filter(|run| run.frames.first.gpa().get() < counted_end)
        .map(|run| run.frames.end().gpa().get())
        .max()
        .unwrap_or(0);
    let is_cut = missing
        .ranges
        .iter()
        .all(|range| range.first.gpa().get() >= end);
    let details = &guest.container.details;
    let overlaps = details
        .iter()
        .any(|(name, _)| *name == "overlapping ranges");
    let unplaced = unplaced(guest);
    if unplaced > 0 {
        format!(
            "{unplaced} pages of the file could not be placed, because others are missing from it"
        )
    } else if is_cut && end < counted_end {
        let hint = if guest.container.format == "raw" {
            ", or leaves a hole out (--hole START-END)"
        } else {
            ""
        };
        format!(
            "the file ends at {}; Windows counts up to {}: it holds a part of the memory{hint}",
            gib(end),
            gib(counted_end)
        )
    } else if guest.container.format == "elf" && overlaps {
        "the core was made by page tables (dump-guest-memory -p), which leave out what none of them maps: take it without -p"
            .to_owned()
    } else {
        "a balloon driver had taken it, or whoever wrote the file left it out".to_owned()
    }
}

/// Pages of a raw file that are no frame's: where it does not hold what lies between them.
fn unplaced(guest: &Guest) -> u64 {
    if guest.container.format != "raw" {
        return 0;
    }
    let pages = guest.container.size / PAGE_SIZE;
    pages.saturating_sub(guest.memory.frame_count())
}

/// Such as "3.5 GiB"; in bytes where that would round.
fn gib(bytes: u64) -> String {
    const SIXTEENTH: u64 = 1 << 26;
    if bytes.is_multiple_of(SIXTEENTH) {
        let hundredths = (bytes / SIXTEENTH).saturating_mul(625) / 100;
        let (whole, part) = (hundredths / 100, hundredths % 100);
        let text = format!("{whole}.{part:02}");
        return format!("{} GiB", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let mib = bytes / (PAGE_SIZE << 8);
    format!("{mib} MiB")
}
