//! `check --deep`: every page of a dump against the core that it was made of.
//!
//! ```text
//! dump --its header and body--> memory --+-- page by page, by frame number
//! core --its container--------> memory --+      but for the pages that `convert` changes in the dump
//! ```
//!
//! The dump is read as a debugger reads it, not by the plan that it was written from.

use std::collections::BTreeSet;
use std::path::Path;

use core2dmp::address::{Gva, PAGE_SIZE, Pfn};
use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::{self, DumpKind, Patch, PlanOptions};
use core2dmp::error::Error;
use core2dmp::memory::{Backing, PhysicalMemory};
use core2dmp::paging::AddressSpace;
use core2dmp::windows::{ContextPolicy, Windows};

use super::open_core;
use crate::interrupt::Interrupt;
use crate::memory_diff::{self, MemoryDiff};
use crate::message::Failure;
use crate::progress::Bar;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Deep {
    /// The core, as it was given.
    pub(crate) core: String,
    /// Page by page; the old side is the core's.
    pub(crate) memory: MemoryDiff,
    /// The first page that should be alike and is not, and where it stands in the dump.
    pub(crate) first: Option<(Pfn, Option<u64>)>,
}

impl Deep {
    /// Whether every page of the dump that the core has is the core's, or is changed on purpose.
    pub(crate) fn is_clean(&self) -> bool {
        self.memory.different.pages == 0 && self.memory.unreadable.pages == 0
    }
}

/// Compares them.
pub(super) fn compare(dump: &DumpFile, core: &Path) -> Result<Deep, Failure> {
    let interrupt = Interrupt::install()?;
    let (guest, found) = open_core(core, &interrupt)?;
    let changed = changed(&guest, &found)?;
    let body = dump.memory();
    let bytes = memory_diff::bytes(&guest.memory, &body);
    let bar = Bar::new(bytes, false, interrupt);
    let memory = memory_diff::compare_but(&guest.memory, &body, &changed, &bar);
    bar.clear();
    if memory.is_interrupted {
        return Err(Error::Interrupted.into());
    }
    let ranges = memory.different.ranges.first();
    let first = ranges.or_else(|| memory.unreadable.ranges.first());
    Ok(Deep {
        core: core.to_string_lossy().into_owned(),
        first: first.map(|range| (range.first, offset(&body, range.first))),
        memory,
    })
}

/// The frames that `convert` changes, whichever registers it was asked for.
fn changed(guest: &Guest, found: &Windows) -> Result<BTreeSet<Pfn>, Failure> {
    let space = AddressSpace::new(&guest.memory, found.mode, found.dtb.value);
    let mut changed = BTreeSet::new();
    for contexts in [
        ContextPolicy::Auto,
        ContextPolicy::Vcpu,
        ContextPolicy::Memory,
    ] {
        let options = PlanOptions {
            // Changes nothing but what is left out.
            kind: DumpKind::Bitmap,
            contexts,
            ..PlanOptions::default()
        };
        let plan = dump::plan(guest, found, &options)?;
        changed.extend(frames(&space, &plan.patches));
    }
    Ok(changed)
}

/// The frames that hold these changes.
fn frames(space: &AddressSpace<'_>, patches: &[Patch]) -> BTreeSet<Pfn> {
    let pages = patches.iter().flat_map(|patch| {
        let first = patch.gva.get() & !(PAGE_SIZE - 1);
        let end = patch.gva.get().saturating_add(patch.bytes);
        let size = usize::try_from(PAGE_SIZE).unwrap_or(1);
        (first..end).step_by(size).map(Gva::new)
    });
    pages
        .filter_map(|page| Some(space.translate(page).ok()?.gpa.pfn()))
        .collect()
}

/// Where a frame stands in the dump.
fn offset(memory: &PhysicalMemory, pfn: Pfn) -> Option<u64> {
    memory.runs().iter().find_map(|run| {
        let skipped = pfn.get().checked_sub(run.frames.first.get())?;
        match run.backing {
            Backing::File { offset } if skipped < run.frames.count => {
                Some(offset.saturating_add(skipped.saturating_mul(PAGE_SIZE)))
            }
            _ => None,
        }
    })
}
