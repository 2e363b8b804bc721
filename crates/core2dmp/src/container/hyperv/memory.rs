//! Memory: ranges of frames, and blocks of a MiB that hold them.
//!
//! ```text
//! RamMemoryBlock<n>  first frame | frames | page        page p is in RamBlock<p / 256>, p % 256 pages behind its start
//! RamBlock<n>        a MiB as it is -> a place in the file;   less -> Xpress, decoded when somebody reads
//! ```

use std::sync::Arc;

use zerocopy::FromBytes;

use super::storage::Bytes;
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::codec::block_cache::BlockCache;
use crate::codec::xpress::lz77;
use crate::error::{Error, Place, Result};
use crate::format::hyperv::{BLOCK_BYTES, MEMORY_VERSION, MemoryBlock};
use crate::memory::{Backing, DecodeError, Frames, PageDecoder, RunBuilder, SortedRuns};
use crate::source::{ReadAt, fill_at};

/// Pages of a block.
const BLOCK_PAGES: u64 = BLOCK_BYTES as u64 / PAGE_SIZE;
/// Blocks that are accepted: 64 MiB of ours, 4 TiB of memory.
const MAX_BLOCKS: usize = 1 << 22;
/// Ranges that are accepted.
const MAX_RANGES: usize = 1 << 16;
/// Places where stored and compressed blocks meet, up to which the stored ones are runs of the file.
const MAX_BORDERS: usize = 1 << 16;
/// Decoded blocks that are kept: 32 MiB.
const KEPT: u64 = 32;

/// Where a block is.
#[derive(Debug, Clone, Copy)]
struct Block {
    number: u32,
    bytes: Bytes,
}

impl Block {
    const fn is_stored(&self) -> bool {
        self.bytes.size as usize == BLOCK_BYTES
    }

    const fn end(&self) -> u64 {
        self.bytes.offset.saturating_add(self.bytes.size as u64)
    }
}

/// A range of frames.
#[derive(Debug, Clone, Copy)]
struct Range {
    number: u32,
    frames: Frames,
    page: u64,
}

impl Range {
    /// One past its last page.
    const fn end(&self) -> u64 {
        self.page.saturating_add(self.frames.count)
    }
}

/// Collects the keys of memory, in any order.
#[derive(Debug, Default)]
pub(super) struct MemoryKeys {
    blocks: Vec<Block>,
    ranges: Vec<Range>,
}

impl MemoryKeys {
    /// Adds `RamBlock<number>`.
    pub(super) fn block(&mut self, number: u32, bytes: Bytes) -> Result<()> {
        if self.blocks.len() >= MAX_BLOCKS {
            return Err(Error::TooMany {
                what: "blocks of memory",
                found: self.blocks.len() as u64,
                limit: MAX_BLOCKS as u64,
            });
        }
        self.blocks.push(Block { number, bytes });
        Ok(())
    }

    /// Adds `RamMemoryBlock<number>`.
    pub(super) fn range(&mut self, source: &dyn ReadAt, number: u32, bytes: Bytes) -> Result<()> {
        const WHAT: &str = "range of memory in the saved state";
        if self.ranges.len() >= MAX_RANGES {
            return Err(Error::TooMany {
                what: "ranges of memory in the saved state",
                found: self.ranges.len() as u64,
                limit: MAX_RANGES as u64,
            });
        }
        let place = Place::Offset(bytes.offset);
        if bytes.size as usize != size_of::<MemoryBlock>() {
            let expected = format!("{} bytes", size_of::<MemoryBlock>());
            return Err(Error::malformed(
                WHAT,
                place,
                expected,
                bytes.size.to_string(),
            ));
        }
        let raw = bytes.read(source, WHAT)?;
        let Ok(range) = MemoryBlock::ref_from_bytes(&raw) else {
            return Ok(());
        };
        if range.version.get() != MEMORY_VERSION {
            let expected = format!("version {MEMORY_VERSION}, the only one that is described");
            let found = format!("version {}", range.version);
            return Err(Error::malformed(WHAT, place, expected, found));
        }
        let (first, frames) = (range.first.get(), range.frames.get());
        let end = first
            .checked_add(frames)
            .filter(|end| *end <= Pfn::END.get());
        let pages = range.page.get().checked_add(frames);
        if end.is_none() || pages.is_none() {
            return Err(Error::malformed(
                WHAT,
                place,
                format!("frames below {:#x}", Pfn::END.get()),
                format!("{frames:#x} from {first:#x} on"),
            ));
        }
        self.ranges.push(Range {
            number,
            frames: Frames::new(Pfn::new(first), frames),
            page: range.page.get(),
        });
        Ok(())
    }

