//! The physical memory map of a PC: frames that are never RAM, and where RAM continues above the hole below 4 GiB.
//!
//! ```text
//! 0 ...... 0xa0 | VGA | 0xc0 ......... RAM ......... | hole | video memory, firmware | 0x100000 .... RAM
//! ```

use crate::address::Pfn;
use crate::memory::Frames;

/// The first frame at 4 GiB, where RAM continues that the hole below leaves no place for.
pub(super) const FOUR_GIB: Pfn = Pfn::new(0x10_0000);

/// Frames that are no RAM, though a hypervisor backs them with memory: VGA; below 4 GiB, video memory and firmware.
const NOT_RAM: [(u64, u64); 2] = [(0xa0, 0xc0), (0xf_0000, FOUR_GIB.get())];

pub(super) fn not_ram() -> Vec<Frames> {
    NOT_RAM
        .map(|(first, end)| Frames::between(Pfn::new(first), Pfn::new(end)))
        .to_vec()
}
