//! Text for people: guest strings and file names without terminal control characters, and sizes in words.
//!
//! A module of the guest may be called `\x1b]0;owned\x07`, or turn the rest of the line around. Letters of every
//! script stay; what a terminal acts on, or what hides, becomes an escape.

use std::path::Path;

/// Whether a character is an instruction rather than a sign.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            // Zero width, directions, line and paragraph separators, invisible operators.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with escapes for everything that a terminal might act on.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printed = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            printed.extend(c.escape_default());
        } else {
            printed.push(c);
        }
    }
    printed
}

/// A path with the same escapes.
#[must_use]
pub fn path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Paths with the same escapes, separated by commas.
#[must_use]
pub fn paths<P: AsRef<Path>>(paths: &[P]) -> String {
    let names: Vec<String> = paths.iter().map(|name| path(name.as_ref())).collect();
    names.join(", ")
}

/// A number of things, with the plural.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A size in the largest unit of 1024 that leaves a number of at least 1, such as `144.2 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        None => count(bytes, "byte"),
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_instructions() {
        assert_eq!(
            printable("a\x1b]0;x\x07\u{9b}\u{202e}ü\u{540d}.sys\n"),
            "a\\u{1b}]0;x\\u{7}\\u{9b}\\u{202e}ü\u{540d}.sys\\n"
        );
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(151_302_199), "144.2 MiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
