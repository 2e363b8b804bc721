//! Making a header agree with the memory behind it.
//!
//! ```text
//! check -> findings that can be mended -> bytes to change -> check again, with them laid over the file
//! ```
//!
//! A repair is a list of changes, each with its reason; nothing is written here. What is not proven by the
//! memory or by the body is left, and said. The pages of the body are not moved: runs describe it as it is.

use std::collections::BTreeMap;
use std::io;
use std::mem::offset_of;
use std::sync::Arc;

use super::check::{CheckReport, Finding, Mend, check};
use super::plan::{self, Plan, PlanOptions, Segment, SegmentData};
use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::container::Guest;
use crate::container::dmp::{Body, DumpFile};
use crate::error::{Error, Result};
use crate::format::bitmap::{BitmapHeader, SummaryHeader};
use crate::format::dump_values::{SIGNATURE, VALID_DUMP32, VALID_DUMP64};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::memory::Backing;
use crate::source::{ReadAt, read_exact_at};
use crate::windows::Windows;

/// Rounds of mending: a type that is put right shows what it hid.
const MAX_ROUNDS: usize = 4;

/// Bytes of a dump that a repair changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field or structure.
    pub what: String,
    /// File offset.
    pub offset: u64,
    /// What stands there.
    pub old: Vec<u8>,
    /// What will stand there.
    pub new: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// What a repair does, and what it leaves.
#[derive(Debug)]
pub struct Repair {
    /// The changes, by offset.
    pub changes: Vec<Change>,
    /// Findings that are left, with what is missing to mend them.
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

/// Plans the repair of a full dump from the core that it was made of: the header is written anew.
///
/// # Errors
/// [`Error::CannotRepair`] if the dump's body is not that core's.
pub fn repair_from(dump: &DumpFile, guest: &Guest, windows: &Windows) -> Result<Repair> {
    refuse(dump)?;
    let plan = plan::plan(guest, windows, &PlanOptions::default())?;
    if plan.size != dump.size {
        return Err(Error::CannotRepair {
            why: format!(
                "the core gives a dump of {} bytes, this one has {}",
                plan.size, dump.size
            ),
        });
    }
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
    let report = check(&changes.over(dump)?);
    Ok(Repair {
        changes: changes.against(dump)?,
        left: report.findings,
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

/// The changes for every finding that can be mended.
fn mend(dump: &DumpFile, report: &CheckReport) -> Vec<Change> {
    let ideal = report.windows.as_ref().ok().map(|windows| {
        let guest = dump.guest();
        let runs = dump.runs();
        plan::describe(&guest, windows, &runs, dump.size)
    });
    let mut changes = Vec::new();
    for finding in &report.findings {
        if finding.mend == Mend::Yes {
            changes.extend(mend_field(dump, finding, ideal.as_ref().map(|(plan, _)| plan)));
        }
    }
    if let Some((plan, pages)) = &ideal {
        changes.extend(mend_memory(dump, plan, pages));
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
    let expected = || format!("expected {}", finding.expected);
    if let Some((offset, new)) = bitmap_count(dump, finding) {
        return Some(change(offset, new, "the bits that are set".to_owned()));
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
    let new = match field.id {
        FieldId::Signature => Some(SIGNATURE.to_vec()),
        FieldId::ValidDump => Some(match dump.width {
            HeaderWidth::Bits32 => VALID_DUMP32.to_vec(),
            HeaderWidth::Bits64 => VALID_DUMP64.to_vec(),
        }),
        FieldId::DumpType => number(u64::from(dump.guess_body().dump_type()?)),
        FieldId::RequiredDumpSpace => number(dump.size),
        FieldId::NumberOfPages => number(dump.declared_pages()),
        FieldId::NumberOfRuns => number(dump.runs().len() as u64),
        _ => field.raw(ideal?.header()).map(<[u8]>::to_vec),
    };
    Some(change(offset, new?, expected()))
}

/// Where the header of a bitmap counts its set bits, and how many there are.
fn bitmap_count(dump: &DumpFile, finding: &Finding) -> Option<(u64, Vec<u8>)> {
    let bitmap = dump.bitmap()?;
    let (offset, bytes) = match dump.body {
        Body::Summary(_) => (offset_of!(SummaryHeader, present_pages), 4),
        _ => (offset_of!(BitmapHeader, present_pages), 8),
    };
    let at = bitmap.header.saturating_add(offset as u64);
    let is_count = finding.offset == Some(at) && bitmap.declared_pages != bitmap.set_bits;
    let value = bitmap.set_bits.to_le_bytes();
    is_count.then(|| Some((at, value.get(..bytes)?.to_vec())))?
}

/// Pages of the body that have to differ: the debugger data block plain, contexts that can be read.
fn mend_memory(dump: &DumpFile, plan: &Plan, pages: &plan::PatchedPages) -> Vec<Change> {
    let memory = dump.guest().memory;
    let names: Vec<&str> = plan.patches.iter().map(|patch| patch.what.as_str()).collect();
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
                reason: names.join(", "),
            })
        })
        .collect()
}

/// Changes by their offset; a later one replaces an earlier one at the same place.
#[derive(Debug, Default, Clone)]
struct Overlay {
    pieces: BTreeMap<u64, Change>,
}

impl Overlay {
    /// Adds a change; false if it was there already.
    fn add(&mut self, change: Change) -> bool {
        let known = self
            .pieces
            .get(&change.offset)
            .is_some_and(|before| before.new == change.new);
        if !known {
            self.pieces.insert(change.offset, change);
        }
        !known
    }

    /// The dump with the changes laid over it.
    fn over(&self, dump: &DumpFile) -> Result<DumpFile> {
        DumpFile::open(Arc::new(Patched {
            inner: Arc::clone(&dump.source),
            overlay: self.clone(),
        }))
    }

    /// The changes with what stands there now; those that change nothing are dropped.
    fn against(self, dump: &DumpFile) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for change in self.pieces.into_values() {
            let mut old = vec![0; change.new.len()];
            read_exact_at(&*dump.source, change.offset, &mut old, "the dump")?;
            if old != change.new {
                changes.push(Change { old, ..change });
            }
        }
        Ok(changes)
    }
}

/// A file with bytes laid over it.
#[derive(Debug)]
struct Patched {
    inner: Arc<dyn ReadAt>,
    overlay: Overlay,
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read_at(offset, buf)?;
        let end = offset.saturating_add(read as u64);
        let changes = self.overlay.pieces.range(..end).map(|(_, change)| change);
        lay_over(changes, offset, buf.get_mut(..read).unwrap_or_default());
        Ok(read)
    }
}

