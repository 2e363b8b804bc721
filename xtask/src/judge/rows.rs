//! `cargo xtask judge rows`: dumps with one thing broken, before Microsoft's engine and before our own `check`.
//!
//! ```text
//! core2dmp_synth::broken::rows() -> file -> judge-dbgeng: refused | findings | clean, and its words
//!                                       \-> check:       refused | opens broken | cosmetic | nothing
//! ```
//!
//! What the engine refuses has to be called refused, and nothing that it opens clean may be. The table that is printed
//! is docs/formats/dmp-rows.md.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::check::{Finding, Severity, check};
use core2dmp_synth::broken::{Body, Case, Row, rows};

use super::PATIENCE;
use crate::run::{Outcome, have, root, target_dir};

/// Judges that run at the same time.
const AT_ONCE: usize = 2;
/// The table in the repository.
const PAGE: &str = "docs/formats/dmp-rows.md";
/// What the page begins with.
const HEAD: &str = "\
# What Microsoft's engine makes of broken dumps, and what `check` says

Made by `cargo xtask judge rows`; do not edit. Each row breaks one thing of a good synthetic dump
(`core2dmp_synth::broken`). The engine is dbgeng 10.0.10240. `core2dmp check` has to call refused whatever the engine
refuses, and nothing that it opens clean.

| dump | broken | the engine | its words | check | in | and expects the words |
|---|---|---|---|---|---|---|
";

/// What the engine made of a dump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opinion {
    /// It was not opened.
    Refused,
    /// It was opened, and something was wrong.
    Findings,
    /// It was opened, and nothing was wrong.
    Clean,
}

impl Opinion {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Findings => "opens broken",
            Self::Clean => "clean",
        }
    }
}

/// A line of the table.
struct Line {
    body: Body,
    name: &'static str,
    engine: Opinion,
    words: String,
    /// The worst finding.
    ours: Option<Finding>,
    wrong: bool,
}

/// Judges all rows whose name contains one of `wanted`; all, and writes the page, if there are none.
pub fn task(judges: &Path, wanted: &[String]) -> Outcome {
    let folder = target_dir().join("judge").join("rows");
    std::fs::create_dir_all(&folder)?;
    let script = judges.join("dbgeng/judge-dbgeng");
    let mut lines = Vec::new();
    for body in Body::ALL {
        let good = body.good();
        let mut chosen: Vec<Option<&Row>> = vec![None];
        chosen.extend(rows().filter(|row| row.body == body).map(Some));
        chosen.retain(|row| {
            let name = format!("{} {}", body.name(), row.map_or("good", |row| row.name));
            wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str()))
        });
        lines.extend(judge_all(&script, &folder, body, &good, &chosen)?);
    }
    let page = render(&lines);
    print!("{page}");
    if wanted.is_empty() {
        std::fs::write(root().join(PAGE), page)?;
    }
    let wrong = lines.iter().filter(|line| line.wrong).count();
    if wrong > 0 {
        return Err(format!("{wrong} rows that the engine sees differently").into());
    }
    Ok(())
}

/// Judges the rows of one body; the lines are in their order.
fn judge_all(
    script: &Path,
    folder: &Path,
    body: Body,
    good: &Case,
    rows: &[Option<&Row>],
) -> Outcome<Vec<Line>> {
    let next = Mutex::new(rows.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((index, row)) = next.lock().ok().and_then(|mut rows| rows.next())
                    else {
                        return;
                    };
                    let line = judge(script, folder, body, good, *row);
                    let line = line.map_err(|error| error.to_string());
                    if let Ok(mut done) = done.lock() {
                        done.push((index, line));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner()?;
    done.sort_by_key(|(index, _)| *index);
    let lines = done.into_iter().map(|(_, line)| Ok(line?));
    lines.collect()
}

/// Judges one dump.
fn judge(
    script: &Path,
    folder: &Path,
    body: Body,
    good: &Case,
    row: Option<&Row>,
) -> Outcome<Line> {
    let name = row.map_or("nothing", |row| row.name);
    let dump = row.map_or_else(|| good.dump.clone(), |row| row.broken(good));
    let file = folder.join(format!("{}-{}.dmp", body.name(), name.replace(' ', "-")));
    std::fs::write(&file, &dump.bytes)?;
    let (engine, words) = ask(script, &file)?;
    std::fs::remove_file(&file)?;
    let ours = DumpFile::open(Arc::new(dump.bytes))
        .map(|dump| check(&dump).findings.into_iter().next())?;
    let refused = ours
        .as_ref()
        .is_some_and(|finding| finding.severity == Severity::Refused);
    let wrong = match engine {
        Opinion::Refused => !refused,
        Opinion::Findings => false,
        Opinion::Clean => refused,
    };
    Ok(Line {
        body,
        name,
        engine,
        words,
        ours,
        wrong: wrong || row.is_none() && engine != Opinion::Clean,
    })
}

/// The engine's opinion, and its words.
fn ask(script: &Path, file: &PathBuf) -> Outcome<(Opinion, String)> {
    let mut command = if have("timeout") {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(script);
        command
    } else {
        Command::new(script)
    };
    let output = command.arg(file).args(["r", "~1s; r"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::write(file.with_extension("txt"), &text)?;
    let refused = ["FAIL=OpenDumpFile", "FAIL=WaitForEvent"];
    let opinion = match output.status.code() {
        Some(0) => Opinion::Clean,
        Some(1) if text.lines().any(|line| refused.contains(&line)) => Opinion::Refused,
        Some(1) => Opinion::Findings,
        _ => return Err(format!("the judge is not set up, or failed: {text}").into()),
    };
    Ok((opinion, words(&text)))
}

/// What the engine complained of.
fn words(text: &str) -> String {
    let said = text.split("--- facts").next().unwrap_or(text);
    let marks = [
        "Could not", "Unable to", "WARNING", "CORRUPT", "not available", "can not", "Unknown", "ERROR",
        "=8", "=D0", "=d0",
    ];
    let mut lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .collect();
    if lines.is_empty() {
        let failed = text.lines().filter(|line| line.starts_with("FAIL="));
        lines = failed.map(|line| line.trim_start_matches("FAIL=")).collect();
    }
    lines.dedup();
    lines.join("; ")
}

fn render(lines: &[Line]) -> String {
    let mut page = HEAD.to_owned();
    for line in lines {
        let ours = line.ours.as_ref();
        let cell = |text: &str| text.replace('|', "\\|");
        page.push_str(&format!(
            "| {} | {} | {}{} | {} | {} | {} | {} |\n",
            line.body.name(),
            line.name,
            if line.wrong { "**WRONG** " } else { "" },
            line.engine.name(),
            cell(&line.words),
            ours.map_or_else(|| "nothing".to_owned(), |f| f.severity.to_string()),
            ours.map_or("", |finding| finding.field),
            cell(ours.and_then(|finding| finding.debugger).unwrap_or("")),
        ));
    }
    page
}
