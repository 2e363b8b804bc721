//! What a guest or a file name says never reaches a terminal raw.
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
pub(crate) fn printable(text: &str) -> String {
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

/// The same for a path.
pub(crate) fn path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// JSON in ASCII: all that is not stands inside of strings, where it can be escaped.
pub(crate) fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
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
    fn json_is_ascii_and_still_the_same() {
        let text = "\x7f\u{9b}ü\u{1f600}\x1b";
        let json = ascii_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"\\u007f\\u009b\\u00fc\\ud83d\\ude00\\u001b\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
