//! Variables of the kernel, found by what they must contain.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::layout::{self, PrcbLayout, Region};
use crate::address::Gva;
use crate::container::Guest;
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;
use crate::windows::kernel::{KernelImage, is_kernels_entry};
use crate::windows::processes;
use crate::windows::runs::read_descriptor;

/// Words of the kernel's data that are looked at: its image has 24 MiB at most.
const MAX_WORDS: usize = 8 << 20;
/// Words that are followed into memory: a hostile kernel could be full of pointers.
const MAX_FOLLOWED: usize = 1 << 20;
/// Words whose target is read at length.
const MAX_EXAMINED: usize = 1024;

/// Control regions that are kept: processors that Windows has at most.
const MAX_REGIONS: usize = 2048;

/// What a search may still cost.
struct Budget {
    followed: usize,
    examined: usize,
}

impl Budget {
    const fn new() -> Self {
        Self {
            followed: MAX_FOLLOWED,
            examined: MAX_EXAMINED,
        }
    }

    /// One more read; ends the search when there were too many.
    fn follow(&mut self) -> ControlFlow<()> {
        spend(&mut self.followed)
    }

    /// One more look at length.
    fn examine(&mut self) -> ControlFlow<()> {
        spend(&mut self.examined)
    }
}

fn spend(left: &mut usize) -> ControlFlow<()> {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    }
}

/// Heads of lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) module_list: Option<Gva>,
    pub(super) process_list: Option<Gva>,
}

/// Looks through the kernel's data for the two lists that every debugger walks.
pub(super) fn search(space: &AddressSpace<'_>, kernel: &KernelImage) -> Lists {
    let mut lists = Lists::default();
    let mut budget = Budget::new();
    let word = space.mode().pointer_bytes() as u64;
    each_word(space, kernel, |gva, flink| {
        let flink = Gva::new(flink);
        if !space.mode().is_kernel(flink) || flink == gva {
            return ControlFlow::Continue(());
        }
        budget.follow()?;
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
        if lists.process_list.is_none() && may_be_system(space, flink) {
            budget.examine()?;
            if !processes::read(space, &kernel.image, gva).list.is_empty() {
                lists.process_list = Some(gva);
            }
        }
        match (&lists.module_list, &lists.process_list) {
            (Some(_), Some(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    lists
}

/// Whether the links at `entry` may be System's: its process id is before them.
fn may_be_system(space: &AddressSpace<'_>, entry: Gva) -> bool {
    let word = space.mode().pointer_bytes() as u64;
    let pid = entry.checked_sub(word).and_then(|gva| space.word(gva).ok());
    pid == Some(processes::SYSTEM_PID)
}

/// The control regions that the kernel's data leads to, where no vCPU does: those of the array of control blocks.
pub(super) fn regions(space: &AddressSpace<'_>, kernel: &KernelImage) -> Vec<Region> {
    let mut found = BTreeMap::new();
    let mut budget = Budget::new();
    each_word(space, kernel, |_, value| {
        let prcb = Gva::new(value);
        if !space.mode().is_kernel(prcb) {
            return ControlFlow::Continue(());
        }
        budget.follow()?;
        if let Some(region) = layout::region_of(space, prcb) {
            found.insert(prcb, region);
        }
        if found.len() < MAX_REGIONS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    found.into_values().collect()
}

/// The processors' control blocks, and the array of their addresses.
pub(super) struct Processors {
    pub(super) array: Gva,
    pub(super) prcbs: Vec<Gva>,
}

/// The array whose entries are the control blocks of processors 0, 1, 2 ..., followed by none.
pub(super) fn processor_block(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    regions: &[Region],
    prcb_layout: &PrcbLayout,
) -> Option<Processors> {
    let word = space.mode().pointer_bytes() as u64;
    let known: BTreeMap<u8, Gva> = regions
        .iter()
        .filter_map(|region| Some((prcb_layout.number(space, region.prcb)?, region.prcb)))
        .collect();
    let first = known.get(&0)?;
    let mut found = None;
    let mut budget = Budget::new();
    each_word(space, kernel, |gva, value| {
        if value != first.get() {
            return ControlFlow::Continue(());
        }
        budget.examine()?;
        let entry = |number: u8| {
            let slot = gva.checked_add(u64::from(number).saturating_mul(word))?;
            space.pointer(slot).ok()
        };
        // The array has at least 32 slots; behind the processors they are null.
        let all_plausible = (0..32).all(|number| {
            entry(number).is_some_and(|prcb| {
                prcb.get() == 0 || prcb_layout.is_processor(space, prcb, number)
            })
        });
        if all_plausible
            && known
                .iter()
                .all(|(number, prcb)| entry(*number) == Some(*prcb))
        {
            let prcbs = (0..32).map_while(entry).filter(|prcb| prcb.get() != 0);
            found = Some(Processors {
                array: gva,
                prcbs: prcbs.collect(),
            });
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
    let present = guest.memory.runs();
    let end = present.last().map_or(0, |run| run.frames.end().get());
    let word = space.mode().pointer_bytes() as u64;
    let mut found = None;
    let mut budget = Budget::new();
    each_word(space, kernel, |gva, value| {
        let block = Gva::new(value);
        if !space.mode().is_kernel(block) {
            return ControlFlow::Continue(());
        }
        budget.follow()?;
        // Its total, before its runs. Anything smaller is chance: no Windows runs in a mebibyte.
        let pages = block.checked_add(word).and_then(|gva| space.word(gva).ok());
        if pages.is_none_or(|pages| pages <= 0x100 || pages > end) {
            return ControlFlow::Continue(());
        }
        budget.examine()?;
        let runs = read_descriptor(space, block).unwrap_or_default();
        if runs.last().is_some_and(|run| run.end().get() <= end) {
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
    let mut left = MAX_WORDS;
    for section in kernel.image.sections.iter().filter(|s| s.writable) {
        let mut ended = ControlFlow::Continue(());
        kernel.image.scan_section(space, section, |gva, bytes| {
            for at in (0..bytes.len()).step_by(word) {
                ended = spend(&mut left);
                ended?;
                let value = if wide {
                    u64_at(bytes, at)
                } else {
                    u32_at(bytes, at).map(u64::from)
                };
                if let Some(value) = value.filter(|value| *value != 0) {
                    ended = visit(gva.saturating_add(at as u64), value);
                    ended?;
                }
            }
            ControlFlow::Continue(())
        });
        if ended.is_break() {
            return;
        }
    }
}
