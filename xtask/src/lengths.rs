//! `cargo xtask lengths`: files that a person reads in one sitting, and Markdown that fits beside code.
//!
//! ```text
//! .rs   400 lines
//! .md   120 columns, except rows of tables, code (fenced or indented) and a line that is one word: none can be broken
//! ```
//!
//! Functions are clippy's: `too_many_lines`, with the threshold in clippy.toml.

use crate::run::{Outcome, root};
use crate::sources::{below, name, read};

/// Lines of a Rust file.
const MAX_LINES: usize = 400;
/// Columns of a line of Markdown.
const MAX_COLUMNS: usize = 120;

/// Fails if a file or a line is too long.
pub fn task(_arguments: &[String]) -> Outcome {
    let root = root();
    let mut long = Vec::new();
    for path in below(&root, "rs")? {
        let lines = read(&path)?.lines().count();
        if lines > MAX_LINES {
            long.push(format!("{}: {lines} lines", name(&path, &root)));
        }
    }
    for path in below(&root, "md")? {
        for number in long_lines(&read(&path)?) {
            long.push(format!("{}:{number}", name(&path, &root)));
        }
    }
    if long.is_empty() {
        return Ok(());
    }
    Err(format!(
        "longer than {MAX_LINES} lines, or {MAX_COLUMNS} columns of Markdown:\n    {}",
        long.join("\n    ")
    )
    .into())
}

/// Numbers of the lines of a page that are too long and could be broken.
fn long_lines(page: &str) -> Vec<usize> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        let text = line.trim_start();
        if text.starts_with("```") {
            is_fenced = !is_fenced;
        }
        let is_code = is_fenced || line.starts_with("    ");
        let is_row = text.starts_with('|');
        let is_word = !text.trim_start_matches(['-', '*', '>', ' ']).contains(' ');
        if line.chars().count() > MAX_COLUMNS && !is_code && !is_row && !is_word {
            found.push(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_broken_is_too_long() {
        let words = "word ".repeat(30);
        let page = format!(
            "{words}\n| {words}|\n    {words}\n```\n{words}\n```\n- {}\n",
            "x".repeat(130)
        );
        assert_eq!(long_lines(&page), [1]);
        assert_eq!(long_lines(&"x ".repeat(60)), [0; 0]);
    }
}
