//! Pages of the dump that differ from the container's.

use std::collections::BTreeMap;

use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::format::put_at;
use crate::paging::{AccessError, AddressSpace};

/// Bytes that the dump holds differently from the guest's memory, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patch {
    /// What was written.
    pub what: String,
    /// Where, in the guest.
    pub gva: Gva,
    /// How many bytes.
    pub bytes: u64,
}

/// What is patched in a frame, in words.
pub(crate) fn in_frame(space: &AddressSpace<'_>, patches: &[Patch], pfn: Pfn) -> String {
    let touches = |patch: &&Patch| {
        let last = patch.gva.saturating_add(patch.bytes.saturating_sub(1));
        // A patch is smaller than a page, or a block of a few.
        [patch.gva, last]
            .into_iter()
            .any(|gva| space.translate(gva).is_ok_and(|at| at.gpa.pfn() == pfn))
    };
    let names: Vec<&str> = patches
        .iter()
        .filter(touches)
        .map(|patch| patch.what.as_str())
        .collect();
    names.join(", ")
}

/// Patched pages by frame, and the list of what was patched.
#[derive(Debug, Default)]
pub(super) struct PatchSet {
    pub(super) pages: BTreeMap<Pfn, Box<[u8; PAGE_BYTES]>>,
    pub(super) list: Vec<Patch>,
}

impl PatchSet {
    /// Writes `bytes` at `gva`; bytes that memory holds already are no patch.
    pub(super) fn write(
        &mut self,
        space: &AddressSpace<'_>,
        what: impl Into<String>,
        gva: Gva,
        bytes: &[u8],
    ) -> Result<(), AccessError> {
        if space.bytes(gva, bytes.len())? == bytes {
            return Ok(());
        }
        let mut at = gva;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = PAGE_SIZE.saturating_sub(at.page_offset());
            let here = rest.len().min(usize::try_from(left).unwrap_or(PAGE_BYTES));
            let (now, later) = rest.split_at(here);
            self.write_in_page(space, at, now)?;
            at = at.saturating_add(here as u64);
            rest = later;
        }
        self.list.push(Patch {
            what: what.into(),
            gva,
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    fn write_in_page(
        &mut self,
        space: &AddressSpace<'_>,
        gva: Gva,
        bytes: &[u8],
    ) -> Result<(), AccessError> {
        let gpa = space.translate(gva)?.gpa;
        let page = match self.pages.entry(gpa.pfn()) {
            std::collections::btree_map::Entry::Occupied(page) => page.into_mut(),
            std::collections::btree_map::Entry::Vacant(slot) => {
                let mut page = Box::new([0; PAGE_BYTES]);
                space
                    .memory()
                    .read(gpa.page_start(), &mut page[..])
                    .map_err(|source| AccessError::Memory { gva, source })?;
                slot.insert(page)
            }
        };
        let offset = usize::try_from(gpa.page_offset()).unwrap_or(PAGE_BYTES);
        let fits = put_at(&mut page[..], offset, bytes);
        debug_assert!(fits, "the caller split at page borders");
        Ok(())
    }
}
