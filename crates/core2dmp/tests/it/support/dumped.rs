//! What a dump must hold, byte for byte: made from the guest alone, by offsets of this file's own.
//!
//! ```text
//! header   "PAGE" everywhere, then the fields of reference/dmp.md
//! body     the guest's frames, with KDBG plain and the processors' registers in their PRCBs
//! ```

use std::collections::BTreeMap;

use core2dmp::dump::Plan;
use core2dmp_synth::{Arch, Expected, Guest, Processor, Registers};

/// The bytes that differ from the guest's memory, by physical address.
pub(crate) type Overlay = BTreeMap<u64, u8>;

/// The registers that a processor must have in the dump; `None` if memory keeps what it has.
fn shown(expected: &Expected, processor: &Processor) -> Option<Registers> {
    let saved = expected.bugcheck.is_some() && processor.from_memory.is_some();
    let mut registers = processor.from_vcpu.clone().filter(|_| !saved)?;
    // A shadow CR3 is of no use to a debugger: its process has the other.
    if processor.user_mode && expected.build >= 10240 {
        let process = expected.processes.iter();
        let mut process = process.filter(|process| process.eprocess == processor.process);
        registers.cr3 = process.next().unwrap().dtb;
    }
    Some(registers)
}

/// The CONTEXT of a processor in the dump.
pub(crate) fn context(expected: &Expected, processor: &Processor) -> Vec<u8> {
    let Some(registers) = shown(expected, processor) else {
        let saved = processor.from_memory.as_ref();
        return saved.map(|saved| saved.context(expected.arch)).unwrap();
    };
    let mut context = registers.context(expected.arch);
    if !expected.arch.is_64() {
        // FNSAVE's data selector has ones above it, and Cr0NpxState follows the registers.
        context[0x34..0x38].copy_from_slice(&0xffff_0000_u32.to_le_bytes());
        context[0x88..0x8c].copy_from_slice(&(registers.cr0 as u32).to_le_bytes());
    }
    context
}

/// All bytes that the dump has differently from the guest's memory.
pub(crate) fn overlay(guest: &Guest) -> Overlay {
    let expected = &guest.expected;
    let mut overlay = Overlay::new();
    let mut write = |va: u64, bytes: &[u8]| {
        for (at, byte) in (va..).zip(bytes) {
            overlay.insert(guest.translate(at).unwrap(), *byte);
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
        write(processor.context, &context(expected, processor));
        let values = [
            r.cr0, r.cr2, r.cr3, r.cr4, r.dr0, r.dr1, r.dr2, r.dr3, r.dr6, r.dr7,
        ];
        let width = if expected.arch.is_64() { 8 } else { 4 };
        let special: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes()[..width].to_vec())
            .collect();
        write(processor.special, &special);
    }
    overlay
}

/// A frame as the dump must hold it: zeros where the container lacks it.
pub(crate) fn page(guest: &Guest, overlay: &Overlay, pfn: u64) -> [u8; 4096] {
    let mut page = guest.page(pfn).unwrap_or([0; 4096]);
    for (gpa, byte) in overlay.range(pfn << 12..(pfn + 1) << 12) {
        page[(gpa & 0xfff) as usize] = *byte;
    }
    page
}

