//! A guest under construction: memory, System's address space, and two places to put structures.
//!
//! ```text
//! variable("KiBugcheckData", 40) -> an address in the kernel's .data     pool(size) -> an address in nonpaged pool
//! ```

use std::collections::BTreeMap;

use crate::bytes::get_u64;
use crate::windows::layout::Layout;
use crate::windows::memory::{Allocator, Frames, PAGE, Place};
use crate::windows::paging::{AddressSpace, KERNEL, Ram};
use crate::windows::ram_map::RamMap;
use crate::windows::spec::GuestSpec;

/// Where in .data the variables begin; the KDBG lies before them.
const VARIABLES: u64 = 0x1_0040;

/// A guest under construction.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) spec: &'a GuestSpec,
    pub(crate) map: RamMap,
    pub(crate) ram: Ram,
    pub(crate) space: AddressSpace,
    variables: BTreeMap<&'static str, u64>,
    next_variable: u64,
    next_pool: u64,
    pool_end: u64,
}

impl<'a> World<'a> {
    /// Creates empty memory with System's root.
    pub(crate) fn new(spec: &'a GuestSpec) -> Self {
        let map = RamMap::new(spec);
        let root_pfn = spec.ram_start + spec.layout.regions.root_pfn;
        let mut allocator = Allocator::new(map.low.clone(), map.high.clone());
        allocator.reserve(root_pfn..root_pfn + 1);
        for &(first, count) in &map.missing {
            allocator.reserve(first..first + count);
        }
        let mut ram = Ram {
            frames: Frames::new(spec.fill),
            allocator,
        };
        let space = AddressSpace {
            arch: spec.layout.arch,
            root: root_pfn << 12,
        };
        ram.frames.write(space.root, &[0; PAGE]);
        space.prepare(&mut ram, true);
        let regions = &spec.layout.regions;
        Self {
            spec,
            map,
            ram,
            space,
            variables: BTreeMap::new(),
            next_variable: regions.kernel + regions.unit + VARIABLES,
            next_pool: regions.pool + 0x40,
            pool_end: regions.pool,
        }
    }

