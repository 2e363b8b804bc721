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

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use core2dmp::audit::check::{Finding, Severity, check};
use core2dmp::audit::repair::repair;
use core2dmp::container::dmp::DumpFile;
use core2dmp_synth::broken::{Body, Case, Mended, Row, rows};

use super::PATIENCE;
use super::page::page;
use super::recorded::{Engine, Record, Said};
use super::words::{said, words};
use crate::run::{Outcome, have, target_dir};

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
    page()?;
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
    let ours = ours(dump.bytes)?;
    let refused = ours
        .as_ref()
        .is_some_and(|finding| severity(finding) == Severity::Refused);
    let said = said(&text, expected(ours.as_ref()));
    let wrong = match engine {
        Opinion::Refused => !refused,
        Opinion::Findings => ours.is_none(),
        Opinion::Clean => refused,
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
            || row.is_none() && engine != Opinion::Clean
            || mended.is_some_and(|opinion| opinion != Opinion::Clean),
        mended,
    })
}

/// What our own `check` says first of a dump.
pub(super) fn ours(bytes: Vec<u8>) -> Outcome<Option<Finding>> {
    let dump = DumpFile::open(Arc::new(bytes))?;
    Ok(check(&dump).findings.into_iter().next())
}

/// Whether `check` and an engine decide alike, as far as they have to.
pub(super) fn agree(engine: Opinion, ours: Option<&Finding>) -> bool {
    let refused = ours.is_some_and(|finding| finding.severity == Severity::Refused);
    match engine {
        Opinion::Refused => refused,
        Opinion::Findings => ours.is_some() && !refused,
        Opinion::Clean => !refused,
    }
}

/// `judge export DIR`: every row's dump and every repaired one, with a list, for an engine on another machine.
pub fn export(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let mut list = String::from("file\tdump\tbroken\n");
    let mut add = |name: &str, bytes: &[u8], body: Body, broken: &str| -> Outcome {
        sparse(&folder.join(name), bytes)?;
        list.push_str(&format!("{name}\t{}\t{broken}\n", body.name()));
        Ok(())
    };
    for body in Body::ALL {
        let good = body.good();
        add(
            &format!("{}.dmp", body.name()),
            &good.dump.bytes,
            body,
            "nothing",
        )?;
        for row in rows().filter(|row| row.body == body) {
            let file = format!("{}-{}", body.name(), row.name.replace([' ', '.'], "-"));
            let broken = row.broken(&good).bytes;
            add(&format!("{file}.dmp"), &broken, body, row.name)?;
            if matches!(row.mended, Mended::Whole | Mended::Anew) {
                let mended = repaired(&broken)?;
                add(&format!("{file}.repaired.dmp"), &mended, body, row.name)?;
            }
        }
    }
    std::fs::write(folder.join("list.tsv"), list)?;
    println!(
        "pack it with: tar -S -C {} -c . | zstd --long=31 -T0",
        folder.display()
    );
    Ok(())
}

/// Writes a file with holes for its zeros.
fn sparse(path: &Path, bytes: &[u8]) -> Outcome {
    let mut file = std::fs::File::create(path)?;
    for (index, block) in (0_u64..).zip(bytes.chunks(4096)) {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(index * 4096))?;
            file.write_all(block)?;
        }
    }
    file.set_len(bytes.len() as u64)?;
    Ok(())
}

/// What the engine that judges here, the one of 2015, should print about a finding.
pub(super) fn expected(finding: Option<&Finding>) -> &str {
    let said = finding.and_then(|finding| finding.debugger.as_ref());
    said.map_or("", |said| match said.of_2015 {
        Some(older) => older.words,
        None => &said.today,
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
