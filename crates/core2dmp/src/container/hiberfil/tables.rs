//! Windows XP to 7: tables of ranges, each with the blocks of its pages behind it.
//!
//! ```text
//! page n     table: next table, count, { first frame, end } ..
//! page n+1   block | block | ..        16 pages each, the last of a table what is left
//! ```
//! The blocks show which layout a table has: they have as many pages as its ranges.

use super::blocks::{Index, Kind};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::container::salvage::Salvage;
use crate::error::{Error, Place, Result};
use crate::format::hiberfil::{
    BLOCK_MAGIC, BlockHeader, LENGTH_SELF, OLD_HEADERS, TABLE_LAYOUTS, TableLayout,
};
use crate::format::{u32_at, u64_at};
use crate::memory::{Backing, Frames, RunBuilder};
use crate::source::{ReadAt, fill_at, read_exact_at};

/// Pages among which the first table is looked for: it was seen in 3 to 7.
const SEARCHED_PAGES: u64 = 64;
/// Blocks that are compared with a table to tell its layout: 256 MiB of memory.
const COMPARED: u32 = 4096;
const WHAT: &str = "table of ranges";

/// The first table.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) layout: &'static TableLayout,
    /// Its page in the file.
    pub(super) page: u64,
}

/// Finds the first table: where the header says or, if it has no place, in front of a block.
pub(super) fn find(source: &dyn ReadAt, header: &[u8]) -> Option<First> {
    let length = u32_at(header, LENGTH_SELF)?;
    let named = OLD_HEADERS
        .iter()
        .filter(|old| old.length == length)
        .filter_map(|old| Some((page_at(header, old.first_table, old.wide)?, Some(old.wide))));
    named
        .chain((1..SEARCHED_PAGES).map(|page| (page, None)))
        .filter(|(page, _)| has_block_behind(source, *page))
        .find_map(|(page, wide)| {
            let layout = TABLE_LAYOUTS
                .iter()
                .filter(|layout| wide.is_none_or(|wide| wide == layout.wide))
                .find(|layout| fits(source, layout, page).unwrap_or(false))?;
            Some(First { layout, page })
        })
}

fn page_at(bytes: &[u8], offset: usize, wide: bool) -> Option<u64> {
    if wide {
        u64_at(bytes, offset)
    } else {
        u32_at(bytes, offset).map(u64::from)
    }
}

/// Where a page of the file begins.
const fn offset_of(page: u64) -> u64 {
    page.saturating_mul(PAGE_SIZE)
}

fn has_block_behind(source: &dyn ReadAt, page: u64) -> bool {
    let mut magic = [0; BLOCK_MAGIC.len()];
    let read = fill_at(source, offset_of(page.saturating_add(1)), &mut magic);
    page > 0 && matches!(read, Ok(8)) && magic == *BLOCK_MAGIC
}

/// Whether the page is a table of this layout: the pages of its ranges are those of its blocks.
fn fits(source: &dyn ReadAt, layout: &TableLayout, page: u64) -> Result<bool> {
    let table = Table::read(source, layout, page)?;
    let total = table.pages();
    let mut at = offset_of(page.saturating_add(1));
    let mut pages = 0_u64;
    for _ in 0..COMPARED {
        if pages >= total {
            break;
        }
        let Some(block) = Kind::Tagged.block(source, at)? else {
            // A truncated file cannot have more.
            let header = size_of::<BlockHeader>() as u64;
            return Ok(at.saturating_add(header) > source.size());
        };
        pages = pages.saturating_add(block.pages);
        at = Kind::Tagged.after(&block);
    }
    Ok(total > 0 && pages <= total)
}

/// A table.
struct Table {
    /// The page of the next one.
    next: Option<u64>,
    ranges: Vec<Frames>,
}

