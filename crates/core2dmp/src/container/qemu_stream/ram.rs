//! The sections of the RAM: which blocks there are, and where their pages are.
//!
//! ```text
//! start  total + MEM_SIZE | name, bytes of each block [+ mapped: header | bitmap | pages] | EOS
//! part   address + PAGE | name | 4096 bytes | address + PAGE + CONTINUE | 4096 bytes | .. | EOS
//! ```
//!
//! A running guest's pages are sent again when they change: the last one is used.

use super::config::Configuration;
use super::stream::Stream;
use crate::address::PAGE_SIZE;
use crate::container::page_index::{Kind, PageIndex};
use crate::error::{Error, Place, Result};
use crate::format::qemu_stream::{MAPPED_HEADER, MAPPED_VERSION, flag};

/// Blocks that are accepted.
const MAX_BLOCKS: usize = 4096;
/// Bytes of RAM that are accepted: 64 TiB.
const MAX_RAM: u64 = 1 << 46;
const LIST: &str = "list of blocks of RAM";
/// Bytes of a bitmap that are read at a time.
const BITMAP: u64 = 64 << 10;

/// A block of the guest's RAM or of a device's.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) name: Vec<u8>,
    pub(super) bytes: u64,
    /// The number of its first page among all blocks' pages.
    pub(super) page: u64,
}

impl Block {
    pub(super) const fn pages(&self) -> u64 {
        self.bytes / PAGE_SIZE
    }
}

/// What the sections held so far.
#[derive(Debug, Default)]
pub(super) struct Ram {
    pub(super) blocks: Vec<Block>,
    pub(super) pages: PageIndex,
    /// The block that [`flag::CONTINUE`] means.
    last: Option<usize>,
    /// The last section has been read.
    pub(super) is_done: bool,
    /// Pages follow bitmaps.
    pub(super) is_mapped: bool,
    /// Pages in zlib's format.
    pub(super) packed: u64,
}

impl Ram {
    /// Reads a section's data.
    pub(super) fn section(
        &mut self,
        stream: &mut Stream<'_>,
        config: &Configuration,
    ) -> Result<()> {
        loop {
            let place = stream.place();
            let word = stream.u64("a page's address")?;
            let (address, flags) = (word & !(PAGE_SIZE - 1), word & (PAGE_SIZE - 1));
            match flags & !flag::CONTINUE {
                flag::EOS => return Ok(()),
                flag::MEM_SIZE => self.list(stream, address, config, place)?,
                flag::MULTIFD_FLUSH if self.is_mapped => {}
                kind @ (flag::PAGE | flag::ZERO | flag::COMPRESSED) => {
                    let page = self.page(stream, address, flags, place)?;
                    self.data(stream, page, kind)?;
                }
                _ => return Err(refusal(flags, place)),
            }
        }
    }

    /// The number of the page that a record names.
    fn page(
        &mut self,
        stream: &mut Stream<'_>,
        address: u64,
        flags: u64,
        place: Place,
    ) -> Result<u64> {
        if flags & flag::CONTINUE == 0 {
            let name = stream.name("name of a block of RAM")?;
            self.last = self.blocks.iter().position(|block| block.name == name);
            if self.last.is_none() {
                let found = format!("\"{}\"", name.escape_ascii());
                return Err(Error::malformed(
                    "block of a page",
                    place,
                    "a block of the list",
                    found,
                ));
            }
        }
        let block = self.last.and_then(|index| self.blocks.get(index));
        match block {
            Some(block) if address < block.bytes => {
                Ok(block.page.saturating_add(address / PAGE_SIZE))
            }
            Some(block) => {
                let expected = format!("an address below {:#x}", block.bytes);
                Err(Error::malformed(
                    "page of RAM",
                    place,
                    expected,
                    format!("{address:#x}"),
                ))
            }
            None => Err(Error::malformed(
                "page of RAM",
                place,
                "the name of its block",
                "none",
            )),
        }
    }

    /// A page's data, and where they are noted.
    fn data(&mut self, stream: &mut Stream<'_>, page: u64, kind: u64) -> Result<()> {
        match kind {
            flag::PAGE => {
                stream.skip(PAGE_SIZE, "a page")?;
                self.pages.record(page, true, stream.at)
            }
            flag::ZERO => match stream.u8("what fills a page")? {
                0 => self.pages.record(page, false, stream.at),
                byte => self.pages.pages(page, 1, stream.at, Kind::Filled { byte }),
            },
            _ => {
                let bytes = stream.u32("bytes of a compressed page")?;
                let at = stream.at;
                stream.skip(u64::from(bytes), "a compressed page")?;
                self.packed = self.packed.saturating_add(1);
                self.pages.pages(page, 1, at, Kind::Packed { bytes })
            }
        }
    }

    /// The list of blocks.
    fn list(
        &mut self,
        stream: &mut Stream<'_>,
        total: u64,
        config: &Configuration,
        place: Place,
    ) -> Result<()> {
        let wrong =
            |expected: &str, found: String| Err(Error::malformed(LIST, place, expected, found));
        if !self.blocks.is_empty() {
            return wrong("one list", "another".to_owned());
        }
        if total > MAX_RAM {
            return Err(Error::TooMany {
                what: "bytes of RAM in the stream",
                found: total,
                limit: MAX_RAM,
            });
        }
        self.is_mapped = config.mapped_ram;
        let mut done = 0_u64;
        while done < total {
            if self.blocks.len() >= MAX_BLOCKS {
                return Err(Error::TooMany {
                    what: "blocks of RAM",
                    found: self.blocks.len() as u64,
                    limit: MAX_BLOCKS as u64,
                });
            }
            done = self.block(stream, done, total, config, place)?;
        }
        Ok(())
    }

