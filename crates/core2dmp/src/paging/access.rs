//! Reading through the page tables.

use std::ops::ControlFlow;

use zerocopy::FromBytes;

use super::{AddressSpace, MappedRange, TranslateError};
use crate::address::{Gpa, Gva, PAGE_BYTES, PAGE_SIZE};
use crate::memory::MemoryError;

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

/// Bytes that [`AddressSpace::scan`] hands out at most.
const SCAN_BYTES: u64 = 1 << 20;

impl AddressSpace<'_> {
    /// Calls `visit` with everything readable from `first` to `last`, both included, in blocks of at most
    /// 1 MiB that start and end at page borders. Pages that are not present are passed over.
    pub fn scan(
        &self,
        first: Gva,
        last: Gva,
        mut visit: impl FnMut(Gva, &[u8]) -> ControlFlow<()>,
    ) {
        let first = first.page_start();
        let mut ranges: Vec<MappedRange> = Vec::new();
        self.mapped(first, last, |range| {
            let range = range.clip(first, last);
            match ranges.last_mut() {
                Some(before) if before.continues_with(&range) => {
                    before.bytes = before.bytes.saturating_add(range.bytes);
                }
                _ => ranges.push(range),
            }
            ControlFlow::Continue(())
        });
        let mut buffer = Vec::new();
        for range in ranges {
            if self.scan_range(range, &mut buffer, &mut visit).is_break() {
                return;
            }
        }
    }

    fn scan_range(
        &self,
        range: MappedRange,
        buffer: &mut Vec<u8>,
        visit: &mut impl FnMut(Gva, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut done = 0;
        while done < range.bytes {
            let bytes = range.bytes.saturating_sub(done).min(SCAN_BYTES);
            buffer.resize(usize::try_from(bytes).unwrap_or(0), 0);
            let gpa = range.gpa.saturating_add(done);
            if self.memory.read(gpa, buffer).is_ok() {
                visit(range.gva.saturating_add(done), buffer)?;
            } else {
                // Some frames of the block are missing: the others are not.
                self.scan_pages(range.gva.saturating_add(done), gpa, buffer, visit)?;
            }
            done = done.saturating_add(bytes);
        }
        ControlFlow::Continue(())
    }

    /// The pages of a block that can be read, one by one.
    fn scan_pages(
        &self,
        gva: Gva,
        gpa: Gpa,
        buffer: &mut [u8],
        visit: &mut impl FnMut(Gva, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (page, done) in buffer.chunks_mut(PAGE_BYTES).zip((0..).step_by(PAGE_BYTES)) {
            if self.memory.read(gpa.saturating_add(done), page).is_ok() {
                visit(gva.saturating_add(done), page)?;
            }
        }
        ControlFlow::Continue(())
    }
}
