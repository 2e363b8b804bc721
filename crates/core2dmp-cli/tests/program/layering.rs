//! Keeps the program's rooms in their order: arguments become a request, a request an outcome, an outcome a report.

use std::fs;
use std::path::{Path, PathBuf};

/// Each may use only itself and those before it.
const ORDER: [&str; 14] = [
    "escape",
    "time",
    "registers",
    "remedy",
    "interrupt",
    "message",
    "progress",
    "hash",
    "args",
    "request",
    "confine",
    "outcome",
    "render",
    "commands",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a line of code names.
fn rooms(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::").skip(1).filter_map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    })
}

#[test]
fn rooms_use_only_those_before_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rank = |name: &str| ORDER.iter().position(|room| *room == name);
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    sources(&src, &mut files);
    for file in &files {
        let name = file.strip_prefix(&src).unwrap();
        let text = fs::read_to_string(file).unwrap();
        let room = name.with_extension("");
        let room = room.iter().next().and_then(|first| first.to_str()).unwrap();
        if room == "main" {
            continue;
        }
        let Some(own) = rank(room) else {
            wrong.push(format!("{} has no place in the order", name.display()));
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            // A group would hide names from this test.
            let group = line.contains("crate::{");
            if group || rooms(line).filter_map(rank).any(|other| other > own) {
                wrong.push(format!(
                    "{}:{}: {}",
                    name.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(files.len() > ORDER.len(), "the sources are elsewhere");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
