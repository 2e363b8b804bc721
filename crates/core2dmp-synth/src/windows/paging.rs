//! Page tables, written entry by entry into guest memory.
//!
//! ```text
//! X64La57  PML5[48..56] -> PML4 -> PDPT -> PD -> PT       8-byte entries, large pages of 2 MiB, huge ones of 1 GiB
//! X64              PML4[39..47] -> PDPT -> PD -> PT
//! X86Pae                   PDPT[30..31] -> PD -> PT       root of 32 bytes, its entries have only the present bit
//! X86                                PD[22..31] -> PT     4-byte entries
//! Arm64      L0[39..47] -> L1 -> L2 -> L3                 bit 1 set: a table or page; clear: a block of 2 MiB or 1 GiB
//! ```
//!
//! On ARM64 both halves of the address space are one table of 512 entries, as on x64: TTBR0 names its first half, TTBR1
//! its second.
//!
//! References: Intel SDM volume 3, chapter 4 "Paging"; Arm ARM, D8.3 "Translation table descriptor formats". That
//! Windows' entry for the root itself has the bits 0x0060000000000003 is what Volatility and `MemProcFS` look for.

use crate::windows::arch::Arch;
use crate::windows::memory::{Allocator, Frames, PAGE, Place};

/// Present, writable, accessed, dirty: a kernel page.
pub(crate) const KERNEL: u64 = 0x63;
/// The same for user mode.
pub(crate) const USER: u64 = 0x67;
const PRESENT: u64 = 1;
const LARGE: u64 = 0x80;
const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;
/// WRITABLE and USER in the flags of x86, which the functions here take of every architecture.
const WRITABLE: u64 = 2;
const OF_USER: u64 = 4;

/// Descriptors of ARM64.
mod arm {
    /// Valid, and a table or a page.
    pub(super) const TABLE: u64 = 3;
    /// Bit 1: clear in a block.
    pub(super) const NO_BLOCK: u64 = 2;
    /// AP[1], EL0 may access it; AP[2], read-only.
    pub(super) const USER: u64 = 1 << 6;
    pub(super) const READ_ONLY: u64 = 1 << 7;
    /// Inner shareable, and accessed.
    pub(super) const USUAL: u64 = 3 << 8 | 1 << 10;
    /// PXN and UXN.
    pub(super) const NO_EXECUTE: u64 = 3 << 53;
    pub(super) const FRAME: u64 = 0x0000_ffff_ffff_f000;

    /// A page's attributes for the flags that x86 would have.
    pub(super) fn attributes(flags: u64) -> u64 {
        let user = if flags & super::OF_USER != 0 { USER } else { 0 };
        let fixed = if flags & super::WRITABLE == 0 {
            READ_ONLY
        } else {
            0
        };
        USUAL | user | fixed
    }
}

/// Frames and the allocator over them.
#[derive(Clone, Debug)]
pub(crate) struct Ram {
    pub(crate) frames: Frames,
    pub(crate) allocator: Allocator,
}

/// One root of page tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressSpace {
    pub(crate) arch: Arch,
    /// The physical address of the root table.
    pub(crate) root: u64,
}

impl AddressSpace {
    /// Maps one page.
    pub(crate) fn map(&self, ram: &mut Ram, va: u64, pfn: u64, flags: u64) {
        let entry = match self.arch {
            Arch::Arm64 => pfn << 12 | arm::TABLE | arm::attributes(flags),
            _ => pfn << 12 | flags,
        };
        self.set_entry(ram, va, 12, entry);
    }

    /// Maps one large page (2 MiB, or 4 MiB on x86 without PAE).
    pub(crate) fn map_large(&self, ram: &mut Ram, va: u64, pfn: u64, flags: u64) {
        let shift = if self.arch == Arch::X86 { 22 } else { 21 };
        let entry = self.large(pfn, flags);
        self.set_entry(ram, va, shift, entry);
    }

    /// An entry that maps a large page itself.
    fn large(&self, pfn: u64, flags: u64) -> u64 {
        match self.arch {
            Arch::Arm64 => pfn << 12 | PRESENT | arm::attributes(flags),
            _ => pfn << 12 | flags | LARGE,
        }
    }

    /// Maps a huge page of 1 GiB.
    pub(crate) fn map_huge(&self, ram: &mut Ram, va: u64, pfn: u64, flags: u64) {
        let entry = self.large(pfn, flags);
        self.set_entry(ram, va, 30, entry);
    }

