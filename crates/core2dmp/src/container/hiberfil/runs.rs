//! Windows 8 and later: two sets of runs, one behind the other.
//!
//! ```text
//! count, bytes, method | { first frame, pages } .. | data | count, bytes, method | ..
//! ```
//!
//! Windows' loader restores the first set, the kernel itself the second.

use super::blocks::{Block, Codec, Index, Kind, decode};
use crate::address::{PAGE_SIZE, Pfn};
use crate::container::salvage::Salvage;
use crate::error::{Error, Place, Result};
use crate::format::hiberfil::{MAX_PAGES, NewHeader, RunHeader, frames_of};
use crate::format::{u32_at, u64_at};
use crate::memory::{Backing, Frames, RunBuilder};
use crate::source::{ReadAt, fill_at};

/// Bytes of a run in front of its data, at most.
const HEAD: usize = 4 + 16 * 8;
/// Bytes of the word that a run begins with.
const WORD: u64 = 4;
/// Runs that must follow each other to be believed where nothing else says that there are any.
const CHAIN: u32 = 8;
/// Pages among which such a chain is looked for.
const SEARCHED_PAGES: u64 = 0x100;
const WHAT: &str = "run of compressed pages";

/// Frames, and the block that holds their pages.
#[derive(Debug)]
pub(super) struct Run {
    frames: Vec<Frames>,
    pub(super) block: Block,
}

impl Run {
    /// The run at `at`; `None` where zeros are, or the file ends.
    pub(super) fn read(source: &dyn ReadAt, at: u64, wide: bool) -> Result<Option<Self>> {
        let mut head = [0; HEAD];
        let read = fill_at(source, at, &mut head)
            .map_err(|e| Error::io(format!("cannot read {WHAT} at {}", Place::Offset(at)), e))?;
        let header = RunHeader(u32_at(&head, 0).unwrap_or(0));
        if header.0 == 0 || read < WORD {
            return Ok(None);
        }
        let malformed = |found: String| {
            let expected = format!("1 to {MAX_PAGES} pages, and no more bytes than they have");
            Err(Error::malformed(WHAT, Place::Offset(at), expected, found))
        };
        let count = u64::from(header.descriptors());
        if count == 0 || count > MAX_PAGES {
            return malformed(format!("{count} descriptors"));
        }
        let size = if wide { 8_usize } else { 4 };
        let needed = count.saturating_mul(size as u64).saturating_add(WORD);
        if read < needed {
            return Err(Error::Truncated {
                what: WHAT,
                place: Place::Offset(at),
                expected: needed,
                found: read,
            });
        }
        let (frames, place) = match described(&head, count, wide) {
            Ok(described) => described,
            Err(found) => return malformed(found),
        };
        let pages = Frames::total(&frames);
        let stored = u64::from(header.stored());
        if !Block::is_possible(pages, stored) {
            return malformed(format!("{pages} pages, {stored:#x} bytes"));
        }
        let codec = match header.method() {
            _ if stored == pages.saturating_mul(PAGE_SIZE) => Codec::Stored,
            0 => Codec::Plain,
            1 => Codec::Either,
            _ => Codec::Huffman,
        };
        let data = at.saturating_add(place as u64);
        Ok(Some(Self {
            frames,
            block: Block {
                data,
                stored,
                pages,
                codec,
            },
        }))
    }
}

/// The frames of `count` descriptors, and where these end; an error says what is no descriptor.
fn described(head: &[u8], count: u64, wide: bool) -> Result<(Vec<Frames>, usize), String> {
    let mut frames = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut place = 4_usize;
    for _ in 0..count {
        let descriptor = if wide {
            u64_at(head, place)
        } else {
            u32_at(head, place).map(u64::from)
        };
        let (first, count) = frames_of(descriptor.unwrap_or(0));
        if first.saturating_add(count) > Pfn::END.get() {
            return Err(format!("frame {first:#x}"));
        }
        frames.push(Frames::new(Pfn::new(first), count));
        place = place.saturating_add(if wide { 8 } else { 4 });
    }
    Ok((frames, place))
}

/// A set of runs.
pub(super) struct Set {
    /// As messages call it.
    pub(super) name: &'static str,
    /// Where it starts.
    pub(super) offset: u64,
    /// Pages in it, if the header says.
    pub(super) pages: Option<u64>,
}

impl Set {
    /// The two sets that a header names; `None` if it names none that can be.
    pub(super) fn of(header: &[u8], layout: &NewHeader) -> Option<[Self; 2]> {
        let word = if layout.wide { 8_usize } else { 4 };
        let offset = |at: usize| {
            let page = if layout.wide {
                u64_at(header, at)?
            } else {
                u64::from(u32_at(header, at)?)
            };
            page.checked_mul(PAGE_SIZE)
        };
        let boot = Self {
            name: "loader",
            offset: offset(layout.first_boot)?,
            // Where the other number is not known, this one may be elsewhere as well.
            pages: layout
                .kernel_pages
                .and_then(|_| u64_at(header, layout.boot_pages)),
        };
        let kernel = Self {
            name: "kernel",
            offset: offset(layout.first_boot.saturating_add(word))?,
            pages: layout.kernel_pages.and_then(|at| u64_at(header, at)),
        };
        Some([boot, kernel])
    }

