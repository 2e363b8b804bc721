//! ELF cores with program headers: QEMU's `dump-guest-memory`, libvirt's `virsh dump --memory-only`,
//! VirtualBox' `debugvm dumpvmcore`, and whatever else tells memory by `PT_LOAD` and physical address.
//!
//! ```text
//! Elf header -> program headers -> PT_NOTE  -> vCPUs: QEMU, VBCPU; a dump header: VMCOREINFO
//!                               -> PT_LOAD  -> runs: PhysAddr, FileSiz at Offset (any offset)
//! ```
//!
//! See docs/formats/elf.md.

mod cpus;
mod headers;
mod notes;

use std::sync::Arc;

use self::headers::{ElfHeader, Kind, Segment};
use super::extents::{Extent, Extents};
use super::{ContainerInfo, CpuState, Guest, HeaderHint, Hints, OpenOptions, Probe};
use crate::address::Pfn;
use crate::error::{Error, Place, Result};
use crate::format::dump_values::SIGNATURE;
use crate::memory::Frames;
use crate::source::ReadAt;

pub(super) use notes::Notes;

pub(super) const TITLE: &str = "ELF core (QEMU, libvirt, VirtualBox)";

/// Frames of a PC that are no RAM wherever a hypervisor backs them with memory: VGA; and below 4 GiB, video
/// memory and firmware.
const NOT_RAM: [(u64, u64); 2] = [(0xa0, 0xc0), (0xf_0000, 0x10_0000)];

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    ElfHeader::parse(probe.head).is_some()
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let header = ElfHeader::read(&*source)?;
    let segments = header.segments(&*source)?;
    if !segments.iter().any(|segment| segment.kind == Kind::Load) {
        let place = Place::Offset(header.segments_at);
        let (expected, found) = ("memory (PT_LOAD)", "none");
        return Err(Error::malformed("program headers", place, expected, found));
    }
    let salvaged = cut_short(&segments, source.size(), options)?;
    let mut extents = Extents::default();
    let mut notes = Notes::default();
    for segment in &segments {
        let offset = segment.offset;
        let bytes = source.size().saturating_sub(offset).min(segment.bytes);
        match segment.kind {
            Kind::Note => notes.read(&*source, offset, bytes)?,
            Kind::Load => {
                let gpa = segment.gpa;
                let extent = Extent { gpa, bytes, offset };
                extents.push(extent, "physical address of a PT_LOAD")?;
            }
        }
    }
    let mut details = vec![("machine", header.machine_name())];
    if let Some(first) = extents.overlap {
        let note = format!("yes, from {first:#x} on: the first of them counts");
        details.push(("overlapping ranges", note));
    }
    let mapped = extents.finish()?;
    let found = Found::new(&notes, header.is_x86());
    details.extend(found.writer);
    let mut warnings = found.warnings;
    warnings.extend(mapped.warning());
    Ok(Guest {
        container: ContainerInfo {
            format: "elf",
            title: TITLE,
            size: source.size(),
            details,
            padding: 0,
            salvaged,
            warnings,
        },
        memory: mapped.memory(source),
        cpus: found.cpus,
        hints: Hints {
            not_ram: not_ram(),
            headers: found.headers,
            left_out: None,
        },
    })
}

pub(super) fn not_ram() -> Vec<Frames> {
    NOT_RAM
        .map(|(first, end)| Frames::between(Pfn::new(first), Pfn::new(end)))
        .to_vec()
}

/// What is not in the file, in words, if that is accepted.
fn cut_short(
    segments: &[Segment],
    file_size: u64,
    options: &OpenOptions,
) -> Result<Option<String>> {
    let ends = segments.iter().map(Segment::end);
    let expected = ends.max().unwrap_or(0);
    if expected <= file_size {
        return Ok(None);
    }
    let cut = segments
        .iter()
        .filter(|segment| segment.end() > file_size)
        .count();
    let missing = format!("(part of) {cut} of {} segments", segments.len());
    if !options.salvage {
        return Err(Error::CutShort {
            expected,
            found: file_size,
            missing,
        });
    }
    Ok(Some(format!(
        "the core was cut short (missing: {missing}); what is there was taken"
    )))
}

/// What notes tell.
pub(super) struct Found {
    pub(super) cpus: Vec<CpuState>,
    pub(super) headers: Vec<HeaderHint>,
    /// What wrote them.
    pub(super) writer: Option<(&'static str, String)>,
    pub(super) warnings: Vec<String>,
}

impl Found {
    pub(super) fn new(notes: &Notes, is_x86: bool) -> Self {
        let mut warnings = Vec::new();
        let (cpus, writer) = if is_x86 {
            cpus::read(notes, &mut warnings)
        } else {
            (Vec::new(), None)
        };
        if !is_x86 {
            warnings.push("the vCPUs of this machine are not read: no registers".to_owned());
        } else if cpus.is_empty() {
            let threads = notes.threads();
            let why = if threads == 0 {
                "no note tells the vCPUs".to_owned()
            } else {
                format!("{threads} CORE notes, but none with control registers")
            };
            warnings.push(format!("{why}: no registers"));
        }
        warnings.extend(notes.broken.iter().cloned());
        Self {
            cpus,
            headers: headers(notes),
            writer: writer.map(|writer| ("written by", writer)),
            warnings,
        }
    }
}

/// A driver of QEMU's `fw_cfg` device leaves a dump header where Linux leaves its `VMCOREINFO`.
fn headers(notes: &Notes) -> Vec<HeaderHint> {
    const NAME: &str = "VMCOREINFO";
    let signature = SIGNATURE.as_slice();
    notes
        .named(NAME.as_bytes())
        .filter(|note| note.desc.starts_with(signature))
        .map(|note| HeaderHint {
            name: NAME,
            bytes: note.desc.clone(),
        })
        .collect()
}
