//! Raw memory measures itself: where holes are, where the file begins, and whether pages are missing from it.
//!
//! ```text
//! page tables that map themselves (marks)  -->  shift of each stretch of the file (layout)  -->  Windows?
//! MmPhysicalMemoryBlock, what Windows counts  -->  where the holes are, what is missing      -->  Windows again
//! ```
//! A raw file does not record its layout. Most are flat: page n is frame n; if Windows is found so, and nothing speaks
//! against it, that is accepted at the cost of a look at its processes. Everything else is measured. What cannot be
//! placed is left out: a page in a wrong place is worse than none.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod count;
mod flat;
mod layout;
mod marks;
mod witness;

use std::sync::Arc;

use self::flat::{is_flat, pages};
use self::layout::{Line, Placement};
use crate::address::PAGE_SIZE;
use crate::container::{Guest, raw};
use crate::memory::Frames;
use crate::windows::{Source, Windows};

/// Finds Windows in raw memory whose layout is not given: `found` is what `identify` found in it, read flat.
///
/// Returns the guest as its pages belong, with what was found out among its container's warnings, and what `identify`
/// found in it. A guest that is no raw file, or not read flat, is returned as it is.
pub fn measured<E>(
    guest: Guest,
    found: Result<Windows, E>,
    identify: &dyn Fn(&Guest) -> Result<Windows, E>,
) -> (Guest, Result<Windows, E>) {
    if !is_flat(&guest) {
        return (guest, found);
    }
    let is_doubtful = found
        .as_ref()
        .map_or(true, |windows| witness::contradicts(&guest, windows));
    if is_doubtful && let Some(better) = by_tables(&guest, &found, identify) {
        return (better.0, Ok(better.1));
    }
    let candidates = match &found {
        Ok(windows) => count::hole(&guest, windows).into_iter().collect(),
        Err(_) => count::usual(&guest),
    };
    for hole in candidates {
        let why = if found.is_ok() {
            "Windows counts memory behind a hole"
        } else {
            "Windows was found only with a hole"
        };
        let warning = format!(
            "{why} that this raw file leaves out: read as with --hole {:#x}-{:#x}",
            hole.first.gpa().get(),
            hole.end().gpa().get()
        );
        let Some(other) = count::with_hole(&guest, hole, warning) else {
            continue;
        };
        if let Ok(windows) = identify(&other) {
            return (other, Ok(windows));
        }
    }
    (guest, found)
}

/// The guest as its page tables say, if Windows is found so.
fn by_tables<E>(
    guest: &Guest,
    found: &Result<Windows, E>,
    identify: &dyn Fn(&Guest) -> Result<Windows, E>,
) -> Option<(Guest, Windows)> {
    let pages = pages(guest);
    let marks = marks::find(&guest.memory);
    for mut line in layout::lines(&marks) {
        let guess = layout::guess(&line, pages, false);
        if let Some(other) = opened(guest, &guess, Vec::new()) {
            witness::add_regions(&mut line, &marks, &other.memory);
        }
        if line.is_flat() {
            // Read so, Windows was found or not.
            if let Ok(windows) = found {
                witness::add(&mut line, &marks, &guest.memory, windows);
                return settle(guest, &line, windows, identify);
            }
            continue;
        }
        for late in [false, true] {
            let placement = layout::guess(&line, pages, late);
            let Some(other) = opened(guest, &placement, Vec::new()) else {
                continue;
            };
            let Ok(windows) = identify(&other) else {
                continue;
            };
            witness::add(&mut line, &marks, &other.memory, &windows);
            return settle(guest, &line, &windows, identify);
        }
    }
    None
}

/// The guest whose holes are where Windows counts nothing, and without the pages that cannot be placed.
fn settle<E>(
    guest: &Guest,
    line: &Line,
    windows: &Windows,
    identify: &dyn Fn(&Guest) -> Result<Windows, E>,
) -> Option<(Guest, Windows)> {
    let pages = pages(guest);
    let last = line.last()?;
    let is_counted = matches!(windows.runs.source, Source::Variable { .. });
    let counted: &[Frames] = if is_counted { &windows.runs.value } else { &[] };
    // A file whose last page is cut ended early; one that ends at a page, but at no end of memory, lost pages.
    let is_cut = !guest.container.size.is_multiple_of(PAGE_SIZE);
    let is_whole = is_cut || layout::ends_whole(pages, last.shift);
    let proven = if is_whole {
        pages
    } else {
        witness::proven_end(windows, guest, last).min(pages)
    };
    let placement = layout::settle(line, pages, proven, counted);
    if line.is_flat() && is_whole {
        return None;
    }
    let mut warnings = words(&placement, line);
    if proven < pages {
        warnings.push(format!(
            "pages are missing from this file: it ends at {:#x}, where no memory ends. From {:#x} on {} of its pages \
             cannot be placed and are left out; --hole none reads them where they stand",
            pages.saturating_mul(PAGE_SIZE),
            proven.saturating_mul(PAGE_SIZE),
            pages.saturating_sub(proven),
        ));
    }
    let other = opened(guest, &placement, warnings)?;
    let windows = identify(&other).ok()?;
    Some((other, windows))
}

/// What was found out of a file's layout.
fn words(placement: &Placement, line: &Line) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(region) = placement.regions.first() {
        let first = region.frames.first.gpa();
        if region.page > 0 {
            words.push(format!(
                "the file has {:#x} bytes in front of the memory, by page tables that map themselves",
                region.page.saturating_mul(PAGE_SIZE)
            ));
        } else if first.get() > 0 {
            words.push(format!(
                "the file begins at physical address {first}, by page tables that map themselves"
            ));
        }
    }
    let starts = placement.regions.first().map(|region| region.frames.first);
    for hole in placement
        .holes
        .iter()
        .filter(|hole| Some(hole.end()) != starts)
    {
        words.push(format!(
            "the file leaves out {hole}, by page tables that map themselves: what is behind it is read that much further up"
        ));
    }
    for lost in &placement.lost {
        words.push(format!(
            "pages are missing from this file: {} frames somewhere in {}, by page tables that map themselves; the pages \
             in between cannot be placed and are left out",
            lost.frames, lost.among
        ));
    }
    debug_assert!(!words.is_empty() || line.is_flat());
    words
}

/// The file, read so.
fn opened(guest: &Guest, placement: &Placement, warnings: Vec<String>) -> Option<Guest> {
    let holes: Vec<String> = placement.holes.iter().map(ToString::to_string).collect();
    let holes = if holes.is_empty() {
        "none: by address".to_owned()
    } else {
        format!("{}, measured", holes.join(", "))
    };
    let source = Arc::clone(guest.memory.source());
    let mut other = raw::open_regions(source, &placement.regions, holes).ok()?;
    other.container.warnings.extend(warnings);
    Some(other)
}
