//! The kernel image: its mapping, PE headers, CodeView record, exports and the kernel's own variables.
//!
//! ```text
//! +0       MZ, PE header, section table         +0x2000  debug directory -> RSDS ntkrnlmp.pdb
//! +0x3000  export directory "ntoskrnl.exe"      +0x10000 .text: code.rs
//! +unit    .data: KDBG, variables               +2*unit  PAGE: valid, transition, prototype and empty entries
//! ```
//!
//! References: Microsoft "PE Format"; page table entries that are not valid: Intel SDM (bit 0), and the layouts of
//! MMPTE_TRANSITION (bit 11 set, bit 10 clear), MMPTE_PROTOTYPE (bit 10) in public symbols.

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::windows::code::TEXT;
use crate::windows::expected::{Module, Pdb};
use crate::windows::memory::{PAGE, Place, scramble};
use crate::windows::paging::KERNEL;
use crate::windows::world::World;

/// Offset of the debug directory in any image of ours.
const DEBUG: u64 = 0x2000;
/// Offset of the export directory.
const EXPORTS: u64 = 0x3000;
/// Where the kernel lies if it has large pages, from the start of RAM on: text here, data 2 MiB on (or above 4 GiB).
const TEXT_PFN: u64 = 0x400;
const DATA_PFN: u64 = 0x600;
/// Frames in a large page.
const LARGE_FRAMES: u64 = 512;

/// The kernel's module entry.
pub(crate) fn module(world: &World<'_>) -> Module {
    let layout = world.layout();
    Module {
        name: "ntoskrnl.exe".to_owned(),
        path: "\\SystemRoot\\system32\\ntoskrnl.exe".to_owned(),
        base: layout.regions.kernel,
        size: layout.image_size(),
        timestamp: 0x4a5b_c007 + layout.build,
        pdb: pdb(layout.pdb, layout.build),
    }
}

/// A CodeView record with a GUID made from a number.
pub(crate) fn pdb(name: &str, seed: u32) -> Pdb {
    let mut guid = [0; 16];
    put_u64(&mut guid, 0, scramble(u64::from(seed)));
    put_u64(&mut guid, 8, scramble(u64::from(seed) << 8 | 1));
    Pdb {
        name: name.to_owned(),
        guid,
        age: 1 + seed % 2,
    }
}

/// Maps the image.
pub(crate) fn map(world: &mut World<'_>) {
    let regions = &world.layout().regions;
    let (base, unit) = (regions.kernel, regions.unit);
    if regions.large_pages {
        let data_pfn = match world.map.high.clone() {
            Some(high) => high.start + LARGE_FRAMES,
            None => world.spec.ram_start + DATA_PFN,
        };
        for (va, pfn) in [
            (base, world.spec.ram_start + TEXT_PFN),
            (base + unit, data_pfn),
        ] {
            world.ram.allocator.reserve(pfn..pfn + LARGE_FRAMES);
            world.space.map_large(&mut world.ram, va, pfn, KERNEL);
        }
    } else {
        world.map_pages(base, unit / PAGE as u64, Place::Low);
        world.map_pages(base + unit, unit / PAGE as u64, Place::High);
    }
    map_pageable(world, base + 2 * unit, unit);
}

/// Every eighth page of the PAGE section is valid; the others are gone in one of four ways.
fn map_pageable(world: &mut World<'_>, start: u64, bytes: u64) {
    let mask = address_mask(world);
    for i in 0..bytes / PAGE as u64 {
        let va = start + i * PAGE as u64;
        match i % 8 {
            0 => world.map_pages(va, 1, Place::Low),
            // In transition: the frame still holds the page, but the processor faults.
            1 => {
                let pfn = world.ram.allocator.take(Place::Low);
                world.ram.frames.write(pfn << 12, b"a page in transition");
                world
                    .space
                    .set_entry(&mut world.ram, va, 12, pfn << 12 | 0x880 | 0x60);
            }
            // A prototype entry: bit 10, and an address where others have a frame number.
            2 => world
                .space
                .set_entry(&mut world.ram, va, 12, 0x0001_2340_0000_0400 & mask),
            // In a page file: offset in the upper half, neither transition nor prototype.
            3 => world
                .space
                .set_entry(&mut world.ram, va, 12, 0x0000_4321_0000_0080 & mask),
            _ => {}
        }
    }
}

/// Entries are 32 bits wide without PAE.
fn address_mask(world: &World<'_>) -> u64 {
    if world.layout().arch == crate::windows::arch::Arch::X86 {
        0xffff_ffff
    } else {
        u64::MAX
    }
}

