//! The hibernation file of Windows, `hiberfil.sys`: two formats that share the first fields of the header.
//!
//! ```text
//! up to 7     header | .. | processor | .. | table | block | block | .. | table | block | ..
//! 8 and later header | .. | (processor) .. | boot set: run run run .. | kernel set: run run run ..
//! ```
//!
//! A table is a page that lists ranges of frames; the blocks behind it hold their pages, 16 of them each. A run of
//! Windows 8 names its frames itself. Structures grew with every version: they are tables of offsets here, and which
//! one a file has is known from its contents, not from a version.
//!
//! Sources: `PO_MEMORY_IMAGE`, `PO_MEMORY_RANGE_ARRAY` and `KPROCESSOR_STATE` in the public symbols, as listed in
//! volatility's
//! `overlays/windows/*_vtypes.py`; volatility, `addrspaces/hibernate.py` and `hibernate_vtypes.py`; libhibr, format
//! description; `Hibr2Bin`, `Hiber.h` and `MemoryBlocks.cpp`; `LeechCore`, `device_hibr.c`; Sylve, Marziale, Richard,
//! "Modern Windows hibernation file analysis" (2017).

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Signatures, the first four bytes; up to Windows XP in small letters.
pub(crate) mod signature {
    /// A hibernated machine, not resumed yet.
    pub(crate) const HIBERNATED: [&[u8; 4]; 2] = [b"HIBR", b"hibr"];
    /// Resumed: the system starts as if there were no such file.
    pub(crate) const RESUMED: [&[u8; 4]; 2] = [b"WAKE", b"wake"];
    /// While it was resumed: something went wrong then.
    pub(crate) const RESTORING: [&[u8; 4]; 2] = [b"RSTR", b"rstr"];
    /// The true file is elsewhere; its name follows.
    pub(crate) const LINK: [&[u8; 4]; 2] = [b"LINK", b"link"];
    /// Hibernated once, resumed many times; hibernated with a breakpoint for the resume.
    pub(crate) const SPECIAL: [&[u8; 4]; 2] = [b"HORM", b"BRKP"];
}

/// `PO_MEMORY_IMAGE.LengthSelf`, u32: bytes of the header. All versions have it here.
pub(crate) const LENGTH_SELF: usize = 0xc;

/// `PO_MEMORY_IMAGE` up to Windows 7.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldHeader {
    /// `LengthSelf`; some versions share one.
    pub(crate) length: u32,
    /// Whether page numbers have 8 bytes.
    pub(crate) wide: bool,
    /// `FirstTablePage`.
    pub(crate) first_table: usize,
}

/// All of them.
pub(crate) static OLD_HEADERS: &[OldHeader] = &[
    // Windows XP, Server 2003.
    old(0xa8, false, 0x58),
    old(0xc0, true, 0x68),
    // Windows Vista, each service pack; Windows 7.
    old(0xe0, false, 0x50),
    old(0xf0, false, 0x50),
    old(0xe0, false, 0x4c),
    old(0x128, true, 0x68),
    old(0x140, true, 0x68),
    old(0x138, true, 0x68),
    old(0x128, true, 0x60),
];

const fn old(length: u32, wide: bool, first_table: usize) -> OldHeader {
    OldHeader {
        length,
        wide,
        first_table,
    }
}

/// A table of ranges up to Windows 7: a link, then ranges from a first page to an end that is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableLayout {
    /// Which Windows writes it.
    pub(crate) name: &'static str,
    /// Whether page numbers have 8 bytes.
    pub(crate) wide: bool,
    /// Bytes of the link.
    pub(crate) link: usize,
    /// In the link, the page of the next table.
    pub(crate) next: usize,
    /// In the link, u32: how many ranges follow.
    pub(crate) count: usize,
    /// Bytes of a range.
    pub(crate) range: usize,
    /// In a range: the first page. The end follows it.
    pub(crate) start: usize,
}

