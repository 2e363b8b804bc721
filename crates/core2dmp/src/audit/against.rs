//! Compares every page of a dump with the core that it was made from.
//!
//! ```text
//! dump --its header and body--> memory --+-- page by page, by frame number
//! core --its container--------> memory --+      except the pages that a conversion changes in the dump
//! ```
//!
//! The dump is read as a debugger reads it, not by the plan that it was written from.

use std::collections::BTreeSet;

use crate::address::{Gva, PAGE_SIZE, Pfn};
use crate::container::Guest;
use crate::container::dmp::DumpFile;
use crate::dump::{self, DumpKind, Patch, PlanOptions};
use crate::error::Result;
use crate::memory::compare::{self, MemoryDiff};
use crate::memory::{Backing, PhysicalMemory};
use crate::paging::AddressSpace;
use crate::progress::Progress;
use crate::windows::{ContextPolicy, Windows};

/// How the pages of a dump differ from those of its core.
#[derive(Debug)]
#[non_exhaustive]
pub struct AgainstCore {
    /// Page by page; the old side is the core's.
    pub memory: MemoryDiff,
    /// The first page that should be alike and is not, and its offset in the dump.
    pub first: Option<(Pfn, Option<u64>)>,
}

impl AgainstCore {
    /// Whether every page of the dump that the core has is the core's, or is changed on purpose.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.memory.different.pages == 0 && self.memory.unreadable.pages == 0
    }
}

/// Compares every page of `dump` with the core's `guest`, in which `found` is Windows.
///
/// # Errors
/// What a plan of the core's dump may fail with, and [`Error::Interrupted`](crate::error::Error::Interrupted).
pub fn against_core(
    dump: &DumpFile,
    guest: &Guest,
    found: &Windows,
    progress: &dyn Progress,
) -> Result<AgainstCore> {
    let changed = changed(guest, found)?;
    let body = dump.memory();
    let memory = compare::compare_expecting(&guest.memory, &body, &changed, progress)?;
    let ranges = memory.different.ranges.first();
    let first = ranges.or_else(|| memory.unreadable.ranges.first());
    Ok(AgainstCore {
        first: first.map(|range| (range.first, offset(&body, range.first))),
        memory,
    })
}

/// The frames that a conversion changes, whichever registers it was asked for.
fn changed(guest: &Guest, found: &Windows) -> Result<BTreeSet<Pfn>> {
    let space = AddressSpace::new(&guest.memory, found.mode, found.dtb.value);
    let mut changed = BTreeSet::new();
    for contexts in [
        ContextPolicy::Auto,
        ContextPolicy::Vcpu,
        ContextPolicy::Memory,
    ] {
        // A bitmap changes nothing but what is left out.
        let options = PlanOptions::default()
            .kind(DumpKind::Bitmap)
            .contexts(contexts);
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

/// The offset of a frame in the dump.
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
