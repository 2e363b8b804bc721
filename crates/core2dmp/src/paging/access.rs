//! Reading through the page tables.

use std::ops::ControlFlow;

use zerocopy::FromBytes;

use super::walk::MAX_TABLES;
use super::{AddressSpace, MappedRange, TranslateError};
use crate::address::{Gpa, Gva, PAGE_BYTES, PAGE_SIZE};
use crate::memory::{Frames, MemoryError, PhysicalMemory};

/// Why bytes at a virtual address cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It has no physical address.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// It has one, whose frame cannot be read.
    #[error("virtual address {gva}: {source}")]
    Memory {
        /// The address.
        gva: Gva,
        /// Why not.
        #[source]
        source: MemoryError,
    },
}

impl AddressSpace<'_> {
    /// Fills `buf` from `gva` on, page by page.
    ///
    /// # Errors
    /// The first [`AccessError`]; `buf` then holds what came before it.
    pub fn read(&self, gva: Gva, buf: &mut [u8]) -> Result<(), AccessError> {
        let mut at = gva;
        let mut rest = buf;
        while !rest.is_empty() {
            let mapping = self.translate(at)?;
            let offset = mapping.gpa.get() & mapping.page_bytes.saturating_sub(1);
            let left = mapping.page_bytes.saturating_sub(offset);
            let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at_mut(here);
            self.memory
                .read(mapping.gpa, now)
                .map_err(|source| AccessError::Memory { gva: at, source })?;
            at = Gva::new(at.get().wrapping_add(here as u64));
            rest = later;
        }
        Ok(())
    }

    /// A value at `gva`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn value<T: FromBytes + zerocopy::IntoBytes>(&self, gva: Gva) -> Result<T, AccessError> {
        let mut value = T::new_zeroed();
        self.read(gva, value.as_mut_bytes())?;
        Ok(value)
    }

    /// The u16 at `gva`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u16(&self, gva: Gva) -> Result<u16, AccessError> {
        let mut bytes = [0; 2];
        self.read(gva, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// The u32 at `gva`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u32(&self, gva: Gva) -> Result<u32, AccessError> {
        let mut bytes = [0; 4];
        self.read(gva, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The u64 at `gva`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u64(&self, gva: Gva) -> Result<u64, AccessError> {
        let mut bytes = [0; 8];
        self.read(gva, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The pointer-sized number at `gva`, zero-extended.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn word(&self, gva: Gva) -> Result<u64, AccessError> {
        if self.mode.is_64bit() {
            self.u64(gva)
        } else {
            self.u32(gva).map(u64::from)
        }
    }

    /// The pointer at `gva`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn pointer(&self, gva: Gva) -> Result<Gva, AccessError> {
        self.word(gva).map(Gva::new)
    }

    /// The `bytes` bytes from `gva` on; the caller has bounded their number.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn bytes(&self, gva: Gva, bytes: usize) -> Result<Vec<u8>, AccessError> {
        let mut buf = vec![0; bytes];
        self.read(gva, &mut buf)?;
        Ok(buf)
    }
}

impl AddressSpace<'_> {
    /// As many of the `bytes` bytes from `gva` on as can be read: all, or those up to the end of a page.
    #[must_use]
    pub fn bytes_to_page_end(&self, gva: Gva, bytes: usize) -> Vec<u8> {
        let in_page = PAGE_SIZE.saturating_sub(gva.page_offset());
        let first_page = bytes.min(usize::try_from(in_page).unwrap_or(bytes));
        self.bytes(gva, bytes)
            .or_else(|_| self.bytes(gva, first_page))
            .unwrap_or_default()
    }
}

/// Bytes that [`AddressSpace::scan`] hands out at once.
const SCAN_BYTES: u64 = 1 << 20;

/// How often a scan meets each frame of the memory, on average: tables of an attacker map one frame a million times.
const SCANS_PER_FRAME: u64 = 4;
/// Bytes that are scanned however small the memory.
const LEAST_SCANNED: u64 = 64 << 20;

/// How much scans of address spaces may read, all that share it together.
#[derive(Debug)]
pub struct ScanBudget {
    bytes: u64,
    tables: usize,
}

