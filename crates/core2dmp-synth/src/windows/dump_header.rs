//! DUMP_HEADER64 and DUMP_HEADER32, as a driver gets them from KeInitializeCrashDumpHeader.
//!
//! ```text
//! 64: 0 PAGEDU64  10 DTB  38 stop code  80 KDBG  88 runs  348 CONTEXT  f00 exception  f98 type  fa0 space  fa8 times
//! 32: 0 PAGEDUMP  10 DTB  28 stop code  60 KDBG  64 runs  320 CONTEXT  7d0 exception  f88 type  fa0 space  fb8 times
//! ```
//!
//! References: DUMP_HEADER64 and DUMP_HEADER32 as in kdmp-parser and QEMU's win_dump_defs.h. What nobody sets says
//! "PAGE".

use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::expected::Expected;
use crate::windows::registers::Registers;

/// The fields of a header.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    arch: Arch,
    build: u32,
    pub(crate) dtb: u64,
    pfn_database: u64,
    lists: (u64, u64),
    processors: u32,
    pub(crate) bugcheck: (u32, [u64; 4]),
    pub(crate) kdbg: u64,
    pub(crate) runs: Vec<(u64, u64)>,
    pub(crate) context: Registers,
    pub(crate) dump_type: u32,
    pub(crate) required_space: u64,
    times: (u64, u64),
    product: (u32, u32),
}

impl Fields {
    /// The fields of a full dump of this boot.
    pub(crate) fn of(expected: &Expected) -> Self {
        let pages: u64 = expected.runs.iter().map(|run| run.1).sum();
        let header_bytes = if expected.arch.is_64() {
            0x2000
        } else {
            0x1000
        };
        let processor = expected
            .bugcheck
            .as_ref()
            .map_or(0, |stop| stop.processor as usize);
        let mut context = Registers::pattern(expected.arch, 3, 0);
        context.rip = expected.kernel.base + crate::windows::code::IDLE;
        Self {
            arch: expected.arch,
            build: expected.build,
            dtb: expected.dtb,
            pfn_database: expected.pfn_database,
            lists: (
                expected.ps_loaded_module_list,
                expected.ps_active_process_head,
            ),
            processors: expected.processors.len() as u32,
            bugcheck: expected
                .bugcheck
                .as_ref()
                .map_or((0x161, [0; 4]), |stop| (stop.code, stop.parameters)),
            kdbg: expected.kdbg.as_ref().map_or(0, |block| block.va),
            runs: expected.runs.clone(),
            context: expected.processors[processor]
                .from_memory
                .clone()
                .unwrap_or(context),
            dump_type: 1,
            required_space: header_bytes + pages * 0x1000,
            times: (expected.system_time, expected.system_uptime),
            product: (expected.product_type, expected.suite_mask),
        }
    }

    /// Turns them into those of another boot.
    pub(crate) fn make_stale(&mut self, expected: &Expected) {
        self.dtb ^= 0x7ee_c000;
        self.pfn_database = self.pfn_database.wrapping_sub(0x20_0000);
        self.dump_type = 2;
        self.required_space = 0x2862_5000;
        self.runs = vec![(1, 0x9e), (0x100, 0x1000), (0x1180, 0x760)];
        self.times = (self.times.0 - 0x00c9_2a69_c000, 0x0000_00e6_0dd9_9e66);
        self.bugcheck = (0x161, [0; 4]);
        self.context = Registers::pattern(self.arch, 3, 0);
        self.context.rip = expected.kernel.base + crate::windows::code::IDLE;
        // The kernel's base is random from Vista on; by how much it moved is a multiple of 2 MiB.
        if expected.build >= 6000 {
            let moved = if self.arch.is_64() {
                0x1_4c20_0000
            } else {
                0x20_0000
            };
            for address in [
                &mut self.kdbg,
                &mut self.lists.0,
                &mut self.lists.1,
                &mut self.context.rip,
            ] {
                *address -= moved;
            }
        }
    }
}

