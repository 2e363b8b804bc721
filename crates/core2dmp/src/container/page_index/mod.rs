//! Where a stream keeps each page: pages come in any order, one by one, several times, and the last one is used.
//!
//! ```text
//! page   0      ..   0x9f   0xa0  0xa1  0xa2  ..        pages whose records follow each other are one entry:
//!        |- Stored -----|   |- Mixed, 64 pages: zeros and data by bits -|   |- Zero ----- ...
//! ```
//!
//! Memory grows with the number of entries, and [`PageIndex::MAX_ENTRIES`] of them take about 250 MiB.

mod entry;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::address::{PAGE_BYTES, Pfn};
use crate::error::{Error, Result};
use crate::memory::{
    Backing, DecodeError, Frames, PageDecoder, PhysicalMemory, RunBuilder, SortedRuns,
};
use crate::source::{ReadAt, fill_at};

pub(super) use entry::{DATA_RECORD, Kind, RECORD, ZERO_RECORD};

use entry::{Entry, MASK_PAGES};

/// Bytes that a page may be packed into.
const MAX_PACKED: u32 = 0x2000;
/// Runs of zeros at most that are runs of the memory.
const MAX_ZERO_RUNS: usize = 1 << 18;

/// Records of zeros and data that follow each other, in ascending order of pages.
#[derive(Debug, Clone, Copy)]
struct Open {
    first: u64,
    pages: u64,
    /// Of the first record, as if it had no name of a block in it.
    offset: u64,
    /// Where the next record has to be.
    end: u64,
    data: u64,
    /// The kind of the pages so far, while they are all of one.
    all: Option<bool>,
}

/// Where each page is.
#[derive(Debug, Default)]
pub(super) struct PageIndex {
    entries: BTreeMap<u64, Entry>,
    open: Option<Open>,
    /// Pages that came again.
    pub(super) again: u64,
}

impl PageIndex {
    /// Entries that are accepted.
    pub(super) const MAX_ENTRIES: usize = 3 << 20;

    /// A record of a page: zeros, or data that end it. `end` is where it ends.
    pub(super) fn record(&mut self, page: u64, is_data: bool, end: u64) -> Result<()> {
        let bytes = if is_data { DATA_RECORD } else { ZERO_RECORD };
        let at = end.saturating_sub(bytes);
        if let Some(open) = &mut self.open
            && open.first.saturating_add(open.pages) == page
            && open.end == at
            && (open.all == Some(is_data) || open.pages < MASK_PAGES)
        {
            if open.pages < MASK_PAGES {
                open.data |= u64::from(is_data) << open.pages;
            }
            if open.all != Some(is_data) {
                open.all = None;
            }
            open.pages = open.pages.saturating_add(1);
            open.end = end;
            return Ok(());
        }
        self.close()?;
        self.open = Some(Open {
            first: page,
            pages: 1,
            offset: at,
            end,
            data: u64::from(is_data),
            all: Some(is_data),
        });
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let (offset, kind) = match open.all {
            Some(true) => {
                let stride = DATA_RECORD;
                (open.offset.saturating_add(RECORD), Kind::Stored { stride })
            }
            Some(false) => (open.offset, Kind::Zero),
            None => (open.offset, Kind::Mixed { data: open.data }),
        };
        let entry = Entry {
            pages: open.pages,
            offset,
            kind,
        };
        self.insert(open.first, entry)
    }

    /// So many pages from `first` on, the first of them at `offset`.
    pub(super) fn pages(&mut self, first: u64, pages: u64, offset: u64, kind: Kind) -> Result<()> {
        self.close()?;
        let entry = Entry {
            pages,
            offset,
            kind,
        };
        if let Some(mut last) = self.entries.last_entry()
            && last.key().saturating_add(last.get().pages) == first
            && last.get().kind == kind
            && let Kind::Stored { .. } | Kind::Zero = kind
            && (kind == Kind::Zero || last.get().skip(last.get().pages).offset == offset)
        {
            let last = last.get_mut();
            last.pages = last.pages.saturating_add(pages);
            return Ok(());
        }
        self.insert(first, entry)
    }

    /// These pages are not there after all.
    pub(super) fn forget(&mut self, first: u64, pages: u64) -> Result<()> {
        self.close()?;
        self.carve(first, first.saturating_add(pages))?;
        Ok(())
    }

    fn insert(&mut self, first: u64, entry: Entry) -> Result<()> {
        if entry.pages == 0 {
            return Ok(());
        }
        let carved = self.carve(first, first.saturating_add(entry.pages))?;
        self.again = self.again.saturating_add(carved);
        self.put(first, entry)
    }

    fn put(&mut self, first: u64, entry: Entry) -> Result<()> {
        if self.entries.len() >= Self::MAX_ENTRIES {
            return Err(Error::TooMany {
                what: "pieces of memory in the stream",
                found: self.entries.len() as u64,
                limit: Self::MAX_ENTRIES as u64,
            });
        }
        self.entries.insert(first, entry);
        Ok(())
    }

    /// Takes out what there is from `first` to `end`; how many pages that were.
    fn carve(&mut self, first: u64, end: u64) -> Result<u64> {
        let mut gone = 0_u64;
        if let Some((at, before)) = self.entries.range_mut(..first).next_back() {
            let (at, whole) = (*at, *before);
            let stop = at.saturating_add(whole.pages);
            if stop > first {
                before.pages = first.saturating_sub(at);
                gone = stop.min(end).saturating_sub(first);
                if stop > end {
                    self.put(end, whole.skip(end.saturating_sub(at)))?;
                }
            }
        }
        while let Some((at, entry)) = self.entries.range(first..end).next() {
            let (at, entry) = (*at, *entry);
            self.entries.remove(&at);
            let stop = at.saturating_add(entry.pages);
            gone = gone.saturating_add(stop.min(end).saturating_sub(at));
            if stop > end {
                self.put(end, entry.skip(end.saturating_sub(at)))?;
            }
        }
        Ok(gone)
    }

