//! Guests of an attacker: each limit that memory can reach, with the warning or the error that tells of it.
//!
//! ```text
//! lists     in a circle, without end, into nowhere      names    64 KiB long
//! KDBG      every pointer wild                          memory   4 billion runs; 2^52 bytes
//! kernel    sections over each other                    tags     a million, of blocks and of headers
//! ```
//!
//! What it costs is measured in `hostile_cost.rs`. docs/security.md lists all limits.

use core2dmp::dump::{self, DumpKind, PlanOptions};
use core2dmp::error::Remedy;
use core2dmp::windows::Windows;
use core2dmp_synth::Guest;

use crate::support::grown::{crashed, free_frames, identify, opened};

/// From the kernel's base to the free part of its data.
const FREE: u64 = 0x30_0000;
/// Bytes of it.
const FREE_BYTES: usize = 0x10_0000;

/// The first address of the free part.
fn free(guest: &Guest) -> u64 {
    let start = guest.expected.kernel.base + FREE;
    let bytes = guest.read_va(start, FREE_BYTES);
    assert!(bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)));
    start
}

/// The number in a field of the plain debugger data block.
fn field(guest: &Guest, offset: usize) -> u64 {
    let plain = &guest.expected.kdbg.as_ref().unwrap().plain;
    u64::from_le_bytes(plain[offset..offset + 8].try_into().unwrap())
}

const PS_LOADED_MODULE_LIST: usize = 0x48;
const MM_PHYSICAL_MEMORY_BLOCK: usize = 0x270;

fn windows_of(guest: &Guest) -> Windows {
    identify(&opened(guest)).unwrap()
}

fn put(guest: &mut Guest, va: u64, value: u64) {
    guest.write_va(va, &value.to_le_bytes());
}

/// Writes a list of so many entries, each 8 bytes behind the one before, that ends at `last`.
fn put_list(guest: &mut Guest, head: u64, count: u64, last: u64) {
    let start = free(guest);
    assert!(count * 8 <= FREE_BYTES as u64);
    let link = |index: u64| start + index * 8;
    put(guest, head, start);
    let links: Vec<u8> = (1..count)
        .map(link)
        .chain([last])
        .flat_map(u64::to_le_bytes)
        .collect();
    let gpa = guest.translate(start).unwrap();
    guest.frames.write(gpa, &links);
}

#[test]
fn a_list_in_a_circle() {
    let mut guest = crashed(32);
    let (modules, processes) = (
        guest.expected.ps_loaded_module_list,
        guest.expected.ps_active_process_head,
    );
    let start = free(&guest);
    put_list(&mut guest, modules, 3, start + 8);
    let windows = windows_of(&guest);
    let told = format!(
        "the module list is broken: the link at {:#x} leads back to {:#x}",
        start + 16,
        start + 8
    );
    assert!(windows.warnings.contains(&told), "{:?}", windows.warnings);
    let mut guest = crashed(32);
    put_list(&mut guest, processes, 1, start);
    let windows = windows_of(&guest);
    let told = format!("the link at {start:#x} leads back to {start:#x}");
    assert!(windows.warnings.contains(&told), "{:?}", windows.warnings);
}

#[test]
fn a_list_without_end() {
    let mut guest = crashed(32);
    let head = guest.expected.ps_loaded_module_list;
    put_list(&mut guest, head, 100_000, head);
    let windows = windows_of(&guest);
    let told = "the module list is broken: more than 4096 entries".to_owned();
    assert!(windows.warnings.contains(&told), "{:?}", windows.warnings);
    assert!(windows.modules.len() <= 4096);
    let mut guest = crashed(32);
    let head = guest.expected.ps_active_process_head;
    put_list(&mut guest, head, 100_000, head);
    let windows = windows_of(&guest);
    let told = "more than 16384 entries".to_owned();
    assert!(windows.warnings.contains(&told), "{:?}", windows.warnings);
}

