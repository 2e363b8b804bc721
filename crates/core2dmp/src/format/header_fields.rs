//! The fields of both dump headers by name: what reads, compares, explains and repairs headers goes through
//! this table, so that a field's offset stands once for each width.
//!
//! The 64-bit offsets are those of [`super::dump64`], the 32-bit ones those of [`super::dump32`]; tests hold
//! them against each other.

use super::{dump_values, u16_at, u32_at, u64_at};

/// A field, whatever the header's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields' own names")]
pub enum FieldId {
    Signature,
    ValidDump,
    MajorVersion,
    MinorVersion,
    DirectoryTableBase,
    PfnDataBase,
    PsLoadedModuleList,
    PsActiveProcessHead,
    MachineImageType,
    NumberProcessors,
    BugCheckCode,
    BugCheckParameter1,
    BugCheckParameter2,
    BugCheckParameter3,
    BugCheckParameter4,
    VersionUser,
    PaeEnabled,
    KdSecondaryVersion,
    KdDebuggerDataBlock,
    NumberOfRuns,
    NumberOfPages,
    Runs,
    ContextRecord,
    ExceptionCode,
    ExceptionFlags,
    ExceptionRecord,
    ExceptionAddress,
    ExceptionParameters,
    ExceptionInformation,
    DumpType,
    RequiredDumpSpace,
    SystemTime,
    Comment,
    SystemUpTime,
    MiniDumpFields,
    SecondaryDataState,
    ProductType,
    SuiteMask,
    WriterStatus,
    Attributes,
    BootId,
}

/// How a field's bytes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A number to be read in hexadecimal.
    Hex,
    /// A count.
    Decimal,
    /// A virtual address.
    Virtual,
    /// A physical address.
    Physical,
    /// A FILETIME.
    Time,
    /// A duration in 100 ns.
    Duration,
    /// Text, padded with zeros.
    Text,
    /// Anything else.
    Bytes,
}

/// A field of one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Which.
    pub id: FieldId,
    /// The name in the SDK's headers.
    pub name: &'static str,
    /// From the start of the file.
    pub offset: usize,
    /// How many bytes.
    pub bytes: usize,
    /// How they are meant.
    pub kind: FieldKind,
}

/// A header of either width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderWidth {
    /// `DUMP_HEADER32`.
    Bits32,
    /// `DUMP_HEADER64`.
    Bits64,
}

macro_rules! fields {
    ($($id:ident $name:literal $offset:literal $bytes:literal $kind:ident;)*) => {
        &[$(Field {
            id: FieldId::$id,
            name: $name,
            offset: $offset,
            bytes: $bytes,
            kind: FieldKind::$kind,
        }),*]
    };
}

/// Fields of `DUMP_HEADER64`, by offset.
pub static FIELDS64: &[Field] = fields! {
    Signature "Signature" 0x0 4 Text;
    ValidDump "ValidDump" 0x4 4 Text;
    MajorVersion "MajorVersion" 0x8 4 Hex;
    MinorVersion "MinorVersion" 0xc 4 Decimal;
    DirectoryTableBase "DirectoryTableBase" 0x10 8 Physical;
    PfnDataBase "PfnDataBase" 0x18 8 Virtual;
    PsLoadedModuleList "PsLoadedModuleList" 0x20 8 Virtual;
    PsActiveProcessHead "PsActiveProcessHead" 0x28 8 Virtual;
    MachineImageType "MachineImageType" 0x30 4 Hex;
    NumberProcessors "NumberProcessors" 0x34 4 Decimal;
    BugCheckCode "BugCheckCode" 0x38 4 Hex;
    BugCheckParameter1 "BugCheckParameter1" 0x40 8 Hex;
    BugCheckParameter2 "BugCheckParameter2" 0x48 8 Hex;
    BugCheckParameter3 "BugCheckParameter3" 0x50 8 Hex;
    BugCheckParameter4 "BugCheckParameter4" 0x58 8 Hex;
    VersionUser "VersionUser" 0x60 32 Text;
    KdDebuggerDataBlock "KdDebuggerDataBlock" 0x80 8 Virtual;
    NumberOfRuns "PhysicalMemoryBlock.NumberOfRuns" 0x88 4 Decimal;
    NumberOfPages "PhysicalMemoryBlock.NumberOfPages" 0x90 8 Decimal;
    Runs "PhysicalMemoryBlock.Run" 0x98 672 Bytes;
    ContextRecord "ContextRecord" 0x348 3000 Bytes;
    ExceptionCode "Exception.ExceptionCode" 0xf00 4 Hex;
    ExceptionFlags "Exception.ExceptionFlags" 0xf04 4 Hex;
    ExceptionRecord "Exception.ExceptionRecord" 0xf08 8 Virtual;
    ExceptionAddress "Exception.ExceptionAddress" 0xf10 8 Virtual;
    ExceptionParameters "Exception.NumberParameters" 0xf18 4 Decimal;
    ExceptionInformation "Exception.ExceptionInformation" 0xf20 120 Bytes;
    DumpType "DumpType" 0xf98 4 Decimal;
    RequiredDumpSpace "RequiredDumpSpace" 0xfa0 8 Hex;
    SystemTime "SystemTime" 0xfa8 8 Time;
    Comment "Comment" 0xfb0 128 Text;
    SystemUpTime "SystemUpTime" 0x1030 8 Duration;
    MiniDumpFields "MiniDumpFields" 0x1038 4 Hex;
    SecondaryDataState "SecondaryDataState" 0x103c 4 Hex;
    ProductType "ProductType" 0x1040 4 Decimal;
    SuiteMask "SuiteMask" 0x1044 4 Hex;
    WriterStatus "WriterStatus" 0x1048 4 Hex;
    KdSecondaryVersion "KdSecondaryVersion" 0x104d 1 Decimal;
    Attributes "Attributes" 0x1050 4 Hex;
    BootId "BootId" 0x1054 4 Hex;
};

