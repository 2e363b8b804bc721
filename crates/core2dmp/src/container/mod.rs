//! Files of guest memory, as hypervisors write them, turned into a [`Guest`].
//!
//! ```text
//! FORMATS  --probe, most specific first-->  open  -->  Guest { memory, cpus, hints, container }
//! ```
//!
//! A new format is one file here, one row in `FORMATS`, one page in docs/formats and one entry in the tests.
//! A probe looks at the first bytes and says yes or no; only after a yes may there be an error.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod core_notes;
mod cpu;
pub mod dmp;
mod elf;
mod extents;
mod guest;
mod hiberfil;
mod hyperv;
mod kdump;
mod lime;
mod options;
mod page_index;
mod pc;
mod probe;
mod qemu_stream;
pub mod raw;
mod salvage;
pub mod vmware;
mod xen;
mod xen_save;
mod zdmp;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::source::{JoinedSource, ReadAt, fill_at};

pub use cpu::{
    Arm64Floating, Arm64Registers, Arm64System, CpuState, Registers, TableRegister, X86Registers,
};
pub use guest::{ContainerInfo, Guest, HeaderHint, Hints, LeftOut};
pub use kdump::{SplitPart, split_part};
pub use options::OpenOptions;

use probe::Probe;

/// Bytes that a probe sees.
const PROBE_BYTES: usize = 0x1000;

/// A row of the table of formats.
struct Format {
    /// What the user asks for it by.
    name: &'static str,
    /// As the user knows it.
    title: &'static str,
    /// The first bytes of its files; no other file beginning with them is raw memory.
    magics: &'static [&'static [u8]],
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

/// Every format, the most specific first.
static FORMATS: &[Format] = &[
    Format {
        name: "xen",
        title: xen::TITLE,
        magics: xen::MAGICS,
        probe: xen::probe,
        open: Open::One(xen::open),
    },
    Format {
        name: "dmp",
        title: dmp::TITLE,
        magics: dmp::MAGICS,
        probe: dmp::probe,
        open: Open::One(dmp::open),
    },
    Format {
        name: "kdump",
        title: kdump::TITLE,
        magics: kdump::MAGICS,
        probe: kdump::probe,
        open: Open::Set(kdump::open),
    },
    Format {
        name: "elf",
        title: elf::TITLE,
        magics: elf::MAGICS,
        probe: elf::probe,
        open: Open::One(elf::open),
    },
    Format {
        name: "lime",
        title: lime::TITLE,
        magics: lime::MAGICS,
        probe: lime::probe,
        open: Open::One(lime::open),
    },
    Format {
        name: "hiberfil",
        title: hiberfil::TITLE,
        magics: hiberfil::MAGICS,
        probe: hiberfil::probe,
        open: Open::One(hiberfil::open),
    },
    Format {
        name: "zdmp",
        title: zdmp::TITLE,
        magics: zdmp::MAGICS,
        probe: zdmp::probe,
        open: Open::One(zdmp::open),
    },
    Format {
        name: "vmware",
        title: vmware::TITLE,
        magics: vmware::MAGICS,
        probe: vmware::probe,
        open: Open::Set(vmware::open),
    },
    Format {
        name: "hyperv",
        title: hyperv::TITLE,
        magics: hyperv::MAGICS,
        probe: hyperv::probe,
        open: Open::One(hyperv::open),
    },
    Format {
        name: "qemu",
        title: qemu_stream::TITLE,
        magics: qemu_stream::MAGICS,
        probe: qemu_stream::probe,
        open: Open::One(qemu_stream::open),
    },
    Format {
        name: "xen-save",
        title: xen_save::TITLE,
        magics: xen_save::MAGICS,
        probe: xen_save::probe,
        open: Open::One(xen_save::open),
    },
    Format {
        name: "raw",
        title: raw::TITLE,
        magics: raw::MAGICS,
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
        if let Some(name) = &options.format {
            return format.name == name;
        }
        let mut files = heads.iter().zip(&sources);
        files.any(|(head, source)| (format.probe)(&probe_of(head, &**source)))
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

/// What [`OpenOptions::format`] may be.
pub fn format_names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|format| format.name)
}

/// The format that claims a file by its first bytes; none for raw memory, which any file may be, and for zeros.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read.
pub fn recognise(source: &dyn ReadAt) -> Result<Option<&'static str>> {
    let head = head(source)?;
    let probe = probe_of(&head, source);
    let claimed = FORMATS.iter().find(|format| (format.probe)(&probe));
    Ok(claimed
        .filter(|format| format.name != "hiberfil" || !hiberfil::is_nothing(&probe))
        .map(|format| format.title)
        .filter(|title| *title != raw::TITLE))
}

/// A file as the formats see it, by its first bytes.
fn probe_of<'a>(head: &'a [u8], source: &'a dyn ReadAt) -> Probe<'a> {
    let mut probe = Probe {
        head,
        source,
        begins_as_known: false,
    };
    let mut magics = FORMATS.iter().map(|format| format.magics);
    probe.begins_as_known = magics.any(|magics| probe.begins_with(magics));
    probe
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