    /// Memory of these pages; `places` says where in it they lie: first page, and frames. Sorted, without overlap.
    pub(super) fn memory(
        mut self,
        source: Arc<dyn ReadAt>,
        places: &[(u64, Frames)],
    ) -> Result<PhysicalMemory> {
        self.close()?;
        // Long runs of zeros become runs; short ones are stored like any page, so that the memory does not get too many
        // runs.
        let mut least = 16;
        while self.zero_runs(least) > MAX_ZERO_RUNS {
            least = least.saturating_mul(2);
        }
        let mut runs = RunBuilder::default();
        for &(page, frames) in places {
            self.push_runs(&mut runs, page, frames, least)?;
        }
        let runs = runs.finish().unwrap_or_else(|_| SortedRuns::default());
        let memory = PhysicalMemory::new(Arc::clone(&source), runs);
        Ok(memory.with_decoder(Arc::new(Pages {
            source,
            entries: self.entries,
        })))
    }

    fn zero_runs(&self, least: u64) -> usize {
        let is_long = |entry: &&Entry| entry.kind == Kind::Zero && entry.pages >= least;
        self.entries.values().filter(is_long).count()
    }

    fn push_runs(
        &self,
        runs: &mut RunBuilder,
        page: u64,
        frames: Frames,
        least: u64,
    ) -> Result<()> {
        let end = page.saturating_add(frames.count);
        for (first, stop, entry) in self.between(page, end) {
            let frame = frames.first.saturating_add(first.saturating_sub(page));
            let backing = match entry.kind {
                Kind::Zero if entry.pages >= least => Backing::Zero,
                _ => Backing::Encoded { index: first },
            };
            runs.push(Frames::new(frame, stop.saturating_sub(first)), backing)?;
        }
        Ok(())
    }

    /// What there is from `page` to `end`: first page, end, and the entry that holds them.
    fn between(&self, page: u64, end: u64) -> impl Iterator<Item = (u64, u64, &Entry)> {
        let before = self.entries.range(..page).next_back();
        let inside = self.entries.range(page..end);
        let all = before.into_iter().chain(inside);
        all.filter_map(move |(&at, entry)| {
            let (first, stop) = (at.max(page), at.saturating_add(entry.pages).min(end));
            (first < stop).then_some((first, stop, entry))
        })
    }

    /// Pages from `page` to `end` that are there.
    pub(super) fn count(&mut self, page: u64, end: u64) -> Result<u64> {
        self.close()?;
        let pages = self
            .between(page, end)
            .map(|(first, stop, _)| stop.saturating_sub(first));
        Ok(pages.fold(0, u64::saturating_add))
    }
}

/// Makes pages of a stream. The number of a page is the stream's own.
#[derive(Debug)]
struct Pages {
    source: Arc<dyn ReadAt>,
    entries: BTreeMap<u64, Entry>,
}

impl Pages {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let wanted = bytes.len() as u64;
        let read = fill_at(&*self.source, offset, bytes);
        match read.map_err(|source| DecodeError::Unreadable { offset, source })? {
            read if read < wanted => Err(DecodeError::ended(offset)),
            _ => Ok(()),
        }
    }

    fn unpack(&self, offset: u64, bytes: u32, page: &mut [u8]) -> Result<(), DecodeError> {
        if bytes > MAX_PACKED {
            let what = format!("a page of {bytes} bytes");
            return Err(DecodeError::corrupt(offset, what));
        }
        let mut packed = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.read(offset, &mut packed)?;
        let mut decoder = flate2::read::ZlibDecoder::new(packed.as_slice());
        let made = decoder.read_exact(page);
        made.map_err(|error| DecodeError::corrupt(offset, format!("zlib: {error}")))?;
        match decoder.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => {
                let what = "zlib: the stream does not end with the page";
                Err(DecodeError::corrupt(offset, what))
            }
        }
    }
}

impl PageDecoder for Pages {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let entry = self.entries.range(..=index).next_back();
        let entry = entry.and_then(|(&first, entry)| {
            let skipped = index.saturating_sub(first);
            (skipped < entry.pages).then(|| entry.skip(skipped))
        });
        let entry = entry.ok_or_else(|| DecodeError::corrupt(0, "no such page"))?;
        match entry.kind {
            Kind::Stored { .. } => return self.read(entry.offset, page),
            Kind::Mixed { data } if data & 1 != 0 => {
                return self.read(entry.offset.saturating_add(RECORD), page);
            }
            Kind::Packed { bytes } => return self.unpack(entry.offset, bytes, page),
            Kind::Zero | Kind::Mixed { .. } => page.fill(0),
            Kind::Filled { byte } => page.fill(byte),
        }
        Ok(())
    }
}

/// Where RAM lies in which there are holes: `pages` of them from page 0 on, put around `holes`, which are sorted.
pub(super) fn around(pages: u64, holes: &[Frames]) -> Vec<(u64, Frames)> {
    let mut places = Vec::new();
    let (mut next, mut done) = (Pfn::new(0), 0_u64);
    for hole in holes {
        let count = hole
            .first
            .frames_since(next)
            .min(pages.saturating_sub(done));
        if count > 0 {
            places.push((done, Frames::new(next, count)));
        }
        done = done.saturating_add(count);
        next = hole.end();
    }
    if done < pages {
        places.push((done, Frames::new(next, pages.saturating_sub(done))));
    }
    places
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "numbers of known size")]
mod tests;