/// Writes headers and CodeView record of an image whose first pages are mapped.
pub(crate) fn write_headers(
    world: &mut World<'_>,
    module: &Module,
    sections: &[(&str, u64, u64, u32)],
    exports: u64,
) {
    let is_64 = world.layout().arch.is_64();
    let mut page = vec![0; PAGE];
    put_bytes(&mut page, 0, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff");
    put_u32(&mut page, 0x3c, 0xf8);
    let pe = 0xf8;
    put_bytes(&mut page, pe, b"PE\0\0");
    put_u16(&mut page, pe + 4, world.layout().arch.machine());
    put_u16(&mut page, pe + 6, sections.len() as u16);
    put_u32(&mut page, pe + 8, module.timestamp);
    let optional_size = if is_64 { 0xf0 } else { 0xe0 };
    put_u16(&mut page, pe + 20, optional_size);
    put_u16(&mut page, pe + 22, if is_64 { 0x22 } else { 0x102 });
    let optional = pe + 24;
    put_u16(&mut page, optional, if is_64 { 0x20b } else { 0x10b });
    put_u32(&mut page, optional + 16, 0x1_4000);
    if is_64 {
        put_u64(&mut page, optional + 24, module.base);
    } else {
        put_u32(&mut page, optional + 28, module.base as u32);
    }
    put_u32(&mut page, optional + 32, 0x1000);
    put_u32(&mut page, optional + 36, 0x200);
    put_u16(&mut page, optional + 48, 10);
    put_u32(&mut page, optional + 56, module.size as u32);
    put_u32(&mut page, optional + 60, 0x400);
    put_u32(&mut page, optional + 64, module.timestamp ^ 0x5555);
    put_u16(&mut page, optional + 68, 1);
    let directories = optional + if is_64 { 112 } else { 96 };
    put_u32(&mut page, directories - 4, 16);
    if exports != 0 {
        put_u32(&mut page, directories, EXPORTS as u32);
        put_u32(&mut page, directories + 4, exports as u32);
    }
    put_u32(&mut page, directories + 6 * 8, DEBUG as u32);
    put_u32(&mut page, directories + 6 * 8 + 4, 0x1c);
    let mut at = optional + usize::from(optional_size);
    for &(name, start, size, flags) in sections {
        put_bytes(&mut page, at, name.as_bytes());
        put_u32(&mut page, at + 8, size as u32);
        put_u32(&mut page, at + 12, start as u32);
        put_u32(&mut page, at + 16, size as u32);
        put_u32(&mut page, at + 20, start as u32);
        put_u32(&mut page, at + 36, flags);
        at += 40;
    }
    world.write(module.base, &page);
    write_debug(world, module);
}

/// The debug directory, with one CodeView entry.
fn write_debug(world: &mut World<'_>, module: &Module) {
    let mut data = vec![0; 0x40 + 24 + module.pdb.name.len() + 1];
    put_u32(&mut data, 4, module.timestamp);
    put_u32(&mut data, 12, 2);
    put_u32(&mut data, 16, (24 + module.pdb.name.len() + 1) as u32);
    put_u32(&mut data, 20, DEBUG as u32 + 0x40);
    put_u32(&mut data, 24, DEBUG as u32 + 0x40);
    put_bytes(&mut data, 0x40, b"RSDS");
    put_bytes(&mut data, 0x44, &module.pdb.guid);
    put_u32(&mut data, 0x54, module.pdb.age);
    put_bytes(&mut data, 0x58, module.pdb.name.as_bytes());
    world.write(module.base + DEBUG, &data);
}

/// The kernel's own headers, its export directory and section table.
pub(crate) fn write_image(world: &mut World<'_>, module: &Module, exports: &[(&str, u64)]) {
    let unit = world.layout().regions.unit;
    let sections = [
        (".rdata", 0x1000, TEXT - 0x1000, 0x4800_0040),
        (".text", TEXT, unit - 2 * TEXT, 0x6800_0020),
        ("POOLCODE", unit - TEXT, TEXT, 0x6800_0020),
        (".data", unit, unit, 0xc800_0040),
        ("PAGE", 2 * unit, unit, 0x6000_0020),
    ];
    let directory = export_directory(module, exports);
    write_headers(world, module, &sections, directory.len() as u64);
    world.write(module.base + EXPORTS, &directory);
}

/// IMAGE_EXPORT_DIRECTORY with its three tables and the names, sorted as linkers do.
fn export_directory(module: &Module, exports: &[(&str, u64)]) -> Vec<u8> {
    let mut sorted: Vec<_> = exports.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let (functions, names, ordinals) = (40, 40 + 4 * count, 40 + 8 * count);
    let mut data = vec![0; 40 + 10 * count];
    let add_text = |data: &mut Vec<u8>, text: &str| {
        let rva = EXPORTS as u32 + data.len() as u32;
        data.extend_from_slice(text.as_bytes());
        data.push(0);
        rva
    };
    let own_name = add_text(&mut data, "ntoskrnl.exe");
    for (i, (name, va)) in sorted.iter().enumerate() {
        let rva = add_text(&mut data, name);
        put_u32(&mut data, functions + 4 * i, (va - module.base) as u32);
        put_u32(&mut data, names + 4 * i, rva);
        put_u16(&mut data, ordinals + 2 * i, i as u16);
    }
    put_u32(&mut data, 4, module.timestamp);
    put_u32(&mut data, 12, own_name);
    put_u32(&mut data, 16, 1);
    put_u32(&mut data, 20, count as u32);
    put_u32(&mut data, 24, count as u32);
    for (i, table) in [functions, names, ordinals].into_iter().enumerate() {
        put_u32(&mut data, 28 + 4 * i, EXPORTS as u32 + table as u32);
    }
    data
}
