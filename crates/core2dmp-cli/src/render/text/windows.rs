//! Windows' facts, each with its source.

use core2dmp::container::Guest;
use core2dmp::memory::Frames;
use core2dmp::memory::coverage::{self, Side};
use core2dmp::windows::{
    ContextSource, CrashState, KernelImage, Module, Process, ProcessorContext, Windows,
};

use super::{Table, count, crash, size};
use crate::registers;
use crate::render::architecture;
use crate::time;

/// Entries of a list that are shown without being asked for.
const FIRST: usize = 5;
/// Ranges of the memory map that are shown.
const RANGES: usize = 24;

/// Such as "Windows 10.0 build 19041 x64".
pub(super) fn title(windows: &Windows) -> String {
    let (major, minor) = windows.version.nt;
    let build = match &windows.version.build {
        Some(build) => format!(" build {}", build.value),
        None => String::new(),
    };
    if (major, minor) == (0, 0) {
        // The page that names the version is destroyed.
        return format!("Windows{build} {}", architecture(windows.mode));
    }
    format!(
        "Windows NT {major}.{minor}{build} {}",
        architecture(windows.mode)
    )
}

/// The facts that a dump's header is made of.
pub(super) fn facts(out: &mut String, windows: &Windows, crash: &CrashState) {
    let mut table = Table::default();
    let version = &windows.version;
    table.row("version", title(windows));
    if let Some(build) = &version.build {
        table.fact("build", build, ToString::to_string);
    }
    if let Some((major, minor)) = version.service_pack {
        table.row("service pack", service_pack(major, minor));
    }
    if let Some(lab) = &version.build_lab {
        table.row("build lab", lab);
    }
    table.fact("flavour", &version.flavour, |flavour| match flavour {
        0xc => "checked".to_owned(),
        _ => "free".to_owned(),
    });
    table.fact("state", &windows.bugcheck, crash::state);
    crash::parameters(&mut table, &windows.bugcheck.value);
    crash::exception(&mut table, windows, crash);
    times_and_product(&mut table, windows);
    table.fact("page tables", &windows.dtb, ToString::to_string);
    table.noted("", "first found by", windows.root_source.to_string());
    kernel(&mut table, &windows.kernel);
    for rival in &windows.rivals {
        let time = rival.system_time.and_then(time::utc);
        let time = time.map_or_else(String::new, |time| format!(", {time}"));
        table.noted(
            "",
            format!("not {}, page tables {}{time}", rival.base, rival.root),
            &rival.why,
        );
    }
    table.fact("KDBG", &windows.kdbg, |data| {
        let how = if data.encoding.is_some() {
            ", encoded"
        } else {
            ""
        };
        format!("{}, {:#x} bytes{how}", data.gva, data.size())
    });
    if let Some(block) = version.block {
        table.noted("version block", block.to_string(), "beside the KDBG");
    }
    table.fact("module list", &windows.module_list, ToString::to_string);
    table.fact("process list", &windows.process_list, ToString::to_string);
    if let Some(fact) = &windows.pfn_database {
        table.fact("PFN database", fact, ToString::to_string);
    }
    table.write(out, "Windows");
}

fn times_and_product(table: &mut Table, windows: &Windows) {
    if let Some(fact) = &windows.system_time {
        table.fact("time", fact, |time| {
            time::utc(*time).unwrap_or_else(|| format!("{time:#x}, which is no date"))
        });
    }
    if let Some(fact) = &windows.up_time {
        table.fact("up for", fact, |units| time::duration(*units));
    }
    if let Some(fact) = &windows.product_type {
        table.fact("product", fact, |product| match product {
            1 => "workstation".to_owned(),
            2 => "domain controller".to_owned(),
            3 => "server".to_owned(),
            other => other.to_string(),
        });
    }
    if let Some(fact) = &windows.suite_mask {
        table.fact("suites", fact, |mask| format!("{mask:#x}"));
    }
}

fn kernel(table: &mut Table, kernel: &KernelImage) {
    let image = &kernel.image;
    table.noted("kernel", image.base.to_string(), kernel.source.to_string());
    let name = kernel.name.as_deref().unwrap_or("no name");
    table.row(
        "",
        format!(
            "{name}, {:#x} bytes, time stamp {:#x}",
            image.size, image.timestamp
        ),
    );
    if let Some(pdb) = &kernel.pdb {
        table.row("", pdb.to_string());
    }
}

