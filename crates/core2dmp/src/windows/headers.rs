//! Dump headers that were made inside the guest: sources like any other, and often stale.
//!
//! ```text
//! gplpv    "XENXEN" u16 | header | "XENXEN" u16     a Xen PV driver's, anywhere in a page
//! fwcfg    24-byte note header   | header           virtio-win's; parameter 1 points to a decoded KDBG
//! plain    header                                   page aligned: Windows' own, or a file's first page
//! record   header that a guest record names         weighed with its record (see `guest_record`)
//! given    --header FILE, or a note of the container
//! ```
//!
//! A header is accepted where the memory agrees: its page tables have to map this very kernel, its module list
//! has to begin with it, its clock must not be ahead of the system's. One that fails describes another boot. The
//! dump type, the space and the runs are never taken from any: they describe a body that is not ours.

use std::fmt;
use std::ops::ControlFlow;

use super::guest_record::GuestRecord;
use super::kernel::is_kernels_entry;
use super::kernel::{KernelImage, machine};
use crate::address::{Gpa, Gva};
use crate::format::dump_values::{MACHINE_ARM64, MACHINE_X64, MACHINE_X86};
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::nt::ram_header;
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode};

/// Headers that are kept; more are counted by nobody but a hostile guest.
const MAX_HEADERS: usize = 64;
/// What both headers begin with: `Signature`, and the first half of `ValidDump`.
const TAG: &[u8; 6] = b"PAGEDU";
/// Bytes of a header up to `MachineImageType`, of either width.
const START_BYTES: usize = 0x34;
/// Bytes from the start of a note's name to the header behind it.
const NOTE_NAME_BYTES: usize = 24 - ram_header::NOTE_NAME_OFFSET;

/// Where a header came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderOrigin {
    /// It was found in the guest's memory.
    Memory {
        /// Where it starts.
        gpa: Gpa,
        /// Whose it is.
        kind: HeaderKind,
    },
    /// The user gave it, or a note of the container holds it.
    Given(String),
}

/// Who left a header in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// GPLPV and its relatives, for Xen.
    Gplpv,
    /// virtio-win's fwcfg driver, for QEMU.
    Fwcfg,
    /// A guest record's, made while the system ran.
    RecordBoot,
    /// A guest record's, made at the bug check.
    RecordRefreshed,
    /// Nothing beside it tells.
    Plain,
}

impl fmt::Display for HeaderOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { gpa, kind } => {
                let kind = match kind {
                    HeaderKind::Gplpv => "GPLPV header",
                    HeaderKind::Fwcfg => "fwcfg header",
                    HeaderKind::RecordBoot => "guest record's boot header",
                    HeaderKind::RecordRefreshed => "guest record's bug check header",
                    HeaderKind::Plain => "header",
                };
                write!(f, "{kind} in memory at {gpa}")
            }
            Self::Given(name) => write!(f, "header of {name}"),
        }
    }
}

/// A header from the user or from a note.
#[derive(Debug, Clone)]
pub struct GivenHeader {
    /// What it is called in messages, escaped.
    pub name: String,
    /// Its first bytes; a whole header or more.
    pub bytes: Vec<u8>,
}

/// How much of the memory is searched for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderSearch {
    /// The lowest 16 MiB, where drivers for Xen keep theirs; everything if the debugger data block is missing.
    #[default]
    Low,
    /// Everything: as fast as the memory can be read.
    All,
}

impl HeaderSearch {
    /// The frames to search.
    pub(super) const fn frames(self) -> Frames {
        const LOW: Gpa = Gpa::new(16 << 20);
        match self {
            Self::Low => Frames::between(crate::address::Pfn::new(0), LOW.pfn()),
            Self::All => Frames::between(crate::address::Pfn::new(0), crate::address::Pfn::END),
        }
    }
}

/// A header, weighed against the memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GuestHeader {
    /// Where it came from.
    pub origin: HeaderOrigin,
    /// Which structure it is.
    pub width: HeaderWidth,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What in it the memory contradicts; empty if the header describes this boot.
    pub contradictions: Vec<String>,
}

impl GuestHeader {
    /// A field's number, `None` where it was never set.
    #[must_use]
    pub fn number(&self, id: FieldId) -> Option<u64> {
        self.width.field(id)?.number(&self.bytes)
    }

    /// Whether it describes this boot.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.contradictions.is_empty()
    }

    /// Whether a guest record names it.
    pub(super) const fn is_recorded(&self) -> bool {
        matches!(
            self.origin,
            HeaderOrigin::Memory {
                kind: HeaderKind::RecordBoot | HeaderKind::RecordRefreshed,
                ..
            }
        )
    }

    /// An address, zero-extended on 32 bit.
    pub(super) fn pointer(&self, id: FieldId) -> Option<Gva> {
        self.number(id).filter(|value| *value != 0).map(Gva::new)
    }
}

