//! The page table of the file: entry i names the frame of page i.

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::layout::{Layout, TableKind};
use crate::address::{PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::format::xen::{INVALID_PFN, NoteHeader, P2mEntry};
use crate::memory::{Backing, Frames, RunBuilder};
use crate::source::{ReadAt, read_exact_at};

/// Bytes of the table that are held at once.
const BLOCK: usize = 1 << 20;

/// What the table held.
#[derive(Debug, Default)]
pub(super) struct TableSummary {
    /// Entries that were read.
    pub(super) entries: u64,
    /// Entries that stand for no page.
    pub(super) padding: u64,
    /// The last frame that was named.
    pub(super) last: Option<Pfn>,
}

/// Frames that continue each other, not yet pushed.
struct Pending<'a> {
    runs: &'a mut RunBuilder,
    pages: u64,
    first: u64,
    count: u64,
    offset: u64,
    last: Option<Pfn>,
}

impl Pending<'_> {
    fn end(&mut self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.last = Some(Pfn::new(
            self.first.wrapping_add(self.count).wrapping_sub(1),
        ));
        let frames = Frames::new(Pfn::new(self.first), self.count);
        let backing = Backing::File {
            offset: self.offset,
        };
        self.count = 0;
        self.runs.push(frames, backing)
    }

    fn page(&mut self, index: u64, pfn: u64) -> Result<()> {
        if self.count > 0 && pfn == self.first.wrapping_add(self.count) {
            self.count = self.count.wrapping_add(1);
            return Ok(());
        }
        self.end()?;
        self.first = pfn;
        self.count = 1;
        self.offset = page_offset(self.pages, index);
        Ok(())
    }
}

/// The file offset of page `index`.
pub(super) fn page_offset(pages: u64, index: u64) -> u64 {
    pages.saturating_add(index.saturating_mul(PAGE_SIZE))
}

/// Reads all entries that the file holds.
pub(super) fn read_table(
    source: &dyn ReadAt,
    layout: &Layout,
    header: &NoteHeader,
    runs: &mut RunBuilder,
) -> Result<TableSummary> {
    let entry_bytes = layout.table.entry_bytes();
    check_counts(layout, header)?;
    let present = layout
        .table
        .entries_of(layout.table.section.bytes_in(source.size()));
    let mut summary = TableSummary::default();
    let mut pending = Pending {
        runs,
        pages: layout.pages.offset,
        first: 0,
        count: 0,
        offset: 0,
        last: None,
    };
    let mut buffer = vec![0; BLOCK];
    let mut index = 0;
    while index < present {
        let entries = present
            .saturating_sub(index)
            .min(layout.table.entries_of(BLOCK as u64));
        let bytes = entries.saturating_mul(entry_bytes);
        let offset = layout
            .table
            .section
            .offset
            .saturating_add(index.saturating_mul(entry_bytes));
        let block = buffer
            .get_mut(..usize::try_from(bytes).unwrap_or(BLOCK))
            .unwrap_or_default();
        read_exact_at(source, offset, block, layout.table.name())?;
        match layout.table.kind {
            TableKind::Pfn => {
                let pfns = <[U64]>::ref_from_bytes(block).unwrap_or_default();
                take(
                    pfns.iter().map(|pfn| pfn.get()),
                    index,
                    &mut pending,
                    &mut summary,
                )?;
            }
            TableKind::P2m => {
                let pairs = <[P2mEntry]>::ref_from_bytes(block).unwrap_or_default();
                take(
                    pairs.iter().map(|pair| pair.pfn.get()),
                    index,
                    &mut pending,
                    &mut summary,
                )?;
            }
        }
        index = index.saturating_add(entries);
    }
    pending.end()?;
    summary.last = pending.last;
    summary.entries = present;
    Ok(summary)
}

fn take(
    pfns: impl Iterator<Item = u64>,
    start: u64,
    pending: &mut Pending<'_>,
    summary: &mut TableSummary,
) -> Result<()> {
    for (index, pfn) in (start..).zip(pfns) {
        if pfn == INVALID_PFN {
            summary.padding = summary.padding.wrapping_add(1);
            // Its page is skipped: what follows does not continue what came before.
            pending.end()?;
        } else {
            pending.page(index, pfn)?;
        }
    }
    Ok(())
}

/// The header note, the pages and the table must speak of the same number.
fn check_counts(layout: &Layout, header: &NoteHeader) -> Result<()> {
    let section = &layout.table.section;
    let entries = layout.table.entries_of(section.size);
    let pages = layout.pages.size / PAGE_SIZE;
    let promised = header.nr_pages.get();
    if entries == pages && pages == promised {
        return Ok(());
    }
    Err(Error::malformed(
        "number of pages",
        Place::Offset(section.offset),
        format!("{promised}, as .note.Xen says"),
        format!(
            "{pages} pages and {entries} entries of {}",
            layout.table.name()
        ),
    ))
}
