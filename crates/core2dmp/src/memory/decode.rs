//! Pages that have to be made before they can be read, one at a time.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use super::error::MemoryError;
use crate::address::{Gpa, PAGE_BYTES};
use crate::codec::block_cache::BlockCache;

/// Decoded pages that are kept, 1 MiB of them: page tables and lists are read a word at a time.
const SLOTS: u64 = 256;

/// Bytes that are worth a thread of their own, in a scan of all memory.
const SHARE: usize = 32 * PAGE_BYTES;

/// Makes a container's pages.
pub trait PageDecoder: fmt::Debug + Send + Sync {
    /// Writes page `index` to `page`, which holds anything after an error. Threads call it at the same time.
    ///
    /// # Errors
    /// [`DecodeError`] where the file cannot be read, or holds no such page.
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError>;
}

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file could not be read there.
    #[error("file offset {offset:#x}: {source}")]
    Unreadable {
        /// Where its bytes should be.
        offset: u64,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// What is there does not decode to a page.
    #[error("file offset {offset:#x}: {what}")]
    Corrupt {
        /// Where it is.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl DecodeError {
    /// The file ends before the bytes that should be at `offset`.
    #[must_use]
    pub fn ended(offset: u64) -> Self {
        Self::Unreadable {
            offset,
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// What is at `offset` does not decode to a page.
    pub fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt {
            offset,
            what: what.into(),
        }
    }

    /// The same as an error for a reader of `gpa`.
    pub(super) fn at(self, gpa: Gpa) -> MemoryError {
        match self {
            Self::Unreadable { offset, source } => MemoryError::Unreadable {
                gpa,
                offset,
                source: Arc::new(source),
            },
            Self::Corrupt { .. } => MemoryError::Corrupt {
                gpa,
                what: self.to_string(),
            },
        }
    }
}

/// Which page could not be made, and why.
#[derive(Debug)]
pub(crate) struct PageFailure {
    /// The decoder's number of it.
    pub(crate) index: u64,
    pub(crate) error: DecodeError,
}

/// A decoded page, and its number.
struct Page {
    index: u64,
    bytes: Box<[u8; PAGE_BYTES]>,
}

/// A decoder, and the pages that it made lately.
pub(super) struct DecodedPages {
    decoder: Arc<dyn PageDecoder>,
    pages: BlockCache<Page>,
}

impl fmt::Debug for DecodedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decoder.fmt(f)
    }
}

impl DecodedPages {
    pub(super) fn new(decoder: Arc<dyn PageDecoder>) -> Self {
        Self {
            decoder,
            pages: BlockCache::new(SLOTS),
        }
    }

    pub(super) fn decoder(&self) -> &dyn PageDecoder {
        &*self.decoder
    }

    /// Fills `buf` from byte `start` of page `index` on, on all cores if it is large.
    pub(super) fn read(&self, index: u64, start: usize, buf: &mut [u8]) -> Result<(), PageFailure> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.min(buf.len() / SHARE);
        if workers < 2 || start != 0 {
            return self.read_here(index, start, buf);
        }
        let pages = (buf.len() / PAGE_BYTES).div_ceil(workers);
        let share = pages.saturating_mul(PAGE_BYTES);
        thread::scope(|scope| {
            let workers: Vec<_> = buf
                .chunks_mut(share)
                .zip(0_u64..)
                .map(|(part, number)| {
                    let index = index.saturating_add(number.saturating_mul(pages as u64));
                    scope.spawn(move || self.read_here(index, 0, part))
                })
                .collect();
            workers.into_iter().try_for_each(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    fn read_here(&self, index: u64, start: usize, buf: &mut [u8]) -> Result<(), PageFailure> {
        let (mut index, mut start, mut rest) = (index, start, buf);
        while !rest.is_empty() {
            let bytes = rest.len().min(PAGE_BYTES.saturating_sub(start));
            let (now, later) = rest.split_at_mut(bytes);
            // Whole pages are read once, by a scan.
            let made = match <&mut [u8; PAGE_BYTES]>::try_from(&mut *now) {
                Ok(page) => self.decoder.decode(index, page),
                Err(_) => self.part(index, start, now),
            };
            made.map_err(|error| PageFailure { index, error })?;
            (index, start, rest) = (index.saturating_add(1), 0, later);
        }
        Ok(())
    }

    /// Part of a page, by way of the cache.
    fn part(&self, index: u64, start: usize, buf: &mut [u8]) -> Result<(), DecodeError> {
        let is_wanted = |page: &Page| page.index == index;
        let page = self.pages.find_or_make(index, is_wanted, || {
            let mut bytes = Box::new([0; PAGE_BYTES]);
            self.decoder.decode(index, &mut bytes)?;
            Ok(Page { index, bytes })
        })?;
        let end = start.saturating_add(buf.len());
        buf.copy_from_slice(page.bytes.get(start..end).unwrap_or_default());
        Ok(())
    }
}
