//! Variables of the kernel, found by what they must contain.

use std::ops::ControlFlow;

use super::layout::PrcbLayout;
use crate::address::{Gva, Pfn};
use crate::container::Guest;
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;
use crate::windows::kernel::KernelImage;
use crate::windows::modules::layout;
use crate::windows::processes;
use crate::windows::runs::read_descriptor;

/// Link pairs that are looked at: each costs a few reads, and a hostile kernel could be full of them.
const MAX_CANDIDATES: usize = 200_000;

/// Heads of lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) module_list: Option<Gva>,
    pub(super) process_list: Option<Gva>,
}

/// Looks through the kernel's data for the two lists that every debugger walks.
pub(super) fn search(space: &AddressSpace<'_>, kernel: &KernelImage) -> Lists {
    let mut lists = Lists::default();
    let word = space.mode().pointer_bytes() as u64;
    each_word(space, kernel, |gva, flink| {
        let flink = Gva::new(flink);
        if !space.mode().is_kernel(flink) || flink == gva {
            return ControlFlow::Continue(());
        }
        let leads_back = flink
            .checked_add(word)
            .and_then(|blink| space.pointer(blink).ok())
            == Some(gva);
        if !leads_back {
            return ControlFlow::Continue(());
        }
        if lists.module_list.is_none() && is_kernels_entry(space, kernel, flink) {
            lists.module_list = Some(gva);
        }
        if lists.process_list.is_none() && is_system(space, kernel, gva, flink) {
            lists.process_list = Some(gva);
        }
        match (&lists.module_list, &lists.process_list) {
            (Some(_), Some(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    lists
}

/// Whether a `KLDR_DATA_TABLE_ENTRY` of the kernel itself stands here: its base and its size.
pub(in crate::windows) fn is_kernels_entry(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    entry: Gva,
) -> bool {
    let layout = layout(space);
    let base = entry.saturating_add(layout.module_base as u64);
    let size = entry.saturating_add(layout.module_size as u64);
    space.pointer(base).ok() == Some(kernel.image.base)
        && space.u32(size).ok() == Some(kernel.image.size)
}

/// Whether the list that starts here is that of processes: its first entry is System.
fn is_system(space: &AddressSpace<'_>, kernel: &KernelImage, head: Gva, entry: Gva) -> bool {
    let word = space.mode().pointer_bytes() as u64;
    let pid = entry.checked_sub(word).and_then(|gva| space.word(gva).ok());
    pid == Some(processes::SYSTEM_PID) && !processes::read(space, &kernel.image, head).0.is_empty()
}

/// The array whose entries are the control blocks of processors 0, 1, 2 ..., followed by none.
pub(super) fn processor_block(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    first: Gva,
    prcb_layout: &PrcbLayout,
) -> Option<Gva> {
    let word = space.mode().pointer_bytes() as u64;
    let mut found = None;
    each_word(space, kernel, |gva, value| {
        if value != first.get() {
            return ControlFlow::Continue(());
        }
        let slot = |number: u64| gva.checked_add(number.saturating_mul(word));
        // The array has at least 32 slots; behind the processors they are null.
        let all_plausible = (0_u8..32).all(|number| {
            let entry = slot(u64::from(number)).and_then(|slot| space.pointer(slot).ok());
            entry.is_some_and(|prcb| {
                prcb.get() == 0 || prcb_layout.is_processor(space, prcb, number)
            })
        });
        if all_plausible {
            found = Some(gva);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

/// The variable that points to the descriptor of physical memory.
pub(super) fn memory_block(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    guest: &Guest,
) -> Option<Gva> {
    let end = guest
        .memory
        .runs()
        .last()
        .map_or(Pfn::new(0), |run| run.frames.end());
    let mut found = None;
    each_word(space, kernel, |gva, value| {
        let block = Gva::new(value);
        if !space.mode().is_kernel(block) {
            return ControlFlow::Continue(());
        }
        let Ok(runs) = read_descriptor(space, block) else {
            return ControlFlow::Continue(());
        };
        let in_container = runs.last().is_some_and(|run| run.end() <= end)
            // Anything smaller is chance: no Windows runs in a mebibyte.
            && runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.count)) > 0x100;
        if in_container {
            found = Some(gva);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

/// Calls `visit` with every pointer-sized word of the kernel's data that is not zero.
fn each_word(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    mut visit: impl FnMut(Gva, u64) -> ControlFlow<()>,
) {
    let wide = space.mode().is_64bit();
    let word = space.mode().pointer_bytes();
    let mut budget = MAX_CANDIDATES;
    for section in kernel.image.sections.iter().filter(|s| s.writable) {
        let mut ended = false;
        kernel.image.scan_section(space, section, |gva, bytes| {
            for at in (0..bytes.len()).step_by(word) {
                let value = if wide {
                    u64_at(bytes, at)
                } else {
                    u32_at(bytes, at).map(u64::from)
                };
                let Some(value) = value.filter(|value| *value != 0) else {
                    continue;
                };
                budget = budget.saturating_sub(1);
                if budget == 0 || visit(gva.saturating_add(at as u64), value).is_break() {
                    ended = true;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if ended {
            return;
        }
    }
}
