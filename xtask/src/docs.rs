//! `cargo xtask docs`: tables of the documentation that are written from the sources, so that they stay true.
//!
//! ```text
//! //! first sentence of each file   -->  ARCHITECTURE.md   <!-- modules FOLDER -->   .. <!-- end -->
//! const MAX_..: its doc, its value  -->  docs/security.md  <!-- limits ROOM ROOM --> .. <!-- end -->
//! ```
//!
//! With `--check` nothing is written, and a page that would change is an error. What a limit does when it is reached,
//! and which test reaches it, is not in the source: those two columns are kept by hand, and kept by this task.

mod limits;
mod modules;

use std::fs;

use crate::run::{Outcome, root};
use crate::sources::read;

/// Ends every part that is written here.
const END: &str = "<!-- end -->";

/// Writes the parts of a page between its markers: `inside` makes the new text of the marker's words and the old text.
type Inside = fn(&[&str], &str) -> Outcome<String>;

/// Pages, the first word of their markers, and what is between them.
const PAGES: [(&str, &str, Inside); 2] = [
    ("ARCHITECTURE.md", "modules", modules::table),
    ("docs/security.md", "limits", limits::table),
];

/// Writes the tables, or compares them.
pub fn task(arguments: &[String]) -> Outcome {
    let is_check = match arguments {
        [] => false,
        [one] if one == "--check" => true,
        _ => return Err("usage: cargo xtask docs [--check]".into()),
    };
    let mut stale = Vec::new();
    for (page, word, inside) in PAGES {
        let path = root().join(page);
        let old = read(&path)?;
        let new = rewritten(&old, word, inside).map_err(|error| format!("{page}: {error}"))?;
        if new != old && is_check {
            stale.push(page);
        } else if new != old {
            fs::write(&path, new)?;
            println!("wrote {page}");
        }
    }
    limits::all_are_listed()?;
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "stale: {}; write them with `cargo xtask docs`",
        stale.join(", ")
    )
    .into())
}

/// The page with the parts behind each `<!-- WORD .. -->` made anew.
fn rewritten(page: &str, word: &str, inside: Inside) -> Outcome<String> {
    let start = format!("<!-- {word} ");
    let mut parts = page.split(&start);
    let mut new = parts.next().unwrap_or_default().to_owned();
    let mut found = 0;
    for part in parts {
        let (words, rest) = part
            .split_once(" -->\n")
            .ok_or("a marker without its end")?;
        let (old, after) = rest.split_once(END).ok_or("no end of a part")?;
        let text = inside(&words.split(' ').collect::<Vec<_>>(), old)?;
        new += &format!("{start}{words} -->\n{text}{END}{after}");
        found += 1;
    }
    if found == 0 {
        return Err(format!("no {start}..-->").into());
    }
    Ok(new)
}

/// The first sentence of a documentation comment as a cell of a table: links as code, no line breaks.
fn first_sentence(lines: &[String]) -> String {
    let paragraph: Vec<&str> = lines
        .iter()
        .map(|line| line.trim())
        .take_while(|line| !line.is_empty())
        .collect();
    let text = paragraph.join(" ");
    let end = text.find(". ").unwrap_or(text.len());
    let sentence = text[..end].trim_end_matches('.');
    let code = sentence.replace("[`", "`").replace("`]", "`");
    without_targets(&code).replace('|', "\\|")
}

/// Text whose links have lost their targets: "`a`(super::a)" is "`a`".
fn without_targets(text: &str) -> String {
    let mut pieces = text.split("`(");
    let mut new = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        new.push('`');
        new += piece.split_once(')').map_or("", |(_, rest)| rest);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_a_cell() {
        let lines = [
            " One [`Thing`](a::b) and",
            " [`Other`]: a | b. More.",
            "",
            " Else.",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(first_sentence(&lines), "One `Thing` and `Other`: a \\| b");
    }

    #[test]
    fn what_is_between_the_markers_is_made_anew() {
        let inside: Inside = |words, old| Ok(format!("{words:?} {}\n", old.trim()));
        let page = "a\n<!-- x one two -->\nold\n<!-- end -->\nb\n";
        let new = rewritten(page, "x", inside).unwrap();
        assert_eq!(
            new,
            "a\n<!-- x one two -->\n[\"one\", \"two\"] old\n<!-- end -->\nb\n"
        );
        assert!(rewritten("a", "x", inside).is_err());
    }
}
