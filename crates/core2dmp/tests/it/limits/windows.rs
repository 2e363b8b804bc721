//! Guests that have too much of something: what is left out, and the error or the warning that tells.
//!
//! ```text
//! page tables  300 roots without a kernel; 17000 tables for 16384      kernel  32 debug entries, a name of 300 bytes
//! keys         16384 comparisons, 4096 flags, 4 calls, 4 loads in front of the true ones
//! crash        an exception record of 16 parameters                     memory  99 missing ranges
//! ```
//!
//! `hostile.rs` has lists, names, runs and tags. docs/security.md lists all limits, and which test reaches each.

use std::sync::Arc;

use core2dmp::container::{self, OpenOptions, Registers};
use core2dmp::dump::{self, DumpKind, PlanOptions};
use core2dmp::windows::{self, Source, Windows};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use crate::support::grown::{crashed, free_frames, hide_kernel, identify, opened};

/// From the kernel's base to the free part of its data.
const FREE: u64 = 0x30_0000;

fn windows_of(guest: &Guest) -> Windows {
    identify(&opened(guest)).unwrap()
}

fn word(guest: &Guest, va: u64) -> u64 {
    let bytes = guest.read_va(va, 8).unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Roots that map the user's shared page and no kernel.
#[test]
fn roots_without_a_kernel() {
    let mut guest = crashed(32);
    let roots = free_frames(&guest, 300);
    let shared = guest.frames.read_u64(guest.expected.dtb + 495 * 8);
    for pfn in &roots {
        let mut page = vec![0; 4096];
        for (index, entry) in [(495, shared), (300, pfn << 12 | 0x63)] {
            page[index * 8..index * 8 + 8].copy_from_slice(&entry.to_le_bytes());
        }
        guest.frames.write(pfn << 12, &page);
    }
    hide_kernel(&mut guest);
    let mut opened = opened(&guest);
    for cpu in &mut opened.cpus {
        if let Registers::X86(registers) = &mut cpu.registers {
            registers.cr3 = roots[0] << 12;
        }
    }
    let error = identify(&opened).unwrap_err();
    let told: Vec<String> = error.attempts().iter().map(ToString::to_string).collect();
    // Of failures 64, the limit that ended the search, and what each way of searching came to.
    assert!((64..70).contains(&told.len()), "{told:#?}");
    let limit = "not searched: 256 others map no kernel";
    let limits = told.iter().filter(|line| line.ends_with(limit));
    assert_eq!(limits.count(), 1, "{told:#?}");
}

/// A vCPU that alone leads to the kernel is asked, however many others lead nowhere.
#[test]
fn a_vcpu_behind_many_that_lead_nowhere() {
    let mut guest = crashed(32);
    let root = free_frames(&guest, 1)[0];
    let shared = guest.frames.read_u64(guest.expected.dtb + 495 * 8);
    guest
        .frames
        .write((root << 12) + 495 * 8, &shared.to_le_bytes());
    let truth = guest.expected.dtb;
    let mut opened = opened(&guest);
    let cpu = opened.cpus[0].clone();
    opened.cpus = (0..300)
        .map(|index| {
            let mut cpu = cpu.clone();
            cpu.index = index;
            if let Registers::X86(registers) = &mut cpu.registers {
                registers.cr3 = if index == 299 { truth } else { root << 12 };
                // Nothing leads to the kernel but the page tables.
                (registers.gs_base_kernel, registers.rip) = (0, 0x1000);
                registers.idtr = None;
            }
            cpu
        })
        .collect();
    let source = identify(&opened).unwrap().root_source;
    let register = "CR3";
    assert_eq!(
        source,
        Source::Vcpu {
            index: 299,
            register
        }
    );
}

/// Places that look like the roots of PAE tables, 128 in a frame, in front of the only true one.
#[test]
fn roots_of_pae_in_front_of_the_true_one() {
    let found = |frames: usize| {
        let mut guest = GuestSpec::windows7_pae().memory_mib(32).build();
        let free = free_frames(&guest, 600);
        let root = guest.page(guest.expected.dtb >> 12).unwrap();
        let at = usize::try_from(guest.expected.dtb & 0xfe0).unwrap();
        let root = root[at..at + 32].to_vec();
        for process in guest.expected.processes.clone() {
            guest.frames.write(process.dtb & !0x1f, &[0; 32]);
        }
        guest.frames.write(free[599] << 12, &root);
        for pfn in &free[..frames] {
            let entry = 0x0fff_f001_u64.to_le_bytes();
            guest.frames.write(pfn << 12, &entry.repeat(512));
        }
        let file = guest.raw(0, 0x2000);
        let opened = container::open(Arc::new(file), OpenOptions::default()).unwrap();
        windows::identify(&opened).is_ok()
    };
    assert!(found(511));
    assert!(!found(513));
}

/// Tables that lead to each other: each of them is one at three levels, but for those that the root names.
#[test]
fn more_tables_than_a_guest_can_have() {
    let mut guest = crashed(64);
    let spare = free_frames(&guest, 8700);
    for (number, pfn) in spare.iter().enumerate() {
        let entries = (0..512).map(|n| spare[(number * 512 + n) % spare.len()] << 12 | 0x63);
        let page: Vec<u8> = entries.flat_map(u64::to_le_bytes).collect();
        guest.frames.write(pfn << 12, &page);
    }
    let root = guest.expected.dtb;
    let empty = (256..512).filter(|index| guest.frames.read_u64(root + index * 8) == 0);
    let empty: Vec<u64> = empty.collect();
    for (index, pfn) in empty.into_iter().zip(&spare) {
        let entry = (pfn << 12 | 0x63).to_le_bytes();
        guest.frames.write(root + index * 8, &entry);
    }
    let opened = opened(&guest);
    let windows = identify(&opened).unwrap();
    let options = PlanOptions::default().kind(DumpKind::Kernel);
    let plan = dump::plan(&opened, &windows, &options).unwrap();
    let limit = "the page tables are more than such a guest can have";
    assert!(
        plan.warnings.iter().any(|line| line.starts_with(limit)),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn an_exception_of_sixteen_parameters() {
    let spec = GuestSpec::windows10().processors(2).crashed(0, [0; 4]);
    let spec = spec.crash_record(CrashRecord::SystemThreadException);
    for (count, source) in [
        (15_u32, "EXCEPTION_RECORD"),
        (16, "rule: parameters of the stop code"),
    ] {
        let mut guest = spec.clone().build();
        let exception = guest.expected.bugcheck.clone().unwrap().exception.unwrap();
        let record = exception.exception_record.unwrap();
        guest.write_va(record + 0x18, &count.to_le_bytes());
        let opened = opened(&guest);
        let windows = identify(&opened).unwrap();
        let plan = dump::plan(&opened, &windows, &PlanOptions::default()).unwrap();
        let found = plan.crash.exception.source.to_string();
        assert!(found.starts_with(source), "{found}");
        let parameters = plan.crash.exception.value.parameters.len();
        assert_eq!(parameters, if count == 15 { 15 } else { 0 });
    }
}

#[test]
fn a_pdb_behind_other_entries_or_with_a_long_name() {
    let good = crashed(32);
    let base = good.expected.kernel.base;
    let directory = base + 0xf8 + 24 + 112 + 6 * 8;
    let behind = |count: u64| {
        let mut guest = good.clone();
        let entry = guest.read_va(base + 0x2000, 0x1c).unwrap();
        guest.write_va(base + FREE + count * 0x1c, &entry);
        guest.write_va(directory, &0x30_0000_u32.to_le_bytes());
        guest.write_va(directory + 4, &0x1000_u32.to_le_bytes());
        windows_of(&guest).kernel.pdb.is_some()
    };
    assert!(behind(31));
    assert!(!behind(32));
    let named = |bytes: usize| {
        let mut guest = good.clone();
        let record = guest.read_va(base + 0x2040, 24).unwrap();
        guest.write_va(base + FREE, &record);
        guest.write_va(base + FREE + 24, &vec![b'x'; bytes]);
        guest.write_va(base + 0x2000 + 20, &0x30_0000_u32.to_le_bytes());
        windows_of(&guest).kernel.pdb.map(|pdb| pdb.name.len())
    };
    assert_eq!(named(200), Some(200));
    assert_eq!(named(1000), None);
}

/// A running Windows 10, whose block is encoded.
fn encoded() -> Guest {
    let spec = GuestSpec::windows10().memory_mib(32);
    spec.encoded_kdbg(true).build()
}

const TEXT: u64 = 0x1_0000;
const COPY: u64 = TEXT + 0xb688;
const TIMERS: [u64; 2] = [TEXT + 0xd400, TEXT + 0xd480];
const TIMER: u64 = TEXT + 0xd000;

/// Moves code of so many bytes, with its displacements, and leaves zeros.
fn move_code(guest: &mut Guest, from: u64, to: u64, bytes: usize, displacements: &[usize]) {
    let mut code = guest.read_va(from, bytes).unwrap();
    guest.write_va(from, &vec![0; bytes]);
    for &at in displacements {
        let old = u32::from_le_bytes(code[at..at + 4].try_into().unwrap());
        let moved = u32::try_from(to - from).unwrap();
        code[at..at + 4].copy_from_slice(&old.wrapping_sub(moved).to_le_bytes());
    }
    guest.write_va(to, &code);
}

/// Comparisons of a byte of the image, each with a swap of bytes behind it, in front of the true one.
#[test]
fn comparisons_in_front_of_the_true_one() {
    let with = |count: u64| {
        let mut guest = encoded();
        let base = guest.expected.kernel.base;
        let to = base + 0x1e_0000;
        move_code(&mut guest, base + COPY, to, 0x80, &[2, 10, 25, 32, 39]);
        let decoy = [0x80, 0x3d, 0x10, 0, 0, 0, 0, 0x48, 0x0f, 0xc8];
        guest.write_va(
            base + 0x4_0000,
            &decoy.repeat(usize::try_from(count).unwrap()),
        );
        windows_of(&guest).kdbg.source
    };
    let found = with(1000);
    assert!(matches!(found, Source::CodeScan(_)), "{found}");
    let found = with(1 << 14);
    assert!(matches!(found, Source::KnownPlaintext(_)), "{found}");
}

/// A Windows 10 whose keys only the exported functions tell.
fn by_functions() -> Guest {
    let spec = GuestSpec::windows10().memory_mib(32);
    spec.encoded_kdbg(true).code_scan(false).build()
}

/// Whether the exported functions still lead to the block.
fn is_solved(guest: &Guest) -> bool {
    let found = identify(&opened(guest));
    found.is_ok_and(|windows| matches!(windows.kdbg.source, Source::KnownPlaintext(_)))
}

#[test]
fn calls_and_loads_in_front_of_the_true_ones() {
    let calls = |count: u64| {
        let mut guest = by_functions();
        let base = guest.expected.kernel.base;
        for at in TIMERS {
            let mut code = [0xe8, 0, 0, 0, 0].repeat(usize::try_from(count).unwrap());
            let end = at + count * 5 + 5;
            code.push(0xe8);
            let displacement = u32::try_from(end - TIMER).unwrap().wrapping_neg();
            code.extend(displacement.to_le_bytes());
            code.push(0xc3);
            guest.write_va(base + at, &code);
        }
        is_solved(&guest)
    };
    assert!(calls(3));
    assert!(!calls(4));
    let loads = |count: u64| {
        let mut guest = by_functions();
        let base = guest.expected.kernel.base;
        let move_by = count * 7;
        let (from, to) = (base + TIMER, base + TIMER + move_by);
        move_code(&mut guest, from, to, 0x30, &[13, 23]);
        // mov rax,[rip]: a word of the code itself.
        let load = [0x48, 0x8b, 0x05, 0, 0, 0, 0];
        guest.write_va(from, &load.repeat(usize::try_from(count).unwrap()));
        is_solved(&guest)
    };
    assert!(loads(2));
    assert!(!loads(4));
}

/// Words of the kernel's data that decode to a place in its image, as the block's own do.
#[test]
fn flags_in_front_of_the_true_one() {
    let with = |count: u64| {
        let mut guest = by_functions();
        let base = guest.expected.kernel.base;
        let variable = |at: u64| {
            let code = guest.read_va(base + TIMER + at, 4).unwrap();
            let displacement = i32::from_le_bytes(code.try_into().unwrap());
            let end = base + TIMER + at + 4;
            word(&guest, end.wrapping_add_signed(displacement.into()))
        };
        let (never, always) = (variable(13), variable(23));
        let plain = (base ^ always).swap_bytes();
        let turn = u32::try_from(never & 63).unwrap();
        let encoded = (base ^ plain).rotate_right(turn) ^ never;
        let block = guest.expected.kdbg.as_ref().unwrap().va;
        let start = base + FREE;
        assert!(start + count * 8 < block || block < start, "{block:#x}");
        let words = encoded
            .to_le_bytes()
            .repeat(usize::try_from(count).unwrap());
        if block > start {
            guest.write_va(start, &words);
        } else {
            // The block comes first: it moves behind them.
            let bytes = guest.read_va(block, 0x400).unwrap();
            guest.write_va(block, &vec![0; 0x400]);
            guest.write_va(start, &words);
            guest.write_va(start + count * 8 + 0x100, &bytes);
        }
        is_solved(&guest)
    };
    assert!(with(1000));
    assert!(!with(1 << 12));
}

#[test]
fn missing_ranges_that_are_listed() {
    let spec = GuestSpec::windows10().runs(100);
    let mut guest = spec.crashed(0xd1, [8, 2, 0, 1]).build();
    let end = guest.expected.runs.last().map(|run| run.0 + run.1).unwrap();
    let plain = &guest.expected.kdbg.as_ref().unwrap().plain;
    let variable = u64::from_le_bytes(plain[0x270..0x278].try_into().unwrap());
    let block = word(&guest, variable);
    guest.write_va(block, &1_u32.to_le_bytes());
    for (at, value) in [(8, end - 1), (16, 1), (24, end - 1)] {
        guest.write_va(block + at, &u64::to_le_bytes(value));
    }
    let opened = opened(&guest);
    let windows = identify(&opened).unwrap();
    let options = PlanOptions::default().kind(DumpKind::Full);
    let plan = dump::plan(&opened, &windows, &options).unwrap();
    assert_eq!(plan.missing.ranges.len(), 64);
    let listed: u64 = plan.missing.ranges.iter().map(|range| range.count).sum();
    assert!(plan.missing.frames > listed);
}
