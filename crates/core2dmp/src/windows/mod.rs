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
mod kdbg;
mod kernel;
mod kuser;
mod lists;
mod modules;
mod pe;
mod processes;
mod processors;
mod rebuild;
mod registers;
mod runs;
mod version;

use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::error::{Error, Result};
use crate::format::kdbg::{MM_PFN_DATABASE, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST};
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

pub use bugcheck::Bugcheck;
pub use contexts::{ContextPolicy, ContextSource, ProcessorContext, contexts};
pub use crash::Exception;
pub use fact::{Fact, Rejected, Source};
pub use kdbg::{DebuggerData, Encoding};
pub use kernel::KernelImage;
pub use modules::Module;
pub use pe::{PdbId, PeImage, Section};
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
        let bugcheck = &self.bugcheck.value;
        let processor = crash::processor(&space, &self.kernel.image, bugcheck, contexts);
        let crashed = contexts
            .iter()
            .find(|context| context.number == processor.value);
        let exception = crash::exception(&space, bugcheck, crashed);
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

/// Finds Windows in a guest's memory.
///
/// # Errors
/// [`Error::NoWindows`] if no page tables map a kernel of it, [`Error::NoDebuggerData`] if they do but the
/// kernel's debugger data block is not to be found.
pub fn identify(guest: &Guest) -> Result<Windows> {
    let root = dtb::find(guest).map_err(|tried| Error::NoWindows { tried })?;
    let space = AddressSpace::new(&guest.memory, root.mode, root.gpa);
    let kuser = kuser::Kuser::read(&space).map_err(|_| Error::NoWindows { tried: Vec::new() })?;
    let kernel = root.kernel;
    let kdbg = kdbg::find(&space, &kernel.image).or_else(|mut tried| {
        rebuild::rebuild(&space, &kernel, guest).map_err(|attempt| {
            tried.push(attempt);
            tried
        })
    });
    let block = kdbg.as_ref().ok().map(|kdbg| &kdbg.value);
    let version = version::read(&space, &kernel, block, &kuser);
    let no_data = |tried| Error::NoDebuggerData {
        base: kernel.image.base,
        build: version.build.as_ref().map(|build| build.value),
        timestamp: kernel.image.timestamp,
        tried,
    };
    let kdbg = kdbg.map_err(&no_data)?;
    let list = |offset, name| {
        kdbg.value
            .fact(offset, name)
            .ok_or_else(|| no_data(Vec::new()))
    };
    let module_list = list(PS_LOADED_MODULE_LIST, "PsLoadedModuleList")?;
    let process_list = list(PS_ACTIVE_PROCESS_HEAD, "PsActiveProcessHead")?;

    let mut warnings = guest.container.warnings.clone();
    if !kdbg.value.rebuilt.is_empty() {
        warnings.push(format!(
            "the guest has no debugger data block; one of {} proven fields was put at {}",
            kdbg.value.rebuilt.len(),
            kdbg.value.gva
        ));
    }
    let (modules, broken) = modules::read(&space, &module_list);
    warnings.extend(broken);
    let (processes, broken) = processes::read(&space, &kernel.image, process_list.value);
    warnings.extend(broken);
    let (runs, warning) = runs::read(&space, Some(&kdbg.value), guest);
    warnings.extend(warning);
    let (processors, odd) = processors::read(&space, &kdbg.value, &guest.cpus);
    warnings.extend(odd);
    let (bugcheck, warning) = bugcheck::read(&space, &kernel.image, &kdbg.value);
    warnings.extend(warning);
    Ok(Windows {
        mode: root.mode,
        dtb: system_root(&space, &processes, root.gpa, root.source),
        pfn_database: pfn_database(&space, &kdbg.value),
        kernel,
        version,
        module_list,
        process_list,
        runs,
        processors,
        bugcheck,
        system_time: kuser.system_time(),
        up_time: kuser.interrupt_time(),
        product_type: kuser.product_type(),
        suite_mask: Some(kuser.suite_mask()),
        modules,
        processes,
        warnings,
        kdbg,
    })
}

/// System's own page tables rather than those of the process that a vCPU happened to run.
fn system_root(
    space: &AddressSpace<'_>,
    processes: &[Process],
    found: Gpa,
    source: Source,
) -> Fact<Gpa> {
    let system = processes.iter().find(|process| process.pid == 4);
    let Some(system) = system else {
        return Fact::new(found, source);
    };
    let dtb = Gpa::new(system.dtb & space.mode().root_mask());
    let fact = Fact::new(dtb, Source::SystemProcess(system.eprocess));
    if dtb == found {
        return fact;
    }
    let owner = processes
        .iter()
        .find(|process| process.dtb & space.mode().root_mask() == found.get())
        .map_or("no process of the list".to_owned(), |process| {
            format!("process {}", process.pid)
        });
    fact.against(
        found,
        source,
        format!("page tables of {owner}, as good to read with"),
    )
}

/// The pointer's value; real headers hold that or the variable's address.
fn pfn_database(space: &AddressSpace<'_>, kdbg: &DebuggerData) -> Option<Fact<Gva>> {
    let gva = kdbg.pointer(MM_PFN_DATABASE)?;
    let value = space.pointer(gva).ok().filter(|value| value.get() != 0)?;
    let name = "MmPfnDatabase";
    Some(Fact::new(value, Source::Variable { name, gva }))
}
