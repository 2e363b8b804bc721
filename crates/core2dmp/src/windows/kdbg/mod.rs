//! The debugger data block: found by its tag, or decoded where the kernel keeps it encoded.
//!
//! ```text
//! kernel image --"KDBG" in its data-->  plain: every crashed guest, all up to Windows 7, /debug boots
//!              --code of KdCopyDataBlock-->  keys  --decode-->  plain            (see code)
//!              --code of KeSetTimerEx--> two keys, third from known contents     (see plaintext)
//! ```
//!
//! The tag occurs five to seven times in memory, in code and strings too; one is the block. What tells is its
//! size and that `KernBase` is the base of the kernel found otherwise. No symbols are needed.
//!
//! Sources of the encoding: Volatility 2 (`win8_kdbg`), elf2dmp (kdbg.c); proven against dbgeng 10.0.10240.

mod arm64;
mod code;
mod plaintext;

use std::ops::ControlFlow;

use super::fact::{Fact, Source};
use super::guest_record::GuestRecord;
use super::headers::GuestHeader;
use super::pe::{PeImage, Section};
use crate::address::Gva;
use crate::error::Attempt;
use crate::format::header_fields::FieldId;
use crate::format::kdbg::{
    KERN_BASE, LIST, MAX_SIZE, MIN_SIZE, OWNER_TAG, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST,
    SIZE, TAG,
};
use crate::format::nt::Layout;
use crate::format::{u16_at, u32_at, u64_at};
use crate::paging::{AddressSpace, PagingMode};

/// Blocks that are weighed: a kernel has one, a copy may have been made of it.
const MAX_BLOCKS: usize = 16;

/// A field of a rebuilt block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuiltField {
    /// Its name in `KDDEBUGGER_DATA64`.
    pub name: &'static str,
    /// What was put there.
    pub value: u64,
    /// What proves it.
    pub source: String,
}

/// The block, plain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DebuggerData {
    /// Where it stands in the guest.
    pub gva: Gva,
    /// Its bytes, decoded; as many as its `Size` says.
    pub bytes: Vec<u8>,
    /// How the guest's own copy is encoded.
    pub encoding: Option<Encoding>,
    /// The fields, if the guest has no such block and this one was rebuilt.
    pub rebuilt: Vec<RebuiltField>,
    is_64bit: bool,
}

/// How a block is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// The variable's value.
    pub ki_wait_never: u64,
    /// The variable's value.
    pub ki_wait_always: u64,
    /// The address of the byte `KdpDataBlockEncoded`, which is a key itself.
    pub flag: Gva,
}

impl Encoding {
    /// Decodes one quadword.
    #[must_use]
    pub const fn decode(&self, encoded: u64) -> u64 {
        let mixed = encoded ^ self.ki_wait_never;
        // `rotate_left` takes the count modulo 64, as the processor does.
        let turned = mixed.rotate_left((self.ki_wait_never & 63) as u32);
        (turned ^ self.flag.get()).swap_bytes() ^ self.ki_wait_always
    }

    /// Decodes a block in place.
    fn decode_block(&self, block: &mut [u8]) {
        let (words, _) = block.as_chunks_mut::<8>();
        for word in words {
            *word = self.decode(u64::from_le_bytes(*word)).to_le_bytes();
        }
    }
}

impl DebuggerData {
    /// Reads and checks the block at `gva`.
    fn read(
        space: &AddressSpace<'_>,
        base: Gva,
        gva: Gva,
        encoding: Option<Encoding>,
    ) -> Option<Self> {
        let decode = |block: &mut Vec<u8>| {
            if let Some(encoding) = &encoding {
                encoding.decode_block(block);
            }
        };
        let mut head = space.bytes(gva, 0x20).ok()?;
        decode(&mut head);
        let size = check_head(space.mode(), base, &head)?;
        let mut bytes = space.bytes(gva, usize::try_from(size).ok()?).ok()?;
        decode(&mut bytes);
        Some(Self {
            gva,
            bytes,
            encoding,
            rebuilt: Vec::new(),
            is_64bit: space.mode().is_64bit(),
        })
    }

    /// A block that was put together from what memory proves.
    pub(super) fn rebuilt(
        gva: Gva,
        bytes: Vec<u8>,
        mode: PagingMode,
        fields: Vec<RebuiltField>,
    ) -> Self {
        Self {
            gva,
            bytes,
            encoding: None,
            rebuilt: fields,
            is_64bit: mode.is_64bit(),
        }
    }