/// Windows' memory over the container's.
pub(super) fn memory(out: &mut String, guest: &Guest, windows: &Windows, verbose: bool) {
    let mut table = Table::default();
    let summary = coverage::coverage(&guest.memory, &windows.runs.value);
    let in_runs = |runs: &Vec<Frames>| {
        format!(
            "{} in {}",
            count(Frames::total(runs), "frame"),
            count(runs.len() as u64, "run")
        )
    };
    table.fact("Windows counts", &windows.runs, in_runs);
    table.row(
        "missing",
        match summary.missing {
            0 => "none".to_owned(),
            missing => format!("{} that the container lacks", count(missing, "frame")),
        },
    );
    table.row(
        "not counted",
        format!(
            "{} of the container",
            count(summary.container_only, "frame")
        ),
    );
    table.write(out, "Memory");
    let mut table = Table::default();
    let mut ranges = coverage::ranges(&guest.memory, &windows.runs.value);
    let shown = if verbose { 4096 } else { RANGES };
    for (frames, kind) in ranges.by_ref().take(shown) {
        let what = match kind {
            Side::Both => "memory",
            Side::Container => "not counted",
            Side::Missing => "MISSING",
        };
        table.noted(&frames.to_string(), count(frames.count, "frame"), what);
    }
    let rest = ranges.count();
    if rest > 0 {
        table.row("", format!("and {rest} more"));
    }
    table.write(out, "");
}

/// Each processor, and whose registers it gets.
pub(super) fn processors(
    out: &mut String,
    windows: &Windows,
    contexts: &[ProcessorContext],
    verbose: bool,
) {
    let mut table = Table::default();
    for processor in &windows.processors {
        let number = processor.number.to_string();
        let thread = processor
            .thread
            .map_or_else(|| "unknown".to_owned(), |thread| thread.to_string());
        let process = windows.process_of(processor).map_or_else(
            || "unknown process".to_owned(),
            |process| format!("{} ({})", process.name, process.pid),
        );
        let vcpu = processor
            .vcpu
            .map_or_else(|| "no vCPU".to_owned(), |vcpu| format!("vCPU {vcpu}"));
        table.row(
            &number,
            format!(
                "{vcpu}  PRCB {}  thread {thread} of {process}",
                processor.prcb
            ),
        );
        let context = contexts
            .iter()
            .find(|context| context.number == processor.number);
        if let Some(context) = context {
            table.row("", chosen(context));
            table.row("", format!("rip {}  rsp {}", context.rip, context.rsp));
            if verbose {
                register_rows(&mut table, &registers::list(context));
            }
        }
    }
    table.write(out, "Processors");
}

/// Such as 2, or 2.1 where there is a minor one.
pub(crate) fn service_pack(major: u8, minor: u8) -> String {
    match minor {
        0 => major.to_string(),
        _ => format!("{major}.{minor}"),
    }
}

/// Whose registers, and why.
pub(super) fn chosen(context: &ProcessorContext) -> String {
    match context.source {
        ContextSource::Vcpu(index) => format!("registers of vCPU {index}: {}", context.why),
        ContextSource::Memory => format!("registers in memory: {}", context.why),
        ContextSource::Earlier => format!("registers of an earlier moment: {}", context.why),
    }
}

/// Registers, four on a line.
pub(super) fn register_rows(table: &mut Table, registers: &[(&'static str, u64)]) {
    for line in registers.chunks(4) {
        let line: Vec<String> = line
            .iter()
            .map(|(name, value)| format!("{name:>6} {value:<#18x}"))
            .collect();
        table.row("", line.join(" "));
    }
}

/// The modules, or the first few.
pub(super) fn modules(out: &mut String, modules: &[Module], all: bool) {
    let mut table = Table::default();
    for module in modules.iter().take(if all { usize::MAX } else { FIRST }) {
        let stamp = module
            .timestamp
            .map_or_else(String::new, |stamp| format!("time stamp {stamp:#x}"));
        let pdb = module
            .pdb
            .as_ref()
            .map_or_else(String::new, |pdb| format!("  {pdb}"));
        table.noted(
            &module.base.to_string(),
            format!("{:<9} {}", format!("{:#x}", module.size), module.name),
            if all { stamp + &pdb } else { String::new() },
        );
    }
    rest(&mut table, modules.len(), all, "--modules");
    table.write(out, &format!("Modules ({})", modules.len()));
}

/// The processes, or the first few.
pub(super) fn processes(out: &mut String, processes: &[Process], all: bool) {
    let mut table = Table::default();
    for process in processes.iter().take(if all { usize::MAX } else { FIRST }) {
        table.row(
            &process.pid.to_string(),
            format!(
                "{:<16} EPROCESS {}  page tables {:#x}",
                process.name, process.eprocess, process.dtb
            ),
        );
    }
    rest(&mut table, processes.len(), all, "--processes");
    table.write(out, &format!("Processes ({})", processes.len()));
}

fn rest(table: &mut Table, have: usize, all: bool, option: &str) {
    let more = have.saturating_sub(FIRST);
    if !all && more > 0 {
        table.row("", format!("and {more} more: {option}"));
    }
}

/// A size in words and bytes.
pub(super) fn exact_size(bytes: u64) -> String {
    match bytes {
        0..1024 => size(bytes),
        _ => format!("{} ({bytes} bytes)", size(bytes)),
    }
}