    /// A block of the list, behind `done` of `total` bytes; how many it makes with it.
    fn block(
        &mut self,
        stream: &mut Stream<'_>,
        done: u64,
        total: u64,
        config: &Configuration,
        place: Place,
    ) -> Result<u64> {
        let wrong =
            |expected: &str, found: String| Err(Error::malformed(LIST, place, expected, found));
        let name = stream.name("name of a block of RAM")?;
        let bytes = stream.u64("bytes of a block of RAM")?;
        let after = done.checked_add(bytes).filter(|after| *after <= total);
        let Some(after) = after.filter(|_| bytes > 0 && bytes.is_multiple_of(PAGE_SIZE)) else {
            let left = total.saturating_sub(done);
            let found = format!("{bytes:#x} bytes of \"{}\"", name.escape_ascii());
            return wrong(&format!("whole pages, {left:#x} bytes at most"), found);
        };
        if self.blocks.iter().any(|block| block.name == name) {
            let found = format!("\"{}\" twice", name.escape_ascii());
            return wrong("every block once", found);
        }
        if config.ignore_shared {
            stream.u64("address of a block of RAM")?;
        }
        let page = done / PAGE_SIZE;
        if self.is_mapped {
            self.mapped(stream, bytes, page)?;
        }
        self.blocks.push(Block { name, bytes, page });
        Ok(after)
    }

    /// A block whose pages are in their order; those without a bit are zeros.
    fn mapped(&mut self, stream: &mut Stream<'_>, bytes: u64, page: u64) -> Result<()> {
        const WHAT: &str = "header of a mapped block";
        let place = stream.place();
        let version = stream.u32(WHAT)?;
        let [page_bytes, bitmap, pages_at] =
            [stream.u64(WHAT)?, stream.u64(WHAT)?, stream.u64(WHAT)?];
        let map_bytes = (bytes / PAGE_SIZE).div_ceil(64).saturating_mul(8);
        let after = bitmap.saturating_add(map_bytes);
        // All offsets are the file's: a header of libvirt in front of the stream is counted.
        if version != MAPPED_VERSION
            || page_bytes != PAGE_SIZE
            || bitmap < stream.at
            || after > pages_at
            || pages_at.checked_add(bytes).is_none()
        {
            return Err(Error::malformed(
                WHAT,
                place,
                format!(
                    "version 1, pages of 4096 bytes, a bitmap behind these {MAPPED_HEADER} bytes, pages behind it"
                ),
                format!(
                    "version {version}, pages of {page_bytes} bytes, a bitmap at {bitmap:#x}, pages at {pages_at:#x}"
                ),
            ));
        }
        stream.at = bitmap;
        let end = page.saturating_add(bytes / PAGE_SIZE);
        let mut next = page;
        while stream.at < after {
            let now = after.saturating_sub(stream.at).min(BITMAP);
            let now = usize::try_from(now).unwrap_or(0);
            let bits = stream.take(now, "bitmap of a mapped block")?;
            for word in bits.chunks_exact(8) {
                let left = end.saturating_sub(next).min(64);
                let skipped = next.saturating_sub(page).saturating_mul(PAGE_SIZE);
                let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
                self.bits(word, next, left, pages_at.saturating_add(skipped))?;
                next = next.saturating_add(left);
            }
        }
        // A file need not reach so far: behind the last page with data nothing was ever written.
        stream.at = pages_at.saturating_add(bytes);
        Ok(())
    }

    /// Notes up to 64 pages, the first of which has its place at `offset`.
    fn bits(&mut self, word: u64, page: u64, pages: u64, offset: u64) -> Result<()> {
        let (mut word, mut done) = (word, 0_u64);
        while done < pages {
            let is_data = word & 1 != 0;
            let same = if is_data {
                word.trailing_ones()
            } else {
                word.trailing_zeros()
            };
            let count = u64::from(same).min(pages.saturating_sub(done));
            let at = offset.saturating_add(done.saturating_mul(PAGE_SIZE));
            let kind = if is_data {
                Kind::Stored { stride: PAGE_SIZE }
            } else {
                Kind::Zero
            };
            self.pages
                .pages(page.saturating_add(done), count, at, kind)?;
            done = done.saturating_add(count);
            word = word.checked_shr(same).unwrap_or(0);
        }
        Ok(())
    }
}

/// What the flags mean that are not read.
fn refusal(flags: u64, place: Place) -> Error {
    let found = match flags & !flag::CONTINUE {
        flags if flags & flag::XBZRLE != 0 => {
            "a difference to an earlier page (capability xbzrle)".to_owned()
        }
        flags if flags & flag::HOOK != 0 => "a page that went by RDMA".to_owned(),
        flags if flags & flag::MULTIFD_FLUSH != 0 => {
            "pages in other channels (capability multifd)".to_owned()
        }
        flags => format!("flags {flags:#x}"),
    };
    Error::malformed(
        "page of RAM",
        place,
        "a page, a compressed page or a zero page",
        found,
    )
}
