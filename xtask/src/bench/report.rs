//! What was measured, as a page, as numbers for programs, and as a plot; and whether every bar was met.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::case::Case;
use super::measure::Sample;
use super::plot::{self, Growth, Ratio};
use super::volume;
use crate::run::{Outcome, text_of};

/// What was measured.
pub struct Report {
    machine: Vec<(&'static str, String)>,
    groups: Vec<Group>,
    bars: Vec<Bar>,
    skipped: Vec<String>,
    /// For the plot.
    pub ratios: Vec<Ratio>,
    /// For the plot.
    pub growth: Vec<Growth>,
}

/// Cases that ran in turn.
struct Group {
    title: String,
    cases: Vec<(String, Vec<Sample>)>,
}

/// A bar and what was measured.
struct Bar {
    name: String,
    limit: String,
    measured: String,
    met: bool,
}

impl Report {
    /// A report without results.
    pub fn new(work: &Path, runs: usize) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let commit = text_of("git", &["describe", "--always", "--dirty"]).unwrap_or_default();
        let here = volume::kind_of(work);
        let machine = vec![
            ("core2dmp", format!("{version} ({commit})")),
            ("processor", processor()),
            ("memory", memory()),
            ("system", text_of("uname", &["-srm"]).unwrap_or_default()),
            (
                "file systems",
                format!("{here}; XFS and btrfs in a loop mount on it"),
            ),
            (
                "cp",
                text_of("cp", &["--version"]).map_or_else(String::new, first_line),
            ),
            (
                "compiler",
                text_of("rustc", &["--version"]).unwrap_or_default(),
            ),
            ("load before", load()),
            (
                "runs",
                format!("medians of {runs}, interleaved, input in the page cache"),
            ),
        ];
        Self {
            machine,
            groups: Vec::new(),
            bars: Vec::new(),
            skipped: Vec::new(),
            ratios: Vec::new(),
            growth: Vec::new(),
        }
    }

