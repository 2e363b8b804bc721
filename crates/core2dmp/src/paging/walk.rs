//! Walking the tables: one address, or everything that a range maps.

use std::ops::ControlFlow;

use super::mode::{Leaf, Level, PagingMode};
use super::space::{AddressSpace, Mapping, NotPresent, Table, TranslateError};
use crate::address::{Gpa, Gva, PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::format::{u32_at, u64_at};
use crate::memory::MemoryError;

/// Tables kept at hand: a walk through a kernel image touches a dozen. 256 KiB.
const CACHED_TABLES: usize = 64;

/// Tables that one enumeration reads: enough for 128 GiB of 4 KiB pages. Tables that point at themselves
/// would otherwise make 2^36 pages out of one.
pub(super) const MAX_TABLES: usize = 1 << 16;

/// What one entry says.
pub(super) enum Entry {
    Table(Gpa),
    Page { base: Gpa, bytes: u64 },
    Invalid(NotPresent),
}

/// Consecutive virtual addresses that one page maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedRange {
    /// The first address.
    pub gva: Gva,
    /// Where it leads.
    pub gpa: Gpa,
    /// Bytes that the page maps.
    pub bytes: u64,
}

impl MappedRange {
    /// The part from `first` to `last`, both included.
    pub(super) fn clip(self, first: Gva, last: Gva) -> Self {
        let skipped = first.get().saturating_sub(self.gva.get());
        let gva = self.gva.saturating_add(skipped);
        let wanted = last.get().saturating_sub(gva.get()).saturating_add(1);
        let pages = wanted.checked_next_multiple_of(PAGE_SIZE).unwrap_or(wanted);
        Self {
            gva,
            gpa: self.gpa.saturating_add(skipped),
            bytes: self.bytes.saturating_sub(skipped).min(pages),
        }
    }

    /// Whether `next` follows in both address spaces.
    pub(super) fn continues_with(&self, next: &Self) -> bool {
        self.gva.checked_add(self.bytes) == Some(next.gva)
            && self.gpa.checked_add(self.bytes) == Some(next.gpa)
    }
}

