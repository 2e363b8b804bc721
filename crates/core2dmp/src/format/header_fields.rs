//! The fields of both dump headers, one row each: name, place, kind and notation.
//!
//! What reads, compares, explains and repairs headers goes through this table. The offsets are those of the members
//! of [`super::dump64`] and [`super::dump32`]. What a field means to a debugger is in the audit's table, one row each.

use std::mem::offset_of;
use std::sync::LazyLock;

use Notation::{Bits, Name, Plain, Raw, Size, StopParameter};

use super::dump_values::{self, self as values};
use super::dump32::Header32;
use super::dump64::Header64;
use super::stop_codes;

pub use super::header_field::{Field, FieldId, FieldKind, FieldValue, Notation};

/// A header of either width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderWidth {
    /// `DUMP_HEADER32`.
    Bits32,
    /// `DUMP_HEADER64`.
    Bits64,
}

/// Offset and size of a member.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: usize,
    bytes: usize,
}

/// Bytes of the member that a function picks.
const fn bytes_of<T, M>(_: fn(&T) -> &M) -> usize {
    size_of::<M>()
}

/// Bytes of an element of the array that a function picks.
const fn bytes_of_element<T, M, const N: usize>(_: fn(&T) -> &[M; N]) -> usize {
    size_of::<M>()
}

/// A row for both widths: id, name, kind, notation, the structures' member (`-`: that header has none).
struct Row {
    id: FieldId,
    name: &'static str,
    kind: FieldKind,
    notation: Notation,
    place64: Option<Place>,
    place32: Option<Place>,
}

macro_rules! place {
    ($header:ident, -) => { None };
    ($header:ident, [$array:ident; $index:literal]) => {{
        let bytes = bytes_of_element(|header: &$header| &header.$array);
        Some(Place { offset: offset_of!($header, $array) + $index * bytes, bytes })
    }};
    ($header:ident, $($member:ident).+) => {
        Some(Place {
            offset: offset_of!($header, $($member).+),
            bytes: bytes_of(|header: &$header| &header.$($member).+),
        })
    };
}

macro_rules! rows {
    (@row $id:ident $name:literal $kind:ident $notation:expr, [$($wide:tt)+], [$($narrow:tt)+]) => {
        Row {
            id: FieldId::$id,
            name: $name,
            kind: FieldKind::$kind,
            notation: $notation,
            place64: place!(Header64, $($wide)+),
            place32: place!(Header32, $($narrow)+),
        }
    };
    ($($id:ident $name:literal $kind:ident $notation:expr, $wide:tt $narrow:tt;)*) => {
        &[$(rows!(@row $id $name $kind $notation, $wide, $narrow)),*]
    };
}

#[rustfmt::skip]
static ROWS: &[Row] = rows! {
    Signature "Signature" Text Plain, [signature] [signature];
    ValidDump "ValidDump" Text Plain, [valid_dump] [valid_dump];
    MajorVersion "MajorVersion" Hex Name(values::flavour_name), [major_version] [major_version];
    MinorVersion "MinorVersion" Decimal Plain, [minor_version] [minor_version];
    DirectoryTableBase "DirectoryTableBase" Physical Plain, [directory_table_base] [directory_table_base];
    PfnDataBase "PfnDataBase" Virtual Plain, [pfn_database] [pfn_database];
    PsLoadedModuleList "PsLoadedModuleList" Virtual Plain, [ps_loaded_module_list] [ps_loaded_module_list];
    PsActiveProcessHead "PsActiveProcessHead" Virtual Plain, [ps_active_process_head] [ps_active_process_head];
    MachineImageType "MachineImageType" Hex Name(values::machine_name), [machine_image_type] [machine_image_type];
    NumberProcessors "NumberProcessors" Decimal Plain, [number_processors] [number_processors];
    BugCheckCode "BugCheckCode" Hex Name(stop_name), [bug_check_code] [bug_check_code];
    BugCheckParameter1 "BugCheckParameter1" Hex StopParameter(0),
        [[bug_check_parameters; 0]] [[bug_check_parameters; 0]];
    BugCheckParameter2 "BugCheckParameter2" Hex StopParameter(1),
        [[bug_check_parameters; 1]] [[bug_check_parameters; 1]];
    BugCheckParameter3 "BugCheckParameter3" Hex StopParameter(2),
        [[bug_check_parameters; 2]] [[bug_check_parameters; 2]];
    BugCheckParameter4 "BugCheckParameter4" Hex StopParameter(3),
        [[bug_check_parameters; 3]] [[bug_check_parameters; 3]];
    VersionUser "VersionUser" Text Plain, [version_user] [version_user];
    PaeEnabled "PaeEnabled" Decimal Name(values::pae_name), [-] [pae_enabled];
    KdSecondaryVersion "KdSecondaryVersion" Decimal Plain, [kd_secondary_version] [kd_secondary_version];
    KdDebuggerDataBlock "KdDebuggerDataBlock" Virtual Plain, [kd_debugger_data_block] [kd_debugger_data_block];
    NumberOfRuns "PhysicalMemoryBlock.NumberOfRuns" Decimal Plain, [number_of_runs] [number_of_runs];
    NumberOfPages "PhysicalMemoryBlock.NumberOfPages" Decimal Plain, [number_of_pages] [number_of_pages];
    Runs "PhysicalMemoryBlock.Run" Bytes Plain, [runs] [runs];
    ContextRecord "ContextRecord" Bytes Plain, [context_record] [context_record];
    ExceptionCode "Exception.ExceptionCode" Hex Name(stop_codes::exception_name), [exception.code] [exception.code];
    ExceptionFlags "Exception.ExceptionFlags" Hex Plain, [exception.flags] [exception.flags];
    ExceptionRecord "Exception.ExceptionRecord" Virtual Plain, [exception.record] [exception.record];
    ExceptionAddress "Exception.ExceptionAddress" Virtual Plain, [exception.address] [exception.address];
    ExceptionParameters "Exception.NumberParameters" Decimal Plain, [exception.parameters] [exception.parameters];
    ExceptionInformation "Exception.ExceptionInformation" Bytes Plain, [exception.information] [exception.information];
    DumpType "DumpType" Decimal Name(values::dump_type_name), [dump_type] [dump_type];
    RequiredDumpSpace "RequiredDumpSpace" Hex Size, [required_dump_space] [required_dump_space];
    SystemTime "SystemTime" Time Raw, [system_time] [system_time];
    Comment "Comment" Text Plain, [comment] [comment];
    SystemUpTime "SystemUpTime" Duration Raw, [system_up_time] [system_up_time];
    MiniDumpFields "MiniDumpFields" Hex Plain, [mini_dump_fields] [mini_dump_fields];
    SecondaryDataState "SecondaryDataState" Hex Plain, [secondary_data_state] [secondary_data_state];
    ProductType "ProductType" Decimal Name(values::product_name), [product_type] [product_type];
    SuiteMask "SuiteMask" Hex Bits(values::SUITES), [suite_mask] [suite_mask];
    WriterStatus "WriterStatus" Hex Name(values::writer_status_name), [writer_status] [writer_status];
    Attributes "Attributes" Hex Bits(values::ATTRIBUTES), [attributes] [attributes];
    BootId "BootId" Hex Plain, [boot_id] [boot_id];
};

