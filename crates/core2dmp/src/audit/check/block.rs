//! The debugger data block that the header names, where a field of it was damaged.
//!
//! ```text
//! header  KdDebuggerDataBlock -> +10 tag  +14 Size  +18 KernBase  +48 PsLoadedModuleList  +50 PsActiveProcessHead
//!         PsLoadedModuleList ------------------------------------^                       ^
//!         PsActiveProcessHead -----------------------------------------------------------/
//! ```
//!
//! Two of tag, size, base and lists have to be right: then the others are damaged. The header, the kernel's image and
//! the lists themselves, found by what they hold, know what stood there. What nothing knows (the size) is mended by
//! another block in this one's place, rebuilt from what memory proves.

use super::{Finding, Mend, Said, Severity, words};
use crate::address::{Gpa, Gva};
use crate::audit::overlay::Change;
use crate::container::dmp::DumpFile;
use crate::format::dump_values::MACHINE_ARM64;
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::kdbg::{
    KERN_BASE, MAX_SIZE, MIN_SIZE, OWNER_TAG, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST, SIZE,
    TAG,
};
use crate::format::nt::{LAYOUT32, LAYOUT64};
use crate::format::{u32_at, u64_at};
use crate::memory::{Backing, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::Windows;

/// Bytes of a block that are looked at.
const LOOKED_AT: usize = PS_ACTIVE_PROCESS_HEAD + 8;

/// A field of the block that is wrong, and the bytes that mend it.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) finding: Finding,
    pub(super) change: Option<Change>,
}

impl Damage {
    /// Whether the block is whole again with the change.
    pub(super) const fn is_mended(&self) -> bool {
        self.change.is_some()
    }
}

/// The virtual memory that the header's page tables make, in each mode that its machine can be in.
pub(in crate::audit) fn spaces<'m>(
    dump: &DumpFile,
    memory: &'m PhysicalMemory,
) -> Vec<AddressSpace<'m>> {
    let root = Gpa::new(dump.number(FieldId::DirectoryTableBase).unwrap_or(0));
    let is_arm = dump.machine() == Some(u64::from(MACHINE_ARM64));
    let modes: &[PagingMode] = match dump.width {
        HeaderWidth::Bits32 => &[PagingMode::X86Pae, PagingMode::X86],
        HeaderWidth::Bits64 if is_arm => &[PagingMode::Arm64],
        HeaderWidth::Bits64 => &[PagingMode::X64, PagingMode::X64La57],
    };
    let spaces = modes
        .iter()
        .map(|mode| AddressSpace::new(memory, *mode, root));
    spaces.collect()
}

/// Whether the header's page tables lead to a block with its tag: enough to try these bytes as memory.
pub(super) fn is_reached(dump: &DumpFile, memory: &PhysicalMemory) -> bool {
    let Some(block) = dump.number(FieldId::KdDebuggerDataBlock).map(Gva::new) else {
        return false;
    };
    let tag = block.saturating_add(OWNER_TAG as u64);
    let mut spaces = spaces(dump, memory).into_iter();
    spaces.any(|space| space.bytes(tag, TAG.len()).is_ok_and(|found| found == TAG))
}

/// What is wrong with the block of the kernel at `base`; nothing if there is none.
pub(super) fn damage(
    dump: &DumpFile,
    memory: &PhysicalMemory,
    base: Gva,
    windows: Option<&Windows>,
) -> Vec<Damage> {
    let Some(gva) = dump.number(FieldId::KdDebuggerDataBlock).map(Gva::new) else {
        return Vec::new();
    };
    spaces(dump, memory)
        .into_iter()
        .find_map(|space| Block::read((dump, windows), space, base, gva))
        .map(|block| block.damage())
        .unwrap_or_default()
}

struct Block<'a, 'm> {
    dump: &'a DumpFile,
    /// Windows, if it was found without this block.
    windows: Option<&'a Windows>,
    space: AddressSpace<'m>,
    base: Gva,
    gva: Gva,
    bytes: Vec<u8>,
}

