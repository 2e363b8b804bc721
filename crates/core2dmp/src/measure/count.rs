//! Holes by what Windows counts, and where hypervisors are known to have them.

use std::sync::Arc;

use super::flat::is_flat;
use crate::address::{Gva, Pfn};
use crate::container::Guest;
use crate::container::raw::{self, Region};
use crate::memory::{FrameSet, Frames};
use crate::paging::{Reach, ReachedHalf};
use crate::windows::{Source, Windows};

/// Where RAM continues that has no place below 4 GiB.
const FOUR_GIB: Pfn = Pfn::new(0x10_0000);
/// Where the hole below 4 GiB may start: VMware and QEMU's i440FX; q35, and q35 of up to 2.75 GiB; VirtualBox and
/// i440FX of up to 3.5 GiB; Xen; Hyper-V. Each is only tried, and taken if Windows is found with it. Sources: QEMU,
/// `hw/i386/pc_piix.c` and `pc_q35.c`; Xen, `public/hvm/e820.h` (`HVM_BELOW_4G_RAM_END`).
const USUAL: [u64; 6] = [0xc_0000, 0x8_0000, 0xb_0000, 0xe_0000, 0xf_0000, 0xf_8000];
/// Frames that firmware keeps at the end of low RAM, at most: Windows does not count them.
const MOST_FIRMWARE: u64 = 0x1000;

/// The holes that a file of this size may leave out.
pub(super) fn usual(guest: &Guest) -> Vec<Frames> {
    let pages = super::flat::pages(guest);
    let starts = USUAL.into_iter().filter(|start| *start < pages);
    starts
        .map(|start| Frames::between(Pfn::new(start), FOUR_GIB))
        .collect()
}

/// The hole that what Windows counts speaks of.
pub(super) fn hole(guest: &Guest, windows: &Windows) -> Option<Frames> {
    if !matches!(windows.runs.source, Source::Variable { .. }) {
        return None;
    }
    let counted = &windows.runs.value;
    raw::hole(guest, counted).or_else(|| of_zeros(guest, windows))
}

/// The hole where all that would be behind it is zeros: a memory that nobody used yet, if it fits what Windows counts
/// to the frame, and Windows maps none of it. A file that only ends inside the hole, where memory behind it was in use,
/// looks the same otherwise.
fn of_zeros(guest: &Guest, windows: &Windows) -> Option<Frames> {
    if !is_flat(guest) {
        return None;
    }
    let counted = &windows.runs.value;
    let pages = super::flat::pages(guest);
    let end = counted.last()?.end();
    let high = end.frames_since(FOUR_GIB);
    let low_end = counted
        .iter()
        .filter(|run| run.first < FOUR_GIB)
        .map(|run| run.end().get())
        .max()?;
    let start = pages
        .checked_sub(high)
        .filter(|_| high > 0 && end.get() > pages)?;
    let fits = start >= low_end
        && start < FOUR_GIB.get()
        && start.saturating_sub(low_end) <= MOST_FIRMWARE;
    let hole = Frames::between(Pfn::new(start), FOUR_GIB);
    let stored = Frames::new(hole.first, high);
    (fits && is_zeros(guest, stored) && !maps_any(guest, windows, Frames::between(FOUR_GIB, end)))
        .then_some(hole)
}

/// Whether frames are zeros, all of them.
fn is_zeros(guest: &Guest, frames: Frames) -> bool {
    let mut zeros = true;
    let gaps = guest.memory.scan(frames, |_, block| {
        zeros = block.iter().all(|byte| *byte == 0);
        if zeros {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    });
    zeros && gaps.is_empty()
}

/// Whether the kernel maps any of these frames.
fn maps_any(guest: &Guest, windows: &Windows, frames: Frames) -> bool {
    let mut wanted = FrameSet::default();
    wanted.insert(Frames::between(Pfn::new(0), frames.end()));
    let mut reach = Reach::new(&guest.memory, windows.mode, wanted);
    let start = if windows.mode.is_64bit() {
        Gva::new(1 << 63)
    } else {
        Gva::new(0x8000_0000)
    };
    let whole = reach.add(windows.dtb.value, ReachedHalf::Kernel(start));
    !whole || reach.into_pages().runs_in(frames).next().is_some()
}

/// The file, read with a hole.
pub(super) fn with_hole(guest: &Guest, hole: Frames, warning: String) -> Option<Guest> {
    let pages = super::flat::pages(guest);
    let start = hole.first.get().min(pages);
    let regions = [
        Region {
            frames: Frames::new(Pfn::new(0), start),
            page: 0,
        },
        Region {
            frames: Frames::new(hole.end(), pages.saturating_sub(start)),
            page: start,
        },
    ];
    let source = Arc::clone(guest.memory.source());
    let mut other = raw::open_regions(source, &regions, hole.to_string()).ok()?;
    other.container.warnings.push(warning);
    Some(other)
}