/// Puts numbers of a width into a header.
fn put(header: &mut [u8], width: usize, fields: &[(usize, u64)]) {
    for (at, value) in fields {
        header[*at..*at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// The whole header of a dump whose exception is a breakpoint.
pub(crate) fn header(expected: &Expected, comment: &str) -> Vec<u8> {
    let wide = expected.arch.is_64();
    let (bytes, text) = if wide {
        (0x2000, 0xfb0)
    } else {
        (0x1000, 0x820)
    };
    let mut header: Vec<u8> = b"PAGE".iter().copied().cycle().take(bytes).collect();
    header[text..text + 128].fill(0);
    header[text..text + comment.len()].copy_from_slice(comment.as_bytes());
    let crashed = expected.bugcheck.as_ref().map_or(0, |stop| stop.processor);
    let crashed = &expected.processors[crashed as usize];
    let context = context(expected, crashed);
    let at = if wide { 0x348 } else { 0x320 };
    header[at..at + context.len()].copy_from_slice(&context);
    let rip = if wide { 0xf8 } else { 0xb8 };
    let width = if wide { 8 } else { 4 };
    let mut address = [0; 8];
    address[..width].copy_from_slice(&context[rip..rip + width]);
    let address = u64::from_le_bytes(address);
    if wide {
        fields_64(&mut header, expected, address);
    } else {
        fields_32(&mut header, expected, address);
    }
    header
}

/// Stop code and parameters.
fn stop(expected: &Expected) -> (u64, [u64; 4]) {
    let stop = expected.bugcheck.as_ref();
    stop.map_or((0x161, [0; 4]), |s| (u64::from(s.code), s.parameters))
}

/// Offline, and live without a stop code.
fn attributes(expected: &Expected) -> u64 {
    if expected.bugcheck.is_some() {
        0x20
    } else {
        0x30
    }
}

fn pages(expected: &Expected) -> u64 {
    expected.runs.iter().map(|run| run.1).sum()
}

fn fields_64(h: &mut [u8], e: &Expected, address: u64) {
    let (code, parameters) = stop(e);
    h[4..8].copy_from_slice(b"DU64");
    h[0xf00..0xf98].fill(0);
    h[0x104d] = if e.build >= 7600 { 2 } else { 0 };
    for (i, (first, count)) in e.runs.iter().enumerate() {
        put(h, 8, &[(0x98 + i * 16, *first), (0xa0 + i * 16, *count)]);
    }
    for (i, parameter) in parameters.iter().enumerate() {
        put(h, 8, &[(0x40 + i * 8, *parameter)]);
    }
    let fields = [
        (0x8, 0xf),
        (0xc, u64::from(e.build)),
        (0x30, 0x8664),
        (0x34, e.processors.len() as u64),
        (0x38, code),
        (0x88, e.runs.len() as u64),
        (0xf00, 0x8000_0003),
        (0xf04, 1),
        (0xf98, 1),
        (0x103c, 0),
        (0x1040, u64::from(e.product_type)),
        (0x1044, u64::from(e.suite_mask)),
        (0x1048, 0),
        (0x1050, attributes(e)),
    ];
    put(h, 4, &fields);
    let fields = [
        (0x10, e.dtb),
        (0x18, e.pfn_database),
        (0x20, e.ps_loaded_module_list),
        (0x28, e.ps_active_process_head),
        (0x80, e.kdbg.as_ref().unwrap().va),
        (0x90, pages(e)),
        (0xf10, address),
        (0xfa0, 0x2000 + pages(e) * 0x1000),
        (0xfa8, e.system_time),
        (0x1030, e.system_uptime),
    ];
    put(h, 8, &fields);
}

fn fields_32(h: &mut [u8], e: &Expected, address: u64) {
    let (code, parameters) = stop(e);
    h[4..8].copy_from_slice(b"DUMP");
    h[0x7d0..0x820].fill(0);
    h[0x5c] = u8::from(e.arch == Arch::X86Pae);
    h[0x5d] = if e.build >= 7600 { 2 } else { 0 };
    for (i, (first, count)) in e.runs.iter().enumerate() {
        put(h, 4, &[(0x6c + i * 8, *first), (0x70 + i * 8, *count)]);
    }
    for (i, parameter) in parameters.iter().enumerate() {
        put(h, 4, &[(0x2c + i * 4, *parameter)]);
    }
    let fields = [
        (0x8, 0xf),
        (0xc, u64::from(e.build)),
        (0x10, e.dtb),
        (0x14, e.pfn_database),
        (0x18, e.ps_loaded_module_list),
        (0x1c, e.ps_active_process_head),
        (0x20, 0x14c),
        (0x24, e.processors.len() as u64),
        (0x28, code),
        (0x60, e.kdbg.as_ref().unwrap().va),
        (0x64, e.runs.len() as u64),
        (0x68, pages(e)),
        (0x7d0, 0x8000_0003),
        (0x7d4, 1),
        (0x7dc, address),
        (0x8a0, attributes(e)),
        (0xf88, 1),
        (0xf90, 0),
        (0xf94, u64::from(e.product_type)),
        (0xf98, u64::from(e.suite_mask)),
        (0xf9c, 0),
    ];
    put(h, 4, &fields);
    let fields = [
        (0xfa0, 0x1000 + pages(e) * 0x1000),
        (0xfb8, e.system_uptime),
        (0xfc0, e.system_time),
    ];
    put(h, 8, &fields);
}

/// The warnings except what every dump of five levels of page tables says.
pub(crate) fn own_warnings(plan: &Plan) -> Vec<&str> {
    let warnings = plan.warnings.iter().map(String::as_str);
    warnings
        .filter(|warning| !warning.starts_with("five levels of page tables"))
        .collect()
}
