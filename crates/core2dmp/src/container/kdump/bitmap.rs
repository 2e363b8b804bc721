//! The second bitmap: which frames the file has. The n-th of them is page n.

use super::header::Header;
use crate::address::Pfn;
use crate::error::Result;
use crate::memory::{Backing, Frames, RunBuilder};
use crate::source::{ReadAt, read_exact_at};

/// Bytes that are held at once; a power of two.
const BLOCK: u64 = 1 << 20;

/// Consecutive frames, not yet pushed.
struct Pending<'a> {
    runs: &'a mut RunBuilder,
    first: u64,
    count: u64,
    /// The number of the first page in `first`.
    index: u64,
}

impl Pending<'_> {
    fn present(&mut self, pfn: u64, count: u64) -> Result<()> {
        if self.count > 0 && self.first.saturating_add(self.count) == pfn {
            self.count = self.count.saturating_add(count);
            return Ok(());
        }
        self.end()?;
        (self.first, self.count) = (pfn, count);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let frames = Frames::new(Pfn::new(self.first), self.count);
        let index = self.index;
        self.index = index.saturating_add(self.count);
        self.count = 0;
        if frames.count == 0 {
            return Ok(());
        }
        self.runs.push(frames, Backing::Encoded { index })
    }
}

/// Adds runs for the frames that the file has, numbered from `index` on; returns how many.
pub(super) fn read(
    source: &dyn ReadAt,
    header: &Header,
    index: u64,
    runs: &mut RunBuilder,
) -> Result<u64> {
    let (start, end) = header.frames();
    let mut pending = Pending {
        runs,
        first: 0,
        count: 0,
        index,
    };
    let mut buffer = Vec::new();
    let (offset, bytes) = header.bitmap;
    // Parts of a split dump have the whole bitmap; the pages of one are numbered from its first frame on.
    let mut at = (start >> 3) & !(BLOCK - 1);
    while at < bytes && at.saturating_mul(8) < end {
        let size = bytes.saturating_sub(at).min(BLOCK);
        buffer.resize(usize::try_from(size).unwrap_or(0), 0);
        read_exact_at(
            source,
            offset.saturating_add(at),
            &mut buffer,
            "second bitmap",
        )?;
        let (words, rest) = buffer.as_chunks::<8>();
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        let mut pfn = at.saturating_mul(8);
        for word in words.iter().chain([&last]) {
            let word = within(u64::from_le_bytes(*word), pfn, start, end);
            push_word(&mut pending, word, pfn)?;
            pfn = pfn.saturating_add(64);
        }
        at = at.saturating_add(size);
    }
    pending.end()?;
    Ok(pending.index.saturating_sub(index))
}

/// The bits of the frames from `start` to `end`.
fn within(word: u64, pfn: u64, start: u64, end: u64) -> u64 {
    let below = |limit: u64| match limit.saturating_sub(pfn) {
        bits @ 0..64 => (1_u64 << bits).wrapping_sub(1),
        _ => u64::MAX,
    };
    word & below(end) & !below(start)
}

fn push_word(pending: &mut Pending<'_>, word: u64, pfn: u64) -> Result<()> {
    let mut rest = word;
    let mut bit = 0_u32;
    while rest != 0 {
        let zeros = rest.trailing_zeros();
        rest >>= zeros;
        bit = bit.saturating_add(zeros);
        let ones = rest.trailing_ones();
        pending.present(pfn.saturating_add(u64::from(bit)), u64::from(ones))?;
        rest = rest.checked_shr(ones).unwrap_or(0);
        bit = bit.saturating_add(ones);
    }
    Ok(())
}
