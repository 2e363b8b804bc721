//! The table of a crate's files, each with the first sentence of its documentation.

use std::fmt::Write as _;
use std::path::Path;

use syn::{Expr, Lit, Meta};

use super::first_sentence;
use crate::run::{Outcome, root};
use crate::sources::{below, name, read};

/// The lines of a list of documentation attributes.
pub fn doc_lines(attributes: &[syn::Attribute]) -> Vec<String> {
    let texts = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let Expr::Lit(literal) = &pair.value else {
            return None;
        };
        let Lit::Str(text) = &literal.lit else {
            return None;
        };
        pair.path.is_ident("doc").then(|| text.value())
    });
    texts.collect()
}

/// A row for each file of the crate in `words[0]`, in the order in which its rooms may use each other.
pub fn table(words: &[&str], _: &str) -> Outcome<String> {
    let [krate] = words else {
        return Err("<!-- modules CRATE -->".into());
    };
    let folder = root().join(krate);
    let order = order(&folder)?;
    let src = folder.join("src");
    let mut rows = Vec::new();
    for path in below(&src, "rs")? {
        let file = name(&path, &src);
        let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
        if is_test || matches!(file.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        let parsed = syn::parse_file(&read(&path)?).map_err(|e| format!("{file}: {e}"))?;
        let what = first_sentence(&doc_lines(&parsed.attrs));
        if what.is_empty() {
            return Err(format!("{krate}/src/{file} does not say what it is").into());
        }
        rows.push((rank(&order, &file), shown(&file), what));
    }
    rows.sort();
    let mut table = "| module | what |\n|---|---|\n".to_owned();
    for (_, file, what) in rows {
        writeln!(table, "| `{file}` | {what} |")?;
    }
    Ok(table)
}

/// `a/mod.rs` is the folder `a/`.
fn shown(file: &str) -> String {
    let folder = file.strip_suffix("mod.rs");
    folder.unwrap_or(file).to_owned()
}

/// The place of a file's room in the order.
fn rank(order: &[String], file: &str) -> usize {
    let room = file.split(['/', '.']).next().unwrap_or_default();
    let place = order.iter().position(|other| other == room);
    place.unwrap_or(order.len())
}

/// The rooms in their order, from the test that keeps it: `const ORDER: [&str; N] = [..]`.
fn order(folder: &Path) -> Outcome<Vec<String>> {
    let test = below(&folder.join("tests"), "rs")?
        .into_iter()
        .find(|path| path.ends_with("layering.rs"))
        .ok_or("no layering.rs")?;
    let text = read(&test)?;
    let list = text
        .split_once("const ORDER")
        .and_then(|(_, rest)| rest.split_once("= ["))
        .and_then(|(_, rest)| rest.split_once("];"))
        .ok_or("no ORDER in layering.rs")?;
    let names = list.0.split('"').skip(1).step_by(2);
    Ok(names.map(str::to_owned).collect())
}
