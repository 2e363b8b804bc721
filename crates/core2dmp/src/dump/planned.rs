//! A dump that is planned and not yet written: what was asked for, and what was decided.

use std::fmt;

use super::patch::Patch;
use super::plan::HeaderRoot;
use crate::format::dump_values::DUMP_TYPE_FULL;
use crate::image::{Image, Segment, SegmentData};
use crate::memory::Frames;
use crate::windows::{ContextPolicy, CrashState};

/// Missing ranges that a plan lists one by one.
const MAX_MISSING_RANGES: usize = 64;

/// Which dump is planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DumpKind {
    /// Full; a bitmap where a full dump cannot be expressed, or would invent what its source left out or lacks.
    #[default]
    Auto,
    /// Type 1: the runs that Windows counts; frames that the container lacks are zeros.
    Full,
    /// Type 5: the frames that Windows counts and the container has, named by a bitmap.
    Bitmap,
    /// Type 5, less the frames that are free or zeroed.
    Active,
    /// Type 6: the frames that the kernel's half of the page tables reaches, and the tables.
    Kernel,
}

/// A process whose user memory a kernel dump keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// By its number.
    Pid(u64),
    /// By its image's name, in any case; all processes of that name.
    Name(String),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What the user may choose: `PlanOptions::default().kind(DumpKind::Kernel)`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Which dump.
    pub kind: DumpKind,
    /// Processes whose user memory a kernel dump keeps.
    pub keep: Vec<Keep>,
    /// Refuse to plan a dump in which frames that Windows counts are missing.
    pub strict: bool,
    /// Which registers the processors get.
    pub contexts: ContextPolicy,
    /// Let the writer put zeros in the place of pages that the container holds corrupt, and list them.
    pub salvage: bool,
}

impl PlanOptions {
    /// Sets [`kind`](Self#structfield.kind).
    #[must_use]
    pub fn kind(mut self, kind: DumpKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets [`keep`](Self#structfield.keep).
    #[must_use]
    pub fn keep(mut self, keep: Vec<Keep>) -> Self {
        self.keep = keep;
        self
    }

    /// Sets [`strict`](Self#structfield.strict).
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sets [`contexts`](Self#structfield.contexts).
    #[must_use]
    pub fn contexts(mut self, contexts: ContextPolicy) -> Self {
        self.contexts = contexts;
        self
    }

    /// Sets [`salvage`](Self#structfield.salvage).
    #[must_use]
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }
}

/// A dump file that has not been written yet.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub struct Plan {
    /// The file; the header is its first segment.
    pub image: Image,
    /// Bytes of the header.
    pub header_bytes: u64,
    /// `DumpType`.
    pub dump_type: u32,
    /// The runs that Windows counts; in the header, if they fit.
    pub runs: Vec<Frames>,
    /// Frames whose pages the dump holds.
    pub frames: u64,
    /// Frames that Windows counts and the container lacks.
    pub missing: Missing,
    /// Frames that the container has and the dump does not, by its type.
    pub left_out: u64,
    /// Where the dump differs from the guest's memory.
    pub patches: Vec<Patch>,
    /// Where each processor was, which of them crashed, and by which exception.
    pub crash: CrashState,
    /// The page tables that the header names.
    pub root: HeaderRoot,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Frames that the container lacks: zeros in a full dump, absent in all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub frames: u64,
    /// The first ranges.
    pub ranges: Vec<Frames>,
}

impl Plan {
    /// The dump's header.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        match self.image.segments().first() {
            Some(Segment {
                data: SegmentData::Bytes(bytes),
                ..
            }) => bytes,
            _ => &[],
        }
    }

    /// Whether frames that the container lacks are zeros in the dump; else they are absent.
    #[must_use]
    pub const fn writes_missing(&self) -> bool {
        self.dump_type == DUMP_TYPE_FULL
    }

    pub(super) fn miss(&mut self, frames: Frames) {
        self.missing.frames = self.missing.frames.saturating_add(frames.count);
        if self.missing.ranges.len() < MAX_MISSING_RANGES {
            self.missing.ranges.push(frames);
        }
    }

    pub(super) fn set_header(&mut self, header: &[u8]) {
        let place = self.image.bytes_mut(0);
        debug_assert_eq!(place.len(), header.len(), "the header's place");
        if place.len() == header.len() {
            place.copy_from_slice(header);
        }
    }
}
