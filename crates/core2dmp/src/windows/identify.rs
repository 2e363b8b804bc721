//! The order of the search, and what it collects.
//!
//! ```text
//! root and kernel -> debugger data block: tag, keys in the code, known contents, headers, rebuilt
//!                 -> version, lists, runs, processors, stop code, times
//! ```

use super::dtb::Rival;
use super::fact::{Fact, Source};
use super::headers::{GivenHeader, GuestHeader, HeaderSearch};
use super::kdbg::{self, DebuggerData};
use super::kernel::KernelImage;
use super::kuser::Kuser;
use super::left::{self, Left};
use super::modules::Module;
use super::options::IdentifyOptions;
use super::processes::{Process, SYSTEM_PID};
use super::{
    Version, Windows, bugcheck, dtb, modules, processes, processors, rebuild, runs, version,
};
use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::error::{Attempt, Error, Result};
use crate::format::header_fields::FieldId;
use crate::format::kdbg::{MM_PFN_DATABASE, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST};
use crate::paging::{AddressSpace, PagingMode};

/// Finds Windows in a guest's memory.
///
/// # Errors
/// [`Error::NoWindows`] if no page tables map a kernel of it, [`Error::BehindEnd`] if they lead to memory that the
/// container lacks, [`Error::NoDebuggerData`] if they do, but the
/// kernel's debugger data block is not to be found and cannot be rebuilt.
pub fn identify(guest: &Guest) -> Result<Windows> {
    identify_with(guest, &IdentifyOptions::default())
}

/// As [`identify`], with options.
///
/// # Errors
/// As [`identify`].
pub fn identify_with(guest: &Guest, options: &IdentifyOptions) -> Result<Windows> {
    let found = dtb::find(guest, options.kernel)
        .map_err(|failed| failed.error(&guest.memory, options.kernel))?;
    let root = found.root;
    let space = AddressSpace::new(&guest.memory, root.mode, root.gpa);
    let kuser = Kuser::read(&space);
    let search = Search {
        guest,
        space: &space,
        kernel: &root.kernel,
        kuser: &kuser,
    };
    let (kdbg, left) = search.debugger_data(options)?;
    let mut warnings = guest.container.warnings.clone();
    warnings.extend(search.troubles());
    warnings.extend(left.refused.iter().cloned());
    warnings.extend(found.rivals.iter().map(ToString::to_string));
    Collector {
        search,
        kdbg,
        left,
        rivals: found.rivals,
        warnings,
    }
    .collect(root.gpa, &root.source)
}

/// A kernel that was found, and what there is to read it with.
struct Search<'a, 'm> {
    guest: &'a Guest,
    space: &'a AddressSpace<'m>,
    kernel: &'a KernelImage,
    kuser: &'a Kuser,
}

impl Search<'_, '_> {
    /// What is missing of what usually proves a system.
    fn troubles(&self) -> Vec<String> {
        let kuser = self.kuser.verify().err();
        let kuser = kuser.map(|why| format!("{why}: clock, uptime and product are not known"));
        let image = &self.kernel.image;
        let header = image.is_without_header().then(|| {
            format!(
                "the kernel's header page at {} is missing or zeros: its time stamp is not known",
                image.base
            )
        });
        kuser.into_iter().chain(header).collect()
    }

    fn left(&self, options: &IdentifyOptions, search: HeaderSearch) -> Left {
        let up_time = self.kuser.interrupt_time().map(|fact| fact.value);
        let mut given = options.headers.clone();
        given.extend(self.guest.hints.headers.iter().map(|hint| GivenHeader {
            name: hint.name.to_owned(),
            bytes: hint.bytes.clone(),
        }));
        left::find(self.space, self.kernel, up_time, &given, search.frames())
    }

    /// The debugger data block, and the headers that were found on the way.
    fn debugger_data(&self, options: &IdentifyOptions) -> Result<(Fact<DebuggerData>, Left)> {
        let (space, image) = (self.space, &self.kernel.image);
        let mut tried = match kdbg::find(space, image) {
            Ok(kdbg) => {
                // Without the shared page a record that tells the time is needed, wherever it is.
                let search = match self.kuser.verify() {
                    Ok(()) => options.header_search,
                    Err(_) => HeaderSearch::All,
                };
                return Ok((kdbg, self.left(options, search)));
            }
            Err(tried) => tried,
        };
        let left = self.left(options, HeaderSearch::All);
        let found = kdbg::from_records(space, image, &left.records)
            .or_else(|attempt| {
                tried.push(attempt);
                kdbg::from_headers(space, image, &left.headers)
            })
            .or_else(|attempt| {
                tried.push(attempt);
                rebuild::rebuild(space, self.kernel, self.guest, &left.headers)
            });
        match found {
            Ok(kdbg) => Ok((kdbg, left)),
            Err(attempt) => {
                tried.push(attempt);
                let build = version::read(space, self.kernel, None, self.kuser).build;
                Err(Error::NoDebuggerData {
                    base: image.base,
                    build: build.map(|build| build.value),
                    timestamp: image.timestamp,
                    tried,
                })
            }
        }
    }
}