    pub(crate) fn layout(&self) -> &'a Layout {
        &self.spec.layout
    }

    /// Maps fresh frames at an address.
    pub(crate) fn map_pages(&mut self, va: u64, pages: u64, place: Place) {
        for i in 0..pages {
            let pfn = self.ram.allocator.take(place);
            self.space
                .map(&mut self.ram, va + i * PAGE as u64, pfn, KERNEL);
        }
    }

    /// Maps neighbouring frames into pool, at an address of their own.
    pub(crate) fn map_run(&mut self, first: u64, pages: u64) -> u64 {
        let va = self.pool_end.max(self.next_pool.next_multiple_of(0x1000));
        for i in 0..pages {
            let page = va + i * PAGE as u64;
            self.space.map(&mut self.ram, page, first + i, KERNEL);
        }
        self.pool_end = va + pages * PAGE as u64;
        self.next_pool = self.pool_end + 0x40;
        va
    }

    /// Maps all pages that a structure touches.
    pub(crate) fn map_span(&mut self, va: u64, bytes: u64, place: Place) {
        let first = va & !0xfff;
        self.map_pages(first, (va + bytes).div_ceil(0x1000) - first / 0x1000, place);
    }

    /// The physical address behind a mapped kernel address.
    pub(crate) fn gpa(&self, va: u64) -> u64 {
        self.space
            .translate(&self.ram.frames, va)
            .unwrap_or_else(|| panic!("{va:#x} is not mapped"))
    }

    /// The pieces of a range in physical memory, neighbours joined.
    pub(crate) fn pieces(&self, va: u64, bytes: usize) -> Vec<(u64, usize)> {
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        let mut done = 0;
        while done < bytes {
            let at = va + done as u64;
            let length = (PAGE - (at & 0xfff) as usize).min(bytes - done);
            let gpa = self.gpa(at);
            match pieces.last_mut() {
                Some(last) if last.0 + last.1 as u64 == gpa => last.1 += length,
                _ => pieces.push((gpa, length)),
            }
            done += length;
        }
        pieces
    }

    /// Writes bytes at a mapped kernel address.
    pub(crate) fn write(&mut self, va: u64, bytes: &[u8]) {
        let mut done = 0;
        for (gpa, length) in self.pieces(va, bytes.len()) {
            self.ram.frames.write(gpa, &bytes[done..done + length]);
            done += length;
        }
    }

    /// Reads bytes at a mapped kernel address.
    pub(crate) fn read(&self, va: u64, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        let mut done = 0;
        for (gpa, length) in self.pieces(va, bytes) {
            self.ram.frames.read(gpa, &mut buffer[done..done + length]);
            done += length;
        }
        buffer
    }

    pub(crate) fn put_u16(&mut self, va: u64, value: u16) {
        self.write(va, &value.to_le_bytes());
    }

    pub(crate) fn put_u32(&mut self, va: u64, value: u32) {
        self.write(va, &value.to_le_bytes());
    }

    pub(crate) fn put_u64(&mut self, va: u64, value: u64) {
        self.write(va, &value.to_le_bytes());
    }

    /// Writes a pointer of the guest's width.
    pub(crate) fn put_pointer(&mut self, va: u64, value: u64) {
        let width = self.layout().arch.pointer() as usize;
        self.write(va, &value.to_le_bytes()[..width]);
    }

    /// Reads a pointer of the guest's width.
    pub(crate) fn pointer(&self, va: u64) -> u64 {
        let width = self.layout().arch.pointer() as usize;
        let mut bytes = self.read(va, width);
        bytes.resize(8, 0);
        get_u64(&bytes, 0)
    }

    /// Makes a LIST_ENTRY that points at itself.
    pub(crate) fn list_head(&mut self, head: u64) {
        self.put_pointer(head, head);
        self.put_pointer(head + self.layout().arch.pointer(), head);
    }

    /// Puts an entry at the end of a list.
    pub(crate) fn list_append(&mut self, head: u64, entry: u64) {
        let width = self.layout().arch.pointer();
        let last = self.pointer(head + width);
        self.put_pointer(last, entry);
        self.put_pointer(entry, head);
        self.put_pointer(entry + width, last);
        self.put_pointer(head + width, entry);
    }

    /// The address of a kernel variable, made when first asked for.
    pub(crate) fn variable(&mut self, name: &'static str, bytes: u64) -> u64 {
        if let Some(&va) = self.variables.get(name) {
            return va;
        }
        let va = self.next_variable;
        // Real variables are spread over .data; leave room between ours.
        self.next_variable = (va + bytes + 0x1f) & !0xf;
        self.variables.insert(name, va);
        self.write(va, &vec![0; bytes as usize]);
        va
    }

    /// Takes zeroed nonpaged pool; a block within a page does not cross its end.
    pub(crate) fn pool(&mut self, bytes: u64) -> u64 {
        let mut va = self.next_pool;
        let room = 0x1000 - (va & 0xfff);
        if bytes > room && room != 0x1000 {
            va = (va & !0xfff) + 0x1000 + if bytes < 0xf00 { 0x40 } else { 0 };
        }
        while self.pool_end < va + bytes {
            let place = if self.pool_end & 0x1000 == 0 {
                Place::High
            } else {
                Place::Low
            };
            self.map_pages(self.pool_end, 1, place);
            self.pool_end += 0x1000;
        }
        self.next_pool = (va + bytes + 0x1f) & !0xf;
        self.write(va, &vec![0; bytes as usize]);
        va
    }

    /// Puts a UNICODE_STRING at `va`, its text in pool.
    pub(crate) fn put_unicode_string(&mut self, va: u64, text: &str) {
        let bytes = crate::bytes::utf16(text);
        let buffer = self.pool(bytes.len() as u64 + 2);
        self.write(buffer, &bytes);
        self.put_u16(va, bytes.len() as u16);
        self.put_u16(va + 2, bytes.len() as u16 + 2);
        self.put_pointer(va + self.layout().arch.pointer(), buffer);
    }
}
