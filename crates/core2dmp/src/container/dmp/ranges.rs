//! Bodies whose pages a table of ranges names: types 8, 9 and 0xA, of WinDbg since 2022.
//!
//! ```text
//! memory    the ranges that the header counts, their pages from the header's first page on: what the debugger sees
//! proof     another count, or another first page, with which the pages fill the file
//! ```

use std::io;

use zerocopy::FromBytes;

use super::place::{Placed, Placer};
use super::problem::{Problem, ProblemKind};
use crate::address::PAGE_SIZE;
use crate::format::rdmp::{BYTES, MARKER, METADATA_START, Range, RangesHeader, SECOND_TAG, TAG};
use crate::memory::RunBuilder;
use crate::source::{ReadAt, fill_at};

/// Bytes of the table that are held at once.
const BLOCK: usize = 1 << 20;
const RANGE_BYTES: u64 = size_of::<Range>() as u64;

/// What is in front of the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangesBody {
    /// File offset of the header.
    pub header: u64,
    /// Whether marker and tags are right; the debugger does not look at them.
    pub tagged: bool,
    /// Bytes of metadata, as the header says; the debugger does not look at them.
    pub metadata_bytes: u64,
    /// File offset of the first page, as the header says.
    pub first_page: u64,
    /// Ranges, as the header says.
    pub declared_ranges: u32,
    /// Pages, as the header says.
    pub declared_pages: u64,
    /// Ranges that were read: those that the header counts, as far as the file has them.
    pub ranges: u64,
    /// Pages of them.
    pub pages: u64,
    /// Pages of them that the file holds whole.
    pub held_pages: u64,
    /// Where the last page should end.
    pub end: u64,
    /// Another count of ranges, which the table and the file's size prove.
    pub proven_ranges: Option<u64>,
    /// Another offset of the first page, which the table and the file's size prove.
    pub proven_first_page: Option<u64>,
}

/// The header at `at`, with counts that are not looked at yet; `None` if it does not begin as one, and its numbers
/// cannot be those of one either.
pub(super) fn header(source: &dyn ReadAt, at: u64) -> io::Result<Option<RangesBody>> {
    let mut bytes = [0; size_of::<RangesHeader>()];
    fill_at(source, at, &mut bytes)?;
    let Ok(header) = RangesHeader::ref_from_bytes(&bytes) else {
        return Ok(None);
    };
    let tags = header.tag == TAG && header.second_tag == SECOND_TAG;
    let body = RangesBody {
        header: at,
        tagged: tags && header.marker.get() == MARKER,
        metadata_bytes: header.metadata_bytes.get(),
        first_page: header.first_page.get(),
        declared_ranges: header.ranges.get(),
        declared_pages: header.pages.get(),
        ..RangesBody::default()
    };
    let is_one = tags || header.tag == TAG || body.is_sound(source.size());
    Ok(is_one.then_some(body))
}

impl RangesBody {
    /// Whether the numbers are those of a table that ends where the pages begin: what damaged tags are weighed
    /// against.
    fn is_sound(&self, size: u64) -> bool {
        let table = u64::from(self.declared_ranges).saturating_mul(RANGE_BYTES);
        let pages = self.declared_pages.saturating_mul(PAGE_SIZE);
        self.declared_ranges > 0
            && self.table().saturating_add(table) == self.first_page
            && self.first_page.saturating_add(pages) <= size
    }

    /// Where the table begins.
    const fn table(&self) -> u64 {
        self.header.saturating_add(BYTES)
    }

    /// Where the metadata would end.
    const fn metadata_end(&self) -> u64 {
        let start = self.header.saturating_add(METADATA_START);
        start.saturating_add(self.metadata_bytes)
    }

    /// Whether the metadata ends where the first page begins, as it should.
    #[must_use]
    pub const fn metadata_agrees(&self) -> bool {
        self.metadata_end() == self.first_page
    }

