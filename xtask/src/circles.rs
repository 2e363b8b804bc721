//! `cargo xtask circles`: no file of a crate imports, by whatever way round, itself.
//!
//! ```text
//! files -> items that each names (syn) -> the file that defines each -> strongly connected files -> an error for each
//! ```
//!
//! Files of one folder inside a room may need each other: a format's memory and its registers are one concept. Between
//! such folders, and between the rooms of a crate, a circle means that neither can be read, tested or moved alone. A
//! name that a module re-exports counts as its definition's, not as the module's; tests may use anything.

mod graph;

use std::collections::{BTreeMap, BTreeSet};

use crate::run::{Outcome, root};
use graph::{Edges, Graph};

/// The crates, by their sources.
const CRATES: [&str; 3] = [
    "crates/core2dmp/src",
    "crates/core2dmp-cli/src",
    "crates/core2dmp-synth/src",
];

/// Fails if there is a circle.
pub fn task(_arguments: &[String]) -> Outcome {
    let mut circles = Vec::new();
    for folder in CRATES {
        let graph = Graph::read(&root().join(folder))?;
        for (what, edges) in [("files", graph.edges()), ("rooms", graph.rooms())] {
            for circle in circles_of(&edges) {
                if what == "rooms" || !is_one_folder(&circle) {
                    circles.push(describe(folder, what, &circle, &edges));
                }
            }
        }
    }
    if circles.is_empty() {
        return Ok(());
    }
    Err(format!("circles:\n{}", circles.join("\n")).into())
}

fn describe(folder: &str, what: &str, circle: &[String], edges: &Edges) -> String {
    let mut text = format!("{folder}: {} {what}", circle.len());
    for from in circle {
        for (to, name) in edges.get(from).into_iter().flatten() {
            if circle.contains(to) {
                text += &format!("\n    {from} -> {to} ({name})");
            }
        }
    }
    text
}

/// Whether all are in one folder that is itself inside a room.
fn is_one_folder(circle: &[String]) -> bool {
    let room_and_folder = |file: &String| {
        let parts: Vec<&str> = file.split('/').collect();
        (parts.len() > 2).then(|| parts[..2].join("/"))
    };
    let folders: BTreeSet<_> = circle.iter().map(room_and_folder).collect();
    folders.len() == 1 && !folders.contains(&None)
}

/// Those that reach each other, in sets of at least two.
fn circles_of(edges: &Edges) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = edges
        .keys()
        .map(|from| (from, reach(edges, from)))
        .collect();
    let mut circles = BTreeSet::new();
    for (from, reached_from) in &reached {
        let circle: Vec<String> = reached_from
            .iter()
            .filter(|to| reached.get(**to).is_some_and(|back| back.contains(from)))
            .map(|to| (*to).clone())
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reach<'a>(edges: &'a Edges, from: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for to in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to) {
                next.push(to);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        circles_of(&Graph::of_texts(files).unwrap().edges())
    }

    #[test]
    fn a_circle_is_found_through_groups_macros_and_re_exports() {
        let face = ("a/mod.rs", "mod b; mod c; pub use c::C;");
        let found = circles(&[
            face,
            ("a/b.rs", "use crate::{a::C, d};"),
            ("a/c.rs", "pub struct C; fn f() { vec![super::b::x()]; }"),
            ("d.rs", "use crate::a::C;"),
        ]);
        assert_eq!(found, [["a/b.rs", "a/c.rs", "d.rs"]]);
        // Who names what `c` defines does not depend on `a/mod.rs`, which only publishes it.
        assert!(
            circles(&[
                face,
                ("a/b.rs", "use super::C;"),
                ("a/c.rs", "pub struct C;")
            ])
            .is_empty()
        );
    }

    #[test]
    fn tests_may_use_anything() {
        let a = (
            "a.rs",
            "pub fn f() {} #[cfg(test)] mod tests { use crate::b; }",
        );
        assert!(circles(&[a, ("b.rs", "use crate::a::f;")]).is_empty());
        assert_eq!(
            circles(&[("a.rs", "use crate::b;"), ("b.rs", "use crate::a::f;")]).len(),
            1
        );
    }

    #[test]
    fn a_folder_inside_a_room_may_have_circles() {
        let circle = |files: &[&str]| {
            is_one_folder(&files.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert!(circle(&["container/xen/a.rs", "container/xen/b.rs"]));
        assert!(!circle(&["container/xen/a.rs", "container/elf/b.rs"]));
        assert!(!circle(&["dump/a.rs", "dump/b.rs"]));
    }
}
