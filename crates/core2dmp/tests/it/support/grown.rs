//! Guests that an attacker had: frames that nothing uses, to be filled with what he likes.

use core2dmp::container::Guest as Opened;
use core2dmp::error::Result;
use core2dmp::windows::{self, HeaderSearch, IdentifyOptions, Windows};
use core2dmp_synth::{Guest, GuestSpec};

use super::open::{file_of, open};

/// A Windows 10 that crashed, so that its debugger data block is plain.
pub(crate) fn crashed(mib: u64) -> Guest {
    let spec = GuestSpec::windows10().memory_mib(mib).processors(2);
    spec.crashed(0xd1, [8, 2, 0, 0x1234]).build()
}

/// So many frames that the guest wrote nothing to.
pub(crate) fn free_frames(guest: &Guest, count: usize) -> Vec<u64> {
    let all = guest.present.iter().flat_map(|run| run.0..run.0 + run.1);
    let free = all.filter(|pfn| *pfn >= 0x200 && !guest.frames.is_written(*pfn));
    let free: Vec<u64> = free.take(count).collect();
    assert_eq!(free.len(), count);
    free
}

/// Opens the guest's core.
pub(crate) fn opened(guest: &Guest) -> Opened {
    open(file_of(&guest.xen_core())).unwrap()
}

/// Finds Windows, with headers searched everywhere.
pub(crate) fn identify(opened: &Opened) -> Result<Windows> {
    let options = IdentifyOptions::default().header_search(HeaderSearch::All);
    windows::identify_with(opened, &options)
}

/// Takes away what tells that there is a kernel: the signature of its header, and the name in its exports.
pub(crate) fn hide_kernel(guest: &mut Guest) {
    let base = guest.expected.kernel.base;
    guest.write_va(base, &[0; 2]);
    let image = guest.read_va(base, 0x1_0000).unwrap();
    let name = b"ntoskrnl.exe\0";
    let at = image.windows(name.len()).position(|text| text == name);
    guest.write_va(base + at.unwrap() as u64, &[b'x'; 4]);
}
