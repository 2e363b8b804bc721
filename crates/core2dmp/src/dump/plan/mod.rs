//! Plans a dump: turns facts into segments.
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

use super::header;
use super::patch::PatchSet;
use super::planned::{DumpKind, Missing, Plan, PlanOptions};
use crate::address::PAGE_SIZE;
use crate::container::{Guest, LeftOut};
use crate::error::{Error, Result};
use crate::format::dump_values::{DUMP_TYPE_BITMAP_FULL, DUMP_TYPE_BITMAP_KERNEL, DUMP_TYPE_FULL};
use crate::format::{dump32, dump64};
use crate::image::Image;
use crate::memory::Frames;
use crate::windows::{CrashState, Windows};

pub(crate) use pages::PatchedPages;
pub use root::HeaderRoot;

/// Bytes that Windows may count whatever the container holds. A full dump writes zeros for frames that the container
/// lacks; where Windows counts more, and more than [`PLAUSIBLE_TIMES`] times what the container holds, its count is not
/// believed.
const PLAUSIBLE_BYTES: u64 = 64 << 30;
/// Times what the container holds that Windows may count, for a full dump.
const PLAUSIBLE_TIMES: u64 = 16;

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

/// Plans a dump with the processors' state that [`Windows::crash_state`] found before; ignores `options.contexts`.
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
            if loss::is_large(loss::missing(guest, runs), Frames::total(runs)) {
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