    /// Stores a raw entry at the level with this shift, making the tables above it.
    pub(crate) fn set_entry(&self, ram: &mut Ram, va: u64, at_shift: u32, value: u64) {
        let mut table = self.root;
        for &shift in self.arch.shifts() {
            let slot = table + self.arch.index(shift, va) * self.arch.entry();
            if shift == at_shift {
                self.store(&mut ram.frames, slot, value);
                return;
            }
            let entry = self.load(&ram.frames, slot);
            if entry & PRESENT != 0 {
                table = entry & self.frame_mask();
                continue;
            }
            let pfn = ram.allocator.take(Place::Low);
            ram.frames.write(pfn << 12, &[0; PAGE]);
            self.store(
                &mut ram.frames,
                slot,
                pfn << 12 | self.table_flags(shift, va),
            );
            table = pfn << 12;
        }
    }

    /// The flags of an entry that points to a table. PDPT entries of PAE allow none but "present".
    fn table_flags(&self, shift: u32, va: u64) -> u64 {
        let kernel = if self.arch.is_64() {
            va >> 63 != 0
        } else {
            va >= 0x8000_0000
        };
        match (self.arch, shift) {
            (Arch::X86Pae, 30) => PRESENT,
            (Arch::Arm64, _) => arm::TABLE | arm::USUAL,
            _ if kernel => KERNEL,
            _ => USER,
        }
    }

    /// Translates an address as the processor would.
    pub(crate) fn translate(&self, frames: &Frames, va: u64) -> Option<u64> {
        let mut table = self.root;
        for &shift in self.arch.shifts() {
            let entry = self.load(
                frames,
                table + self.arch.index(shift, va) * self.arch.entry(),
            );
            if entry & PRESENT == 0 {
                return None;
            }
            if shift == 12 || self.has_large(entry, shift) {
                let low = (1u64 << shift) - 1;
                return Some(entry & self.frame_mask() & !low | va & low);
            }
            table = entry & self.frame_mask();
        }
        None
    }

    /// The bits of an entry that are an address.
    fn frame_mask(&self) -> u64 {
        match self.arch {
            Arch::Arm64 => arm::FRAME,
            _ => FRAME_MASK,
        }
    }

    /// Points entry `index` of the root at the root itself: Windows' self-map.
    pub(crate) fn self_map(&self, ram: &mut Ram, index: u64, no_execute: bool) {
        let no_execute = u64::from(no_execute) << 63;
        match self.arch {
            Arch::X86 => self.store(&mut ram.frames, self.root + index * 4, self.root | KERNEL),
            Arch::X86Pae => self.self_map_pae(ram),
            Arch::Arm64 => self.store(
                &mut ram.frames,
                self.root + index * 8,
                self.root | arm::TABLE | arm::USUAL | arm::NO_EXECUTE,
            ),
            _ => self.store(
                &mut ram.frames,
                self.root + index * 8,
                no_execute | self.root | KERNEL,
            ),
        }
    }

    /// With PAE the four page directories appear at 0xc0600000: entries 0..3 of the last directory.
    fn self_map_pae(&self, ram: &mut Ram) {
        let last = self.load(&ram.frames, self.root + 24) & FRAME_MASK;
        for i in 0..4 {
            let directory = self.load(&ram.frames, self.root + i * 8) & FRAME_MASK;
            self.store(&mut ram.frames, last + i * 8, directory | KERNEL);
        }
    }

    /// Gives a PAE root its four page directories; the other modes make tables when they are needed.
    ///
    /// System's lie directly behind its root, one after the other: DTB scanners (Volatility) look for just that.
    pub(crate) fn prepare(&self, ram: &mut Ram, system: bool) {
        if self.arch != Arch::X86Pae {
            return;
        }
        for i in 0..4 {
            let pfn = if system {
                (self.root >> 12) + 1 + i
            } else {
                ram.allocator.take(Place::Low)
            };
            ram.allocator.reserve(pfn..pfn + 1);
            ram.frames.write(pfn << 12, &[0; PAGE]);
            self.store(&mut ram.frames, self.root + i * 8, pfn << 12 | PRESENT);
        }
    }

    /// Makes the kernel half of this root the same as that of `other`; the self-map has to be set afterwards.
    pub(crate) fn share_kernel(&self, ram: &mut Ram, other: &Self) {
        let entry = self.arch.entry();
        if self.arch == Arch::X86Pae {
            for i in 2..4 {
                let from = self.load(&ram.frames, other.root + i * 8) & FRAME_MASK;
                let to = self.load(&ram.frames, self.root + i * 8) & FRAME_MASK;
                let mut table = [0; PAGE];
                ram.frames.read(from, &mut table);
                ram.frames.write(to, &table);
            }
            return;
        }
        let half = PAGE as u64 / entry / 2;
        for i in half..half * 2 {
            let value = self.load(&ram.frames, other.root + i * entry);
            self.store(&mut ram.frames, self.root + i * entry, value);
        }
    }

