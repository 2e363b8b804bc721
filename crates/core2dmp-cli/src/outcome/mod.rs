//! What came of a command, finished: text and JSON are made of it, and it is never changed while it is shown.

use std::path::PathBuf;

use core2dmp::audit::AgainstCore;
use core2dmp::audit::check::{CheckReport, Severity};
use core2dmp::audit::diff::{ByteDifference, HeaderDiff};
use core2dmp::audit::repair;
use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::Plan;
use core2dmp::export::Export;
use core2dmp::image::Image;
use core2dmp::memory::compare::MemoryDiff;
use core2dmp::windows::{CrashState, Windows};
use core2dmp::write::in_place::reshape::{Consumed, Cost};

use crate::message::Failure;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to complain of.
    Done,
    /// A dump has findings, two dumps differ, or something is left after a repair.
    Findings,
}

/// Of `convert`: as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    pub(crate) guest: Option<Guest>,
    pub(crate) windows: Option<Windows>,
    pub(crate) made: Option<Made>,
    pub(crate) written: Option<Written>,
    pub(crate) in_place: Option<InPlace>,
    /// What earlier runs left; it was reported when it was found.
    pub(crate) leftovers: Vec<String>,
    /// Why it went no further.
    pub(crate) failure: Option<Failure>,
}

impl Converted {
    /// The same, ended by a failure.
    pub(crate) fn failed(self, failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..self
        }
    }
}

/// What was planned.
#[derive(Debug)]
pub(crate) enum Made {
    Dump(Box<Plan>),
    Export(Export),
}

impl Made {
    /// The file-to-be.
    pub(crate) const fn image(&self) -> &Image {
        match self {
            Self::Dump(plan) => &plan.image,
            Self::Export(export) => &export.image,
        }
    }
}

/// What is on the disk afterwards.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The file, or its parts; none of a stream.
    pub(crate) files: Vec<PathBuf>,
    /// Checksums of a stream, or the files that they were written to.
    pub(crate) sums: Vec<(&'static str, String)>,
    /// What could not be written as it was, and sources that changed meanwhile.
    pub(crate) warnings: Vec<String>,
}

/// What was, or would be, done in place.
#[derive(Debug)]
pub(crate) struct InPlace {
    pub(crate) cost: Cost,
    /// `None` in a dry run.
    pub(crate) done: Option<Consumed>,
}

/// Of `info`.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) guest: Guest,
    pub(crate) dump: Option<DumpFile>,
    pub(crate) found: Result<Found, Failure>,
}

/// Windows, and the dump that would be made of it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) windows: Windows,
    pub(crate) crash: CrashState,
    pub(crate) plan: Option<Plan>,
}

/// Of `check`.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) dump: DumpFile,
    pub(crate) report: CheckReport,
    pub(crate) deep: Option<Deep>,
}

/// A dump against its core.
#[derive(Debug)]
pub(crate) struct Deep {
    /// The core, as it was given.
    pub(crate) core: String,
    /// Page by page.
    pub(crate) pages: AgainstCore,
}

impl Checked {
    /// Whether there is nothing to complain of.
    pub(crate) fn is_clean(&self) -> bool {
        let deep = self.deep.as_ref();
        self.report.findings.is_empty() && deep.is_none_or(|deep| deep.pages.is_clean())
    }

    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::of(self.is_clean())
    }
}

/// Of `diff`.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The first file, as it was given.
    pub(crate) old: String,
    /// What of it.
    pub(crate) old_what: &'static str,
    /// What stands behind its header.
    pub(crate) old_body: Option<String>,
    /// The second file.
    pub(crate) new: String,
    /// What of it.
    pub(crate) new_what: &'static str,
    /// What stands behind its header.
    pub(crate) new_body: Option<String>,
    /// The fields.
    pub(crate) fields: HeaderDiff,
    /// The bytes.
    pub(crate) bytes: Vec<ByteDifference>,
    /// The memories, if they were compared.
    pub(crate) memory: Option<MemoryDiff>,
    /// Lines of a listing that lie behind the header.
    pub(crate) behind: usize,
}

impl Comparison {
    /// Whether nothing differs.
    pub(crate) fn is_alike(&self) -> bool {
        let headers = self.bytes.is_empty() && self.fields.differences.is_empty();
        headers && self.memory.as_ref().is_none_or(MemoryDiff::is_alike)
    }

    /// The verdict on the headers, in words.
    pub(crate) fn words(&self) -> String {
        self.fields.verdict(self.memory.as_ref())
    }

    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::of(self.is_alike())
    }
}

/// Of `repair`: as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// The dump as it was, and what was planned for it.
    pub(crate) planned: Option<(DumpFile, repair::Repair)>,
    pub(crate) change: Change,
    /// Places that were put back.
    pub(crate) undone: Option<usize>,
    /// Why it went no further.
    pub(crate) failure: Option<Failure>,
}

/// Where the changes of a repair went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nowhere: there are none, or it was a dry run.
    #[default]
    Nothing,
    /// Into a new file.
    File(PathBuf),
    /// Into the dump; the old bytes are in this file.
    InPlace(PathBuf),
}

impl Repaired {
    /// Cosmetic findings that cannot be mended are no reason to stop a script.
    pub(crate) fn verdict(&self) -> Verdict {
        let left = self.planned.iter().flat_map(|(_, repair)| &repair.left);
        let mut hurting = left.filter(|left| left.severity != Severity::Cosmetic);
        Verdict::of(hurting.next().is_none())
    }
}

impl Verdict {
    const fn of(is_clean: bool) -> Self {
        if is_clean { Self::Done } else { Self::Findings }
    }
}
