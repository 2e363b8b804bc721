//! Compressed blocks of pages: where they are, and the pages in them.
//!
//! ```text
//! page n --notes, every 16th block--> a block before it --headers--> its block --decode--> 16 pages, kept for a while
//! ```
//!
//! Up to Windows 7 a block has a tag of its own; since Windows 8 it is the data of a run. The memory that this takes is
//! bounded: 32 MiB of notes, 4 MiB of decoded blocks.

use std::sync::Arc;

use memchr::memmem;
use zerocopy::FromBytes;

use super::runs::Run;
use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::codec::block_cache::BlockCache;
use crate::codec::xpress::{huffman, lz77};
use crate::error::{Error, Place, Result};
use crate::format::hiberfil::{BLOCK_ALIGN, BLOCK_MAGIC, BlockHeader, MAX_PAGES};
use crate::memory::{DecodeError, PageDecoder};
use crate::source::{ReadAt, fill_at};

/// Blocks between two notes.
const EVERY: u32 = 16;
/// Notes that are accepted: 32 MiB of ours, 2 TiB of memory.
const MAX_NOTES: usize = 1 << 21;
/// Decoded blocks that are kept.
const KEPT: u64 = 64;
/// Bytes that are searched where a block should begin. Volatility skips 10 KiB.
const SEARCHED: usize = 0x4000;

/// How a block is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Stored,
    Plain,
    Huffman,
    /// Either of them: the sources disagree.
    Either,
}

/// Pages of memory, together in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Where its data starts, and how many bytes it has.
    pub(super) data: u64,
    pub(super) stored: u64,
    pub(super) pages: u64,
    pub(super) codec: Codec,
}

impl Block {
    /// Whether such a block can be.
    pub(super) const fn is_possible(pages: u64, stored: u64) -> bool {
        1 <= pages && pages <= MAX_PAGES && 1 <= stored && stored <= pages.saturating_mul(PAGE_SIZE)
    }

    /// One past its last byte.
    pub(super) const fn end(&self) -> u64 {
        self.data.saturating_add(self.stored)
    }
}

/// Which kind of blocks a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Behind a tag.
    Tagged,
    /// The data of a run, whose descriptors have 8 bytes or 4.
    Run { wide: bool },
}

impl Kind {
    /// The block at `at`; `None` if there is none.
    pub(super) fn block(self, source: &dyn ReadAt, at: u64) -> Result<Option<Block>> {
        match self {
            Self::Tagged => tagged(source, at),
            Self::Run { wide } => Ok(Run::read(source, at, wide)?.map(|run| run.block)),
        }
    }

    /// Where the block behind `block` begins.
    pub(super) const fn after(self, block: &Block) -> u64 {
        match self {
            Self::Tagged => {
                let end = block.end().saturating_add(BLOCK_ALIGN - 1);
                end & !(BLOCK_ALIGN - 1)
            }
            Self::Run { .. } => block.end(),
        }
    }
}

/// The block whose tag is at `at` or a little behind.
fn tagged(source: &dyn ReadAt, at: u64) -> Result<Option<Block>> {
    const WHAT: &str = "block of compressed pages";
    let cannot = |e| Error::io(format!("cannot read {WHAT} at {}", Place::Offset(at)), e);
    let mut at = at;
    let mut raw = [0; size_of::<BlockHeader>()];
    let mut read = fill_at(source, at, &mut raw).map_err(cannot)?;
    if !raw.starts_with(BLOCK_MAGIC) {
        let mut near = vec![0; SEARCHED];
        let found = fill_at(source, at, &mut near).map_err(cannot)?;
        near.truncate(usize::try_from(found).unwrap_or(0));
        let aligned = |place: &usize| (*place as u64).is_multiple_of(BLOCK_ALIGN);
        let Some(place) = memmem::find_iter(&near, BLOCK_MAGIC).find(aligned) else {
            return Ok(None);
        };
        at = at.saturating_add(place as u64);
        read = fill_at(source, at, &mut raw).map_err(cannot)?;
    }
    let Some(header) = BlockHeader::read_from_bytes(&raw)
        .ok()
        .filter(|_| read == raw.len() as u64)
    else {
        return Ok(None);
    };
    let (pages, stored) = (header.pages(), header.stored());
    if !Block::is_possible(pages, stored) {
        return Err(Error::malformed(
            WHAT,
            Place::Offset(at),
            format!("1 to {MAX_PAGES} pages, and no more bytes than they have"),
            format!("{pages} pages, {stored:#x} bytes"),
        ));
    }
    let is_stored = stored == pages.saturating_mul(PAGE_SIZE);
    Ok(Some(Block {
        data: at.saturating_add(raw.len() as u64),
        stored,
        pages,
        codec: if is_stored {
            Codec::Stored
        } else {
            Codec::Plain
        },
    }))
}

/// A block that is found again without walking from the beginning.
#[derive(Debug, Clone, Copy)]
struct Note {
    /// The number of its first page.
    first: u64,
    offset: u64,
}

/// Takes note of blocks in the order of their pages.
#[derive(Debug)]
pub(super) struct Index {
    kind: Kind,
    notes: Vec<Note>,
    /// Pages so far.
    pub(super) pages: u64,
    /// Blocks since the last note.
    since: u32,
}

