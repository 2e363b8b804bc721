//! The old thread, and what each field is worth.

use super::*;
use crate::format::dump_values::{DUMP_TYPE_FULL, VALID_DUMP64};

/// A 64-bit header of "PAGE" with the tags and a few fields.
fn header() -> Vec<u8> {
    let mut header = b"PAGE".repeat(0x2000 / 4);
    header[4..8].copy_from_slice(&VALID_DUMP64);
    put(&mut header, FieldId::DumpType, u64::from(DUMP_TYPE_FULL));
    put(&mut header, FieldId::DirectoryTableBase, 0x5479_6000);
    put(&mut header, FieldId::PfnDataBase, 0xffff_fadf_c940_0000);
    put(&mut header, FieldId::RequiredDumpSpace, 0x7fe0_0000);
    put(&mut header, FieldId::SystemTime, 0x1cb_fddc_37e5_a360);
    header
}

fn put(header: &mut [u8], id: FieldId, value: u64) {
    let field = HeaderWidth::Bits64.field(id).unwrap();
    let bytes = &value.to_le_bytes()[..field.bytes];
    header[field.offset..field.offset + field.bytes].copy_from_slice(bytes);
}

#[test]
fn the_type_decides_and_the_rest_does_not() {
    let good = header();
    let mut bad = good.clone();
    put(&mut bad, FieldId::DumpType, 2);
    put(&mut bad, FieldId::DirectoryTableBase, 0x7eec_1000);
    put(&mut bad, FieldId::PfnDataBase, 0xffff_fadf_c920_0000);
    put(&mut bad, FieldId::RequiredDumpSpace, 0x0286_2500);
    put(&mut bad, FieldId::SystemTime, 1);
    bad[0x348 + 0x90] ^= 1;
    bad[0x1fff] ^= 1;
    let diff = diff_headers(&good, &bad).unwrap();
    let weights: Vec<_> = diff
        .differences
        .iter()
        .map(|difference| (difference.field.name, difference.weight))
        .collect();
    assert_eq!(
        weights,
        [
            ("DumpType", Weight::Decides),
            ("DirectoryTableBase", Weight::Misleads),
            ("PfnDataBase", Weight::Misleads),
            ("ContextRecord", Weight::Cosmetic),
            ("RequiredDumpSpace", Weight::Cosmetic),
            ("SystemTime", Weight::Cosmetic),
        ]
    );
    assert_eq!(diff.differences[3].registers[0].name, "Rbx");
    assert_eq!(diff.unnamed, 1);
    assert_eq!(
        diff.verdict(),
        "DumpType decides; DirectoryTableBase, PfnDataBase mislead; the rest is cosmetic"
    );
}

#[test]
fn a_listing_makes_the_other_header_from_either() {
    let good = header();
    let mut bad = good.clone();
    put(&mut bad, FieldId::DumpType, 2);
    put(&mut bad, FieldId::PfnDataBase, 0xffff_fadf_c920_0000);
    let text: String = byte_differences(&good, &bad)
        .iter()
        .map(|d| format!("{:08x}: {:02x} {:02x}\n", d.offset, d.old, d.new))
        .collect();
    assert_eq!(text, "0000001a: 40 20\n00000f98: 01 02\n");
    let listing = parse_listing(&format!("G:\\>bincomp a b\n\n{text}...\n")).unwrap();
    assert_eq!(apply(&good, &listing).unwrap(), bad);
    assert_eq!(apply(&bad, &listing).unwrap(), good);
    let mut neither = good;
    neither[0x1a] = 0x77;
    assert_eq!(
        apply(&neither, &listing).unwrap_err().to_string(),
        "the listing does not belong to this header: at offset 0x1a it has 40 and 20, the header has 77"
    );
    assert_eq!(parse_listing("nothing: here"), Err(ListingError::Empty));
}

#[test]
fn what_is_no_header_is_told() {
    let good = header();
    assert_eq!(
        diff_headers(&good, b"MZ").unwrap_err(),
        DiffError::NotAHeader { which: "second" }
    );
    let mut narrow = good.clone();
    narrow[4..8].copy_from_slice(b"DUMP");
    assert_eq!(diff_headers(&good, &narrow).unwrap_err(), DiffError::Widths);
    let mut damaged = good.clone();
    damaged[0] = b'X';
    let diff = diff_headers(&good, &damaged).unwrap();
    assert_eq!(diff.decisive().count(), 1);
}

/// Windows' own header has the variable's address, a converter's the value.
#[test]
fn a_frame_database_by_value_or_by_address_is_cosmetic() {
    let mut value = header();
    put(
        &mut value,
        FieldId::KdDebuggerDataBlock,
        0xffff_f804_7c60_0b20,
    );
    let mut variable = value.clone();
    put(&mut variable, FieldId::PfnDataBase, 0xffff_f804_7c6f_c500);
    let diff = diff_headers(&value, &variable).unwrap();
    assert_eq!(diff.verdict(), "both open; the differences are cosmetic");
    put(&mut variable, FieldId::PfnDataBase, 0xffff_fa80_0000_0000);
    let diff = diff_headers(&value, &variable).unwrap();
    assert_eq!(diff.differences[0].weight, Weight::Misleads);
}

#[test]
fn what_a_type_does_not_use_is_no_difference() {
    let full = header();
    let mut ranges = full.clone();
    for (id, value) in [
        (FieldId::DumpType, 0xa),
        (FieldId::NumberOfRuns, 7),
        (FieldId::RequiredDumpSpace, 1),
    ] {
        put(&mut ranges, id, value);
    }
    let mut diff = diff_headers(&full, &ranges).unwrap();
    assert!(diff.decisive().count() > 0);
    diff.weigh_by_bodies(Some(1), Some(0xa));
    assert_eq!(diff.verdict(), "both open; the differences are cosmetic");
    // Of two bitmap dumps it is how much of them is read.
    let mut bitmap = full;
    put(&mut bitmap, FieldId::DumpType, 5);
    let mut cut = bitmap.clone();
    put(&mut cut, FieldId::RequiredDumpSpace, 1);
    assert_eq!(
        diff_headers(&bitmap, &cut).unwrap().verdict(),
        "both open; RequiredDumpSpace misleads"
    );
}
