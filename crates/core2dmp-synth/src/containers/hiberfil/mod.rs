//! The guest as Windows hibernates it: `hiberfil.sys` of XP to 11.
//!
//! ```text
//! up to 7      0 header | 1, 2 or 4 processor | 6 table | blocks | table | blocks ..
//! 8 and later  0 header | 1 processor         | 7 boot set | page border | kernel set
//! ```
//!
//! References: PO_MEMORY_IMAGE and PO_MEMORY_RANGE_ARRAY in public symbols; libhibr's format description; Hibr2Bin,
//! Hiber.h. The processor's page of Windows 8 and later is an assumption.

mod version;

use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::containers::xpress::{xpress_huffman, xpress_plain};
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

pub use version::HiberVersion;

/// How to write the file.
#[derive(Clone, Debug)]
pub struct Hiberfil<'g> {
    guest: &'g Guest,
    version: HiberVersion,
    signature: [u8; 4],
    length: Option<u32>,
    method: u32,
    processor: Option<usize>,
    reversed: bool,
    gap: usize,
}

/// The file, and where things are in it.
#[derive(Clone, Debug)]
pub struct HiberFile {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Tables, or where the two sets begin.
    pub tables: Vec<usize>,
    /// Blocks, or runs.
    pub blocks: Vec<usize>,
}

impl Guest {
    /// The guest as this Windows hibernates it.
    #[must_use]
    pub fn hiberfil(&self, version: HiberVersion) -> Hiberfil<'_> {
        Hiberfil::new(self, version)
    }
}

impl<'g> Hiberfil<'g> {
    pub(crate) fn new(guest: &'g Guest, version: HiberVersion) -> Self {
        Self {
            guest,
            version,
            signature: match version {
                HiberVersion::Xp32 | HiberVersion::Xp64 => *b"hibr",
                _ => *b"HIBR",
            },
            length: None,
            method: 0,
            processor: Some(0),
            reversed: false,
            gap: 0,
        }
    }

    /// Another signature.
    #[must_use]
    pub const fn signature(mut self, signature: [u8; 4]) -> Self {
        self.signature = signature;
        self
    }

    /// Another length of the header.
    #[must_use]
    pub const fn length_self(mut self, length: u32) -> Self {
        self.length = Some(length);
        self
    }

    /// How runs are compressed: 0 plain, 2 and 3 Huffman, 1 plain in even runs and Huffman in odd ones.
    #[must_use]
    pub const fn method(mut self, method: u32) -> Self {
        self.method = method;
        self
    }

    /// The vCPU that hibernates; `None` leaves its page out.
    #[must_use]
    pub const fn processor(mut self, vcpu: Option<usize>) -> Self {
        self.processor = vcpu;
        self
    }

    /// Ranges and descriptors from the last to the first.
    #[must_use]
    pub const fn reversed(mut self) -> Self {
        self.reversed = true;
        self
    }

    /// Bytes of nothing between two blocks of a table, up to Windows 7.
    #[must_use]
    pub const fn gap(mut self, bytes: usize) -> Self {
        self.gap = bytes;
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.build().bytes
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> HiberFile {
        let first = if self.version.has_runs() { 7 } else { 6 };
        let mut file = HiberFile {
            bytes: vec![0; first * PAGE],
            tables: Vec::new(),
            blocks: Vec::new(),
        };
        // The map of free pages, here nothing that means anything.
        file.bytes[3 * PAGE..4 * PAGE].fill(0x5a);
        self.put_processor(&mut file.bytes);
        let (length, first_page, counts) = self.version.header();
        put_bytes(&mut file.bytes, 0, &self.signature);
        put_u32(&mut file.bytes, 0xc, self.length.unwrap_or(length));
        let is_64 = self.version.is_64();
        let page_size = match self.version {
            HiberVersion::Xp32 => 0x14,
            _ if is_64 => 0x18,
            _ => 0x14,
        };
        put_u32(&mut file.bytes, page_size, 0x1000);
        let mut numbers = vec![first as u64];
        if self.version.has_runs() {
            let sets = self.sets();
            for (frames, count) in sets.iter().zip(counts) {
                file.bytes
                    .resize(file.bytes.len().next_multiple_of(PAGE), 0);
                numbers.push((file.bytes.len() / PAGE) as u64);
                file.tables.push(file.bytes.len());
                put_u64(&mut file.bytes, count, frames.len() as u64);
                self.put_set(&mut file, frames);
            }
            numbers.remove(0);
            // Zeros behind the last run.
            file.bytes
                .resize((file.bytes.len() + 4).next_multiple_of(PAGE), 0);
        } else {
            self.put_tables(&mut file);
        }
        for (i, number) in numbers.into_iter().enumerate() {
            if is_64 {
                put_u64(&mut file.bytes, first_page + i * 8, number);
            } else {
                put_u32(&mut file.bytes, first_page + i * 4, number as u32);
            }
        }
        file
    }

    fn put_processor(&self, file: &mut [u8]) {
        let Some(vcpu) = self.processor.map(|index| &self.guest.vcpus[index]) else {
            return;
        };
        let at = self.version.processor_page() * PAGE;
        let arch = self.guest.expected.arch;
        let task = if arch.is_64() { 0x40 } else { 0x28 };
        let special = vcpu.registers.special(arch, vcpu.gdt, vcpu.idt, task);
        let context = vcpu.registers.context(arch);
        if arch.is_64() {
            put_bytes(file, at, &special);
            put_u64(file, at + 0xa8, vcpu.gs_base_kernel);
            put_u64(file, at + 0xb0, vcpu.gs_base_user);
            put_bytes(file, at + self.version.context(), &context);
        } else {
            put_bytes(file, at, &context);
            put_bytes(file, at + 0x2cc, &special);
        }
    }

    /// The frames in pieces of a few, as a memory of which some is free has them.
    fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        let mut lengths = [1, 5, 16, 3, 2, 20].into_iter().cycle();
        for &(first, count) in &self.guest.present {
            let (mut at, end) = (first, first + count);
            while at < end {
                let now = lengths.next().unwrap().min(end - at);
                ranges.push((at, at + now));
                at += now;
            }
        }
        if self.reversed {
            ranges.reverse();
        }
        ranges
    }

