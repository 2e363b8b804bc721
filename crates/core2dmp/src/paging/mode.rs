//! How processors translate: the levels of each mode, and which addresses it has.

use crate::address::Gva;

/// How a processor translates addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PagingMode {
    /// 32 bit, two levels.
    X86,
    /// 32 bit with physical address extension, three levels.
    X86Pae,
    /// 64 bit, four levels.
    X64,
    /// 64 bit, five levels (LA57).
    X64La57,
    /// ARM64 with 4 KiB pages, four levels.
    Arm64,
}

/// One level of the tables.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) name: &'static str,
    /// Lowest bit of the index.
    pub(super) shift: u32,
    /// Bits of the index.
    pub(super) bits: u32,
    /// Whether an entry can map memory itself.
    pub(super) leaf: Leaf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Always a table.
    Never,
    /// If the architecture's bit says so.
    Large,
    /// Always a page.
    Always,
}

const fn level(name: &'static str, shift: u32, bits: u32, leaf: Leaf) -> Level {
    Level {
        name,
        shift,
        bits,
        leaf,
    }
}

const X86: &[Level] = &[
    level("PDE", 22, 10, Leaf::Large),
    level("PTE", 12, 10, Leaf::Always),
];
const X86_PAE: &[Level] = &[
    level("PDPTE", 30, 2, Leaf::Never),
    level("PDE", 21, 9, Leaf::Large),
    level("PTE", 12, 9, Leaf::Always),
];
const X64_LA57: &[Level] = &[
    level("PML5E", 48, 9, Leaf::Never),
    level("PML4E", 39, 9, Leaf::Never),
    level("PDPTE", 30, 9, Leaf::Large),
    level("PDE", 21, 9, Leaf::Large),
    level("PTE", 12, 9, Leaf::Always),
];
const ARM64: &[Level] = &[
    level("level 0 entry", 39, 9, Leaf::Never),
    level("level 1 entry", 30, 9, Leaf::Large),
    level("level 2 entry", 21, 9, Leaf::Large),
    level("level 3 entry", 12, 9, Leaf::Always),
];

impl PagingMode {
    pub(super) fn levels(self) -> &'static [Level] {
        match self {
            Self::X86 => X86,
            Self::X86Pae => X86_PAE,
            Self::X64 => X64_LA57.split_at(1).1,
            Self::X64La57 => X64_LA57,
            Self::Arm64 => ARM64,
        }
    }

    /// Whether pointers have 64 bits.
    #[must_use]
    pub const fn is_64bit(self) -> bool {
        !matches!(self, Self::X86 | Self::X86Pae)
    }

    /// Bytes of a pointer.
    #[must_use]
    pub const fn pointer_bytes(self) -> usize {
        if self.is_64bit() { 8 } else { 4 }
    }

    /// The bits of CR3 (or TTBR) that are the root's address.
    #[must_use]
    pub const fn root_mask(self) -> u64 {
        match self {
            Self::X86 => 0xffff_f000,
            Self::X86Pae => 0xffff_ffe0,
            Self::X64 | Self::X64La57 => 0x000f_ffff_ffff_f000,
            Self::Arm64 => 0x0000_ffff_ffff_f000,
        }
    }

    pub(super) const fn entry_bytes(self) -> usize {
        if matches!(self, Self::X86) { 4 } else { 8 }
    }

    /// The address with its sign extension: on 32 bit the low half alone, where a 64-bit field may hold it
    /// sign-extended. `None` if it is not canonical.
    #[must_use]
    pub fn canonical(self, gva: Gva) -> Option<Gva> {
        let value = gva.get();
        if !self.is_64bit() {
            let high = value >> 32;
            let sign_extended = high == 0xffff_ffff && value & 0x8000_0000 != 0;
            return (high == 0 || sign_extended).then_some(Gva::new(value & 0xffff_ffff));
        }
        let unused = if self == Self::X64La57 { 7 } else { 16 };
        let extended = (value << unused).cast_signed() >> unused;
        (extended.cast_unsigned() == value).then_some(gva)
    }

    /// Whether the address belongs to the kernel's half.
    #[must_use]
    pub fn is_kernel(self, gva: Gva) -> bool {
        let bit = if self.is_64bit() { 63 } else { 31 };
        self.canonical(gva)
            .is_some_and(|gva| gva.get() >> bit & 1 == 1)
    }
}
