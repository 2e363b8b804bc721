//! `cargo xtask bench`: how long and how much memory, side by side with `cp` and with peers on the same guest.
//!
//! ```text
//! synth guest -> core (page cache) -> rounds: every case once, in turn -> medians -> bars -> report.md, plot.svg, raw.json
//!                                             each result verified
//! ```
//!
//! A benchmark that does not look at its result measures nothing: each dump is compared with the guest, entirely in
//! the first round and by sample in the others; a wrong one ends the benchmark. A bar that is missed is reported. Between
//! runs the output is removed and the disk synced. A group of cases is a row in [`GROUPS`].

mod case;
mod copying;
mod decode;
mod growth;
mod guests;
mod identify;
mod measure;
mod peers;
mod plot;
mod report;
mod terabyte;
mod verify;
mod volume;

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Outcome, release_program, root, target_dir, text_of};
use case::Tool;
use report::Report;

pub use decode::task as decode_task;
pub use measure::task as measure_task;

/// Most resident memory of a conversion, in KiB.
const MAX_RESIDENT_KIB: u64 = 32 * 1024;

/// Cases that belong together: the name for `--only`, and what runs them.
struct Group {
    name: &'static str,
    run: fn(&mut Bench) -> Outcome,
}

static GROUPS: &[Group] = &[
    Group {
        name: "copy",
        run: copying::group,
    },
    Group {
        name: "identify",
        run: identify::group,
    },
    Group {
        name: "decode",
        run: decode::group,
    },
    Group {
        name: "plan",
        run: terabyte::group,
    },
    Group {
        name: "growth",
        run: growth::group,
    },
    Group {
        name: "peers",
        run: peers::group,
    },
];

/// What every group uses.
struct Bench {
    tool: Tool,
    options: Options,
    /// For inputs and outputs; removed at the end.
    work: PathBuf,
    report: Report,
}

/// What the user may choose.
struct Options {
    mib: u64,
    runs: usize,
    quick: bool,
    only: Option<String>,
    qemu_core: Option<PathBuf>,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let (mib, runs) = if quick { (256, 3) } else { (1024, 5) };
        let mut options = Self {
            mib,
            runs,
            quick,
            only: None,
            qemu_core: None,
            out: None,
        };
        let mut arguments = arguments.iter().filter(|name| *name != "--quick");
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} wants a value"))?;
            match name.as_str() {
                "--size" => options.mib = value.parse()?,
                "--runs" => options.runs = value.parse()?,
                "--only" => options.only = Some(value.clone()),
                "--qemu-core" => options.qemu_core = Some(std::path::absolute(value)?),
                "--out" => options.out = Some(PathBuf::from(value)),
                _ => return Err(format!("no option is named {name}").into()),
            }
        }
        if options.mib < 32 || options.runs == 0 {
            return Err("--size is at least 32 MiB, --runs at least 1".into());
        }
        if options.groups().is_empty() {
            let names: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
            return Err(format!("--only is one of {}", names.join(", ")).into());
        }
        Ok(options)
    }

    fn groups(&self) -> Vec<&'static Group> {
        let wanted = |group: &&Group| self.only.as_ref().is_none_or(|only| only == group.name);
        GROUPS.iter().filter(wanted).collect()
    }

    /// Whether the results go to `benchmarks/` and the README shows them: those of everything, at full size.
    fn is_complete(&self) -> bool {
        !self.quick && self.only.is_none() && self.out.is_none()
    }

    /// Where the report goes.
    fn folder(&self) -> Outcome<PathBuf> {
        if let Some(folder) = &self.out {
            return Ok(folder.clone());
        }
        if !self.is_complete() {
            return Ok(target_dir().join("bench-report"));
        }
        let version = text_of("rustc", &["-vV"]).ok_or("rustc -vV failed")?;
        let target = (version.lines())
            .find_map(|line| line.strip_prefix("host: "))
            .ok_or("rustc -vV names no host")?;
        let date = text_of("date", &["-u", "+%F"]).ok_or("date failed")?;
        Ok(root().join("benchmarks").join(format!("{target}-{date}")))
    }
}

/// Runs the benchmark, writes the report, and fails if a result is wrong.
pub fn task(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let tool = Tool {
        program: release_program()?,
    };
    let work = std::path::absolute(target_dir())?.join("bench");
    volume::clean(&work);
    fs::create_dir_all(&work)?;
    let report = Report::new(&work, options.runs);
    let mut bench = Bench {
        tool,
        options,
        work,
        report,
    };
    for group in bench.options.groups() {
        eprintln!("{}:", group.name);
        (group.run)(&mut bench)?;
    }
    fs::remove_dir_all(&bench.work)?;
    let folder = bench.options.folder()?;
    bench.report.write(&folder)?;
    print!("{}", bench.report.text());
    println!("\nIn {}", folder.display());
    if bench.options.is_complete() {
        show_in_readme(&folder)?;
    }
    Ok(())
}

/// Lets the README show the newest plot.
fn show_in_readme(folder: &Path) -> Outcome {
    const FROM: &str = "](benchmarks/";
    const TO: &str = "/plot.svg)";
    let path = root().join("README.md");
    let text = fs::read_to_string(&path)?;
    let found = text.find(TO).and_then(|end| {
        let start = text.get(..end)?.rfind(FROM)?;
        Some(start + FROM.len()..end)
    });
    let name = folder.file_name().ok_or("the folder has no name")?;
    let range = found.ok_or("README.md shows no plot")?;
    let mut text = text;
    text.replace_range(range, &name.to_string_lossy());
    fs::write(path, text)?;
    Ok(())
}
