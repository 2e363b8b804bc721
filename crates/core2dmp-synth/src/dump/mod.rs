//! The guest as a Windows crash dump of any type: what Windows, WinDbg and converters write.
//!
//! ```text
//! header (0x2000; 32 bit 0x1000) | 1: pages of the runs
//!                                | 2: SDMP, 32-bit counts, bitmap | pages      written frames only
//!                                | 5: FDMP, bitmap | pages         6: SDMP, bitmap | pages of written frames
//!                                | 8, 9, A: RDMP, ranges | pages
//!                                | 4: triage block, parts
//! ```
//!
//! The pages are those of a correct dump: the debugger data block is plain, and the processors' registers are in
//! their control blocks. A frame that the container lacks is zeros in type 1 and absent in all others.
//!
//! References: DUMP_HEADER64 and DUMP_HEADER32 as in [`crate::RamHeader`]; the bitmap's header in kdmp-parser and
//! Volatility; type 2 by what Microsoft's engine opens; RDMP in kdmp-parser; the triage block in rizin's dmp64 reader
//! and in dumps of Windows 10 and 11.
//!
//! ```
//! use core2dmp_synth::{GuestSpec, dump};
//!
//! let guest = GuestSpec::windows7().build();
//! let mut dump = dump::bitmap(&guest, false);
//! dump.put_u32(0xf98, 2); // a type that the body is not
//! assert_eq!(dump.page(0x100).map(<[u8]>::len), Some(4096));
//! ```

mod bitmap;
mod pages;
mod ranges;
mod triage;

use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

pub use bitmap::{bitmap, summary};
pub use ranges::{Ranges, rdmp};
pub use triage::triage;

/// A dump file in memory.
#[derive(Clone, Debug)]
pub struct Dump {
    /// The file.
    pub bytes: Vec<u8>,
    /// The frames whose pages it holds, in their order.
    pub pfns: Vec<u64>,
    /// Where the first page is.
    pub first_page: usize,
    /// Bytes of the dump header.
    pub header_bytes: usize,
}

impl Dump {
    /// A dump that ends before its pages.
    fn new(guest: &Guest, dump_type: u32) -> Self {
        let bytes = pages::header(guest, dump_type);
        Self {
            pfns: Vec::new(),
            first_page: bytes.len(),
            header_bytes: bytes.len(),
            bytes,
        }
    }

    /// Appends the pages of these frames, and notes the file's size in the header.
    fn with_pages(mut self, guest: &Guest, pfns: Vec<u64>) -> Self {
        let overlay = pages::overlay(guest);
        self.first_page = self.bytes.len();
        self.bytes.reserve(pfns.len() * PAGE);
        for &pfn in &pfns {
            self.bytes.extend(pages::page(guest, &overlay, pfn));
        }
        self.pfns = pfns;
        self.note_size();
        self
    }

    /// Puts the file's size into the header.
    pub fn note_size(&mut self) {
        let size = self.bytes.len() as u64;
        self.put_u64(0xfa0, size);
    }

    /// Where the page of a frame is.
    #[must_use]
    pub fn offset_of(&self, pfn: u64) -> Option<usize> {
        let index = self.pfns.iter().position(|&there| there == pfn)?;
        Some(self.first_page + index * PAGE)
    }

    /// The page of a frame.
    #[must_use]
    pub fn page(&self, pfn: u64) -> Option<&[u8]> {
        let offset = self.offset_of(pfn)?;
        self.bytes.get(offset..offset + PAGE)
    }

    /// Changes bytes of the file.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        put_bytes(&mut self.bytes, offset, bytes);
    }

    /// Changes four bytes of the file.
    pub fn put_u32(&mut self, offset: usize, value: u32) {
        put_u32(&mut self.bytes, offset, value);
    }

    /// Changes eight bytes of the file.
    pub fn put_u64(&mut self, offset: usize, value: u64) {
        put_u64(&mut self.bytes, offset, value);
    }

    /// Replaces DumpType.
    pub fn set_type(&mut self, value: u32) {
        let offset = if self.header_bytes == 0x2000 {
            0xf98
        } else {
            0xf88
        };
        self.put_u32(offset, value);
    }

    /// Cuts the file off.
    pub fn truncate(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
    }
}

/// A full dump (type 1): the pages of Windows' runs, with zeros for those that the container lacks.
#[must_use]
pub fn full(guest: &Guest) -> Dump {
    Dump::new(guest, 1).with_pages(guest, pages::counted(guest))
}

/// Only the header, with this type.
#[must_use]
pub fn header(guest: &Guest, dump_type: u32) -> Vec<u8> {
    Dump::new(guest, dump_type).bytes
}
