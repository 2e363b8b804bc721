//! A header written anew from the core that the dump was made from, once its pages prove to be that core's.

use super::{Change, Overlay, Repair, refuse};
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::audit::check::check;
use crate::container::Guest;
use crate::container::dmp::{Body, DumpFile};
use crate::dump::patch;

use crate::dump::{DumpKind, Plan, PlanOptions, plan};
use crate::error::{Error, Result};
use crate::format::header_fields::HeaderWidth;
use crate::format::nt::kuser;
use crate::image::SegmentData;
use crate::source::read_exact_at;
use crate::windows::Windows;

/// Pages that are compared, over all the memory, before a dump counts as a core's.
const SAMPLES: u64 = 256;

/// Plans the repair of a full dump from the core that it was made of: the header is written anew, and the pages
/// that a conversion changes are changed.
///
/// # Errors
/// [`Error::CannotRepair`] if the dump's body is not that core's, and for an encrypted or cut dump.
pub fn repair_from(dump: &DumpFile, guest: &Guest, windows: &Windows) -> Result<Repair> {
    refuse(dump)?;
    let options = PlanOptions {
        kind: match dump.body {
            Body::Bitmap(_) => DumpKind::Bitmap,
            _ => DumpKind::Full,
        },
        ..PlanOptions::default()
    };
    let plan = plan(guest, windows, &options)?;
    if plan.image.size() != dump.size || HeaderWidth::of(plan.header()) != Some(dump.width) {
        return Err(Error::CannotRepair {
            why: format!(
                "the core gives a dump of {} bytes, this one has {}",
                plan.image.size(),
                dump.size
            ),
        });
    }
    compare(dump, guest, windows, &plan)?;
    let mut changes = Overlay::default();
    for field in dump.width.fields() {
        let (Some(old), Some(new)) = (field.raw(&dump.header), field.raw(plan.header())) else {
            continue;
        };
        if old != new {
            changes.add(Change {
                what: field.name.to_owned(),
                offset: field.offset as u64,
                old: Vec::new(),
                new: new.to_vec(),
                reason: "as the original core has it".to_owned(),
            });
        }
    }
    for change in between_fields(dump, &plan) {
        changes.add(change);
    }
    for change in pages(dump, guest, windows, &plan)? {
        changes.add(change);
    }
    let report = check(&changes.over(dump)?);
    Ok(Repair {
        changes: changes.against(dump)?,
        left: report.findings,
        size: dump.size,
    })
}

/// Bytes of the header that belong to no field, each stretch of those that differ.
fn between_fields(dump: &DumpFile, plan: &Plan) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let bytes = dump.header.iter().zip(plan.header()).enumerate();
    for (offset, (_, new)) in bytes.filter(|(_, (old, new))| old != new) {
        if dump.width.field_at(offset).is_some() {
            continue;
        }
        let follows = |change: &&mut Change| {
            change.offset.saturating_add(change.new.len() as u64) == offset as u64
        };
        if let Some(last) = changes.last_mut().filter(follows) {
            last.new.push(*new);
            continue;
        }
        changes.push(Change {
            what: "bytes of no field".to_owned(),
            offset: offset as u64,
            old: Vec::new(),
            new: vec![*new],
            reason: "as the original core has it".to_owned(),
        });
    }
    changes
}

/// Segments behind the header whose bytes the plan holds, with their file offsets.
fn patched(plan: &Plan) -> impl Iterator<Item = (u64, &[u8])> {
    let segments = plan.image.segments().iter().skip(1);
    segments.filter_map(|segment| match &segment.data {
        SegmentData::Bytes(bytes) => Some((segment.start, bytes.as_slice())),
        _ => None,
    })
}

