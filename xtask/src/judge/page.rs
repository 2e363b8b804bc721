//! `cargo xtask judge page`: docs/formats/dmp-rows.md, of what both engines are recorded to have said and of our own
//! `check`; no engine is asked.

use core2dmp::audit::check::{Finding, Severity};
use core2dmp_synth::broken::{Body, rows};

use super::recorded::{CONVERTED, Engine, Record, Said};
use super::rows::{Opinion, ours};
use crate::run::{Outcome, root};

/// The table in the repository.
const PAGE: &str = "docs/formats/dmp-rows.md";
/// What the page begins with.
const HEAD: &str = "\
# What Microsoft's engines make of broken dumps, and what `check` says

Made by `cargo xtask judge rows` or `judge page`; do not edit. Each row breaks one thing of a good synthetic dump
(`core2dmp_synth::broken`). Today is dbgeng 10.0.29507 (WinDbg, 2026-11-28), old is dbgeng 10.0.10240 (2015); their
records are in `judges/dbgeng/`. **not asked**: the row is newer than the record. `core2dmp check` has to call refused
whatever today's engine refuses, nothing that opens broken refused or clean, and nothing refused that opens clean; a row
where it does not is marked WRONG. \"Repaired\" are the engines again, on what `core2dmp repair` makes of the dump.

| dump | broken | today | its words | old | its words | check | in | and expects the words | repaired: today, old |
|---|---|---|---|---|---|---|---|---|---|
";

/// What stands above the second table.
const GOOD: &str = "
## Dumps that `convert` writes

Of the corpus and of synthetic guests, each of every type: what the engines said of them.

| dump | today | its words | old | its words |
|---|---|---|---|---|
";

/// Whether `check` and an engine decide alike, as far as they have to.
fn agree(engine: Opinion, ours: Option<&Finding>) -> bool {
    let refused = ours.is_some_and(|finding| finding.severity == Severity::Refused);
    match engine {
        Opinion::Refused => refused,
        Opinion::Findings => ours.is_some() && !refused,
        Opinion::Clean => !refused,
    }
}

/// `judge page`: the page of all rows, of the records and our own `check`; no engine is asked.
pub fn page() -> Outcome {
    let (old, today) = (Record::read(Engine::Old)?, Record::read(Engine::Today)?);
    let mut page = HEAD.to_owned();
    let (mut wrong, mut not_asked) = (0, 0);
    for body in Body::ALL {
        let good = body.good();
        for row in std::iter::once(None).chain(rows().filter(|row| row.body == body).map(Some)) {
            let name = row.map_or("nothing", |row| row.name);
            let dump = row.map_or_else(|| good.dump.clone(), |row| row.broken(&good));
            let finding = ours(dump.bytes)?;
            let (today, old) = (today.said(body.name(), name), old.said(body.name(), name));
            let agreed = today.is_none_or(|said| agree(said.verdict, finding.as_ref()));
            wrong += usize::from(!agreed);
            not_asked += usize::from(today.is_none());
            page.push_str(&cells(body, name, today, old, finding.as_ref(), agreed));
        }
    }
    page.push_str(&good(&today, &old));
    std::fs::write(root().join(PAGE), page)?;
    println!(
        "{wrong} rows where check differs from today's engine; {not_asked} that it was not asked"
    );
    Ok(())
}

/// The table of good dumps; none where no engine was asked about one.
fn good(today: &Record, old: &Record) -> String {
    let mut cases: Vec<&str> = [today, old].iter().flat_map(|r| r.of(CONVERTED)).collect();
    cases.sort_unstable();
    cases.dedup();
    if cases.is_empty() {
        return String::new();
    }
    let said = |record: &Record, case| match record.said(CONVERTED, case) {
        Some(said) => format!("{} | {}", said.verdict.name(), cell(&said.words)),
        None => "**not asked** | ".to_owned(),
    };
    let lines = cases.iter().map(|case| {
        let (today, old) = (said(today, case), said(old, case));
        format!("| {case} | {today} | {old} |\n")
    });
    GOOD.to_owned() + &lines.collect::<String>()
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A line of the page.
fn cells(
    body: Body,
    name: &str,
    today: Option<&Said>,
    old: Option<&Said>,
    ours: Option<&Finding>,
    agreed: bool,
) -> String {
    let verdict = |said: Option<&Said>| said.map_or("**not asked**", |said| said.verdict.name());
    let words = |said: Option<&Said>| said.map_or_else(String::new, |said| cell(&said.words));
    let repaired = |said: Option<&Said>| {
        said.and_then(|said| said.repaired)
            .map_or("", Opinion::name)
    };
    let mended = [repaired(today), repaired(old)];
    format!(
        "| {} | {name} | {}{} | {} | {} | {} | {} | {} | {} | {} |\n",
        body.name(),
        if agreed { "" } else { "**WRONG** " },
        verdict(today),
        words(today),
        verdict(old),
        words(old),
        ours.map_or_else(
            || "nothing".to_owned(),
            |finding| finding.severity.to_string()
        ),
        ours.map_or("", |finding| finding.field),
        cell(
            ours.and_then(|finding| finding.debugger.as_ref())
                .map_or("", |said| &said.today)
        ),
        mended.join(", ").trim_matches([',', ' ']),
    )
}
