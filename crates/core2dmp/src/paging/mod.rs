//! Virtual addresses: page tables of x86, x86 PAE, x64 with four and five levels, and ARM64 (4 KiB granule).
//!
//! ```text
//! x86      PDE 10 | PTE 10 | 12                      4 MiB pages at the PDE
//! PAE      PDPTE 2 | PDE 9 | PTE 9 | 12              2 MiB
//! x64      [PML5E 9 |] PML4E 9 | PDPTE 9 | PDE 9 | PTE 9 | 12    1 GiB and 2 MiB
//! ARM64    L0 9 | L1 9 | L2 9 | L3 9 | 12            1 GiB and 2 MiB blocks
//! ```
//!
//! Windows on ARM64 uses one table of 512 entries for both halves of the address space, as on x64.
//! An entry that is not valid may still say where the page is: Windows keeps transition and prototype
//! entries there. They are told apart, and are "not present" all the same.
//!
//! Sources: Intel SDM volume 3, chapter 4; Arm ARM, D8.3; the software entries as !pte prints them
//! (prototype bit 10, transition bit 11 on every architecture).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod access;
mod reach;
mod walk;

use crate::address::{Gpa, Gva, Pfn};
use crate::memory::{MemoryError, PhysicalMemory};

pub use access::{AccessError, ScanBudget};
pub use reach::{Reach, ReachedHalf};
pub use walk::MappedRange;

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
struct Level {
    name: &'static str,
    /// Lowest bit of the index.
    shift: u32,
    /// Bits of the index.
    bits: u32,
    /// Whether an entry can map memory itself.
    leaf: Leaf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
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
    fn levels(self) -> &'static [Level] {
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

    const fn entry_bytes(self) -> usize {
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

/// What an entry without the valid bit says, in Windows' own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPresent {
    /// All bits are zero: nothing is mapped.
    Zero,
    /// The page is still in this frame, on the standby or modified list.
    Transition(Pfn),
    /// A prototype entry elsewhere describes the page.
    Prototype,
    /// Paged out, or zeros on demand.
    Elsewhere,
}

/// Why a virtual address has no physical one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// The address cannot exist.
    #[error("virtual address {gva} is not canonical")]
    NotCanonical {
        /// The address.
        gva: Gva,
    },
    /// An entry is not valid.
    #[error("virtual address {gva} is not present: its {level} is {entry:#x}")]
    NotPresent {
        /// The address.
        gva: Gva,
        /// The entry's level.
        level: &'static str,
        /// The entry.
        entry: u64,
        /// What Windows means by it.
        kind: NotPresent,
    },
    /// A page table could not be read.
    #[error("virtual address {gva} cannot be translated: the table of its {level}: {source}")]
    Table {
        /// The address.
        gva: Gva,
        /// The level of the table's entries.
        level: &'static str,
        /// Why not.
        #[source]
        source: MemoryError,
    },
}

/// Where a virtual address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The physical address of the very byte.
    pub gpa: Gpa,
    /// Bytes of the page that maps it: 4 KiB, 2 MiB, 4 MiB or 1 GiB.
    pub page_bytes: u64,
}

/// A guest's virtual memory: physical memory seen through one set of page tables.
#[derive(Debug)]
pub struct AddressSpace<'m> {
    memory: &'m PhysicalMemory,
    mode: PagingMode,
    root: Gpa,
    tables: walk::TableCache,
}

impl<'m> AddressSpace<'m> {
    /// The address space of the tables at `root`, which may hold the low bits of a CR3.
    #[must_use]
    pub fn new(memory: &'m PhysicalMemory, mode: PagingMode, root: Gpa) -> Self {
        Self {
            memory,
            mode,
            root: Gpa::new(root.get() & mode.root_mask()),
            tables: walk::TableCache::default(),
        }
    }

    /// The physical memory below.
    #[must_use]
    pub const fn memory(&self) -> &'m PhysicalMemory {
        self.memory
    }

    /// How it translates.
    #[must_use]
    pub const fn mode(&self) -> PagingMode {
        self.mode
    }

    /// The top-level table.
    #[must_use]
    pub const fn root(&self) -> Gpa {
        self.root
    }
}

#[cfg(test)]
mod tests;