/// What a conversion changes in the body.
fn pages(dump: &DumpFile, guest: &Guest, windows: &Windows, plan: &Plan) -> Result<Vec<Change>> {
    let space = windows.space(&guest.memory);
    let mut changes = Vec::new();
    for (offset, new) in patched(plan) {
        let mut old = vec![0; new.len()];
        read_exact_at(&*dump.source, offset, &mut old, "the dump")?;
        let differs = |(a, b): (&u8, &u8)| a != b;
        let first = old.iter().zip(new).position(differs);
        let last = old.iter().zip(new).rposition(differs);
        if let Some((first, last)) = first.zip(last) {
            let page = offset.saturating_sub(plan.header_bytes) / PAGE_SIZE;
            let Some(pfn) = frame(plan, page) else {
                continue;
            };
            changes.push(Change {
                what: format!("frame {pfn}"),
                offset: offset.saturating_add(first as u64),
                old: Vec::new(),
                new: new.get(first..=last).unwrap_or_default().to_vec(),
                reason: patch::in_frame(&space, &plan.patches, pfn),
            });
        }
    }
    Ok(changes)
}

/// Holds pages of the dump against the core's: every one of them has to be the same.
fn compare(dump: &DumpFile, guest: &Guest, windows: &Windows, plan: &Plan) -> Result<()> {
    let changed: Vec<(u64, u64)> = patched(plan)
        .map(|(offset, bytes)| (offset, offset.saturating_add(bytes.len() as u64)))
        .collect();
    let (mut ours, mut theirs) = (vec![0; PAGE_BYTES], vec![0; PAGE_BYTES]);
    let mut evidence = 0_u64;
    for index in samples(guest, windows, plan) {
        let offset = index
            .saturating_mul(PAGE_SIZE)
            .saturating_add(plan.header_bytes);
        let is_changed = changed
            .iter()
            .any(|(from, to)| (*from..*to).contains(&offset));
        let Some(pfn) = frame(plan, index).filter(|_| !is_changed) else {
            continue;
        };
        if guest.memory.read(pfn.gpa(), &mut theirs).is_err() {
            continue;
        }
        read_exact_at(&*dump.source, offset, &mut ours, "the dump")?;
        if ours != theirs {
            let gpa = pfn.gpa();
            return Err(Error::CannotRepair {
                why: format!(
                    "its page at offset {offset:#x} is not what the core holds at {gpa}: it was made of \
                     another core"
                ),
            });
        }
        if ours.iter().any(|byte| *byte != 0) {
            evidence = evidence.saturating_add(1);
        }
    }
    if evidence == 0 {
        return Err(Error::CannotRepair {
            why: "nothing in its pages shows that they are the core's".to_owned(),
        });
    }
    Ok(())
}

/// Pages of the body that are compared: some all over it, and the one with the clock, which two cores of one guest
/// never share.
fn samples(guest: &Guest, windows: &Windows, plan: &Plan) -> Vec<u64> {
    let clock = Gva::new(if windows.mode.is_64bit() {
        kuser::ADDRESS64
    } else {
        kuser::ADDRESS32
    });
    let clock = windows.space(&guest.memory).translate(clock);
    let clock = clock.ok().and_then(|at| index_of(plan, at.gpa.pfn()));
    let pages = plan.image.size().saturating_sub(plan.header_bytes) / PAGE_SIZE;
    let step = usize::try_from(pages / SAMPLES)
        .unwrap_or(usize::MAX)
        .max(1);
    clock.into_iter().chain((0..pages).step_by(step)).collect()
}

/// Which page of the body a frame is.
fn index_of(plan: &Plan, pfn: Pfn) -> Option<u64> {
    let mut before = 0_u64;
    for run in &plan.runs {
        if run.contains(pfn) {
            return Some(before.saturating_add(pfn.frames_since(run.first)));
        }
        before = before.saturating_add(run.count);
    }
    None
}

/// The frame of a page of the body.
fn frame(plan: &Plan, index: u64) -> Option<Pfn> {
    let mut left = index;
    for run in &plan.runs {
        if left < run.count {
            return Some(run.first.saturating_add(left));
        }
        left = left.saturating_sub(run.count);
    }
    None
}