/// The bytes of a header.
pub(crate) fn encode(fields: &Fields) -> Vec<u8> {
    if fields.arch.is_64() {
        encode_64(fields)
    } else {
        encode_32(fields)
    }
}

fn unset(bytes: usize) -> Vec<u8> {
    b"PAGE".iter().copied().cycle().take(bytes).collect()
}

fn encode_64(f: &Fields) -> Vec<u8> {
    let mut h = unset(0x2000);
    put_bytes(&mut h, 4, b"DU64");
    for (offset, value) in [
        (0x08, 0xf),
        (0x0c, f.build),
        (0x30, u32::from(f.arch.machine())),
        (0x34, f.processors),
        (0x38, f.bugcheck.0),
        (0x88, f.runs.len() as u32),
        (0xf98, f.dump_type),
        (0x1040, f.product.0),
        (0x1044, f.product.1),
    ] {
        put_u32(&mut h, offset, value);
    }
    for (offset, value) in [
        (0x10, f.dtb),
        (0x18, f.pfn_database),
        (0x20, f.lists.0),
        (0x28, f.lists.1),
        (0x80, f.kdbg),
        (0x90, f.runs.iter().map(|run| run.1).sum()),
        (0xfa0, f.required_space),
        (0xfa8, f.times.0),
        (0x1030, f.times.1),
    ] {
        put_u64(&mut h, offset, value);
    }
    for (i, value) in f.bugcheck.1.into_iter().enumerate() {
        put_u64(&mut h, 0x40 + i * 8, value);
    }
    // The buffer has room for 42 runs.
    for (i, &(base, count)) in f.runs.iter().take(42).enumerate() {
        put_u64(&mut h, 0x98 + i * 16, base);
        put_u64(&mut h, 0xa0 + i * 16, count);
    }
    put_bytes(&mut h, 0x348, &f.context.context(f.arch));
    h[0xf00..0xf98].fill(0);
    put_u32(&mut h, 0xf00, 0x8000_0003);
    put_u32(&mut h, 0xf04, 1);
    put_u64(&mut h, 0xf10, f.context.rip);
    h
}

fn encode_32(f: &Fields) -> Vec<u8> {
    let mut h = unset(0x1000);
    put_bytes(&mut h, 4, b"DUMP");
    for (offset, value) in [
        (0x08, 0xf),
        (0x0c, u64::from(f.build)),
        (0x10, f.dtb),
        (0x14, f.pfn_database),
        (0x18, f.lists.0),
        (0x1c, f.lists.1),
        (0x20, 0x14c),
        (0x24, u64::from(f.processors)),
        (0x28, u64::from(f.bugcheck.0)),
        (0x60, f.kdbg),
        (0x64, f.runs.len() as u64),
        (0x68, f.runs.iter().map(|run| run.1).sum()),
        (0xf88, u64::from(f.dump_type)),
        (0xf94, u64::from(f.product.0)),
        (0xf98, u64::from(f.product.1)),
    ] {
        put_u32(&mut h, offset, value as u32);
    }
    for (offset, value) in [
        (0xfa0, f.required_space),
        (0xfb8, f.times.1),
        (0xfc0, f.times.0),
    ] {
        put_u64(&mut h, offset, value);
    }
    for (i, value) in f.bugcheck.1.into_iter().enumerate() {
        put_u32(&mut h, 0x2c + i * 4, value as u32);
    }
    h[0x5c] = u8::from(f.arch == Arch::X86Pae);
    // The buffer has room for 86 runs.
    for (i, &(base, count)) in f.runs.iter().take(86).enumerate() {
        put_u32(&mut h, 0x6c + i * 8, base as u32);
        put_u32(&mut h, 0x70 + i * 8, count as u32);
    }
    put_bytes(&mut h, 0x320, &f.context.context(f.arch));
    h[0x7d0..0x820].fill(0);
    put_u32(&mut h, 0x7d0, 0x8000_0003);
    put_u32(&mut h, 0x7d4, 1);
    put_u32(&mut h, 0x7dc, f.context.rip as u32);
    h
}