/// Reads everything else, and keeps what was odd about it.
struct Collector<'a, 'm> {
    search: Search<'a, 'm>,
    kdbg: Fact<DebuggerData>,
    left: Left,
    rivals: Vec<Rival>,
    warnings: Vec<String>,
}

impl Collector<'_, '_> {
    fn collect(mut self, root: Gpa, source: &Source) -> Result<Windows> {
        let Search {
            guest,
            space,
            kernel,
            kuser,
        } = self.search;
        let module_list = self.list(PS_LOADED_MODULE_LIST, "PsLoadedModuleList")?;
        let process_list = self.list(PS_ACTIVE_PROCESS_HEAD, "PsActiveProcessHead")?;
        self.announce_rebuilt();
        let block = &self.kdbg.value;
        let (modules, modules_broken) = modules::read(space, &module_list);
        let listed = processes::read(space, &kernel.image, process_list.value);
        let recorded = self.confirmed().find(|header| header.is_recorded());
        let (runs, no_runs) = runs::read(space, Some(block), recorded, guest);
        let counted = processors::counted(space, &kernel.image, kuser);
        let started = processors::read(space, block, &guest.cpus, counted);
        let (bugcheck, no_code) = bugcheck::read(space, &kernel.image, block, &self.left.records);
        let idle = listed.idle(space, &kernel.image, &started.processors);
        let processes = listed.list;
        let troubles = [modules_broken, listed.broken, no_runs, no_code];
        self.warnings.extend(troubles.into_iter().flatten());
        self.warnings.extend(started.warnings);
        let (mode, dtb) = tables(space, kernel.image.base, &processes, root, source);
        Ok(Windows {
            mode,
            root_source: source.clone(),
            dtb,
            pfn_database: self.pfn_database(),
            kernel: whole(kernel, &modules),
            version: self.version(),
            module_list,
            process_list,
            runs,
            processors: started.processors,
            processor_count: started.count,
            bugcheck,
            system_time: kuser
                .system_time()
                .or_else(|| self.header_field(FieldId::SystemTime, "SystemTime")),
            up_time: kuser
                .interrupt_time()
                .or_else(|| self.header_field(FieldId::SystemUpTime, "SystemUpTime")),
            product_type: kuser
                .product_type()
                .or_else(|| self.header_field(FieldId::ProductType, "ProductType")),
            suite_mask: kuser
                .suite_mask()
                .or_else(|| self.header_field(FieldId::SuiteMask, "SuiteMask")),
            modules,
            processes,
            idle,
            headers: self.left.headers,
            records: self.left.records,
            rivals: self.rivals,
            warnings: self.warnings,
            kdbg: self.kdbg,
        })
    }

    fn list(&self, offset: usize, name: &'static str) -> Result<Fact<Gva>> {
        let kernel = &self.search.kernel.image;
        self.kdbg
            .value
            .fact(offset, name)
            .ok_or_else(|| Error::NoDebuggerData {
                base: kernel.base,
                build: None,
                timestamp: kernel.timestamp,
                tried: vec![Attempt {
                    way: format!("the block at {}", self.kdbg.value.gva),
                    outcome: format!("{name} is 0"),
                }],
            })
    }

    fn announce_rebuilt(&mut self) {
        let block = &self.kdbg.value;
        if !block.rebuilt.is_empty() {
            self.warnings.push(format!(
                "the guest has no debugger data block; one made of {} proven fields is put at {}",
                block.rebuilt.len(),
                block.gva
            ));
        }
    }

