//! The Snappy streams of AVML.
//!
//! ```text
//! type, length | data chunk (at most 64 KiB decoded) | type, length | data chunk | ...
//! ```
//!
//! A stream says nowhere how long it is: its chunks are walked, 4 + 5 bytes of each, and every 256th chunk is
//! noted. From there a page's chunk is found again when somebody reads it.

use std::io::Read;
use std::sync::Arc;

use super::twice;
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::codec::block_cache::BlockCache;
use crate::container::extents::Extent;
use crate::error::{Error, Place, Result};
use crate::format::lime::snappy::{
    CHECKSUM, COMPRESSED, HEADER, MAX_DATA, PLAIN, SKIPPABLE, STREAM,
};
use crate::memory::{Backing, DecodeError, Frames, PageDecoder, RunBuilder, SortedRuns};
use crate::source::{ReadAt, fill_at};

/// Chunks between two notes: 16 MiB of memory, as AVML's own ranges.
const CHUNKS_A_BLOCK: u64 = 256;
/// Notes that are accepted: 40 MiB of ours, 16 TiB of memory.
const MAX_BLOCKS: usize = 1 << 20;
/// Decoded chunks that are kept.
const KEPT: u64 = 64;
/// Bytes of a chunk that are read to learn its size: header, checksum, and Snappy's own length.
const CHUNK_HEAD: usize = HEADER + 4 + 5;
/// Chunks without data that are skipped in a row: they cost a reader time and hold nothing.
const MAX_IDLE: u32 = 1 << 16;

/// Memory from `gpa` on, whose first chunk is at `offset`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    gpa: u64,
    bytes: u64,
    offset: u64,
}

impl Block {
    const fn end(&self) -> u64 {
        self.gpa.saturating_add(self.bytes)
    }
}

/// A chunk that holds memory.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// Where it is, and how many bytes it takes behind its header.
    offset: u64,
    stored: u64,
    /// Bytes of memory.
    bytes: u64,
}

impl Chunk {
    const fn end(&self) -> u64 {
        self.offset
            .saturating_add(HEADER as u64)
            .saturating_add(self.stored)
    }
}

/// The chunk with data at or behind `at`; `None` where the file ends.
fn next_chunk(source: &dyn ReadAt, at: u64) -> Result<Option<Chunk>> {
    const WHAT: &str = "chunk of a Snappy stream";
    let mut at = at;
    for _ in 0..MAX_IDLE {
        let mut head = [0; CHUNK_HEAD];
        let read = fill_at(source, at, &mut head)
            .map_err(|e| Error::io(format!("cannot read {WHAT} at {}", Place::Offset(at)), e))?;
        if read < HEADER as u64 {
            return Ok(None);
        }
        let [kind, a, b, c, checked @ ..] = head;
        let stored = u64::from(u32::from_le_bytes([a, b, c, 0]));
        let bytes = match kind {
            COMPRESSED => {
                let length = checked.get(4..).unwrap_or_default();
                snap::raw::decompress_len(length)
                    .ok()
                    .map(|bytes| bytes as u64)
            }
            PLAIN => stored.checked_sub(CHECKSUM),
            SKIPPABLE.. => {
                at = at.saturating_add(HEADER as u64).saturating_add(stored);
                continue;
            }
            _ => None,
        };
        return match bytes {
            Some(bytes) if (1..=MAX_DATA).contains(&bytes) => Ok(Some(Chunk {
                offset: at,
                stored,
                bytes,
            })),
            _ => Err(Error::malformed(
                WHAT,
                Place::Offset(at),
                "1 to 65536 bytes of data",
                format!("type {kind:#x}, {stored} bytes"),
            )),
        };
    }
    Err(Error::malformed(
        WHAT,
        Place::Offset(at),
        "data",
        format!("{MAX_IDLE} chunks without any"),
    ))
}

/// Where a stream ends.
pub(super) struct Walked {
    pub(super) end: u64,
    /// Whether all the memory that the range promises is there.
    pub(super) is_whole: bool,
}

/// Notes the blocks of the stream that is where `range` says.
pub(super) fn walk(source: &dyn ReadAt, range: Extent, blocks: &mut Vec<Block>) -> Result<Walked> {
    let (mut at, mut done) = (range.offset, 0_u64);
    let mut chunks = 0_u64;
    while done < range.bytes {
        let chunk = next_chunk(source, at)?.filter(|chunk| chunk.end() <= source.size());
        let Some(chunk) = chunk else {
            return Ok(Walked {
                end: at,
                is_whole: false,
            });
        };
        let bytes = done.saturating_add(chunk.bytes);
        if bytes > range.bytes {
            return Err(Error::malformed(
                "Snappy stream of a range",
                Place::Offset(range.offset),
                format!("{:#x} bytes", range.bytes),
                format!("{bytes:#x} or more"),
            ));
        }
        if chunks.is_multiple_of(CHUNKS_A_BLOCK) {
            if blocks.len() >= MAX_BLOCKS {
                return Err(Error::TooMany {
                    what: "compressed blocks of memory",
                    found: blocks.len() as u64,
                    limit: MAX_BLOCKS as u64,
                });
            }
            blocks.push(Block {
                gpa: range.gpa.saturating_add(done),
                bytes: 0,
                offset: at,
            });
        }
        if let Some(block) = blocks.last_mut() {
            block.bytes = block.bytes.saturating_add(chunk.bytes);
        }
        chunks = chunks.saturating_add(1);
        done = bytes;
        at = chunk.end();
    }
    Ok(Walked {
        end: at,
        is_whole: true,
    })
}

/// A decoded chunk.
#[derive(Debug)]
struct Decoded {
    /// The address of its first byte.
    start: u64,
    bytes: Vec<u8>,
}