impl TableLayout {
    /// Ranges that a table has room for: only a full one is followed by another.
    #[must_use]
    pub(crate) const fn most(&self) -> usize {
        0x1000_usize.saturating_sub(self.link) / self.range
    }

    /// Bytes of a page number.
    #[must_use]
    pub(crate) const fn word(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }
}

/// All of them.
pub(crate) static TABLE_LAYOUTS: &[TableLayout] = &[
    table(
        "Windows XP to Vista SP1, 32 bit",
        false,
        [0x10, 4, 0xc, 0x10, 4],
    ),
    table("Windows Vista SP2, 32 bit", false, [0xc, 4, 8, 8, 0]),
    table("Windows 7, 32 bit", false, [8, 0, 4, 8, 0]),
    table(
        "Windows XP to Vista SP1, 64 bit",
        true,
        [0x20, 8, 0x14, 0x20, 8],
    ),
    table("Windows Vista SP2, 64 bit", true, [0x18, 8, 0x10, 0x10, 0]),
    table("Windows 7, 64 bit", true, [0x10, 0, 8, 0x10, 0]),
];

const fn table(
    name: &'static str,
    wide: bool,
    [link, next, count, range, start]: [usize; 5],
) -> TableLayout {
    TableLayout {
        name,
        wide,
        link,
        next,
        count,
        range,
        start,
    }
}

/// What a block of compressed pages begins with.
pub(crate) const BLOCK_MAGIC: &[u8; 8] = b"\x81\x81xpress";

/// Stands in front of the data of a block, up to Windows 7.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockHeader {
    /// [`BLOCK_MAGIC`].
    pub(crate) magic: [u8; 8],
    /// Pages less one in the 10 low bits, bytes less one in the others.
    info: U32,
    rest: [u8; 20],
}

impl BlockHeader {
    /// Pages in the block.
    #[must_use]
    pub(crate) fn pages(&self) -> u64 {
        u64::from(self.info.get() & 0x3ff).saturating_add(1)
    }

    /// Bytes that they take.
    #[must_use]
    pub(crate) fn stored(&self) -> u64 {
        u64::from(self.info.get() >> 10).saturating_add(1)
    }
}

/// The next block is at a multiple of this.
pub(crate) const BLOCK_ALIGN: u64 = 8;
/// Pages that a block or a run holds at most.
pub(crate) const MAX_PAGES: u64 = 16;

/// `PO_MEMORY_IMAGE` of Windows 8 and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewHeader {
    /// `LengthSelf`.
    pub(crate) length: u32,
    /// Which Windows writes it.
    pub(crate) name: &'static str,
    /// Whether page numbers have 8 bytes.
    pub(crate) wide: bool,
    /// `FirstBootRestorePage`; `FirstKernelRestorePage` follows it.
    pub(crate) first_boot: usize,
    /// `NumPagesForLoader`, u64: pages of the boot set.
    pub(crate) boot_pages: usize,
    /// `PerfInfo.KernelPagesProcessed`, u64: pages of the kernel set.
    pub(crate) kernel_pages: Option<usize>,
    /// `Hiberboot`, u8: the shutdown of a fast startup.
    pub(crate) hiberboot: Option<usize>,
}

