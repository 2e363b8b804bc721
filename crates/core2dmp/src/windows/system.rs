//! `Windows`: a system as its memory shows it, every fact with its source.

use super::bugcheck::Bugcheck;
use super::dtb::Rival;
use super::fact::{Fact, Source};
use super::guest_record::GuestRecord;
use super::headers::GuestHeader;
use super::kdbg::DebuggerData;
use super::kernel::{self, KernelImage};
use super::modules::Module;
use super::processes::Process;
use super::processors::Processor;
use super::version::Version;
use crate::address::{Gpa, Gva};
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

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
    /// Guest records that a driver left for the host, in this boot or others, the newest start first.
    pub records: Vec<GuestRecord>,
    /// Other kernels in the same memory, such as an earlier boot's.
    pub rivals: Vec<Rival>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The PML5 entry that addresses of 48 bits in the kernel's half go through.
const KERNEL_PML5_ENTRY: u64 = 511;

impl Windows {
    /// The system's virtual memory.
    #[must_use]
    pub fn space<'m>(&self, memory: &'m PhysicalMemory) -> AddressSpace<'m> {
        AddressSpace::new(memory, self.mode, self.dtb.value)
    }

    /// Of a system with five levels of page tables the PML4 of the kernel's addresses, which is what a dump's header
    /// has to name: dbgeng walks four levels from there, whatever CR4 says. `None` for every other system, and where
    /// the entry is not present.
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
