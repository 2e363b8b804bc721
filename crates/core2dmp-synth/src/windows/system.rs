//! What Windows keeps once per system: KUSER_SHARED_DATA, the physical memory block, the stop code, the firmware page.
//!
//! ```text
//! MmPhysicalMemoryBlock -> { runs, pages, { base, count }.. }     KiBugCheckData: five pointer-sized values
//! ```
//!
//! References: KUSER_SHARED_DATA and PHYSICAL_MEMORY_DESCRIPTOR in ntddk.h of the Windows Driver Kit;
//! PROCESSOR_START_BLOCK: public symbols, and the signature that MemProcFS and memflow look for.

use crate::bytes::{put_bytes, put_u32, put_u64, utf16};
use crate::windows::memory::{PAGE, Place};
use crate::windows::paging::KERNEL;
use crate::windows::world::World;

/// KUSER_SHARED_DATA.SystemTime and InterruptTime of our guests.
pub(crate) const SYSTEM_TIME: u64 = 0x01db_3c5e_7a90_b2d1;
pub(crate) const UPTIME: u64 = 0x0000_0012_9f3e_4d80;
/// The frame of the firmware hand-over page.
const LOW_STUB_PFN: u64 = 0x13;

/// Frames in a huge page.
const HUGE_FRAMES: u64 = 0x4_0000;

/// Maps and fills KUSER_SHARED_DATA; returns its frame.
pub(crate) fn write_kuser(world: &mut World<'_>) -> u64 {
    let layout = world.layout();
    let mut page = vec![0; PAGE];
    put_u32(&mut page, 4, 0x0fa0_0000);
    for (offset, value) in [(8, UPTIME), (0x14, SYSTEM_TIME)] {
        put_u64(&mut page, offset, value);
        put_u32(&mut page, offset + 8, (value >> 32) as u32);
    }
    put_bytes(&mut page, 0x30, &utf16("C:\\Windows"));
    if layout.version.0 >= 10 {
        put_u32(&mut page, 0x260, layout.build);
    }
    put_u32(&mut page, 0x264, layout.product_type);
    page[0x268] = 1;
    put_u32(&mut page, 0x26c, layout.version.0);
    put_u32(&mut page, 0x270, layout.version.1);
    put_u32(&mut page, 0x2d0, layout.suite_mask);
    let pages: u64 = world.map.runs.iter().map(|run| run.1).sum();
    put_u32(&mut page, 0x2e8, pages as u32);
    // TickCountQuad, at 15.625 ms a tick.
    put_u64(&mut page, 0x320, UPTIME / 156_250);
    if layout.version >= (6, 1) {
        put_u32(&mut page, 0x3c0, world.spec.processors);
    }
    world.map_pages(layout.regions.kuser, 1, Place::Low);
    world.write(layout.regions.kuser, &page);
    world.gpa(layout.regions.kuser) >> 12
}

/// Maps one page in each of the regions that only have to be there.
pub(crate) fn map_extra(world: &mut World<'_>) {
    for &va in world.layout().regions.extra {
        world.map_pages(va, 1, Place::Low);
    }
    let regions = &world.layout().regions;
    if world.layout().arch.is_x64() && world.map.low.end >= 2 * HUGE_FRAMES {
        // Physical memory seen once more through a page of 1 GiB.
        let va = regions.extra[0] + (1 << 30);
        world
            .space
            .map_huge(&mut world.ram, va, HUGE_FRAMES, KERNEL);
    }
    let database = regions.pfn_database;
    world.map_pages(database, 1, Place::High);
}

/// Puts what looks like a debugger data block where none is: the kernel file's initial data in the file cache, with
/// addresses for the base the kernel was linked for, and the tag in a text.
pub(crate) fn write_decoys(world: &mut World<'_>) {
    let layout = world.layout();
    let linked_base = if layout.arch.is_64() {
        0x1_4000_0000
    } else {
        0x40_0000
    };
    let frame = world.ram.allocator.take_run(Place::Low, 2, 1) << 12;
    let at = frame + (crate::windows::kdbg::address(world) & 0xfff);
    let mut block = vec![0; layout.kdbg_size as usize];
    put_bytes(&mut block, 0x10, b"KDBG");
    put_u32(&mut block, 0x14, layout.kdbg_size);
    for (i, field) in (0x40..0x120).step_by(8).enumerate() {
        put_u64(
            &mut block,
            field,
            linked_base + layout.regions.unit + 0x1_0040 + i as u64 * 0x20,
        );
    }
    world.ram.frames.write(at, &block);
    let text = world.pool(64);
    world.write(text, b"!kdbgctrl: the tag is KDBG");
}

