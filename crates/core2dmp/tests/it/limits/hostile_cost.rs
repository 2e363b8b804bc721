//! What an attacker's page tables cost: memory that stays, and time that grows as the guest does.
//!
//! ```text
//! root: KUSER_SHARED_DATA | 0xfffff800..: a table of 512 entries that all lead to itself = 2^27 pages
//! ```
//!
//! Such a root in every vCPU and in every free frame. One test, since the peak is the whole process'.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use core2dmp::container::Registers;
use core2dmp_synth::Guest;

use crate::support::grown::{crashed, free_frames, hide_kernel, identify, opened};
use crate::support::peak::{alone, peak};

const MIB: u64 = 1 << 20;

/// Fills the upper half of the memory with roots that map the user's shared page and an endless kernel's half, and
/// takes the kernel's name away; the first of the frames is the endless table.
fn attack(guest: &mut Guest, mib: u64) -> u64 {
    let free = free_frames(guest, usize::try_from(mib).unwrap() * 256 / 4);
    let (table, roots) = free.split_first().unwrap();
    let to_table = (table << 12 | 0x63).to_le_bytes();
    guest.frames.write(table << 12, &to_table.repeat(512));
    let root = guest.expected.dtb;
    let shared = guest.frames.read_u64(root + 495 * 8);
    for pfn in roots {
        let mut page = vec![0; 4096];
        for (index, entry) in [
            (495, shared),
            (496, table << 12 | 0x63),
            (497, table << 12 | 0x63),
            (300, pfn << 12 | 0x63),
        ] {
            page[index * 8..index * 8 + 8].copy_from_slice(&entry.to_le_bytes());
        }
        guest.frames.write(pfn << 12, &page);
    }
    hide_kernel(guest);
    roots[0]
}

/// How long it takes to say that there is no Windows, and how many bytes it took.
fn cost(mib: u64) -> (Duration, u64) {
    let mut guest = crashed(mib);
    let root = attack(&mut guest, mib) << 12;
    let mut opened = opened(&guest);
    drop(guest);
    for cpu in &mut opened.cpus {
        if let Registers::X86(registers) = &mut cpu.registers {
            registers.cr3 = root;
        }
    }
    // What building the guest took is forgotten, or it would hide what follows (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let start = Instant::now();
    let error = identify(&opened).unwrap_err();
    let (took, used) = (start.elapsed(), peak() - before);
    println!("{mib} MiB: {took:?}, {} KiB more", used / 1024);
    assert_eq!(error.to_string(), "no Windows kernel in this memory");
    let told = error.attempts().iter().map(ToString::to_string);
    let told: Vec<String> = told.collect();
    assert!(
        told.iter()
            .any(|line| line.contains("more than can be searched")),
        "{told:#?}"
    );
    (took, used)
}

#[test]
fn tables_without_end_cost_no_more_than_the_guest_is_large() {
    if !alone("limits::hostile_cost::tables_without_end_cost_no_more_than_the_guest_is_large") {
        return;
    }
    let (small, memory) = cost(32);
    assert!(memory < 64 * MIB, "{memory} bytes");
    // Reads of 16 times the memory, and 2^18 tables, at most: seconds even where tests are built for debugging.
    assert!(small < Duration::from_secs(60), "{small:?}");
    let (large, memory) = cost(128);
    assert!(memory < 64 * MIB, "{memory} bytes");
    assert!(large < small * 4 * 3 + Duration::from_secs(10), "{large:?}");
}
