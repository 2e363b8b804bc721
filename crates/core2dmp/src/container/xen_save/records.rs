//! The records of libxc: pages, and where Xen's context is.
//!
//! ```text
//! type, bytes | body, up to a multiple of 8         PAGE_DATA: count | frames with types | pages of those with data
//! ```

use crate::address::{PAGE_SIZE, Pfn};
use crate::container::page_index::{Kind, PageIndex};
use crate::error::{Error, Place, Result};
use crate::format::xen_save::{libxc, page};
use crate::format::{bytes_at, u64_at};
use crate::source::{ReadAt, read_exact_at};

/// Frames of a record that are read at a time; libxc writes 1024 of them.
const FRAMES: u64 = 8192;
/// Records that are accepted: of 1024 pages each, 64 TiB.
const MAX_RECORDS: u64 = 1 << 24;

/// What the records hold.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) pages: PageIndex,
    /// Where Xen's context is, and its bytes.
    pub(super) context: Option<(u64, u64)>,
    /// One past the highest frame.
    pub(super) end: u64,
    /// Pages without data: broken ones, and allocated ones that were not sent.
    pub(super) broken: u64,
    pub(super) allocated: u64,
    /// What follows is sent for comparison.
    is_verified: bool,
    pub(super) checkpoints: u64,
}

impl Records {
    /// Reads the records from `at` on. What was found stays after an error.
    pub(super) fn read(&mut self, source: &dyn ReadAt, at: u64) -> Result<()> {
        const WHAT: &str = "record of libxc";
        let mut at = at;
        for _ in 0..MAX_RECORDS {
            let mut header = [0; 8];
            read_exact_at(source, at, &mut header, WHAT)?;
            let [kind, bytes] =
                [0, 4].map(|at| bytes_at(&header, at).map_or(0, u32::from_le_bytes));
            let place = Place::Offset(at);
            if bytes > libxc::MAX_BYTES {
                let expected = format!("{} bytes at most", libxc::MAX_BYTES);
                let found = format!("{bytes} of type {kind:#x}");
                return Err(Error::malformed(WHAT, place, expected, found));
            }
            let body = at.saturating_add(8);
            at = body.saturating_add(u64::from(bytes).next_multiple_of(8));
            let size = source.size();
            match kind {
                libxc::END => return Ok(()),
                libxc::PAGE_DATA if !self.is_verified => {
                    self.page_data(source, body, u64::from(bytes))?;
                }
                libxc::HVM_CONTEXT => self.context = Some((body, u64::from(bytes))),
                libxc::VERIFY => self.is_verified = true,
                libxc::CHECKPOINT => self.checkpoints = self.checkpoints.saturating_add(1),
                kind if kind >= libxc::UNKNOWN && kind & libxc::OPTIONAL == 0 => {
                    let expected = "a type below 0x13, or one that may be passed over";
                    return Err(Error::malformed(
                        WHAT,
                        place,
                        expected,
                        format!("{kind:#x}"),
                    ));
                }
                _ => {}
            }
            if at > size {
                return Err(Error::Truncated {
                    what: WHAT,
                    place,
                    expected: u64::from(bytes),
                    found: size.saturating_sub(body),
                });
            }
        }
        Err(Error::TooMany {
            what: "records of libxc",
            found: MAX_RECORDS,
            limit: MAX_RECORDS,
        })
    }

    /// Notes the pages of a record.
    fn page_data(&mut self, source: &dyn ReadAt, body: u64, bytes: u64) -> Result<()> {
        const WHAT: &str = "PAGE_DATA of libxc";
        let place = Place::Offset(body);
        let mut count = [0; 8];
        read_exact_at(source, body, &mut count, WHAT)?;
        let count = u64::from(bytes_at(&count, 0).map_or(0, u32::from_le_bytes));
        let listed = count.saturating_mul(8).saturating_add(8);
        if count == 0 || listed > bytes {
            let expected = "frames that fit into the record, one at least";
            return Err(Error::malformed(
                WHAT,
                place,
                expected,
                format!("{count} in {bytes} bytes"),
            ));
        }
        let data = body.saturating_add(listed);
        let (mut next, mut at, mut done) = (data, body.saturating_add(8), 0);
        while done < count {
            let now = count.saturating_sub(done).min(FRAMES);
            let mut frames = vec![0; usize::try_from(now.saturating_mul(8)).unwrap_or(0)];
            read_exact_at(source, at, &mut frames, WHAT)?;
            for raw in frames.chunks_exact(8) {
                next = self.page(u64_at(raw, 0).unwrap_or(0), next, source.size(), place)?;
            }
            done = done.saturating_add(now);
            at = at.saturating_add(now.saturating_mul(8));
        }
        let end = body.saturating_add(bytes);
        if next != end {
            let expected = format!("{:#x} bytes of pages", end.saturating_sub(data));
            let found = format!("{:#x} of {count} frames", next.saturating_sub(data));
            return Err(Error::malformed(WHAT, place, expected, found));
        }
        Ok(())
    }

    /// Notes a page whose data are at `data`, if it has any; where the next page's are.
    fn page(&mut self, raw: u64, data: u64, size: u64, place: Place) -> Result<u64> {
        let (pfn, kind) = (raw & page::PFN, raw >> page::TYPE_SHIFT);
        if pfn >= Pfn::END.get() {
            let expected = format!("a frame below {}", Pfn::END);
            return Err(Error::malformed(
                "PAGE_DATA of libxc",
                place,
                expected,
                format!("{pfn:#x}"),
            ));
        }
        match kind {
            page::NONE => self.pages.forget(pfn, 1)?,
            page::BROKEN => {
                self.broken = self.broken.saturating_add(1);
                self.pages.forget(pfn, 1)?;
            }
            page::ALLOCATED => {
                self.allocated = self.allocated.saturating_add(1);
                self.pages.pages(pfn, 1, data, Kind::Zero)?;
            }
            0..=4 | 9..=12 => {
                let next = data.saturating_add(PAGE_SIZE);
                // If the file ends here, the page is missing: an older copy of it would be wrong.
                if next > size {
                    return Err(Error::Truncated {
                        what: "a page",
                        place: Place::Offset(data),
                        expected: PAGE_SIZE,
                        found: size.saturating_sub(data),
                    });
                }
                let stored = Kind::Stored { stride: PAGE_SIZE };
                self.pages.pages(pfn, 1, data, stored)?;
                self.end = self.end.max(pfn.saturating_add(1));
                return Ok(next);
            }
            other => {
                let expected = "a type of page that Xen knows";
                let found = format!("{other:#x} of frame {pfn:#x}");
                return Err(Error::malformed(
                    "PAGE_DATA of libxc",
                    place,
                    expected,
                    found,
                ));
            }
        }
        self.end = self.end.max(pfn.saturating_add(1));
        Ok(data)
    }
}
