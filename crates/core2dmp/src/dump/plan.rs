//! From facts to segments.

use std::collections::BTreeMap;

use super::header;
use super::patch::{Patch, PatchSet};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::container::Guest;
use crate::error::{Error, Result};
use crate::format::{dump32, dump64};
use crate::memory::{Backing, Frames};
use crate::windows::{ContextPolicy, Exception, Fact, ProcessorContext, Windows, contexts};

/// Missing ranges that a plan lists one by one.
const MAX_MISSING_RANGES: usize = 64;

/// What the user may choose.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Refuse to plan a dump in which frames that Windows counts are missing.
    pub strict: bool,
    /// Which registers the processors get.
    pub contexts: ContextPolicy,
    /// Let the writer put zeros in the place of pages that the container holds corrupt, and list them.
    pub salvage: bool,
}

/// A dump file that has not been written yet.
#[derive(Debug)]
#[must_use]
pub struct Plan {
    /// Everything in the file, in order; the header is the first segment.
    pub segments: Vec<Segment>,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the header.
    pub header_bytes: u64,
    /// The runs in the header.
    pub runs: Vec<Frames>,
    /// Frames that Windows counts and the container lacks.
    pub missing: Missing,
    /// Where the dump differs from the guest's memory.
    pub patches: Vec<Patch>,
    /// The registers of each processor, and whose they are.
    pub contexts: Vec<ProcessorContext>,
    /// The processor that crashed: the header's context is its.
    pub crashed_processor: Fact<u32>,
    /// The exception in the header.
    pub exception: Fact<Exception>,
    /// Pages that cannot be decoded become zeros, listed by the writer, instead of an error.
    pub salvage: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Frames that are zeros in the dump because the container lacks them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub frames: u64,
    /// The first ranges.
    pub ranges: Vec<Frames>,
}

/// Consecutive bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many.
    pub bytes: u64,
    /// Where they come from.
    pub data: SegmentData,
}

/// Where a segment's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentData {
    /// They are here.
    Bytes(Vec<u8>),
    /// They are in the container's file at this offset.
    Source {
        /// Of the first byte.
        offset: u64,
    },
    /// They are zero.
    Zeros,
    /// The memory's decoder makes them, page by page.
    Encoded {
        /// The decoder's number of the first page.
        index: u64,
    },
}

impl Plan {
    /// The dump's header.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        match self.segments.first() {
            Some(Segment {
                data: SegmentData::Bytes(bytes),
                ..
            }) => bytes,
            _ => &[],
        }
    }

    fn set_header(&mut self, header: Vec<u8>) {
        if let Some(first) = self.segments.first_mut() {
            first.data = SegmentData::Bytes(header);
        }
    }

    fn push(&mut self, bytes: u64, data: SegmentData) {
        self.size = self.size.saturating_add(bytes);
        if let Some(last) = self.segments.last_mut() {
            let continues = match (&last.data, &data) {
                (SegmentData::Source { offset: a }, SegmentData::Source { offset: b }) => {
                    a.saturating_add(last.bytes) == *b
                }
                (SegmentData::Encoded { index: a }, SegmentData::Encoded { index: b }) => {
                    a.saturating_add(last.bytes / PAGE_SIZE) == *b
                }
                (SegmentData::Zeros, SegmentData::Zeros) => true,
                _ => false,
            };
            if continues {
                last.bytes = last.bytes.saturating_add(bytes);
                return;
            }
        }
        self.segments.push(Segment { bytes, data });
    }
}

/// Plans a full dump.
///
/// # Errors
/// [`Error::TooManyRuns`] if the header cannot name all runs, [`Error::FramesMissing`] if `strict` and the
/// container lacks some.
pub fn plan(guest: &Guest, windows: &Windows, options: &PlanOptions) -> Result<Plan> {
    let limit = if windows.mode.is_64bit() {
        dump64::MAX_RUNS
    } else {
        dump32::MAX_RUNS
    };
    let runs = &windows.runs.value;
    if runs.len() > limit {
        return Err(Error::TooManyRuns {
            found: runs.len(),
            limit,
        });
    }
    let (mut plan, patches) = start(guest, windows, runs, options);
    for run in runs {
        body(&mut plan, guest, *run, &patches);
    }
    if options.strict && plan.missing.frames > 0 {
        return Err(missing_error(&plan));
    }
    outside(&mut plan, &patches);
    plan.set_header(header::build(guest, windows, &plan));
    Ok(plan)
}

/// Pages that differ from the guest's, by frame.
pub(super) type PatchedPages = BTreeMap<Pfn, Box<[u8; PAGE_BYTES]>>;

/// The header that describes a body of these runs and this size, and the pages of it that have to differ.
pub(super) fn describe(
    guest: &Guest,
    windows: &Windows,
    runs: &[Frames],
    size: u64,
) -> (Plan, PatchedPages) {
    let options = PlanOptions::default();
    let (mut plan, patches) = start(guest, windows, runs, &options);
    plan.size = size;
    plan.set_header(header::build(guest, windows, &plan));
    (plan, patches.pages)
}