impl ScanBudget {
    /// What one scan may read, so many times over.
    #[must_use]
    pub fn new(memory: &PhysicalMemory, scans: usize) -> Self {
        let frames = memory.frame_count().saturating_mul(SCANS_PER_FRAME);
        let bytes = frames.saturating_mul(PAGE_SIZE).max(LEAST_SCANNED);
        Self {
            bytes: bytes.saturating_mul(scans as u64),
            tables: MAX_TABLES.saturating_mul(scans),
        }
    }

    /// Whether nothing is left, and a scan may have ended early.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.bytes == 0 || self.tables == 0
    }
}

impl AddressSpace<'_> {
    /// Calls `visit` with everything readable from `first` to `last`, both included, in blocks of at most
    /// 1 MiB that start and end at page borders. Pages that are not present are passed over.
    pub fn scan(&self, first: Gva, last: Gva, visit: impl FnMut(Gva, &[u8]) -> ControlFlow<()>) {
        let mut budget = ScanBudget::new(self.memory, 1);
        self.scan_within(first, last, &mut budget, visit);
    }

    /// As [`Self::scan`], until the budget is spent.
    pub fn scan_within(
        &self,
        first: Gva,
        last: Gva,
        budget: &mut ScanBudget,
        visit: impl FnMut(Gva, &[u8]) -> ControlFlow<()>,
    ) {
        let first = first.page_start();
        let mut scan = Scan {
            memory: self.memory,
            left: budget.bytes,
            buffer: Vec::new(),
            visit,
        };
        // Neighbours become one range before they are read; a list of all ranges would be the attacker's to fill.
        let mut pending: Option<MappedRange> = None;
        let mut ended = ControlFlow::Continue(());
        self.mapped_within(first, last, &mut budget.tables, |range| {
            let range = range.clip(first, last);
            match &mut pending {
                Some(before) if before.continues_with(&range) => {
                    before.bytes = before.bytes.saturating_add(range.bytes);
                }
                _ => {
                    if let Some(before) = pending.replace(range) {
                        ended = scan.range(before);
                    }
                }
            }
            ended
        });
        if let (Some(range), ControlFlow::Continue(())) = (pending, ended) {
            let _ = scan.range(range);
        }
        budget.bytes = scan.left;
    }
}

/// A scan that is under way.
struct Scan<'m, V> {
    memory: &'m PhysicalMemory,
    left: u64,
    buffer: Vec<u8>,
    visit: V,
}

impl<V: FnMut(Gva, &[u8]) -> ControlFlow<()>> Scan<'_, V> {
    /// Visits what the container has of a range; what it lacks costs nothing.
    fn range(&mut self, range: MappedRange) -> ControlFlow<()> {
        let memory = self.memory;
        let frames = Frames::new(range.gpa.pfn(), range.bytes / PAGE_SIZE);
        for (piece, backing) in memory.pieces(frames) {
            if backing.is_none() {
                continue;
            }
            let skipped = piece.first.frames_since(frames.first);
            let gva = range.gva.saturating_add(skipped.saturating_mul(PAGE_SIZE));
            self.piece(gva, piece)?;
        }
        ControlFlow::Continue(())
    }

    fn piece(&mut self, gva: Gva, frames: Frames) -> ControlFlow<()> {
        let mut done = 0;
        while done < frames.bytes() {
            let bytes = frames.bytes().saturating_sub(done).min(SCAN_BYTES);
            self.left = self.left.saturating_sub(bytes);
            if self.left == 0 {
                return ControlFlow::Break(());
            }
            self.buffer.resize(usize::try_from(bytes).unwrap_or(0), 0);
            let gpa = frames.first.gpa().saturating_add(done);
            let gva = gva.saturating_add(done);
            if self.memory.read(gpa, &mut self.buffer).is_ok() {
                (self.visit)(gva, &self.buffer)?;
            } else {
                // Some frames of the block cannot be read: the others can.
                self.pages(gva, gpa)?;
            }
            done = done.saturating_add(bytes);
        }
        ControlFlow::Continue(())
    }

    /// The pages of a block that can be read, one by one.
    fn pages(&mut self, gva: Gva, gpa: Gpa) -> ControlFlow<()> {
        let pages = self.buffer.chunks_mut(PAGE_BYTES);
        for (page, done) in pages.zip((0..).step_by(PAGE_BYTES)) {
            if self.memory.read(gpa.saturating_add(done), page).is_ok() {
                (self.visit)(gva.saturating_add(done), page)?;
            }
        }
        ControlFlow::Continue(())
    }
}
