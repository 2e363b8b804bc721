//! From facts to segments.
//!
//! ```text
//! type 1     header | run | run | ...               at most 42 runs (32 bit: 86); an absent frame is zeros
//! type 5, 6  header | tags, counts, bitmap | pages  any number of runs; an absent frame is absent
//! ```

mod active;
mod bitmap;
mod kernel;
mod loss;
mod pages;
mod root;

use std::fmt;

use super::header;
use super::patch::{Patch, PatchSet};
use crate::address::PAGE_SIZE;
use crate::container::{Guest, LeftOut};
use crate::error::{Error, Result};
use crate::format::dump_values::{DUMP_TYPE_BITMAP_FULL, DUMP_TYPE_BITMAP_KERNEL, DUMP_TYPE_FULL};
use crate::format::{dump32, dump64};
use crate::image::{Image, Segment, SegmentData};
use crate::memory::Frames;
use crate::windows::{ContextPolicy, CrashState, Windows};

pub(crate) use pages::PatchedPages;
pub use root::HeaderRoot;

/// Missing ranges that a plan lists one by one.
const MAX_MISSING_RANGES: usize = 64;
/// A full dump writes zeros for frames that the container lacks. Where Windows counts more than this many bytes, and
/// more than so many times what the container holds, its count is no longer believed.
const PLAUSIBLE_BYTES: u64 = 64 << 30;
const PLAUSIBLE_TIMES: u64 = 16;

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
    /// Where each processor stood, which of them crashed, and by which exception.
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

    fn miss(&mut self, frames: Frames) {
        self.missing.frames = self.missing.frames.saturating_add(frames.count);
        if self.missing.ranges.len() < MAX_MISSING_RANGES {
            self.missing.ranges.push(frames);
        }
    }

    fn set_header(&mut self, header: &[u8]) {
        let place = self.image.bytes_mut(0);
        debug_assert_eq!(place.len(), header.len(), "the header's place");
        if place.len() == header.len() {
            place.copy_from_slice(header);
        }
    }
}

/// Plans a dump.
///
/// # Errors
/// [`Error::TooManyRuns`] if the header of a full dump cannot name all runs, [`Error::ImplausibleMemory`] if it would
/// be zeros, [`Error::FramesMissing`] if `strict` and the container lacks some, [`Error::TooMany`] if a bitmap would be
/// too long.
pub fn plan(guest: &Guest, windows: &Windows, options: &PlanOptions) -> Result<Plan> {
    let crash = windows.crash_state(guest, options.contexts);
    plan_with(guest, windows, crash, options)
}

/// Plans a dump whose processors stood so, as [`Windows::crash_state`] found before; `options.contexts` has no say.
///
/// # Errors
/// As of [`plan`].
pub fn plan_with(
    guest: &Guest,
    windows: &Windows,
    crash: CrashState,
    options: &PlanOptions,
) -> Result<Plan> {
    let (dump_type, why) = choose(guest, windows, options.kind);
    let runs = &windows.runs.value;
    if dump_type == DUMP_TYPE_FULL {
        plausible(guest, runs)?;
    }
    let (mut plan, patches) = start(guest, windows, crash, (dump_type, runs), options);
    plan.warnings.extend(why);
    if dump_type == DUMP_TYPE_FULL {
        let limit = most_runs(windows);
        if runs.len() > limit {
            return Err(Error::TooManyRuns {
                found: runs.len(),
                limit,
            });
        }
        for run in runs {
            pages::run(&mut plan, guest, *run, &patches.pages);
        }
    } else {
        let frames = match options.kind {
            DumpKind::Kernel => kernel::frames(&mut plan, guest, windows, options)?,
            DumpKind::Active => active::frames(&mut plan, guest, windows),
            _ => runs.clone(),
        };
        bitmap::body(&mut plan, guest, &frames, &patches.pages)?;
    }
    if options.strict && plan.missing.frames > 0 {
        return Err(missing_error(&plan));
    }
    // What was left out on purpose is no loss.
    if guest.hints.left_out.is_none() {
        let loss = loss::warning(guest, runs, &plan.missing);
        plan.warnings.extend(loss);
    }
    pages::outside(&mut plan, &patches.pages);
    plan.set_header(&header::build(guest, windows, &plan));
    Ok(plan)
}

/// Whether zeros for what is missing can be meant: a guest that counts 2^52 frames would fill any disk.
fn plausible(guest: &Guest, runs: &[Frames]) -> Result<()> {
    let counted = Frames::total(runs);
    let held = guest.memory.frame_count();
    if counted.saturating_mul(PAGE_SIZE) > PLAUSIBLE_BYTES
        && counted > held.saturating_mul(PLAUSIBLE_TIMES)
    {
        return Err(Error::ImplausibleMemory { counted, held });
    }
    Ok(())
}