#[test]
fn a_name_of_64_kib() {
    let mut guest = crashed(32);
    let names = free(&guest);
    let gpa = guest.translate(names).unwrap();
    guest.frames.write(gpa, &b"A\0".repeat(32768));
    let head = guest.expected.ps_loaded_module_list;
    let first = guest.read_va(head, 8).unwrap();
    let entry = u64::from_le_bytes(first.try_into().unwrap());
    // FullDllName and BaseDllName: Length and MaximumLength all ones, and the buffer.
    for string in [entry + 0x48, entry + 0x58] {
        guest.write_va(string, &[0xff; 4]);
        put(&mut guest, string + 8, names);
    }
    let windows = windows_of(&guest);
    let module = &windows.modules[0];
    assert_eq!((module.name.len(), module.path.len()), (512, 512));
}

#[test]
fn a_block_of_wild_pointers() {
    let good = crashed(20);
    let kdbg = good.expected.kdbg.clone().unwrap();
    let wild = [
        0,
        u64::MAX,
        0x8000_0000_0000,
        kdbg.va,
        good.expected.kernel.base,
        0xffff_f780_0000_0ff9,
    ];
    // All fields at once, but for the tag, the size and the kernel's base.
    for value in wild {
        let mut guest = good.clone();
        for at in (0x20..u64::from(kdbg.size)).step_by(8) {
            put(&mut guest, kdbg.va + at, value);
        }
        ends_well(&guest);
    }
    // One by one.
    let fields = (0x20..u64::from(kdbg.size)).step_by(8);
    for (at, value) in fields.zip(wild.into_iter().cycle()) {
        let mut guest = good.clone();
        put(&mut guest, kdbg.va + at, value);
        ends_well(&guest);
    }
}

/// An error with a line, or a plan of a size that this guest can have.
#[track_caller]
fn ends_well(guest: &Guest) {
    let opened = opened(guest);
    match identify(&opened) {
        Ok(windows) => {
            let plan = dump::plan(&opened, &windows, &PlanOptions::default());
            assert!(plan.unwrap().image.size() < 32 << 20);
        }
        Err(error) => assert!(!error.attempts().is_empty(), "{error}"),
    }
}

/// The guest's own description of its memory.
fn memory_block(guest: &Guest) -> u64 {
    let variable = field(guest, MM_PHYSICAL_MEMORY_BLOCK);
    let block = guest.read_va(variable, 8).unwrap();
    u64::from_le_bytes(block.try_into().unwrap())
}

#[test]
fn four_billion_runs() {
    let mut guest = crashed(32);
    let block = memory_block(&guest);
    guest.write_va(block, &[0xff; 4]);
    let windows = windows_of(&guest);
    let told = format!(
        "MmPhysicalMemoryBlock: 4294967295 runs at {block:#x}, expected 1 to 4096; the runs are those of the container"
    );
    assert!(windows.warnings.contains(&told), "{:?}", windows.warnings);
}

/// One run of so many frames.
fn put_run(guest: &mut Guest, frames: u64) {
    let block = memory_block(guest);
    guest.write_va(block, &1_u32.to_le_bytes());
    put(guest, block + 8, frames);
    put(guest, block + 16, 1);
    put(guest, block + 24, frames);
}

#[test]
fn petabytes_of_zeros_are_not_planned() {
    let mut guest = crashed(32);
    let most = (1 << 40) - 1;
    put_run(&mut guest, most);
    let opened = opened(&guest);
    let windows = identify(&opened).unwrap();
    assert_eq!(windows.runs.value[0].count, most);
    let full = PlanOptions::default().kind(DumpKind::Full);
    let error = dump::plan(&opened, &windows, &full).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Windows counts {most} frames (4194303 GiB), the container holds {}: a full dump would be zeros",
            opened.memory.frame_count()
        )
    );
    assert!(error.remedy() == Some(Remedy::LeaveOutMissing));
    let bitmap = PlanOptions::default().kind(DumpKind::Bitmap);
    let error = dump::plan(&opened, &windows, &bitmap).unwrap_err();
    assert_eq!(
        error.to_string(),
        "frames up to the highest, for a bitmap: found 1099511627776, the limit is 2147483648"
    );
}

