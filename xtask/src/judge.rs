//! `cargo xtask judge`: opens our dumps with programs that are not ours.
//!
//! ```text
//! (no word) corpus cases, synth presets -> core2dmp convert -> dump -> judge-dbgeng, judge-kdmp -> table
//! rows: dumps with one thing broken -> judge-dbgeng, our check -> table
//! stacks: our stacks of every processor -> judge-dbgeng's k
//! thread: the dump that nobody could open, before and after its repair
//! sweep: every page that the engine reads, removed or zeroed in turn -> judge-dbgeng, our check -> table
//! rewrite: our dumps as the engine writes them out again, page by page
//! page: docs/formats/dmp-rows.md of what both engines are recorded to have said; asks none
//! export DIR, import FILE: the broken dumps to a machine with today's engine, and what it said back
//! ```
//!
//! The judges are shell scripts in `judges/`, or in the folder that `CORE2DMP_JUDGES` names; they install what they
//! need below `$JUDGES`. The corpus is beside the workspace (`../shared/corpus`, `CORE2DMP_CORPUS`). What is absent is
//! skipped, loudly.

mod dumps;
mod export;
mod page;
mod recorded;
mod rewrite;
mod rows;
mod stacks;
mod sweep;
mod thread;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Outcome, have, root, target_dir};
use dumps::Dump;
use recorded::{CONVERTED, Engine, Record, Said};
use rows::Opinion;

/// Seconds after which a judge is stopped.
const PATIENCE: &str = "120";

/// A judge: its name, the script, and whether it reads 64-bit dumps only.
struct Judge {
    name: &'static str,
    script: &'static str,
    only_64bit: bool,
}

static JUDGES: &[Judge] = &[
    Judge {
        name: "dbgeng",
        script: "dbgeng/judge-dbgeng",
        only_64bit: false,
    },
    Judge {
        name: "kdmp-parser",
        script: "judge-kdmp",
        only_64bit: true,
    },
];

/// A line of the table.
struct Row {
    case: String,
    judge: &'static str,
    verdict: &'static str,
    findings: String,
}

/// Judges the dumps that are named, or those of the corpus and of the presets.
pub fn task(arguments: &[String]) -> Outcome {
    match arguments {
        [page] if page == "page" => return page::page(),
        [export, folder] if export == "export" => return export::export(Path::new(folder)),
        [import, file] if import == "import" => {
            export::import(file)?;
            return page::page();
        }
        _ => {}
    }
    let judges = std::env::var_os("CORE2DMP_JUDGES");
    let judges = judges.map_or_else(|| root().join("judges"), PathBuf::from);
    match arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        Some(("rows", wanted)) => return rows::task(&judges, wanted),
        Some(("sweep", wanted)) => return sweep::task(&judges, wanted),
        Some(("stacks", files)) => return stacks::task(&judges, files),
        Some(("rewrite", files)) => return rewrite::task(&judges, files),
        Some(("thread", [])) => return thread::task(&judges),
        _ => {}
    }
    let mut rows = Vec::new();
    let dumps = if arguments.is_empty() {
        dumps::make(&target_dir().join("judge"), &mut rows)?
    } else {
        arguments.iter().map(|file| Dump::named(file)).collect()
    };
    for dump in &dumps {
        for judge in JUDGES {
            rows.extend(ask(&judges, judge, dump)?);
        }
    }
    print(&rows);
    if arguments.is_empty() {
        record(&dumps, &rows)?;
    }
    let findings = rows.iter().filter(|row| row.verdict == "FINDING").count();
    if findings > 0 {
        return Err(format!("{findings} findings").into());
    }
    Ok(())
}

/// Records what the engine said of our dumps.
fn record(dumps: &[Dump], rows: &[Row]) -> Outcome {
    let mut record = Record::read(Engine::Old)?;
    for dump in dumps {
        let mut rows = rows.iter().filter(|row| row.case == dump.case);
        let Some(row) = rows.find(|row| row.judge == "dbgeng") else {
            continue;
        };
        let verdict = match row.verdict {
            "NOT SET UP" => continue,
            "FINDING" if row.findings.contains("FAIL=OpenDumpFile") => Opinion::Refused,
            "FINDING" => Opinion::Findings,
            _ => Opinion::Clean,
        };
        let said = Said {
            verdict,
            words: row.findings.clone(),
            repaired: None,
        };
        record.put(CONVERTED, &dump.slug(), said);
    }
    record.write()
}

/// A folder that an environment variable names, or that is beside the workspace.
fn beside(variable: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map_or_else(
        || root().join("..").join("shared").join(name),
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

/// Lets a judge read a dump; `None` if the dump is not for it.
fn ask(judges: &Path, judge: &'static Judge, dump: &Dump) -> Outcome<Option<Row>> {
    if judge.only_64bit && !dump.is_64bit()? {
        return Ok(None);
    }
    let script = judges.join(judge.script);
    let mut command = if have("timeout") {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(script);
        command
    } else {
        Command::new(script)
    };
    command.arg(&dump.file);
    if judge.name == "dbgeng" {
        command.args(dump.debugger_commands());
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::write(
        dump.file.with_extension(format!("{}.txt", judge.name)),
        &text,
    )?;
    let mut verdict = match output.status.code() {
        Some(0) => "good",
        Some(2) => "NOT SET UP",
        _ => "FINDING",
    };
    let mut findings: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("FAIL="))
        .map(str::to_owned)
        .collect();
    if findings.is_empty() && verdict != "good" {
        let said = String::from_utf8_lossy(&output.stderr);
        findings.push(
            said.lines()
                .next_back()
                .unwrap_or("said nothing")
                .to_owned(),
        );
    }
    if findings == ["FAIL=rip not translatable"] && dump.leaves_out_rip()? {
        verdict = "left out, rightly";
    }
    if findings == [rows::NO_USER_SPACE] && dump.case.contains("la57") {
        verdict = "no user space, as told";
    }
    Ok(Some(Row {
        case: dump.case.clone(),
        judge: judge.name,
        verdict,
        findings: findings.join(" "),
    }))
}

fn print(rows: &[Row]) {
    println!("| case | judge | verdict | findings |\n|---|---|---|---|");
    for row in rows {
        println!(
            "| {} | {} | {} | {} |",
            row.case, row.judge, row.verdict, row.findings
        );
    }
}
