//! Files of guest memory, as hypervisors write them, turned into a [`Guest`].
//!
//! ```text
//! FORMATS  --probe, most specific first-->  open  -->  Guest { memory, cpus, hints, container }
//! ```
//!
//! A new format is one file here, one row in `FORMATS`, one page in docs/formats and one entry in the tests.
//! A probe looks at the first bytes and says yes or no; only after a yes may there be an error.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod cpu;
pub mod dmp;
mod elf;
mod extents;
mod hiberfil;
mod hyperv;
mod kdump;
mod lime;
mod page_index;
mod qemu_stream;
pub mod raw;
pub mod vmware;
mod xen;
mod xen_save;
mod zdmp;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::{Frames, PhysicalMemory};
use crate::source::{JoinedSource, ReadAt, fill_at};

pub use cpu::{Arm64Registers, CpuState, Registers, TableRegister, X86Registers};
pub use kdump::{SplitPart, split_part};

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
    /// What whoever wrote the container left out on purpose.
    pub left_out: Option<LeftOut>,
}

/// Memory that was left out on purpose, rather than missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// That of processes: a kernel dump.
    User,
    /// Whatever was of no interest, such as free pages.
    Some,
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
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Rebuild by rule what a damaged file lacks, and say so, where that is possible.
    pub salvage: bool,
    /// Frames that a raw file leaves out, since no RAM was there.
    pub holes: Vec<Frames>,
}

/// A row of the table of formats.
struct Format {
    /// As the user knows it.
    title: &'static str,
    /// Whether the file is of this format; must not fail.
    probe: fn(&Probe<'_>) -> bool,
    /// Reads everything but the pages.
    open: Open,
}

type OpenOne = fn(Arc<dyn ReadAt>, &OpenOptions) -> Result<Guest>;
type OpenSet = fn(Vec<Arc<dyn ReadAt>>, &OpenOptions) -> Result<Guest>;

/// How a format is opened.
enum Open {
    /// It is one file, always.
    One(OpenOne),
    /// It may be several files.
    Set(OpenSet),
}

/// The beginning of a file, and the file.
struct Probe<'a> {
    head: &'a [u8],
    source: &'a dyn ReadAt,
}

impl<'a> Probe<'a> {
    const fn of(head: &'a [u8], source: &'a dyn ReadAt) -> Self {
        Self { head, source }
    }
}

/// Every format, the most specific first.
static FORMATS: &[Format] = &[
    Format {
        title: xen::TITLE,
        probe: xen::probe,
        open: Open::One(xen::open),
    },
    Format {
        title: dmp::TITLE,
        probe: dmp::probe,
        open: Open::One(dmp::open),
    },
    Format {
        title: kdump::TITLE,
        probe: kdump::probe,
        open: Open::Set(kdump::open),
    },
    Format {
        title: elf::TITLE,
        probe: elf::probe,
        open: Open::One(elf::open),
    },
    Format {
        title: lime::TITLE,
        probe: lime::probe,
        open: Open::One(lime::open),
    },
    Format {
        title: hiberfil::TITLE,
        probe: hiberfil::probe,
        open: Open::One(hiberfil::open),
    },
    Format {
        title: zdmp::TITLE,
        probe: zdmp::probe,
        open: Open::One(zdmp::open),
    },
    Format {
        title: vmware::TITLE,
        probe: vmware::probe,
        open: Open::Set(vmware::open),
    },
    Format {
        title: hyperv::TITLE,
        probe: hyperv::probe,
        open: Open::One(hyperv::open),
    },
    Format {
        title: qemu_stream::TITLE,
        probe: qemu_stream::probe,
        open: Open::One(qemu_stream::open),
    },
    Format {
        title: xen_save::TITLE,
        probe: xen_save::probe,
        open: Open::One(xen_save::open),
    },
    Format {
        title: raw::TITLE,
        probe: raw::probe,
        open: Open::One(raw::open),
    },
];

/// Opens a container of any known format.
///
/// # Errors
/// [`Error::UnknownContainer`] if no format claims the file, or what the claiming format finds wrong.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers make the options for this call"
)]
pub fn open(source: Arc<dyn ReadAt>, options: OpenOptions) -> Result<Guest> {
    open_set(vec![source], &options)
}

/// Opens the files of one guest, in any order: the parts of a split dump, or memory and the state beside it.
///
/// The first format that claims any of them opens them all.
///
/// # Errors
/// [`Error::UnknownContainer`] if no format claims one of them, [`Error::TooMany`] if the format is
/// always one file, or what the format finds wrong.
pub fn open_set(sources: Vec<Arc<dyn ReadAt>>, options: &OpenOptions) -> Result<Guest> {
    if sources.len() > JoinedSource::MAX_PARTS {
        return Err(Error::TooMany {
            what: "files of one guest",
            found: sources.len() as u64,
            limit: JoinedSource::MAX_PARTS as u64,
        });
    }
    let heads = sources
        .iter()
        .map(|source| head(&**source))
        .collect::<Result<Vec<_>>>()?;
    let Some(format) = FORMATS.iter().find(|format| {
        let mut files = heads.iter().zip(&sources);
        files.any(|(head, source)| (format.probe)(&Probe::of(head, &**source)))
    }) else {
        return Err(Error::UnknownContainer {
            expected: FORMATS
                .iter()
                .map(|format| format.title)
                .collect::<Vec<_>>()
                .join(", "),
            found: describe(heads.first().map_or(&[], Vec::as_slice)),
        });
    };
    match (&format.open, <[_; 1]>::try_from(sources)) {
        (Open::One(open), Ok([source])) => open(source, options),
        (Open::Set(open), Ok(sources)) => open(sources.into(), options),
        (Open::Set(open), Err(sources)) => open(sources, options),
        (Open::One(_), Err(sources)) => Err(Error::TooMany {
            what: "files of a format that is one file",
            found: sources.len() as u64,
            limit: 1,
        }),
    }
}

/// The format that claims a file by its first bytes; none for raw memory, which any file may be.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read.
pub fn recognise(source: &dyn ReadAt) -> Result<Option<&'static str>> {
    let head = head(source)?;
    let claimed = FORMATS
        .iter()
        .find(|format| (format.probe)(&Probe::of(&head, source)));
    Ok(claimed
        .map(|format| format.title)
        .filter(|title| *title != raw::TITLE))
}

/// A file's first bytes.
fn head(source: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut head = vec![0; PROBE_BYTES];
    let found = fill_at(source, 0, &mut head).map_err(|e| Error::io("cannot read the file", e))?;
    head.truncate(usize::try_from(found).unwrap_or(PROBE_BYTES));
    Ok(head)
}

/// The first bytes, as a person compares them.
fn describe(head: &[u8]) -> String {
    match head.get(..8.min(head.len())) {
        None | Some([]) => "an empty file".to_owned(),
        Some(first) => format!("\"{}\"", first.escape_ascii()),
    }
}