/// The border: 16 times what the container holds, or 64 GiB, are still written.
#[test]
fn what_ballooning_may_take_is_planned() {
    let mut guest = crashed(32);
    let sixty_four_gib = 64 << 18;
    put_run(&mut guest, sixty_four_gib);
    let opened = opened(&guest);
    let windows = identify(&opened).unwrap();
    let full = PlanOptions::default().kind(DumpKind::Full);
    let plan = dump::plan(&opened, &windows, &full).unwrap();
    assert_eq!(plan.image.size(), 0x2000 + (64 << 30));
    // The same count is too much by a frame.
    put_run(&mut guest, sixty_four_gib + 1);
    let opened = crate::support::grown::opened(&guest);
    let windows = identify(&opened).unwrap();
    assert!(dump::plan(&opened, &windows, &full).is_err());
    // By itself it becomes a bitmap, and says why.
    let plan = dump::plan(&opened, &windows, &PlanOptions::default()).unwrap();
    assert!(
        plan.warnings
            .iter()
            .any(|warning| warning.starts_with("a bitmap dump, in which what is missing is absent"))
    );
    assert!(plan.image.size() < 64 << 20, "{:#x}", plan.image.size());
}

/// Section headers of the kernel, all of them over the whole image.
fn put_sections(guest: &mut Guest, count: u16) {
    let base = guest.expected.kernel.base;
    let pe = base + 0xf8;
    guest.write_va(pe + 6, &count.to_le_bytes());
    // SizeOfImage.
    guest.write_va(pe + 24 + 56, &[0xff, 0xff, 0xff, 0x7f]);
    for index in 0..u64::from(count) {
        let at = pe + 24 + 0xf0 + index * 40;
        guest.write_va(at, b".all\0\0\0\0");
        guest.write_va(at + 8, &0x7fff_0000_u32.to_le_bytes());
        guest.write_va(at + 12, &0_u32.to_le_bytes());
        guest.write_va(at + 36, &0xe000_0060_u32.to_le_bytes());
    }
}

#[test]
fn sections_over_each_other_are_searched_once() {
    let mut guest = crashed(32);
    put_sections(&mut guest, 90);
    // Without the block each way of finding one goes through all sections.
    let kdbg = guest.expected.kdbg.clone().unwrap();
    guest.write_va(kdbg.va, &vec![0; kdbg.size as usize]);
    let start = std::time::Instant::now();
    let found = identify(&opened(&guest));
    let took = start.elapsed();
    println!("{took:?}, {:?}", found.map(|windows| windows.warnings));
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_million_tags() {
    let mut guest = crashed(64);
    let data = free(&guest);
    // Of headers: everywhere, with 6 bytes each.
    let tags = b"PAGEDU".repeat(4096 / 6);
    for pfn in free_frames(&guest, 4096) {
        guest.frames.write(pfn << 12, &tags);
    }
    // Of whole headers for this machine, a page each: no more than 64 are kept.
    let header = core2dmp_synth::dump::header(&guest, 1);
    for pfn in free_frames(&guest, 100) {
        guest.frames.write(pfn << 12, &header[..4096]);
    }
    // Of blocks: all that is free of the kernel's data.
    let kdbg = guest.expected.kdbg.clone().unwrap();
    let mut fake = kdbg.plain[..32].to_vec();
    fake.resize(32, 0);
    let gpa = guest.translate(data).unwrap();
    let blocks = fake.repeat(FREE_BYTES / fake.len());
    guest.frames.write(gpa, &blocks);
    let start = std::time::Instant::now();
    let windows = windows_of(&guest);
    let took = start.elapsed();
    println!("{took:?}, {} headers", windows.headers.len());
    assert_eq!(windows.kdbg.value.gva.get(), kdbg.va);
    assert!(windows.headers.len() <= 64);
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_list_head_in_nowhere_is_no_block() {
    let mut guest = crashed(32);
    let kdbg = guest.expected.kdbg.clone().unwrap();
    put(
        &mut guest,
        kdbg.va + PS_LOADED_MODULE_LIST as u64,
        0xffff_f800_0000_1000,
    );
    let error = identify(&opened(&guest));
    // The block is rebuilt from what is proven, or its absence is told with all that was tried.
    match error {
        Ok(windows) => assert_ne!(windows.kdbg.value.gva.get(), 0),
        Err(error) => assert!(!error.attempts().is_empty()),
    }
}
