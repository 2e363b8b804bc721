//! `RequiredDumpSpace` of dumps with a bitmap, by which today's debugger reads.
//!
//! ```text
//! smaller than the file        nothing behind it is read
//! larger, by a byte or more    nothing behind the file's last multiple of 16 MiB is read
//! the file's size              everything is
//! ```
//!
//! The dump is opened once more as far as the debugger reads it: what its page tables still lead to is seen.

use std::io;
use std::sync::Arc;

use super::memory::Judge;
use super::structure::field_finding;
use super::{Finding, Mend, Severity, words};
use crate::address::{Gva, PAGE_SIZE};
use crate::container::dmp::DumpFile;
use crate::format::header_fields::FieldId;
use crate::memory::PhysicalMemory;
use crate::paging::AddressSpace;
use crate::source::ReadAt;

/// Things that a finding names.
const MAX_NAMED: usize = 6;

/// A file as far as it is read.
#[derive(Debug)]
struct Cut {
    inner: Arc<dyn ReadAt>,
    end: u64,
}

impl ReadAt for Cut {
    fn size(&self) -> u64 {
        self.inner.size().min(self.end)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.size().saturating_sub(offset);
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.inner
            .read_at(offset, buf.get_mut(..most).unwrap_or_default())
    }
}

/// The memory that the debugger reads; `None` if that is all that the file has.
fn read_memory(dump: &DumpFile) -> Option<PhysicalMemory> {
    let end = dump.readable_end()?;
    let inner = Arc::clone(&dump.source);
    // However little is read, the header is looked at before.
    let end = end.max(dump.header.len() as u64);
    let cut = DumpFile::open(Arc::new(Cut { inner, end })).ok()?;
    Some(cut.memory())
}

/// What the field hides, where nothing is known of the memory.
pub(super) fn finding(dump: &DumpFile) -> Option<Finding> {
    found(dump, &read_memory(dump)?, &Hidden::default())
}

/// What is hidden of the things that the debugger reads.
#[derive(Default)]
struct Hidden {
    /// Their names, a few.
    named: Vec<String>,
    /// Whether nothing works without them.
    is_fatal: bool,
}

fn found(dump: &DumpFile, read: &PhysicalMemory, hidden: &Hidden) -> Option<Finding> {
    let held = dump.memory();
    let pages = held.frame_count().saturating_sub(read.frame_count());
    if pages == 0 {
        return None;
    }
    let first = held.runs().iter().find_map(|run| {
        let mut frames = (0..run.frames.count).map(|n| run.frames.first.saturating_add(n));
        frames.find(|pfn| read.run_of(*pfn).is_none())
    });
    let size = dump.size;
    let end = dump.readable_end().unwrap_or(size);
    let from = first.map_or_else(String::new, |pfn| {
        format!(", from frame {:#x} on", pfn.get())
    });
    let things = match hidden.named.as_slice() {
        [] => String::new(),
        named => format!("; among them {}", named.join(", ")),
    };
    let said = match first {
        Some(pfn) if !hidden.is_fatal => words::PAGE_ALONE.behind_page(pfn),
        _ => words::PARTIALLY,
    };
    let shown = super::structure::show(dump, FieldId::RequiredDumpSpace);
    let noun = if pages == 1 { "page" } else { "pages" };
    Some(Finding {
        found: format!(
            "{shown}: WinDbg reads nothing behind {end:#x}, {pages} {noun}{from}{things}"
        ),
        ..field_finding(
            dump,
            FieldId::RequiredDumpSpace,
            Severity::Broken,
            format!("{size:#x}, the size of the file"),
            Some(if is_seen_in_2015(dump, end) {
                said.older(Severity::Cosmetic, "")
            } else {
                said
            }),
            Mend::Yes,
        )
    })
}

/// Whether the engine of 2015 reads what the field hides: it minds only a value that is less than the file, by more
/// than a page.
fn is_seen_in_2015(dump: &DumpFile, end: u64) -> bool {
    let space = dump.number(FieldId::RequiredDumpSpace);
    space.is_none_or(|space| space > dump.size) || end.saturating_add(PAGE_SIZE) > dump.size
}

impl Judge<'_> {
    /// What the field hides, and what of that the debugger needs.
    pub(super) fn space(&self) -> Option<Finding> {
        let read = read_memory(self.dump)?;
        let whole = self.windows.space(&self.guest.memory);
        let part = AddressSpace::new(&read, self.windows.mode, self.windows.dtb.value);
        let is_hidden = |gva: Gva| whole.bytes(gva, 8).is_ok() && part.bytes(gva, 8).is_err();
        let needed = self.needed();
        let hidden = |(_, gva): &&(String, Gva)| is_hidden(*gva);
        let fatal = [self.windows.kdbg.value.gva, self.windows.module_list.value];
        let mut names = needed.iter().filter(hidden).map(|(name, _)| name.clone());
        let mut named: Vec<String> = names.by_ref().take(MAX_NAMED).collect();
        let more = names.count();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let is_fatal = fatal.into_iter().any(is_hidden);
        found(self.dump, &read, &Hidden { named, is_fatal })
    }

    /// Where the debugger reads when it opens the dump, by name.
    fn needed(&self) -> Vec<(String, Gva)> {
        let windows = self.windows;
        let mut needed = vec![
            ("the debugger data block".to_owned(), windows.kdbg.value.gva),
            ("the kernel's header".to_owned(), windows.kernel.image.base),
            ("the module list".to_owned(), windows.module_list.value),
            ("the process list".to_owned(), windows.process_list.value),
        ];
        needed.extend(windows.processors.iter().map(|processor| {
            let name = format!("the control block of processor {}", processor.number);
            (name, processor.prcb)
        }));
        needed.extend(windows.processes.iter().map(|process| {
            let name = format!("process {}", process.pid);
            (name, process.eprocess)
        }));
        needed
    }
}