/// Fields of `DUMP_HEADER32`, by offset.
pub static FIELDS32: &[Field] = fields! {
    Signature "Signature" 0x0 4 Text;
    ValidDump "ValidDump" 0x4 4 Text;
    MajorVersion "MajorVersion" 0x8 4 Hex;
    MinorVersion "MinorVersion" 0xc 4 Decimal;
    DirectoryTableBase "DirectoryTableBase" 0x10 4 Physical;
    PfnDataBase "PfnDataBase" 0x14 4 Virtual;
    PsLoadedModuleList "PsLoadedModuleList" 0x18 4 Virtual;
    PsActiveProcessHead "PsActiveProcessHead" 0x1c 4 Virtual;
    MachineImageType "MachineImageType" 0x20 4 Hex;
    NumberProcessors "NumberProcessors" 0x24 4 Decimal;
    BugCheckCode "BugCheckCode" 0x28 4 Hex;
    BugCheckParameter1 "BugCheckParameter1" 0x2c 4 Hex;
    BugCheckParameter2 "BugCheckParameter2" 0x30 4 Hex;
    BugCheckParameter3 "BugCheckParameter3" 0x34 4 Hex;
    BugCheckParameter4 "BugCheckParameter4" 0x38 4 Hex;
    VersionUser "VersionUser" 0x3c 32 Text;
    PaeEnabled "PaeEnabled" 0x5c 1 Decimal;
    KdSecondaryVersion "KdSecondaryVersion" 0x5d 1 Decimal;
    KdDebuggerDataBlock "KdDebuggerDataBlock" 0x60 4 Virtual;
    NumberOfRuns "PhysicalMemoryBlock.NumberOfRuns" 0x64 4 Decimal;
    NumberOfPages "PhysicalMemoryBlock.NumberOfPages" 0x68 4 Decimal;
    Runs "PhysicalMemoryBlock.Run" 0x6c 688 Bytes;
    ContextRecord "ContextRecord" 0x320 1200 Bytes;
    ExceptionCode "Exception.ExceptionCode" 0x7d0 4 Hex;
    ExceptionFlags "Exception.ExceptionFlags" 0x7d4 4 Hex;
    ExceptionRecord "Exception.ExceptionRecord" 0x7d8 4 Virtual;
    ExceptionAddress "Exception.ExceptionAddress" 0x7dc 4 Virtual;
    ExceptionParameters "Exception.NumberParameters" 0x7e0 4 Decimal;
    ExceptionInformation "Exception.ExceptionInformation" 0x7e4 60 Bytes;
    Comment "Comment" 0x820 128 Text;
    Attributes "Attributes" 0x8a0 4 Hex;
    BootId "BootId" 0x8a4 4 Hex;
    DumpType "DumpType" 0xf88 4 Decimal;
    MiniDumpFields "MiniDumpFields" 0xf8c 4 Hex;
    SecondaryDataState "SecondaryDataState" 0xf90 4 Hex;
    ProductType "ProductType" 0xf94 4 Decimal;
    SuiteMask "SuiteMask" 0xf98 4 Hex;
    WriterStatus "WriterStatus" 0xf9c 4 Hex;
    RequiredDumpSpace "RequiredDumpSpace" 0xfa0 8 Hex;
    SystemUpTime "SystemUpTime" 0xfb8 8 Duration;
    SystemTime "SystemTime" 0xfc0 8 Time;
};

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
            Self::Bits32 => FIELDS32,
            Self::Bits64 => FIELDS64,
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

