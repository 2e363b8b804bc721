//! `cargo xtask judge rows`: dumps with one thing broken, before Microsoft's engine and before our own `check`.
//!
//! ```text
//! core2dmp_synth::broken::rows() -> file -> judge-dbgeng: refused | findings | clean, and its words
//!                                       \-> check:       refused | opens broken | cosmetic | nothing
//!                                       \-> repair -> file -> judge-dbgeng: clean, where it can be mended
//! ```
//!
//! What the engine refuses has to be called refused, and nothing that it opens clean may be; what it finds has to be
//! found, and the words that are predicted have to be its words. What the engine said is recorded; the page
//! docs/formats/dmp-rows.md is made of the records of both engines (`judge page` makes it without asking one).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use core2dmp::audit::check::{Finding, Older, Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp::container::dmp::DumpFile;
use core2dmp_synth::broken::{Body, Case, Mended, Row, rows};

use super::recorded::{Engine, Record, Said};
use super::words::{said, words};
use super::{PATIENCE, page};
use crate::run::{Outcome, have, target_dir};

/// All that no engine can read of a guest with five levels of page tables: a process' own.
pub(super) const NO_USER_SPACE: &str = "FAIL=engine says: Unable to get PEB pointer";
/// Judges that run at the same time.
const AT_ONCE: usize = 2;
/// What the engine made of a dump.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It was not opened.
    Refused,
    /// It was opened, and something was wrong.
    Findings,
    /// It was opened, and nothing was wrong.
    Clean,
}

impl Opinion {
    /// The opinion of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let all = [Self::Refused, Self::Findings, Self::Clean];
        all.into_iter().find(|opinion| opinion.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
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
    /// Whether it said what was predicted.
    said: bool,
    /// The worst finding.
    ours: Option<Finding>,
    /// Its opinion of the repaired dump, where there is one.
    mended: Option<Opinion>,
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
    let mut record = Record::read(Engine::Old)?;
    if wanted.is_empty() {
        record.forget_rows();
    }
    for line in &lines {
        print_line(line);
        let said = Said {
            verdict: line.engine,
            words: line.words.clone(),
            repaired: line.mended,
        };
        record.put(line.body.name(), line.name, said);
    }
    record.write()?;
    page::page()?;
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
    let (engine, text) = ask(script, &file)?;
    let mended = match row {
        Some(row) if matches!(row.mended, Mended::Whole | Mended::Anew) => {
            std::fs::write(&file, repaired(&dump.bytes)?)?;
            Some(ask(script, &file)?.0)
        }
        _ => None,
    };
    std::fs::remove_file(&file)?;
    let (ours, of_2015) = judged(dump.bytes)?;
    let refused = ours
        .as_ref()
        .is_some_and(|finding| severity(finding) == Severity::Refused);
    // Of a type that the engine does not know it says nothing else.
    let is_unknown = of_2015.is_some();
    let said = is_unknown || said(&text, expected(ours.as_ref()));
    let wrong = match engine {
        Opinion::Refused => !refused && !is_unknown,
        Opinion::Findings => ours.is_none(),
        Opinion::Clean => refused,
    };
    let good = if is_unknown {
        Opinion::Refused
    } else {
        Opinion::Clean
    };
    Ok(Line {
        body,
        name,
        engine,
        words: words(&text),
        said,
        ours,
        wrong: wrong
            || !said
            || row.is_none() && engine != good
            || mended.is_some_and(|opinion| opinion != good),
        mended,
    })
}

/// What our own `check` says first of a dump.
pub(super) fn ours(bytes: Vec<u8>) -> Outcome<Option<Finding>> {
    Ok(judged(bytes)?.0)
}

/// The first finding, and what the engine of 2015 makes of every dump of its type.
fn judged(bytes: Vec<u8>) -> Outcome<(Option<Finding>, Option<Older>)> {
    let dump = DumpFile::open(Arc::new(bytes))?;
    let report = check(&dump);
    Ok((report.findings.into_iter().next(), report.of_2015))
}

/// What the engine that judges here, the one of 2015, should print about a finding: it names no page.
pub(super) fn expected(finding: Option<&Finding>) -> &str {
    const PAGE: &str = "Type \".hh dbgerr004\" for details";
    let said = finding.and_then(|finding| finding.debugger.as_ref());
    said.map_or("", |said| match said.of_2015 {
        Some(older) => older.words,
        None => match said.today.split_once(PAGE) {
            Some((_, rest)) => rest.trim_start_matches("; "),
            None => &said.today,
        },
    })
}

/// How bad a finding is to that engine.
pub(super) fn severity(finding: &Finding) -> Severity {
    let older = finding.debugger.as_ref().and_then(|said| said.of_2015);
    older.map_or(finding.severity, |older| older.severity)
}

/// A dump after its repair.
pub(super) fn repaired(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let dump = DumpFile::open(Arc::new(bytes.to_vec()))?;
    let mut bytes = bytes.to_vec();
    for change in repair(&dump)?.changes {
        let at = usize::try_from(change.offset)?;
        bytes[at..at + change.new.len()].copy_from_slice(&change.new);
    }
    Ok(bytes)
}

/// The engine's opinion, and all that it said.
pub(super) fn ask(script: &Path, file: &PathBuf) -> Outcome<(Opinion, String)> {
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
        Some(1)
            if text
                .lines()
                .all(|line| !line.starts_with("FAIL=") || line == NO_USER_SPACE) =>
        {
            Opinion::Clean
        }
        Some(1) => Opinion::Findings,
        _ => return Err(format!("the judge is not set up, or failed: {text}").into()),
    };
    Ok((opinion, text))
}

fn print_line(line: &Line) {
    let ours = line.ours.as_ref();
    println!(
        "{}{}: {}; engine: {}, {}; check: {} {} {:?}{}; repaired: {}",
        if line.wrong { "WRONG " } else { "" },
        line.body.name(),
        line.name,
        line.engine.name(),
        line.words,
        ours.map_or_else(
            || "nothing".to_owned(),
            |finding| finding.severity.to_string()
        ),
        ours.map_or("", |finding| finding.field),
        expected(ours),
        if line.said { "" } else { " (not said)" },
        line.mended.map_or("-", Opinion::name),
    );
}