    fn put_tables(&self, file: &mut HiberFile) {
        let [link, next, count, entry, start] = self.version.table().unwrap();
        let most = (PAGE - link) / entry;
        let word = if self.version.is_64() { 8 } else { 4 };
        let put = |bytes: &mut [u8], at: usize, value: u64| {
            if word == 8 {
                put_u64(bytes, at, value);
            } else {
                put_u32(bytes, at, value as u32);
            }
        };
        let ranges = self.ranges();
        for ranges in ranges.chunks(most) {
            file.bytes
                .resize(file.bytes.len().next_multiple_of(PAGE), 0);
            let at = file.bytes.len();
            if let Some(&before) = file.tables.last() {
                put(&mut file.bytes, before + next, (at / PAGE) as u64);
            }
            file.tables.push(at);
            file.bytes.resize(at + PAGE, 0);
            put_u32(&mut file.bytes, at + count, ranges.len() as u32);
            for (i, &(first, end)) in ranges.iter().enumerate() {
                let place = at + link + i * entry + start;
                put(&mut file.bytes, place, first);
                put(&mut file.bytes, place + word, end);
            }
            let frames: Vec<u64> = ranges.iter().flat_map(|&(a, b)| a..b).collect();
            for (i, frames) in frames.chunks(16).enumerate() {
                let gap = if i == 0 { 0 } else { self.gap };
                file.bytes.resize(file.bytes.len() + gap, 0xcc);
                self.put_block(file, frames);
            }
        }
        // What is in the last link of a table that is not full means nothing.
        let last = *file.tables.last().unwrap();
        put(&mut file.bytes, last + next, 3);
    }

    fn put_block(&self, file: &mut HiberFile, frames: &[u64]) {
        file.bytes.resize(file.bytes.len().next_multiple_of(8), 0);
        file.blocks.push(file.bytes.len());
        let data = self.pages(frames);
        let packed = shorter(xpress_plain(&data), data);
        let at = file.bytes.len();
        file.bytes.extend(*b"\x81\x81xpress");
        file.bytes.extend([0; 24]);
        let info = (packed.len() as u32 - 1) << 10 | (frames.len() as u32 - 1);
        put_u32(&mut file.bytes, at + 8, info);
        file.bytes.extend(packed);
        file.bytes.resize(file.bytes.len().next_multiple_of(8), 0);
    }

    /// The frames that the loader restores, and those of the kernel.
    fn sets(&self) -> [Vec<u64>; 2] {
        let frames = self.ranges().into_iter().flat_map(|(a, b)| a..b);
        let (boot, kernel) = frames.partition(|pfn| pfn / 8 % 5 == 0);
        [boot, kernel]
    }

    fn put_set(&self, file: &mut HiberFile, frames: &[u64]) {
        for (number, frames) in frames.chunks(16).enumerate() {
            file.blocks.push(file.bytes.len());
            let data = self.pages(frames);
            let is_plain = self.method == 0 || (self.method == 1 && number % 2 == 0);
            let packed = if is_plain {
                xpress_plain(&data)
            } else {
                xpress_huffman(&data)
            };
            let packed = shorter(packed, data);
            let descriptors = descriptors(frames);
            let head = descriptors.len() as u32 | (packed.len() as u32) << 8 | self.method << 30;
            file.bytes.extend(head.to_le_bytes());
            for (first, count) in descriptors {
                let value = first << 4 | (count - 1);
                if self.version.is_64() {
                    file.bytes.extend(value.to_le_bytes());
                } else {
                    file.bytes.extend((value as u32).to_le_bytes());
                }
            }
            file.bytes.extend(packed);
        }
    }

    fn pages(&self, frames: &[u64]) -> Vec<u8> {
        let pages = frames.iter().flat_map(|pfn| self.guest.page(*pfn).unwrap());
        pages.collect()
    }
}

/// What is not made shorter is stored.
fn shorter(packed: Vec<u8>, data: Vec<u8>) -> Vec<u8> {
    if packed.len() < data.len() {
        packed
    } else {
        data
    }
}

/// Consecutive frames together.
fn descriptors(frames: &[u64]) -> Vec<(u64, u64)> {
    let mut descriptors: Vec<(u64, u64)> = Vec::new();
    for &pfn in frames {
        match descriptors
            .last_mut()
            .filter(|(first, count)| first + *count == pfn)
        {
            Some((_, count)) => *count += 1,
            None => descriptors.push((pfn, 1)),
        }
    }
    descriptors
}
