//! The header of a Windows dump, field by field, and the names of what is in it.
//!
//! Both headers, of 32 and of 64 bits, are tables: [`HeaderWidth::of`] tells which one some bytes are, and
//! [`HeaderWidth::fields`] lists its fields by offset. A [`Field`] reads itself with [`Field::value`]; what Windows
//! never set is [`FieldValue::NotSet`], not a number.
//!
//! ```
//! use core2dmp::header::{FieldId, FieldValue, HeaderWidth, dump_type_name, stop_codes};
//!
//! let mut header = b"PAGE".repeat(0x2000 / 4);
//! header[4..8].copy_from_slice(b"DU64");
//! header[0x38..0x3c].copy_from_slice(&0xd1_u32.to_le_bytes());
//!
//! let width = HeaderWidth::of(&header).ok_or("no header")?;
//! let value = |id| width.field(id).map(|field| field.value(&header));
//! assert_eq!(value(FieldId::BugCheckCode), Some(FieldValue::Number(0xd1)));
//! assert_eq!(value(FieldId::BootId), Some(FieldValue::NotSet));
//!
//! let stop = stop_codes::find(0xd1).ok_or("unknown stop code")?;
//! assert_eq!(stop.name, "DRIVER_IRQL_NOT_LESS_OR_EQUAL");
//! assert_eq!(dump_type_name(1), Some("full"));
//! # Ok::<(), &str>(())
//! ```
//!
//! | you want | use |
//! |---|---|
//! | a field's place, kind and value | [`Field`], [`FieldId`], [`FieldKind`], [`FieldValue`] |
//! | what its number is called | [`Notation`], [`dump_type_name`], [`machine_name`], [`ATTRIBUTES`], [`SUITES`] |
//! | what a stop code and its parameters mean | [`stop_codes`] |
//! | the registers in `ContextRecord`, or in a processor's PRCB | [`ContextAmd64`], [`ContextArm64`], [`ContextX86`] |
//! | a processor's control registers and tables | [`SpecialAmd64`], [`SpecialX86`] |
//!
//! Contexts are structures of [`zerocopy`]: `ContextAmd64::ref_from_bytes` reads one without a copy.
//!
//! The sources of the layouts and the names are in the files that define them, under `format/`.

pub use crate::format::context::{
    ContextAmd64, ContextArm64, ContextX86, Descriptor64, SpecialAmd64, SpecialX86,
};
pub use crate::format::dump_values::{
    ATTRIBUTES, DUMP_TYPE_AUTOMATIC, DUMP_TYPE_BITMAP_FULL, DUMP_TYPE_BITMAP_KERNEL,
    DUMP_TYPE_FULL, DUMP_TYPE_HEADER, DUMP_TYPE_RANGES_ACTIVE, DUMP_TYPE_RANGES_FULL,
    DUMP_TYPE_RANGES_KERNEL, DUMP_TYPE_SUMMARY, DUMP_TYPE_TRIAGE, MACHINE_ARM64, MACHINE_X64,
    MACHINE_X86, SUITES, dump_type_name, machine_name,
};
pub use crate::format::header_fields::{
    Field, FieldId, FieldKind, FieldValue, HeaderWidth, Notation,
};
pub use crate::format::stop_codes;
