//! ELF cores with program headers: QEMU's `dump-guest-memory`, libvirt's `virsh dump --memory-only`,
//! VirtualBox' `debugvm dumpvmcore`, and whatever else tells memory by `PT_LOAD` and physical address.
//!
//! ```text
//! Elf header -> program headers -> PT_NOTE  -> vCPUs: QEMU, VBCPU; a dump header: VMCOREINFO
//!                                           of ARM64: CORE
//!                               -> PT_LOAD  -> runs: PhysAddr, FileSiz at Offset (any offset)
//! ```
//!
//! See docs/formats/elf.md.

mod headers;

use std::sync::Arc;

use object::elf::ELFMAG;

use self::headers::{ElfHeader, Kind, Segment};
use super::core_notes::{Found, Notes};
use super::extents::{Extent, Extents};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe};
use crate::error::{Error, Place, Result};
use crate::source::ReadAt;

pub(super) const TITLE: &str = "ELF core (QEMU, libvirt, VirtualBox)";

/// Other ELF files begin so too.
pub(super) const MAGICS: &[&[u8]] = &[&ELFMAG];

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
    let mut salvage = Salvage::new(options);
    check_end(&segments, source.size(), &mut salvage)?;
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
    let machine = header.machine();
    let found = Found::new(&notes, machine);
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
            salvaged: salvage.done("core"),
            warnings,
        },
        memory: mapped.memory(source),
        cpus: found.cpus,
        hints: Hints {
            not_ram: machine.not_ram(),
            headers: found.headers,
            left_out: None,
        },
    })
}

/// Fails, or notes what is missing, if the file ends before its segments do.
fn check_end(segments: &[Segment], file_size: u64, salvage: &mut Salvage) -> Result<()> {
    let expected = segments.iter().map(Segment::end).max().unwrap_or(0);
    if expected <= file_size {
        return Ok(());
    }
    let is_cut = |segment: &&Segment| segment.end() > file_size;
    let cut = segments.iter().filter(is_cut).count();
    let missing = format!("(part of) {cut} of {} segments", segments.len());
    salvage.accept(expected, file_size, missing)
}