impl Table {
    fn read(source: &dyn ReadAt, layout: &TableLayout, page: u64) -> Result<Self> {
        let mut bytes = [0; PAGE_BYTES];
        let at = offset_of(page);
        read_exact_at(source, at, &mut bytes, WHAT)?;
        let count = u32_at(&bytes, layout.count).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let most = layout.most();
        if count > most {
            return Err(Error::malformed(
                WHAT,
                Place::Offset(at),
                format!("at most {most} ranges"),
                format!("{count}"),
            ));
        }
        let entries = bytes.get(layout.link..).unwrap_or_default();
        let ranges = entries.chunks_exact(layout.range).take(count);
        let ranges: Result<Vec<Frames>> = ranges
            .map(|range| {
                let start = page_at(range, layout.start, layout.wide).unwrap_or(0);
                let end = layout.start.saturating_add(layout.word());
                let end = page_at(range, end, layout.wide).unwrap_or(0);
                if start < end && end <= Pfn::END.get() {
                    return Ok(Frames::between(Pfn::new(start), Pfn::new(end)));
                }
                Err(Error::malformed(
                    "range of frames in a table",
                    Place::Offset(at),
                    "a first frame and an end behind it",
                    format!("{start:#x} and {end:#x}"),
                ))
            })
            .collect();
        // The link of a table that is not full holds anything.
        let next =
            page_at(&bytes, layout.next, layout.wide).filter(|next| *next != 0 && count == most);
        Ok(Self {
            next,
            ranges: ranges?,
        })
    }

    fn pages(&self) -> u64 {
        self.ranges
            .iter()
            .fold(0, |sum, range| sum.saturating_add(range.count))
    }
}

/// Adds all pages; returns how many tables there are.
pub(super) fn read(
    source: &dyn ReadAt,
    first: First,
    index: &mut Index,
    runs: &mut RunBuilder,
    salvage: &mut Salvage,
) -> Result<u64> {
    let mut page = first.page;
    let mut tables = 0_u64;
    loop {
        let behind = offset_of(page.saturating_add(1));
        if behind > source.size() {
            salvage.accept(behind, source.size(), "a table of ranges and all behind it")?;
            return Ok(tables);
        }
        let table = Table::read(source, first.layout, page)?;
        tables = tables.saturating_add(1);
        let before = index.pages;
        index.restart();
        let end = blocks(source, behind, table.pages(), index, salvage)?;
        let mut number = before;
        for range in &table.ranges {
            let there = index.pages.saturating_sub(number).min(range.count);
            runs.push(
                Frames::new(range.first, there),
                Backing::Encoded { index: number },
            )?;
            number = number.saturating_add(there);
        }
        let is_whole = index.pages.saturating_sub(before) == table.pages();
        let Some(next) = table.next.filter(|_| is_whole) else {
            return Ok(tables);
        };
        if next <= page || offset_of(next) < end {
            return Err(Error::malformed(
                "link from a table of ranges to the next",
                Place::Offset(offset_of(page)),
                format!("a page behind its blocks, which end at {end:#x}"),
                format!("page {next:#x}"),
            ));
        }
        page = next;
    }
}

/// Takes note of the blocks that hold `pages` pages; returns where they end.
fn blocks(
    source: &dyn ReadAt,
    at: u64,
    pages: u64,
    index: &mut Index,
    salvage: &mut Salvage,
) -> Result<u64> {
    let mut at = at;
    let mut left = pages;
    while left > 0 {
        let block = Kind::Tagged.block(source, at)?;
        let missing = format!("{left} pages of a table, and all behind them");
        let Some(block) = block else {
            let size = source.size();
            if at.saturating_add(PAGE_SIZE) > size {
                salvage.accept(at.saturating_add(PAGE_SIZE), size, missing)?;
                return Ok(at);
            }
            let mut found = [0; BLOCK_MAGIC.len()];
            read_exact_at(source, at, &mut found, WHAT)?;
            return Err(Error::malformed(
                "block of compressed pages",
                Place::Offset(at),
                BLOCK_MAGIC.escape_ascii().to_string(),
                found.escape_ascii().to_string(),
            ));
        };
        if block.pages > left {
            return Err(Error::malformed(
                "block of compressed pages",
                Place::Offset(at),
                format!("at most {left} pages, as its table has left"),
                format!("{}", block.pages),
            ));
        }
        if block.end() > source.size() {
            salvage.accept(block.end(), source.size(), missing)?;
            return Ok(at);
        }
        index.push(at, block.pages)?;
        left = left.saturating_sub(block.pages);
        at = Kind::Tagged.after(&block);
    }
    Ok(at)
}