fn stop_name(code: u32) -> Option<&'static str> {
    stop_codes::find(code).map(|stop| stop.name)
}

/// The rows that one width has, by offset.
fn fields(place: impl Fn(&Row) -> Option<Place>) -> Vec<Field> {
    let field = |row: &Row| {
        let Place { offset, bytes } = place(row)?;
        Some(Field {
            id: row.id,
            name: row.name,
            offset,
            bytes,
            kind: row.kind,
            notation: row.notation,
        })
    };
    let mut fields: Vec<Field> = ROWS.iter().filter_map(field).collect();
    fields.sort_by_key(|field| field.offset);
    fields
}

static FIELDS64: LazyLock<Vec<Field>> = LazyLock::new(|| fields(|row| row.place64));
static FIELDS32: LazyLock<Vec<Field>> = LazyLock::new(|| fields(|row| row.place32));

impl HeaderWidth {
    /// The width that `ValidDump` tells; `None` if the bytes are no header.
    #[must_use]
    pub fn of(header: &[u8]) -> Option<Self> {
        let tags = header.get(..8)?.split_at(4);
        match tags {
            (signature, valid) if signature == dump_values::SIGNATURE => {
                if valid == dump_values::VALID_DUMP64 {
                    Some(Self::Bits64)
                } else {
                    (valid == dump_values::VALID_DUMP32).then_some(Self::Bits32)
                }
            }
            _ => None,
        }
    }

    /// Bytes of the header.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bits32 => super::dump32::SIZE,
            Self::Bits64 => super::dump64::SIZE,
        }
    }

    /// Its fields.
    #[must_use]
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::Bits32 => &FIELDS32,
            Self::Bits64 => &FIELDS64,
        }
    }

    /// The field that a byte of the header belongs to.
    #[must_use]
    pub fn field_at(self, offset: usize) -> Option<&'static Field> {
        self.fields()
            .iter()
            .find(|field| field.offset <= offset && offset - field.offset < field.bytes)
    }

    /// One field; `None` if a header of this width has none.
    #[must_use]
    pub fn field(self, id: FieldId) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap() {
        for width in [HeaderWidth::Bits32, HeaderWidth::Bits64] {
            let mut end = 0;
            for field in width.fields() {
                assert!(field.offset >= end, "{field:?} overlaps the one before");
                end = field.offset + field.bytes;
            }
            assert!(end <= width.bytes());
        }
    }

    #[test]
    fn page_means_not_set() {
        let header: Vec<u8> = b"PAGE".repeat(0x2000 / 4);
        let field = |id| HeaderWidth::Bits64.field(id).unwrap();
        assert_eq!(field(FieldId::Attributes).number(&header), None);
        assert_eq!(field(FieldId::KdSecondaryVersion).number(&header), None);
        assert!(field(FieldId::Signature).is_set(&header));
    }
}
