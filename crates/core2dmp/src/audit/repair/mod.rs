//! Makes a header agree with the memory behind it.
//!
//! ```text
//! check -> findings that can be fixed -> bytes to change -> check again, with them laid over the file
//! ```
//!
//! A repair is a list of changes, each with its reason; nothing is written here. Anything that the memory or the body
//! cannot prove is left unchanged and reported. The pages of the body are not moved; the runs describe it as it is.

mod from_core;

use std::collections::BTreeMap;
use std::mem::offset_of;

pub use self::from_core::repair_from;
use super::check::{CheckReport, Finding, Mend, are_true, check, fitting_runs};
use super::overlay::{Overlay, lay_over};
use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::container::dmp::{Body, DumpFile};
use crate::dump::patch;
use crate::dump::{Plan, plan};
use crate::error::{Error, Result};
use crate::format::bitmap::{BitmapHeader, SummaryHeader, TAG_FULL, TAG_SUMMARY};
use crate::format::dump_values::{SIGNATURE, VALID_DUMP32, VALID_DUMP64};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::image::Image;
use crate::memory::Backing;
use crate::memory::Frames;
use crate::source::read_exact_at;
use crate::windows::Windows;

pub use super::overlay::Change;

/// Rounds of fixing: a type that is put right shows what it hid.
const MAX_ROUNDS: usize = 6;

/// The structure whose count of set bits is wrong, as the reader names it.
const SET_BITS: &str = "pages of the bitmap";

/// What a repair does, and what it leaves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The changes, by offset.
    pub changes: Vec<Change>,
    /// Findings that are left, with what is missing to fix them.
    pub left: Vec<Finding>,
    size: u64,
}

/// Plans the repair of a dump from the memory behind its header.
///
/// # Errors
/// [`Error::CannotRepair`] for an encrypted dump, and for a header that is cut short.
pub fn repair(dump: &DumpFile) -> Result<Repair> {
    refuse(dump)?;
    let mut changes = Overlay::default();
    let mut left = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let patched = changes.over(dump)?;
        let report = check(&patched);
        let round = mend(&patched, &report);
        left = report.findings;
        let before = changes.pieces.len();
        let grew = round
            .into_iter()
            .map(|change| changes.add(change))
            .fold(false, |grew, added| grew | added);
        if !grew && changes.pieces.len() == before {
            break;
        }
    }
    Ok(Repair {
        changes: changes.against(dump)?,
        left,
        size: dump.size,
    })
}

fn refuse(dump: &DumpFile) -> Result<()> {
    let why = if dump.is_encrypted() {
        "its pages are encrypted: nothing in them can be checked"
    } else if !dump.header_complete {
        "the file ends in its header"
    } else {
        return Ok(());
    };
    Err(Error::CannotRepair {
        why: why.to_owned(),
    })
}

/// The changes for every finding that can be fixed.
fn mend(dump: &DumpFile, report: &CheckReport) -> Vec<Change> {
    // First what the memory is read with; the next round sees the rest through it.
    if !report.changes.is_empty() {
        return report.changes.clone();
    }
    let ideal = report.windows.as_ref().ok().map(|windows| {
        let guest = dump.guest();
        let runs = match dump.runs() {
            // A summary dump goes by its bitmap; any true runs will do.
            none if none.is_empty() => windows.runs.value.clone(),
            _ if are_true(dump, &windows.runs.value) => windows.runs.value.clone(),
            runs => runs,
        };
        plan::describe(&guest, windows, &runs, dump.size)
    });
    let mut changes = Vec::new();
    for finding in &report.findings {
        if finding.mend == Mend::Yes {
            let plan = ideal.as_ref().map(|(plan, _)| plan);
            changes.extend(mend_field(dump, finding, plan));
            changes.extend(
                plan.into_iter()
                    .flat_map(|plan| companions(dump, finding, plan)),
            );
        }
    }
    // Nothing is put where the file lacks a page.
    if let (Some((plan, pages)), Ok(windows), false) = (&ideal, &report.windows, report.lost_block)
    {
        changes.extend(mend_memory(dump, windows, plan, pages));
    }
    changes
}

/// The change for a finding about a field; `None` where the finding is about memory.
fn mend_field(dump: &DumpFile, finding: &Finding, ideal: Option<&Plan>) -> Option<Change> {
    let change = |offset: u64, new: Vec<u8>, reason: String| Change {
        what: finding.field.to_owned(),
        offset,
        old: Vec::new(),
        new,
        reason,
    };
    if let Some((offset, new)) = bitmap_count(dump, finding) {
        return Some(change(offset, new, "the bits that are set".to_owned()));
    }
    if finding.field == "bitmap" {
        let tag = match dump.dump_type() {
            Some(5) => TAG_FULL,
            _ => TAG_SUMMARY,
        };
        let reason = format!("expected {}", finding.expected);
        return Some(change(finding.offset?, tag.to_vec(), reason));
    }
    let field = dump
        .width
        .fields()
        .iter()
        .find(|field| field.name == finding.field)?;
    let offset = field.offset as u64;
    let number = |value: u64| {
        let bytes = value.to_le_bytes();
        bytes.get(..field.bytes).map(<[u8]>::to_vec)
    };
    let reason = match field.id {
        FieldId::RequiredDumpSpace => "the size of the file".to_owned(),
        _ => format!("expected {}", finding.expected),
    };
    let new = match field.id {
        FieldId::Signature => Some(SIGNATURE.to_vec()),
        FieldId::ValidDump => Some(match dump.width {
            HeaderWidth::Bits32 => VALID_DUMP32.to_vec(),
            HeaderWidth::Bits64 => VALID_DUMP64.to_vec(),
        }),
        FieldId::DumpType => number(u64::from(dump.guess_body().dump_type()?)),
        // More than the file has would hide the end of a bitmap dump that was cut.
        FieldId::RequiredDumpSpace => number(match dump.body {
            Body::Bitmap(_) | Body::Summary(_) => dump.size,
            _ => dump.body_end().max(dump.size),
        }),
        FieldId::NumberOfPages if dump.runs().is_empty() => {
            field.raw(ideal?.header()).map(<[u8]>::to_vec)
        }
        FieldId::NumberOfPages => {
            let runs = dump.runs();
            number(Frames::total(&runs))
        }
        FieldId::NumberOfRuns => match fitting_runs(dump) {
            Some(fit) => number(fit),
            None if dump.runs().is_empty() => field.raw(ideal?.header()).map(<[u8]>::to_vec),
            None => number(dump.runs().len() as u64),
        },
        _ => field.raw(ideal?.header()).map(<[u8]>::to_vec),
    };
    Some(change(offset, new?, reason))
}

