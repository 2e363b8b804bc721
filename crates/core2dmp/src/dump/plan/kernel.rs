//! The frames of a kernel dump: what the kernel halves of all address spaces reach.
//!
//! ```text
//! System's page tables --kernel half--> pools, stacks, drivers, PFN database, control blocks; the tables themselves
//! each process's       --kernel half--> its session; its top-level table
//! a process to keep    --user half----> its pages, and the tables that map them
//! ```
//!
//! Pages in transition belong to it: the debugger reads them like others. So does the system cache, as far as it
//! is mapped. What Windows does not count as memory (firmware, devices) does not.

use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::dump::planned::{Keep, Plan, PlanOptions};
use crate::error::{Error, Result};
use crate::format::kdbg::MM_SYSTEM_RANGE_START;
use crate::memory::{FrameSet, Frames};
use crate::paging::{Reach, ReachedHalf};
use crate::windows::{Process, Windows};

/// The frames, ascending; how many of the guest's are left out goes to the plan.
pub(super) fn frames(
    plan: &mut Plan,
    guest: &Guest,
    windows: &Windows,
    options: &PlanOptions,
) -> Result<Vec<Frames>> {
    let kept = kept(windows, &options.keep)?;
    let here = super::pages::present(guest, &windows.runs.value);
    let frames_here = here.len();
    let mut reach = Reach::new(&guest.memory, windows.mode, here);
    let start = kernel_start(guest, windows);
    let mut whole = reach.add(windows.dtb.value, ReachedHalf::Kernel(start));
    for process in &windows.processes {
        whole &= reach.add(Gpa::new(process.dtb), ReachedHalf::Kernel(start));
    }
    for process in kept {
        whole &= reach.add(Gpa::new(process.dtb), ReachedHalf::User(start));
        plan.warnings.push(format!(
            "the dump holds user memory, of process {} ({})",
            process.pid,
            process.name.escape_debug()
        ));
    }
    if !whole {
        plan.warnings.push(
            "the page tables are more than such a guest can have: some of the kernel's memory is left out"
                .to_owned(),
        );
    }
    let pages: FrameSet = reach.into_pages();
    plan.left_out = frames_here.saturating_sub(pages.len());
    Ok(pages.runs().collect())
}

/// The processes whose user memory the dump keeps.
fn kept<'w>(windows: &'w Windows, keep: &[Keep]) -> Result<Vec<&'w Process>> {
    let mut found = Vec::new();
    for wanted in keep {
        let before = found.len();
        found.extend(windows.processes.iter().filter(|process| match wanted {
            Keep::Pid(pid) => process.pid == *pid,
            Keep::Name(name) => is_named(process, name),
        }));
        if found.len() == before {
            return Err(Error::NoSuchProcess {
                wanted: wanted.to_string(),
            });
        }
    }
    Ok(found)
}

fn is_named(process: &Process, name: &str) -> bool {
    /// Bytes of a process name that are compared: Windows cuts names to 14 or 15.
    const KEPT: usize = 14;
    let own = process.name.as_str();
    own.eq_ignore_ascii_case(name)
        || own.len() >= KEPT
            && name
                .get(..own.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(own))
}

/// The first address of the kernel's half: on 32 bit the user may have three of four GiB.
fn kernel_start(guest: &Guest, windows: &Windows) -> Gva {
    if windows.mode.is_64bit() {
        return Gva::new(1 << 63);
    }
    let half = Gva::new(0x8000_0000);
    let told = windows
        .kdbg
        .value
        .pointer(MM_SYSTEM_RANGE_START)
        .and_then(|variable| windows.space(&guest.memory).pointer(variable).ok());
    told.filter(|start| *start >= half && start.get() <= 0xe000_0000)
        .unwrap_or(half)
}