impl Index {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            notes: Vec::new(),
            pages: 0,
            since: 0,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The next block does not follow the last one.
    pub(super) const fn restart(&mut self) {
        self.since = 0;
    }

    /// Adds the block at `offset`.
    pub(super) fn push(&mut self, offset: u64, pages: u64) -> Result<()> {
        if self.since == 0 {
            if self.notes.len() >= MAX_NOTES {
                return Err(Error::TooMany {
                    what: "notes of blocks of compressed pages",
                    found: self.notes.len() as u64,
                    limit: MAX_NOTES as u64,
                });
            }
            self.notes.push(Note {
                first: self.pages,
                offset,
            });
        }
        self.since = self.since.saturating_add(1) % EVERY;
        self.pages = self.pages.saturating_add(pages);
        Ok(())
    }

    /// The pages of these blocks.
    pub(super) fn pages(self, source: Arc<dyn ReadAt>) -> Pages {
        Pages {
            source,
            index: self,
            kept: BlockCache::new(KEPT),
        }
    }
}

/// A block's pages.
#[derive(Debug)]
struct Decoded {
    /// The number of the first.
    first: u64,
    bytes: Vec<u8>,
}

impl Decoded {
    fn page(&self, index: u64) -> Option<&[u8; PAGE_BYTES]> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let (pages, _) = self.bytes.as_chunks::<PAGE_BYTES>();
        pages.get(place)
    }
}

/// All pages of a file, numbered as they come.
#[derive(Debug)]
pub(super) struct Pages {
    source: Arc<dyn ReadAt>,
    index: Index,
    /// A block is kept under the numbers of its first and its last page, in units of 16.
    kept: BlockCache<Decoded>,
}

impl Pages {
    /// The block of page `index`, and the number of its first page.
    fn find(&self, index: u64) -> Result<(Block, u64), DecodeError> {
        let notes = &self.index.notes;
        let after = notes.partition_point(|note| note.first <= index);
        let nowhere = || DecodeError::corrupt(0, "no such page");
        let note = after
            .checked_sub(1)
            .and_then(|before| notes.get(before))
            .filter(|_| index < self.index.pages)
            .ok_or_else(nowhere)?;
        let (mut at, mut first) = (note.offset, note.first);
        for _ in 0..EVERY {
            let block = self.index.kind.block(&*self.source, at);
            let block = block
                .map_err(|error| DecodeError::corrupt(at, error.to_string()))?
                .ok_or_else(|| DecodeError::corrupt(at, "no block of pages"))?;
            let end = first.saturating_add(block.pages);
            if index < end {
                return Ok((block, first));
            }
            (at, first) = (self.index.kind.after(&block), end);
        }
        Err(nowhere())
    }

    fn decoded(&self, index: u64) -> Result<Arc<Decoded>, DecodeError> {
        let is_wanted = |decoded: &Decoded| decoded.page(index).is_some();
        if let Some(decoded) = self.kept.find(index / MAX_PAGES, is_wanted) {
            return Ok(decoded);
        }
        let (block, first) = self.find(index)?;
        let bytes = decode(&*self.source, &block)?;
        let last = first.saturating_add(block.pages).saturating_sub(1);
        let decoded = Arc::new(Decoded { first, bytes });
        for page in [first, last] {
            self.kept.keep(page / MAX_PAGES, &decoded);
        }
        Ok(decoded)
    }
}

/// The pages of a block.
pub(super) fn decode(source: &dyn ReadAt, block: &Block) -> Result<Vec<u8>, DecodeError> {
    let offset = block.data;
    let mut data = vec![0; usize::try_from(block.stored).unwrap_or(0)];
    let read = fill_at(source, offset, &mut data);
    let read = read.map_err(|source| DecodeError::Unreadable { offset, source })?;
    if read < block.stored {
        return Err(DecodeError::ended(offset));
    }
    let size = usize::try_from(block.pages)
        .unwrap_or(0)
        .saturating_mul(PAGE_BYTES);
    let mut bytes = vec![0; size];
    let corrupt = |what: String| DecodeError::corrupt(offset, what);
    let made = match block.codec {
        Codec::Stored => return Ok(data),
        Codec::Plain => lz77::decode(&data, &mut bytes),
        Codec::Huffman => huffman::decode(&data, &mut bytes),
        Codec::Either => match huffman::decode(&data, &mut bytes) {
            Ok(made) if made == size => Ok(made),
            _ => lz77::decode(&data, &mut bytes),
        },
    };
    match made {
        Ok(made) if made == size => Ok(bytes),
        Ok(made) => Err(corrupt(format!(
            "Xpress data of {made:#x} bytes instead of {size:#x}"
        ))),
        Err(invalid) => Err(corrupt(format!("Xpress: {invalid}"))),
    }
}

impl PageDecoder for Pages {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let decoded = self.decoded(index)?;
        let bytes = decoded.page(index);
        let bytes = bytes.ok_or_else(|| DecodeError::corrupt(0, "no such page"))?;
        page.copy_from_slice(bytes);
        Ok(())
    }
}
