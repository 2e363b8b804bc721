//! `cargo xtask bench`: how long and how much memory, side by side with `cp` of the same core.
//!
//! ```text
//! synth guest -> core (page cache) -> rounds: every case once, in turn -> medians -> bars -> bench.md
//!                                             each result verified
//! ```
//!
//! A benchmark that does not look at its result measures nothing: each dump is compared with the guest, entirely in
//! the first round and by sample in the others. Between runs the output is removed and the disk synced.

mod case;
mod decode;
mod guests;
mod measure;
mod report;
mod verify;
mod volume;

use std::path::{Path, PathBuf};

use crate::run::{Outcome, check, release_program, root, target_dir, text_of};
use case::{Bar, Case, Check, Tool};
use guests::Guests;
use report::{Report, Verdict};
use volume::Volume;

pub use decode::task as decode_task;
pub use measure::task as measure_task;

/// Most resident memory of a conversion, in KiB.
const MAX_RESIDENT_KIB: u64 = 32 * 1024;
/// Most time against `cp` where bytes are copied.
const MAX_COPY: f64 = 1.15;
/// Most time against `cp` where the file system shares extents.
const MAX_REFLINK: f64 = 0.10;
/// Most seconds to identify Windows from a vCPU's CR3.
const MAX_IDENTIFY: f64 = 0.15;
/// Most seconds for each GiB that is scanned.
const MAX_SCAN_PER_GIB: f64 = 1.0;

/// What the user may choose.
struct Options {
    mib: u64,
    runs: usize,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            mib: 1024,
            runs: 5,
            out: None,
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} wants a value"))?;
            match name.as_str() {
                "--size" => options.mib = value.parse()?,
                "--runs" => options.runs = value.parse()?,
                "--out" => options.out = Some(PathBuf::from(value)),
                _ => return Err(format!("no option is named {name}").into()),
            }
        }
        if options.mib < 32 || options.runs == 0 {
            return Err("--size is at least 32 MiB, --runs at least 1".into());
        }
        Ok(options)
    }
}

/// Runs the benchmark, writes the report, and fails if a result is wrong or a bar is missed.
pub fn task(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let tool = Tool {
        program: release_program()?,
    };
    let work = std::path::absolute(target_dir())?.join("bench");
    volume::clean(&work);
    std::fs::create_dir_all(&work)?;
    let guests = Guests::make(options.mib);
    let mut report = Report::new(&options.describe(), &work);
    copying(&tool, &guests, &work, MAX_COPY, &options, &mut report)?;
    memory(&tool, &guests, &work, &mut report)?;
    identifying(&tool, &guests, &work, &options, &mut report)?;
    decode::measure(&work, options.mib, options.runs, &mut report)?;
    for kind in ["xfs", "btrfs"] {
        match Volume::make(&work, kind, options.mib) {
            Ok(volume) => copying(
                &tool,
                &guests,
                &volume.folder,
                MAX_REFLINK,
                &options,
                &mut report,
            )?,
            Err(why) => report.skip(&format!("{kind}: SKIPPED, {why}")),
        }
    }
    std::fs::remove_dir_all(&work)?;
    print!("{}", report.text());
    let folder = options.folder()?;
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("bench.md"), report.text())?;
    report.verdict()
}

impl Options {
    fn describe(&self) -> String {
        format!(
            "A synthetic x64 Xen core of {} MiB, 40 % of its free frames zero, in the page cache. Medians of {} interleaved runs.",
            self.mib, self.runs
        )
    }

    /// Where the report goes: `benchmarks/<target>-<date>` unless the user says otherwise.
    fn folder(&self) -> Outcome<PathBuf> {
        if let Some(folder) = &self.out {
            return Ok(folder.clone());
        }
        let version = text_of("rustc", &["-vV"]).ok_or("rustc -vV failed")?;
        let target = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .ok_or("rustc -vV names no host")?;
        let date = text_of("date", &["-u", "+%F"]).ok_or("date failed")?;
        Ok(root().join("benchmarks").join(format!("{target}-{date}")))
    }
}