    /// The pointer's value; real headers hold that or the variable's address.
    fn pfn_database(&self) -> Option<Fact<Gva>> {
        let variable = self.kdbg.value.pointer(MM_PFN_DATABASE);
        let value = variable.and_then(|gva| self.search.space.pointer(gva).ok());
        match variable.zip(value) {
            Some((gva, value)) if value.get() != 0 => {
                let name = "MmPfnDatabase";
                Some(Fact::new(value, Source::Variable { name, gva }))
            }
            _ => self
                .header_field(FieldId::PfnDataBase, "PfnDataBase")
                .map(|fact: Fact<u64>| fact.map(Gva::new)),
        }
    }

    /// Where nothing in memory tells the build, a header that memory confirms does.
    fn version(&self) -> Version {
        let Search {
            space,
            kernel,
            kuser,
            ..
        } = self.search;
        let version = version::read(space, kernel, Some(&self.kdbg.value), kuser);
        let build = version
            .build
            .or_else(|| self.header_field(FieldId::MinorVersion, "MinorVersion"));
        Version { build, ..version }
    }

    /// Headers that memory confirms, the best first.
    fn confirmed(&self) -> impl Iterator<Item = &GuestHeader> {
        let headers = self.left.headers.iter();
        headers.filter(|header| header.is_confirmed())
    }

    /// A field that memory does not tell, from a header that it confirms.
    fn header_field<T: TryFrom<u64>>(&self, id: FieldId, field: &'static str) -> Option<Fact<T>> {
        self.confirmed().find_map(|header| {
            let value = T::try_from(header.number(id)?).ok()?;
            let origin = header.origin.to_string();
            Some(Fact::new(value, Source::Header { origin, field }))
        })
    }
}

/// The kernel with the size that the module list has, where its own header is missing.
fn whole(kernel: &KernelImage, modules: &[Module]) -> KernelImage {
    let mut kernel = kernel.clone();
    let listed = modules
        .first()
        .filter(|module| module.base == kernel.image.base);
    if let Some(module) = listed.filter(|_| kernel.image.is_without_header()) {
        kernel.image.size = module.size.min(kernel.image.size);
    }
    kernel
}

/// System's page tables, and how they translate: those of a process, or the root that Windows was found with.
fn tables(
    space: &AddressSpace<'_>,
    base: Gva,
    processes: &[Process],
    root: Gpa,
    source: &Source,
) -> (PagingMode, Fact<Gpa>) {
    match five_levels(space, base, processes) {
        Some(dtb) => (PagingMode::X64La57, dtb),
        None => (
            space.mode(),
            system_root(space, base, processes, root, source),
        ),
    }
}

/// System's PML5, if the kernel was found with the PML4 that it names, as in a dump that a debugger opens.
fn five_levels(space: &AddressSpace<'_>, base: Gva, processes: &[Process]) -> Option<Fact<Gpa>> {
    let system = processes.iter().find(|process| process.pid == SYSTEM_PID)?;
    let dtb = Gpa::new(system.dtb & space.mode().root_mask());
    let place = space.translate(base).ok()?.gpa;
    let leads = |mode| {
        let own = AddressSpace::new(space.memory(), mode, dtb).translate(base);
        own.is_ok_and(|mapping| mapping.gpa == place)
    };
    let is_pml5 = space.mode() == PagingMode::X64 && !leads(PagingMode::X64);
    (is_pml5 && leads(PagingMode::X64La57))
        .then(|| Fact::new(dtb, Source::SystemProcess(system.eprocess)))
}

/// System's own page tables rather than those of the process that a vCPU happened to run.
fn system_root(
    space: &AddressSpace<'_>,
    kernel: Gva,
    processes: &[Process],
    found: Gpa,
    source: &Source,
) -> Fact<Gpa> {
    let system = processes.iter().find(|process| process.pid == SYSTEM_PID);
    let Some(system) = system else {
        return Fact::new(found, source.clone());
    };
    let dtb = Gpa::new(system.dtb & space.mode().root_mask());
    let fact = Fact::new(dtb, Source::SystemProcess(system.eprocess));
    if dtb == found {
        return fact;
    }
    let own = AddressSpace::new(space.memory(), space.mode(), dtb);
    if own.translate(kernel).is_err() {
        return Fact::new(found, source.clone()).against(
            dtb,
            fact.source,
            "its page is missing, or does not map the kernel",
        );
    }
    let owner = processes
        .iter()
        .find(|process| process.dtb & space.mode().root_mask() == found.get())
        .map_or("no process of the list".to_owned(), |process| {
            format!("process {}", process.pid)
        });
    fact.against(
        found,
        source.clone(),
        format!("page tables of {owner}, as good to read with"),
    )
}
