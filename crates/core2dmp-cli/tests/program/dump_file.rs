//! A full dump, read by the tests' own offsets, with a page walk of its own.
//!
//! Reference: `DUMP_HEADER64` and `DUMP_HEADER32` of the SDK; Intel SDM volume 3, chapter 4.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bytes::{u16_at, u32_at, u64_at};

/// The fields of a header that are compared.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) is_64: bool,
    pub(crate) pae: bool,
    pub(crate) major: u64,
    pub(crate) build: u64,
    pub(crate) dtb: u64,
    pub(crate) pfn_database: u64,
    pub(crate) module_list: u64,
    pub(crate) process_list: u64,
    pub(crate) machine: u64,
    pub(crate) processors: u64,
    pub(crate) code: u64,
    pub(crate) parameters: Vec<u64>,
    pub(crate) kdbg: u64,
    pub(crate) pages: u64,
    pub(crate) runs: Vec<(u64, u64)>,
    pub(crate) exception_code: u32,
    pub(crate) exception_address: u64,
    pub(crate) context: Vec<u8>,
    pub(crate) dump_type: u32,
    pub(crate) required_space: u64,
    pub(crate) time: u64,
    pub(crate) uptime: u64,
    pub(crate) product: u32,
    pub(crate) suite: u32,
    pub(crate) attributes: u32,
    pub(crate) comment: String,
}

/// A dump.
pub(crate) struct DumpFile {
    file: File,
    pub(crate) size: u64,
    pub(crate) header: Header,
}

/// Offsets of a header, in the order of [`Header`]'s numbers.
struct Offsets {
    word: usize,
    fields: [usize; 9],
    code: usize,
    parameters: usize,
    runs: usize,
    context: (usize, usize),
    exception: usize,
    dump_type: usize,
    tail: [usize; 6],
    comment: usize,
}

const OFFSETS64: Offsets = Offsets {
    word: 8,
    fields: [0x08, 0x0c, 0x10, 0x18, 0x20, 0x28, 0x30, 0x34, 0x80],
    code: 0x38,
    parameters: 0x40,
    runs: 0x88,
    context: (0x348, 0x4d0),
    exception: 0xf00,
    dump_type: 0xf98,
    tail: [0xfa0, 0xfa8, 0x1030, 0x1040, 0x1044, 0x1050],
    comment: 0xfb0,
};

const OFFSETS32: Offsets = Offsets {
    word: 4,
    fields: [0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x60],
    code: 0x28,
    parameters: 0x2c,
    runs: 0x64,
    context: (0x320, 0x2cc),
    exception: 0x7d0,
    dump_type: 0xf88,
    tail: [0xfa0, 0xfc0, 0xfb8, 0xf94, 0xf98, 0x8a0],
    comment: 0x820,
};

impl DumpFile {
    pub(crate) fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let mut bytes = vec![0; 0x2000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Self {
            size: file.metadata().unwrap().len(),
            file,
            header: header(&bytes),
        }
    }

    /// The contents of a frame of the runs.
    pub(crate) fn page(&self, pfn: u64) -> Option<[u8; 0x1000]> {
        let mut offset = if self.header.is_64 { 0x2000 } else { 0x1000 };
        for &(first, count) in &self.header.runs {
            if (first..first + count).contains(&pfn) {
                let mut page = [0; 0x1000];
                let at = offset + (pfn - first) * 0x1000;
                self.file.read_exact_at(&mut page, at).unwrap();
                return Some(page);
            }
            offset += count * 0x1000;
        }
        None
    }

    /// Bytes at a physical address.
    pub(crate) fn physical(&self, gpa: u64, bytes: usize) -> Option<Vec<u8>> {
        (gpa..gpa + bytes as u64)
            .map(|at| Some(self.page(at >> 12)?[(at & 0xfff) as usize]))
            .collect()
    }

    /// The physical address behind a virtual one, by the header's page tables.
    pub(crate) fn translate(&self, va: u64) -> Option<u64> {
        let levels: &[(u32, u64, usize)] = match (self.header.is_64, self.header.pae) {
            // Debuggers walk four levels, whatever the guest has.
            (true, _) => &[(39, 511, 8), (30, 511, 8), (21, 511, 8), (12, 511, 8)],
            (false, true) => &[(30, 3, 8), (21, 511, 8), (12, 511, 8)],
            (false, false) => &[(22, 1023, 4), (12, 1023, 4)],
        };
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        let root = if self.header.pae { 0x1f } else { 0xfff };
        let mut table = self.header.dtb & !root;
        for &(shift, mask, width) in levels {
            let slot = table + (va >> shift & mask) * width as u64;
            let mut entry = self.physical(slot, width)?;
            entry.resize(8, 0);
            let entry = u64_at(&entry, 0);
            if entry & 1 == 0 {
                return None;
            }
            let is_page = shift == 12 || (shift < 39 && mask != 3 && entry & 0x80 != 0);
            if is_page {
                let within = (1 << shift) - 1;
                return Some(entry & FRAME & !within | va & within);
            }
            table = entry & FRAME;
        }
        None
    }

