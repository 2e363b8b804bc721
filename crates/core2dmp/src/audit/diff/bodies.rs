//! What a difference of two headers is worth, knowing what is behind each: two dumps of one memory may well have
//! different bodies, and then the fields that describe them have to differ.
//!
//! ```text
//! full    header: runs ----------------------> pages     what one type does not use is no difference;
//! bitmap  header: RequiredDumpSpace, bitmap -> pages     what both use is none, where both hold the same pages
//! ranges  ranges ----------------------------> pages
//! ```

use super::{Difference, HeaderDiff, Weight};
use crate::address::{Gpa, Gva};
use crate::audit::check::spaces;
use crate::audit::fields::row;
use crate::container::dmp::DumpFile;
use crate::format::header_fields::{FieldId, FieldValue};
use crate::memory::compare::MemoryDiff;

/// What is behind a header that names it rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// `DumpType`, if it was set.
    pub dump_type: Option<u64>,
    /// Whether today's debugger reads all of it, whatever `RequiredDumpSpace` is.
    pub is_read_whole: bool,
    /// Where the header's page tables map its debugger data block.
    pub block: Option<Gpa>,
}

impl Behind {
    /// The pages of a dump; `None` if it holds none, or is of another type than its header names.
    #[must_use]
    pub fn of(dump: &DumpFile) -> Option<Self> {
        let memory = dump.memory();
        let block = Gva::new(dump.number(FieldId::KdDebuggerDataBlock).unwrap_or(0));
        let mut spaces = spaces(dump, &memory).into_iter();
        let holds_pages = dump.body_agrees() && memory.frame_count() > 0;
        holds_pages.then(|| Self {
            dump_type: dump.dump_type(),
            is_read_whole: dump.readable_end().is_none(),
            block: spaces.find_map(|space| Some(space.translate(block).ok()?.gpa)),
        })
    }
}

/// Two bodies, each of the type that its header names, and their pages, if those were compared.
#[derive(Debug, Clone, Copy)]
pub struct Bodies<'a> {
    /// Behind the first header.
    pub old: Behind,
    /// Behind the second.
    pub new: Behind,
    /// The pages of both.
    pub pages: Option<&'a MemoryDiff>,
}

impl Bodies<'_> {
    /// What a difference means that, with these bodies, the debugger does not trip over.
    fn meaning(&self, difference: &Difference) -> Option<&'static str> {
        let id = difference.field.id;
        let read_in = row(id).read_in;
        let (old, new) = (self.old.dump_type, self.new.dump_type);
        match (read_in.includes(old), read_in.includes(new)) {
            (false, false) => return Some("neither type of dump uses it"),
            (true, false) => return Some("only the first dump's type uses it"),
            (false, true) => return Some("only the second dump's type uses it"),
            (true, true) => {}
        }
        match id {
            FieldId::DumpType if is_ranges(old) != is_ranges(new) => Some(
                "each is the type of what is behind its header; WinDbg of 2015 opens no dump of ranges",
            ),
            FieldId::DumpType => Some("each is the type of what is behind its header"),
            FieldId::RequiredDumpSpace => {
                let read_whole = self.old.is_read_whole && self.new.is_read_whole;
                read_whole.then_some("with each of them all of its file is read")
            }
            FieldId::NumberOfRuns | FieldId::Runs | FieldId::NumberOfPages => {
                let none = [&difference.old, &difference.new].contains(&&FieldValue::Number(0));
                // Runs that are wrong give other contents to the frames of the other dump.
                let same = self.pages.is_some_and(MemoryDiff::is_alike) && !none;
                same.then_some("each names the frames of its own pages, which are the same")
            }
            FieldId::DirectoryTableBase => {
                let same = self.pages.is_some_and(MemoryDiff::has_same_frames)
                    && self.old.block.is_some()
                    && self.old.block == self.new.block;
                same.then_some("page tables of two processes: both map the same kernel")
            }
            _ => None,
        }
    }
}

/// Whether a type has ranges.
const fn is_ranges(dump_type: Option<u64>) -> bool {
    matches!(dump_type, Some(8..=10))
}

/// Weighs all differences.
pub(super) fn weigh(diff: &mut HeaderDiff, bodies: &Bodies<'_>) {
    for difference in &mut diff.differences {
        if let Some(meaning) = bodies.meaning(difference) {
            difference.weight = Weight::Cosmetic;
            meaning.clone_into(&mut difference.meaning);
        }
    }
}
