//! Entries of the index: pages whose records follow each other, and how they are stored.

use crate::address::PAGE_SIZE;

/// Bytes of a record, beside those of its page: [`Kind::Mixed`] and [`Kind::Zero`] know records of this shape.
pub(in crate::container) const RECORD: u64 = 8;
/// Bytes of the record of a zero page.
pub(in crate::container) const ZERO_RECORD: u64 = RECORD + 1;
/// Bytes of the record of a page with data.
pub(in crate::container) const DATA_RECORD: u64 = RECORD + PAGE_SIZE;
/// Pages of which a [`Kind::Mixed`] has bits.
pub(super) const MASK_PAGES: u64 = 64;

/// How the pages of an entry are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::container) enum Kind {
    /// As they are, this many bytes from one to the next.
    Stored { stride: u64 },
    /// All zeros; `offset` and the records' size tell what continues it.
    Zero,
    /// Records of zeros and of data, by bits: one is data.
    Mixed { data: u64 },
    /// One page in zlib's format, of this many bytes.
    Packed { bytes: u32 },
    /// All bytes are this one.
    Filled { byte: u8 },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) pages: u64,
    /// Of the first page's bytes; of [`Kind::Mixed`] and [`Kind::Zero`], of its record.
    pub(super) offset: u64,
    pub(super) kind: Kind,
}

impl Entry {
    /// The entry without its first pages.
    pub(super) fn skip(self, pages: u64) -> Self {
        let (offset, kind) = match self.kind {
            Kind::Stored { stride } => {
                let skipped = stride.saturating_mul(pages);
                (self.offset.saturating_add(skipped), self.kind)
            }
            Kind::Mixed { data } => {
                let rest = u32::try_from(pages)
                    .ok()
                    .and_then(|pages| data.checked_shr(pages));
                let data = rest.unwrap_or(0);
                (self.record(pages), Kind::Mixed { data })
            }
            Kind::Zero => (self.record(pages), self.kind),
            Kind::Filled { .. } | Kind::Packed { .. } => (self.offset, self.kind),
        };
        Self {
            pages: self.pages.saturating_sub(pages),
            offset,
            kind,
        }
    }

    /// Where the record of page `pages` is, in a list of records.
    pub(super) fn record(self, pages: u64) -> u64 {
        let data = match self.kind {
            Kind::Mixed { data } => {
                let bit = u32::try_from(pages)
                    .ok()
                    .and_then(|pages| 1_u64.checked_shl(pages));
                let below = bit.map_or(u64::MAX, |bit| bit.wrapping_sub(1));
                u64::from((data & below).count_ones())
            }
            _ => 0,
        };
        let zeros = pages.saturating_sub(data);
        self.offset
            .saturating_add(data.saturating_mul(DATA_RECORD))
            .saturating_add(zeros.saturating_mul(ZERO_RECORD))
    }
}