/// All blocks of a file. The number of a page is that of its frame.
#[derive(Debug)]
pub(super) struct Blocks {
    source: Arc<dyn ReadAt>,
    /// Ascending, without overlap.
    blocks: Vec<Block>,
    /// A chunk is kept under its address in units of 64 KiB.
    kept: BlockCache<Decoded>,
}

impl Blocks {
    pub(super) fn new(source: Arc<dyn ReadAt>, mut blocks: Vec<Block>) -> Result<Self> {
        blocks.sort_unstable_by_key(|block| block.gpa);
        let mut pairs = blocks.iter().zip(blocks.iter().skip(1));
        if let Some((_, next)) = pairs.find(|(block, next)| next.gpa < block.end()) {
            return Err(twice(next.gpa));
        }
        Ok(Self {
            source,
            blocks,
            kept: BlockCache::new(KEPT),
        })
    }

    /// Frames of which there are bytes.
    pub(super) fn runs(&self) -> Result<SortedRuns> {
        let mut runs = RunBuilder::default();
        let mut next = 0;
        for block in &self.blocks {
            let first = (block.gpa / PAGE_SIZE).max(next);
            let end = block.end().div_ceil(PAGE_SIZE);
            if first < end {
                let frames = Frames::between(Pfn::new(first), Pfn::new(end));
                runs.push(frames, Backing::Encoded { index: first })?;
                next = end;
            }
        }
        runs.finish()
            .map_err(|overlap| twice(overlap.pfn.gpa().get()))
    }

    /// Borders of ranges inside a frame, in words.
    pub(super) fn warning(&self) -> Option<String> {
        let mut partial = 0_u64;
        let mut end = 0;
        for (block, next) in self
            .blocks
            .iter()
            .map(|block| (block.gpa, block.end()))
            .chain([(u64::MAX, u64::MAX)])
        {
            // Both borders of a gap may lie in one frame: it is counted twice then, and that is rare.
            if block != end {
                partial = partial.saturating_add(u64::from(!end.is_multiple_of(PAGE_SIZE)));
                let inside = block != u64::MAX && !block.is_multiple_of(PAGE_SIZE);
                partial = partial.saturating_add(u64::from(inside));
            }
            end = next;
        }
        (partial > 0).then(|| {
            format!("{partial} frames are only partly in the file; the rest of them is zeros")
        })
    }

    /// The chunk that holds `gpa`, which is in `block`.
    fn chunk(&self, block: &Block, gpa: u64) -> Result<Arc<Decoded>, DecodeError> {
        let is_wanted = |decoded: &Decoded| {
            let skipped = gpa.checked_sub(decoded.start);
            skipped.is_some_and(|skipped| skipped < decoded.bytes.len() as u64)
        };
        let make = || self.make(block, gpa);
        self.kept.find_or_make(gpa / MAX_DATA, is_wanted, make)
    }

    fn make(&self, block: &Block, gpa: u64) -> Result<Decoded, DecodeError> {
        let (mut at, mut start) = (block.offset, block.gpa);
        let chunk = loop {
            let next = next_chunk(&*self.source, at);
            let next = next.map_err(|error| DecodeError::corrupt(at, error.to_string()))?;
            let chunk = next.ok_or_else(|| DecodeError::ended(at))?;
            let end = start.saturating_add(chunk.bytes);
            if gpa < end {
                break chunk;
            }
            (at, start) = (chunk.end(), end);
        };
        Ok(Decoded {
            start,
            bytes: self.decode_chunk(chunk)?,
        })
    }

    /// Its bytes, with their checksum looked at.
    fn decode_chunk(&self, chunk: Chunk) -> Result<Vec<u8>, DecodeError> {
        let offset = chunk.offset;
        // The length has three bytes; no compressor needs that many.
        let most = snap::raw::max_compress_len(usize::try_from(MAX_DATA).unwrap_or(0));
        if chunk.stored > most as u64 {
            let what = format!("a chunk of {} bytes", chunk.stored);
            return Err(DecodeError::corrupt(offset, what));
        }
        let whole = chunk.end().saturating_sub(offset);
        let mut data = vec![0; usize::try_from(whole).unwrap_or(0)];
        let read = fill_at(&*self.source, offset, &mut data);
        let read = read.map_err(|source| DecodeError::Unreadable { offset, source })?;
        if read < whole {
            return Err(DecodeError::ended(offset));
        }
        let mut decoder = snap::read::FrameDecoder::new(STREAM.chain(data.as_slice()));
        let mut decoded = Vec::new();
        decoder
            .read_to_end(&mut decoded)
            .map_err(|error| DecodeError::corrupt(offset, format!("Snappy: {error}")))?;
        Ok(decoded)
    }
}

impl PageDecoder for Blocks {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let start = Pfn::new(index).gpa().get();
        let end = start.saturating_add(PAGE_SIZE);
        page.fill(0);
        let mut at = start;
        while at < end {
            let after = self.blocks.partition_point(|block| block.end() <= at);
            let Some(block) = self.blocks.get(after).filter(|block| block.gpa < end) else {
                break;
            };
            at = at.max(block.gpa);
            let decoded = self.chunk(block, at)?;
            let skipped = usize::try_from(at.saturating_sub(decoded.start)).unwrap_or(0);
            let bytes = decoded.bytes.get(skipped..).unwrap_or_default();
            let place = usize::try_from(at.saturating_sub(start)).unwrap_or(0);
            let target = page.get_mut(place..).unwrap_or_default();
            for (to, from) in target.iter_mut().zip(bytes) {
                *to = *from;
            }
            at = at.saturating_add(bytes.len().min(target.len()).max(1) as u64);
        }
        Ok(())
    }
}
