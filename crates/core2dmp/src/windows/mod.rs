//! Windows in physical memory: every fact that a dump needs, each with where it was read.
//!
//! ```text
//! vCPUs, low stub, scan -> page-table root -> kernel image -> debugger data block -> everything else
//!        (dtb)                (kuser)          (kernel, pe)       (kdbg)      version, runs, processors,
//!                                                                             stop code, modules, processes
//! ```
//!
//! [`identify`] needs no symbols and no network. What it cannot find it names, with what it tried. It asks
//! the memory, not the version number: what moved from build to build is found by what it must contain.
//!
//! Sources: reference works are cited in each file; offsets stand in [`crate::format`].

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bugcheck;
mod contexts;
mod crash;
mod dtb;
mod fact;
mod headers;
mod identify;
mod kdbg;
mod kernel;
mod kuser;
mod lists;
mod modules;
mod pe;
mod pfn;
mod processes;
mod processors;
mod rebuild;
mod registers;
mod runs;
mod version;

use crate::address::{Gpa, Gva};
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

pub use bugcheck::Bugcheck;
pub use contexts::{ContextPolicy, ContextSource, ProcessorContext, contexts};
pub use crash::Exception;
pub use fact::{Fact, Rejected, Source};
pub use headers::{GivenHeader, GuestHeader, HeaderKind, HeaderOrigin, HeaderSearch};
pub use identify::{IdentifyOptions, identify, identify_with};
pub use kdbg::{DebuggerData, Encoding};
pub use kernel::KernelImage;
pub use modules::Module;
pub use pe::{PdbId, PeImage, Section};
pub use pfn::PfnDatabase;
pub use processes::Process;
pub use processors::Processor;
pub use rebuild::RebuiltField;
pub use version::Version;

/// A Windows system, as its memory shows it.
#[derive(Debug, Clone)]
pub struct Windows {
    /// How it translates addresses.
    pub mode: PagingMode,
    /// The page tables of System, or those that it was found with.
    pub dtb: Fact<Gpa>,
    /// How the first page tables were found, before System's were known.
    pub root_source: Source,
    /// The kernel.
    pub kernel: KernelImage,
    /// The debugger data block, plain.
    pub kdbg: Fact<DebuggerData>,
    /// Which Windows.
    pub version: Version,
    /// `PsLoadedModuleList`.
    pub module_list: Fact<Gva>,
    /// `PsActiveProcessHead`.
    pub process_list: Fact<Gva>,
    /// The PFN database.
    pub pfn_database: Option<Fact<Gva>>,
    /// The frames that Windows counts as memory, ascending.
    pub runs: Fact<Vec<Frames>>,
    /// Started processors, by number.
    pub processors: Vec<Processor>,
    /// The stop code.
    pub bugcheck: Fact<Bugcheck>,
    /// FILETIME when the memory was taken.
    pub system_time: Option<Fact<u64>>,
    /// Time since boot in 100 ns.
    pub up_time: Option<Fact<u64>>,
    /// 1 workstation, 2 domain controller, 3 server.
    pub product_type: Option<Fact<u32>>,
    /// Product suites.
    pub suite_mask: Option<Fact<u32>>,
    /// Loaded modules in load order.
    pub modules: Vec<Module>,
    /// Processes in Windows' order.
    pub processes: Vec<Process>,
    /// Dump headers that were made inside the guest.
    pub headers: Vec<GuestHeader>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Windows {
    /// The system's virtual memory.
    #[must_use]
    pub fn space<'m>(&self, memory: &'m PhysicalMemory) -> AddressSpace<'m> {
        AddressSpace::new(memory, self.mode, self.dtb.value)
    }

    /// The processor that crashed, or the first one of a live guest, and its exception.
    #[must_use]
    pub fn crash(
        &self,
        memory: &PhysicalMemory,
        contexts: &[ProcessorContext],
    ) -> (Fact<u32>, Fact<Exception>) {
        let space = self.space(memory);
        let scene = crash::Scene {
            space: &space,
            kernel: &self.kernel.image,
            modules: &self.modules,
            processors: &self.processors,
            bugcheck: &self.bugcheck.value,
            contexts,
        };
        let processor = scene.processor();
        let exception = scene.exception(processor.value);
        (processor, exception)
    }

    /// The process whose thread a processor runs.
    #[must_use]
    pub fn process_of(&self, processor: &Processor) -> Option<&Process> {
        let eprocess = processor.process?;
        self.processes
            .iter()
            .find(|process| process.eprocess == eprocess)
    }

    /// `MachineImageType`, as the dump's header holds it.
    #[must_use]
    pub const fn machine(&self) -> u32 {
        kernel::machine(self.mode)
    }
}
