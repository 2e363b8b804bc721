//! The order of the search, and what it collects.
//!
//! ```text
//! root and kernel -> debugger data block: tag, keys in the code, known contents, headers, rebuilt
//!                 -> version, lists, runs, processors, stop code, times
//! ```

use super::fact::{Fact, Source};
use super::headers::{self, GivenHeader, GuestHeader, HeaderSearch};
use super::kdbg::{self, DebuggerData};
use super::kernel::KernelImage;
use super::kuser::Kuser;
use super::processes::{Process, SYSTEM_PID};
use super::{Windows, bugcheck, dtb, modules, processes, processors, rebuild, runs, version};
use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::error::{Attempt, Error, Result};
use crate::format::header_fields::FieldId;
use crate::format::kdbg::{MM_PFN_DATABASE, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST};
use crate::paging::AddressSpace;

/// What the caller adds to the search.
#[derive(Debug, Clone, Default)]
pub struct IdentifyOptions {
    /// Headers to weigh besides those in memory.
    pub headers: Vec<GivenHeader>,
    /// Where headers are searched in memory.
    pub header_search: HeaderSearch,
}

/// Finds Windows in a guest's memory.
///
/// # Errors
/// [`Error::NoWindows`] if no page tables map a kernel of it, [`Error::NoDebuggerData`] if they do, but the
/// kernel's debugger data block is not to be found and cannot be rebuilt.
pub fn identify(guest: &Guest) -> Result<Windows> {
    identify_with(guest, &IdentifyOptions::default())
}

/// As [`identify`], with options.
///
/// # Errors
/// As [`identify`].
pub fn identify_with(guest: &Guest, options: &IdentifyOptions) -> Result<Windows> {
    let root = dtb::find(guest).map_err(|tried| Error::NoWindows { tried })?;
    let space = AddressSpace::new(&guest.memory, root.mode, root.gpa);
    let kuser = Kuser::read(&space).map_err(|why| Error::NoWindows {
        tried: vec![Attempt {
            way: root.source.to_string(),
            outcome: why,
        }],
    })?;
    let search = Search {
        guest,
        space: &space,
        kernel: &root.kernel,
        kuser: &kuser,
    };
    let (kdbg, headers) = search.debugger_data(options)?;
    Collector {
        search,
        kdbg,
        headers,
        warnings: guest.container.warnings.clone(),
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
    fn headers(&self, options: &IdentifyOptions, search: HeaderSearch) -> Vec<GuestHeader> {
        let up_time = self.kuser.interrupt_time().map(|fact| fact.value);
        let mut given = options.headers.clone();
        given.extend(self.guest.hints.headers.iter().map(|hint| GivenHeader {
            name: hint.name.to_owned(),
            bytes: hint.bytes.clone(),
        }));
        headers::collect(self.space, self.kernel, up_time, &given, search.frames())
    }

    /// The debugger data block, and the headers that were found on the way.
    fn debugger_data(
        &self,
        options: &IdentifyOptions,
    ) -> Result<(Fact<DebuggerData>, Vec<GuestHeader>)> {
        let (space, image) = (self.space, &self.kernel.image);
        let mut tried = match kdbg::find(space, image) {
            Ok(kdbg) => return Ok((kdbg, self.headers(options, options.header_search))),
            Err(tried) => tried,
        };
        let headers = self.headers(options, HeaderSearch::All);
        let found = kdbg::from_headers(space, image, &headers).or_else(|attempt| {
            tried.push(attempt);
            rebuild::rebuild(space, self.kernel, self.guest, &headers)
        });
        match found {
            Ok(kdbg) => Ok((kdbg, headers)),
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
    headers: Vec<GuestHeader>,
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
        let (processes, processes_broken) =
            processes::read(space, &kernel.image, process_list.value);
        let (runs, no_runs) = runs::read(space, Some(block), guest);
        let (processors, odd) = processors::read(space, block, &guest.cpus);
        let (bugcheck, no_code) = bugcheck::read(space, &kernel.image, block);
        let troubles = [modules_broken, processes_broken, no_runs, no_code];
        self.warnings.extend(troubles.into_iter().flatten());
        self.warnings.extend(odd);
        Ok(Windows {
            mode: space.mode(),
            root_source: source.clone(),
            dtb: system_root(space, &processes, root, source),
            pfn_database: self.pfn_database(),
            kernel: kernel.clone(),
            version: version::read(space, kernel, Some(&self.kdbg.value), kuser),
            module_list,
            process_list,
            runs,
            processors,
            bugcheck,
            system_time: kuser.system_time(),
            up_time: kuser.interrupt_time(),
            product_type: kuser
                .product_type()
                .or_else(|| self.header_field(FieldId::ProductType, "ProductType")),
            suite_mask: Some(kuser.suite_mask()),
            modules,
            processes,
            headers: self.headers,
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

    /// A field that memory does not tell, from a header that it confirms.
    fn header_field<T: TryFrom<u64>>(&self, id: FieldId, field: &'static str) -> Option<Fact<T>> {
        let confirmed = self.headers.iter().filter(|header| header.is_confirmed());
        confirmed.into_iter().find_map(|header| {
            let value = T::try_from(header.number(id)?).ok()?;
            let origin = header.origin.to_string();
            Some(Fact::new(value, Source::Header { origin, field }))
        })
    }
}

/// System's own page tables rather than those of the process that a vCPU happened to run.
fn system_root(
    space: &AddressSpace<'_>,
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
