//! Windows, each fact with its source and what contradicts it.

use std::collections::BTreeMap;

use serde::Serialize;

use core2dmp::container::Guest;
use core2dmp::memory::coverage;
use core2dmp::windows::MM_PFN_DATABASE;
use core2dmp::windows::{
    self, ContextSource, CrashState, DebuggerData, Fact, KernelImage, PdbId, ProcessorContext,
};

use super::crash::{Crash, StopCode};
use super::header::{Found, Record};
use super::{FactOf, Missing, Run, hex, runs};
use crate::registers;
use crate::render::architecture;
use crate::time;

/// A Windows system.
#[derive(Debug, Serialize)]
pub(crate) struct Windows {
    architecture: &'static str,
    nt_version: String,
    build: Option<FactOf<u32>>,
    service_pack: Option<String>,
    build_lab: Option<String>,
    major_version: FactOf<String>,
    kd_secondary_version: u8,
    kd_version_block: Option<FactOf<String>>,
    dtb: FactOf<String>,
    first_root_source: String,
    kernel: FactOf<Kernel>,
    rivals: Vec<Rival>,
    kdbg: FactOf<Kdbg>,
    ps_loaded_module_list: FactOf<String>,
    ps_active_process_head: FactOf<String>,
    pfn_database: Option<FactOf<String>>,
    pfn_database_variable: Option<FactOf<String>>,
    runs: FactOf<Vec<Run>>,
    frames: u64,
    missing: Missing,
    container_only_frames: u64,
    crashed: bool,
    bugcheck: FactOf<StopCode>,
    crash: Crash,
    headers: Vec<Found>,
    records: Vec<Record>,
    system_time: Option<FactOf<String>>,
    system_time_utc: Option<String>,
    system_uptime: Option<FactOf<String>>,
    system_uptime_seconds: Option<u64>,
    product_type: Option<FactOf<u32>>,
    suite_mask: Option<FactOf<String>>,
    processors: Vec<Processor>,
    modules: Vec<Module>,
    processes: Vec<Process>,
}

/// Another kernel in the same memory.
#[derive(Debug, Serialize)]
struct Rival {
    kernel_base: String,
    dtb: String,
    source: String,
    system_time: Option<String>,
    system_time_utc: Option<String>,
    why: String,
}

#[derive(Debug, Serialize)]
struct Kernel {
    base: String,
    size: String,
    timestamp: String,
    checksum: String,
    name: Option<String>,
    pdb: Option<Pdb>,
}

#[derive(Debug, Serialize)]
struct Pdb {
    name: String,
    age: u32,
    id: String,
}

#[derive(Debug, Serialize)]
struct Kdbg {
    address: String,
    size: String,
    encoded: bool,
    keys: Option<Keys>,
    rebuilt: Vec<Rebuilt>,
}

/// A field of a block that the guest does not have.
#[derive(Debug, Serialize)]
struct Rebuilt {
    name: &'static str,
    value: String,
    source: String,
}

#[derive(Debug, Serialize)]
struct Keys {
    ki_wait_never: String,
    ki_wait_always: String,
    kdp_data_block_encoded: String,
}

#[derive(Debug, Serialize)]
struct Processor {
    number: u32,
    prcb: String,
    pcr: String,
    thread: Option<String>,
    process: Option<Process>,
    vcpu: Option<usize>,
    context: Option<Context>,
}

