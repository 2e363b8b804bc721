//! What every container has to give back.

use core2dmp::address::Pfn;
use core2dmp::container::Guest;

pub(crate) use super::open::open;

/// The frame's bytes.
#[track_caller]
pub(crate) fn page(opened: &Guest, pfn: u64) -> [u8; 4096] {
    let mut page = [0xee; 4096];
    opened.memory.read(Pfn::new(pfn).gpa(), &mut page).unwrap();
    page
}

/// Every frame of the guest, as the container's memory has it.
#[track_caller]
pub(crate) fn assert_memory(opened: &Guest, guest: &core2dmp_synth::Guest) {
    for pfn in guest.present.iter().flat_map(|run| run.0..run.0 + run.1) {
        assert!(Some(page(opened, pfn)) == guest.page(pfn), "frame {pfn:#x}");
    }
}
