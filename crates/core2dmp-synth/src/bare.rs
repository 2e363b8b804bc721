//! Virtual memory without a Windows around it: bytes at addresses, and page tables that lead to them.
//!
//! ```text
//! write(address, bytes), image(address, file) --build(tables)--> frames 0..n: nothing | tables | pages, in this order
//! ```
//!
//! For what reads single structures in a guest: a stack, an image's tables. Images are laid out as a loader does,
//! without relocations.
//!
//! References: Intel SDM volume 3, chapter 4; Arm ARM, D8.3; Microsoft "PE Format" for the sections.

use std::collections::BTreeMap;

use crate::windows::memory::PAGE;

/// Which page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Four levels of 512.
    X64,
    /// Two levels of 1024.
    X86,
    /// Four levels of 512, with the bits of ARM64.
    Arm64,
}

impl Tables {
    fn shifts(self) -> &'static [u32] {
        match self {
            Self::X86 => &[22, 12],
            Self::X64 | Self::Arm64 => &[39, 30, 21, 12],
        }
    }

    fn slot(self, shift: u32, va: u64) -> usize {
        match self {
            Self::X86 => (va >> shift & 1023) as usize * 4,
            Self::X64 | Self::Arm64 => (va >> shift & 511) as usize * 8,
        }
    }

    /// Valid, accessed, dirty; of ARM64 valid, a table or page, accessed.
    fn flags(self, is_page: bool) -> u64 {
        match (self, is_page) {
            (Self::Arm64, true) => 0x403,
            (Self::Arm64, false) => 3,
            _ => 0x63,
        }
    }
}

/// Bytes at virtual addresses.
#[derive(Clone, Debug, Default)]
pub struct VirtualMemory {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

/// The same as physical memory.
#[derive(Clone, Debug)]
pub struct Physical {
    /// All frames.
    pub bytes: Vec<u8>,
    /// The root of the page tables.
    pub root: u64,
    places: BTreeMap<u64, usize>,
}

impl Physical {
    /// Where a virtual address lies in `bytes`.
    #[must_use]
    pub fn place(&self, va: u64) -> Option<usize> {
        let page = self.places.get(&(va / PAGE as u64))?;
        Some(page + (va % PAGE as u64) as usize)
    }
}

impl VirtualMemory {
    /// Puts bytes at an address; pages that are not there yet are zero otherwise.
    pub fn write(&mut self, mut va: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let offset = (va % PAGE as u64) as usize;
            let length = bytes.len().min(PAGE - offset);
            let page = self
                .pages
                .entry(va / PAGE as u64)
                .or_insert_with(|| Box::new([0; PAGE]));
            page[offset..offset + length].copy_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            va += length as u64;
        }
    }

    /// Puts words of eight bytes at an address.
    pub fn words(&mut self, va: u64, words: &[u64]) {
        for (word, at) in words.iter().zip((va..).step_by(8)) {
            self.write(at, &word.to_le_bytes());
        }
    }

    /// Makes the page of an address absent.
    pub fn remove(&mut self, va: u64) {
        self.pages.remove(&(va / PAGE as u64));
    }

    /// Lays out an image file as a loader does; returns the bytes that it takes.
    pub fn image(&mut self, va: u64, file: &[u8]) -> u32 {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let half =
            |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
        let pe = word(0x3c) as usize;
        let optional = pe + 24;
        let size = word(optional + 56);
        self.write(va, &vec![0; size as usize]);
        self.write(va, &file[..word(optional + 60) as usize]);
        let table = optional + half(pe + 20);
        for section in 0..half(pe + 6) {
            let at = table + 40 * section;
            let (rva, bytes, from) = (
                word(at + 12),
                word(at + 16) as usize,
                word(at + 20) as usize,
            );
            self.write(va + u64::from(rva), &file[from..from + bytes]);
        }
        size
    }

    /// Makes page tables and lines everything up.
    #[must_use]
    pub fn build(&self, tables: Tables) -> Physical {
        let root = PAGE;
        let mut bytes = vec![0; 2 * PAGE];
        let mut leaves = BTreeMap::new();
        for page in self.pages.keys() {
            let va = page * PAGE as u64;
            let mut table = root;
            for &shift in tables.shifts() {
                let at = table + tables.slot(shift, va);
                if shift == 12 {
                    leaves.insert(*page, at);
                    break;
                }
                let entry = load(&bytes, at, tables);
                table = if entry == 0 {
                    let next = bytes.len();
                    bytes.resize(next + PAGE, 0);
                    store(&mut bytes, at, next as u64 | tables.flags(false), tables);
                    next
                } else {
                    entry as usize & !(PAGE - 1)
                };
            }
        }
        let mut places = BTreeMap::new();
        for (page, contents) in &self.pages {
            let place = bytes.len();
            bytes.extend_from_slice(&contents[..]);
            store(
                &mut bytes,
                leaves[page],
                place as u64 | tables.flags(true),
                tables,
            );
            places.insert(*page, place);
        }
        Physical {
            bytes,
            root: root as u64,
            places,
        }
    }
}

fn load(bytes: &[u8], at: usize, tables: Tables) -> u64 {
    let width = if tables == Tables::X86 { 4 } else { 8 };
    let mut entry = [0; 8];
    entry[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(entry)
}

fn store(bytes: &mut [u8], at: usize, value: u64, tables: Tables) {
    let width = if tables == Tables::X86 { 4 } else { 8 };
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}
