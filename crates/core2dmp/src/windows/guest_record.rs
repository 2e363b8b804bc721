//! Guest records: what a driver in the guest left for the host, found by a scan and by its own physical addresses.
//!
//! ```text
//! scan: a page that begins a slot  -> slots: version, sum, own address -> the newest valid one
//!                                  -> areas by their addresses: sums   -> headers, debugger block
//! weigh against memory             -> of this boot, or what contradicts it
//! ```
//! A torn slot or area is rejected, and so is a page at another address than it names: that is a copy in a cache. A
//! whole record of another boot is one more stale source: its page is not mapped where it says, or its block
//! is of another kernel. A sum is no signature; a hostile guest can write any record, as it can write any header.
//!
//! Source: docs/formats/guest-record.md.

use std::ops::ControlFlow;

use super::kernel::{KernelImage, machine};
use crate::address::{Gpa, Gva, PAGE_BYTES};
use crate::format::dump_values::{MACHINE_ARM64, MACHINE_X64, MACHINE_X86};
use crate::format::guest_record::{self as format, area};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::kdbg::{KERN_BASE, OWNER_TAG, SIZE, TAG};
use crate::format::{u16_at, u32_at, u64_at};
use crate::memory::PhysicalMemory;
use crate::paging::{AddressSpace, PagingMode};

/// Pages with a slot that are looked at; a driver has one, caches may hold copies.
const MAX_RECORDS: usize = 64;
/// The largest block that is accepted.
const MAX_BLOCK: u32 = 0x1000;

/// How far the driver came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordState {
    /// The system ran.
    Boot,
    /// A bug check had begun; its header was being made.
    Refreshing,
    /// The header of the bug check is whole.
    Refreshed,
    /// That header could not be made.
    Failed,
}

/// A header that a record names, and whose sum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// Whether it was made at the bug check.
    pub refreshed: bool,
    /// Where it is.
    pub gpa: Gpa,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The decoded debugger data block that a record names, and whose sum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBlock {
    /// Where Windows has its own.
    pub gva: Option<Gva>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a driver in the guest left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRecord {
    /// Where its page is.
    pub gpa: Gpa,
    /// Where its page is mapped, by its own word.
    pub gva: Gva,
    /// As in PE files.
    pub machine: u32,
    /// Greater is newer; bug checks begin at 2^63.
    pub generation: u64,
    /// How far the driver came.
    pub state: RecordState,
    /// FILETIME of the driver's start, and 100 ns from the boot to it.
    pub start: (u64, u64),
    /// The same of the slot that counts.
    pub written: (u64, u64),
    /// The stop code and its parameters.
    pub stop: Option<(u32, [u64; 4])>,
    /// The NTSTATUS of the last header that was made.
    pub status: u32,
    /// Who wrote it: eight bytes of the guest's.
    pub writer: [u8; 8],
    /// The header of the bug check, and that of the boot.
    pub headers: Vec<RecordHeader>,
    /// The debugger data block.
    pub block: Option<RecordBlock>,
    /// Slots and areas that are rejected, and why.
    pub refused: Vec<String>,
    /// What in it the memory contradicts; empty if it is of this boot.
    pub contradictions: Vec<String>,
}

impl GuestRecord {
    /// Whether it describes this boot.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.contradictions.is_empty()
    }

    /// The page tables of System: the boot's header before the bug check's, which before Windows 8 has those of the
    /// process that crashed.
    pub(super) fn roots(&self) -> impl Iterator<Item = (Gpa, Vec<PagingMode>)> {
        self.headers.iter().rev().filter_map(|header| {
            let width = HeaderWidth::of(&header.bytes)?;
            let number = |id| width.field(id)?.number(&header.bytes);
            let modes = match self.machine {
                MACHINE_X86 if number(FieldId::PaeEnabled) == Some(0) => {
                    vec![PagingMode::X86, PagingMode::X86Pae]
                }
                MACHINE_X86 => vec![PagingMode::X86Pae, PagingMode::X86],
                MACHINE_ARM64 => vec![PagingMode::Arm64],
                _ => vec![PagingMode::X64, PagingMode::X64La57],
            };
            Some((Gpa::new(number(FieldId::DirectoryTableBase)?), modes))
        })
    }

    /// Addresses in the kernel that it knows.
    pub(super) fn kernel_hint(&self) -> Option<Gva> {
        let own = self.block.as_ref().and_then(|block| block.gva);
        own.or_else(|| self.kernel_base())
    }

    fn kernel_base(&self) -> Option<Gva> {
        Some(Gva::new(u64_at(&self.block.as_ref()?.bytes, KERN_BASE)?))
    }

    /// Whether its page is mapped where it says: only the page tables of its own boot do that.
    pub(super) fn is_mapped(&self, space: &AddressSpace<'_>) -> bool {
        space.translate(self.gva).is_ok_and(|at| at.gpa == self.gpa)
    }

    /// Weighs it against the memory.
    pub(super) fn weigh(
        &mut self,
        space: &AddressSpace<'_>,
        kernel: &KernelImage,
        up_time: Option<u64>,
    ) {
        let expected = machine(space.mode());
        let mut found = Vec::new();
        if self.machine != expected {
            found.push(format!("it is for another machine than {expected:#x}"));
        }
        if !self.is_mapped(space) {
            found.push(format!(
                "its page is not mapped at {}, where it was written",
                self.gva
            ));
        }
        let base = self.kernel_base().map(|base| space.mode().canonical(base));
        if base.is_some_and(|base| base != Some(kernel.image.base)) {
            found.push("its debugger block is of another kernel".to_owned());
        }
        let here = space.translate(kernel.image.base).ok();
        for (root, _) in self.roots() {
            let own = AddressSpace::new(space.memory(), space.mode(), root);
            if here.is_none() || own.translate(kernel.image.base).ok() != here {
                found.push(format!("its page tables at {root} do not map this kernel"));
            }
        }
        let (_, written) = self.written;
        if let Some(now) = up_time.filter(|now| written > *now) {
            found.push(format!(
                "it was written {written} ticks of 100 ns after boot, the system is up for {now}"
            ));
        }
        self.contradictions = found;
    }
}

