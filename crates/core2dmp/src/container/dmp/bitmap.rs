//! Bodies whose pages a bitmap names: types 5 and 6, and the older type 2.
//!
//! ```text
//! header | tags, first page, counts | bitmap ... | page of the lowest set bit | page of the next | ...
//! ```
//!
//! The bitmap is read in blocks and becomes runs at once: 4 TiB of guest are 128 MiB of bitmap, and a few runs.

use std::io;

use zerocopy::FromBytes;

use super::place::{Placed, Placer};
use super::problem::{Problem, ProblemKind};
use crate::format::bitmap::{
    BITMAP_BYTES, BitmapHeader, SUMMARY_BYTES32, SUMMARY_BYTES64, SummaryHeader, TAG_FULL,
    TAG_SUMMARY,
};
use crate::format::header_fields::HeaderWidth;
use crate::source::{ReadAt, fill_at};

/// Bytes of the bitmap that are held at once.
const BLOCK: usize = 1 << 20;
/// Bits that are looked at: 128 TiB of addresses, 4 GiB of bitmap. No Windows has more.
const MAX_BITS: u64 = 1 << 35;

/// What precedes the bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapBody {
    /// "FDMP" or "SDMP".
    pub tag: [u8; 4],
    /// "DUMP".
    pub second_tag: [u8; 4],
    /// The bitmap and its pages.
    pub bitmap: BitmapFacts,
}

/// What precedes the bitmap of a summary dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryBody {
    /// "SDMP".
    pub tag: [u8; 4],
    /// "DUMP".
    pub second_tag: [u8; 4],
    /// 0.
    pub options: u32,
    /// `RTL_BITMAP::SizeOfBitMap`: bits once more; the debugger does not use it.
    pub bits_again: u32,
    /// The bitmap and its pages.
    pub bitmap: BitmapFacts,
}

/// A bitmap and its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BitmapFacts {
    /// File offset of the header in front of the bitmap.
    pub header: u64,
    /// File offset of the bitmap.
    pub offset: u64,
    /// File offset of the first page, as the header says.
    pub first_page: u64,
    /// Bits, as the header says: one past the highest frame.
    pub bits: u64,
    /// Pages, as the header says.
    pub declared_pages: u64,
    /// Bits that were looked at: fewer than `bits` where the bitmap cannot be so long.
    pub bits_read: u64,
    /// Set bits among them.
    pub set_bits: u64,
    /// Pages of them that the file holds whole.
    pub held_pages: u64,
    /// Where the last page should end.
    pub end: u64,
}

/// Whether `tag` is one that the debugger accepts in front of a bitmap.
pub(super) fn is_tag(tag: [u8; 4]) -> bool {
    tag == TAG_FULL || tag == TAG_SUMMARY
}

/// The header of types 5 and 6 at `at`, with counts that are not looked at yet.
pub(super) fn bitmap_header(source: &dyn ReadAt, at: u64) -> io::Result<Option<BitmapBody>> {
    let mut bytes = [0; size_of::<BitmapHeader>()];
    fill_at(source, at, &mut bytes)?;
    Ok(BitmapHeader::ref_from_bytes(&bytes)
        .ok()
        .map(|header| BitmapBody {
            tag: header.tag,
            second_tag: header.second_tag,
            bitmap: BitmapFacts {
                header: at,
                offset: at.saturating_add(BITMAP_BYTES),
                first_page: header.first_page.get(),
                bits: header.bits.get(),
                declared_pages: header.present_pages.get(),
                ..BitmapFacts::default()
            },
        }))
}

/// The header of type 2 at `at`, with counts that are not looked at yet.
pub(super) fn summary_header(
    source: &dyn ReadAt,
    at: u64,
    width: HeaderWidth,
) -> io::Result<Option<SummaryBody>> {
    let mut bytes = [0; size_of::<SummaryHeader>()];
    fill_at(source, at, &mut bytes)?;
    let skipped = match width {
        HeaderWidth::Bits32 => SUMMARY_BYTES32,
        HeaderWidth::Bits64 => SUMMARY_BYTES64,
    };
    Ok(SummaryHeader::ref_from_bytes(&bytes)
        .ok()
        .map(|header| SummaryBody {
            tag: header.tag,
            second_tag: header.second_tag,
            options: header.options.get(),
            bits_again: header.bits_again.get(),
            bitmap: BitmapFacts {
                header: at,
                offset: at.saturating_add(skipped),
                first_page: header.first_page.get().into(),
                bits: header.bits.get().into(),
                declared_pages: header.present_pages.get().into(),
                ..BitmapFacts::default()
            },
        }))
}

impl BitmapFacts {
    /// Whether the numbers can be those of a bitmap: what a damaged tag is weighed against.
    pub(super) fn is_sound(&self, file_size: u64) -> bool {
        let bytes = self.bits.div_ceil(8);
        self.bits > 0
            && self.declared_pages > 0
            && self.declared_pages <= self.bits
            && self
                .offset
                .checked_add(bytes)
                .is_some_and(|end| end <= self.first_page)
            && self.first_page <= file_size
    }

    /// Whether as many bits are set as the header counts.
    pub(super) fn is_counted(&mut self, source: &dyn ReadAt) -> bool {
        self.read(source, &mut Vec::new());
        self.bits_read == self.bits && self.set_bits == self.declared_pages
    }