/// Fields that make sense together alone: the runs of a summary dump that has none, and an exception.
fn companions(dump: &DumpFile, finding: &Finding, plan: &Plan) -> Vec<Change> {
    let field = |id| dump.width.field(id);
    let is_about = |id| field(id).is_some_and(|field| field.name == finding.field);
    let is_exception = is_about(FieldId::ExceptionCode) || is_about(FieldId::ExceptionAddress);
    let no_runs = is_about(FieldId::NumberOfRuns) && dump.runs().is_empty();
    let (ids, reason): (&[FieldId], _) = if is_exception {
        let all = &[
            FieldId::ExceptionCode,
            FieldId::ExceptionFlags,
            FieldId::ExceptionRecord,
            FieldId::ExceptionAddress,
            FieldId::ExceptionParameters,
            FieldId::ExceptionInformation,
        ];
        (all, "the rest of the exception")
    } else if no_runs || is_about(FieldId::Runs) {
        let all = &[FieldId::NumberOfRuns, FieldId::NumberOfPages, FieldId::Runs];
        (all, "the memory that Windows counts")
    } else {
        return Vec::new();
    };
    ids.iter()
        .filter_map(|id| field(*id))
        .filter(|field| field.name != finding.field)
        .filter_map(|field| {
            Some(Change {
                what: field.name.to_owned(),
                offset: field.offset as u64,
                old: Vec::new(),
                new: field.raw(plan.header())?.to_vec(),
                reason: reason.to_owned(),
            })
        })
        .collect()
}

/// Where the header of a bitmap counts its set bits, and how many there are.
fn bitmap_count(dump: &DumpFile, finding: &Finding) -> Option<(u64, Vec<u8>)> {
    let bitmap = dump.bitmap()?;
    let (offset, bytes) = match dump.body {
        Body::Summary(_) => (offset_of!(SummaryHeader, present_pages), 4),
        _ => (offset_of!(BitmapHeader, present_pages), 8),
    };
    let at = bitmap.header.saturating_add(offset as u64);
    let is_count = finding.field == SET_BITS && bitmap.declared_pages != bitmap.set_bits;
    let value = bitmap.set_bits.to_le_bytes();
    is_count.then(|| Some((at, value.get(..bytes)?.to_vec())))?
}

/// Pages of the body that have to differ: the debugger data block plain, contexts that can be read.
fn mend_memory(
    dump: &DumpFile,
    windows: &Windows,
    plan: &Plan,
    pages: &plan::PatchedPages,
) -> Vec<Change> {
    let memory = dump.guest().memory;
    let space = windows.space(&memory);
    pages
        .iter()
        .filter_map(|(pfn, new)| {
            let run = memory.run_of(*pfn)?;
            let Backing::File { offset } = run.backing.skip(pfn.frames_since(run.frames.first))
            else {
                return None;
            };
            let mut old = vec![0; new.len()];
            memory.read(pfn.gpa(), &mut old).ok()?;
            let first = old.iter().zip(new.iter()).position(|(a, b)| a != b)?;
            let last = old.iter().zip(new.iter()).rposition(|(a, b)| a != b)?;
            Some(Change {
                what: format!("frame {pfn}"),
                offset: offset.saturating_add(first as u64),
                old: Vec::new(),
                new: new.get(first..=last)?.to_vec(),
                reason: patch::in_frame(&space, &plan.patches, *pfn),
            })
        })
        .collect()
}

impl Repair {
    /// The repaired dump: changed blocks, and everything between them from the old file. Blocks are whole, so that a
    /// file system can share all the others.
    ///
    /// # Errors
    /// [`Error::Io`] if a block of the old file cannot be read.
    pub fn image(&self, dump: &DumpFile) -> Result<Image> {
        let mut blocks: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for change in &self.changes {
            let last = change.offset.saturating_add(change.new.len() as u64);
            let mut at = change.offset & !(PAGE_SIZE - 1);
            while at < last {
                if let std::collections::btree_map::Entry::Vacant(slot) = blocks.entry(at) {
                    let left = self.size.saturating_sub(at).min(PAGE_SIZE);
                    let mut block = vec![0; usize::try_from(left).unwrap_or(PAGE_BYTES)];
                    read_exact_at(&*dump.source, at, &mut block, "the dump")?;
                    slot.insert(block);
                }
                at = at.saturating_add(PAGE_SIZE);
            }
        }
        for (at, block) in &mut blocks {
            lay_over(self.changes.iter(), *at, block);
        }
        let mut image = Image::new();
        for (at, block) in blocks {
            let done = image.size();
            image.push_source(done, at.saturating_sub(done));
            image.push_bytes(block);
        }
        let done = image.size();
        image.push_source(done, self.size.saturating_sub(done));
        Ok(image)
    }

    /// Bytes of the repaired file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests;