    /// Adds cases that ran in turn.
    pub fn add(&mut self, title: &str, cases: &[Case<'_>], samples: &[Vec<Sample>]) {
        let cases = cases.iter().zip(samples);
        self.groups.push(Group {
            title: title.to_owned(),
            cases: cases
                .map(|(case, samples)| (case.name.to_owned(), samples.clone()))
                .collect(),
        });
    }

    /// Adds programs that ran in turn.
    pub fn rows(&mut self, title: &str, rows: &[(&str, &Vec<Sample>)]) {
        let rows = rows.iter();
        self.groups.push(Group {
            title: title.to_owned(),
            cases: rows
                .map(|&(name, samples)| (name.to_owned(), samples.clone()))
                .collect(),
        });
    }

    /// Adds a bar.
    pub fn bar(&mut self, name: &str, limit: &str, measured: &str, met: bool) {
        let state = if met { "met" } else { "missed" };
        eprintln!("{name}: {measured}, bar {limit}: {state}");
        self.bars.push(Bar {
            name: name.to_owned(),
            limit: limit.to_owned(),
            measured: measured.to_owned(),
            met,
        });
    }

    /// Adds a bar where less is better.
    pub fn at_most(&mut self, name: &str, measured: f64, limit: f64, unit: &str) {
        let (text, bar) = (number(measured), number(limit));
        self.bar(
            name,
            &format!("<= {bar} {unit}"),
            &format!("{text} {unit}"),
            measured <= limit,
        );
    }

    /// Says what could not be measured.
    pub fn skip(&mut self, what: &str, why: &str) {
        eprintln!("not run: {what}: {why}");
        self.skipped.push(format!("not run: {what}: {why}"));
    }

    /// Writes report.md, plot.svg and raw.json.
    pub fn write(&self, folder: &Path) -> Outcome {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.md"), self.text())?;
        fs::write(
            folder.join("plot.svg"),
            plot::svg(&self.ratios, &self.growth),
        )?;
        let raw = serde_json::to_string_pretty(&self.raw())?;
        fs::write(folder.join("raw.json"), raw + "\n")?;
        Ok(())
    }

    /// The page.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Benchmark\n\n`cargo xtask bench` makes this page. Every result that it times is verified; a wrong one would be no page.\n\n",
        );
        // Writing to a string does not fail.
        for (name, value) in &self.machine {
            let _ = writeln!(text, "- {name}: {value}");
        }
        text += "\n![times as a share of cp's, and growth](plot.svg)\n";
        text += "\n## Bars\n\n| what | bar | measured | |\n|---|---|---|---|\n";
        for bar in &self.bars {
            let met = if bar.met { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {met} |",
                bar.name, bar.limit, bar.measured
            );
        }
        for why in &self.skipped {
            let _ = writeln!(text, "\n{why}");
        }
        for group in &self.groups {
            let _ = writeln!(
                text,
                "\n## {}\n\n| case | seconds | least | most | processor s | peak MiB |\n|---|---|---|---|---|---|",
                group.title
            );
            for (name, samples) in &group.cases {
                let seconds = || samples.iter().map(|sample| sample.seconds);
                let _ = writeln!(
                    text,
                    "| {name} | {:.3} | {:.3} | {:.3} | {:.3} | {:.1} |",
                    wall(samples),
                    seconds().fold(f64::MAX, f64::min),
                    seconds().fold(0.0, f64::max),
                    cpu(samples),
                    kib(samples) as f64 / 1024.0
                );
            }
        }
        text
    }

    fn raw(&self) -> Value {
        let samples = |samples: &[Sample]| {
            let one = |s: &Sample| json!({"seconds": s.seconds, "cpu": s.cpu, "kib": s.kib});
            samples.iter().map(one).collect::<Vec<_>>()
        };
        let cases = |group: &Group| {
            let one =
                |(name, s): &(String, Vec<Sample>)| json!({"name": name, "samples": samples(s)});
            group.cases.iter().map(one).collect::<Vec<_>>()
        };
        let groups: Vec<_> = (self.groups.iter())
            .map(|group| json!({"title": group.title, "cases": cases(group)}))
            .collect();
        let bars: Vec<_> = (self.bars.iter())
            .map(|bar| {
                json!({"name": bar.name, "bar": bar.limit, "measured": bar.measured, "met": bar.met})
            })
            .collect();
        let machine: serde_json::Map<_, _> = (self.machine.iter())
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect();
        json!({"machine": machine, "bars": bars, "not_run": self.skipped, "groups": groups})
    }
}

/// The median of the seconds.
pub fn wall(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.seconds).collect())
}

/// The median of the processor seconds.
pub fn cpu(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.cpu).collect())
}

/// The most memory of any run.
pub fn kib(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.kib).max().unwrap_or(0)
}

/// The middle of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(value: f64) -> String {
    let digits = if value < 10.0 { 3 } else { 1 };
    let text = format!("{value:.digits$}");
    let text = text.trim_end_matches('0');
    text.trim_end_matches('.').to_owned()
}

fn first_line(text: String) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = (text.lines())
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {count} cores")
}

fn memory() -> String {
    let kib = meminfo("MemTotal:").unwrap_or(0);
    format!("{:.1} GiB", kib as f64 / 1024.0 / 1024.0)
}

/// A line of /proc/meminfo, in KiB.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What else the machine was doing: numbers of a busy machine say little.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 8.0, 3.0]), 3.0);
    }

    #[test]
    fn a_missed_bar_is_told() {
        let mut report = Report::new(Path::new("/"), 1);
        report.at_most("a", 0.5, 1.05, "x cp");
        assert!(!report.text().contains("**missed**"));
        report.at_most("b", 1.1, 1.05, "x cp");
        assert!(
            report
                .text()
                .contains("| b | <= 1.05 x cp | 1.1 x cp | **missed** |")
        );
        assert_eq!(report.raw()["bars"][1]["met"], false);
    }
}
