//! A header's fields in their own notation: dates for times, names for codes, bits by what they mean.
//!
//! Sources: winnt.h for suites, products and attributes; see [`core2dmp::header`] for the rest.

use core2dmp::header::stop_codes;
use core2dmp::header::{Field, FieldKind, FieldValue, Notation};

use super::text::{count, size};
use crate::time;

/// A value as its kind is read.
pub(crate) fn value(kind: FieldKind, value: &FieldValue) -> String {
    match (value, kind) {
        (FieldValue::Missing, _) => "missing".to_owned(),
        (FieldValue::NotSet, _) => "not set".to_owned(),
        (FieldValue::Text(text), _) => format!("\"{text}\""),
        (FieldValue::Bytes(bytes), _) => count(bytes.len() as u64, "byte"),
        (FieldValue::Number(number), FieldKind::Decimal) => number.to_string(),
        (FieldValue::Number(number), FieldKind::Duration) => time::duration(*number),
        (FieldValue::Number(number), FieldKind::Time) => {
            time::utc(*number).unwrap_or_else(|| format!("{number:#x}"))
        }
        (FieldValue::Number(number), _) => format!("{number:#x}"),
    }
}

/// Two values of a field, told apart: in hexadecimal where their own notation shows no difference.
pub(crate) fn both(field: &Field, old: &FieldValue, new: &FieldValue) -> (String, String) {
    // A size, a raw time or a parameter's meaning is no name: it says more about the value.
    let is_a_name = matches!(field.notation, Notation::Name(_) | Notation::Bits(_));
    let shown = |held: &FieldValue| match explain(field, held, None) {
        Some(name) if is_a_name => format!("{} ({name})", value(field.kind, held)),
        _ => value(field.kind, held),
    };
    let (before, after) = (shown(old), shown(new));
    match (old, new) {
        (FieldValue::Number(old), FieldValue::Number(new)) if before == after => (
            format!("{before} ({old:#x})"),
            format!("{after} ({new:#x})"),
        ),
        _ => (before, after),
    }
}

/// What a value means; `stop` is the header's stop code, which explains the parameters.
pub(crate) fn explain(field: &Field, value: &FieldValue, stop: Option<u32>) -> Option<String> {
    let FieldValue::Number(number) = *value else {
        return None;
    };
    match field.notation {
        Notation::Plain => None,
        Notation::Name(name) => name(u32::try_from(number).ok()?).map(str::to_owned),
        Notation::Bits(names) => bits(names, number),
        Notation::Size => Some(size(number)),
        Notation::Raw => Some(format!("{number:#x}")),
        Notation::StopParameter(index) => parameter(stop, index),
    }
}

/// What a stop code says of its parameter.
fn parameter(stop: Option<u32>, index: usize) -> Option<String> {
    let meaning = stop_codes::find(stop?)?.parameters.get(index)?;
    (!meaning.is_empty()).then(|| (*meaning).to_owned())
}

/// The bits that are set, by name; nameless ones by number.
fn bits(names: &[(u32, &str)], value: u64) -> Option<String> {
    let name = |bit: u32| {
        let known = names.iter().find(|(known, _)| *known == bit);
        known.map_or_else(|| format!("bit {bit}"), |(_, name)| (*name).to_owned())
    };
    let set = (0..64).filter(|bit| value >> bit & 1 == 1);
    let words: Vec<String> = set.map(name).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use core2dmp::header::{ATTRIBUTES, FieldId, HeaderWidth, SUITES};

    use super::*;

    #[test]
    fn bits_have_names_or_numbers() {
        assert_eq!(
            bits(ATTRIBUTES, 0x30).as_deref(),
            Some("live dump, made offline")
        );
        assert_eq!(bits(SUITES, 1 << 40).as_deref(), Some("bit 40"));
        assert_eq!(bits(SUITES, 0), None);
    }

    #[test]
    fn a_difference_that_the_notation_hides_is_shown() {
        let field = HeaderWidth::Bits64.field(FieldId::SystemUpTime).unwrap();
        let at = |ticks: u64| FieldValue::Number(610_000_000 + ticks);
        assert_eq!(
            both(field, &at(1), &at(2)),
            (
                "1m 1s (0x245bdc81)".to_owned(),
                "1m 1s (0x245bdc82)".to_owned()
            )
        );
        let field = HeaderWidth::Bits64.field(FieldId::DumpType).unwrap();
        let (old, new) = both(field, &FieldValue::Number(1), &FieldValue::NotSet);
        assert_eq!((old.as_str(), new.as_str()), ("1 (full)", "not set"));
    }
}
