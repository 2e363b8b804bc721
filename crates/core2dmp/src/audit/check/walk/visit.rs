//! Looks for the bytes of a structure, and records which frames are missing.

use std::collections::BTreeMap;

use super::super::{Finding, Mend, Said, Severity};
use crate::address::{Gpa, Gva, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::container::dmp::DumpFile;
use crate::memory::MemoryError;
use crate::paging::{AddressSpace, NotPresent, TranslateError};

/// Missing pages that are named one by one.
const MAX_FINDINGS: usize = 64;
/// Pages of one thing that are looked at.
const MAX_PAGES: u64 = 4;

/// Something that the debugger reads.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    name: String,
    severity: Severity,
    said: Said,
    shows: &'static str,
    zero: bool,
}

impl Thing {
    /// `shows` is what the debugger shows without it.
    pub(super) fn new(
        name: impl Into<String>,
        severity: Severity,
        said: Said,
        shows: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            severity,
            said,
            shows,
            zero: false,
        }
    }

    /// Treats a page of zeros as no evidence.
    pub(super) const fn may_be_zero(mut self) -> Self {
        self.zero = true;
        self
    }
}

/// How a frame is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Absent,
    Unreadable,
    Zero,
}

/// A frame that is missing, and what is on it.
#[derive(Debug)]
struct Lost {
    gone: Gone,
    things: Vec<String>,
    worst: Thing,
}

/// Visits what the debugger reads.
pub(super) struct Visitor<'a, 'm> {
    pub(super) dump: &'a DumpFile,
    pub(super) space: &'a AddressSpace<'m>,
    lost: BTreeMap<Pfn, Lost>,
}

impl<'a, 'm> Visitor<'a, 'm> {
    pub(super) const fn new(dump: &'a DumpFile, space: &'a AddressSpace<'m>) -> Self {
        Self {
            dump,
            space,
            lost: BTreeMap::new(),
        }
    }

    pub(super) fn found_any(&self) -> bool {
        self.lost.values().any(|lost| lost.gone != Gone::Zero)
    }

    /// Takes what another visitor missed, in page tables of its own.
    pub(super) fn take(&mut self, other: Visitor<'_, '_>) {
        for (pfn, lost) in other.lost {
            self.lost.entry(pfn).or_insert(lost);
        }
    }

    /// Looks for the bytes of a thing; whether they can all be read.
    pub(super) fn visit(&mut self, thing: &Thing, gva: Gva, bytes: usize) -> bool {
        let last = gva.saturating_add((bytes as u64).saturating_sub(1));
        let pages = last
            .page_start()
            .get()
            .saturating_sub(gva.page_start().get())
            / PAGE_SIZE;
        let mut good = true;
        for page in 0..=pages.min(MAX_PAGES) {
            let at = match page {
                0 => gva,
                _ => gva
                    .page_start()
                    .saturating_add(page.saturating_mul(PAGE_SIZE)),
            };
            good &= self.page(thing, at);
        }
        good
    }

    fn page(&mut self, thing: &Thing, gva: Gva) -> bool {
        let (gone, pfn, level) = match self.space.translate(gva) {
            Ok(mapping) => match self.state(mapping.gpa.pfn()) {
                None => return true,
                Some(Gone::Zero) if thing.zero => return true,
                Some(gone) => (gone, mapping.gpa.pfn(), None),
            },
            Err(TranslateError::Table { level, source, .. }) => match source {
                MemoryError::Absent { gpa } => (Gone::Absent, gpa.pfn(), Some(level)),
                MemoryError::Unreadable { gpa, .. } | MemoryError::Corrupt { gpa, .. } => {
                    (Gone::Unreadable, gpa.pfn(), Some(level))
                }
            },
            Err(TranslateError::NotPresent {
                level,
                kind: NotPresent::Zero,
                ..
            }) => {
                let table = self.space.table_of(gva, level).map(Gpa::pfn);
                let Some(pfn) = table.filter(|pfn| self.state(*pfn) == Some(Gone::Zero)) else {
                    return false;
                };
                (Gone::Zero, pfn, Some(level))
            }
            // Paged out, or never there: not the file's fault.
            Err(_) => return false,
        };
        let table = level.map_or_else(String::new, |level| {
            format!(", by the table of its {level}")
        });
        self.note(thing, pfn, gone, format!("{} at {gva}{table}", thing.name));
        false
    }

    /// Looks for a page table.
    pub(super) fn visit_frame(&mut self, thing: &Thing, gpa: Gpa) {
        if let Some(gone) = self.state(gpa.pfn()) {
            self.note(thing, gpa.pfn(), gone, format!("{} at {gpa}", thing.name));
        }
    }

    fn state(&self, pfn: Pfn) -> Option<Gone> {
        let mut page = [0; PAGE_BYTES];
        match self.space.memory().read(pfn.gpa(), &mut page) {
            Ok(()) => page.iter().all(|byte| *byte == 0).then_some(Gone::Zero),
            Err(MemoryError::Absent { .. }) => Some(Gone::Absent),
            Err(_) => Some(Gone::Unreadable),
        }
    }

    fn note(&mut self, thing: &Thing, pfn: Pfn, gone: Gone, what: String) {
        if self.lost.len() >= MAX_FINDINGS && !self.lost.contains_key(&pfn) {
            return;
        }
        let lost = self.lost.entry(pfn).or_insert_with(|| Lost {
            gone,
            things: Vec::new(),
            worst: thing.clone(),
        });
        if thing.severity < lost.worst.severity {
            lost.worst = thing.clone();
        }
        if !lost.things.contains(&what) {
            lost.things.push(what);
        }
    }

    /// A finding for each frame.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let lost = self.lost.into_iter();
        lost.map(|(pfn, lost)| lost.finding(pfn)).collect()
    }
}

impl Lost {
    fn finding(self, pfn: Pfn) -> Finding {
        const SHOWN: usize = 4;
        let more = self.things.len().saturating_sub(SHOWN);
        let first = self.things.iter().take(SHOWN).cloned();
        let mut things = first.collect::<Vec<_>>().join("; ");
        if more > 0 {
            things.push_str(&format!("; and {more} more"));
        }
        let (field, how) = match self.gone {
            Gone::Absent => ("page not in the file", "is not in the file"),
            Gone::Unreadable => ("page that cannot be read", "cannot be read"),
            Gone::Zero => ("page of zeros", "is all zeros"),
        };
        let said = match self.gone {
            Gone::Zero => Some(self.worst.said).filter(|said| !said.today.is_empty()),
            Gone::Absent | Gone::Unreadable => Some(self.worst.said.behind_page(pfn)),
        };
        Finding {
            severity: self.worst.severity,
            field,
            offset: None,
            expected: things,
            found: format!("frame {pfn} {how}; the debugger shows {}", self.worst.shows),
            debugger: said,
            mend: Mend::No("the page; --from the original core"),
        }
    }
}
