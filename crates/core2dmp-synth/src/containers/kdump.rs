//! The guest as a kdump-compressed dump: what makedumpfile writes of a Linux, and QEMU of any guest.
//!
//! ```text
//! header | sub header, notes | bitmap | bitmap | page descriptors | pages
//! ```
//!
//! The flattened form has the same bytes in records, in an order in which a writer meets them.
//!
//! References: makedumpfile, IMPLEMENTATION and diskdump_mod.h; QEMU, include/sysemu/dump.h and dump/dump.c.

use std::io::Write;
use std::ops::Range;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::containers::core_notes;
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

/// How pages are compressed; a page that does not shrink is stored as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KdumpCompression {
    /// Not at all.
    None,
    /// zlib.
    Zlib,
    /// LZO1X.
    Lzo,
    /// Snappy.
    Snappy,
    /// Zstandard.
    Zstd,
}

impl KdumpCompression {
    fn flag(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Zlib => 1,
            Self::Lzo => 2,
            Self::Snappy => 4,
            Self::Zstd => 0x20,
        }
    }

    fn compress(self, page: &[u8]) -> Vec<u8> {
        match self {
            Self::None => page.to_vec(),
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(page).unwrap();
                encoder.finish().unwrap()
            }
            Self::Lzo => lzokay::compress::compress(page).unwrap(),
            Self::Snappy => snap::raw::Encoder::new().compress_vec(page).unwrap(),
            Self::Zstd => compress_to_vec(page, CompressionLevel::Fastest),
        }
    }
}

/// Builds a kdump-compressed dump.
#[derive(Clone, Debug)]
pub struct Kdump<'a> {
    guest: &'a Guest,
    compression: KdumpCompression,
    version: u32,
    narrow: bool,
    notes: bool,
    excluded: Vec<Range<u64>>,
}

impl Guest {
    /// The guest as a kdump-compressed dump.
    #[must_use]
    pub fn kdump(&self) -> Kdump<'_> {
        Kdump::new(self)
    }
}

