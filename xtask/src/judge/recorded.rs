//! What each engine said of each broken dump, as it is recorded in the repository.
//!
//! ```text
//! judges/dbgeng/rows-10.0.10240.tsv   WinDbg of 2015: `judge rows` writes it, where that engine is set up
//! judges/dbgeng/rows-10.0.29507.tsv   today's WinDbg: `judge import FILE` takes it from the machine that has it
//! dump, broken, verdict, words, verdict on the repaired dump
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::rows::Opinion;
use crate::run::{Outcome, root};

/// The kind of dump that `convert` wrote, of which nothing is broken; what stands in its place names the guest.
pub(super) const CONVERTED: &str = "converted";

/// An engine whose opinions are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// dbgeng 10.0.10240, of 2015.
    Old,
    /// dbgeng 10.0.29507, of 2026.
    Today,
}

impl Engine {
    fn path(self) -> PathBuf {
        let version = match self {
            Self::Old => "10.0.10240",
            Self::Today => "10.0.29507",
        };
        root()
            .join("judges/dbgeng")
            .join(format!("rows-{version}.tsv"))
    }
}

/// What an engine said of a dump.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) verdict: Opinion,
    pub(super) words: String,
    /// On the repaired dump, where there is one.
    pub(super) repaired: Option<Opinion>,
}

/// The record of one engine, by dump and what is broken in it.
pub(super) struct Record {
    engine: Engine,
    /// The comment and the names of the columns.
    head: Vec<String>,
    rows: BTreeMap<(String, String), Said>,
}

impl Record {
    pub(super) fn read(engine: Engine) -> Outcome<Self> {
        let text = std::fs::read_to_string(engine.path())?;
        let is_head = |line: &&str| line.starts_with('#') || line.starts_with("dump\t");
        Ok(Self {
            engine,
            head: text.lines().filter(is_head).map(str::to_owned).collect(),
            rows: parse(&text)?,
        })
    }

    pub(super) fn said(&self, dump: &str, broken: &str) -> Option<&Said> {
        self.rows.get(&(dump.to_owned(), broken.to_owned()))
    }

    pub(super) fn put(&mut self, dump: &str, broken: &str, said: Said) {
        self.rows.insert((dump.to_owned(), broken.to_owned()), said);
    }

    /// What it was asked about of a kind of dump.
    pub(super) fn of<'a>(&'a self, dump: &'a str) -> impl Iterator<Item = &'a str> {
        let rows = self.rows.keys().filter(move |(kind, _)| kind == dump);
        rows.map(|(_, broken)| broken.as_str())
    }

    /// Forgets the rows, which are all asked about again.
    pub(super) fn forget_rows(&mut self) {
        self.rows.retain(|(dump, _), _| dump == CONVERTED);
    }

    /// Takes the lines of another record; returns how many.
    pub(super) fn take(&mut self, text: &str) -> Outcome<usize> {
        let new = parse(text)?;
        let taken = new.len();
        self.rows.extend(new);
        Ok(taken)
    }

    pub(super) fn write(&self) -> Outcome {
        let mut text = self.head.join("\n");
        text.push('\n');
        for ((dump, broken), said) in &self.rows {
            let repaired = said.repaired.map_or("", Opinion::name);
            text.push_str(&format!(
                "{dump}\t{broken}\t{}\t{}\t{repaired}\n",
                said.verdict.name(),
                said.words
            ));
        }
        std::fs::write(self.engine.path(), text)?;
        Ok(())
    }
}

fn parse(text: &str) -> Outcome<BTreeMap<(String, String), Said>> {
    let mut rows = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') || line.starts_with("dump\t") || line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let [dump, broken, verdict, rest @ ..] = cells.as_slice() else {
            return Err(
                format!("line {number}: expected dump, broken, verdict, words, repaired").into(),
            );
        };
        let opinion = |name: &str| {
            let unknown = || format!("line {number}: no verdict is named {name:?}");
            Opinion::of(name).ok_or_else(unknown)
        };
        let repaired = rest.get(1).filter(|name| !name.is_empty());
        let said = Said {
            verdict: opinion(verdict)?,
            words: rest.first().copied().unwrap_or_default().to_owned(),
            repaired: repaired.map(|name| opinion(name)).transpose()?,
        };
        rows.insert(((*dump).to_owned(), (*broken).to_owned()), said);
    }
    Ok(rows)
}