impl<'a, 'm> Block<'a, 'm> {
    /// The block, if enough of it is right.
    fn read(
        (dump, windows): (&'a DumpFile, Option<&'a Windows>),
        space: AddressSpace<'m>,
        base: Gva,
        gva: Gva,
    ) -> Option<Self> {
        let bytes = space.bytes(gva, LOOKED_AT).ok()?;
        let block = Self {
            dump,
            windows,
            space,
            base,
            gva,
            bytes,
        };
        let right = [
            block.has_tag(),
            block.has_size(),
            block.has_base(),
            block.leads_to_kernel(block.pointer(PS_LOADED_MODULE_LIST)),
        ];
        (right.iter().filter(|right| **right).count() >= 2).then_some(block)
    }

    fn has_tag(&self) -> bool {
        self.bytes.get(OWNER_TAG..SIZE) == Some(&TAG)
    }

    fn has_size(&self) -> bool {
        let size = u32_at(&self.bytes, SIZE).unwrap_or(0);
        (MIN_SIZE..=MAX_SIZE).contains(&size) && size.is_multiple_of(8)
    }

    fn has_base(&self) -> bool {
        self.pointer(KERN_BASE) == Some(self.base)
    }

    fn pointer(&self, offset: usize) -> Option<Gva> {
        let pointer = self
            .space
            .mode()
            .canonical(Gva::new(u64_at(&self.bytes, offset)?))?;
        (pointer.get() != 0).then_some(pointer)
    }

    /// Whether the first entry of the list at `head` is this kernel.
    fn leads_to_kernel(&self, head: Option<Gva>) -> bool {
        let layout = match self.dump.width {
            HeaderWidth::Bits32 => LAYOUT32,
            HeaderWidth::Bits64 => LAYOUT64,
        };
        let base = head.and_then(|head| {
            let entry = self.space.pointer(head).ok()?;
            let base = entry.checked_add(layout.module_base as u64)?;
            self.space.pointer(base).ok()
        });
        base == Some(self.base)
    }

    /// Whether a list begins at `head`: its first entry points back.
    fn is_list(&self, head: Option<Gva>) -> bool {
        let back = head.and_then(|head| {
            let entry = self.space.pointer(head).ok()?;
            let link = entry.checked_add(self.space.mode().pointer_bytes() as u64)?;
            self.space.pointer(link).ok()
        });
        back.is_some() && back == head
    }

    fn damage(&self) -> Vec<Damage> {
        let all = [
            self.tag(),
            self.size(),
            self.kernel_base(),
            self.module_list(),
            self.process_list(),
        ];
        all.into_iter().flatten().collect()
    }

