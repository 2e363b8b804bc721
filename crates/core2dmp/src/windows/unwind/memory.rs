//! Reads of walks: pages are kept, since many stacks need the same code and tables.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use super::ended::Ended;
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE};
use crate::format::{u32_at, u64_at};
use crate::paging::{AccessError, AddressSpace};

/// Pages that are kept, 4 MiB of them.
const MAX_PAGES: usize = 1024;

type Page = Box<[u8; PAGE_BYTES]>;

/// An address space whose pages are read once.
pub(super) struct Memory<'a, 'm> {
    space: &'a AddressSpace<'m>,
    pages: RefCell<HashMap<Gva, Page>>,
}

impl fmt::Debug for Memory<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl<'a, 'm> Memory<'a, 'm> {
    pub(super) fn new(space: &'a AddressSpace<'m>) -> Self {
        Self {
            space,
            pages: RefCell::default(),
        }
    }

    pub(super) const fn space(&self) -> &'a AddressSpace<'m> {
        self.space
    }

    /// Fills `buf`; the addresses wrap as the processor's own.
    fn read(&self, gva: Gva, buf: &mut [u8]) -> Result<(), (Gva, AccessError)> {
        let mut at = gva;
        let mut rest = buf;
        while !rest.is_empty() {
            let left = PAGE_SIZE.saturating_sub(at.page_offset());
            let here = rest.len().min(usize::try_from(left).unwrap_or(PAGE_BYTES));
            let (now, later) = rest.split_at_mut(here);
            self.read_in_page(at, now).map_err(|error| (at, error))?;
            at = at.wrapping_offset(here.cast_signed() as i64);
            rest = later;
        }
        Ok(())
    }

    fn read_in_page(&self, gva: Gva, buf: &mut [u8]) -> Result<(), AccessError> {
        let start = gva.page_start();
        let offset = usize::try_from(gva.page_offset()).unwrap_or(0);
        let mut pages = self.pages.borrow_mut();
        if !pages.contains_key(&start) {
            let mut page = Box::new([0; PAGE_BYTES]);
            self.space.read(start, page.as_mut_slice())?;
            if pages.len() >= MAX_PAGES {
                pages.clear();
            }
            pages.insert(start, page);
        }
        let page = pages.get(&start).map(|page| page.as_slice());
        let end = offset.saturating_add(buf.len());
        if let Some(bytes) = page.and_then(|page| page.get(offset..end)) {
            buf.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// The bytes at `gva`; `what` they hold is named where they cannot be read.
    pub(super) fn bytes(&self, gva: Gva, buf: &mut [u8], what: &'static str) -> Result<(), Ended> {
        self.read(gva, buf).map_err(|(gva, error)| {
            let why = error.to_string();
            Ended::Unreadable { what, gva, why }
        })
    }

    /// As many of `buf`'s bytes as can be read: all, or those up to a page that is absent.
    pub(super) fn prefix<'b>(&self, gva: Gva, buf: &'b mut [u8]) -> &'b [u8] {
        let length = buf.len();
        let read = match self.read(gva, buf) {
            Ok(()) => length,
            Err((at, _)) => usize::try_from(at.get().wrapping_sub(gva.get())).unwrap_or(0),
        };
        buf.get(..read.min(length)).unwrap_or_default()
    }

    pub(super) fn u32(&self, gva: Gva, what: &'static str) -> Result<u32, Ended> {
        let mut bytes = [0; 4];
        self.bytes(gva, &mut bytes, what)?;
        Ok(u32_at(&bytes, 0).unwrap_or(0))
    }

    pub(super) fn u64(&self, gva: Gva, what: &'static str) -> Result<u64, Ended> {
        let mut bytes = [0; 8];
        self.bytes(gva, &mut bytes, what)?;
        Ok(u64_at(&bytes, 0).unwrap_or(0))
    }

    /// A word of the stack.
    pub(super) fn stack(&self, sp: u64) -> Result<u64, Ended> {
        self.u64(Gva::new(sp), "the stack")
    }

    /// A word of the stack of 32-bit code.
    pub(super) fn stack32(&self, sp: u32) -> Result<u32, Ended> {
        self.u32(Gva::new(u64::from(sp)), "the stack")
    }
}
