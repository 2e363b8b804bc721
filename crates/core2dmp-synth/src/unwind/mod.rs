//! Images with unwind data, and functions whose every instruction is known.
//!
//! ```text
//! +0x1000 .text (code)   +0x20000 .pdata   +0x24000 .xdata   +0x2c000 exports
//! x64::Function, arm64::Function: instructions --carried out by x64::Machine ..--> registers and stack
//!                                              `-as bytes--> code and unwind data
//! ```
//!
//! A test runs a function here, one instruction after another, and asks a stack walk at each for the caller, whose
//! registers are known.
//!
//! References: Microsoft "PE Format", "x64 exception handling", "ARM64 exception handling".

pub mod arm64;
mod plant;
pub mod x64;

pub use plant::{Planted, plant};

use crate::bare::VirtualMemory;
use crate::bytes::{put_bytes, put_u16, put_u32};

/// Where things are in an image.
pub const TEXT: u32 = 0x1000;
const TEXT_BYTES: u32 = 0x1_f000;
/// `.pdata`.
pub const PDATA: u32 = 0x2_0000;
/// `.xdata`.
pub const XDATA: u32 = 0x2_4000;
const XDATA_BYTES: u32 = 0x8000;
const EXPORTS: u32 = 0x2_c000;
/// Bytes of an image.
pub const IMAGE_BYTES: u32 = 0x3_0000;

/// An image that is being made.
#[derive(Clone, Debug)]
pub struct Image {
    machine: u16,
    /// Code, by offset.
    code: Vec<(u32, Vec<u8>)>,
    /// Entries of `.pdata`: begin, and the rest of the entry.
    entries: Vec<(u32, Vec<u32>)>,
    xdata: Vec<u8>,
    exports: Vec<(String, u32)>,
    /// Whether the headers name an exception directory.
    pub with_table: bool,
    /// Size of the exception directory that the headers tell, if not the true one.
    pub table_bytes: Option<u32>,
}

impl Image {
    fn new(machine: u16) -> Self {
        Self {
            machine,
            code: Vec::new(),
            entries: Vec::new(),
            xdata: vec![0; 4],
            exports: Vec::new(),
            with_table: true,
            table_bytes: None,
        }
    }

    /// For x64.
    #[must_use]
    pub fn x64() -> Self {
        Self::new(0x8664)
    }

    /// For ARM64.
    #[must_use]
    pub fn arm64() -> Self {
        Self::new(0xaa64)
    }

    /// For x86, which has no unwind data.
    #[must_use]
    pub fn x86() -> Self {
        Self {
            with_table: false,
            ..Self::new(0x14c)
        }
    }

    /// Puts code at an offset.
    pub fn code(&mut self, rva: u32, bytes: &[u8]) {
        assert!(rva >= TEXT && rva + bytes.len() as u32 <= TEXT + TEXT_BYTES);
        self.code.push((rva, bytes.to_vec()));
    }

    /// Puts a record into `.xdata`, and returns its offset.
    pub fn xdata(&mut self, record: &[u8]) -> u32 {
        let rva = XDATA + self.xdata.len() as u32;
        self.xdata.extend_from_slice(record);
        self.xdata.resize(self.xdata.len().next_multiple_of(4), 0);
        assert!(self.xdata.len() as u32 <= XDATA_BYTES);
        rva
    }

    /// Where the next record comes.
    #[must_use]
    pub fn next_xdata(&self) -> u32 {
        XDATA + self.xdata.len() as u32
    }

    /// An entry of `.pdata`: x64 end and information, ARM64 one word.
    pub fn entry(&mut self, begin: u32, rest: &[u32]) {
        self.entries.push((begin, rest.to_vec()));
    }

    /// Exports a name.
    pub fn export(&mut self, name: &str, rva: u32) {
        self.exports.push((name.to_owned(), rva));
    }

    /// Writes the image, and returns its bytes.
    pub fn write_to(&self, memory: &mut VirtualMemory, base: u64) -> u32 {
        let at = |rva: u32| base + u64::from(rva);
        memory.write(base, &vec![0; IMAGE_BYTES as usize]);
        let mut entries = self.entries.clone();
        entries.sort();
        let table: Vec<u8> = entries
            .iter()
            .flat_map(|(begin, rest)| std::iter::once(begin).chain(rest))
            .flat_map(|word| word.to_le_bytes())
            .collect();
        memory.write(base, &self.headers(table.len() as u32));
        memory.write(at(PDATA), &table);
        memory.write(at(XDATA), &self.xdata);
        for (rva, code) in &self.code {
            memory.write(at(*rva), code);
        }
        memory.write(at(EXPORTS), &self.export_directory());
        IMAGE_BYTES
    }

    fn headers(&self, table: u32) -> Vec<u8> {
        let is_64 = self.machine != 0x14c;
        let mut page = vec![0; 0x1000];
        put_bytes(&mut page, 0, b"MZ");
        put_u32(&mut page, 0x3c, 0x80);
        put_bytes(&mut page, 0x80, b"PE\0\0");
        put_u16(&mut page, 0x84, self.machine);
        put_u16(&mut page, 0x86, 2);
        let optional = 0x98;
        let optional_bytes = if is_64 { 0xf0 } else { 0xe0 };
        put_u16(&mut page, 0x94, optional_bytes);
        put_u16(&mut page, optional, if is_64 { 0x20b } else { 0x10b });
        put_u32(&mut page, optional + 56, IMAGE_BYTES);
        let directories = optional + if is_64 { 112 } else { 96 };
        put_u32(&mut page, directories - 4, 16);
        if !self.exports.is_empty() {
            put_u32(&mut page, directories, EXPORTS);
            put_u32(
                &mut page,
                directories + 4,
                self.export_directory().len() as u32,
            );
        }
        if self.with_table {
            put_u32(&mut page, directories + 24, PDATA);
            put_u32(
                &mut page,
                directories + 28,
                self.table_bytes.unwrap_or(table),
            );
        }
        let sections = [
            (".text", TEXT, TEXT_BYTES, 0x6000_0020),
            (".rdata", PDATA, IMAGE_BYTES - PDATA, 0x4000_0040),
        ];
        let mut header = optional + usize::from(optional_bytes);
        for (name, rva, size, flags) in sections {
            put_bytes(&mut page, header, name.as_bytes());
            put_u32(&mut page, header + 8, size);
            put_u32(&mut page, header + 12, rva);
            put_u32(&mut page, header + 36, flags);
            header += 40;
        }
        page
    }

    /// IMAGE_EXPORT_DIRECTORY: functions in the order they were exported in, names sorted.
    fn export_directory(&self) -> Vec<u8> {
        let count = self.exports.len();
        let (functions, names) = (40, 40 + 4 * count);
        let ordinals = names + 4 * count;
        let mut bytes = vec![0; ordinals + 2 * count];
        let mut sorted: Vec<usize> = (0..count).collect();
        sorted.sort_by_key(|index| &self.exports[*index].0);
        put_u32(&mut bytes, 20, count as u32);
        put_u32(&mut bytes, 24, count as u32);
        for (slot, table) in [(28, functions), (32, names), (36, ordinals)] {
            put_u32(&mut bytes, slot, EXPORTS + table as u32);
        }
        for (place, index) in sorted.into_iter().enumerate() {
            let (name, rva) = &self.exports[index];
            put_u32(&mut bytes, functions + 4 * index, *rva);
            put_u16(&mut bytes, ordinals + 2 * place, index as u16);
            let text = EXPORTS + bytes.len() as u32;
            put_u32(&mut bytes, names + 4 * place, text);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}