impl Field {
    /// The field's bytes in `header`.
    #[must_use]
    pub fn raw<'h>(&self, header: &'h [u8]) -> Option<&'h [u8]> {
        header.get(self.offset..)?.get(..self.bytes)
    }

    /// Its number; `None` for bytes and text, where the header is cut short, and where it was never set.
    #[must_use]
    pub fn number(&self, header: &[u8]) -> Option<u64> {
        if !self.is_set(header) {
            return None;
        }
        match self.bytes {
            1 => self.raw(header)?.first().copied().map(u64::from),
            2 => u16_at(header, self.offset).map(u64::from),
            4 => u32_at(header, self.offset).map(u64::from),
            8 => u64_at(header, self.offset),
            _ => None,
        }
    }

    /// Whether anything but Windows' filling, "PAGE", stands there.
    #[must_use]
    pub fn is_set(&self, header: &[u8]) -> bool {
        let tag = matches!(self.id, FieldId::Signature);
        let filled = |(n, byte): (usize, &u8)| {
            // The filling is aligned to the header, not to the field.
            dump_values::SIGNATURE.get(self.offset.wrapping_add(n) & 3) == Some(byte)
        };
        self.raw(header)
            .is_some_and(|raw| tag || !raw.iter().enumerate().all(filled))
    }
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// The header ends before it.
    Missing,
    /// Windows' filling: it was never set.
    NotSet,
    /// A number.
    Number(u64),
    /// Text, escaped, up to its zero.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Field {
    /// What the field holds in `header`.
    #[must_use]
    pub fn value(&self, header: &[u8]) -> FieldValue {
        let Some(raw) = self.raw(header) else {
            return FieldValue::Missing;
        };
        if !self.is_set(header) {
            return FieldValue::NotSet;
        }
        match (self.kind, self.number(header)) {
            (FieldKind::Text, _) => {
                let text = raw.split(|byte| *byte == 0).next().unwrap_or_default();
                FieldValue::Text(text.escape_ascii().to_string())
            }
            (_, Some(number)) => FieldValue::Number(number),
            (_, None) => FieldValue::Bytes(raw.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::super::{dump32::Header32, dump64::Header64};
    use super::*;

    #[test]
    fn offsets_agree_with_the_structures() {
        let at = |width: HeaderWidth, id| width.field(id).unwrap().offset;
        for (id, offset64, offset32) in [
            (
                FieldId::MachineImageType,
                offset_of!(Header64, machine_image_type),
                offset_of!(Header32, machine_image_type),
            ),
            (
                FieldId::KdDebuggerDataBlock,
                offset_of!(Header64, kd_debugger_data_block),
                offset_of!(Header32, kd_debugger_data_block),
            ),
            (
                FieldId::Runs,
                offset_of!(Header64, runs),
                offset_of!(Header32, runs),
            ),
            (
                FieldId::DumpType,
                offset_of!(Header64, dump_type),
                offset_of!(Header32, dump_type),
            ),
            (
                FieldId::SystemUpTime,
                offset_of!(Header64, system_up_time),
                offset_of!(Header32, system_up_time),
            ),
            (
                FieldId::Attributes,
                offset_of!(Header64, attributes),
                offset_of!(Header32, attributes),
            ),
            (
                FieldId::ExceptionAddress,
                offset_of!(Header64, exception) + 16,
                offset_of!(Header32, exception) + 12,
            ),
        ] {
            assert_eq!(at(HeaderWidth::Bits64, id), offset64, "{id:?}");
            assert_eq!(at(HeaderWidth::Bits32, id), offset32, "{id:?}");
        }
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
