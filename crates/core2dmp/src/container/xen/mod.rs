//! Xen dump-core: what `xl dump-core` and the crash path of `xl` write, for HVM, PVH and PV guests.
//!
//! ```text
//! ELF header -> sections by name -> notes, vCPUs, pages
//!                                   .xen_pfn / .xen_p2m  --read in blocks-->  runs
//! ```
//!
//! The page table of the file is turned into runs while it is read, so that a guest of 1 TiB (2 GiB of table)
//! takes no more memory than one of 1 GiB. A core that was cut short has lost that table, which comes last:
//! see [`salvage`].
//!
//! See docs/formats/xen.md, and `format/xen.rs` for the sources.

mod layout;
mod pages;
mod salvage;
mod vcpu;

use std::sync::Arc;

use object::elf::ELFMAG;
use zerocopy::FromBytes;

use self::layout::Layout;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe};
use crate::address::{PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::format::xen::{
    MAGIC_HVM, MAGIC_PV, NOTE_HEADER, NOTE_XEN_VERSION, NoteHeader, NoteXenVersion, SKIPPED_MMIO,
    SKIPPED_VGA,
};
use crate::memory::{Frames, Overlap, PhysicalMemory, RunBuilder};
use crate::source::ReadAt;

pub(super) const TITLE: &str = "Xen dump-core";
/// Other ELF files begin so too.
pub(super) const MAGICS: &[&[u8]] = &[&ELFMAG];

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    layout::is_xen_core(probe.head, probe.source)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let layout = Layout::read(&*source)?;
    let notes = layout.notes(&*source)?;
    let header = header(&notes, layout.notes.offset)?;
    let cut = salvage::missing(&layout, source.size());
    if let Some(missing) = cut.as_ref().filter(|_| !options.salvage) {
        return Err(Error::CutShort {
            expected: layout.end(),
            found: source.size(),
            missing: missing.join("; "),
        });
    }
    let mut runs = RunBuilder::default();
    let table = pages::read_table(&*source, &layout, &header, &mut runs)?;
    let salvaged = match &cut {
        Some(missing) => Some(salvage::rebuild(
            &layout,
            source.size(),
            &table,
            missing,
            &mut runs,
        )?),
        None => None,
    };
    let runs = runs
        .finish()
        .map_err(|overlap| duplicate(&layout, overlap))?;
    let cpus = vcpu::read(&*source, &layout)?;
    let container = describe(
        &layout,
        &header,
        &notes,
        &cpus,
        &table,
        salvaged,
        source.size(),
    );
    Ok(Guest {
        memory: PhysicalMemory::new(source, runs),
        cpus,
        hints: Hints {
            not_ram: [SKIPPED_VGA, SKIPPED_MMIO]
                .map(|(first, end)| Frames::between(Pfn::new(first), Pfn::new(end)))
                .to_vec(),
            ..Hints::default()
        },
        container,
    })
}

/// The contents of the header note, checked.
fn header(notes: &[layout::Note], offset: u64) -> Result<NoteHeader> {
    let place = Place::Offset(offset);
    let header = notes
        .iter()
        .find(|note| note.kind == NOTE_HEADER)
        .and_then(|note| NoteHeader::read_from_prefix(&note.desc).ok())
        .map(|(header, _)| header)
        .ok_or_else(|| Error::malformed(".note.Xen", place, "a header note of 32 bytes", "none"))?;
    if header.page_size.get() != PAGE_SIZE {
        return Err(Error::malformed(
            "page size in .note.Xen",
            place,
            PAGE_SIZE.to_string(),
            header.page_size.get().to_string(),
        ));
    }
    Ok(header)
}

fn duplicate(layout: &Layout, overlap: Overlap) -> Error {
    Error::malformed(
        layout.table.name(),
        Place::Offset(layout.table.section.offset),
        "every frame once",
        format!("frame {} twice", overlap.pfn),
    )
}

fn describe(
    layout: &Layout,
    header: &NoteHeader,
    notes: &[layout::Note],
    cpus: &[super::CpuState],
    table: &pages::TableSummary,
    salvaged: Option<String>,
    size: u64,
) -> ContainerInfo {
    let kind = match header.magic.get() {
        MAGIC_HVM => "HVM or PVH".to_owned(),
        MAGIC_PV => "PV".to_owned(),
        other => format!("unknown ({other:#x})"),
    };
    let mut details = vec![("guest", kind)];
    let version = notes
        .iter()
        .find(|note| note.kind == NOTE_XEN_VERSION)
        .and_then(|note| NoteXenVersion::read_from_prefix(&note.desc).ok());
    if let Some((version, _)) = version {
        let extra = version.extra.split(|byte| *byte == 0).next();
        details.push((
            "written by",
            format!(
                "Xen {}.{}{}",
                version.major,
                version.minor,
                extra.unwrap_or_default().escape_ascii()
            ),
        ));
    }
    details.push(("page table", layout.table.name().to_owned()));
    let mut warnings = Vec::new();
    if header.nr_vcpus.get() != cpus.len() as u64 {
        warnings.push(format!(
            "the header note promises {} vCPUs, .xen_prstatus holds {}",
            header.nr_vcpus,
            cpus.len()
        ));
    }
    ContainerInfo {
        format: "xen",
        title: TITLE,
        size,
        details,
        padding: table.padding,
        salvaged,
        warnings,
    }
}
