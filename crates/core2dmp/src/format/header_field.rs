//! A field of a dump header: its name, place and notation, and what it holds in a header's bytes.

use super::dump_values;
use super::{u16_at, u32_at, u64_at};

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

/// What a field's number is called, besides its value.
#[derive(Debug, Clone, Copy)]
pub enum Notation {
    /// Nothing: the value says it all.
    Plain,
    /// A name for the value.
    Name(fn(u32) -> Option<&'static str>),
    /// Names for its bits.
    Bits(&'static [(u32, &'static str)]),
    /// A number of bytes.
    Size,
    /// The same number in hexadecimal, beside the date or the duration.
    Raw,
    /// What the stop code says of its parameter with this index.
    StopParameter(usize),
}

/// A field of one header.
#[derive(Debug, Clone, Copy)]
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
    /// What a value is called.
    pub notation: Notation,
}

impl PartialEq for Field {
    /// A field is its name at its place; the rest follows from the table.
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.offset) == (other.id, other.offset)
    }
}

impl Eq for Field {}

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

    /// Whether anything but Windows' filling, "PAGE", is there.
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