/// Writes the physical memory block and the variables around it.
pub(crate) fn write_memory_block(world: &mut World<'_>) {
    let runs = world.map.runs.clone();
    let pages: u64 = runs.iter().map(|run| run.1).sum();
    let width = world.layout().arch.pointer();
    let block = world.pool(2 * width * (runs.len() as u64 + 1));
    world.put_u32(block, runs.len() as u32);
    world.put_pointer(block + width, pages);
    for (i, &(base, count)) in runs.iter().enumerate() {
        let at = block + 2 * width * (i as u64 + 1);
        world.put_pointer(at, base);
        world.put_pointer(at + width, count);
    }
    let regions = &world.layout().regions;
    let is_64 = world.layout().arch.is_64();
    let last = runs.last().map_or(0, |run| run.0 + run.1 - 1);
    for (name, value) in [
        ("MmPhysicalMemoryBlock", block),
        ("MmPfnDatabase", regions.pfn_database),
        ("MmLowestPhysicalPage", runs[0].0),
        ("MmHighestPhysicalPage", last),
        ("MmNumberOfPhysicalPages", pages),
        ("MmNonPagedPoolStart", regions.pool),
        (
            "MmHighestUserAddress",
            if is_64 { 0x7ff_fffe_ffff } else { 0x7ffe_ffff },
        ),
        (
            "MmSystemRangeStart",
            if is_64 {
                0xffff_0800_0000_0000
            } else {
                0x8000_0000
            },
        ),
        (
            "MmUserProbeAddress",
            if is_64 { 0x7ff_fffe_0000 } else { 0x7fff_0000 },
        ),
    ] {
        let va = world.variable(name, 8);
        world.put_pointer(va, value);
    }
}

/// Writes the version variables, and the stop code if there is one.
pub(crate) fn write_variables(world: &mut World<'_>, bugcheck: Option<(u32, [u64; 4])>) {
    let layout = world.layout();
    let lab = world.variable("NtBuildLab", 64);
    world.write(lab, layout.build_lab.as_bytes());
    let number = world.variable("NtBuildNumber", 4);
    world.put_u32(number, 0xf000_0000 | layout.build);
    let processors = world.variable("KeNumberProcessors", 4);
    world.put_u32(processors, world.spec.processors);
    let increment = world.variable("KeTimeIncrement", 4);
    world.put_u32(increment, 156_250);
    let data = world.variable("KiBugCheckData", 40);
    if let Some((code, parameters)) = bugcheck {
        let width = layout.arch.pointer();
        // Stop codes that are NTSTATUS values appear sign-extended.
        world.put_pointer(data, code as i32 as i64 as u64);
        for (i, value) in (1..).zip(parameters) {
            world.put_pointer(data + i * width, value);
        }
    }
}

/// Writes the PROCESSOR_START_BLOCK that firmware and boot loader leave in low memory.
pub(crate) fn write_low_stub(world: &mut World<'_>) -> Option<u64> {
    if !world.spec.low_stub {
        return None;
    }
    let gpa = LOW_STUB_PFN << 12;
    let mut page = vec![0; PAGE];
    // jmp rel16, then the completion flag.
    put_u64(&mut page, 0, 0x0000_0001_0006_4de9);
    put_u64(
        &mut page,
        0x70,
        world.layout().regions.kernel + crate::windows::code::IDLE,
    );
    put_u64(&mut page, 0x90, 0x8005_0031);
    put_u64(&mut page, 0xa0, world.space.root);
    put_u64(&mut page, 0xa8, 0x6f8);
    world.ram.frames.write(gpa, &page);
    Some(gpa)
}
