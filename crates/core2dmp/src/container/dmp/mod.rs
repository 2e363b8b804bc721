//! Windows crash dumps as containers: every type, both widths, and whatever is wrong with them.
//!
//! ```text
//! header --width, type--> body: full | bitmap | ranges | triage  -->  PhysicalMemory, facts, problems
//!            \--bytes behind it--> guess: what the body is, if the type is wrong
//! ```
//!
//! [`DumpFile::open`] judges nothing: it succeeds for anything with a signature, and lists what was odd as
//! [`Problem`]s. As a container a dump gives its memory; the processors' registers are in that memory, and the
//! dump's header is one more source of facts.
//!
//! See docs/formats/dmp.md, and `format/dump64.rs`, `format/bitmap.rs`, `format/rdmp.rs` and
//! `format/triage.rs` for the sources.

mod bitmap;
mod body;
mod guest;
mod header;
mod place;
mod problem;
mod ranges;
mod triage;

use std::ops::Range;
use std::sync::Arc;

use self::body::{Read, Reader};
use super::Guest;
use crate::error::{Error, Place, Result};
use crate::format::dump_values::ATTRIBUTE_ENCRYPTED;
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};
use crate::format::u64_at;
use crate::memory::{Frames, PhysicalMemory};
use crate::source::{ReadAt, fill_at};

pub use bitmap::{BitmapBody, BitmapFacts, SummaryBody};
pub use body::{Body, BodyGuess};
pub use header::{DeclaredRun, declared_runs};
pub use problem::{Problem, ProblemKind};
pub use ranges::RangesBody;
pub use triage::{TriageBody, TriagePart};

pub(super) use guest::{MAGICS, TITLE, open, probe};

/// A dump file, opened.
#[derive(Debug)]
pub struct DumpFile {
    /// Which header it has.
    pub width: HeaderWidth,
    /// The header's bytes, as far as the file has them.
    pub header: Vec<u8>,
    /// Whether the file has all of them.
    pub header_complete: bool,
    /// Bytes of the file.
    pub size: u64,
    /// What follows the header, read as the type says.
    pub body: Body,
    /// The file.
    pub source: Arc<dyn ReadAt>,
    memory: PhysicalMemory,
    end: u64,
    guess: BodyGuess,
    problems: Vec<Problem>,
}

impl DumpFile {
    /// Whether a file that begins so is a dump: both tags, or one of them and a machine of that width. 64 bytes
    /// are enough.
    #[must_use]
    pub fn is_dump(head: &[u8]) -> bool {
        header::width(head).is_some()
    }

    /// Opens a dump, a bare header, or what is left of one.
    ///
    /// # Errors
    /// [`Error::Io`] if the header cannot be read, [`Error::Malformed`] if it is none.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let mut header = vec![0; HeaderWidth::Bits64.bytes()];
        let found = fill_at(&*source, 0, &mut header)
            .map_err(|e| Error::io("cannot read the dump's header", e))?;
        header.truncate(usize::try_from(found).unwrap_or(usize::MAX));
        let width = header::width(&header).ok_or_else(|| {
            let tags = header.get(..header.len().min(8)).unwrap_or_default();
            Error::malformed(
                "dump header",
                Place::Offset(0),
                "PAGEDU64 or PAGEDUMP",
                tags.escape_ascii().to_string(),
            )
        })?;
        header.truncate(width.bytes());
        let mut problems = Vec::new();
        header::problems(width, &header, &mut problems);
        let reader = Reader {
            width,
            header: &header,
            source: &source,
        };
        let Read {
            body,
            placed,
            problems: more,
        } = reader.declared();
        let guess = reader.guess();
        problems.extend(more);
        let size = source.size();
        Ok(Self {
            width,
            header_complete: header.len() == width.bytes(),
            size,
            end: body::end(&body, &placed, size),
            memory: PhysicalMemory::new(Arc::clone(&source), placed.runs),
            body,
            source,
            guess,
            problems,
            header,
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            width: self.width,
            header: &self.header,
            source: &self.source,
        }
    }

    /// A field's number; `None` where it was never set ("PAGE") or the file ends before it.
    #[must_use]
    pub fn number(&self, id: FieldId) -> Option<u64> {
        self.width.field(id)?.number(&self.header)
    }

    /// A field, as its kind.
    #[must_use]
    pub fn value(&self, id: FieldId) -> Option<FieldValue> {
        Some(self.width.field(id)?.value(&self.header))
    }

    /// `DumpType`; `None` where it was never set, which the debugger takes for a full dump.
    #[must_use]
    pub fn dump_type(&self) -> Option<u64> {
        self.number(FieldId::DumpType)
    }

    /// `MachineImageType`.
    #[must_use]
    pub fn machine(&self) -> Option<u64> {
        self.number(FieldId::MachineImageType)
    }

    /// `NumberOfRuns`; `None` where it was never set, as in dumps that have a bitmap.
    #[must_use]
    pub fn number_of_runs(&self) -> Option<u64> {
        self.number(FieldId::NumberOfRuns)
    }

    /// `NumberOfPages`.
    #[must_use]
    pub fn number_of_pages(&self) -> Option<u64> {
        self.number(FieldId::NumberOfPages)
    }

    /// Runs that the header has room for.
    #[must_use]
    pub const fn most_runs(&self) -> usize {
        header::most_runs(self.width)
    }

    /// The slots that `NumberOfRuns` counts, at most those that fit, as stored.
    #[must_use]
    pub fn declared_runs(&self) -> Vec<DeclaredRun> {
        declared_runs(self.width, &self.header)
    }