    /// Bytes of the block.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32_at(&self.bytes, SIZE).unwrap_or(0)
    }

    /// The address in a field, zero-extended on 32 bit; `None` past the end of the block, or where it is 0.
    #[must_use]
    pub fn pointer(&self, offset: usize) -> Option<Gva> {
        let value = u64_at(&self.bytes, offset)?;
        let value = if self.is_64bit {
            value
        } else {
            value & 0xffff_ffff
        };
        (value != 0).then(|| Gva::new(value))
    }

    /// The offset in a field; `None` past the end of the block, or where it is 0.
    #[must_use]
    pub fn offset(&self, offset: usize) -> Option<u16> {
        u16_at(&self.bytes, offset).filter(|value| *value != 0)
    }

    /// The pointer in a field, as a fact with the field's name.
    pub(super) fn fact(&self, offset: usize, name: &'static str) -> Option<Fact<Gva>> {
        Some(Fact::new(self.pointer(offset)?, Source::Kdbg(name)))
    }
}

/// The size, if these 0x20 bytes begin a plain block of the kernel at `base`.
fn check_head(mode: PagingMode, base: Gva, head: &[u8]) -> Option<u32> {
    if head.get(OWNER_TAG..SIZE)? != TAG {
        return None;
    }
    let size = u32_at(head, SIZE)?;
    let known_size = (MIN_SIZE..=MAX_SIZE).contains(&size) && size % 8 == 0;
    let kern_base = mode.canonical(Gva::new(u64_at(head, KERN_BASE)?))?;
    (known_size && kern_base == base).then_some(size)
}

/// Finds the block; `Err` lists what was tried.
pub(super) fn find(
    space: &AddressSpace<'_>,
    image: &PeImage,
) -> Result<Fact<DebuggerData>, Vec<Attempt>> {
    let mut tried = Vec::new();
    let mut fail = |way: &str, outcome: String| {
        tried.push(Attempt {
            way: way.to_owned(),
            outcome,
        });
    };
    match by_tag(space, image) {
        Ok(found) => return Ok(found),
        Err(tags) => fail(
            "the tag \"KDBG\" in the kernel's image",
            format!("{tags} occurrences, none is a block of this kernel"),
        ),
    }
    if space.mode().is_64bit() && space.mode() != PagingMode::Arm64 {
        match code::find(space, image) {
            Ok(found) => return Ok(found),
            Err(why) => fail("keys in the code that copies the block", why),
        }
    }
    if space.mode().is_64bit() {
        match plaintext::find(space, image) {
            Ok(found) => return Ok(found),
            Err(why) => fail("keys in the code of KeSetTimerEx, and known contents", why),
        }
    }
    Err(tried)
}

/// The decoded block of a guest record of this boot, where Windows has its own.
pub(super) fn from_records(
    space: &AddressSpace<'_>,
    image: &PeImage,
    records: &[GuestRecord],
) -> Result<Fact<DebuggerData>, Attempt> {
    let confirmed = records.iter().filter(|record| record.is_confirmed());
    let found = confirmed.clone().find_map(|record| {
        let block = record.block.as_ref()?;
        let size = check_head(space.mode(), image.base, block.bytes.get(..0x20)?)?;
        let bytes = block.bytes.get(..usize::try_from(size).ok()?)?.to_vec();
        let gva = space.mode().canonical(block.gva?)?;
        space.bytes(gva, bytes.len()).ok()?;
        let data = DebuggerData {
            gva,
            bytes,
            encoding: None,
            rebuilt: Vec::new(),
            is_64bit: space.mode().is_64bit(),
        };
        let source = Source::Header {
            origin: format!("guest record at {}", record.gpa),
            field: "debugger block",
        };
        Some(Fact::new(data, source))
    });
    found.ok_or_else(|| Attempt {
        way: "guest records".to_owned(),
        outcome: format!(
            "{} of {} are of this boot, none has the block",
            confirmed.count(),
            records.len()
        ),
    })
}

/// The block that a header leads to: a decoded copy (fwcfg keeps its address in the first parameter), which
/// belongs where the header says that the block is; or that place itself.
pub(super) fn from_headers(
    space: &AddressSpace<'_>,
    image: &PeImage,
    headers: &[GuestHeader],
) -> Result<Fact<DebuggerData>, Attempt> {
    let confirmed = headers.iter().filter(|header| header.is_confirmed());
    let found = confirmed.clone().find_map(|header| {
        let place = header.pointer(FieldId::KdDebuggerDataBlock)?;
        let copy = header.pointer(FieldId::BugCheckParameter1);
        let block = [Some(place), copy]
            .into_iter()
            .flatten()
            .find_map(|gva| DebuggerData::read(space, image.base, gva, None))?;
        let readable = space.bytes(place, block.bytes.len()).is_ok();
        let gva = if readable { place } else { block.gva };
        let source = Source::Header {
            origin: header.origin.to_string(),
            field: "KdDebuggerDataBlock",
        };
        Some(Fact::new(DebuggerData { gva, ..block }, source))
    });
    found.ok_or_else(|| Attempt {
        way: "headers left in memory, or given".to_owned(),
        outcome: format!(
            "{} of {} are of this boot, none leads to a block",
            confirmed.count(),
            headers.len()
        ),
    })
}

