//! The guest's memory and nothing else.

use crate::windows::guest::Guest;
use crate::windows::memory::{HIGH_START, PAGE};

impl Guest {
    /// The guest's memory by address up to a frame, with `filler` where there is none.
    #[must_use]
    pub fn raw(&self, filler: u8, until_frame: u64) -> Vec<u8> {
        by_address(self, filler, until_frame)
    }

    /// The guest's RAM from its first frame on, as QEMU's memory file has it where RAM does not begin at 0.
    #[must_use]
    pub fn raw_from_start(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut page = vec![0; PAGE];
        let mut next = self.present.first().map_or(0, |run| run.0);
        for &(first, count) in &self.present {
            file.resize(file.len() + (first - next) as usize * PAGE, 0);
            for pfn in first..first + count {
                self.frames.read_frame(pfn, &mut page);
                file.extend_from_slice(&page);
            }
            next = first + count;
        }
        file
    }

    /// The guest's memory as its hypervisor's RAM file has it: without the hole below 4 GiB.
    #[must_use]
    pub fn raw_without_hole(&self) -> Vec<u8> {
        without_hole(self)
    }
}

/// Memory by address, absent frames as `filler`; `until_frame` ends the file.
pub(crate) fn by_address(guest: &Guest, filler: u8, until_frame: u64) -> Vec<u8> {
    let mut file = vec![filler; until_frame as usize * PAGE];
    for (pfn, page) in file.chunks_exact_mut(PAGE).enumerate() {
        if is_present(guest, pfn as u64) {
            guest.frames.read_frame(pfn as u64, page);
        }
    }
    file
}

/// Memory as the hypervisor's RAM file has it: what lies at 4 GiB and above right behind what lies below.
pub(crate) fn without_hole(guest: &Guest) -> Vec<u8> {
    let ends = guest.present.iter().map(|run| run.0 + run.1);
    let low = ends.filter(|end| *end <= HIGH_START).max().unwrap_or(0);
    let mut file = by_address(guest, 0, low);
    let mut page = vec![0; PAGE];
    for &(first, count) in guest.present.iter().filter(|run| run.0 >= HIGH_START) {
        // Frames between runs are RAM that the guest's map does not have.
        let place = (low + first - HIGH_START) as usize * PAGE;
        file.resize(file.len().max(place), 0);
        for pfn in first..first + count {
            guest.frames.read_frame(pfn, &mut page);
            file.extend_from_slice(&page);
        }
    }
    file
}

fn is_present(guest: &Guest, pfn: u64) -> bool {
    guest
        .present
        .iter()
        .any(|&(first, count)| (first..first + count).contains(&pfn))
}
