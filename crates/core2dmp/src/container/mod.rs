//! Files of guest memory, as hypervisors write them, turned into a [`Guest`].
//!
//! ```text
//! FORMATS  --probe, most specific first-->  open  -->  Guest { memory, cpus, hints, container }
//! ```
//!
//! A new format is one file here, one row in [`FORMATS`], one page in docs/formats and one entry in the tests.
//! A probe looks at the first bytes and says yes or no; only after a yes may there be an error.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod cpu;
mod xen;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::{Frames, PhysicalMemory};
use crate::source::{ReadAt, fill_at};

pub use cpu::{Arm64Registers, CpuState, Registers, TableRegister, X86Registers};

/// Bytes that a probe sees.
const PROBE_BYTES: usize = 0x1000;

/// What a container holds: memory, processors, and what else is known without looking at the memory.
#[derive(Debug)]
pub struct Guest {
    /// Physical memory.
    pub memory: PhysicalMemory,
    /// The hypervisor's vCPUs in the container's order, which is not the processors' order.
    pub cpus: Vec<CpuState>,
    /// What helps to find Windows.
    pub hints: Hints,
    /// What the container says of itself.
    pub container: ContainerInfo,
}

/// What a container knows about the guest besides memory and registers.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Frames that may be in the container without being RAM.
    pub not_ram: Vec<Frames>,
    /// Dump headers that notes of the container hold.
    pub headers: Vec<HeaderHint>,
}

/// A dump header in a note.
#[derive(Debug, Clone)]
pub struct HeaderHint {
    /// The note's name.
    pub name: &'static str,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// What a container says of itself.
#[derive(Debug, Clone)]
pub struct ContainerInfo {
    /// Short name of the format, such as "xen".
    pub format: &'static str,
    /// The format in words.
    pub title: &'static str,
    /// Bytes of the file.
    pub size: u64,
    /// Further facts: name and value.
    pub details: Vec<(&'static str, String)>,
    /// Entries of the page table that stand for no page.
    pub padding: u64,
    /// The map was rebuilt by rule: what was missing and what was done.
    pub salvaged: Option<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How to open a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Rebuild by rule what a damaged file lacks, and say so, where that is possible.
    pub salvage: bool,
}

/// A row of the table of formats.
struct Format {
    /// As the user knows it.
    title: &'static str,
    /// Whether the file is of this format; must not fail.
    probe: fn(&Probe<'_>) -> bool,
    /// Reads everything but the pages.
    open: fn(Arc<dyn ReadAt>, OpenOptions) -> Result<Guest>,
}

/// The beginning of a file, and the file.
struct Probe<'a> {
    head: &'a [u8],
    source: &'a dyn ReadAt,
}

/// Every format, the most specific first.
static FORMATS: &[Format] = &[Format {
    title: xen::TITLE,
    probe: xen::probe,
    open: xen::open,
}];

/// Opens a container of any known format.
///
/// # Errors
/// [`Error::UnknownContainer`] if no format claims the file, or what the claiming format finds wrong.
pub fn open(source: Arc<dyn ReadAt>, options: OpenOptions) -> Result<Guest> {
    let mut head = vec![0; PROBE_BYTES];
    let found =
        fill_at(&*source, 0, &mut head).map_err(|e| Error::io("cannot read the file", e))?;
    head.truncate(usize::try_from(found).unwrap_or(PROBE_BYTES));
    let probe = Probe {
        head: &head,
        source: &*source,
    };
    match FORMATS.iter().find(|format| (format.probe)(&probe)) {
        Some(format) => (format.open)(source, options),
        None => Err(Error::UnknownContainer {
            expected: FORMATS
                .iter()
                .map(|format| format.title)
                .collect::<Vec<_>>()
                .join(", "),
            found: describe(&head),
        }),
    }
}

/// The first bytes, as a person compares them.
fn describe(head: &[u8]) -> String {
    match head.get(..8.min(head.len())) {
        None | Some([]) => "an empty file".to_owned(),
        Some(first) => first.escape_ascii().to_string(),
    }
}
