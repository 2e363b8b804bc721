//! `AddressSpace`: physical memory seen through one set of page tables; why an address leads nowhere.

use std::cell::RefCell;

use super::mode::PagingMode;
use crate::address::{Gpa, Gva, PAGE_BYTES, Pfn};
use crate::memory::{MemoryError, PhysicalMemory};

pub(super) type Table = Box<[u8; PAGE_BYTES]>;

/// Page tables by their address, direct mapped.
#[derive(Debug, Default)]
pub(super) struct TableCache(pub(super) RefCell<Vec<Option<(Gpa, Table)>>>);

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
    pub(super) memory: &'m PhysicalMemory,
    pub(super) mode: PagingMode,
    pub(super) root: Gpa,
    pub(super) tables: TableCache,
}

impl<'m> AddressSpace<'m> {
    /// The address space of the tables at `root`, which may hold the low bits of a CR3.
    #[must_use]
    pub fn new(memory: &'m PhysicalMemory, mode: PagingMode, root: Gpa) -> Self {
        Self {
            memory,
            mode,
            root: Gpa::new(root.get() & mode.root_mask()),
            tables: TableCache::default(),
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
