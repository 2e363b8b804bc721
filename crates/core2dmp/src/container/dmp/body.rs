//! What follows the header: as the type says it, and as the bytes themselves say it.

use std::sync::Arc;

use super::bitmap::{self, BitmapBody, SummaryBody};
use super::header;
use super::place::{Placed, Placer};
use super::problem::{Problem, ProblemKind};
use super::ranges::{self, RangesBody};
use super::triage::{self, TriageBody};
use crate::format::bitmap::{TAG_DUMP, TAG_SUMMARY};
use crate::format::dump_values::{
    DUMP_TYPE_BITMAP_FULL, DUMP_TYPE_BITMAP_KERNEL, DUMP_TYPE_FULL, DUMP_TYPE_RANGES_ACTIVE,
    DUMP_TYPE_RANGES_FULL, DUMP_TYPE_RANGES_KERNEL, DUMP_TYPE_SUMMARY, DUMP_TYPE_TRIAGE,
};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::source::ReadAt;

/// What follows the header, read as the type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The runs' pages (type 1, and a type that was never set).
    Full,
    /// A bitmap with 32-bit counts, and pages (type 2).
    Summary(SummaryBody),
    /// Parts of virtual memory (type 4).
    Triage(TriageBody),
    /// A bitmap, and pages (types 5 and 6).
    Bitmap(BitmapBody),
    /// A table of ranges, and pages (types 8, 9 and 0xA).
    Ranges(RangesBody),
    /// Nothing: the file ends with the header, or in it.
    HeaderOnly,
    /// No type that a file can have, or bytes that do not begin as the type demands.
    Unknown,
}

/// What follows the header, by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyGuess {
    /// The runs' pages: nothing else fits, and the runs name some.
    Full,
    /// A bitmap with 32-bit counts.
    Summary,
    /// A bitmap.
    Bitmap {
        /// Of the kernel's memory: "SDMP".
        kernel: bool,
    },
    /// A table of ranges: types 8, 9 and 0xA have one layout, and the debugger reads each as any other.
    Ranges,
    /// Parts of virtual memory.
    Triage,
    /// No bytes.
    Nothing,
    /// Nothing that is known.
    Unknown,
}

impl BodyGuess {
    /// The type for a header in front of it; `None` if there is none.
    #[must_use]
    pub const fn dump_type(self) -> Option<u32> {
        Some(match self {
            Self::Full => DUMP_TYPE_FULL,
            Self::Summary => DUMP_TYPE_SUMMARY,
            Self::Bitmap { kernel: false } => DUMP_TYPE_BITMAP_FULL,
            Self::Bitmap { kernel: true } => DUMP_TYPE_BITMAP_KERNEL,
            Self::Ranges => DUMP_TYPE_RANGES_FULL,
            Self::Triage => DUMP_TYPE_TRIAGE,
            Self::Nothing | Self::Unknown => return None,
        })
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "the pages of the runs",
            Self::Summary => "a summary dump's bitmap and pages",
            Self::Bitmap { .. } => "a bitmap and pages",
            Self::Ranges => "a table of ranges and pages",
            Self::Triage => "a triage dump's parts",
            Self::Nothing => "nothing",
            Self::Unknown => "nothing that is known",
        }
    }
}

/// A header and the file that it is in: what a body is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) width: HeaderWidth,
    pub(super) header: &'a [u8],
    pub(super) source: &'a Arc<dyn ReadAt>,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) body: Body,
    pub(super) placed: Placed,
    pub(super) problems: Vec<Problem>,
}

impl Read {
    fn empty(body: Body) -> Self {
        Self {
            body,
            placed: Placed::default(),
            problems: Vec::new(),
        }
    }
}

