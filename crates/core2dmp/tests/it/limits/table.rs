//! docs/security.md lists every limit of the library with its value, and no other; what happens where it is reached, and
//! the test that reaches it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// Name, value as it is written, file.
type Limit = (String, String, String);

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_owned();
        if path.is_dir() && name != "tests" && name != "format" {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The limit that a line of a source defines.
fn limit(line: &str) -> Option<(String, String)> {
    let (visibility, rest) = line.trim_start().split_once("const ")?;
    let plain = visibility.is_empty() || visibility.starts_with("pub");
    let (name, rest) = rest.split_once(": ")?;
    let (kind, value) = rest.split_once(" = ")?;
    let counts = matches!(kind, "u8" | "u16" | "u32" | "u64" | "usize");
    let bounds = ["MAX_", "LEAST_", "MOST_"]
        .iter()
        .any(|start| name.starts_with(start));
    let value = value.strip_suffix(';')?.to_owned();
    let listed = plain && counts && (bounds || OTHERS.contains(&name));
    listed.then(|| (name.to_owned(), value))
}

fn in_sources() -> BTreeSet<Limit> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let mut limits = BTreeSet::new();
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let of_file = text.lines().filter_map(limit);
        limits.extend(of_file.map(|(name, value)| (name, value, file.replace('\\', "/"))));
    }
    limits
}

fn code(cell: &str) -> Option<String> {
    Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned())
}

/// Whether what happens is one of four, and there is the test that makes it happen, or a reason why there is none.
fn is_reached(reached: &str, by: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = |file: String| {
        let folders = ["tests", "src", "../core2dmp-cli/tests"];
        let paths = folders.map(|folder| root.join(folder).join(&file));
        let texts = paths
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        texts.into_iter().any(|text| text.contains("#[test]"))
    };
    match reached {
        "cache" => by.is_empty(),
        "error" | "warning" | "cut" => match by.strip_prefix("not by a test: ") {
            Some(why) => !why.is_empty(),
            None => code(by).is_some_and(there),
        },
        _ => false,
    }
}

fn in_page() -> BTreeSet<Limit> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, value, file, what, reached, by, _] = cells[..] else {
            return None;
        };
        let limit = (code(name)?, code(value)?, code(file)?);
        assert!(!what.is_empty(), "{line}");
        assert!(is_reached(reached, by), "{line}");
        Some(limit)
    });
    rows.collect()
}

#[test]
fn the_table_of_limits_is_true() {
    let (sources, page) = (in_sources(), in_page());
    assert!(sources.len() > 80, "{}", sources.len());
    let row = |limit: &Limit| format!("| `{}` | `{}` | `{}` |", limit.0, limit.1, limit.2);
    let missing: Vec<String> = sources.difference(&page).map(row).collect();
    let stale: Vec<String> = page.difference(&sources).map(row).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/security.md lacks {missing:#?} and has {stale:#?}"
    );
}
