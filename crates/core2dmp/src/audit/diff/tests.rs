//! The old thread, and what each field is worth.

use super::*;
use crate::address::Gpa;
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
        diff.verdict(None),
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
    assert_eq!(
        diff.verdict(None),
        "both open; the differences are cosmetic"
    );
    // So near is the database of 32 bit; it begins a page.
    for database in [0xffff_fa80_0000_0000, 0xffff_f804_7c80_0000] {
        put(&mut value, FieldId::PfnDataBase, database);
        let diff = diff_headers(&value, &variable).unwrap();
        assert_eq!(diff.differences[0].weight, Weight::Cosmetic);
    }
    put(&mut variable, FieldId::PfnDataBase, 0xffff_fa80_0000_0000);
    let diff = diff_headers(&value, &variable).unwrap();
    assert_eq!(diff.differences[0].weight, Weight::Misleads);
}

/// Two whole bodies, of these types.
fn bodies(old: u64, new: u64, pages: Option<&MemoryDiff>) -> Bodies<'_> {
    let behind = |dump_type| Behind {
        dump_type: Some(dump_type),
        is_read_whole: true,
        block: Some(Gpa::new(0x1000)),
    };
    Bodies {
        old: behind(old),
        new: behind(new),
        pages,
    }
}

/// What is left of the weights with these bodies.
fn weighed(old: &[u8], new: &[u8], bodies: &Bodies<'_>) -> HeaderDiff {
    let mut diff = diff_headers(old, new).unwrap();
    diff.weigh_by_bodies(bodies);
    diff
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
    let diff = diff_headers(&full, &ranges).unwrap();
    assert!(diff.names_other_pages());
    assert!(diff.decisive().count() > 0);
    let diff = weighed(&full, &ranges, &bodies(1, 0xa, None));
    let cosmetic = "; the differences are cosmetic";
    assert_eq!(diff.verdict(None), format!("both open{cosmetic}"));
    let mut pages = MemoryDiff::default();
    let same = format!("both open, the same pages{cosmetic}");
    assert_eq!(diff.verdict(Some(&pages)), same);
    pages.different.pages = 2;
    let two = format!("both open, the same pages, 2 of them with other contents{cosmetic}");
    assert_eq!(diff.verdict(Some(&pages)), two);
    pages.only_old.pages = 1;
    assert_eq!(diff.verdict(Some(&pages)), format!("both open{cosmetic}"));
}

/// Of bitmap dumps it is how much of them is read, and their files' sizes differ as well.
#[test]
fn space_misleads_where_it_hides_a_page() {
    let mut bitmap = header();
    put(&mut bitmap, FieldId::DumpType, 5);
    let mut other = bitmap.clone();
    put(&mut other, FieldId::RequiredDumpSpace, 1);
    let misleads = "both open; RequiredDumpSpace misleads";
    let diff = diff_headers(&bitmap, &other).unwrap();
    assert_eq!(diff.verdict(None), misleads);
    let mut both = bodies(5, 5, None);
    let diff = weighed(&bitmap, &other, &both);
    assert_eq!(diff.differences[0].weight, Weight::Cosmetic);
    both.new.is_read_whole = false;
    let diff = weighed(&bitmap, &other, &both);
    assert_eq!(diff.verdict(None), misleads);
}

/// Runs in another order, with their pages in that order, are the same memory; without, they scramble it.
#[test]
fn other_runs_decide_unless_the_pages_are_the_same() {
    let (mut one, mut other) = (header(), header());
    put(&mut one, FieldId::NumberOfRuns, 1);
    put(&mut other, FieldId::NumberOfRuns, 2);
    let same = MemoryDiff::default();
    let mut scrambled = MemoryDiff::default();
    scrambled.different.pages = 9;
    let weight = |one: &[u8], other: &[u8], kind, pages| {
        weighed(one, other, &bodies(kind, kind, pages)).differences[0].weight
    };
    assert_eq!(weight(&one, &other, 1, None), Weight::Decides);
    assert_eq!(weight(&one, &other, 1, Some(&scrambled)), Weight::Decides);
    assert_eq!(weight(&one, &other, 1, Some(&same)), Weight::Cosmetic);
    // A summary dump without runs is refused, whatever its bitmap names.
    put(&mut other, FieldId::NumberOfRuns, 0);
    assert_eq!(weight(&one, &other, 2, Some(&same)), Weight::Decides);
}

/// Microsoft's engine writes the page tables of the process that ran.
#[test]
fn page_tables_of_another_process_mislead_only_where_they_map_another_kernel() {
    let one = header();
    let mut other = one.clone();
    put(&mut other, FieldId::DirectoryTableBase, 0x1ad000);
    let same = MemoryDiff::default();
    let mut both = bodies(1, 1, Some(&same));
    let diff = weighed(&one, &other, &both);
    assert_eq!(diff.differences[0].weight, Weight::Cosmetic);
    both.new.block = None;
    let diff = weighed(&one, &other, &both);
    assert_eq!(diff.differences[0].weight, Weight::Misleads);
}
