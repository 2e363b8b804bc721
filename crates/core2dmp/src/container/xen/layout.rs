//! Sections and notes: where the parts of a core are.

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, Machine, NoteHeader64, SectionHeader64, SectionType};
use object::pod;

use crate::error::{Error, Place, Result};
use crate::source::{ReadAt, fill_at, read_exact_at};

/// Sections that are accepted; Xen writes 6 or 7.
const MAX_SECTIONS: usize = 64;
/// Bytes of notes that are accepted; Xen writes 1384.
const MAX_NOTES: u64 = 64 << 10;
/// Bytes of section names that are accepted; Xen writes 72.
const MAX_NAMES: u64 = 4 << 10;

const NOTE_NAME: &[u8; 4] = b"Xen\0";

/// A part of the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) entry_bytes: u64,
    name: u32,
    kind: SectionType,
    align: u64,
}

impl Section {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// Bytes of it that a file of `file_size` bytes holds.
    pub(super) fn bytes_in(&self, file_size: u64) -> u64 {
        file_size.saturating_sub(self.offset).min(self.size)
    }
}

/// Which table maps pages to frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableKind {
    /// `.xen_pfn`: a frame an entry.
    Pfn,
    /// `.xen_p2m`: a frame and a machine frame an entry.
    P2m,
}

/// The table that maps pages to frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) section: Section,
    pub(super) kind: TableKind,
}

impl Table {
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            TableKind::Pfn => ".xen_pfn",
            TableKind::P2m => ".xen_p2m",
        }
    }

    pub(super) fn entry_bytes(&self) -> u64 {
        match self.kind {
            TableKind::Pfn => 8,
            TableKind::P2m => 16,
        }
    }

    /// Whole entries in this many bytes.
    pub(super) fn entries_of(&self, bytes: u64) -> u64 {
        match self.kind {
            TableKind::Pfn => bytes / 8,
            TableKind::P2m => bytes / 16,
        }
    }
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) machine: Machine,
    pub(super) notes: Section,
    pub(super) prstatus: Section,
    pub(super) pages: Section,
    pub(super) table: Table,
    /// The section names, `None` where the file ends before them.
    pub(super) names: Option<Section>,
    end: u64,
}

/// A note.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) kind: u32,
    pub(super) desc: Vec<u8>,
}

/// Whether it is an ELF core of sections alone whose note section starts with one of Xen's.
pub(super) fn is_xen_core(head: &[u8], source: &dyn ReadAt) -> bool {
    let Some(header) = file_header(head) else {
        return false;
    };
    let Ok(sections) = sections(&header, source) else {
        return false;
    };
    let mut first = [0; 16];
    sections
        .iter()
        .find(|section| section.kind == elf::SHT_NOTE)
        .is_some_and(|notes| {
            matches!(fill_at(source, notes.offset, &mut first), Ok(16))
                && first.ends_with(NOTE_NAME)
        })
}

fn file_header(head: &[u8]) -> Option<FileHeader64<LE>> {
    let (header, _) = pod::from_bytes::<FileHeader64<LE>>(head).ok()?;
    let ident = &header.e_ident;
    let is_core = ident.magic == elf::ELFMAG
        && ident.class == elf::ELFCLASS64
        && ident.data == elf::ELFDATA2LSB
        && header.e_type.get(LE) == elf::ET_CORE
        && header.e_phnum.get(LE) == 0;
    is_core.then_some(*header)
}

fn sections(header: &FileHeader64<LE>, source: &dyn ReadAt) -> Result<Vec<Section>> {
    const WHAT: &str = "section headers";
    let offset = header.e_shoff.get(LE);
    let count = usize::from(header.e_shnum.get(LE));
    let bytes = size_of::<SectionHeader64<LE>>();
    if count == 0 || count > MAX_SECTIONS || usize::from(header.e_shentsize.get(LE)) != bytes {
        return Err(Error::malformed(
            WHAT,
            Place::Offset(offset),
            format!("1 to {MAX_SECTIONS} of {bytes} bytes"),
            format!("{count} of {} bytes", header.e_shentsize.get(LE)),
        ));
    }
    let mut raw = vec![0; count.saturating_mul(bytes)];
    read_exact_at(source, offset, &mut raw, WHAT)?;
    let (headers, _) = pod::slice_from_bytes::<SectionHeader64<LE>>(&raw, count)
        .map_err(|()| Error::malformed(WHAT, Place::Offset(offset), "a table", "none"))?;
    Ok(headers
        .iter()
        .map(|section| Section {
            offset: section.sh_offset.get(LE),
            size: section.sh_size.get(LE),
            entry_bytes: section.sh_entsize.get(LE),
            name: section.sh_name.get(LE),
            kind: section.sh_type.get(LE),
            align: section.sh_addralign.get(LE),
        })
        .collect())
}