/// Conversions against copies, with the final flush on both sides and without.
fn copying(
    tool: &Tool,
    guests: &Guests,
    folder: &Path,
    bar: f64,
    options: &Options,
    report: &mut Report,
) -> Outcome {
    let core = folder.join("guest.core");
    guests.live.xen_core().write_file(&core)?;
    flush()?;
    let cases = [
        tool.convert("convert", &core, &[]),
        tool.copy("cp, sync FILE", &core, true),
        tool.convert("convert --no-sync", &core, &["--no-sync"]),
        tool.copy("cp", &core, false),
    ];
    let times = rounds(&cases, guests, options.runs)?;
    let bars = [
        Bar::ratio("full, with the final flush", 0, 1, bar),
        Bar::ratio("full, without", 2, 3, bar),
    ];
    report.add(&volume::kind_of(folder), &cases, &times, &bars);
    std::fs::remove_file(core)?;
    Ok(())
}

/// Windows found from a vCPU, by a scan, and a scan of everything that finds nothing.
fn identifying(
    tool: &Tool,
    guests: &Guests,
    folder: &Path,
    options: &Options,
    report: &mut Report,
) -> Outcome {
    let names = ["vcpu.core", "scan.core", "nothing.core"].map(|name| folder.join(name));
    for (guest, name) in [&guests.live, &guests.unknown_root, &guests.nothing]
        .into_iter()
        .zip(&names)
    {
        guest.xen_core().write_file(name)?;
    }
    flush()?;
    let cases = [
        tool.info("info, from a vCPU's CR3", &names[0], Check::Facts),
        tool.info("info, root by scan", &names[1], Check::Facts),
        tool.info(
            "info, all scanned, nothing found",
            &names[2],
            Check::NoWindows,
        ),
    ];
    let times = rounds(&cases, guests, options.runs)?;
    let scan = MAX_SCAN_PER_GIB * (options.mib as f64 / 1024.0).max(0.25);
    let bars = [
        Bar::seconds("identify, CR3 usable", 0, MAX_IDENTIFY),
        Bar::seconds("identify, root by scan", 1, scan),
        Bar::seconds("identify, all scanned", 2, scan),
    ];
    report.add(&volume::kind_of(folder), &cases, &times, &bars);
    let resident = measure::resident_kib(&cases[2].commands[0], &[2])?;
    report.bar(Verdict::resident(
        "info, all scanned",
        resident,
        MAX_RESIDENT_KIB,
    ));
    for name in names {
        std::fs::remove_file(name)?;
    }
    Ok(())
}

/// The most memory that a conversion held.
fn memory(tool: &Tool, guests: &Guests, folder: &Path, report: &mut Report) -> Outcome {
    let core = folder.join("guest.core");
    guests.live.xen_core().write_file(&core)?;
    let case = tool.convert("convert", &core, &[]);
    let resident = measure::resident_kib(&case.commands[0], &[0])?;
    case.verify(guests, true)?;
    report.bar(Verdict::resident("convert", resident, MAX_RESIDENT_KIB));
    case.remove_output()?;
    std::fs::remove_file(core)?;
    Ok(())
}

/// Runs every case in turn, as often as asked; returns the seconds of each case.
fn rounds(cases: &[Case], guests: &Guests, runs: usize) -> Outcome<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); cases.len()];
    for case in cases {
        case.warm()?;
    }
    for round in 0..runs {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        if round % 2 == 1 {
            // What stands before a case should not favour it.
            order.reverse();
        }
        for index in order {
            let case = &cases[index];
            flush()?;
            times[index].push(case.time()?);
            case.verify(guests, round == 0)?;
            case.remove_output()?;
        }
        eprintln!("round {} of {runs} done", round + 1);
    }
    Ok(times)
}

/// Lets nothing that an earlier run wrote disturb the next.
fn flush() -> Outcome {
    check(&mut std::process::Command::new("sync"))
}
