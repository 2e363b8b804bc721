//! Good dumps with one thing broken: what a checker, a repairer and Microsoft's engine are asked about.
//!
//! ```text
//! Body::Full64 --good()--> Case --Row::apply--> a broken dump; Row says what has to be found in it, and what mends it
//! ```
//!
//! A row breaks bytes at offsets that are written here by hand, so a wrong layout in the library cannot cancel out.
//! Its words are those of Microsoft's engine, dbgeng 10.0.10240.
//!
//! ```
//! use core2dmp_synth::broken::{Body, rows};
//!
//! let good = Body::Full64.good();
//! let row = rows().find(|row| row.name == "dump type 2").unwrap();
//! let broken = row.broken(&good);
//! assert_eq!(broken.bytes.len(), good.dump.bytes.len());
//! ```

mod body;
mod header;
mod memory;
mod today;

use crate::bytes::get_u64;
use crate::dump::{self, Dump, Ranges};
use crate::windows::guest::Guest;
use crate::windows::spec::GuestSpec;

/// Which good dump a row breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Type 1, x64, Windows 7.
    Full64,
    /// Type 1, x86 with PAE, Windows 7.
    Full32,
    /// Type 1, x64, Windows 10 that was running.
    Live64,
    /// Type 5, x64.
    Bitmap64,
    /// Type 6, x64.
    Kernel64,
    /// Type 2, x64.
    Summary64,
    /// Type 2, x86 with PAE.
    Summary32,
    /// Type 1, x64 with five levels of page tables.
    Levels5,
    /// Type 5, x64, a file of more than 16 MiB.
    Large64,
    /// Type 8, x64.
    Ranges8,
    /// Type 9, x64.
    Ranges9,
    /// Type 0xA, x64.
    RangesA,
}

impl Body {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Full64,
        Self::Full32,
        Self::Live64,
        Self::Bitmap64,
        Self::Kernel64,
        Self::Summary64,
        Self::Summary32,
        Self::Levels5,
        Self::Large64,
        Self::Ranges8,
        Self::Ranges9,
        Self::RangesA,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full64 => "full64",
            Self::Full32 => "full32",
            Self::Live64 => "live64",
            Self::Bitmap64 => "bitmap64",
            Self::Kernel64 => "kernel64",
            Self::Summary64 => "summary64",
            Self::Summary32 => "summary32",
            Self::Levels5 => "levels5",
            Self::Large64 => "large64",
            Self::Ranges8 => "ranges8",
            Self::Ranges9 => "ranges9",
            Self::RangesA => "rangesA",
        }
    }

    /// The good dump.
    #[must_use]
    pub fn good(self) -> Case {
        let stop = |spec: GuestSpec| {
            let spec = spec.memory_mib(20).processors(2);
            spec.crashed(0xe2, [1, 2, 3, 4]).build()
        };
        let guest = match self {
            Self::Full32 | Self::Summary32 => stop(GuestSpec::windows7_pae()),
            Self::Live64 => GuestSpec::windows10().memory_mib(20).processors(2).build(),
            Self::Levels5 => stop(GuestSpec::windows10_la57()),
            _ => stop(GuestSpec::windows7()),
        };
        let dump = match self {
            Self::Full64 | Self::Full32 | Self::Live64 | Self::Levels5 => dump::full(&guest),
            Self::Bitmap64 | Self::Large64 => dump::bitmap(&guest, false),
            Self::Kernel64 => dump::bitmap(&guest, true),
            Self::Summary64 | Self::Summary32 => dump::summary(&guest),
            Self::Ranges8 => dump::rdmp(&guest, Ranges::Kernel),
            Self::Ranges9 => dump::rdmp(&guest, Ranges::KernelAndUser),
            Self::RangesA => dump::rdmp(&guest, Ranges::Complete),
        };
        Case { guest, dump }
    }
}

/// A dump and the guest that it is of.
#[derive(Clone, Debug)]
pub struct Case {
    /// The guest.
    pub guest: Guest,
    /// The dump.
    pub dump: Dump,
}

/// How bad a checker has to call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The debugger does not open it.
    Refused,
    /// It opens, and shows nothing, too little, or what is not true.
    Broken,
    /// It opens, and the difference hardly shows.
    Cosmetic,
    /// Nothing is to be said.
    Silent,
}

/// What a repair has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// Nothing is left, and all pages are those of the good dump.
    Whole,
    /// Nothing is left; a page differs from the good dump's, where bytes had to be made anew.
    Anew,
    /// It says that it cannot, and why.
    No,
    /// There is nothing to repair.
    Nothing,
}

/// One thing broken.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The dump that it breaks.
    pub body: Body,
    /// Breaks it.
    pub apply: fn(&mut Case),
    /// What a checker has to call it.
    pub verdict: Verdict,
    /// The field or structure that it has to name; empty if silent.
    pub field: &'static str,
    /// Words of the engine, a part of them; empty where the engine says nothing.
    pub words: &'static str,
    /// What a repair has to come to.
    pub mended: Mended,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.body.name(), self.name)
    }
}

