//! A raw file read flat: page n of the file is frame n.

use crate::address::{PAGE_SIZE, Pfn};
use crate::container::Guest;

/// Whether page n of a raw file is read as frame n.
pub(super) fn is_flat(guest: &Guest) -> bool {
    let [run] = guest.memory.runs() else {
        return false;
    };
    guest.container.format == "raw"
        && run.frames.first == Pfn::new(0)
        && run.frames.count == pages(guest)
}

/// Pages of the file.
pub(super) fn pages(guest: &Guest) -> u64 {
    guest.container.size / PAGE_SIZE
}