    /// What to tell of it.
    pub(super) fn detail(&self, done: u64) -> (&'static str, String) {
        let pages = format!("{done} pages from {:#x}", self.offset);
        (self.name, pages)
    }

    /// Whether runs are there.
    pub(super) fn begins(&self, source: &dyn ReadAt, wide: bool) -> bool {
        self.offset > 0 && chain_end(source, self.offset, wide, 1).is_some()
    }

    /// Adds its pages; returns where it ends, and how many they are.
    pub(super) fn read(
        &self,
        source: &dyn ReadAt,
        index: &mut Index,
        runs: &mut RunBuilder,
        salvage: &mut Salvage,
    ) -> Result<(u64, u64)> {
        let Kind::Run { wide } = index.kind() else {
            return Ok((self.offset, 0));
        };
        index.restart();
        let (mut at, mut done) = (self.offset, 0_u64);
        while self.pages.is_none_or(|pages| done < pages) {
            let run = match Run::read(source, at, wide) {
                Ok(Some(run)) => run,
                Ok(None) => break,
                // Nothing says where it ends: where runs do.
                Err(Error::Malformed { .. }) if self.pages.is_none() && done > 0 => break,
                Err(Error::Truncated { expected, .. }) => {
                    self.cut(at.saturating_add(expected), done, source, salvage)?;
                    return Ok((at, done));
                }
                Err(error) => return Err(error),
            };
            let end = run.block.end();
            if end > source.size() {
                self.cut(end, done, source, salvage)?;
                return Ok((at, done));
            }
            let mut number = index.pages;
            index.push(at, run.block.pages)?;
            for frames in run.frames {
                runs.push(frames, Backing::Encoded { index: number })?;
                number = number.saturating_add(frames.count);
            }
            done = done.saturating_add(run.block.pages);
            at = end;
        }
        let is_short = self.pages.is_some_and(|pages| done < pages);
        if is_short && at.saturating_add(WORD) > source.size() {
            self.cut(at.saturating_add(WORD), done, source, salvage)?;
        }
        Ok((at, done))
    }

    /// The file ends before `end`, where the set goes on.
    fn cut(&self, end: u64, done: u64, source: &dyn ReadAt, salvage: &mut Salvage) -> Result<()> {
        let missing = format!("pages of the {} set after the first {done}", self.name);
        salvage.accept(end, source.size(), missing)
    }
}

/// Where the `count` runs from `at` on end, if that many follow each other.
fn chain_end(source: &dyn ReadAt, at: u64, wide: bool, count: u32) -> Option<u64> {
    let mut at = at;
    for _ in 0..count {
        let run = Run::read(source, at, wide).ok().flatten()?;
        at = run.block.end();
    }
    (at <= source.size()).then_some(at)
}

/// Whether the runs of a chain are what memory is written as: no frame twice, and one that is compressed can be
/// decoded. A page of one word, over and over, makes a chain, too.
fn is_proven(source: &dyn ReadAt, at: u64, wide: bool) -> bool {
    let mut at = at;
    let mut frames: Vec<Frames> = Vec::new();
    let mut decoded = None;
    for _ in 0..CHAIN {
        let Ok(Some(run)) = Run::read(source, at, wide) else {
            return false;
        };
        if run.block.codec != Codec::Stored && decoded.is_none() {
            decoded = Some(decode(source, &run.block).is_ok());
        }
        frames.extend(&run.frames);
        at = run.block.end();
    }
    frames.sort_by_key(|frames| frames.first);
    let mut pairs = frames.iter().zip(frames.iter().skip(1));
    decoded == Some(true) && pairs.all(|(run, next)| run.end() <= next.first)
}

/// Where a chain of runs that can be decoded begins, as [`find_chain`] finds it.
pub(super) fn find_proven_chain(source: &dyn ReadAt) -> Option<(u64, bool)> {
    find_chain(source, 0).filter(|(at, wide)| is_proven(source, *at, *wide))
}

/// Where a chain of runs begins, at a page from `at` on, and whether its descriptors have 8 bytes.
pub(super) fn find_chain(source: &dyn ReadAt, at: u64) -> Option<(u64, bool)> {
    let first = at.div_ceil(PAGE_SIZE).max(1);
    (first..first.saturating_add(SEARCHED_PAGES)).find_map(|page| {
        let at = page.saturating_mul(PAGE_SIZE);
        [true, false]
            .into_iter()
            .find(|wide| chain_end(source, at, *wide, CHAIN).is_some())
            .map(|wide| (at, wide))
    })
}
