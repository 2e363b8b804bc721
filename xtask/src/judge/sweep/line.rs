//! Lines of the table: a thing that is lost, what the engine says without it, and what `check` says.

use std::collections::BTreeMap;

use core2dmp::audit::check::{Finding, Severity};

use super::answer::Answer;
use super::subject::Subject;
use super::{Opinion, Sweep, ours};
use crate::judge::rows::severity;
use crate::run::{Outcome, root};

/// The table in the repository.
const PAGE: &str = "docs/formats/dmp-sweep.md";
/// Things that a line names.
const MAX_THINGS: usize = 3;
/// Characters of a line that are shown.
const MAX_SHOWN: usize = 72;
/// What the page begins with.
const HEAD: &str = "\
# A page lost: what Microsoft's engine says, and what `check` says

Made by `cargo xtask judge sweep`; do not edit. Every page that the engine reads while it opens a dump and shows
two processors' registers was lost in turn: removed from a dump with a bitmap, or zeroed in a full one. The pages
are those whose loss `core2dmp check` reports, and of all others those that halving finds, as long as the engine's
output differs from that about the good dump. Pages that behave alike are one line.

The engine is dbgeng 10.0.10240 (2015). `check` speaks for today's, 10.0.29507, and its words here are those.
Today's is known to name an absent page (`Page 187 not present in the dump file. Type \".hh dbgerr004\" for
details`) more often, and to open a dump with a processor too many; it was not asked about these dumps. **whole**:
the old engine's output is that about the good dump to the letter. **shows less**: no complaint, other output.

**MISSED**: the engine fails, complains or names a missing page, and `check` reports nothing, or not that the dump
is refused. **TOO MUCH**: the engine shows the dump whole, and `check` calls it broken or refused, or it opens and
`check` calls it refused. **neither says so**: other output without a complaint, and no finding: code, names and
exports that are zeros.

Open: the stack at RSP or ESP and the page tables that lead to it. The engine walks the stack for \"Probably caused
by\" and names the page where it is absent; `check` does not ask for it, as the synthetic kernel dumps hold no
stacks. With PAE, the page directories of the process of a processor: without them the engine calls that
processor's KPCR corrupted.

";
/// The table of counts: what its columns are.
pub(super) const COUNTS: &str = "\
| guest | dump | pages | lost alone | of these by halving | sets that matter together | dumps | apart | neither says so |
|---|---|---|---|---|---|---|---|---|
";
/// The table of things.
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
    /// The engine shows something else without a word, and check reports nothing.
    Silent,
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
        matches!(self.apart, Apart::Missed | Apart::TooMuch)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.apart == Apart::Silent
    }

    /// The frames of pages that stand apart.
    pub(super) fn frames(&self) -> String {
        if self.apart == Apart::Agreed {
            return String::new();
        }
        format!("  frames {:x?}\n", self.pages)
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
                Apart::Silent => "neither says so",
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
        let key_words = answer.words.clone();
        let said = finding.and_then(|finding| finding.debugger.as_ref());
        let line = Line {
            pages: vec![pfn],
            thing: thing(subject, pfn, finding),
            engine,
            words: match answer.words {
                words if words.is_empty() => difference(&intact.text, &answer.text),
                words => words,
            },
            check: finding.map_or("nothing".to_owned(), |finding| finding.severity.to_string()),
            expects: said.map_or_else(String::new, |said| said.today.to_string()),
            apart: apart(engine, complains(&intact.text, &answer.text), finding),
        };
        let key = (
            line.apart,
            line.thing.clone(),
            key_words,
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

/// The first line that is not that about the good dump; empty where there is none.
fn difference(intact: &str, text: &str) -> String {
    let mut lines = text.lines();
    for line in intact.lines() {
        let other = lines.next().unwrap_or("nothing");
        if line != other {
            return format!("`{}` instead of `{}`", shown(other), shown(line));
        }
    }
    lines
        .next()
        .map_or_else(String::new, |line| format!("`{}` more", shown(line)))
}

/// A line as far as the page shows it, without the folders of the engine's machine.
fn shown(line: &str) -> String {
    let line = line.trim();
    let end = line.find(" : Z:").unwrap_or(line.len());
    let (line, _) = line.split_at(end);
    line.chars().take(MAX_SHOWN).collect()
}

/// Whether the engine complains in words that the judge does not count: not of the good dump.
fn complains(intact: &str, text: &str) -> bool {
    let marks = ["not present in the dump file", "is corrupted"];
    let is_mark = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let mut lines = text.lines().filter(is_mark);
    lines.any(|line| !intact.contains(line))
}

fn apart(engine: &str, complains: bool, finding: Option<&Finding>) -> Apart {
    let check = finding.map(severity);
    let is_refused = check == Some(Severity::Refused);
    match engine {
        "refused" if !is_refused => Apart::Missed,
        "refused" => Apart::Agreed,
        _ if is_refused => Apart::TooMuch,
        "whole" if check == Some(Severity::Broken) => Apart::TooMuch,
        "whole" => Apart::Agreed,
        "shows less" if check.is_none() && !complains => Apart::Silent,
        _ if check.is_none() => Apart::Missed,
        _ => Apart::Agreed,
    }
}

/// What is on a page: what `check` names without numbers and addresses, or what the guest has there.
fn thing(subject: &Subject, pfn: u64, finding: Option<&Finding>) -> String {
    let Some(finding) = finding.filter(|finding| finding.field.starts_with("page ")) else {
        let name = subject.name(pfn);
        return finding.map_or(name.clone(), |finding| {
            format!("{name} ({})", finding.field)
        });
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
    let mut page = HEAD.to_owned() + COUNTS;
    for sweep in swept {
        page.push_str(&sweep.cells());
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