/// All of them. Windows 11: `LeechCore` alone.
pub(crate) static NEW_HEADERS: &[NewHeader] = &[
    new(0x2c8, "Windows 8 or 8.1, 32 bit", 0x50, 0x1b0, Some(0x27c)),
    new(0x360, "Windows 8 or 8.1, 64 bit", 0x60, 0x1c8, Some(0x2fc)),
    new(
        0x310,
        "Windows 10 (10240), 32 bit",
        0x50,
        0x1f8,
        Some(0x2c4),
    ),
    new(
        0x3b0,
        "Windows 10 (10240), 64 bit",
        0x68,
        0x218,
        Some(0x34c),
    ),
    new(
        0x328,
        "Windows 10 (14393), 32 bit",
        0x50,
        0x200,
        Some(0x2cc),
    ),
    new(
        0x3c8,
        "Windows 10 (14393), 64 bit",
        0x68,
        0x220,
        Some(0x354),
    ),
    new(
        0x338,
        "Windows 10 (15063), 32 bit",
        0x50,
        0x210,
        Some(0x2dc),
    ),
    new(
        0x3d8,
        "Windows 10 (15063), 64 bit",
        0x68,
        0x230,
        Some(0x364),
    ),
    new(
        0x340,
        "Windows 10 (17763), 32 bit",
        0x50,
        0x210,
        Some(0x2dc),
    ),
    new(
        0x3e0,
        "Windows 10 (17763), 64 bit",
        0x68,
        0x230,
        Some(0x364),
    ),
    new(
        0x448,
        "Windows 11 (22000) or Server 2022",
        0x68,
        0x230,
        None,
    ),
    new(0x4d8, "Windows 11 (26100)", 0x68, 0x238, None),
];

/// Headers whose length is not in the list: by the places that all versions so far had.
pub(crate) static NEW_HEADERS_UNKNOWN: &[NewHeader] = &[
    unknown("Windows 10 or later, 64 bit", 0x68),
    unknown("Windows 8, 64 bit", 0x60),
    unknown("Windows 8 or later, 32 bit", 0x50),
];

const fn new(
    length: u32,
    name: &'static str,
    first_boot: usize,
    kernel_pages: usize,
    hiberboot: Option<usize>,
) -> NewHeader {
    let wide = first_boot > 0x50;
    NewHeader {
        length,
        name,
        wide,
        first_boot,
        boot_pages: if wide { 0x58 } else { 0x48 },
        kernel_pages: Some(kernel_pages),
        hiberboot,
    }
}

const fn unknown(name: &'static str, first_boot: usize) -> NewHeader {
    NewHeader {
        kernel_pages: None,
        ..new(0, name, first_boot, 0, None)
    }
}

/// A run's first word: how many descriptors follow, bytes of data, and how they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunHeader(pub u32);

impl RunHeader {
    /// Descriptors of frames.
    #[must_use]
    pub(crate) const fn descriptors(self) -> u32 {
        self.0 & 0xff
    }

    /// Bytes of data behind them; as many as the pages have if they are not compressed.
    #[must_use]
    pub(crate) const fn stored(self) -> u32 {
        self.0 >> 8 & 0x3f_ffff
    }

    /// 0 is plain Xpress; 2 and 3 are its Huffman variant. Of 1 `Hibr2Bin` says plain, `LeechCore` Huffman.
    #[must_use]
    pub(crate) const fn method(self) -> u32 {
        self.0 >> 30
    }
}

/// A descriptor of a run: pages less one in the 4 low bits, the first frame in the others.
#[must_use]
pub(crate) const fn frames_of(descriptor: u64) -> (u64, u64) {
    (descriptor >> 4, (descriptor & 0xf).saturating_add(1))
}

/// `KPROCESSOR_STATE` of amd64: `KSPECIAL_REGISTERS`, and behind it `CONTEXT` at one of these, by version.
pub(crate) const CONTEXT_AMD64: [usize; 6] = [0xe0, 0xf0, 0x100, 0x110, 0x120, 0x130];
/// `KPROCESSOR_STATE` of x86: `CONTEXT`, and `KSPECIAL_REGISTERS` here.
pub(crate) const SPECIAL_X86: usize = 0x2cc;

const _: () = assert!(size_of::<BlockHeader>() == 0x20);

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of entries that peers compare with.
    #[test]
    fn full_tables() {
        let most: Vec<_> = TABLE_LAYOUTS.iter().map(TableLayout::most).collect();
        assert_eq!(most, [0xff, 0x1fe, 0x1ff, 0x7f, 0xfe, 0xff]);
    }
}
