//! Page descriptors, and the pages behind them.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

use super::decompress::{Codec, Decompressor};
use super::header::Header;
use crate::address::PAGE_BYTES;
use crate::codec::block_cache::BlockCache;
use crate::container::salvage::Salvage;
use crate::error::{Error, Result};
use crate::format::kdump::PageDescriptor;
use crate::memory::{DecodeError, PageDecoder};
use crate::source::{ReadAt, fill_at};

const DESCRIPTOR: u64 = size_of::<PageDescriptor>() as u64;
/// Descriptors of a block: 24 KiB.
const BLOCK: u64 = 1 << 10;
/// Blocks that are kept, one a worker and some.
const BLOCKS: u64 = 128;
/// Bytes of compressed data that are accepted for a page: no compressor makes twice the page of it.
const MAX_DATA: u32 = 0x2000;
/// Bits of a page's number; those above are the part's.
const PART_SHIFT: u32 = 40;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
}

/// One file of a dump.
#[derive(Debug)]
pub(super) struct Part {
    source: Arc<dyn ReadAt>,
    header: Header,
    pages: u64,
}

impl Part {
    pub(super) fn new(source: Arc<dyn ReadAt>, header: Header, pages: u64) -> Self {
        Self {
            source,
            header,
            pages,
        }
    }

    pub(super) fn source(&self) -> &Arc<dyn ReadAt> {
        &self.source
    }

    pub(super) fn max_mapnr(&self) -> u64 {
        self.header.max_mapnr
    }

    pub(super) fn split(&self) -> Option<(u64, u64)> {
        self.header.split
    }

    /// Whether the file ends before the last pages: descriptors at least, and the data of the last of them.
    pub(super) fn check_end(&self, salvage: &mut Salvage) -> Result<()> {
        let size = self.source.size();
        let end = self.offset_of(self.pages);
        if end > size {
            let present = size.saturating_sub(self.header.descriptors) / DESCRIPTOR;
            let lost = self.pages.saturating_sub(present);
            let missing = format!(
                "the data of all pages and {lost} of {} descriptors",
                self.pages
            );
            return salvage.accept(end, size, missing);
        }
        let last = self.pages.saturating_sub(1) / BLOCK;
        let block = self
            .block(last)
            .map_err(|e| Error::io("cannot read page descriptors", e))?;
        // Data is in the order of the pages, except for zero pages, which share the data of the first.
        let end = block.iter().fold(0_u64, |end, page| {
            let data = page.offset.get().saturating_add(page.size.get().into());
            end.max(data)
        });
        if end > size {
            return salvage.accept(end, size, "the data of the last pages");
        }
        Ok(())
    }

    fn offset_of(&self, page: u64) -> u64 {
        self.header
            .descriptors
            .saturating_add(page.saturating_mul(DESCRIPTOR))
    }

    /// The descriptors of a block, as far as the file has them.
    fn block(&self, number: u64) -> io::Result<Vec<PageDescriptor>> {
        let first = number.saturating_mul(BLOCK);
        let count = self.pages.saturating_sub(first).min(BLOCK);
        let bytes = count.saturating_mul(DESCRIPTOR);
        let mut raw = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let read = fill_at(&*self.source, self.offset_of(first), &mut raw)?;
        let whole = usize::try_from(read / DESCRIPTOR).unwrap_or(0);
        let (descriptors, _) =
            <[PageDescriptor]>::ref_from_prefix_with_elems(&raw, whole).unwrap_or_default();
        Ok(descriptors.to_vec())
    }
}

/// Descriptors, with the part that they are of and the block's number there.
#[derive(Debug)]
struct Block {
    key: (u64, u64),
    descriptors: Vec<PageDescriptor>,
}

/// All pages of a dump.
#[derive(Debug)]
pub(super) struct Pages {
    parts: Vec<Part>,
    blocks: BlockCache<Block>,
    /// Where the data is that all zero pages share, in the first part; 0 if that was not met yet.
    zeros: AtomicU64,
}

impl Pages {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self {
            parts,
            blocks: BlockCache::new(BLOCKS),
            zeros: AtomicU64::new(0),
        }
    }

    /// The number of a part's first page.
    pub(super) const fn first_of(part: u64) -> u64 {
        part << PART_SHIFT
    }

    fn descriptor(&self, number: u64, page: u64) -> Result<(&Part, PageDescriptor), DecodeError> {
        let part = usize::try_from(number)
            .ok()
            .and_then(|number| self.parts.get(number))
            .filter(|part| page < part.pages)
            .ok_or_else(|| DecodeError::corrupt(0, "no such page"))?;
        let offset = part.offset_of(page);
        let index = page / BLOCK;
        let key = (number, index);
        let block = self.blocks.find_or_make(
            index,
            |block| block.key == key,
            || match part.block(index) {
                Ok(descriptors) => Ok(Block { key, descriptors }),
                Err(source) => Err(DecodeError::Unreadable { offset, source }),
            },
        )?;
        let descriptor = usize::try_from(page % BLOCK)
            .ok()
            .and_then(|place| block.descriptors.get(place).cloned())
            .ok_or_else(|| DecodeError::ended(offset))?;
        Ok((part, descriptor))
    }
}

impl PageDecoder for Pages {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let (part, number) = (index >> PART_SHIFT, index & ((1 << PART_SHIFT) - 1));
        let (file, descriptor) = self.descriptor(part, number)?;
        let offset = descriptor.offset.get();
        if part == 0 && offset != 0 && self.zeros.load(Ordering::Relaxed) == offset {
            page.fill(0);
            return Ok(());
        }
        let size = descriptor.size.get();
        if size == 0 || size > MAX_DATA {
            let at = file.offset_of(number);
            return Err(DecodeError::corrupt(at, format!("a page of {size} bytes")));
        }
        let codec = Codec::of(descriptor.flags.get())
            .map_err(|what| DecodeError::corrupt(file.offset_of(number), what))?;
        DECOMPRESSOR.with_borrow_mut(|decompressor| {
            let data = decompressor.input(usize::try_from(size).unwrap_or(0));
            let read = fill_at(&*file.source, offset, data);
            let read = read.map_err(|source| DecodeError::Unreadable { offset, source })?;
            if read < u64::from(size) {
                return Err(DecodeError::ended(offset));
            }
            decompressor
                .run(codec, page)
                .map_err(|what| DecodeError::corrupt(offset, what))
        })?;
        if part == 0 && *page == [0; PAGE_BYTES] {
            self.zeros.store(offset, Ordering::Relaxed);
        }
        Ok(())
    }
}

const _: () = assert!(MAX_DATA as usize == 2 * PAGE_BYTES);
