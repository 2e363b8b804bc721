//! What Windows says of the places of its own pages.

use super::layout::{Line, Stretch};
use super::marks::{Kind, Mark, Marks};
use crate::address::{Gpa, Gva, Pfn};
use crate::container::Guest;
use crate::memory::PhysicalMemory;
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::Windows;

/// Tables of a line that are asked where a control region is: any of them knows the first processor's.
const MOST_TABLES: usize = 16;

/// Whether something speaks against a file's pages being where they were read: a process' page tables do not map
/// themselves, a list breaks off, or the file ends where no memory does.
pub(super) fn contradicts(guest: &Guest, windows: &Windows) -> bool {
    let roots = windows.processes.iter().map(|process| process.dtb);
    let mut roots = roots.filter_map(|dtb| own_table(&guest.memory, windows.mode, dtb));
    let is_broken = windows
        .warnings
        .iter()
        .any(|warning| warning.contains("broken") || warning.contains("not recognised"));
    is_broken
        || ends_oddly(guest, windows)
        || windows.processes.is_empty()
        || roots.any(|(table, maps_itself)| {
            maps_itself.is_none_or(|own| own != table) && guest.memory.run_of(table).is_some()
        })
}

/// Whether a file ends where no memory does, and what Windows counts does not explain it: neither does Windows count up to
/// that frame, nor with a hole.
fn ends_oddly(guest: &Guest, windows: &Windows) -> bool {
    let pages = super::flat::pages(guest);
    let counted = windows.runs.value.last().map(|run| run.end().get());
    !super::layout::ends_whole(pages, 0)
        && counted != Some(pages)
        && super::count::hole(guest, windows).is_none()
}

/// The table of a process that maps itself, and the frame that it says it is.
fn own_table(memory: &PhysicalMemory, mode: PagingMode, dtb: u64) -> Option<(Pfn, Option<Pfn>)> {
    let root = Gpa::new(dtb & mode.root_mask());
    let word = |gpa: Gpa| {
        let mut bytes = [0; 8];
        memory.read(gpa, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let frame = |entry: u64| (entry & 1 == 1).then(|| Pfn::new(entry >> 12 & 0xf_ffff_ffff));
    match mode {
        PagingMode::X86 => {
            let entry = word(root.checked_add(0xc00)?)? & 0xffff_ffff;
            Some((root.pfn(), frame(entry)))
        }
        PagingMode::X86Pae => {
            let table = frame(word(root.checked_add(24)?)?)?;
            Some((table, frame(word(table.gpa().checked_add(24)?)?)))
        }
        _ => {
            let own = (256..512).find(|index| {
                let entry = root.checked_add(index << 3).and_then(word);
                entry.and_then(frame) == Some(root.pfn())
            });
            Some((root.pfn(), own.map(|_| root.pfn())))
        }
    }
}

/// Adds the marks that the process list confirms.
pub(super) fn add(line: &mut Line, marks: &Marks, memory: &PhysicalMemory, windows: &Windows) {
    let tables: Vec<Pfn> = windows
        .processes
        .iter()
        .filter_map(|process| match (line.kind, windows.mode) {
            (Kind::Pae, mode) => own_table(memory, mode, process.dtb).map(|(table, _)| table),
            (_, mode) => Some(Gpa::new(process.dtb & mode.root_mask()).pfn()),
        })
        .collect();
    let of_kind = marks.tables.get(&line.kind).map_or(&[][..], Vec::as_slice);
    let confirmed = of_kind.iter().filter(|mark| tables.contains(&mark.own));
    for mark in confirmed {
        line.add(*mark);
    }
}

/// Adds the control regions that the line's tables lead to a frame: their pages say which address they have.
pub(super) fn add_regions(line: &mut Line, marks: &Marks, memory: &PhysicalMemory) {
    let of_kind = marks.tables.get(&line.kind).map_or(&[][..], Vec::as_slice);
    let tables: Vec<Pfn> = of_kind
        .iter()
        .filter(|mark| line.holds(mark))
        .map(|mark| mark.own)
        .take(MOST_TABLES)
        .collect();
    for (at, gva) in &marks.regions {
        let leads = |table: &Pfn| frame_of(memory, line.kind, *table, *gva);
        if let Some(own) = tables.iter().find_map(leads) {
            line.add(Mark { at: *at, own });
        }
    }
}

/// The frame of an address, by a table that maps itself.
fn frame_of(memory: &PhysicalMemory, kind: Kind, table: Pfn, gva: Gva) -> Option<Pfn> {
    let root = table.gpa();
    let translate = |mode, root| {
        let space = AddressSpace::new(memory, mode, root);
        space.translate(gva).ok().map(|mapping| mapping.gpa.pfn())
    };
    match kind {
        Kind::X64(_) => {
            translate(PagingMode::X64, root).or_else(|| translate(PagingMode::X64La57, root))
        }
        Kind::Arm64(_) => translate(PagingMode::Arm64, root),
        Kind::X86 => translate(PagingMode::X86, root),
        Kind::Pae => {
            // The four directories are entries of the last one; what leads to them is elsewhere.
            let entry = |table: Gpa, index: u64| {
                let mut bytes = [0; 8];
                memory
                    .read(table.checked_add(index << 3)?, &mut bytes)
                    .ok()?;
                let entry = u64::from_le_bytes(bytes);
                (entry & 1 == 1).then_some(entry)
            };
            let next = |entry: u64| Pfn::new(entry >> 12 & 0xf_ffff_ffff);
            let directory = next(entry(root, gva.get() >> 30 & 3)?).gpa();
            let found = entry(directory, gva.get() >> 21 & 0x1ff)?;
            let page = gva.get() >> 12 & 0x1ff;
            if found & 0x80 != 0 {
                return Some(next(found).saturating_add(page));
            }
            Some(next(entry(next(found).gpa(), page)?))
        }
    }
}

/// The page of the file behind the last one whose place is proven: by page tables that map themselves, or because what
/// Windows says is there is there.
pub(super) fn proven_end(windows: &Windows, guest: &Guest, last: Stretch) -> u64 {
    let space = windows.space(&guest.memory);
    let frame = |gva: Gva| space.translate(gva).ok().map(|mapping| mapping.gpa.pfn());
    let starts_with =
        |gva: Gva, bytes: &[u8]| space.bytes(gva, bytes.len()).is_ok_and(|b| b == bytes);
    let modules = windows.modules.iter().map(|module| module.base);
    let images = modules.filter(|base| starts_with(*base, b"MZ"));
    let lists = windows.processes.iter().map(|process| process.eprocess);
    let blocks = windows.processors.iter().map(|processor| processor.prcb);
    let places = images
        .chain(lists)
        .chain(blocks)
        .chain([windows.kdbg.value.gva, windows.module_list.value]);
    let frames = places.filter_map(frame).map(Pfn::get);
    let of_last = last.last.saturating_add_signed(last.shift);
    let highest = frames.chain([of_last]).max().unwrap_or(0);
    let end = highest.saturating_add(1);
    end.saturating_add_signed(last.shift.saturating_neg())
}