impl Row {
    /// The broken dump.
    #[must_use]
    pub fn broken(&self, good: &Case) -> Dump {
        let mut case = good.clone();
        (self.apply)(&mut case);
        case.dump
    }
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let tables = [header::ROWS, body::ROWS, memory::ROWS, today::ROWS];
    tables.into_iter().flatten().flat_map(|rows| rows.iter())
}

/// A table of rows: name, good dumps, what breaks them; what a checker calls it, in which field, in which words;
/// what a repair comes to.
macro_rules! table {
    ($($name:literal [$($body:ident)+] |$case:ident| $break:expr => $verdict:ident $field:literal $words:literal $mended:ident;)*) => {
        &[$(&[$(crate::broken::Row {
            name: $name,
            body: crate::broken::Body::$body,
            apply: |$case| $break,
            verdict: crate::broken::Verdict::$verdict,
            field: $field,
            words: $words,
            mended: crate::broken::Mended::$mended,
        }),+]),*]
    };
}
use table;

/// Offsets in a header.
struct Offsets {
    pfn_database: usize,
    modules: usize,
    processes: usize,
    machine: usize,
    processors: usize,
    stop_code: usize,
    parameter1: usize,
    kdbg: usize,
    runs: usize,
    pages: usize,
    first_run: usize,
    context: usize,
    exception: usize,
    dump_type: usize,
    time: usize,
    up_time: usize,
    comment: usize,
    secondary: usize,
    writer: usize,
    attributes: usize,
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
    fn at(&self) -> &'static Offsets {
        if self.is_wide() { &WIDE } else { &NARROW }
    }

    fn is_wide(&self) -> bool {
        self.dump.header_bytes == 0x2000
    }

    /// Stores bytes.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.dump.put(offset, bytes);
    }

    /// Stores four bytes.
    fn put_u32(&mut self, offset: usize, value: u32) {
        self.dump.put_u32(offset, value);
    }

    /// Stores eight bytes.
    fn put_u64(&mut self, offset: usize, value: u64) {
        self.dump.put_u64(offset, value);
    }

    /// Stores a field that is as wide as a pointer.
    fn put_word(&mut self, offset: usize, value: u64) {
        if self.is_wide() {
            self.put_u64(offset, value);
        } else {
            self.put_u32(offset, value as u32);
        }
    }

    /// Fills bytes with Windows' filling.
    fn unset(&mut self, offset: usize, bytes: usize) {
        for at in offset..offset + bytes {
            self.put(at, &[b"PAGE"[at % 4]]);
        }
    }

    /// A field that is as wide as a pointer.
    fn word(&self, offset: usize) -> u64 {
        if self.is_wide() {
            get_u64(&self.dump.bytes, offset)
        } else {
            u64::from(self.get_u32(offset))
        }
    }

    fn get_u32(&self, offset: usize) -> u32 {
        let bytes = &self.dump.bytes[offset..offset + 4];
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Adds to a number of four bytes.
    fn add_u32(&mut self, offset: usize, by: i32) {
        let value = self.get_u32(offset).wrapping_add_signed(by);
        self.put_u32(offset, value);
    }

    /// Adds to a field that is as wide as a pointer.
    fn add_word(&mut self, offset: usize, by: i64) {
        let value = self.word(offset).wrapping_add_signed(by);
        self.put_word(offset, value);
    }

    /// Where the byte at a kernel address is in the file.
    fn place(&self, va: u64) -> usize {
        let gpa = self.guest.translate(va).expect("the address is mapped");
        let page = self.dump.offset_of(gpa >> 12).expect("the dump has it");
        page + gpa as usize % 0x1000
    }

    /// Stores bytes at a kernel address; they may cross pages.
    fn put_va(&mut self, va: u64, bytes: &[u8]) {
        for (va, &byte) in (va..).zip(bytes) {
            let offset = self.place(va);
            self.dump.bytes[offset] = byte;
        }
    }

    /// The address of a field of the debugger data block.
    fn kdbg(&self, offset: u64) -> u64 {
        self.guest.expected.kdbg.as_ref().expect("it has one").va + offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_breaks_something() {
        for body in Body::ALL {
            let good = body.good();
            for row in rows().filter(|row| row.body == body) {
                assert!(row.broken(&good).bytes != good.dump.bytes, "{row:?}");
                let silent = row.verdict == Verdict::Silent;
                assert_eq!(silent, row.field.is_empty(), "{row:?}");
                assert_eq!(silent, row.mended == Mended::Nothing, "{row:?}");
            }
        }
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<String> = rows().map(|row| format!("{row:?}")).collect();
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
