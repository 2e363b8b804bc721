//! A header's fields in their own notation: dates for times, names for codes, bits by what they mean.
//!
//! Sources: winnt.h for suites, products and attributes; see [`core2dmp::format`] for the rest.

use core2dmp::format::dump_values::{dump_type_name, machine_name};
use core2dmp::format::header_fields::{Field, FieldId, FieldKind, FieldValue};
use core2dmp::format::stop_codes;

use super::text::{count, size};
use crate::time;

/// Names of bits.
type Bits = &'static [(u32, &'static str)];

/// `Attributes` of a header.
const ATTRIBUTES: Bits = &[
    (0, "hibernation crash"),
    (1, "dump device powered off"),
    (2, "dump file too small"),
    (3, "kernel-generated triage dump"),
    (4, "live dump"),
    (5, "made offline"),
    (6, "filtered"),
    (7, "early boot crash"),
    (8, "encrypted"),
    (9, "decrypted"),
];

/// `VER_SUITE_*`.
const SUITES: Bits = &[
    (0, "SmallBusiness"),
    (1, "Enterprise"),
    (2, "BackOffice"),
    (3, "Communications"),
    (4, "TerminalServer"),
    (5, "SmallBusinessRestricted"),
    (6, "EmbeddedNT"),
    (7, "DataCenter"),
    (8, "SingleUserTS"),
    (9, "Personal"),
    (10, "Blade"),
    (11, "EmbeddedRestricted"),
    (12, "SecurityAppliance"),
    (13, "StorageServer"),
    (14, "ComputeServer"),
    (15, "HomeServer"),
    (17, "MultiUserTS"),
];

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
    let shown = |held: &FieldValue| match explain(field.id, held, None) {
        Some(name) if is_a_name(field.id) => format!("{} ({name})", value(field.kind, held)),
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

/// Whether the explanation names the value, rather than saying more about it.
const fn is_a_name(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::DumpType
            | FieldId::MachineImageType
            | FieldId::BugCheckCode
            | FieldId::ExceptionCode
            | FieldId::ProductType
            | FieldId::Attributes
    )
}

/// What a value means; `stop` is the header's stop code, which explains the parameters.
pub(crate) fn explain(id: FieldId, value: &FieldValue, stop: Option<u32>) -> Option<String> {
    let FieldValue::Number(number) = *value else {
        return None;
    };
    let code = u32::try_from(number).ok();
    let known = |name: Option<&str>| name.map(str::to_owned);
    match id {
        FieldId::MajorVersion => known(match number {
            0xf => Some("free build"),
            0xc => Some("checked build"),
            _ => None,
        }),
        FieldId::MachineImageType => known(code.and_then(machine_name)),
        FieldId::DumpType => known(code.and_then(dump_type_name)),
        FieldId::BugCheckCode => known(code.and_then(stop_codes::find).map(|stop| stop.name)),
        FieldId::BugCheckParameter1 => parameter(stop, 0),
        FieldId::BugCheckParameter2 => parameter(stop, 1),
        FieldId::BugCheckParameter3 => parameter(stop, 2),
        FieldId::BugCheckParameter4 => parameter(stop, 3),
        FieldId::ExceptionCode => known(code.and_then(stop_codes::exception_name)),
        FieldId::RequiredDumpSpace => Some(size(number)),
        FieldId::SystemTime | FieldId::SystemUpTime => Some(format!("{number:#x}")),
        FieldId::ProductType => known(match number {
            1 => Some("workstation"),
            2 => Some("domain controller"),
            3 => Some("server"),
            _ => None,
        }),
        FieldId::PaeEnabled => known(match number {
            0 => Some("two levels of page tables"),
            1 => Some("PAE"),
            _ => None,
        }),
        FieldId::SuiteMask => bits(SUITES, number),
        FieldId::Attributes => bits(ATTRIBUTES, number),
        FieldId::WriterStatus if number == 0 => known(Some("success")),
        _ => None,
    }
}

/// What a stop code says of its parameter.
fn parameter(stop: Option<u32>, index: usize) -> Option<String> {
    let meaning = stop_codes::find(stop?)?.parameters.get(index)?;
    (!meaning.is_empty()).then(|| (*meaning).to_owned())
}

/// The bits that are set, by name; nameless ones by number.
fn bits(names: Bits, value: u64) -> Option<String> {
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
    use core2dmp::format::header_fields::HeaderWidth;

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
