//! A small memory dump: parts of the kernel's virtual memory, and a block that says where they are.
//!
//! ```text
//! +00 service pack  +04 bytes  +08 mark  +0c context  +10 exception  +14 memory information  +18 unloaded drivers
//! +1c PRCB  +20 process  +24 thread  +28 stack, bytes  +30 drivers, count  +38 strings, bytes  +40 0  +44 options
//! 64 bit: +48 top of stack  +70 debugger data, bytes  +78 data blocks { address u64, offset u32, bytes u32 }, count
//! ```

use super::Dump;
use crate::bytes::{put_u32, put_u64, utf16};
use crate::windows::guest::Guest;

/// Bytes of a structure that the parts hold.
const PART: usize = 0x400;

/// A small memory dump (type 4).
#[must_use]
pub fn triage(guest: &Guest) -> Dump {
    let expected = &guest.expected;
    let wide = expected.arch.is_64();
    let mut dump = Dump::new(guest, 4);
    let at = dump.bytes.len();
    // The physical memory descriptor is never set.
    let descriptor = if wide { 0x88..0x348 } else { 0x64..0x320 };
    for offset in descriptor {
        dump.bytes[offset] = b"PAGE"[offset % 4];
    }
    let processor = &expected.processors[0];
    let mut block = vec![0; 0x80];
    let mut parts = vec![0_u8; 0x50];
    let base = (at + block.len()) as u32;
    let (context, exception) = if wide { (0x348, 0xf00) } else { (0x320, 0x7d0) };
    put_u32(&mut block, 0x0c, context);
    put_u32(&mut block, 0x10, exception);
    put_u32(&mut block, 0x14, base);
    let read = |va: u64, bytes: usize| guest.read_va(va, bytes).unwrap_or_else(|| vec![0; bytes]);
    let stack = processor.context & !0xfff;
    for (field, va, size) in [
        (0x1c, processor.kprcb, None),
        (0x20, processor.process, None),
        (0x24, processor.thread, None),
        (0x28, stack, Some(0x2c)),
    ] {
        put_u32(&mut block, field, base + parts.len() as u32);
        if let Some(size) = size {
            put_u32(&mut block, size, PART as u32);
        }
        parts.extend(read(va, PART));
    }
    put_u32(&mut block, 0x18, base + parts.len() as u32);
    parts.extend([0; 8]);
    put_u32(&mut block, 0x30, base + parts.len() as u32);
    put_u32(&mut block, 0x34, expected.modules.len() as u32);
    parts.extend(vec![0; expected.modules.len() * 0xd0]);
    let names: Vec<u8> = expected
        .modules
        .iter()
        .flat_map(|module| utf16(&format!("{}\0", module.name)))
        .collect();
    put_u32(&mut block, 0x38, base + parts.len() as u32);
    put_u32(&mut block, 0x3c, names.len() as u32);
    parts.extend(&names);
    put_u32(&mut block, 0x44, u32::MAX);
    if wide {
        wide_parts(guest, &mut block, &mut parts, base, stack);
    }
    let mark = base + parts.len() as u32;
    parts.extend(b"TRGD");
    put_u32(&mut block, 0x04, mark + 4);
    put_u32(&mut block, 0x08, mark);
    dump.bytes.extend(block);
    dump.bytes.extend(parts);
    dump.first_page = dump.bytes.len();
    dump.note_size();
    dump
}

/// Stack, debugger data, and one block of memory.
fn wide_parts(guest: &Guest, block: &mut [u8], parts: &mut Vec<u8>, base: u32, stack: u64) {
    put_u64(block, 0x48, stack);
    if let Some(kdbg) = &guest.expected.kdbg {
        put_u32(block, 0x70, base + parts.len() as u32);
        put_u32(block, 0x74, kdbg.plain.len() as u32);
        parts.extend(&kdbg.plain);
    }
    let data = base + parts.len() as u32;
    parts.extend(guest.read_va(stack, PART).unwrap_or_default());
    let mut entry = vec![0; 16];
    put_u64(&mut entry, 0, stack);
    put_u32(&mut entry, 8, data);
    put_u32(&mut entry, 12, PART as u32);
    put_u32(block, 0x78, base + parts.len() as u32);
    put_u32(block, 0x7c, 1);
    parts.extend(entry);
}
