//! `cargo xtask judge sweep [GUEST ...]`: every page that Microsoft's engine reads while it opens a dump, lost in turn.
//!
//! ```text
//! bitmap dump, a page removed  \                                 / judge-dbgeng: refused | broken | shows less | whole
//! full dump, a page zeroed     / one page at a time, in turn --> \ check: refused | opens broken | cosmetic | nothing
//! pages: those whose loss `check` reports; of all others, those that halving finds while the engine's output differs
//! ```
//!
//! What the engine refuses or complains of, `check` has to report; what the engine shows whole it may not call broken or
//! refused. Answers are kept in target/judge/sweep, by what the dump holds: remove that folder to ask anew.
//! Without a name all guests are swept and docs/formats/dmp-sweep.md is written.

mod answer;
mod line;
mod subject;

use std::path::Path;

use self::answer::{Answer, Judge};
use self::line::{Line, lines, page};
use self::subject::{Loss, Subject, guests};
use super::rows::{Opinion, ours};
use crate::run::Outcome;

/// Sweeps the guests whose name contains one of `wanted`; all, and writes the page, if there are none.
pub fn task(judges: &Path, wanted: &[String]) -> Outcome {
    let judge = Judge::new(judges)?;
    let mut swept = Vec::new();
    for (name, spec) in guests() {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let guest = spec.build();
        for loss in Loss::ALL {
            let subject = Subject::new(&guest, loss);
            let sweep = sweep(&judge, name, &subject)?;
            print!("{}{}", line::COUNTS, sweep.cells());
            for line in &sweep.lines {
                print!("{}", line.cells(name, subject.body, loss.name()));
                print!("{}", line.frames());
            }
            swept.push(sweep);
        }
    }
    if wanted.is_empty() {
        page(&swept)?;
    }
    let wrong: usize = swept.iter().map(|sweep| sweep.wrong()).sum();
    if wrong > 0 {
        return Err(format!("{wrong} pages that check and the engine see differently").into());
    }
    Ok(())
}

/// What became of one dump's pages.
struct Sweep {
    guest: &'static str,
    body: &'static str,
    loss: Loss,
    lines: Vec<Line>,
    /// Pages that were lost one at a time.
    alone: usize,
    /// Pages in all.
    pages: usize,
    /// Of the pages that check does not report, those that the engine reads.
    found: usize,
    /// Sets of pages that matter only together.
    together: usize,
    /// Dumps that the engine was asked about.
    dumps: usize,
}

impl Sweep {
    fn wrong(&self) -> usize {
        let wrong = self.lines.iter().filter(|line| line.is_wrong());
        wrong.map(|line| line.pages.len()).sum()
    }

    fn silent(&self) -> usize {
        let silent = self.lines.iter().filter(|line| line.is_silent());
        silent.map(|line| line.pages.len()).sum()
    }

    /// A line of the page's table of counts.
    fn cells(&self) -> String {
        format!(
            "| {} | {}, {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.guest,
            self.body,
            self.loss.name(),
            self.pages,
            self.alone,
            self.found,
            self.together,
            self.dumps,
            self.wrong(),
            self.silent()
        )
    }
}

fn sweep(judge: &Judge, guest: &'static str, subject: &Subject) -> Outcome<Sweep> {
    let intact = judge.ask(subject, &[vec![]])?.remove(0);
    if intact.opinion != Opinion::Clean {
        return Err(format!("{guest}, {}: the good dump: {}", subject.body, intact.words).into());
    }
    let frames = subject.frames();
    let (mut walked, mut rest) = (Vec::new(), Vec::new());
    for &pfn in &frames {
        // What nothing was written to is nothing that check walks.
        let is_walked =
            subject.written().contains(&pfn) && ours(subject.without(&[pfn]))?.is_some();
        if is_walked { &mut walked } else { &mut rest }.push(pfn);
    }
    let alone: Vec<Vec<u64>> = walked.iter().map(|pfn| vec![*pfn]).collect();
    let answers = judge.ask(subject, &alone)?;
    let mut all: Vec<(u64, Answer)> = walked.into_iter().zip(answers).collect();
    let mut dumps = 1 + all.len();
    let halved = halve(judge, subject, &intact, rest)?;
    dumps += halved.dumps;
    let found = halved.alone.len();
    all.extend(halved.alone);
    let alone = all.len();
    Ok(Sweep {
        guest,
        body: subject.body,
        loss: subject.loss,
        lines: lines(subject, &intact, all)?,
        alone,
        pages: frames.len(),
        found,
        together: halved.together,
        dumps,
    })
}

/// What halving found.
struct Halved {
    /// Pages without which the engine says something else.
    alone: Vec<(u64, Answer)>,
    together: usize,
    dumps: usize,
}

/// Loses pages together, and halves the sets without which the engine says something else.
fn halve(judge: &Judge, subject: &Subject, intact: &Answer, pages: Vec<u64>) -> Outcome<Halved> {
    let (mut alone, mut together, mut dumps) = (Vec::new(), 0, 0);
    // A set, and the set that it is a half of.
    let mut sets = vec![(pages, 0)];
    while !sets.is_empty() {
        let asked: Vec<Vec<u64>> = sets.iter().map(|(set, _)| set.clone()).collect();
        let answers = judge.ask(subject, &asked)?;
        dumps += asked.len();
        let parents = sets.iter().map(|(_, parent)| *parent).max().unwrap_or(0);
        let mut differs = vec![false; parents + 1];
        let mut halves = Vec::new();
        let is_first = asked.len() == 1 && dumps == 1;
        for ((set, parent), answer) in sets.into_iter().zip(answers) {
            if answer.text == intact.text {
                continue;
            }
            differs[parent] = true;
            match set.as_slice() {
                [] => {}
                [pfn] => alone.push((*pfn, answer)),
                _ => {
                    let at = set.len() / 2;
                    let number = halves.len() / 2;
                    halves.push((set[..at].to_vec(), number));
                    halves.push((set[at..].to_vec(), number));
                }
            }
        }
        together += differs
            .iter()
            .filter(|differs| !**differs && !is_first)
            .count();
        sets = halves;
    }
    Ok(Halved {
        alone,
        together,
        dumps,
    })
}