/// Sections by name, or by shape where the names are cut off.
struct Finder {
    sections: Vec<Section>,
    names: Option<Vec<u8>>,
}

impl Finder {
    fn find(&self, name: &str, shape: impl Fn(&Section) -> bool) -> Option<Section> {
        let found = self.sections.iter().find(|section| match &self.names {
            None => shape(section),
            Some(names) => usize::try_from(section.name)
                .ok()
                .and_then(|start| names.get(start..))
                .and_then(|rest| rest.strip_prefix(name.as_bytes()))
                .is_some_and(|rest| rest.first() == Some(&0)),
        });
        found.copied()
    }

    fn need(&self, name: &'static str, shape: impl Fn(&Section) -> bool) -> Result<Section> {
        self.find(name, shape).ok_or_else(|| {
            Error::malformed(name, Place::Offset(0x40), "a section of this name", "none")
        })
    }
}

impl Layout {
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self> {
        let mut head = [0; size_of::<FileHeader64<LE>>()];
        read_exact_at(source, 0, &mut head, "ELF header")?;
        let header = file_header(&head).ok_or_else(|| {
            Error::malformed(
                "ELF header",
                Place::Offset(0),
                "a 64-bit core",
                "another ELF",
            )
        })?;
        let sections = sections(&header, source)?;
        let end = sections.iter().map(Section::end).max().unwrap_or(0);
        let names = sections
            .get(usize::from(header.e_shstrndx.get(LE).0))
            .copied()
            .filter(|names| names.size <= MAX_NAMES && names.end() <= source.size());
        let text = match &names {
            Some(section) => {
                let mut text = vec![0; usize::try_from(section.size).unwrap_or(0)];
                read_exact_at(source, section.offset, &mut text, ".shstrtab")?;
                Some(text)
            }
            None => None,
        };
        let finder = Finder {
            sections,
            names: text,
        };
        Ok(Self {
            machine: header.e_machine.get(LE),
            notes: finder.need(".note.Xen", |s| s.kind == elf::SHT_NOTE)?,
            prstatus: finder.need(".xen_prstatus", |s| matches!(s.entry_bytes, 2800 | 5168))?,
            // .xen_shared_info has pages' size too, but not their alignment.
            pages: finder.need(".xen_pages", |s| s.entry_bytes == 4096 && s.align == 4096)?,
            table: table(&finder)?,
            names,
            end,
        })
    }

    /// Bytes that the section headers promise.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn notes(&self, source: &dyn ReadAt) -> Result<Vec<Note>> {
        const WHAT: &str = ".note.Xen";
        if self.notes.size > MAX_NOTES {
            return Err(Error::TooMany {
                what: "bytes of .note.Xen",
                found: self.notes.size,
                limit: MAX_NOTES,
            });
        }
        let mut raw = vec![0; usize::try_from(self.notes.size).unwrap_or(0)];
        read_exact_at(source, self.notes.offset, &mut raw, WHAT)?;
        let mut notes = Vec::new();
        let mut rest = raw.as_slice();
        while let Ok((header, tail)) = pod::from_bytes::<NoteHeader64<LE>>(rest) {
            let name = usize::try_from(header.n_namesz.get(LE)).unwrap_or(usize::MAX);
            let desc = usize::try_from(header.n_descsz.get(LE)).unwrap_or(usize::MAX);
            let start = name.checked_next_multiple_of(4);
            let stop = start.and_then(|start| start.checked_add(desc));
            let (Some(start), Some(stop)) = (start, stop) else {
                break;
            };
            let Some(bytes) = tail.get(start..stop) else {
                break;
            };
            if tail.starts_with(NOTE_NAME) {
                notes.push(Note {
                    kind: header.n_type.get(LE).0,
                    desc: bytes.to_vec(),
                });
            }
            let next = stop.checked_next_multiple_of(4).unwrap_or(usize::MAX);
            rest = tail.get(next..).unwrap_or_default();
        }
        Ok(notes)
    }
}

fn table(finder: &Finder) -> Result<Table> {
    let pfn = finder.find(".xen_pfn", |s| s.entry_bytes == 8);
    let p2m = finder.find(".xen_p2m", |s| s.entry_bytes == 16);
    let (section, kind) = match (pfn, p2m) {
        (Some(section), _) => (section, TableKind::Pfn),
        (None, Some(section)) => (section, TableKind::P2m),
        (None, None) => {
            return Err(Error::malformed(
                "section headers",
                Place::Offset(0x40),
                ".xen_pfn or .xen_p2m",
                "neither",
            ));
        }
    };
    let table = Table { section, kind };
    if section.entry_bytes != table.entry_bytes() {
        return Err(Error::malformed(
            "sh_entsize of the page table",
            Place::Offset(section.offset),
            table.entry_bytes().to_string(),
            section.entry_bytes.to_string(),
        ));
    }
    Ok(table)
}