impl AddressSpace<'_> {
    /// The physical address of `gva`.
    ///
    /// # Errors
    /// [`TranslateError`], with the level at which the walk ended.
    pub fn translate(&self, gva: Gva) -> Result<Mapping, TranslateError> {
        let gva = self
            .mode
            .canonical(gva)
            .ok_or(TranslateError::NotCanonical { gva })?;
        let mut table = self.root;
        for level in self.mode.levels() {
            let name = level.name;
            let raw =
                self.entry(table, level.index(gva))
                    .map_err(|source| TranslateError::Table {
                        gva,
                        level: name,
                        source,
                    })?;
            match self.mode.decode(raw, level) {
                Entry::Table(next) => table = next,
                Entry::Page { base, bytes } => {
                    let offset = gva.get() & bytes.saturating_sub(1);
                    return Ok(Mapping {
                        gpa: base.saturating_add(offset),
                        page_bytes: bytes,
                    });
                }
                Entry::Invalid(kind) => {
                    return Err(TranslateError::NotPresent {
                        gva,
                        level: name,
                        entry: raw,
                        kind,
                    });
                }
            }
        }
        // The last level's entries are never tables.
        Err(TranslateError::NotCanonical { gva })
    }

    /// The table whose entries are of this level on the way to `gva`, by the name that [`TranslateError`] has for it.
    #[must_use]
    pub fn table_of(&self, gva: Gva, level: &str) -> Option<Gpa> {
        let gva = self.mode.canonical(gva)?;
        let mut table = self.root;
        for here in self.mode.levels() {
            if here.name == level {
                return Some(table);
            }
            let raw = self.entry(table, here.index(gva)).ok()?;
            let Entry::Table(next) = self.mode.decode(raw, here) else {
                return None;
            };
            table = next;
        }
        None
    }

    /// Calls `visit` with every page mapped from `first` to `last`, both included, ascending. Tables that
    /// cannot be read are passed over.
    ///
    /// Returns false if it gave up after 65536 tables.
    pub fn mapped(
        &self,
        first: Gva,
        last: Gva,
        visit: impl FnMut(MappedRange) -> ControlFlow<()>,
    ) -> bool {
        let mut tables = MAX_TABLES;
        self.mapped_within(first, last, &mut tables, visit);
        tables > 0
    }

    /// As [`Self::mapped`], reading so many tables at most, which are counted down.
    pub(super) fn mapped_within(
        &self,
        first: Gva,
        last: Gva,
        tables: &mut usize,
        mut visit: impl FnMut(MappedRange) -> ControlFlow<()>,
    ) {
        let walk = Enumeration {
            space: self,
            first: first.get(),
            last: last.get(),
        };
        // Broken off by `visit` with budget left is a good end too.
        let _ = walk.table(self.root, self.mode.levels(), 0, tables, &mut visit);
    }

    /// Entry `index` of the table that starts at `table`, which for PAE's first level is not page aligned.
    pub(super) fn entry(&self, table: Gpa, index: usize) -> Result<u64, MemoryError> {
        let size = self.mode.entry_bytes();
        let in_page = usize::try_from(table.page_offset()).unwrap_or(0);
        let at = index.saturating_mul(size).saturating_add(in_page);
        let page = table.page_start();
        self.with_table(page, |bytes| {
            let entry = if size == 4 {
                u32_at(bytes, at).map(u64::from)
            } else {
                u64_at(bytes, at)
            };
            entry.ok_or(MemoryError::Absent { gpa: table })
        })?
    }

    /// The first address behind the top-level entry that names the top-level table itself: there Windows reads its
    /// page tables. `None` where there is none, and with PAE, where it is a level further down.
    #[must_use]
    pub fn self_map(&self) -> Option<Gva> {
        let top = self.mode.levels().first()?;
        (0..top.entries())
            .find(|index| {
                let raw = self.entry(self.root, *index).unwrap_or(0);
                matches!(self.mode.decode(raw, top), Entry::Table(next) if next == self.root)
            })
            .map(|index| self.first_address(top, index))
    }

    /// The first address that entry `index` of the top level covers.
    pub(super) fn first_address(&self, top: &Level, index: usize) -> Gva {
        Gva::new(self.address(0, top, index))
    }

    /// The first address that entry `index` covers, sign-extended at the top level.
    fn address(&self, base: u64, level: &Level, index: usize) -> u64 {
        let low = base | (index as u64).wrapping_shl(level.shift);
        if !self.mode.is_64bit() {
            return low;
        }
        let used = self
            .mode
            .levels()
            .first()
            .map_or(64, |top| top.shift.saturating_add(top.bits));
        let unused = 64_u32.saturating_sub(used);
        (low.wrapping_shl(unused).cast_signed().wrapping_shr(unused)).cast_unsigned()
    }

    fn with_table<T>(&self, page: Gpa, read: impl FnOnce(&[u8]) -> T) -> Result<T, MemoryError> {
        let mut cache = self.tables.0.borrow_mut();
        if cache.is_empty() {
            cache.resize_with(CACHED_TABLES, || None);
        }
        let slot = usize::try_from(page.pfn().get() & (CACHED_TABLES as u64).saturating_sub(1))
            .unwrap_or(0);
        if let Some(Some((at, table))) = cache.get(slot)
            && *at == page
        {
            return Ok(read(&table[..]));
        }
        let mut table: Table = Box::new([0; PAGE_BYTES]);
        self.memory.read(page, &mut table[..])?;
        let result = read(&table[..]);
        if let Some(slot) = cache.get_mut(slot) {
            *slot = Some((page, table));
        }
        Ok(result)
    }
}