/// The headers that were found in memory and those that were given, each weighed.
pub(super) fn collect(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    up_time: Option<u64>,
    given: &[GivenHeader],
    records: &[GuestRecord],
    mut found: Vec<GuestHeader>,
) -> Vec<GuestHeader> {
    let mut headers: Vec<GuestHeader> = given
        .iter()
        .filter_map(|given| header(HeaderOrigin::Given(given.name.clone()), &given.bytes))
        .collect();
    let from_records = headers_of_records(records);
    let is_recorded = |header: &GuestHeader| {
        let at = |header: &GuestHeader| match header.origin {
            HeaderOrigin::Memory { gpa, .. } => Some(gpa),
            HeaderOrigin::Given(_) => None,
        };
        from_records.iter().any(|known| at(known) == at(header))
    };
    found.retain(|header| !is_recorded(header));
    headers.extend(found);
    for header in &mut headers {
        header.contradictions = contradictions(space, kernel, up_time, header);
    }
    // They are weighed with their record, whose proofs need no list. The best first.
    from_records.into_iter().chain(headers).collect()
}

/// The headers that records name, in the order of the records.
fn headers_of_records(records: &[GuestRecord]) -> Vec<GuestHeader> {
    let of_record = |record: &GuestRecord| {
        let contradictions = record.contradictions.clone();
        let headers = record.headers.clone().into_iter();
        headers.filter_map(move |found| {
            let kind = if found.refreshed {
                HeaderKind::RecordRefreshed
            } else {
                HeaderKind::RecordBoot
            };
            let origin = HeaderOrigin::Memory {
                gpa: found.gpa,
                kind,
            };
            let mut header = header(origin, &found.bytes)?;
            header.contradictions.clone_from(&contradictions);
            Some(header)
        })
    };
    records.iter().flat_map(of_record).collect()
}

/// The header that `bytes` begin with, if they do.
fn header(origin: HeaderOrigin, bytes: &[u8]) -> Option<GuestHeader> {
    let width = HeaderWidth::of(bytes)?;
    let bytes = bytes.get(..width.bytes())?.to_vec();
    let header = GuestHeader {
        origin,
        width,
        bytes,
        contradictions: Vec::new(),
    };
    has_known_machine(width, &header.bytes).then_some(header)
}

/// Whether the header that `bytes` begin is for a machine that Windows runs on.
fn has_known_machine(width: HeaderWidth, bytes: &[u8]) -> bool {
    let known = [MACHINE_X86, MACHINE_X64, MACHINE_ARM64].map(u64::from);
    let field = width.field(FieldId::MachineImageType);
    field
        .and_then(|field| field.number(bytes))
        .is_some_and(|machine| known.contains(&machine))
}

/// Finds headers, block by block.
pub(super) struct Finder<'m> {
    memory: &'m PhysicalMemory,
    tags: memchr::memmem::Finder<'static>,
    /// What was found.
    pub(super) headers: Vec<GuestHeader>,
    /// Where the last block ended, and its last bytes: a tag may begin in them and end in the next.
    before: (Gpa, [u8; TAG.len() - 1]),
}

impl<'m> Finder<'m> {
    pub(super) fn new(memory: &'m PhysicalMemory) -> Self {
        Self {
            memory,
            tags: memchr::memmem::Finder::new(TAG),
            headers: Vec::new(),
            before: (Gpa::new(0), [0; TAG.len() - 1]),
        }
    }

