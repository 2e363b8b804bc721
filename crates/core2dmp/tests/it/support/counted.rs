//! A guest whose Windows counts other memory than it has.

use core2dmp::windows;
use core2dmp_synth::Guest;

use super::containers::open;

/// Lets Windows count other runs, where its descriptor has room for them.
pub(crate) fn count(guest: &mut Guest, runs: &[(u64, u64)]) {
    let variable = windows::identify(&open(guest.qemu_elf().bytes()).unwrap())
        .unwrap()
        .runs
        .source;
    let windows::Source::Variable { gva, .. } = variable else {
        panic!("{variable}");
    };
    let block = guest.read_va(gva.get(), 8).unwrap();
    let block = u64::from_le_bytes(block.try_into().unwrap());
    guest.write_va(block, &(runs.len() as u32).to_le_bytes());
    let sum: u64 = runs.iter().map(|run| run.1).sum();
    guest.write_va(block + 8, &sum.to_le_bytes());
    for (at, (first, count)) in (16..).step_by(16).zip(runs) {
        guest.write_va(block + at, &first.to_le_bytes());
        guest.write_va(block + at + 8, &count.to_le_bytes());
    }
    guest.expected.runs = runs.to_vec();
}
