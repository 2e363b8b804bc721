//! Which page tables a header names.
//!
//! ```text
//! System's                       what dbgeng expects: any process' kernel half is the same
//! a process'                     the header's context is in user mode there, and its tables map the kernel as System's
//!                                do: readers that know one root alone (kdmp-parser and what is built on it) reach RIP
//! a PML4 behind System's PML5    five levels: dbgeng walks four, whatever CR4 says
//! ```

use crate::address::Gpa;
use crate::container::Guest;
use crate::paging::AddressSpace;
use crate::windows::{CrashState, ProcessorContext, Windows};

/// The root that a header names, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderRoot {
    /// System's.
    System(Gpa),
    /// The PML4 of the kernel's addresses.
    FourLevels(Gpa),
    /// Those of the process whose user code the header's context is in.
    Process {
        /// The root.
        root: Gpa,
        /// The process.
        pid: u64,
    },
}

impl HeaderRoot {
    /// The physical address.
    #[must_use]
    pub const fn gpa(self) -> Gpa {
        match self {
            Self::System(root) | Self::FourLevels(root) | Self::Process { root, .. } => root,
        }
    }

    pub(super) fn choose(guest: &Guest, windows: &Windows, crash: &CrashState) -> Self {
        if let Some(pml4) = windows.four_levels(&guest.memory) {
            return Self::FourLevels(pml4);
        }
        crash
            .crashed()
            .and_then(|context| of_process(guest, windows, context))
            .unwrap_or(Self::System(windows.dtb.value))
    }
}

fn of_process(guest: &Guest, windows: &Windows, context: &ProcessorContext) -> Option<HeaderRoot> {
    if context.rip.get() == 0 || windows.mode.is_kernel(context.rip) {
        return None;
    }
    let mut processors = windows.processors.iter();
    let processor = processors.find(|processor| processor.number == context.number)?;
    let process = windows.process_of(processor)?;
    let root = Gpa::new(process.dtb & windows.mode.root_mask());
    if root == windows.dtb.value {
        return None;
    }
    let own = AddressSpace::new(&guest.memory, windows.mode, root);
    let base = windows.kernel.image.base;
    let kernel = windows.space(&guest.memory).translate(base).ok()?;
    let is_whole = own.translate(base).is_ok_and(|mapping| mapping == kernel)
        && own.translate(context.rip).is_ok();
    is_whole.then_some(HeaderRoot::Process {
        root,
        pid: process.pid,
    })
}