    /// Reads the bitmap: fills in what was counted; the memory, and what was odd.
    pub(super) fn read(&mut self, source: &dyn ReadAt, problems: &mut Vec<Problem>) -> Placed {
        let size = source.size();
        let possible = self.first_page > self.offset;
        if !possible {
            problems.push(Problem::new(
                ProblemKind::FirstPage,
                "offset of the first page",
                self.header,
                format!("more than {:#x}, where the bitmap begins", self.offset),
                format!("{:#x}", self.first_page),
            ));
        }
        let room = self.first_page.min(size).saturating_sub(self.offset);
        self.bits_read = self.bits.min(room.saturating_mul(8)).min(MAX_BITS);
        if self.bits_read < self.bits && possible {
            problems.push(Problem::new(
                ProblemKind::BitmapSize,
                "bits of the bitmap",
                self.header,
                format!("at most {}, before the first page", self.bits_read),
                self.bits.to_string(),
            ));
        }
        let mut pages = Scan::new(Placer::ascending(self.first_page, size));
        if let Err(error) = pages.bitmap(source, self.offset, self.bits_read) {
            problems.push(Problem::new(
                ProblemKind::Unreadable,
                "bitmap",
                self.offset,
                "a bitmap",
                error.to_string(),
            ));
        }
        let placed = pages.placer.finish();
        self.set_bits = placed.pages;
        self.held_pages = placed.held;
        self.end = placed.end;
        if possible && self.set_bits != self.declared_pages {
            problems.push(Problem::new(
                ProblemKind::SetBits,
                "pages of the bitmap",
                self.header,
                format!("{}, its set bits", self.set_bits),
                self.declared_pages.to_string(),
            ));
        }
        placed.problems("bitmap", self.offset, problems);
        placed
    }
}

/// Turns bits into ranges.
struct Scan {
    placer: Placer,
    /// The first frame of the range that is not finished.
    open: Option<u64>,
}

impl Scan {
    fn new(placer: Placer) -> Self {
        Self { placer, open: None }
    }

    fn bitmap(&mut self, source: &dyn ReadAt, offset: u64, bits: u64) -> io::Result<()> {
        let bytes = bits.div_ceil(8);
        let mut buffer = vec![0; BLOCK.min(usize::try_from(bytes).unwrap_or(BLOCK))];
        let mut done = 0_u64;
        let mut read = Ok(());
        while done < bytes {
            let want = bytes.saturating_sub(done).min(BLOCK as u64);
            let block = buffer
                .get_mut(..usize::try_from(want).unwrap_or(BLOCK))
                .unwrap_or_default();
            match fill_at(source, offset.saturating_add(done), block) {
                Ok(got) if got == want => {}
                Ok(_) => read = Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => read = Err(error),
            }
            if read.is_err() {
                break;
            }
            self.block(block, done.saturating_mul(8), bits);
            done = done.saturating_add(want);
        }
        self.close(done.saturating_mul(8).min(bits));
        read
    }

    /// The bits of a block, the first of which is `first` of `bits`.
    fn block(&mut self, block: &[u8], first: u64, bits: u64) {
        let mut at = first;
        for chunk in block.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            let mut word = u64::from_le_bytes(word);
            let left = bits.saturating_sub(at);
            if left < 64 {
                // Bits past the end are somebody else's.
                word &= 1_u64
                    .wrapping_shl(u32::try_from(left).unwrap_or(0))
                    .wrapping_sub(1);
            }
            self.word(word, at);
            at = at.saturating_add(64);
        }
    }

    fn word(&mut self, word: u64, first: u64) {
        let mut at = 0_u32;
        while at < 64 {
            let rest = word.wrapping_shr(at);
            if self.open.is_some() {
                let ones = rest.trailing_ones();
                at = at.saturating_add(ones);
                if at < 64 {
                    self.close(first.saturating_add(at.into()));
                }
            } else {
                at = at.saturating_add(rest.trailing_zeros());
                if at < 64 {
                    self.open = Some(first.saturating_add(at.into()));
                }
            }
        }
    }

    fn close(&mut self, end: u64) {
        if let Some(first) = self.open.take() {
            self.placer.range(first, end.saturating_sub(first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Backing;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_become_runs(bitmap in proptest::collection::vec(any::<u8>(), 0..40), cut in 0_u64..20) {
            let bits = (bitmap.len() as u64 * 8).saturating_sub(cut);
            let mut wanted = Vec::new();
            for n in 0..bits {
                if bitmap[(n / 8) as usize] >> (n % 8) & 1 == 1 {
                    wanted.push((n, 0x4000 + 0x1000 * wanted.len() as u64));
                }
            }
            let mut scan = Scan::new(Placer::ascending(0x4000, u64::MAX));
            scan.bitmap(&bitmap, 0, bits).unwrap();
            let placed = scan.placer.finish();
            prop_assert_eq!(placed.pages, wanted.len() as u64);
            let memory = crate::memory::PhysicalMemory::new(std::sync::Arc::new(Vec::new()), placed.runs);
            let mut found = Vec::new();
            for run in memory.runs() {
                for n in 0..run.frames.count {
                    let Backing::File { offset } = run.backing.skip(n) else { panic!() };
                    found.push((run.frames.first.get() + n, offset));
                }
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