    /// Orders what was collected.
    pub(super) fn finish(mut self) -> Result<Memory> {
        self.blocks.sort_unstable_by_key(|block| block.number);
        self.ranges.sort_unstable_by_key(|range| range.number);
        let mut pairs = self.blocks.iter().zip(self.blocks.iter().skip(1));
        if let Some((_, next)) = pairs.find(|(block, next)| block.number == next.number) {
            let (place, name) = (Place::Offset(next.bytes.offset), next.number);
            let found = format!("RamBlock{name} twice");
            return Err(Error::malformed(
                "block of memory",
                place,
                "every block once",
                found,
            ));
        }
        let mut pairs = self.ranges.iter().zip(self.ranges.iter().skip(1));
        if let Some((_, next)) = pairs.find(|(range, next)| range.number == next.number) {
            let (place, name) = (Place::Physical(next.frames.first.gpa()), next.number);
            let found = format!("RamMemoryBlock{name} twice");
            return Err(Error::malformed(
                "range of memory",
                place,
                "every range once",
                found,
            ));
        }
        let mut pages: Vec<&Range> = self.ranges.iter().collect();
        pages.sort_unstable_by_key(|range| range.page);
        let mut pairs = pages.iter().zip(pages.iter().skip(1));
        // Each page is of one range: otherwise a few ranges would be as much work as all of them.
        if let Some((_, next)) = pairs.find(|(range, next)| next.page < range.end()) {
            let place = Place::Physical(next.frames.first.gpa());
            let found = format!("page {:#x} in two", next.page);
            return Err(Error::malformed(
                "ranges of memory",
                place,
                "every page in one",
                found,
            ));
        }
        Ok(Memory {
            blocks: self.blocks,
            ranges: self.ranges,
        })
    }
}

/// Blocks and ranges, ascending.
#[derive(Debug)]
pub(super) struct Memory {
    blocks: Vec<Block>,
    ranges: Vec<Range>,
}

