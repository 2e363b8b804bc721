//! The table of limits: constants of the library whose names say that they bound something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use quote::ToTokens as _;
use syn::visit::{self, Visit};

use super::first_sentence;
use super::modules::doc_lines;
use crate::run::{Outcome, root};
use crate::sources::{below, name, read};

/// The library's sources.
const SRC: &str = "crates/core2dmp/src";
/// The page of the tables.
const PAGE: &str = "docs/security.md";
/// Limits whose names do not begin as the others do.
const OTHERS: [&str; 14] = [
    "CACHED_TABLES",
    "KEPT",
    "LOW_FRAMES",
    "PLAUSIBLE_BYTES",
    "PLAUSIBLE_TIMES",
    "PROBE_BYTES",
    "SCANS",
    "SCANS_PER_FRAME",
    "SCAN_BLOCK",
    "SCAN_BYTES",
    "SLOTS",
    "STACK_BYTES",
    "TABLES_PER_FRAME",
    "ZSTD_WINDOW",
];

/// A limit as the sources have it.
struct Limit {
    name: String,
    value: String,
    file: String,
    what: String,
}

/// What is kept by hand of a limit: what happens where it is reached, and which test makes that happen.
type ByHand = BTreeMap<(String, String), (String, String)>;

/// The rows of the rooms in `words`, with the columns of the old table that are kept by hand.
pub fn table(words: &[&str], old: &str) -> Outcome<String> {
    let by_hand = by_hand(old);
    let mut table = "| limit | value | where in `crates/core2dmp/src` | of what | reached | by |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    let mut mute = Vec::new();
    for room in words {
        for limit in limits()?
            .into_iter()
            .filter(|limit| room_of(&limit.file) == *room)
        {
            let Limit {
                name,
                value,
                file,
                what,
            } = limit;
            if what.is_empty() {
                mute.push(format!("{file}: {name}"));
            }
            let (reached, by) = kept(&by_hand, &name, &file);
            let by = if by.is_empty() { by } else { format!(" {by}") };
            writeln!(
                table,
                "| `{name}` | `{value}` | `{file}` | {what} | {reached} |{by} |"
            )?;
        }
    }
    if mute.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "they do not say what they bound:\n    {}",
        mute.join("\n    ")
    )
    .into())
}

/// What is kept of a limit; of one that moved to another file, what its only namesake had.
fn kept(by_hand: &ByHand, name: &str, file: &str) -> (String, String) {
    let key = (name.to_owned(), file.to_owned());
    let mut namesakes = by_hand.iter().filter(|(key, _)| key.0 == name);
    let only = namesakes.next().filter(|_| namesakes.next().is_none());
    let kept = by_hand.get(&key).or(only.map(|(_, kept)| kept));
    kept.cloned().unwrap_or_default()
}

/// Fails where a limit is in no table, or where what is kept by hand is missing or names no test.
pub fn all_are_listed() -> Outcome {
    let page = read(&root().join(PAGE))?;
    let listed = by_hand(&page);
    let mut wrong = Vec::new();
    for Limit { name, file, .. } in limits()? {
        match listed.get(&(name.clone(), file.clone())) {
            None => wrong.push(format!("{file}: {name} is in no table: run `cargo xtask docs`")),
            Some((reached, by)) if !is_reached(reached, by) => wrong.push(format!(
                "{file}: {name}: say whether it is an error, a warning, a cut or a cache, and which test reaches it"
            )),
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{PAGE}:\n    {}", wrong.join("\n    ")).into())
}

fn room_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

fn by_hand(page: &str) -> ByHand {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split(" |").map(str::trim).collect();
        let [name, _, file, _, reached, by, ..] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix("| ")?;
        let cell = |text: &str| text.trim_start_matches('|').trim().to_owned();
        Some(((code(name)?, code(&cell(file))?), (cell(reached), cell(by))))
    });
    rows.collect()
}

fn code(cell: &str) -> Option<String> {
    Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned())
}

/// Whether what happens is one of four, and there is the test that makes it happen, or a reason why there is none.
fn is_reached(reached: &str, by: &str) -> bool {
    let is_there = |file: &str| {
        let folders = ["tests", "src", "../core2dmp-cli/tests"];
        let mut paths = folders
            .map(|folder| root().join("crates/core2dmp").join(folder).join(file))
            .into_iter();
        paths.any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("#[test]")))
    };
    match reached {
        "cache" => by.is_empty(),
        "error" | "warning" | "cut" => match by.strip_prefix("not by a test: ") {
            Some(why) => !why.is_empty(),
            None => code(by).is_some_and(|file| is_there(&file)),
        },
        _ => false,
    }
}

/// Every limit, by file and name.
fn limits() -> Outcome<Vec<Limit>> {
    let src = root().join(SRC);
    let mut all = Vec::new();
    for path in below(&src, "rs")? {
        let file = name(&path, &src);
        let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
        if is_test || room_of(&file) == "format" {
            continue;
        }
        let parsed = syn::parse_file(&read(&path)?).map_err(|e| format!("{file}: {e}"))?;
        let mut constants = Constants {
            file,
            found: Vec::new(),
        };
        constants.visit_file(&parsed);
        constants.found.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(constants.found);
    }
    Ok(all)
}

/// Collects a file's limits.
struct Constants {
    file: String,
    found: Vec<Limit>,
}

impl Constants {
    fn add(
        &mut self,
        name: &syn::Ident,
        kind: &syn::Type,
        value: &syn::Expr,
        docs: &[syn::Attribute],
    ) {
        let name = name.to_string();
        let kind = kind.to_token_stream().to_string();
        let counts = matches!(kind.as_str(), "u8" | "u16" | "u32" | "u64" | "usize");
        let bounds = ["MAX_", "LEAST_", "MOST_"]
            .iter()
            .any(|start| name.starts_with(start));
        if counts && (bounds || OTHERS.contains(&name.as_str())) {
            let value = value.to_token_stream().to_string().replace(" :: ", "::");
            let what = first_sentence(&doc_lines(docs));
            let file = self.file.clone();
            self.found.push(Limit {
                name,
                value,
                file,
                what,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Constants {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident, &item.ty, &item.expr, &item.attrs);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.add(&item.ident, &item.ty, &item.expr, &item.attrs);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}
