//! Reading through the page tables.

use zerocopy::FromBytes;

use super::{AddressSpace, TranslateError};
use crate::address::Gva;
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