    /// The header's runs without those that cannot be, in the order of the table.
    #[must_use]
    pub fn runs(&self) -> Vec<Frames> {
        let runs = self.declared_runs().into_iter();
        runs.filter_map(DeclaredRun::frames).collect()
    }

    /// Where the body should end: what lies behind was appended, what is missing was cut off.
    #[must_use]
    pub const fn body_end(&self) -> u64 {
        self.end
    }

    /// File offset behind which today's debugger reads nothing, where `RequiredDumpSpace` makes it less than the file:
    /// in dumps with a bitmap, which dbgeng 10.0.29507 reads through views of 16 MiB, each as long as that field says
    /// that the file goes on. `None`: it reads the whole file.
    #[must_use]
    pub fn readable_end(&self) -> Option<u64> {
        const VIEW: u64 = 16 << 20;
        let field = self.width.field(FieldId::RequiredDumpSpace)?;
        // Whether it was ever set is nothing that the debugger asks.
        let space = u64_at(&self.header, field.offset)?;
        match self.body {
            Body::Bitmap(_) | Body::Summary(_) if space < self.end.min(self.size) => Some(space),
            Body::Bitmap(_) if space > self.size && self.size >= VIEW => {
                Some(self.size & !(VIEW - 1))
            }
            _ => None,
        }
    }

    /// Pages that the body should have; 0 where it has none.
    #[must_use]
    pub fn declared_pages(&self) -> u64 {
        match &self.body {
            Body::Full => self.declared_runs().iter().fold(0, |sum, run| {
                sum.saturating_add(if run.set { run.count } else { 0 })
            }),
            Body::Summary(body) => body.bitmap.set_bits,
            Body::Bitmap(body) => body.bitmap.set_bits,
            Body::Ranges(body) => body.pages,
            Body::Triage(_) | Body::HeaderOnly | Body::Unknown => 0,
        }
    }

    /// The bitmap, of the types that have one.
    #[must_use]
    pub const fn bitmap(&self) -> Option<&BitmapFacts> {
        match &self.body {
            Body::Summary(body) => Some(&body.bitmap),
            Body::Bitmap(body) => Some(&body.bitmap),
            _ => None,
        }
    }

    /// What was odd, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Memory as the type says; frames beyond the end of the file are absent. The debugger sees less where
    /// `RequiredDumpSpace` cuts it off: see [`ProblemKind::RequiredSpace`].
    #[must_use]
    pub fn memory(&self) -> PhysicalMemory {
        self.memory.clone()
    }

    /// What it holds as a container: its memory, with its own header as a hint.
    #[must_use]
    pub fn guest(&self) -> Guest {
        guest::guest(self)
    }

    /// Memory as if the type were another; `None` if the bytes do not begin so, or hold no frames.
    #[must_use]
    pub fn memory_as(&self, kind: BodyGuess) -> Option<PhysicalMemory> {
        let read = self.body_as(kind)?;
        let memory = PhysicalMemory::new(Arc::clone(&self.source), read.placed.runs);
        (memory.frame_count() > 0).then_some(memory)
    }

    /// The body as if the type were another, and where it would end; `None` if the bytes do not begin so.
    #[must_use]
    pub fn reread(&self, kind: BodyGuess) -> Option<(Body, u64, Vec<Problem>)> {
        let read = self.body_as(kind)?;
        let end = body::end(&read.body, &read.placed, self.size);
        Some((read.body, end, read.problems))
    }

    fn body_as(&self, kind: BodyGuess) -> Option<Read> {
        self.reader().read(kind).ok()
    }

    /// What the bytes behind the header are, whatever the type says.
    #[must_use]
    pub const fn guess_body(&self) -> BodyGuess {
        self.guess
    }

    /// Whether the body is what the type says.
    #[must_use]
    pub const fn body_agrees(&self) -> bool {
        matches!(
            (&self.body, self.guess),
            (Body::Ranges(_), BodyGuess::Ranges)
                | (Body::Full, BodyGuess::Full)
                | (Body::Summary(_), BodyGuess::Summary)
                | (Body::Bitmap(_), BodyGuess::Bitmap { .. })
                | (Body::Triage(_), BodyGuess::Triage)
                | (Body::HeaderOnly, BodyGuess::Nothing)
        )
    }

    /// Whether the file is exactly the header and the pages of its runs.
    #[must_use]
    pub fn size_is_full(&self) -> bool {
        let read = self.body_as(BodyGuess::Full);
        read.is_some_and(|read| read.placed.pages > 0 && read.placed.end == self.size)
    }

    /// `Comment`, escaped; `None` where it was never set or is empty.
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        match self.value(FieldId::Comment)? {
            FieldValue::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The bytes behind the body: secondary data, or what somebody appended.
    #[must_use]
    pub fn trailing(&self) -> Option<Range<u64>> {
        let start = self.end.max(self.width.bytes() as u64);
        (start < self.size).then_some(start..self.size)
    }

    /// Whether the bytes behind the body begin as blobs that Windows' callbacks add.
    #[must_use]
    pub fn has_blobs(&self) -> bool {
        let mut tag = [0; 8];
        let read = self
            .trailing()
            .map(|range| fill_at(&*self.source, range.start, &mut tag));
        matches!(read, Some(Ok(8))) && tag == *b"DumpBlob"
    }

    /// Whether `Attributes` says that the pages are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.number(FieldId::Attributes)
            .is_some_and(|bits| bits & u64::from(ATTRIBUTE_ENCRYPTED) != 0)
    }
}
