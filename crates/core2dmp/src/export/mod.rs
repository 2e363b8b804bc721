//! The same memory for other programs: raw, an ELF core, LiME.
//!
//! ```text
//! raw   byte n of the file is physical address n; what is absent is a hole
//! ELF   header | program headers | notes: registers | [to the next 4096] range | range ...
//! LiME  header | range | header | range ...
//! ```
//!
//! Nothing of the guest is looked at or changed, so it works for every guest, Windows or not. As with a dump there
//! are only segments here; `write` moves the bytes.

mod elf;
mod planned;
mod tables;

use zerocopy::IntoBytes;

use crate::address::{MEBIBYTE, Pfn};
use crate::container::Guest;
use crate::format::lime;
use crate::image::Image;
use crate::memory::{Frames, PhysicalMemory};

pub use planned::{Export, ExportFormat};

/// Plans a file of the guest's memory.
pub fn export(guest: &Guest, format: ExportFormat) -> Export {
    let mut export = Export {
        format,
        image: Image::new(),
        runs: ranges(&guest.memory),
        vcpus: 0,
        warnings: Vec::new(),
    };
    match format {
        ExportFormat::Raw => raw(&mut export, guest),
        ExportFormat::Elf => elf::elf(&mut export, guest),
        ExportFormat::Lime => lime(&mut export, guest),
    }
    if format != ExportFormat::Elf && !guest.cpus.is_empty() {
        export.warnings.push(format!(
            "{} has no place for registers: those of {} vCPUs are left out",
            format.title(),
            guest.cpus.len()
        ));
    }
    export
}

/// Ranges of frames, whatever their bytes come from.
fn ranges(memory: &PhysicalMemory) -> Vec<Frames> {
    let mut ranges: Vec<Frames> = Vec::new();
    for run in memory.runs() {
        match ranges.last_mut() {
            Some(last) if last.end() == run.frames.first => {
                last.count = last.count.saturating_add(run.frames.count);
            }
            _ => ranges.push(run.frames),
        }
    }
    ranges
}

/// Ends at a whole mebibyte, as RAM does: a raw file that ends elsewhere looks as if pages were missing from it.
fn raw(export: &mut Export, guest: &Guest) {
    let last = export.runs.last().map_or(0, |run| run.end().get());
    let end = last.next_multiple_of(MEBIBYTE);
    export.push_frames(&guest.memory, Frames::between(Pfn::new(0), Pfn::new(end)));
    let absent = last.saturating_sub(guest.memory.frame_count());
    if absent > 0 {
        export.warnings.push(format!(
            "raw memory does not tell what is absent from what is zero: {absent} frames are holes in the file"
        ));
    }
}

fn lime(export: &mut Export, guest: &Guest) {
    for range in export.runs.clone() {
        let header = lime::RangeHeader::new(
            range.first.gpa().get(),
            range.end().gpa().get().saturating_sub(1),
        );
        export.image.push_bytes(header.as_bytes().to_vec());
        export.push_frames(&guest.memory, range);
    }
}
