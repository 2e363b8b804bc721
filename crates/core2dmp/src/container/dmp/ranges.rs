//! Bodies whose pages a table of ranges names: types 8, 9 and 0xA, of WinDbg since 2022.

use std::io;

use zerocopy::FromBytes;

use super::place::{Placed, Placer};
use super::problem::{Problem, ProblemKind};
use crate::format::rdmp::{BYTES, MARKER, METADATA_START, Range, RangesHeader, SECOND_TAG, TAG};
use crate::memory::RunBuilder;
use crate::source::{ReadAt, fill_at};

/// Bytes of the table that are held at once.
const BLOCK: usize = 1 << 20;
const RANGE_BYTES: u64 = size_of::<Range>() as u64;

/// What stands in front of the ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangesBody {
    /// File offset of the header.
    pub header: u64,
    /// Whether the header counts ranges and pages, as type 0xA does.
    pub counted: bool,
    /// Bytes of metadata, as the header says.
    pub metadata_bytes: u64,
    /// File offset of the first page, as the header says.
    pub first_page: u64,
    /// Ranges, as the header says; of types 8 and 9 the meaning is unknown.
    pub declared_ranges: u32,
    /// Pages, as the header says; of types 8 and 9 the meaning is unknown.
    pub declared_pages: u64,
    /// Ranges of the table.
    pub ranges: u64,
    /// Pages of them.
    pub pages: u64,
    /// Pages of them that the file holds whole.
    pub held_pages: u64,
    /// Where the last page should end.
    pub end: u64,
}

/// The header at `at`, if it begins as one, with counts that are not looked at yet.
pub(super) fn header(source: &dyn ReadAt, at: u64) -> io::Result<Option<RangesBody>> {
    let mut bytes = [0; size_of::<RangesHeader>()];
    fill_at(source, at, &mut bytes)?;
    Ok(RangesHeader::ref_from_bytes(&bytes)
        .ok()
        .filter(|header| header.tag == TAG && header.second_tag == SECOND_TAG)
        .filter(|header| header.marker.get() == MARKER)
        .map(|header| RangesBody {
            header: at,
            counted: false,
            metadata_bytes: header.metadata_bytes.get(),
            first_page: header.first_page.get(),
            declared_ranges: header.ranges.get(),
            declared_pages: header.pages.get(),
            ranges: 0,
            pages: 0,
            held_pages: 0,
            end: 0,
        }))
}

impl RangesBody {
    /// Reads the table: fills in what was counted; the memory, and what was odd.
    pub(super) fn read(&mut self, source: &dyn ReadAt, problems: &mut Vec<Problem>) -> Placed {
        let start = self.header.saturating_add(BYTES);
        let metadata = self.header.saturating_add(METADATA_START);
        if metadata.checked_add(self.metadata_bytes) != Some(self.first_page) {
            problems.push(Problem::new(
                ProblemKind::FirstPage,
                "offset of the first page",
                self.header.saturating_add(0x18),
                format!(
                    "{:#x} behind {:#x} bytes of metadata",
                    metadata.saturating_add(self.metadata_bytes),
                    self.metadata_bytes
                ),
                format!("{:#x}", self.first_page),
            ));
        }
        let room = self.first_page.min(source.size()).saturating_sub(start);
        let mut table = Table {
            placer: Placer::new(self.first_page, source.size()),
            ranges: 0,
            limit: self.counted.then_some(self.declared_pages),
        };
        if let Err(error) = table.read(source, start, room / RANGE_BYTES) {
            problems.push(Problem::new(
                ProblemKind::Unreadable,
                "table of ranges",
                start,
                "a table",
                error.to_string(),
            ));
        }
        self.ranges = table.ranges;
        let placed = table.placer.finish();
        self.pages = placed.pages;
        self.held_pages = placed.held;
        self.end = placed.end;
        if self.counted {
            self.counts(problems);
        }
        placed.problems("table of ranges", start, problems);
        placed
    }

    /// Whether the totals, which types 8 and 9 need not have, are those of the table.
    pub(super) fn totals_agree(&self) -> bool {
        self.pages > 0
            && self.pages == self.declared_pages
            && self.ranges == u64::from(self.declared_ranges)
    }

    /// The totals of type 0xA.
    fn counts(&self, problems: &mut Vec<Problem>) {
        let at = self.header.saturating_add(METADATA_START);
        if u64::from(self.declared_ranges) != self.ranges {
            problems.push(Problem::new(
                ProblemKind::RangeTable,
                "number of ranges",
                at,
                format!("{}, those of the table", self.ranges),
                self.declared_ranges.to_string(),
            ));
        }
        if self.declared_pages != self.pages {
            problems.push(Problem::new(
                ProblemKind::RangeTable,
                "pages of the ranges",
                at.saturating_add(8),
                format!("{}, those of the table", self.pages),
                self.declared_pages.to_string(),
            ));
        }
    }
}

struct Table {
    placer: Placer,
    ranges: u64,
    /// Pages after which no range follows, whatever stands there.
    limit: Option<u64>,
}

impl Table {
    fn read(&mut self, source: &dyn ReadAt, start: u64, there: u64) -> io::Result<()> {
        let most = there.min(RunBuilder::MAX_RUNS as u64);
        let bytes = most.saturating_mul(RANGE_BYTES);
        let mut buffer = vec![0; BLOCK.min(usize::try_from(bytes).unwrap_or(BLOCK))];
        let mut done = 0_u64;
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
                let full = self.limit.is_some_and(|limit| self.placer.pages() >= limit);
                if range.first.get() == 0 || full {
                    return Ok(());
                }
                self.ranges = self.ranges.saturating_add(1);
                self.placer.range(range.first.get(), range.frames.get());
            }
        }
        if most < there {
            self.placer.give_up();
        }
        Ok(())
    }
}