impl<'a> Kdump<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            compression: KdumpCompression::Zlib,
            version: 6,
            narrow: false,
            notes: true,
            excluded: Vec::new(),
        }
    }

    /// How pages are compressed (default zlib).
    #[must_use]
    pub fn compression(mut self, compression: KdumpCompression) -> Self {
        self.compression = compression;
        self
    }

    /// The header's version, 1 to 6 (default 6).
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The headers of a 32-bit writer.
    #[must_use]
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// Leaves the notes out.
    #[must_use]
    pub fn without_notes(mut self) -> Self {
        self.notes = false;
        self
    }

    /// Frames that the writer left out: in the first bitmap, not in the second.
    #[must_use]
    pub fn excluded(mut self, frames: Range<u64>) -> Self {
        self.excluded.push(frames);
        self
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.part(None)
    }

    /// The files of a dump that was split at these frames.
    #[must_use]
    pub fn split(&self, at: &[u64]) -> Vec<Vec<u8>> {
        let borders: Vec<u64> = [0]
            .into_iter()
            .chain(at.iter().copied())
            .chain([self.end()])
            .collect();
        borders
            .windows(2)
            .map(|pair| self.part(Some(pair[0]..pair[1])))
            .collect()
    }

    /// The flattened form: the file's pieces in records of `record` bytes, descriptors and pages in turns.
    #[must_use]
    pub fn flattened(&self, record: usize) -> Vec<u8> {
        let file = self.bytes();
        let descriptors = self.descriptors_at() as usize;
        let data = descriptors + self.pfns(None).len() * 24;
        let mut out = b"makedumpfile\0\0\0\0".to_vec();
        out.extend(1_u64.to_be_bytes());
        out.extend(1_u64.to_be_bytes());
        out.resize(PAGE, 0);
        let mut put = |start: usize, bytes: &[u8]| {
            out.extend((start as u64).to_be_bytes());
            out.extend((bytes.len() as u64).to_be_bytes());
            out.extend(bytes);
        };
        // The header comes twice: first without what is known at the end only.
        put(0, &vec![0xee; PAGE]);
        put(0, &file[..PAGE]);
        for (n, piece) in file[PAGE..descriptors].chunks(record).enumerate() {
            put(PAGE + n * record, piece);
        }
        let mut pages = file[data..].chunks(record).enumerate();
        for (n, piece) in file[descriptors..data].chunks(record).enumerate() {
            put(descriptors + n * record, piece);
            if let Some((n, piece)) = pages.next() {
                put(data + n * record, piece);
            }
        }
        for (n, piece) in pages {
            put(data + n * record, piece);
        }
        out.extend([0xff; 16]);
        out
    }

    /// Where the page descriptors start.
    #[must_use]
    pub fn descriptors_at(&self) -> u64 {
        (PAGE + self.sub_header_bytes() + 2 * self.bitmap_bytes()) as u64
    }

    /// One past the last frame.
    fn end(&self) -> u64 {
        self.guest
            .present
            .iter()
            .map(|run| run.0 + run.1)
            .max()
            .unwrap_or(0)
    }

    /// Blocks of one bitmap, in bytes.
    fn bitmap_bytes(&self) -> usize {
        (self.end() as usize).div_ceil(8).next_multiple_of(PAGE)
    }

    fn all_notes(&self) -> Vec<u8> {
        if self.notes && self.version >= 4 {
            core_notes::qemu(self.guest, true, true)
        } else {
            Vec::new()
        }
    }

    fn sub_header_bytes(&self) -> usize {
        (104 + self.all_notes().len()).next_multiple_of(PAGE)
    }

    fn is_excluded(&self, pfn: u64) -> bool {
        self.excluded.iter().any(|range| range.contains(&pfn))
    }

    /// The frames whose pages are in the file, or in a part of it.
    fn pfns(&self, part: Option<&Range<u64>>) -> Vec<u64> {
        self.guest
            .present
            .iter()
            .flat_map(|&(first, count)| first..first + count)
            .filter(|pfn| !self.is_excluded(*pfn))
            .filter(|pfn| part.is_none_or(|part| part.contains(pfn)))
            .collect()
    }

    fn part(&self, part: Option<Range<u64>>) -> Vec<u8> {
        let mut file = self.header();
        file.extend(self.sub_header(part.as_ref()));
        file.extend(self.bitmap(true));
        file.extend(self.bitmap(false));
        assert_eq!(file.len() as u64, self.descriptors_at());
        let pfns = self.pfns(part.as_ref());
        let data_at = file.len() + pfns.len() * 24;
        let (mut descriptors, mut data) = (Vec::new(), Vec::new());
        let mut zeros = None;
        let mut page = vec![0; PAGE];
        for pfn in pfns {
            self.guest.frames.read_frame(pfn, &mut page);
            let is_zero = page.iter().all(|byte| *byte == 0);
            let stored = match zeros {
                Some(stored) if is_zero => stored,
                _ => {
                    let stored = self.store(&page, data_at, &mut data);
                    if is_zero {
                        zeros = Some(stored);
                    }
                    stored
                }
            };
            let mut descriptor = vec![0; 24];
            put_u64(&mut descriptor, 0, stored.0);
            put_u32(&mut descriptor, 8, stored.1);
            put_u32(&mut descriptor, 12, stored.2);
            descriptors.extend(descriptor);
        }
        file.extend(descriptors);
        file.extend(data);
        file
    }

    /// Adds a page's data; where it is, its bytes, its flags.
    fn store(&self, page: &[u8], data_at: usize, data: &mut Vec<u8>) -> (u64, u32, u32) {
        let offset = (data_at + data.len()) as u64;
        let packed = self.compression.compress(page);
        let (bytes, flags) = if packed.len() < PAGE {
            (packed, self.compression.flag())
        } else {
            (page.to_vec(), 0)
        };
        data.extend_from_slice(&bytes);
        (offset, bytes.len() as u32, flags)
    }

    fn header(&self) -> Vec<u8> {
        let mut header = vec![0; PAGE];
        put_bytes(&mut header, 0, b"KDUMP   ");
        put_u32(&mut header, 8, self.version);
        put_bytes(
            &mut header,
            12 + 4 * 65,
            if self.narrow { b"i686" } else { b"x86_64" },
        );
        let end = self.end();
        let numbers = [
            self.compression.flag(),
            PAGE as u32,
            (self.sub_header_bytes() / PAGE) as u32,
            (2 * self.bitmap_bytes() / PAGE) as u32,
            if self.version >= 6 { 0 } else { end as u32 },
            0,
            0,
            0,
            0,
            self.guest.vcpus.len() as u32,
        ];
        let at = if self.narrow { 412 } else { 424 };
        for (i, value) in numbers.into_iter().enumerate() {
            put_u32(&mut header, at + i * 4, value);
        }
        header
    }

    fn sub_header(&self, part: Option<&Range<u64>>) -> Vec<u8> {
        let notes = self.all_notes();
        let mut sub = vec![0; self.sub_header_bytes()];
        let notes_at = PAGE as u64 + 104;
        let (start, end) = part.map_or((0, 0), |part| (part.start, part.end));
        let split = u32::from(part.is_some() && self.version >= 2);
        put_u32(&mut sub, if self.narrow { 4 } else { 8 }, 31);
        if self.narrow {
            for (at, value) in [(8, split), (12, start as u32), (16, end as u32)] {
                put_u32(&mut sub, at, value);
            }
            if !notes.is_empty() {
                put_u64(&mut sub, 32, notes_at);
                put_u32(&mut sub, 40, notes.len() as u32);
            }
        } else {
            put_u32(&mut sub, 12, split);
            put_u64(&mut sub, 16, start);
            put_u64(&mut sub, 24, end);
            if !notes.is_empty() {
                put_u64(&mut sub, 48, notes_at);
                put_u64(&mut sub, 56, notes.len() as u64);
            }
        }
        if self.version >= 6 {
            let at = if self.narrow { 56 } else { 80 };
            for (i, value) in [start, end, self.end()].into_iter().enumerate() {
                put_u64(&mut sub, at + i * 8, value);
            }
        }
        put_bytes(&mut sub, 104, &notes);
        sub
    }

    fn bitmap(&self, all: bool) -> Vec<u8> {
        let mut bitmap = vec![0; self.bitmap_bytes()];
        for pfn in self
            .guest
            .present
            .iter()
            .flat_map(|&(first, count)| first..first + count)
        {
            if all || !self.is_excluded(pfn) {
                bitmap[(pfn / 8) as usize] |= 1 << (pfn % 8);
            }
        }
        bitmap
    }
}