    /// Calls `visit` with every present entry: the first address that it covers, its level's shift, and the
    /// frame that it names. Entries that name the root are passed over.
    pub(crate) fn visit(&self, frames: &Frames, visit: &mut dyn FnMut(u64, u32, u64)) {
        self.visit_table(frames, self.root, self.arch.shifts(), 0, visit);
    }

    fn visit_table(
        &self,
        frames: &Frames,
        table: u64,
        shifts: &[u32],
        base: u64,
        visit: &mut dyn FnMut(u64, u32, u64),
    ) {
        let Some((&shift, below)) = shifts.split_first() else {
            return;
        };
        let entries = match (self.arch, shift) {
            (Arch::X86, _) => 1024,
            (Arch::X86Pae, 30) => 4,
            _ => 512,
        };
        for index in 0..entries {
            let entry = self.load(frames, table + index * self.arch.entry());
            let next = entry & self.frame_mask();
            if entry & PRESENT == 0 || next == self.root {
                continue;
            }
            let mut va = base | index << shift;
            let top = self.arch.shifts()[0] + 9;
            if base == 0 && self.arch.is_64() && va >> (top - 1) & 1 == 1 {
                va |= u64::MAX << top;
            }
            let large = self.has_large(entry, shift);
            let low = if large { (1 << shift) - 1 } else { 0xfff };
            visit(va, shift, (next & !low) >> 12);
            // With PAE the self-map is in the last page directory: its entries name page directories.
            let self_map = self.arch == Arch::X86Pae
                && shift == 21
                && (0xc000_0000..0xc080_0000).contains(&va);
            if !large && !self_map {
                self.visit_table(frames, next, below, va, visit);
            }
        }
    }

    fn has_large(&self, entry: u64, shift: u32) -> bool {
        match self.arch {
            Arch::Arm64 => shift > 12 && entry & arm::NO_BLOCK == 0,
            Arch::X86Pae if shift == 30 => false,
            _ => shift > 12 && entry & LARGE != 0,
        }
    }

    /// Whether the entry of this level maps a large page.
    pub(crate) fn is_large(&self, frames: &Frames, va: u64, at_shift: u32) -> bool {
        let mut table = self.root;
        for &shift in self.arch.shifts() {
            let entry = self.load(
                frames,
                table + self.arch.index(shift, va) * self.arch.entry(),
            );
            if shift == at_shift {
                return self.has_large(entry, shift);
            }
            table = entry & self.frame_mask();
        }
        false
    }

    fn load(&self, frames: &Frames, gpa: u64) -> u64 {
        let value = frames.read_u64(gpa & !7);
        match self.arch {
            Arch::X86 if gpa & 4 != 0 => value >> 32,
            Arch::X86 => value & 0xffff_ffff,
            _ => value,
        }
    }

    fn store(&self, frames: &mut Frames, gpa: u64, value: u64) {
        frames.write(gpa, &value.to_le_bytes()[..self.arch.entry() as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::memory::Fill;

    #[test]
    fn mapped_pages_translate_in_every_mode() {
        for (arch, va) in [
            (Arch::X64, 0xffff_f803_1234_5678),
            (Arch::X64La57, 0xff12_f803_1234_5678),
            (Arch::X86Pae, 0x8123_4678),
            (Arch::X86, 0xf123_4678),
            (Arch::Arm64, 0xffff_f803_1234_5678),
        ] {
            let mut ram = Ram {
                frames: Frames::new(Fill::default()),
                allocator: Allocator::new(0x100..0x200, None),
            };
            let space = AddressSpace {
                arch,
                root: 0x10_0000,
            };
            ram.allocator.reserve(0x100..0x101);
            space.map(&mut ram, va & !0xfff, 0x777, KERNEL);
            assert_eq!(
                space.translate(&ram.frames, va),
                Some(0x77_7678),
                "{arch:?}"
            );
            assert_eq!(space.translate(&ram.frames, va ^ 0x1000), None);
            let large = va & !0x3f_ffff ^ 0x4000_0000;
            space.map_large(&mut ram, large, 0x800, KERNEL);
            assert_eq!(
                space.translate(&ram.frames, large + 0x12_3456),
                Some(0x92_3456),
                "{arch:?}"
            );
        }
    }
}