    /// Reads the table: fills in what was counted; the memory, and what was odd.
    pub(super) fn read(&mut self, source: &dyn ReadAt, problems: &mut Vec<Problem>) -> Placed {
        let size = source.size();
        let start = self.table();
        // A first page that cannot be is no reason not to see the table.
        let metadata = self.metadata_end().min(size);
        let room = self
            .first_page
            .min(size)
            .max(metadata)
            .saturating_sub(start)
            / RANGE_BYTES;
        let mut table = Table {
            placer: Placer::new(self.first_page, size),
            declared: self.declared_ranges.into(),
            declared_pages: self.declared_pages,
            body_pages: size.saturating_sub(self.first_page) / PAGE_SIZE,
            ..Table::default()
        };
        if let Err(error) = table.read(source, start, room) {
            problems.push(Problem::new(
                ProblemKind::Unreadable,
                "table of ranges",
                start,
                "a table",
                error.to_string(),
            ));
        }
        self.ranges = table.ranges;
        self.proven_ranges = table.proven;
        let placed = table.placer.finish();
        self.pages = placed.pages;
        self.held_pages = placed.held;
        self.end = placed.end;
        self.prove_first_page(size);
        self.problems(room, problems);
        placed.problems("table of ranges", start, problems);
        placed
    }

    /// Where the pages would begin to fill the file, if that is where the table or the metadata ends.
    fn prove_first_page(&mut self, size: u64) {
        let table = self.ranges.saturating_mul(RANGE_BYTES);
        let candidates = [self.metadata_end(), self.table().saturating_add(table)];
        let fills = |first: &u64| {
            self.pages > 0 && self.pages.saturating_mul(PAGE_SIZE).checked_add(*first) == Some(size)
        };
        if !fills(&self.first_page) {
            self.proven_first_page = candidates.into_iter().find(fills);
        }
    }

    /// What keeps the debugger from the pages.
    fn problems(&self, room: u64, problems: &mut Vec<Problem>) {
        let declared = u64::from(self.declared_ranges);
        let counted = match self.proven_ranges {
            Some(proven) => Some(format!("{proven}, with which the pages fill the file")),
            None if declared == 0 => Some("at least one".to_owned()),
            None if declared > room => Some(format!("at most {room}, before the first page")),
            None => None,
        };
        if let Some(expected) = counted {
            problems.push(Problem::new(
                ProblemKind::RangeTable,
                "number of ranges",
                self.header.saturating_add(METADATA_START),
                expected,
                declared.to_string(),
            ));
        }
        if let Some(first) = self.proven_first_page {
            problems.push(Problem::new(
                ProblemKind::FirstPage,
                "offset of the first page",
                self.header.saturating_add(0x18),
                format!("{first:#x}, with which the pages fill the file"),
                format!("{:#x}", self.first_page),
            ));
        }
    }
}

/// A table that is read, and another count of its ranges.
#[derive(Default)]
struct Table {
    placer: Placer,
    /// Ranges that are memory.
    declared: u64,
    declared_pages: u64,
    /// Pages from the first one to the end of the file.
    body_pages: u64,
    /// Ranges that were read.
    ranges: u64,
    /// Pages of all entries so far, counted or not.
    sum: u64,
    proven: Option<u64>,
}

impl Table {
    fn read(&mut self, source: &dyn ReadAt, start: u64, there: u64) -> io::Result<()> {
        let most = there.min(RunBuilder::MAX_RUNS as u64);
        let bytes = most.saturating_mul(RANGE_BYTES);
        let mut buffer = vec![0; BLOCK.min(usize::try_from(bytes).unwrap_or(BLOCK))];
        let (mut done, mut entries) = (0_u64, 0_u64);
        let mut is_right = false;
        while done < bytes {
            let want = bytes.saturating_sub(done).min(BLOCK as u64);
            let block = buffer
                .get_mut(..usize::try_from(want).unwrap_or(BLOCK))
                .unwrap_or_default();
            if fill_at(source, start.saturating_add(done), block)? != want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done = done.saturating_add(want);
            for range in <[Range]>::ref_from_bytes(block).unwrap_or_default() {
                entries = entries.saturating_add(1);
                if entries <= self.declared {
                    self.placer.range(range.first.get(), range.frames.get());
                    self.ranges = entries;
                }
                is_right |= self.entry(entries, range.frames.get());
            }
        }
        if most < there && self.declared > most {
            self.placer.give_up();
        }
        if is_right {
            self.proven = None;
        }
        Ok(())
    }

    /// Counts an entry; whether the header's count is that of a table whose pages are as many as the header or the
    /// file has.
    fn entry(&mut self, entries: u64, frames: u64) -> bool {
        self.sum = self.sum.saturating_add(frames);
        let (counted, fills) = (self.sum == self.declared_pages, self.sum == self.body_pages);
        if self.proven.is_none() && fills && frames > 0 {
            self.proven = Some(entries);
        }
        entries == self.declared && (counted || fills)
    }
}
