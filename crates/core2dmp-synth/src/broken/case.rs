//! A dump and the guest that it is of: where a row breaks it.

use crate::bytes::get_u64;
use crate::dump::Dump;
use crate::windows::guest::Guest;

/// A dump and the guest that it is of.
#[derive(Clone, Debug)]
pub struct Case {
    /// The guest.
    pub guest: Guest,
    /// The dump.
    pub dump: Dump,
}

/// Offsets in a header.
pub(super) struct Offsets {
    pub(super) pfn_database: usize,
    pub(super) modules: usize,
    pub(super) processes: usize,
    pub(super) machine: usize,
    pub(super) processors: usize,
    pub(super) stop_code: usize,
    pub(super) parameter1: usize,
    pub(super) kdbg: usize,
    pub(super) runs: usize,
    pub(super) pages: usize,
    pub(super) first_run: usize,
    pub(super) context: usize,
    pub(super) exception: usize,
    pub(super) dump_type: usize,
    pub(super) time: usize,
    pub(super) up_time: usize,
    pub(super) comment: usize,
    pub(super) secondary: usize,
    pub(super) writer: usize,
    pub(super) attributes: usize,
}

const WIDE: Offsets = Offsets {
    pfn_database: 0x18,
    modules: 0x20,
    processes: 0x28,
    machine: 0x30,
    processors: 0x34,
    stop_code: 0x38,
    parameter1: 0x40,
    kdbg: 0x80,
    runs: 0x88,
    pages: 0x90,
    first_run: 0x98,
    context: 0x348,
    exception: 0xf00,
    dump_type: 0xf98,
    time: 0xfa8,
    up_time: 0x1030,
    comment: 0xfb0,
    secondary: 0x103c,
    writer: 0x1048,
    attributes: 0x1050,
};

const NARROW: Offsets = Offsets {
    pfn_database: 0x14,
    modules: 0x18,
    processes: 0x1c,
    machine: 0x20,
    processors: 0x24,
    stop_code: 0x28,
    parameter1: 0x2c,
    kdbg: 0x60,
    runs: 0x64,
    pages: 0x68,
    first_run: 0x6c,
    context: 0x320,
    exception: 0x7d0,
    dump_type: 0xf88,
    time: 0xfc0,
    up_time: 0xfb8,
    comment: 0x820,
    secondary: 0xf90,
    writer: 0xf9c,
    attributes: 0x8a0,
};

impl Case {
    /// Offsets of the fields that both headers have in different places.
    pub(super) fn at(&self) -> &'static Offsets {
        if self.is_wide() { &WIDE } else { &NARROW }
    }

    pub(super) fn is_wide(&self) -> bool {
        self.dump.header_bytes == 0x2000
    }

    /// Stores bytes.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.dump.put(offset, bytes);
    }

    /// Stores four bytes.
    pub(super) fn put_u32(&mut self, offset: usize, value: u32) {
        self.dump.put_u32(offset, value);
    }

    /// Stores eight bytes.
    pub(super) fn put_u64(&mut self, offset: usize, value: u64) {
        self.dump.put_u64(offset, value);
    }

    /// Stores a field that is as wide as a pointer.
    pub(super) fn put_word(&mut self, offset: usize, value: u64) {
        if self.is_wide() {
            self.put_u64(offset, value);
        } else {
            self.put_u32(offset, value as u32);
        }
    }

    /// Fills bytes with Windows' filling.
    pub(super) fn unset(&mut self, offset: usize, bytes: usize) {
        for at in offset..offset + bytes {
            self.put(at, &[b"PAGE"[at % 4]]);
        }
    }

    /// A field that is as wide as a pointer.
    pub(super) fn word(&self, offset: usize) -> u64 {
        if self.is_wide() {
            get_u64(&self.dump.bytes, offset)
        } else {
            u64::from(self.get_u32(offset))
        }
    }

    pub(super) fn get_u32(&self, offset: usize) -> u32 {
        let bytes = &self.dump.bytes[offset..offset + 4];
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Adds to a number of four bytes.
    pub(super) fn add_u32(&mut self, offset: usize, by: i32) {
        let value = self.get_u32(offset).wrapping_add_signed(by);
        self.put_u32(offset, value);
    }

    /// Adds to a field that is as wide as a pointer.
    pub(super) fn add_word(&mut self, offset: usize, by: i64) {
        let value = self.word(offset).wrapping_add_signed(by);
        self.put_word(offset, value);
    }

    /// Where the byte at a kernel address is in the file.
    pub(super) fn place(&self, va: u64) -> usize {
        let gpa = self.guest.translate(va).expect("the address is mapped");
        let page = self.dump.offset_of(gpa >> 12).expect("the dump has it");
        page + gpa as usize % 0x1000
    }

    /// Stores bytes at a kernel address; they may cross pages.
    pub(super) fn put_va(&mut self, va: u64, bytes: &[u8]) {
        for (va, &byte) in (va..).zip(bytes) {
            let offset = self.place(va);
            self.dump.bytes[offset] = byte;
        }
    }

    /// The address of a field of the debugger data block.
    pub(super) fn kdbg(&self, offset: u64) -> u64 {
        self.guest.expected.kdbg.as_ref().expect("it has one").va + offset
    }
}
