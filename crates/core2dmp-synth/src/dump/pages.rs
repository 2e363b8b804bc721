//! What all dumps of a guest share: the header's fields, and pages as a debugger needs them.

use std::collections::BTreeMap;

use crate::windows::arch::Arch;
use crate::windows::dump_header::{Fields, encode};
use crate::windows::expected::{Expected, Processor};
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;
use crate::windows::registers::Registers;

/// Bytes that differ from the guest's memory, by physical address.
pub(super) type Overlay = BTreeMap<u64, u8>;

/// The fields of a dump of this guest.
fn fields(guest: &Guest, dump_type: u32) -> Fields {
    let mut fields = Fields::of(&guest.expected);
    fields.dump_type = dump_type;
    fields.dtb = guest.debuggers_root();
    fields
}

/// The header of a dump of this type. Runs that do not fit are cut off in type 2, which must have some; in all others
/// but 1, which is wrong with them, none are set.
pub(super) fn header(guest: &Guest, dump_type: u32) -> Vec<u8> {
    let expected = &guest.expected;
    let mut fields = fields(guest, dump_type);
    let stop = expected.bugcheck.as_ref().map_or(0, |stop| stop.processor);
    let crashed = &expected.processors[stop as usize];
    if let Some(registers) = shown(expected, crashed) {
        fields.context = registers;
    }
    let mut header = encode(&fields);
    let (block, limit) = if expected.arch.is_64() {
        (0x88..0x348, 42)
    } else {
        (0x64..0x320, 86)
    };
    if expected.runs.len() <= limit || dump_type == 1 {
        return header;
    }
    if dump_type == 2 {
        fields.runs.truncate(limit);
        header = encode(&fields);
    } else {
        for (at, byte) in block.clone().zip(&mut header[block]) {
            *byte = b"PAGE"[at % 4];
        }
    }
    header
}

/// The frames that Windows counts.
pub(super) fn counted(guest: &Guest) -> Vec<u64> {
    let runs = guest.expected.runs.iter();
    runs.flat_map(|&(first, count)| first..first + count)
        .collect()
}

/// Those of them that the container has.
pub(super) fn present(guest: &Guest) -> Vec<u64> {
    let mut pfns = counted(guest);
    let missing = &guest.expected.missing;
    pfns.retain(|pfn| {
        let mut missing = missing.iter();
        !missing.any(|&(first, count)| *pfn >= first && *pfn < first + count)
    });
    pfns
}

/// Those of them that something was written to: a kernel dump's.
pub(super) fn written(guest: &Guest) -> Vec<u64> {
    let mut pfns = present(guest);
    pfns.retain(|&pfn| guest.frames.is_written(pfn));
    pfns
}

/// The registers that a processor has in the dump and not in the guest's memory.
fn shown(expected: &Expected, processor: &Processor) -> Option<Registers> {
    let saved = expected.bugcheck.is_some() && processor.from_memory.is_some();
    let mut registers = processor.from_vcpu.clone().filter(|_| !saved)?;
    // A shadow CR3 is of no use to a debugger: its process has the other.
    if processor.user_mode && expected.arch.is_x64() && expected.build >= 10240 {
        let mut processes = expected.processes.iter();
        let process = processes.find(|process| process.eprocess == processor.process);
        registers.cr3 = process.map_or(registers.cr3, |process| process.dtb);
    }
    Some(registers)
}

/// The plain debugger data block, and the processors' registers.
pub(super) fn overlay(guest: &Guest) -> Overlay {
    let expected = &guest.expected;
    let mut overlay = Overlay::new();
    let mut write = |va: u64, bytes: &[u8]| {
        for (at, &byte) in (va..).zip(bytes) {
            let gpa = guest.translate(at).expect("the address is mapped");
            overlay.insert(gpa, byte);
        }
    };
    if let Some((block, keys)) = expected.kdbg.as_ref().and_then(|k| Some((k, k.keys?))) {
        write(block.va, &block.plain);
        write(keys.encoded_flag, &[0]);
    }
    for processor in &expected.processors {
        let Some(r) = shown(expected, processor) else {
            continue;
        };
        write(processor.context, &r.context(expected.arch));
        if expected.arch == Arch::Arm64 {
            continue;
        }
        let width = if expected.arch.is_64() { 8 } else { 4 };
        let special = [
            r.cr0, r.cr2, r.cr3, r.cr4, r.dr0, r.dr1, r.dr2, r.dr3, r.dr6, r.dr7,
        ];
        let special: Vec<u8> = special
            .iter()
            .flat_map(|value| value.to_le_bytes()[..width].to_vec())
            .collect();
        write(processor.special, &special);
    }
    overlay
}

/// A frame as the dump has it.
pub(super) fn page(guest: &Guest, overlay: &Overlay, pfn: u64) -> [u8; PAGE] {
    let mut page = guest.page(pfn).unwrap_or([0; PAGE]);
    for (gpa, &byte) in overlay.range(pfn << 12..(pfn + 1) << 12) {
        page[*gpa as usize % PAGE] = byte;
    }
    page
}