    /// Looks at a block; breaks off when there are as many headers as are kept.
    pub(super) fn look_at(&mut self, gpa: Gpa, block: &[u8]) -> ControlFlow<()> {
        let Self {
            memory,
            tags,
            headers,
            before,
        } = self;
        let mut add = |gpa: Gpa| {
            headers.extend(in_memory(memory, gpa));
            if headers.len() < MAX_HEADERS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let (end, tail) = *before;
        if end == gpa {
            let mut seam = tail.to_vec();
            seam.extend(block.iter().take(tail.len()));
            for at in tags.find_iter(&seam) {
                let back = tail.len().saturating_sub(at) as u64;
                add(Gpa::new(gpa.get().saturating_sub(back)))?;
            }
        }
        for at in tags.find_iter(block) {
            let gpa = gpa.saturating_add(at as u64);
            if may_begin(gpa, block.get(..at).unwrap_or_default()) {
                add(gpa)?;
            }
        }
        if let Some(tail) = block.last_chunk() {
            *before = (gpa.saturating_add(block.len() as u64), *tail);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a header may begin at `gpa`, by what is in front of it in the block at hand: that costs no read.
fn may_begin(gpa: Gpa, before: &[u8]) -> bool {
    let follows = |bytes: usize, beginning: &[u8]| {
        let start = before.len().checked_sub(bytes);
        // Too near to the block's start to tell: memory is read.
        start.is_none_or(|start| {
            before
                .get(start..)
                .is_some_and(|b| b.starts_with(beginning))
        })
    };
    gpa.page_offset() == 0
        || follows(ram_header::GPLPV_PREFIX_BYTES, ram_header::GPLPV_PREFIX)
        || follows(NOTE_NAME_BYTES, ram_header::NOTE_NAME)
}

/// The header at `gpa`, if a whole one is there. What costs least is looked at first: a hostile guest may hold
/// millions of tags.
fn in_memory(memory: &PhysicalMemory, gpa: Gpa) -> Option<GuestHeader> {
    let kind = kind_of(memory, gpa);
    // A copy of a header file in a cache is page aligned too; anything else is chance.
    if kind == HeaderKind::Plain && gpa.page_offset() != 0 {
        return None;
    }
    let mut start = [0; START_BYTES];
    memory.read(gpa, &mut start).ok()?;
    let width = HeaderWidth::of(&start).filter(|width| has_known_machine(*width, &start))?;
    let mut bytes = vec![0; width.bytes()];
    memory.read(gpa, &mut bytes).ok()?;
    header(HeaderOrigin::Memory { gpa, kind }, &bytes)
}

/// Whose header it is, by what precedes it.
fn kind_of(memory: &PhysicalMemory, gpa: Gpa) -> HeaderKind {
    // Each reads no more than it needs: the frame before may not be there.
    if follows::<{ ram_header::GPLPV_PREFIX_BYTES }>(memory, gpa, ram_header::GPLPV_PREFIX) {
        HeaderKind::Gplpv
    } else if follows::<NOTE_NAME_BYTES>(memory, gpa, ram_header::NOTE_NAME) {
        HeaderKind::Fwcfg
    } else {
        HeaderKind::Plain
    }
}

/// Whether the `N` bytes in front of `gpa` begin so.
fn follows<const N: usize>(memory: &PhysicalMemory, gpa: Gpa, beginning: &[u8]) -> bool {
    let mut prefix = [0; N];
    let start = gpa.checked_sub(N as u64);
    start.is_some_and(|start| memory.read(start, &mut prefix).is_ok())
        && prefix.starts_with(beginning)
}

/// What in the header the memory contradicts.
fn contradictions(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    up_time: Option<u64>,
    header: &GuestHeader,
) -> Vec<String> {
    let mode = space.mode();
    let mut found = Vec::new();
    let wide = header.width == HeaderWidth::Bits64;
    let expected = machine(mode);
    if wide != mode.is_64bit() || header.number(FieldId::MachineImageType) != Some(expected.into())
    {
        return vec![format!("it is for another machine than {expected:#x}")];
    }
    let base = kernel.image.base;
    let dtb = header.number(FieldId::DirectoryTableBase).unwrap_or(0);
    let here = space.translate(base).ok().map(|mapping| mapping.gpa);
    let maps = |mode| {
        let own = AddressSpace::new(space.memory(), mode, Gpa::new(dtb));
        own.translate(base).ok().map(|mapping| mapping.gpa) == here
    };
    // On a system with five levels it names the PML4, since no debugger walks five; or, in spite of that, the PML5.
    let is_either = match mode {
        PagingMode::X64 | PagingMode::X64La57 => maps(PagingMode::X64) || maps(PagingMode::X64La57),
        mode => maps(mode),
    };
    if here.is_none() || !is_either {
        found.push(format!(
            "its page tables at {dtb:#x} do not map this kernel"
        ));
    }
    let begins_with_kernel = header
        .pointer(FieldId::PsLoadedModuleList)
        .and_then(|head| space.pointer(head).ok())
        .is_some_and(|entry| is_kernels_entry(space, kernel, entry));
    if !begins_with_kernel {
        found.push("its module list does not begin with this kernel".to_owned());
    }
    let made = header.number(FieldId::SystemUpTime);
    if let Some((made, now)) = made.zip(up_time).filter(|(made, now)| made > now) {
        found.push(format!(
            "it was made {made} ticks of 100 ns after boot, the system is up for {now}"
        ));
    }
    found
}