impl Level {
    fn index(&self, gva: Gva) -> usize {
        let mask = 1_u64.wrapping_shl(self.bits).saturating_sub(1);
        usize::try_from(gva.get().wrapping_shr(self.shift) & mask).unwrap_or(0)
    }

    /// Bytes that one entry covers.
    pub(super) fn span(&self) -> u64 {
        1_u64.wrapping_shl(self.shift)
    }

    pub(super) fn entries(&self) -> usize {
        1_usize.wrapping_shl(self.bits)
    }
}

impl PagingMode {
    pub(super) fn decode(self, raw: u64, level: &Level) -> Entry {
        if raw & 1 == 0 {
            return Entry::Invalid(NotPresent::of(raw, self));
        }
        match self {
            Self::X86 => {
                let large = level.leaf == Leaf::Large && raw & 0x80 != 0;
                if large {
                    // PSE-36: bits 13 to 20 are address bits 32 to 39.
                    let high = raw >> 13 & 0xff;
                    return page(raw & 0xffc0_0000 | high << 32, level);
                }
                self.decoded(raw & 0xffff_f000, level, false)
            }
            Self::X86Pae | Self::X64 | Self::X64La57 => {
                let large = level.leaf == Leaf::Large && raw & 0x80 != 0;
                self.decoded(raw & 0x000f_ffff_ffff_f000, level, large)
            }
            Self::Arm64 => {
                // Bit 1 set is a table, or at the last level a page; clear is a block.
                let block = raw & 2 == 0;
                if block && level.leaf != Leaf::Large {
                    return Entry::Invalid(NotPresent::Elsewhere);
                }
                self.decoded(raw & 0x0000_ffff_ffff_f000, level, block)
            }
        }
    }

    fn decoded(self, address: u64, level: &Level, large: bool) -> Entry {
        if large || level.leaf == Leaf::Always {
            page(address, level)
        } else {
            Entry::Table(Gpa::new(address))
        }
    }
}

/// The page of an entry; low bits that a large page does not use are not part of its address.
fn page(address: u64, level: &Level) -> Entry {
    let bytes = level.span();
    Entry::Page {
        base: Gpa::new(address & !bytes.saturating_sub(1)),
        bytes,
    }
}

impl NotPresent {
    fn of(raw: u64, mode: PagingMode) -> Self {
        const PROTOTYPE: u64 = 1 << 10;
        const TRANSITION: u64 = 1 << 11;
        if raw == 0 {
            Self::Zero
        } else if raw & PROTOTYPE != 0 {
            Self::Prototype
        } else if raw & TRANSITION != 0 {
            let mask = if mode == PagingMode::X86 {
                0xffff_f000
            } else {
                0x0000_ffff_ffff_f000
            };
            Self::Transition(Pfn::new((raw & mask) / PAGE_SIZE))
        } else {
            Self::Elsewhere
        }
    }
}

struct Enumeration<'s, 'm> {
    space: &'s AddressSpace<'m>,
    first: u64,
    last: u64,
}

impl Enumeration<'_, '_> {
    fn table(
        &self,
        table: Gpa,
        levels: &[Level],
        base: u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(MappedRange) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((level, below)) = levels.split_first() else {
            return ControlFlow::Continue(());
        };
        *budget = budget.saturating_sub(1);
        if *budget == 0 {
            return ControlFlow::Break(());
        }
        for index in 0..level.entries() {
            let gva = self.space.address(base, level, index);
            let end = gva.saturating_add(level.span().saturating_sub(1));
            if end < self.first || gva > self.last {
                continue;
            }
            let Ok(raw) = self.space.entry(table, index) else {
                return ControlFlow::Continue(());
            };
            match self.space.mode.decode(raw, level) {
                Entry::Table(next) => self.table(next, below, gva, budget, visit)?,
                Entry::Page { base: gpa, bytes } => visit(MappedRange {
                    gva: Gva::new(gva),
                    gpa,
                    bytes,
                })?,
                Entry::Invalid(_) => {}
            }
        }
        ControlFlow::Continue(())
    }
}
