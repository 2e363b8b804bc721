//! Cores that were cut short: the disk was full, and the writer does not use a temporary name.
//!
//! ```text
//! .xen_pages ......... .xen_pfn ... .shstrtab
//!       ^ cut here: pages without a map      ^ cut here: names, or part of the map
//! ```
//!
//! The writer walks the frames upwards and leaves out VGA (0xa0-0xbf) and MMIO below 4 GiB, so a missing map
//! can be guessed: page i is frame i, plus what was left out before it. A guest with ballooned pages, or with
//! another hole below 4 GiB, breaks the guess; so it is made only on request, and marked in the dump.
//!
//! Source: `gpfn_may_present` in Xen's `tools/libs/guest/xg_core.c`, the same from 4.0 to 4.17.

use super::layout::Layout;
use super::pages::{TableSummary, page_offset};
use crate::address::{PAGE_SIZE, Pfn};
use crate::error::{Error, Result};
use crate::format::xen::{SKIPPED_MMIO, SKIPPED_VGA};
use crate::memory::{Backing, Frames, RunBuilder};

/// What the file lacks, in words; `None` if it is whole.
pub(super) fn missing(layout: &Layout, file_size: u64) -> Option<Vec<String>> {
    if file_size >= layout.end() {
        return None;
    }
    let mut missing = Vec::new();
    let pages = layout.pages.size / PAGE_SIZE;
    let present = layout.pages.bytes_in(file_size) / PAGE_SIZE;
    if present < pages {
        missing.push(format!(
            "{} of {pages} pages",
            pages.saturating_sub(present)
        ));
    }
    let entries = layout.table.entries_of(layout.table.section.size);
    let present = layout
        .table
        .entries_of(layout.table.section.bytes_in(file_size));
    if present == 0 {
        missing.push(format!(
            "the map from pages to frames ({})",
            layout.table.name()
        ));
    } else if present < entries {
        missing.push(format!(
            "{} of {entries} entries of {}",
            entries.saturating_sub(present),
            layout.table.name()
        ));
    }
    if layout.names.is_none() {
        missing.push("the section names (.shstrtab)".to_owned());
    }
    Some(missing)
}

/// Adds runs for the pages that the table does not name; says what was done.
pub(super) fn rebuild(
    layout: &Layout,
    file_size: u64,
    table: &TableSummary,
    missing: &[String],
    runs: &mut RunBuilder,
) -> Result<String> {
    let pages = layout.pages.bytes_in(file_size) / PAGE_SIZE;
    if pages == 0 {
        return Err(Error::CutShort {
            expected: layout.end(),
            found: file_size,
            missing: "all pages".to_owned(),
        });
    }
    let guessed = pages.saturating_sub(table.entries);
    let mut index = table.entries;
    let mut next = table.last.map_or(0, |last| last.saturating_add(1).get());
    while index < pages {
        for (first, end) in [SKIPPED_VGA, SKIPPED_MMIO] {
            if (first..end).contains(&next) {
                next = end;
            }
        }
        let border = [SKIPPED_VGA.0, SKIPPED_MMIO.0]
            .into_iter()
            .find(|first| *first > next)
            .unwrap_or(u64::MAX);
        let count = pages.saturating_sub(index).min(border.saturating_sub(next));
        runs.push(
            Frames::new(Pfn::new(next), count),
            Backing::File {
                offset: page_offset(layout.pages.offset, index),
            },
        )?;
        index = index.saturating_add(count);
        next = next.saturating_add(count);
    }
    Ok(format!(
        "the core was cut short (missing: {}); the frames of {guessed} pages were numbered by rule",
        missing.join("; ")
    ))
}