#[derive(Debug, Serialize)]
struct Context {
    source: &'static str,
    why: String,
    registers: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Module {
    name: String,
    path: String,
    base: String,
    size: String,
    timestamp: Option<String>,
    pdb: Option<Pdb>,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: u64,
    name: String,
    eprocess: String,
    dtb: String,
}

impl Windows {
    pub(crate) fn new(guest: &Guest, windows: &windows::Windows, crash: &CrashState) -> Self {
        let version = &windows.version;
        let (major, minor) = version.nt;
        let summary = coverage::coverage(&guest.memory, &windows.runs.value);
        let gva = |fact: &Fact<_>| FactOf::new(fact, ToString::to_string);
        let time = |fact: &Option<Fact<u64>>| fact.as_ref().map(hex_fact);
        Self {
            architecture: architecture(windows.mode),
            nt_version: format!("{major}.{minor}"),
            build: number_fact(version.build.as_ref()),
            service_pack: version
                .service_pack
                .map(|(major, minor)| crate::render::text::service_pack(major, minor)),
            build_lab: version.build_lab.clone(),
            major_version: hex_fact(&version.flavour),
            kd_secondary_version: version.kd_secondary,
            kd_version_block: version
                .block
                .map(|block| stated(block.to_string(), "beside the KDBG")),
            dtb: FactOf::new(&windows.dtb, ToString::to_string),
            first_root_source: windows.root_source.to_string(),
            kernel: kernel(&windows.kernel),
            rivals: windows.rivals.iter().map(rival).collect(),
            kdbg: FactOf::new(&windows.kdbg, kdbg),
            ps_loaded_module_list: gva(&windows.module_list),
            ps_active_process_head: gva(&windows.process_list),
            pfn_database: windows.pfn_database.as_ref().map(gva),
            pfn_database_variable: pfn_database_variable(&windows.kdbg.value),
            runs: FactOf::new(&windows.runs, |found| runs(found)),
            frames: summary.windows,
            missing: Missing {
                frames: summary.missing,
                first_runs: runs(&summary.missing_ranges),
            },
            container_only_frames: summary.container_only,
            crashed: windows.bugcheck.value.crashed,
            bugcheck: FactOf::new(&windows.bugcheck, |bugcheck| bugcheck.into()),
            crash: Crash::new(crash),
            headers: windows.headers.iter().map(Into::into).collect(),
            records: windows.records.iter().map(Into::into).collect(),
            system_time: time(&windows.system_time),
            system_time_utc: windows
                .system_time
                .as_ref()
                .and_then(|fact| time::utc(fact.value)),
            system_uptime: time(&windows.up_time),
            system_uptime_seconds: windows
                .up_time
                .as_ref()
                .map(|fact| time::seconds(fact.value)),
            product_type: number_fact(windows.product_type.as_ref()),
            suite_mask: windows.suite_mask.as_ref().map(hex_fact),
            processors: processors(windows, &crash.contexts),
            modules: windows.modules.iter().map(module).collect(),
            processes: windows.processes.iter().map(process).collect(),
        }
    }
}

fn hex_fact<T: Copy + Into<u64>>(fact: &Fact<T>) -> FactOf<String> {
    FactOf::new(fact, |value| hex(*value))
}

fn number_fact(fact: Option<&Fact<u32>>) -> Option<FactOf<u32>> {
    fact.map(|fact| FactOf::new(fact, |value| *value))
}

/// Where the pointer to the PFN database is.
fn pfn_database_variable(kdbg: &DebuggerData) -> Option<FactOf<String>> {
    let gva = kdbg.pointer(MM_PFN_DATABASE)?;
    Some(stated(gva.to_string(), "KDBG MmPfnDatabase"))
}

/// A fact that the library has without a source of its own.
fn stated<T>(value: T, source: &str) -> FactOf<T> {
    FactOf {
        value,
        source: source.to_owned(),
        rejected: Vec::new(),
    }
}

fn kernel(kernel: &KernelImage) -> FactOf<Kernel> {
    let image = &kernel.image;
    let value = Kernel {
        base: image.base.to_string(),
        size: hex(image.size),
        timestamp: hex(image.timestamp),
        checksum: hex(image.checksum),
        name: kernel.name.clone(),
        pdb: kernel.pdb.as_ref().map(pdb),
    };
    stated(value, &kernel.source.to_string())
}

fn pdb(pdb: &PdbId) -> Pdb {
    Pdb {
        name: pdb.name.clone(),
        age: pdb.age,
        id: pdb.to_string(),
    }
}

fn rival(rival: &windows::Rival) -> Rival {
    Rival {
        kernel_base: hex(rival.base.get()),
        dtb: hex(rival.root.get()),
        source: rival.source.to_string(),
        system_time: rival.system_time.map(hex),
        system_time_utc: rival.system_time.and_then(time::utc),
        why: rival.why.clone(),
    }
}

fn kdbg(data: &DebuggerData) -> Kdbg {
    Kdbg {
        address: data.gva.to_string(),
        size: hex(data.size()),
        encoded: data.encoding.is_some(),
        keys: data.encoding.as_ref().map(|encoding| Keys {
            ki_wait_never: hex(encoding.ki_wait_never),
            ki_wait_always: hex(encoding.ki_wait_always),
            kdp_data_block_encoded: encoding.flag.to_string(),
        }),
        rebuilt: data
            .rebuilt
            .iter()
            .map(|field| Rebuilt {
                name: field.name,
                value: hex(field.value),
                source: field.source.clone(),
            })
            .collect(),
    }
}

fn processors(windows: &windows::Windows, contexts: &[ProcessorContext]) -> Vec<Processor> {
    let chosen = |number| contexts.iter().find(|context| context.number == number);
    windows
        .processors
        .iter()
        .map(|processor| Processor {
            number: processor.number,
            prcb: processor.prcb.to_string(),
            pcr: processor.pcr.to_string(),
            thread: processor.thread.map(|thread| thread.to_string()),
            process: windows.process_of(processor).map(process),
            vcpu: processor.vcpu,
            context: chosen(processor.number).map(context),
        })
        .collect()
}

fn context(context: &ProcessorContext) -> Context {
    Context {
        source: match context.source {
            ContextSource::Vcpu(_) => "vcpu",
            ContextSource::Memory => "memory",
            ContextSource::Earlier => "earlier",
        },
        why: context.why.clone(),
        registers: registers::list(context)
            .into_iter()
            .map(|(name, value)| (name, hex(value)))
            .collect(),
    }
}

fn module(module: &windows::Module) -> Module {
    Module {
        name: module.name.clone(),
        path: module.path.clone(),
        base: module.base.to_string(),
        size: hex(module.size),
        timestamp: module.timestamp.map(hex),
        pdb: module.pdb.as_ref().map(pdb),
    }
}

fn process(process: &windows::Process) -> Process {
    Process {
        pid: process.pid,
        name: process.name.clone(),
        eprocess: process.eprocess.to_string(),
        dtb: hex(process.dtb),
    }
}