/// What a scan found: whole records, newest start first, and pages that are none, with the reason.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<GuestRecord>,
    pub(super) refused: Vec<String>,
}

/// Finds the pages of records, block by block.
#[derive(Debug, Default)]
pub(super) struct Finder {
    pages: Vec<Gpa>,
}

impl Finder {
    /// Looks at a block; breaks off when there are as many records as are kept.
    pub(super) fn look_at(&mut self, gpa: Gpa, block: &[u8]) -> ControlFlow<()> {
        for (number, page) in block.chunks_exact(PAGE_BYTES).enumerate() {
            // All of memory passes here: eight bytes in four places of each page.
            let (slots, _) = page.as_chunks::<{ format::SLOT_SIZE }>();
            if slots.iter().any(|slot| slot.starts_with(&format::MAGIC)) {
                self.pages.push(gpa.saturating_add((number as u64) << 12));
                if self.pages.len() >= MAX_RECORDS {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What the pages hold.
    pub(super) fn found(self, memory: &PhysicalMemory) -> Found {
        let mut found = Found::default();
        for gpa in self.pages {
            match read(memory, gpa) {
                Ok(record) => found.records.push(record),
                Err(why) => found.refused.push(format!("guest record at {gpa}: {why}")),
            }
        }
        found
            .records
            .sort_by_key(|record| std::cmp::Reverse(record.start));
        found
    }
}

/// The record whose page is at `gpa`; `Err` says why there is none.
fn read(memory: &PhysicalMemory, gpa: Gpa) -> Result<GuestRecord, String> {
    let mut page = [0; PAGE_BYTES];
    memory
        .read(gpa, &mut page)
        .map_err(|why| format!("its page cannot be read: {why}"))?;
    let (slots, _) = page.as_chunks::<{ format::SLOT_SIZE }>();
    let (mut valid, mut refused) = (Vec::new(), Vec::new());
    for (index, slot) in slots.iter().enumerate() {
        if !slot.starts_with(&format::MAGIC) {
            // Never written, or being written: its magic comes last.
            continue;
        }
        match check_slot(slot, index, gpa) {
            Ok(generation) => valid.push((generation, slot)),
            Err(why) => refused.push(format!("slot {index}: {why}")),
        }
    }
    valid.sort_by_key(|(generation, _)| std::cmp::Reverse(*generation));
    // A slot all of whose areas are damaged says less than an older one that names what is whole.
    let mut read = valid
        .iter()
        .filter_map(|(_, slot)| parse(memory, gpa, &slot[..]));
    let first = read
        .next()
        .ok_or_else(|| format!("no valid slot: {}", refused.join("; ")))?;
    let says_something =
        |record: &GuestRecord| !record.headers.is_empty() || record.block.is_some();
    let best = if says_something(&first) {
        first
    } else {
        read.find(says_something).unwrap_or(first)
    };
    Ok(GuestRecord {
        refused: refused.into_iter().chain(best.refused).collect(),
        ..best
    })
}

/// The generation of a slot that is whole and where it says; `Err` says what is wrong with it.
fn check_slot(slot: &[u8], index: usize, gpa: Gpa) -> Result<u64, String> {
    let short = || "cut short".to_owned();
    let major = u16_at(slot, format::VERSION).ok_or_else(short)?;
    let bytes = u32_at(slot, format::BYTES).ok_or_else(short)?;
    if major != format::VERSION_MAJOR || bytes as usize != format::SLOT_SIZE {
        return Err(format!(
            "version {major} of {bytes:#x} bytes, which is not known"
        ));
    }
    let said = u32_at(slot, format::SUM).ok_or_else(short)?;
    let sum = crc32fast::hash(slot.get(..format::SUM).ok_or_else(short)?);
    if sum != said {
        return Err(format!(
            "torn: its sum is {sum:#010x}, and it says {said:#010x}"
        ));
    }
    let own = Gpa::new(u64_at(slot, format::GPA).ok_or_else(short)?);
    if own != gpa {
        return Err(format!("a copy of the page at {own}"));
    }
    let own = u32_at(slot, format::INDEX).ok_or_else(short)?;
    if own as usize != index {
        return Err(format!("a copy of slot {own}"));
    }
    u64_at(slot, format::GENERATION).ok_or_else(short)
}

/// What a valid slot says, with the areas that are whole.
fn parse(memory: &PhysicalMemory, gpa: Gpa, slot: &[u8]) -> Option<GuestRecord> {
    let word = |at| u64_at(slot, at);
    let state = match u32_at(slot, format::STATE)? {
        1 => RecordState::Boot,
        2 => RecordState::Refreshing,
        3 => RecordState::Refreshed,
        4 => RecordState::Failed,
        _ => return None,
    };
    let parameter = |n: usize| word(format::STOP_CODE.checked_add(8)?.checked_add(n << 3)?);
    let code = u32_at(slot, format::STOP_CODE)?;
    let stop = (
        code,
        [parameter(0)?, parameter(1)?, parameter(2)?, parameter(3)?],
    );
    let has_stop = u32_at(slot, format::FLAGS)? & 1 != 0 && code != 0;
    let mut record = GuestRecord {
        gpa,
        gva: Gva::new(word(format::GVA)?),
        machine: u32_at(slot, format::MACHINE)?,
        generation: word(format::GENERATION)?,
        state,
        start: (word(format::START_TIME)?, word(format::START_UP_TIME)?),
        written: (word(format::WRITTEN_TIME)?, word(format::WRITTEN_UP_TIME)?),
        stop: has_stop.then_some(stop),
        status: u32_at(slot, format::STATUS)?,
        writer: word(format::WRITER)?.to_le_bytes(),
        headers: Vec::new(),
        block: None,
        refused: Vec::new(),
        contradictions: Vec::new(),
    };
    let areas = slot
        .get(format::AREAS..)?
        .as_chunks::<{ format::AREA_SIZE }>();
    for area in areas.0.iter().take(4) {
        if let Err(why) = read_area(memory, &mut record, area) {
            record.refused.push(why);
        }
    }
    // The bug check's first.
    record.headers.sort_by_key(|header| !header.refreshed);
    Some(record)
}

/// Puts what an area names into the record; `Err` says why it is rejected.
fn read_area(memory: &PhysicalMemory, record: &mut GuestRecord, slot: &[u8]) -> Result<(), String> {
    let kind = u32_at(slot, area::KIND).unwrap_or(0);
    let name = match kind {
        area::BOOT_HEADER => "the boot's header",
        area::REFRESHED_HEADER => "the bug check's header",
        area::DEBUGGER_BLOCK => "the debugger block",
        // None, or of a later version.
        _ => return Ok(()),
    };
    let gpa = Gpa::new(u64_at(slot, area::GPA).unwrap_or(0));
    let size = u32_at(slot, area::BYTES).unwrap_or(0);
    let width = match record.machine {
        MACHINE_X86 => HeaderWidth::Bits32,
        MACHINE_X64 | MACHINE_ARM64 => HeaderWidth::Bits64,
        other => return Err(format!("{name}: machine {other:#x} is not known")),
    };
    let fits = match kind {
        area::DEBUGGER_BLOCK => size <= MAX_BLOCK,
        _ => size as usize == width.bytes(),
    };
    if !fits {
        return Err(format!("{name} at {gpa} has {size:#x} bytes"));
    }
    let mut bytes = vec![0; size as usize];
    memory
        .read(gpa, &mut bytes)
        .map_err(|why| format!("{name} at {gpa}: {why}"))?;
    let (sum, said) = (
        crc32fast::hash(&bytes),
        u32_at(slot, area::SUM).unwrap_or(0),
    );
    if sum != said {
        return Err(format!(
            "{name} at {gpa} is torn: its sum is {sum:#010x}, and the record says {said:#010x}"
        ));
    }
    if kind == area::DEBUGGER_BLOCK {
        if bytes.get(OWNER_TAG..SIZE) != Some(&TAG[..]) {
            return Err(format!("{name} at {gpa} has no tag"));
        }
        let gva = u64_at(slot, area::GVA).filter(|gva| *gva != 0);
        let gva = gva.map(Gva::new);
        record.block = Some(RecordBlock { gva, bytes });
    } else if HeaderWidth::of(&bytes) == Some(width) && is_full(width, &bytes) {
        let refreshed = kind == area::REFRESHED_HEADER;
        record.headers.push(RecordHeader {
            refreshed,
            gpa,
            bytes,
        });
    } else {
        return Err(format!("{name} at {gpa} is no header of a full dump"));
    }
    Ok(())
}

/// A driver that copies the header that Windows writes has another type here, and runs of another body.
fn is_full(width: HeaderWidth, bytes: &[u8]) -> bool {
    let field = width.field(FieldId::DumpType);
    field.and_then(|field| field.number(bytes)) == Some(1)
}
