//! The table, the machine, and whether every bar was met.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::case::{Bar, Case};
use super::volume;
use crate::run::{Outcome, text_of};

/// What was measured, as Markdown.
pub struct Report {
    head: String,
    rows: String,
    verdicts: Vec<Verdict>,
    skipped: Vec<String>,
}

/// A bar and what was measured.
pub struct Verdict {
    name: String,
    measured: String,
    limit: String,
    met: bool,
}

impl Verdict {
    /// Peak resident memory.
    pub fn resident(name: &str, kib: u64, limit_kib: u64) -> Self {
        Self {
            name: format!("peak resident memory, {name}"),
            measured: format!("{:.1} MiB", kib as f64 / 1024.0),
            limit: format!("{} MiB", limit_kib / 1024),
            met: kib <= limit_kib,
        }
    }
}

impl Verdict {
    /// A number that may not be larger.
    pub fn ratio(name: &str, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            measured: format!("{measured:.2}{unit}"),
            limit: format!("{limit:.2}"),
            met: measured <= limit,
        }
    }
}

impl Report {
    /// A report without results.
    pub fn new(inputs: &str, work: &Path) -> Self {
        let mut head = String::from("# Benchmark\n\n");
        let line = |name: &str, value: &str| format!("- {name}: {value}\n");
        head += &format!(
            "{inputs}\n`cargo xtask bench` makes this page and verifies every result.\n\n"
        );
        let commit = text_of("git", &["describe", "--always", "--dirty"]);
        head += &line(
            "core2dmp",
            &format!(
                "{} ({})",
                env!("CARGO_PKG_VERSION"),
                commit.unwrap_or_default()
            ),
        );
        head += &line("system", &text_of("uname", &["-srm"]).unwrap_or_default());
        head += &line("processor", &processor());
        head += &line(
            "compiler",
            &text_of("rustc", &["--version"]).unwrap_or_default(),
        );
        head += &line(
            "file system",
            &format!("{}; others in a loop mount", volume::kind_of(work)),
        );
        Self {
            head,
            rows: String::new(),
            verdicts: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Adds the cases of one file system.
    pub fn add(&mut self, system: &str, cases: &[Case], times: &[Vec<f64>], bars: &[Bar]) {
        for (case, times) in cases.iter().zip(times) {
            let (least, most) = times
                .iter()
                .fold((f64::MAX, 0_f64), |(a, b), t| (a.min(*t), b.max(*t)));
            // Writing to a string does not fail.
            let _ = writeln!(
                self.rows,
                "| {system} | {} | {:.3} | {least:.3} | {most:.3} |",
                case.name,
                median(times)
            );
        }
        for bar in bars {
            let seconds = median(&times[bar.case]);
            let (measured, unit) = match bar.against {
                Some(other) => (seconds / median(&times[other]), " x cp"),
                None => (seconds, " s"),
            };
            self.bar(Verdict {
                name: format!("{system}: {}", bar.name),
                measured: format!("{measured:.3}{unit}"),
                limit: format!("{:.2}{unit}", bar.limit),
                met: measured <= bar.limit,
            });
        }
    }

    /// Adds a bar.
    pub fn bar(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    /// Says what could not be measured.
    pub fn skip(&mut self, why: &str) {
        eprintln!("{why}");
        self.skipped.push(why.to_owned());
    }

    /// The page.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}\n## Bars\n\n| bar | measured | at most | |\n|---|---|---|---|\n",
            self.head
        );
        for verdict in &self.verdicts {
            let met = if verdict.met { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {met} |",
                verdict.name, verdict.measured, verdict.limit
            );
        }
        text += "\n## Seconds\n\n| file system | case | median | least | most |\n|---|---|---|---|---|\n";
        text += &self.rows;
        for why in &self.skipped {
            let _ = writeln!(text, "\n{why}");
        }
        text
    }

    /// An error if a bar was missed.
    pub fn verdict(&self) -> Outcome {
        let missed: Vec<&str> = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.met)
            .map(|verdict| verdict.name.as_str())
            .collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(format!("missed: {}", missed.join("; ")).into())
    }
}

/// The middle of several measurements.
fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {count} of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 8.0, 3.0]), 3.0);
    }

    #[test]
    fn a_missed_bar_is_an_error() {
        let mut report = Report {
            head: String::new(),
            rows: String::new(),
            verdicts: Vec::new(),
            skipped: Vec::new(),
        };
        report.bar(Verdict::resident("a", 10, 20));
        assert!(report.verdict().is_ok());
        report.bar(Verdict::resident("b", 30, 20));
        assert!(report.verdict().is_err());
        assert!(report.text().contains("**missed**"));
    }
}