/// The type, and why it is not the one that everybody expects.
fn choose(guest: &Guest, windows: &Windows, kind: DumpKind) -> (u32, Option<String>) {
    let runs = &windows.runs.value;
    match kind {
        DumpKind::Full => (DUMP_TYPE_FULL, None),
        DumpKind::Bitmap | DumpKind::Active => (DUMP_TYPE_BITMAP_FULL, None),
        DumpKind::Kernel => (DUMP_TYPE_BITMAP_KERNEL, None),
        DumpKind::Auto => {
            if let Some(left_out) = guest.hints.left_out
                && pages::lacks_any(guest, runs)
            {
                let (kind, what) = match left_out {
                    LeftOut::User => (DUMP_TYPE_BITMAP_KERNEL, "the kernel's memory alone"),
                    LeftOut::Some => (DUMP_TYPE_BITMAP_FULL, "some of the memory"),
                };
                let why = format!(
                    "the source holds {what}: a bitmap dump, in which the rest is absent; a full dump would hold zeros for it"
                );
                return (kind, Some(why));
            }
            if let Err(error) = plausible(guest, runs) {
                let why = format!("a bitmap dump, in which what is missing is absent: {error}");
                return (DUMP_TYPE_BITMAP_FULL, Some(why));
            }
            if loss::is_large(loss::missing(guest, runs), loss::counted(runs)) {
                let why = "a bitmap dump, in which what is missing is absent; --type full writes zeros for it";
                return (DUMP_TYPE_BITMAP_FULL, Some(why.to_owned()));
            }
            let limit = most_runs(windows);
            if runs.len() <= limit {
                return (DUMP_TYPE_FULL, None);
            }
            let found = runs.len();
            let why = format!(
                "a bitmap dump: memory is in {found} runs, and the header of a full dump has room for {limit}"
            );
            (DUMP_TYPE_BITMAP_FULL, Some(why))
        }
    }
}

/// Runs that a header has room for.
const fn most_runs(windows: &Windows) -> usize {
    if windows.mode.is_64bit() {
        dump64::MAX_RUNS
    } else {
        dump32::MAX_RUNS
    }
}

/// The header that describes a body of these runs and this size, and the pages of it that have to differ.
pub(crate) fn describe(
    guest: &Guest,
    windows: &Windows,
    runs: &[Frames],
    size: u64,
) -> (Plan, PatchedPages) {
    let options = PlanOptions::default();
    let crash = windows.crash_state(guest, options.contexts);
    let (mut plan, patches) = start(guest, windows, crash, (DUMP_TYPE_FULL, runs), &options);
    plan.image
        .push_zeros(size.saturating_sub(plan.header_bytes));
    plan.set_header(&header::build(guest, windows, &plan));
    (plan, patches.pages)
}

/// What a debugger that walks four levels of page tables does not see of a system with five.
fn five_levels(guest: &Guest, windows: &Windows) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(pml4) = windows.four_levels(&guest.memory) {
        warnings.push(format!(
            "five levels of page tables: WinDbg walks four, so DirectoryTableBase is the PML4 of the kernel's addresses, \
             {pml4}; user addresses and a change of process (.process) do not work in it"
        ));
    }
    let beyond = windows.beyond_four_levels();
    if !beyond.is_empty() {
        warnings.push(format!(
            "WinDbg cannot read {}: the address needs more than 48 bits",
            beyond.join(", ")
        ));
    }
    warnings
}

/// A plan with room for the header and nothing behind it.
fn start(
    guest: &Guest,
    windows: &Windows,
    crash: CrashState,
    (dump_type, runs): (u32, &[Frames]),
    options: &PlanOptions,
) -> (Plan, PatchSet) {
    let header_bytes = if windows.mode.is_64bit() {
        dump64::SIZE as u64
    } else {
        dump32::SIZE as u64
    };
    let mut warnings = five_levels(guest, windows);
    let patches = pages::patches(guest, windows, &crash.contexts, &mut warnings);
    let mut plan = Plan {
        image: Image::new(),
        header_bytes,
        dump_type,
        runs: runs.to_vec(),
        frames: 0,
        missing: Missing::default(),
        left_out: 0,
        patches: patches.list.clone(),
        root: HeaderRoot::choose(guest, windows, &crash),
        crash,
        warnings,
    };
    plan.image.set_salvage(options.salvage);
    plan.image
        .reserve(usize::try_from(header_bytes).unwrap_or(0));
    (plan, patches)
}

fn missing_error(plan: &Plan) -> Error {
    Error::FramesMissing {
        missing: plan.missing.frames,
        total: Frames::total(&plan.runs),
        first: plan
            .missing
            .ranges
            .first()
            .map_or_else(Default::default, |range| range.first.gpa()),
    }
}