impl Repair {
    /// The repaired dump as segments: changed blocks, and everything between them from the old file. Blocks
    /// are whole, so that a file system can share all the others.
    ///
    /// # Errors
    /// [`Error::Io`] if a block of the old file cannot be read.
    pub fn segments(&self, dump: &DumpFile) -> Result<Vec<Segment>> {
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
        let mut segments = Vec::new();
        let mut done = 0;
        let source = |from: u64, to: u64| Segment {
            bytes: to.saturating_sub(from),
            data: SegmentData::Source { offset: from },
        };
        for (at, block) in blocks {
            if at > done {
                segments.push(source(done, at));
            }
            let bytes = block.len() as u64;
            segments.push(Segment {
                bytes,
                data: SegmentData::Bytes(block),
            });
            done = at.saturating_add(bytes);
        }
        if self.size > done {
            segments.push(source(done, self.size));
        }
        Ok(segments)
    }

    /// Bytes of the repaired file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Lays changes over the bytes that stand at `offset`.
fn lay_over<'c>(changes: impl Iterator<Item = &'c Change>, offset: u64, bytes: &mut [u8]) {
    for change in changes {
        for (byte, position) in change.new.iter().zip(change.offset..) {
            let index = position.checked_sub(offset).map(usize::try_from);
            if let Some(Ok(index)) = index
                && let Some(slot) = bytes.get_mut(index)
            {
                *slot = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests;