/// The block whose tag can be read, and those that are like it; `Err` is the number of tags that are something else.
fn by_tag(space: &AddressSpace<'_>, image: &PeImage) -> Result<Fact<DebuggerData>, usize> {
    let finder = memchr::memmem::Finder::new(&TAG);
    let mut others = 0_usize;
    let mut found: Vec<DebuggerData> = Vec::new();
    for section in by_likelihood(image) {
        // It is data: what looks like one elsewhere is no rival.
        if !section.writable && !found.is_empty() {
            break;
        }
        image.scan_section(space, section, |gva, bytes| {
            for at in finder.find_iter(bytes) {
                let block = gva
                    .checked_add(at as u64)
                    .and_then(|tag| tag.checked_sub(OWNER_TAG as u64))
                    .filter(|block| block.get() % 8 == 0)
                    .and_then(|block| DebuggerData::read(space, image.base, block, None));
                match block {
                    Some(block) if has_lists(space, &block) => found.push(block),
                    _ => others = others.saturating_add(1),
                }
                if found.len() >= MAX_BLOCKS {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
    }
    weigh(space, image, found).ok_or(others)
}

/// The block whose lists are this kernel's, else the first; the others are its rivals.
fn weigh(
    space: &AddressSpace<'_>,
    image: &PeImage,
    mut found: Vec<DebuggerData>,
) -> Option<Fact<DebuggerData>> {
    // The sort is stable.
    found.sort_by_key(|block| std::cmp::Reverse(proven_lists(space, image, block)));
    let mut found = found.into_iter();
    let best = found.next()?;
    let proven = proven_lists(space, image, &best);
    let source = Source::Tag(best.gva);
    let fact = Fact::new(best, source);
    Some(found.fold(fact, |fact, rival| {
        let why = if proven_lists(space, image, &rival) < proven {
            "its lists are not this kernel's"
        } else {
            "it was found later"
        };
        let source = Source::Tag(rival.gva);
        fact.against(rival, source, why)
    }))
}

/// How many of the two lists are what they have to be: one that begins with this kernel, and one that leads back.
fn proven_lists(space: &AddressSpace<'_>, image: &PeImage, block: &DebuggerData) -> usize {
    let word = space.mode().pointer_bytes() as u64;
    let layout = Layout::of(space.mode().is_64bit());
    let first = |field| space.pointer(block.pointer(field)?).ok();
    let modules = first(PS_LOADED_MODULE_LIST)
        .and_then(|entry| {
            let base = entry.checked_add(layout.module_base as u64)?;
            space.pointer(base).ok()
        })
        .is_some_and(|base| base == image.base);
    let processes = first(PS_ACTIVE_PROCESS_HEAD)
        .and_then(|entry| space.pointer(entry.checked_add(word)?).ok())
        .is_some_and(|back| Some(back) == block.pointer(PS_ACTIVE_PROCESS_HEAD));
    usize::from(modules).saturating_add(usize::from(processes))
}

/// Whether the two lists that every debugger walks can be read.
fn has_lists(space: &AddressSpace<'_>, block: &DebuggerData) -> bool {
    [PS_LOADED_MODULE_LIST, PS_ACTIVE_PROCESS_HEAD]
        .into_iter()
        .all(|field| {
            block
                .pointer(field)
                .is_some_and(|head| space.pointer(head).is_ok())
        })
}

/// Sections, those that can be written first: the block is data. Headers lie; all are looked through.
fn by_likelihood(image: &PeImage) -> Vec<&Section> {
    let mut sections: Vec<&Section> = image.sections.iter().collect();
    sections.sort_by_key(|section| (!section.writable, section.executable));
    sections
}

/// Whether the first 16 bytes of a plain block make sense as a list entry.
fn is_list(mode: PagingMode, block: &[u8]) -> bool {
    let link = u64_at(block, LIST).map(Gva::new);
    link.is_some_and(|link| mode.is_kernel(link))
}

#[cfg(test)]
mod tests;
