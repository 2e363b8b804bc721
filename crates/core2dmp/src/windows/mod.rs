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
mod guest_record;
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
pub mod unwind;
mod version;

use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

pub use crate::format::kdbg::MM_PFN_DATABASE;
pub use bugcheck::Bugcheck;
pub use contexts::{ContextPolicy, ContextSource, ProcessorContext};
pub use crash::Exception;
pub use dtb::Rival;
pub use fact::{Fact, Rejected, Source};
pub use guest_record::{GuestRecord, RecordBlock, RecordHeader, RecordState};
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
#[non_exhaustive]
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
    /// Started processors whose control blocks are known, by number.
    pub processors: Vec<Processor>,
    /// How many processors Windows started, those that nothing leads to included.
    pub processor_count: Fact<u32>,
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
    /// The Idle process, if a processor runs a thread of it: no list has it.
    pub idle: Option<Process>,
    /// Dump headers that were made inside the guest.
    pub headers: Vec<GuestHeader>,
    /// What a driver left for the host: of this boot and of others, the newest start first.
    pub records: Vec<GuestRecord>,
    /// Other kernels in the same memory, such as an earlier boot's.
    pub rivals: Vec<Rival>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The PML5 entry that addresses of 48 bits in the kernel's half go through.
const KERNEL_PML5_ENTRY: u64 = 511;

/// Where the processors stood when the memory was taken, and what went wrong: computed once for a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashState {
    /// The registers of each processor, and whose they are.
    pub contexts: Vec<ProcessorContext>,
    /// The processor that crashed, or the first one of a live guest: the header's context is its.
    pub processor: Fact<u32>,
    /// The exception behind the stop code, or a breakpoint where the processor stood.
    pub exception: Fact<Exception>,
}

impl CrashState {
    /// The registers of the processor that crashed.
    #[must_use]
    pub fn crashed(&self) -> Option<&ProcessorContext> {
        let mut contexts = self.contexts.iter();
        contexts.find(|context| context.number == self.processor.value)
    }
}

impl Windows {
    /// The system's virtual memory.
    #[must_use]
    pub fn space<'m>(&self, memory: &'m PhysicalMemory) -> AddressSpace<'m> {
        AddressSpace::new(memory, self.mode, self.dtb.value)
    }

    /// Of a system with five levels of page tables the PML4 of the kernel's addresses, which is what a dump's header has
    /// to name: dbgeng walks four levels from there, whatever CR4 says. `None` for every other system, and where the
    /// entry is not present.
    #[must_use]
    pub fn four_levels(&self, memory: &PhysicalMemory) -> Option<Gpa> {
        if self.mode != PagingMode::X64La57 {
            return None;
        }
        let entry = self.dtb.value.get() & !0xfff | KERNEL_PML5_ENTRY.wrapping_mul(8);
        let mut bytes = [0; 8];
        memory.read(Gpa::new(entry), &mut bytes).ok()?;
        let entry = u64::from_le_bytes(bytes);
        (entry & 1 == 1).then(|| Gpa::new(entry & 0x000f_ffff_ffff_f000))
    }

    /// What a debugger reads that lies under another entry of the PML5 than the kernel's, by name: it cannot be read
    /// with four levels.
    #[must_use]
    pub fn beyond_four_levels(&self) -> Vec<&'static str> {
        let processors = self
            .processors
            .iter()
            .map(|cpu| ("a control block", cpu.prcb));
        let all = [
            ("the kernel", self.kernel.image.base),
            ("the debugger data block", self.kdbg.value.gva),
            ("the module list", self.module_list.value),
            ("the process list", self.process_list.value),
        ];
        let beyond = |gva: Gva| gva.get() >> 48 & 0x1ff != KERNEL_PML5_ENTRY;
        let mut names: Vec<&'static str> = all
            .into_iter()
            .chain(processors)
            .filter(|(_, gva)| self.mode == PagingMode::X64La57 && beyond(*gva))
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        names
    }

    /// Where the processors stood, which of them crashed, and by which exception.
    #[must_use]
    pub fn crash_state(&self, guest: &Guest, policy: ContextPolicy) -> CrashState {
        let contexts = contexts::contexts(guest, self, policy);
        let space = self.space(&guest.memory);
        let scene = crash::Scene {
            space: &space,
            kernel: &self.kernel.image,
            modules: &self.modules,
            processors: &self.processors,
            bugcheck: &self.bugcheck.value,
            contexts: &contexts,
        };
        let processor = scene.processor();
        let exception = scene.exception(processor.value);
        CrashState {
            contexts,
            processor,
            exception,
        }
    }

    /// The process whose thread a processor runs.
    #[must_use]
    pub fn process_of(&self, processor: &Processor) -> Option<&Process> {
        let eprocess = processor.process?;
        self.processes
            .iter()
            .chain(&self.idle)
            .find(|process| process.eprocess == eprocess)
    }

    /// `MachineImageType`, as the dump's header holds it.
    #[must_use]
    pub const fn machine(&self) -> u32 {
        kernel::machine(self.mode)
    }
}