impl Memory {
    pub(super) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn compressed(&self) -> usize {
        self.blocks
            .iter()
            .filter(|block| !block.is_stored())
            .count()
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// One past the last byte of all blocks.
    pub(super) fn end(&self) -> u64 {
        self.blocks.iter().map(Block::end).max().unwrap_or(0)
    }

    fn block(&self, number: u64) -> Option<&Block> {
        let number = u32::try_from(number).ok()?;
        let index = self
            .blocks
            .binary_search_by_key(&number, |block| block.number);
        self.blocks.get(index.ok()?)
    }

    /// The frames, and how many of them no block holds.
    pub(super) fn runs(&self) -> Result<(SortedRuns, u64)> {
        let pairs = self.blocks.iter().zip(self.blocks.iter().skip(1));
        let borders = pairs.filter(|(block, next)| block.is_stored() != next.is_stored());
        let in_file = borders.count() <= MAX_BORDERS;
        let mut runs = RunBuilder::default();
        let mut lost = 0_u64;
        for range in &self.ranges {
            let held = self.range(*range, in_file, &mut runs)?;
            lost = lost.saturating_add(range.frames.count.saturating_sub(held));
        }
        let runs = runs.finish().map_err(|overlap| {
            let place = Place::Physical(overlap.pfn.gpa());
            Error::malformed("ranges of memory", place, "every frame once", "it twice")
        })?;
        Ok((runs, lost))
    }

    /// Adds the frames of a range that blocks hold; how many.
    fn range(&self, range: Range, in_file: bool, runs: &mut RunBuilder) -> Result<u64> {
        let end = range.end();
        let first = range.page / BLOCK_PAGES;
        let start = self
            .blocks
            .partition_point(|block| u64::from(block.number) < first);
        let mut held = 0_u64;
        for block in self.blocks.get(start..).unwrap_or_default() {
            let pages = u64::from(block.number).saturating_mul(BLOCK_PAGES);
            if pages >= end {
                break;
            }
            let from = pages.max(range.page);
            let count = pages
                .saturating_add(BLOCK_PAGES)
                .min(end)
                .saturating_sub(from);
            let skipped = from.saturating_sub(range.page);
            let frames = Frames::new(range.frames.first.saturating_add(skipped), count);
            let inside = from.saturating_sub(pages).saturating_mul(PAGE_SIZE);
            let backing = if in_file && block.is_stored() {
                let offset = block.bytes.offset.saturating_add(inside);
                Backing::File { offset }
            } else {
                Backing::Encoded { index: from }
            };
            runs.push(frames, backing)?;
            held = held.saturating_add(count);
        }
        Ok(held)
    }
}

/// A decoded block.
#[derive(Debug)]
struct Decoded {
    number: u64,
    bytes: Vec<u8>,
}

/// Makes pages of blocks; a page's number is the one that ranges give it.
#[derive(Debug)]
pub(super) struct Blocks {
    source: Arc<dyn ReadAt>,
    memory: Memory,
    kept: BlockCache<Decoded>,
}

impl Blocks {
    pub(super) fn new(source: Arc<dyn ReadAt>, memory: Memory) -> Self {
        Self {
            source,
            memory,
            kept: BlockCache::new(KEPT),
        }
    }

    fn decoded(&self, number: u64) -> Result<Arc<Decoded>, DecodeError> {
        let is_wanted = |decoded: &Decoded| decoded.number == number;
        self.kept.find_or_make(number, is_wanted, || {
            let bytes = self.decode_block(number)?;
            Ok(Decoded { number, bytes })
        })
    }

    fn decode_block(&self, number: u64) -> Result<Vec<u8>, DecodeError> {
        let block = self.memory.block(number);
        let block = block.ok_or_else(|| DecodeError::corrupt(0, "no such block"))?;
        let Bytes { offset, size } = block.bytes;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > BLOCK_BYTES {
            let what = format!("a block of {size:#x} bytes, more than a MiB");
            return Err(DecodeError::corrupt(offset, what));
        }
        let mut data = vec![0; size];
        let read = fill_at(&*self.source, offset, &mut data);
        let read = read.map_err(|source| DecodeError::Unreadable { offset, source })?;
        if read < size as u64 {
            return Err(DecodeError::ended(offset));
        }
        if block.is_stored() {
            return Ok(data);
        }
        let mut block = vec![0; BLOCK_BYTES];
        let made = lz77::decode(&data, &mut block);
        let made =
            made.map_err(|error| DecodeError::corrupt(offset, format!("Xpress: {error}")))?;
        if made < BLOCK_BYTES {
            let what = format!("Xpress: {made:#x} bytes of a MiB");
            return Err(DecodeError::corrupt(offset, what));
        }
        Ok(block)
    }
}

impl PageDecoder for Blocks {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let decoded = self.decoded(index / BLOCK_PAGES)?;
        let start = usize::try_from(index % BLOCK_PAGES).unwrap_or(0);
        let start = start.saturating_mul(PAGE_BYTES);
        let found = decoded.bytes.get(start..start.saturating_add(PAGE_BYTES));
        page.copy_from_slice(found.unwrap_or(&[0; PAGE_BYTES]));
        Ok(())
    }
}