/// A plan with room for the header and nothing behind it.
fn start(
    guest: &Guest,
    windows: &Windows,
    runs: &[Frames],
    options: &PlanOptions,
) -> (Plan, PatchSet) {
    let header_bytes = if windows.mode.is_64bit() {
        dump64::SIZE as u64
    } else {
        dump32::SIZE as u64
    };
    let mut warnings = Vec::new();
    let contexts = contexts(guest, windows, options.contexts);
    let patches = patches(guest, windows, &contexts, &mut warnings);
    let (crashed_processor, exception) = windows.crash(&guest.memory, &contexts);
    let mut plan = Plan {
        segments: Vec::new(),
        size: 0,
        header_bytes,
        runs: runs.to_vec(),
        missing: Missing::default(),
        patches: patches.list.clone(),
        contexts,
        crashed_processor,
        exception,
        salvage: options.salvage,
        warnings,
    };
    plan.push(header_bytes, SegmentData::Bytes(Vec::new()));
    (plan, patches)
}

fn missing_error(plan: &Plan) -> Error {
    Error::FramesMissing {
        missing: plan.missing.frames,
        total: plan
            .runs
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.count)),
        first: plan
            .missing
            .ranges
            .first()
            .map_or_else(Default::default, |range| range.first.gpa()),
    }
}

/// The pages that have to differ. The debugger wants its data block plain; without it nothing else is read.
/// It takes registers from the processors' control blocks.
fn patches(
    guest: &Guest,
    windows: &Windows,
    contexts: &[ProcessorContext],
    warnings: &mut Vec<String>,
) -> PatchSet {
    let space = windows.space(&guest.memory);
    let mut patches = PatchSet::default();
    let kdbg = &windows.kdbg.value;
    let mut write = |what: &str, gva, bytes: &[u8]| {
        if let Err(why) = patches.write(&space, what, gva, bytes) {
            warnings.push(format!("{what} cannot be written: {why}"));
        }
    };
    write("KDBG, plain", kdbg.gva, &kdbg.bytes);
    if let Some(encoding) = &kdbg.encoding {
        write("KdpDataBlockEncoded = 0", encoding.flag, &[0]);
    }
    for (processor, chosen) in windows.processors.iter().zip(contexts) {
        let number = processor.number;
        if let Some((slot, gva)) = processor.null_context_pointer.zip(processor.context) {
            let pointer = gva.get().to_le_bytes();
            let (pointer, _) = pointer.split_at(windows.mode.pointer_bytes());
            write(
                &format!("pointer to the registers of processor {number}"),
                slot,
                pointer,
            );
        }
        if let Some(gva) = processor.context {
            write(
                &format!("registers of processor {number}"),
                gva,
                &chosen.context,
            );
        }
        if let Some(gva) = processor.special {
            write(
                &format!("special registers of processor {number}"),
                gva,
                &chosen.special,
            );
        }
    }
    patches
}

/// The frames of one run.
fn body(plan: &mut Plan, guest: &Guest, run: Frames, patches: &PatchSet) {
    for (piece, backing) in guest.memory.pieces(run) {
        let mut at = piece.first;
        for (pfn, page) in patches.pages.range(piece.first..piece.end()) {
            unpatched(plan, Frames::between(at, *pfn), piece, backing);
            plan.push(PAGE_SIZE, SegmentData::Bytes(page.to_vec()));
            at = pfn.saturating_add(1);
        }
        unpatched(plan, Frames::between(at, piece.end()), piece, backing);
    }
}

fn unpatched(plan: &mut Plan, frames: Frames, piece: Frames, backing: Option<Backing>) {
    if frames.count == 0 {
        return;
    }
    let data = match backing.map(|b| b.skip(frames.first.frames_since(piece.first))) {
        Some(Backing::File { offset }) => SegmentData::Source { offset },
        Some(Backing::Encoded { index }) => SegmentData::Encoded { index },
        Some(Backing::Zero) => SegmentData::Zeros,
        None => {
            plan.missing.frames = plan.missing.frames.saturating_add(frames.count);
            if plan.missing.ranges.len() < MAX_MISSING_RANGES {
                plan.missing.ranges.push(frames);
            }
            SegmentData::Zeros
        }
    };
    plan.push(frames.bytes(), data);
}

/// Patched pages that no run holds are lost: the debugger will not see them.
fn outside(plan: &mut Plan, patches: &PatchSet) {
    let lost: Vec<&Pfn> = patches
        .pages
        .keys()
        .filter(|pfn| !plan.runs.iter().any(|run| run.contains(**pfn)))
        .collect();
    for pfn in lost {
        plan.warnings.push(format!(
            "frame {pfn} has to be changed but is in none of the guest's runs"
        ));
    }
}
