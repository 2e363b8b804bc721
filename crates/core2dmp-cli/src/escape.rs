//! Escapes guest strings and file names before they reach a terminal or a document.

pub(crate) use core2dmp::text::{path, printable};

/// JSON in ASCII: everything else is inside strings, where it can be escaped.
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
    fn json_is_ascii_and_still_the_same() {
        let text = "\x7f\u{9b}ü\u{1f600}\x1b";
        let json = ascii_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"\\u007f\\u009b\\u00fc\\ud83d\\ude00\\u001b\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
