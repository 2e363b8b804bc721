//! The loaded module list: LDR_DATA_TABLE_ENTRY records in pool, and a small image for each driver.
//!
//! ```text
//! PsLoadedModuleList <-> ntoskrnl.exe <-> hal.dll <-> xenpci.sys <-> ..
//! ```
//!
//! References: LDR_DATA_TABLE_ENTRY: public symbols (`dt nt!_KLDR_DATA_TABLE_ENTRY`).

use crate::windows::expected::Module;
use crate::windows::kernel;
use crate::windows::memory::Place;
use crate::windows::world::World;

/// Bytes of a driver's image.
const IMAGE: u64 = 0x8000;
/// Between the drivers' bases.
const SPACING: u64 = 0x2_0000;

/// Maps and writes the drivers' images; returns the whole list, the kernel first.
pub(crate) fn write_images(world: &mut World<'_>, kernel: Module) -> Vec<Module> {
    let long = "a_driver_with_a_very_long_name_".repeat(7) + "indeed.sys";
    let names = [
        "hal.dll",
        "xenpci.sys",
        &long,
        "disk.sys",
        "tcpip.sys",
        "win32k.sys",
    ];
    let regions = &world.layout().regions;
    let mut modules = vec![kernel];
    for (i, name) in names.into_iter().enumerate() {
        let base = if i == 0 {
            regions.hal
        } else {
            regions.drivers + i as u64 * SPACING
        };
        let folder = if i == 0 { "" } else { "drivers\\" };
        let pdb_name = format!("{}.pdb", name.split('.').next().unwrap_or(name));
        let module = Module {
            name: name.to_owned(),
            path: format!("\\SystemRoot\\system32\\{folder}{name}"),
            base,
            size: IMAGE,
            timestamp: 0x5000_0001 + 0x11_1111 * i as u32,
            pdb: kernel::pdb(&pdb_name, 100 + i as u32),
        };
        // The last page of a driver is pageable and gone.
        world.map_pages(base, IMAGE / 0x1000 - 1, Place::Low);
        let sections = [
            (".rdata", 0x1000, 0x3000, 0x4800_0040),
            (".text", 0x4000, 0x3000, 0x6800_0020),
            ("PAGE", 0x7000, 0x1000, 0x6000_0020),
        ];
        kernel::write_headers(world, &module, &sections, 0);
        modules.push(module);
    }
    modules
}

/// Writes the list.
pub(crate) fn write_list(world: &mut World<'_>, modules: &[Module]) {
    let head = world.variable("PsLoadedModuleList", 16);
    world.list_head(head);
    for module in modules {
        let is_64 = world.layout().arch.is_64();
        let entry = world.pool(0xa0);
        let (base, full, flags, time) = if is_64 {
            (0x30, 0x48, 0x68, 0x80)
        } else {
            (0x18, 0x24, 0x34, 0x44)
        };
        let width = world.layout().arch.pointer();
        world.put_pointer(entry + base, module.base);
        world.put_pointer(entry + base + width, module.base + 0x4010);
        world.put_u32(entry + base + 2 * width, module.size as u32);
        world.put_unicode_string(entry + full, &module.path);
        world.put_unicode_string(entry + full + 2 * width, &module.name);
        world.put_u32(entry + flags, 0x0900_4000);
        world.put_u16(entry + flags + 4, 1);
        world.put_u32(entry + time, module.timestamp);
        world.list_append(head, entry);
    }
}
