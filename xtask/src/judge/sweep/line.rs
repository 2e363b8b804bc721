//! Lines of the table: a thing that is lost, what the engine says without it, and what `check` says.

use std::collections::BTreeMap;

use core2dmp::audit::check::{Finding, Severity};

use super::answer::Answer;
use super::subject::Subject;
use super::{Opinion, Sweep, ours};
use crate::judge::rows::{expected, severity};
use crate::run::{Outcome, root};

/// The table in the repository.
const PAGE: &str = "docs/formats/dmp-sweep.md";
/// Things that a line names.
const MAX_THINGS: usize = 3;
/// What the page begins with.
const HEAD: &str = "\
# A page lost: what Microsoft's engine says, and what `check` says

Made by `cargo xtask judge sweep`; do not edit. Every page that the engine reads while it opens a dump and shows two
processors' registers was lost in turn: removed from a dump with a bitmap, or zeroed in a full one. The pages are those
whose loss `core2dmp check` reports, and of all others those that halving finds, as long as the engine's output differs
from that about the good dump. Pages that behave alike are one line.

The engine is dbgeng 10.0.10240 (2015). Today's, 10.0.29507, names an absent page first (`Page 187 not present in the dump
file. Type \".hh dbgerr004\" for details`) where the old one is silent, opens a dump with a processor too many, and has no
registers for a processor whose control block is missing; `check` speaks for today's engine, and its words here are those.
**whole**: the old engine's output is that about the good dump to the letter. **shows less**: no complaint, other output.

**MISSED**: the engine fails, complains or shows less, and `check` reports nothing, or not that it is refused. **TOO MUCH**: the
engine shows the dump whole, and `check` calls it broken or refused, or it opens and `check` calls it refused.

";
const TABLE: &str = "
| guest | dump | pages | thing | engine of 2015 | its words | check | expects of today's | |
|---|---|---|---|---|---|---|---|---|
";

/// How far `check` and the engine are apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Apart {
    Agreed,
    Missed,
    TooMuch,
}

/// Pages that behave alike.
pub(super) struct Line {
    pub(super) pages: Vec<u64>,
    thing: String,
    engine: &'static str,
    words: String,
    check: String,
    expects: String,
    apart: Apart,
}

impl Line {
    pub(super) fn is_wrong(&self) -> bool {
        self.apart != Apart::Agreed
    }

    /// A line of the table.
    pub(super) fn cells(&self, guest: &str, body: &str, loss: &str) -> String {
        format!(
            "| {guest} | {body}, {loss} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.pages.len(),
            cell(&self.thing),
            self.engine,
            cell(&self.words),
            self.check,
            cell(&self.expects),
            match self.apart {
                Apart::Agreed => "",
                Apart::Missed => "**MISSED**",
                Apart::TooMuch => "**TOO MUCH**",
            }
        )
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The lines of a dump's pages.
pub(super) fn lines(
    subject: &Subject,
    intact: &Answer,
    answers: Vec<(u64, Answer)>,
) -> Outcome<Vec<Line>> {
    let mut lines: BTreeMap<(Apart, String, String, &str, String), Line> = BTreeMap::new();
    for (pfn, answer) in answers {
        let finding = ours(subject.without(&[pfn]))?;
        let finding = finding.as_ref();
        let is_whole = answer.text == intact.text;
        let engine = match answer.opinion {
            Opinion::Clean if is_whole => "whole",
            Opinion::Clean => "shows less",
            opinion => opinion.name(),
        };
        let line = Line {
            pages: vec![pfn],
            thing: thing(subject, pfn, finding),
            engine,
            words: answer.words,
            check: finding.map_or("nothing".to_owned(), |finding| finding.severity.to_string()),
            expects: expected(finding).to_owned(),
            apart: apart(engine, finding),
        };
        let key = (
            line.apart,
            line.thing.clone(),
            line.words.clone(),
            engine,
            line.check.clone(),
        );
        match lines.get_mut(&key) {
            Some(line) => line.pages.push(pfn),
            None => drop(lines.insert(key, line)),
        }
    }
    Ok(lines.into_values().collect())
}

fn apart(engine: &str, finding: Option<&Finding>) -> Apart {
    let check = finding.map(severity);
    let is_refused = check == Some(Severity::Refused);
    match engine {
        "refused" if !is_refused => Apart::Missed,
        "refused" => Apart::Agreed,
        _ if is_refused => Apart::TooMuch,
        "whole" if check == Some(Severity::Broken) => Apart::TooMuch,
        "whole" => Apart::Agreed,
        _ if check.is_none() => Apart::Missed,
        _ => Apart::Agreed,
    }
}

/// What is on a page: what `check` names without numbers and addresses, or what the guest has there.
fn thing(subject: &Subject, pfn: u64, finding: Option<&Finding>) -> String {
    let Some(finding) = finding.filter(|finding| finding.field.starts_with("page ")) else {
        return subject.name(pfn);
    };
    let mut things: Vec<String> = Vec::new();
    for part in finding
        .expected
        .split("; ")
        .filter(|part| !part.starts_with("and "))
    {
        let thing = plain(part);
        if !things.contains(&thing) {
            things.push(thing);
        }
    }
    things.truncate(MAX_THINGS);
    things.join("; ")
}

/// Words without addresses and numbers: `entry 3 of L at ffff..., by the table of its PDE` is `entry N of L, by the table
/// of its PDE`.
fn plain(part: &str) -> String {
    let (what, behind) = part.split_once(" at ").unwrap_or((part, ""));
    // A name may have an "at" of its own, as "code at Rip of processor 0" has.
    let (what, behind) = match behind.split_once(" at ") {
        Some((more, behind)) => (format!("{what} at {more}"), behind),
        None => (what.to_owned(), behind),
    };
    let table = behind
        .split_once(", ")
        .map_or(String::new(), |(_, table)| format!(", {table}"));
    let words = what.split(' ').map(|word| {
        if word.parse::<u64>().is_ok() {
            "N"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ") + &table
}

/// Writes the page.
pub(super) fn page(swept: &[Sweep]) -> Outcome {
    let mut page = HEAD.to_owned();
    for sweep in swept {
        page.push_str(&format!("- {}\n", sweep.summary()));
    }
    page.push_str(TABLE);
    for sweep in swept {
        for line in &sweep.lines {
            page.push_str(&line.cells(sweep.guest, sweep.body, sweep.loss.name()));
        }
    }
    std::fs::write(root().join(PAGE), page)?;
    Ok(())
}