impl Reader<'_> {
    fn start(&self) -> u64 {
        self.width.bytes() as u64
    }

    pub(super) fn number(&self, id: FieldId) -> Option<u64> {
        self.width.field(id)?.number(self.header)
    }

    /// As the header's type says.
    pub(super) fn declared(&self) -> Read {
        if self.source.size() <= self.start() {
            return Read::empty(Body::HeaderOnly);
        }
        // A type that was never set is taken for a full dump, by the debugger too.
        let kind = self
            .number(FieldId::DumpType)
            .unwrap_or(DUMP_TYPE_FULL.into());
        let as_kind = match u32::try_from(kind).unwrap_or(0) {
            DUMP_TYPE_FULL => BodyGuess::Full,
            DUMP_TYPE_SUMMARY => BodyGuess::Summary,
            DUMP_TYPE_TRIAGE => BodyGuess::Triage,
            DUMP_TYPE_BITMAP_FULL => BodyGuess::Bitmap { kernel: false },
            DUMP_TYPE_BITMAP_KERNEL => BodyGuess::Bitmap { kernel: true },
            DUMP_TYPE_RANGES_KERNEL | DUMP_TYPE_RANGES_ACTIVE | DUMP_TYPE_RANGES_FULL => {
                BodyGuess::Ranges
            }
            _ => return self.unknown_type(kind),
        };
        let mut read = self.read(as_kind).unwrap_or_else(|problem| {
            let mut read = Read::empty(Body::Unknown);
            read.problems.push(*problem);
            read
        });
        self.space(&mut read);
        read
    }

    fn unknown_type(&self, kind: u64) -> Read {
        let mut read = Read::empty(Body::Unknown);
        let field = self.width.field(FieldId::DumpType);
        read.problems.push(Problem::new(
            ProblemKind::DumpType,
            "DumpType",
            field.map_or(0, |field| field.offset as u64),
            "1, 2, 4, 5, 6, 8, 9 or 10",
            kind.to_string(),
        ));
        read
    }

    /// As a body of this kind; an error if it does not begin as one.
    pub(super) fn read(&self, kind: BodyGuess) -> Result<Read, Box<Problem>> {
        let (source, at) = (&**self.source, self.start());
        let mut problems = Vec::new();
        let unreadable = |error: std::io::Error| {
            Box::new(Problem::new(
                ProblemKind::Unreadable,
                "body",
                at,
                kind.name(),
                error.to_string(),
            ))
        };
        let (body, placed) = match kind {
            BodyGuess::Full => (Body::Full, self.full(&mut problems)),
            BodyGuess::Summary => {
                let header = bitmap::summary_header(source, at, self.width).map_err(unreadable)?;
                let mut body = header
                    .filter(|header| header.tag == TAG_SUMMARY)
                    .ok_or_else(|| self.no_tag("\"SDMP\""))?;
                let placed = body.bitmap.read(source, &mut problems);
                (Body::Summary(body), placed)
            }
            BodyGuess::Bitmap { .. } => {
                let header = bitmap::bitmap_header(source, at).map_err(unreadable)?;
                let mut body = header
                    .filter(|header| bitmap::is_tag(header.tag))
                    .ok_or_else(|| self.no_tag("\"FDMP\" or \"SDMP\""))?;
                let placed = body.bitmap.read(source, &mut problems);
                (Body::Bitmap(body), placed)
            }
            BodyGuess::Ranges => {
                let header = ranges::header(source, at).map_err(unreadable)?;
                let mut body = header.ok_or_else(|| self.no_tag("64, \"RDMP\", \"DUMP\""))?;
                let placed = body.read(source, &mut problems);
                (Body::Ranges(body), placed)
            }
            BodyGuess::Triage => {
                let block = triage::read(source, at, self.width).map_err(unreadable)?;
                let body = block.ok_or_else(|| self.no_tag("a triage dump's block"))?;
                body.problems(&mut problems);
                (Body::Triage(body), Placed::default())
            }
            BodyGuess::Nothing => (Body::HeaderOnly, Placed::default()),
            BodyGuess::Unknown => (Body::Unknown, Placed::default()),
        };
        Ok(Read {
            body,
            placed,
            problems,
        })
    }

    fn no_tag(&self, expected: &str) -> Box<Problem> {
        let mut first = [0; 8];
        let found = crate::source::fill_at(&**self.source, self.start(), &mut first);
        Box::new(Problem::new(
            ProblemKind::BodyTag,
            "body",
            self.start(),
            expected,
            match found {
                Ok(_) => format!("\"{}\"", first.escape_ascii()),
                Err(error) => error.to_string(),
            },
        ))
    }

    /// The runs' pages, in the order of the table.
    fn full(&self, problems: &mut Vec<Problem>) -> Placed {
        let mut placer = Placer::new(self.start(), self.source.size());
        for run in header::declared_runs(self.width, self.header) {
            if run.set {
                placer.range(run.first, run.count);
            }
        }
        let placed = placer.finish();
        let table = self.width.field(FieldId::Runs);
        let at = table.map_or(0, |table| table.offset as u64);
        placed.problems("runs of the header", at, problems);
        placed
    }

    /// The file against the body; and `RequiredDumpSpace`, where the debugger goes by it.
    fn space(&self, read: &mut Read) {
        let size = self.source.size();
        let end = end(&read.body, &read.placed, size);
        if end > size {
            read.problems.push(Problem::new(
                ProblemKind::BodyCutShort,
                "file",
                size,
                format!("{end:#x} bytes, where the body ends"),
                format!("{size:#x}"),
            ));
        }
        if matches!(read.body, Body::Summary(_)) {
            self.summary_runs(&mut read.problems);
        }
        let goes_by_it = matches!(read.body, Body::Summary(_) | Body::Bitmap(_));
        let space = self.number(FieldId::RequiredDumpSpace);
        if let Some(space) = space.filter(|space| goes_by_it && *space < end) {
            let field = self.width.field(FieldId::RequiredDumpSpace);
            read.problems.push(Problem::new(
                ProblemKind::RequiredSpace,
                "RequiredDumpSpace",
                field.map_or(0, |field| field.offset as u64),
                format!("at least {end:#x}, where the body ends"),
                format!("{space:#x}"),
            ));
        }
    }

    /// Type 2 has no use for the header's runs, and the debugger refuses it without any.
    fn summary_runs(&self, problems: &mut Vec<Problem>) {
        let runs = header::declared_runs(self.width, self.header);
        if runs.iter().any(|run| run.frames().is_some()) {
            return;
        }
        let field = self.width.field(FieldId::NumberOfRuns);
        problems.push(Problem::new(
            ProblemKind::RunCount,
            "NumberOfRuns",
            field.map_or(0, |field| field.offset as u64),
            "at least one run",
            "none",
        ));
    }

    /// What the bytes behind the header are.
    pub(super) fn guess(&self) -> BodyGuess {
        let (source, at) = (&**self.source, self.start());
        let size = source.size();
        if size <= at {
            return BodyGuess::Nothing;
        }
        if let Ok(Some(_)) = ranges::header(source, at) {
            return BodyGuess::Ranges;
        }
        if let Some(guess) = self.guess_bitmap(size) {
            return guess;
        }
        match triage::read(source, at, self.width) {
            Ok(Some(body)) if body.is_sound() => return BodyGuess::Triage,
            _ => {}
        }
        let runs = header::declared_runs(self.width, self.header);
        if !runs.is_empty() && runs.iter().any(|run| run.frames().is_some()) {
            BodyGuess::Full
        } else {
            BodyGuess::Unknown
        }
    }

    /// One of the two bitmaps: one of the tags, and numbers that can be; or none, and as many bits as pages.
    fn guess_bitmap(&self, size: u64) -> Option<BodyGuess> {
        let (source, at) = (&**self.source, self.start());
        let mut bitmap = bitmap::bitmap_header(source, at).ok()??;
        let marked = bitmap::is_tag(bitmap.tag) || bitmap.second_tag == TAG_DUMP;
        if !marked {
            let kernel = self.number(FieldId::DumpType) == Some(DUMP_TYPE_BITMAP_KERNEL.into());
            let proven = bitmap.bitmap.is_sound(size) && bitmap.bitmap.is_counted(source);
            return proven.then_some(BodyGuess::Bitmap { kernel });
        }
        if bitmap.bitmap.is_sound(size) {
            return Some(BodyGuess::Bitmap {
                kernel: bitmap.tag == TAG_SUMMARY,
            });
        }
        let summary = bitmap::summary_header(source, at, self.width).ok()??;
        if summary.bitmap.is_sound(size) {
            return Some(BodyGuess::Summary);
        }
        // Damaged: with only a tag, the most frequent kind that has it is assumed.
        bitmap::is_tag(bitmap.tag).then_some(BodyGuess::Bitmap {
            kernel: bitmap.tag == TAG_SUMMARY,
        })
    }
}

/// Where a body ends.
pub(super) fn end(body: &Body, placed: &Placed, size: u64) -> u64 {
    match body {
        Body::Full => placed.end,
        Body::Summary(body) => body.bitmap.end,
        Body::Bitmap(body) => body.bitmap.end,
        Body::Ranges(body) => body.end,
        Body::Triage(body) => body.size_of_dump,
        Body::HeaderOnly | Body::Unknown => size,
    }
}