    /// Bytes at a virtual address.
    pub(crate) fn read(&self, va: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut read = Vec::with_capacity(bytes);
        while read.len() < bytes {
            let at = va + read.len() as u64;
            let here = (bytes - read.len()).min(0x1000 - (at & 0xfff) as usize);
            read.extend(self.physical(self.translate(at)?, here)?);
        }
        Some(read)
    }
}

fn header(bytes: &[u8]) -> Header {
    assert_eq!(&bytes[..4], b"PAGE");
    let is_64 = &bytes[4..8] == b"DU64";
    assert!(is_64 || &bytes[4..8] == b"DUMP");
    let at = if is_64 { OFFSETS64 } else { OFFSETS32 };
    let word = |offset| match at.word {
        8 => u64_at(bytes, offset),
        _ => u64::from(u32_at(bytes, offset)),
    };
    let half = |offset| u64::from(u32_at(bytes, offset));
    let [
        major,
        build,
        dtb,
        pfn,
        modules,
        processes,
        machine,
        processors,
        kdbg,
    ] = at.fields;
    let [space, time, uptime, product, suite, attributes] = at.tail;
    let first = at.runs + at.word * 2;
    let run = |index: usize| {
        let offset = first + index * at.word * 2;
        (word(offset), word(offset + at.word))
    };
    let comment = bytes[at.comment..at.comment + 128].split(|byte| *byte == 0);
    Header {
        is_64,
        pae: !is_64 && bytes[0x5c] == 1,
        major: half(major),
        build: half(build),
        dtb: word(dtb),
        pfn_database: word(pfn),
        module_list: word(modules),
        process_list: word(processes),
        machine: half(machine),
        processors: half(processors),
        code: half(at.code),
        parameters: (0..4).map(|i| word(at.parameters + i * at.word)).collect(),
        kdbg: word(kdbg),
        pages: word(at.runs + at.word),
        runs: (0..u32_at(bytes, at.runs) as usize).map(run).collect(),
        exception_code: u32_at(bytes, at.exception),
        exception_address: word(at.exception + 8 + at.word),
        context: bytes[at.context.0..at.context.0 + at.context.1].to_vec(),
        dump_type: u32_at(bytes, at.dump_type),
        required_space: u64_at(bytes, space),
        time: u64_at(bytes, time),
        uptime: u64_at(bytes, uptime),
        product: u32_at(bytes, product),
        suite: u32_at(bytes, suite),
        attributes: u32_at(bytes, attributes),
        comment: String::from_utf8(comment.into_iter().next().unwrap().to_vec()).unwrap(),
    }
}

/// A register of a `CONTEXT` by its 64-bit name; `None` if the machine has none.
pub(crate) fn register(context: &[u8], name: &str) -> Option<u64> {
    const AMD64: [&str; 17] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15", "rip",
    ];
    const X86: [(&str, usize); 16] = [
        ("gs", 0x8c),
        ("fs", 0x90),
        ("es", 0x94),
        ("ds", 0x98),
        ("rdi", 0x9c),
        ("rsi", 0xa0),
        ("rbx", 0xa4),
        ("rdx", 0xa8),
        ("rcx", 0xac),
        ("rax", 0xb0),
        ("rbp", 0xb4),
        ("rip", 0xb8),
        ("cs", 0xbc),
        ("rflags", 0xc0),
        ("rsp", 0xc4),
        ("ss", 0xc8),
    ];
    if context.len() == 0x2cc {
        let (_, at) = X86.iter().find(|(known, _)| *known == name)?;
        return Some(u64::from(u32_at(context, *at)));
    }
    if let Some(index) = AMD64.iter().position(|known| *known == name) {
        return Some(u64_at(context, 0x78 + index * 8));
    }
    let selectors = ["cs", "ds", "es", "fs", "gs", "ss"];
    match selectors.iter().position(|known| *known == name) {
        Some(index) => Some(u64::from(u16_at(context, 0x38 + index * 2))),
        None => (name == "rflags").then(|| u64::from(u32_at(context, 0x44))),
    }
}
