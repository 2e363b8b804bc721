//! The pages of a body: the guest's, except those that have to differ.

use std::collections::BTreeMap;

use super::Plan;
use crate::address::{PAGE_BYTES, Pfn};
use crate::container::Guest;
use crate::dump::patch::PatchSet;
use crate::memory::{Backing, FrameSet, Frames};
use crate::windows::{ProcessorContext, Windows};

/// Pages that differ from the guest's, by frame.
pub(crate) type PatchedPages = BTreeMap<Pfn, Box<[u8; PAGE_BYTES]>>;

/// The pages that have to differ. The debugger wants its data block plain; without it nothing else is read.
/// It takes registers from the processors' control blocks.
pub(super) fn patches(
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
pub(super) fn run(plan: &mut Plan, guest: &Guest, run: Frames, patches: &PatchedPages) {
    for (piece, backing) in guest.memory.pieces(run) {
        present_or_not(plan, piece, backing, patches);
    }
}

/// Frames that the container has at one place, or lacks.
pub(super) fn present_or_not(
    plan: &mut Plan,
    piece: Frames,
    backing: Option<Backing>,
    patches: &PatchedPages,
) {
    let mut at = piece.first;
    for (pfn, page) in patches.range(piece.first..piece.end()) {
        unpatched(plan, Frames::between(at, *pfn), piece, backing);
        plan.frames = plan.frames.saturating_add(1);
        plan.image.push_bytes(page.to_vec());
        at = pfn.saturating_add(1);
    }
    unpatched(plan, Frames::between(at, piece.end()), piece, backing);
}

fn unpatched(plan: &mut Plan, frames: Frames, piece: Frames, backing: Option<Backing>) {
    if frames.count == 0 {
        return;
    }
    if backing.is_none() {
        plan.miss(frames);
        if !plan.writes_missing() {
            return;
        }
    }
    let skipped = frames.first.frames_since(piece.first);
    plan.frames = plan.frames.saturating_add(frames.count);
    plan.image
        .push_frames(frames, backing.map(|backing| backing.skip(skipped)));
}

/// The frames of these runs that the container has.
pub(super) fn present(guest: &Guest, runs: &[Frames]) -> FrameSet {
    let mut present = FrameSet::default();
    for run in runs {
        for (piece, backing) in guest.memory.pieces(*run) {
            if backing.is_some() {
                present.insert(piece);
            }
        }
    }
    present
}

/// Whether the container lacks a frame of these runs.
pub(super) fn lacks_any(guest: &Guest, runs: &[Frames]) -> bool {
    let mut pieces = runs.iter().flat_map(|run| guest.memory.pieces(*run));
    pieces.any(|(_, backing)| backing.is_none())
}

/// Patched pages that no run holds are lost: the debugger will not see them.
pub(super) fn outside(plan: &mut Plan, patches: &PatchedPages) {
    let lost: Vec<&Pfn> = patches
        .keys()
        .filter(|pfn| !plan.runs.iter().any(|run| run.contains(**pfn)))
        .collect();
    for pfn in lost {
        plan.warnings.push(format!(
            "frame {pfn} has to be changed but is in none of the guest's runs"
        ));
    }
}
