//! What was odd about a dump's structure, as data.

use std::fmt;

use crate::error::Place;

/// What kind of oddity: what `check` and `repair` decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file ends inside the header.
    HeaderCutShort,
    /// `Signature` is not "PAGE".
    Signature,
    /// `ValidDump` fits no width.
    ValidDump,
    /// `DumpType` is none that a file can have.
    DumpType,
    /// What follows the header does not begin as the type demands.
    BodyTag,
    /// `NumberOfRuns` is more than fit.
    RunCount,
    /// A run is empty, was never set, or lies where no memory is.
    Run,
    /// Two runs or ranges name the same frame.
    Overlap,
    /// `NumberOfPages` is not the sum of the runs.
    PageCount,
    /// The offset of the first page is impossible.
    FirstPage,
    /// The bitmap is longer than the room for it.
    BitmapSize,
    /// The bitmap's header promises another number of set bits than there are.
    SetBits,
    /// The table of ranges is longer than the room for it, or its totals are wrong.
    RangeTable,
    /// `RequiredDumpSpace` ends before the last page, in a type where the debugger goes by it.
    RequiredSpace,
    /// The file ends before the body does.
    BodyCutShort,
    /// More scattered frames than this program keeps track of.
    TooScattered,
    /// A part of a triage dump lies outside it.
    TriagePart,
    /// A triage dump was not finished.
    TriageUnfinished,
    /// The file could not be read there.
    Unreadable,
}

/// Something that the format does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The field or structure.
    pub what: &'static str,
    /// Where it is.
    pub place: Place,
    /// What the format demands.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        what: &'static str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what,
            place: Place::Offset(offset),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            place,
            expected,
            found,
            ..
        } = self;
        write!(f, "{what} at {place}: expected {expected}, found {found}")
    }
}