    /// What is wrong with a field; `new` mends it.
    fn wrong(
        &self,
        (field, offset): (&'static str, usize),
        severity: Severity,
        debugger: Option<Said>,
        expected: String,
        new: Option<&[u8]>,
    ) -> Damage {
        let change = new.and_then(|new| {
            let at = self.place(offset)?;
            Some(Change {
                what: field.to_owned(),
                offset: at,
                old: Vec::new(),
                new: new.to_vec(),
                reason: format!("expected {expected}"),
            })
        });
        let found = match field {
            "KDBG.Header.OwnerTag" => {
                let tag = self.bytes.get(OWNER_TAG..SIZE).unwrap_or_default();
                format!("\"{}\"", tag.escape_ascii())
            }
            "KDBG.Header.Size" => format!("{:#x}", u32_at(&self.bytes, offset).unwrap_or(0)),
            _ => format!("{:#x}", u64_at(&self.bytes, offset).unwrap_or(0)),
        };
        Damage {
            finding: Finding {
                severity,
                field,
                offset: self.place(offset),
                expected,
                found,
                debugger,
                mend: match (&change, self.windows) {
                    (None, None) => Mend::FromCore("what stood there"),
                    _ => Mend::Yes,
                },
            },
            change,
        }
    }

    /// Where a field of the block is in the file.
    fn place(&self, offset: usize) -> Option<u64> {
        let gpa = self
            .space
            .translate(self.gva.checked_add(offset as u64)?)
            .ok()?
            .gpa;
        let run = self.space.memory().run_of(gpa.pfn())?;
        let skipped = gpa.pfn().frames_since(run.frames.first);
        match run.backing.skip(skipped) {
            Backing::File { offset } => Some(offset.saturating_add(gpa.page_offset())),
            _ => None,
        }
    }

    /// An address as the block holds it: sign-extended on 32 bit.
    fn extended(&self, gva: Gva) -> [u8; 8] {
        let sign = match self.dump.width {
            HeaderWidth::Bits32 if gva.get() >> 31 == 1 => 0xffff_ffff_0000_0000,
            _ => 0,
        };
        (gva.get() | sign).to_le_bytes()
    }

    fn tag(&self) -> Option<Damage> {
        let field = ("KDBG.Header.OwnerTag", OWNER_TAG);
        let words = Some(words::OWNER_TAG);
        (!self.has_tag()).then(|| {
            self.wrong(
                field,
                Severity::Broken,
                words,
                "\"KDBG\"".to_owned(),
                Some(&TAG),
            )
        })
    }

    fn size(&self) -> Option<Damage> {
        let field = ("KDBG.Header.Size", SIZE);
        let words = Some(words::PARTIALLY);
        let expected = format!("{MIN_SIZE:#x} to {MAX_SIZE:#x}, the block's bytes");
        (!self.has_size()).then(|| self.wrong(field, Severity::Broken, words, expected, None))
    }

    fn kernel_base(&self) -> Option<Damage> {
        let field = ("KDBG.KernBase", KERN_BASE);
        let expected = format!("{}, where the kernel is", self.base);
        let new = self.extended(self.base);
        let wrong = || self.wrong(field, Severity::Cosmetic, None, expected, Some(&new));
        (!self.has_base()).then(wrong)
    }

    fn module_list(&self) -> Option<Damage> {
        let found = self.pointer(PS_LOADED_MODULE_LIST);
        if self.leads_to_kernel(found) {
            return None;
        }
        let searched = self.windows.map(|windows| windows.module_list.value);
        let (list, source) = self.known(FieldId::PsLoadedModuleList, searched, |list| {
            self.leads_to_kernel(list)
        })?;
        let field = ("KDBG.PsLoadedModuleList", PS_LOADED_MODULE_LIST);
        let (severity, words) = match found {
            Some(_) => (Severity::Broken, words::KERNEL_BASE),
            None => (Severity::Refused, words::NO_MODULES),
        };
        let expected = format!("{list}, {source}");
        let new = self.extended(list);
        Some(self.wrong(field, severity, Some(words), expected, Some(&new)))
    }

    /// The head of a list: the header's, or the one that was found without the block.
    fn known(
        &self,
        id: FieldId,
        searched: Option<Gva>,
        is_right: impl Fn(Option<Gva>) -> bool,
    ) -> Option<(Gva, &'static str)> {
        let header = self.dump.number(id).map(Gva::new);
        let ways = [
            (header, "as the header has it"),
            (searched, "found by what the list holds"),
        ];
        let right = ways.into_iter().find(|(list, _)| is_right(*list));
        right.and_then(|(list, source)| Some((list?, source)))
    }

    fn process_list(&self) -> Option<Damage> {
        let found = self.pointer(PS_ACTIVE_PROCESS_HEAD);
        if self.is_list(found) {
            return None;
        }
        let searched = self.windows.map(|windows| windows.process_list.value);
        let (list, source) = self.known(FieldId::PsActiveProcessHead, searched, |list| {
            self.is_list(list)
        })?;
        let field = ("KDBG.PsActiveProcessHead", PS_ACTIVE_PROCESS_HEAD);
        let expected = format!("{list}, {source}");
        let new = self.extended(list);
        Some(self.wrong(field, Severity::Broken, None, expected, Some(&new)))
    }
}
