//! The process list, and with it the page tables of System.
//!
//! ```text
//! PsActiveProcessHead <-> EPROCESS.ActiveProcessLinks
//!     links - pointer       UniqueProcessId   (directly before the links since NT 5.1)
//!     links - ?             EPROCESS          found through System: its page tables map the same kernel
//!     links + ?             ImageFileName     found through System: "System"
//! ```

use super::lists;
use super::pe::PeImage;
use super::processors::Processor;
use crate::address::{Gpa, Gva};
use crate::format::nt::{Layout, PROCESS_OBJECT};
use crate::paging::AddressSpace;

/// Processes that are listed.
const MAX_PROCESSES: usize = 16384;
/// Bytes before and after the links in which an EPROCESS is searched.
const MAX_EPROCESS: u64 = 0x800;
/// Processes that are asked for their shape where System's page tables are missing.
const MAX_OTHERS: usize = 16;
/// `EPROCESS.ImageFileName` has 15 or 16 bytes, with a zero.
const IMAGE_NAME_BYTES: usize = 15;
/// System's process id since NT 5.1.
pub(super) const SYSTEM_PID: u64 = 4;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its EPROCESS.
    pub eprocess: Gva,
    /// Its process id.
    pub pid: u64,
    /// Its image's file name, cut to 15 bytes by Windows. Guest text.
    pub name: String,
    /// Its page tables, as CR3 holds them.
    pub dtb: u64,
}

/// Where things are in an EPROCESS.
#[derive(Debug, Clone, Copy)]
struct Shape {
    links: u64,
    name: Option<u64>,
}

/// What the process list tells.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// System first, as Windows lists them.
    pub(super) list: Vec<Process>,
    /// Why the list ended early.
    pub(super) broken: Option<String>,
    shape: Option<Shape>,
}

impl Processes {
    /// The Idle process, which no list has: the process 0 that a processor's thread is attached to.
    pub(super) fn idle(
        &self,
        space: &AddressSpace<'_>,
        kernel: &PeImage,
        processors: &[Processor],
    ) -> Option<Process> {
        let shape = self.shape?;
        let layout = Layout::of(space.mode().is_64bit());
        let attached = processors.iter().filter_map(|processor| processor.process);
        let mut others = attached.filter(|gva| !self.list.iter().any(|it| it.eprocess == *gva));
        others.find_map(|eprocess| {
            let process = shape.process(space, eprocess.checked_add(shape.links)?)?;
            let is_idle = process.pid == 0 && is_process(space, layout, kernel, eprocess);
            is_idle.then_some(process)
        })
    }
}

/// The processes.
pub(super) fn read(space: &AddressSpace<'_>, kernel: &PeImage, head: Gva) -> Processes {
    let layout = Layout::of(space.mode().is_64bit());
    let walk = lists::walk(space, head, MAX_PROCESSES);
    let system = walk
        .entries
        .iter()
        .copied()
        .find(|links| pid_of(space, *links) == Some(SYSTEM_PID));
    let shape = system.and_then(|links| {
        shape(space, layout, kernel, links)
            .or_else(|| shape_of_others(space, layout, kernel, links, &walk.entries))
    });
    let Some(shape) = shape else {
        let why = "the process list: System was not recognised in it";
        return Processes {
            broken: Some(walk.broken.unwrap_or(why.to_owned())),
            ..Processes::default()
        };
    };
    let entries = walk.entries.iter();
    Processes {
        list: entries
            .filter_map(|links| shape.process(space, *links))
            .collect(),
        broken: walk
            .broken
            .map(|why| format!("the process list is broken: {why}")),
        shape: Some(shape),
    }
}

impl Shape {
    /// The process with these links.
    fn process(self, space: &AddressSpace<'_>, links: Gva) -> Option<Process> {
        let layout = Layout::of(space.mode().is_64bit());
        let eprocess = links.checked_sub(self.links)?;
        let name = self.name.and_then(|offset| {
            let gva = links.checked_add(offset)?;
            space.bytes(gva, IMAGE_NAME_BYTES).ok()
        });
        let name = name.unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let dtb = eprocess.checked_add(layout.process_dtb as u64)?;
        Some(Process {
            eprocess,
            pid: pid_of(space, links)?,
            name: String::from_utf8_lossy(name).into_owned(),
            dtb: space.word(dtb).ok()?,
        })
    }
}

/// The process id is in front of the links.
fn pid_of(space: &AddressSpace<'_>, links: Gva) -> Option<u64> {
    let layout = Layout::of(space.mode().is_64bit());
    space.word(links.checked_sub(layout.pointer as u64)?).ok()
}

/// Learns it from the other processes, where System's page tables are missing.
fn shape_of_others(
    space: &AddressSpace<'_>,
    layout: &Layout,
    kernel: &PeImage,
    system: Gva,
    entries: &[Gva],
) -> Option<Shape> {
    let others = entries.iter().filter(|links| **links != system);
    others.take(MAX_OTHERS).find_map(|links| {
        let shape = shape(space, layout, kernel, *links)?;
        let bytes = space.bytes_to_page_end(system, usize::try_from(MAX_EPROCESS).unwrap_or(0));
        let name = name_offset(&bytes);
        let eprocess = system.checked_sub(shape.links)?;
        let is_process = space.value::<u8>(eprocess).ok()? == PROCESS_OBJECT;
        (is_process && name.is_some()).then_some(Shape { name, ..shape })
    })
}

/// Where System's name is.
fn name_offset(bytes: &[u8]) -> Option<u64> {
    memchr::memmem::find(bytes, b"System\0").map(|at| at as u64)
}

/// Learns the shape of an EPROCESS from System's.
fn shape(space: &AddressSpace<'_>, layout: &Layout, kernel: &PeImage, links: Gva) -> Option<Shape> {
    let exported = kernel
        .export(space, "PsInitialSystemProcess")
        .and_then(|gva| space.pointer(gva).ok())
        .filter(|eprocess| is_process(space, layout, kernel, *eprocess))
        .filter(|eprocess| links.get().wrapping_sub(eprocess.get()) < MAX_EPROCESS);
    let eprocess = exported.or_else(|| {
        (1..MAX_EPROCESS / 8).find_map(|back| {
            let gva = Gva::new(links.get() & !7).checked_sub(back.saturating_mul(8))?;
            is_process(space, layout, kernel, gva).then_some(gva)
        })
    })?;
    let whole = usize::try_from(MAX_EPROCESS).unwrap_or(0);
    let bytes = space.bytes_to_page_end(links, whole);
    Some(Shape {
        links: links.get().checked_sub(eprocess.get())?,
        name: name_offset(&bytes),
    })
}

/// Whether a process object is here: its type, and page tables that map this very kernel.
fn is_process(space: &AddressSpace<'_>, layout: &Layout, kernel: &PeImage, gva: Gva) -> bool {
    let mut kind = [0];
    if space.read(gva, &mut kind).is_err() || kind != [PROCESS_OBJECT] {
        return false;
    }
    let Ok(dtb) = space.word(gva.saturating_add(layout.process_dtb as u64)) else {
        return false;
    };
    if dtb & space.mode().root_mask() == 0 {
        return false;
    }
    let own = AddressSpace::new(space.memory(), space.mode(), Gpa::new(dtb));
    let here = space.translate(kernel.base).ok();
    here.is_some() && own.translate(kernel.base).ok() == here
}
