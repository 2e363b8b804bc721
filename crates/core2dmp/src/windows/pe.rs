//! An executable image as it is mapped: headers, sections, exports and the PDB's identity.
//!
//! ```text
//! base + 0        MZ, e_lfanew -> PE, optional header, data directories, sections
//! base + export   names sorted, ordinals, addresses
//! base + debug    CodeView "RSDS", GUID, age, "ntkrnlmp.pdb"
//! ```
//!
//! Pages of an image may be paged out: a directory that cannot be read is `None`, no error.

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::pe::{
    self, ImageDataDirectory, ImageDebugDirectory, ImageDosHeader, ImageExportDirectory,
    ImageNtHeaders32, ImageNtHeaders64, ImageSectionHeader,
};
use object::pod;

use super::pdb::PdbId;
use crate::address::{Gva, PAGE_BYTES};
use crate::format::{bytes_at, u32_at};
use crate::paging::AddressSpace;

/// Sections that are read; the loader's own limit is 96.
const MAX_SECTIONS: usize = 96;
/// Bytes from an image's base that are searched: the largest kernel so far has 24 MiB, and sizes may lie.
const MAX_SEARCHED: u32 = 64 << 20;
/// Debug directory entries that are read.
const MAX_DEBUG_ENTRIES: usize = 32;
/// Bytes of a file name that are read.
const MAX_NAME: usize = 260;

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its name, escaped.
    pub name: String,
    /// From the image's base.
    pub rva: u32,
    /// Bytes in memory.
    pub size: u32,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether it holds code.
    pub executable: bool,
}

/// The headers of an image in memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeImage {
    /// Where it is mapped.
    pub base: Gva,
    /// Bytes that it takes.
    pub size: u32,
    /// `IMAGE_FILE_HEADER.Machine`.
    pub machine: u16,
    /// `IMAGE_FILE_HEADER.TimeDateStamp`.
    pub timestamp: u32,
    /// `IMAGE_OPTIONAL_HEADER.CheckSum`.
    pub checksum: u32,
    /// `IMAGE_OPTIONAL_HEADER.MajorOperatingSystemVersion` and the minor one; (0, 0) if they are not known.
    pub os_version: (u32, u32),
    /// Its sections.
    pub sections: Vec<Section>,
    exports: (u32, u32),
    exceptions: (u32, u32),
    debug: (u32, u32),
}

/// Where an export directory's tables are, from the image's base.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExportTables {
    pub(super) functions: u32,
    pub(super) function_count: u32,
    pub(super) names: u32,
    pub(super) ordinals: u32,
    pub(super) name_count: u32,
}

impl PeImage {
    /// The image at `base`, if one starts there.
    #[must_use]
    pub fn read(space: &AddressSpace<'_>, base: Gva) -> Option<Self> {
        let mut page = [0; PAGE_BYTES];
        space.read(base, &mut page).ok()?;
        let (dos, _) = pod::from_bytes::<ImageDosHeader>(&page).ok()?;
        if dos.e_magic.get(LE) != pe::IMAGE_DOS_SIGNATURE {
            return None;
        }
        let at = usize::try_from(dos.e_lfanew.get(LE)).ok()?;
        let headers = page.get(at..)?;
        if u32_at(headers, 0)? != pe::IMAGE_NT_SIGNATURE {
            return None;
        }
        let (nt64, rest64) = pod::from_bytes::<ImageNtHeaders64>(headers).ok()?;
        let file = nt64.file_header;
        let optional = usize::from(file.size_of_optional_header.get(LE));
        let machine = file.machine.get(LE);
        let (size, checksum, os_version, directories) = match machine {
            pe::IMAGE_FILE_MACHINE_I386 => {
                let (nt32, rest32) = pod::from_bytes::<ImageNtHeaders32>(headers).ok()?;
                let header = &nt32.optional_header;
                (
                    header.size_of_image.get(LE),
                    header.check_sum.get(LE),
                    (
                        u32::from(header.major_operating_system_version.get(LE)),
                        u32::from(header.minor_operating_system_version.get(LE)),
                    ),
                    rest32,
                )
            }
            _ => {
                let header = &nt64.optional_header;
                (
                    header.size_of_image.get(LE),
                    header.check_sum.get(LE),
                    (
                        u32::from(header.major_operating_system_version.get(LE)),
                        u32::from(header.minor_operating_system_version.get(LE)),
                    ),
                    rest64,
                )
            }
        };
        let sections = headers.get(24_usize.checked_add(optional)?..)?;
        let count = usize::from(file.number_of_sections.get(LE)).min(MAX_SECTIONS);
        Some(Self {
            base,
            size,
            machine: machine.0,
            timestamp: file.time_date_stamp.get(LE),
            checksum,
            os_version,
            sections: read_sections(sections, count),
            exports: directory(directories, 0),
            exceptions: directory(directories, 3),
            debug: directory(directories, 6),
        })
    }

    /// An image whose header page is missing, known by its export directory at `exports`: all of it is one section.
    pub(super) fn without_header(base: Gva, size: u32, machine: u16, exports: u32) -> Self {
        Self {
            base,
            size,
            machine,
            timestamp: 0,
            checksum: 0,
            os_version: (0, 0),
            sections: vec![Section {
                name: String::new(),
                rva: 0,
                size,
                writable: true,
                executable: true,
            }],
            exports: (exports, size.saturating_sub(exports)),
            exceptions: (0, 0),
            debug: (0, 0),
        }
    }

    /// Whether the header page is missing: size, time stamp and sections are then not known.
    #[must_use]
    pub fn is_without_header(&self) -> bool {
        self.timestamp == 0 && matches!(&self.sections[..], [section] if section.name.is_empty())
    }

    /// The address of `rva`, if it lies in the image.
    #[must_use]
    pub fn at(&self, rva: u32) -> Option<Gva> {
        (rva < self.size).then(|| self.base.saturating_add(u64::from(rva)))
    }

    /// Whether `gva` lies in the image.
    #[must_use]
    pub fn contains(&self, gva: Gva) -> bool {
        gva.get()
            .checked_sub(self.base.get())
            .is_some_and(|offset| offset < u64::from(self.size))
    }

    /// Offset and size of the export directory, and of the exception directory: 0 where there is none.
    pub(super) const fn export_range(&self) -> (u32, u32) {
        self.exports
    }

    pub(super) const fn exception_range(&self) -> (u32, u32) {
        self.exceptions
    }

    /// The three tables of the export directory.
    pub(super) fn export_tables(&self, space: &AddressSpace<'_>) -> Option<ExportTables> {
        let directory = self.export_directory(space)?;
        Some(ExportTables {
            functions: directory.address_of_functions.get(LE),
            function_count: directory.number_of_functions.get(LE),
            names: directory.address_of_names.get(LE),
            ordinals: directory.address_of_name_ordinals.get(LE),
            name_count: directory.number_of_names.get(LE),
        })
    }

    /// The text at an offset, escaped.
    pub(super) fn text(&self, space: &AddressSpace<'_>, rva: u32) -> Option<String> {
        read_text(space, self.at(rva)?)
    }

    /// Calls `visit` with what can be read of a section, as [`AddressSpace::scan`] does. What an earlier section
    /// holds too, which no loader maps, and what lies far behind the base is left out.
    pub(super) fn scan_section(
        &self,
        space: &AddressSpace<'_>,
        section: &Section,
        visit: impl FnMut(Gva, &[u8]) -> ControlFlow<()>,
    ) {
        let whole = self.size.min(MAX_SEARCHED);
        let before = self
            .sections
            .iter()
            .take_while(|other| !std::ptr::eq(*other, section));
        let start = before
            .map(|other| other.rva.saturating_add(other.size))
            .fold(section.rva, u32::max);
        let end = section.rva.saturating_add(section.size).min(whole);
        let size = end.saturating_sub(start);
        let first = self.base.saturating_add(u64::from(start));
        if size > 0 {
            let last = first.saturating_add(u64::from(size.saturating_sub(1)));
            space.scan(first, last, visit);
        }
    }

    /// The name that the export directory gives the image.
    #[must_use]
    pub fn export_name(&self, space: &AddressSpace<'_>) -> Option<String> {
        let directory = self.export_directory(space)?;
        read_text(space, self.at(directory.name.get(LE))?)
    }

    /// The address of an exported name, by binary search as the loader does it.
    #[must_use]
    pub fn export(&self, space: &AddressSpace<'_>, name: &str) -> Option<Gva> {
        let directory = self.export_directory(space)?;
        let names = self.at(directory.address_of_names.get(LE))?;
        let ordinals = self.at(directory.address_of_name_ordinals.get(LE))?;
        let functions = self.at(directory.address_of_functions.get(LE))?;
        let (mut low, mut high) = (0, directory.number_of_names.get(LE));
        while low < high {
            let middle = low.midpoint(high);
            let entry = names.checked_add(u64::from(middle).saturating_mul(4))?;
            let text = read_text(space, self.at(space.u32(entry).ok()?)?)?;
            match text.as_str().cmp(name) {
                std::cmp::Ordering::Less => low = middle.saturating_add(1),
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let entry = ordinals.checked_add(u64::from(middle).saturating_mul(2))?;
                    let ordinal = space.u16(entry).ok()?;
                    let entry = functions.checked_add(u64::from(ordinal).saturating_mul(4))?;
                    return self.at(space.u32(entry).ok()?);
                }
            }
        }
        None
    }

    fn export_directory(&self, space: &AddressSpace<'_>) -> Option<ImageExportDirectory> {
        let (rva, size) = self.exports;
        if rva == 0 || size == 0 {
            return None;
        }
        let bytes = space
            .bytes(self.at(rva)?, size_of::<ImageExportDirectory>())
            .ok()?;
        let (directory, _) = pod::from_bytes::<ImageExportDirectory>(&bytes).ok()?;
        Some(*directory)
    }

    /// The PDB that the debug directory names.
    #[must_use]
    pub fn pdb(&self, space: &AddressSpace<'_>) -> Option<PdbId> {
        let (rva, size) = self.debug;
        let entry_bytes = size_of::<ImageDebugDirectory>();
        let count = usize::try_from(size).ok()?.checked_div(entry_bytes)?;
        let bytes = count.min(MAX_DEBUG_ENTRIES).checked_mul(entry_bytes)?;
        let raw = space
            .bytes(self.at(rva).filter(|_| rva != 0)?, bytes)
            .ok()?;
        raw.chunks_exact(entry_bytes).find_map(|chunk| {
            let (entry, _) = pod::from_bytes::<ImageDebugDirectory>(chunk).ok()?;
            if entry.typ.get(LE) != pe::IMAGE_DEBUG_TYPE_CODEVIEW {
                return None;
            }
            read_pdb(space, self.at(entry.address_of_raw_data.get(LE))?)
        })
    }
}

impl PeImage {
    /// The PDB's id where no directory leads to it: by its tag, if `is_it`.
    pub(super) fn find_pdb(
        &self,
        space: &AddressSpace<'_>,
        is_it: impl Fn(&PdbId) -> bool,
    ) -> Option<PdbId> {
        let finder = memchr::memmem::Finder::new(b"RSDS");
        let mut found = None;
        let section = self.sections.first()?;
        self.scan_section(space, section, |gva, bytes| {
            for at in finder.find_iter(bytes) {
                found = read_pdb(space, gva.saturating_add(at as u64)).filter(&is_it);
                if found.is_some() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        found
    }
}

/// The `CodeView` record at `gva`.
fn read_pdb(space: &AddressSpace<'_>, gva: Gva) -> Option<PdbId> {
    let header = space.bytes(gva, 24).ok()?;
    if !header.starts_with(b"RSDS") {
        return None;
    }
    Some(PdbId {
        name: read_text(space, gva.checked_add(24)?)?,
        guid: bytes_at(&header, 4)?,
        age: u32_at(&header, 20)?,
    })
}

fn read_sections(bytes: &[u8], count: usize) -> Vec<Section> {
    let whole = bytes.chunks_exact(size_of::<ImageSectionHeader>()).len();
    let Ok((headers, _)) = pod::slice_from_bytes::<ImageSectionHeader>(bytes, count.min(whole))
    else {
        return Vec::new();
    };
    headers
        .iter()
        .map(|header| {
            let flags = header.characteristics.get(LE);
            let name = header.name.split(|byte| *byte == 0).next();
            Section {
                name: name.unwrap_or_default().escape_ascii().to_string(),
                rva: header.virtual_address.get(LE),
                size: header.virtual_size.get(LE),
                writable: flags.contains(pe::IMAGE_SCN_MEM_WRITE),
                executable: flags.contains(pe::IMAGE_SCN_MEM_EXECUTE),
            }
        })
        .collect()
}

/// Address and size of a data directory.
fn directory(directories: &[u8], index: usize) -> (u32, u32) {
    let whole = directories
        .chunks_exact(size_of::<ImageDataDirectory>())
        .len();
    pod::slice_from_bytes::<ImageDataDirectory>(directories, whole.min(16))
        .ok()
        .and_then(|(table, _)| table.get(index))
        .map_or((0, 0), |entry| {
            (entry.virtual_address.get(LE), entry.size.get(LE))
        })
}

/// The text at `gva` up to its zero, escaped; `None` if it does not end.
fn read_text(space: &AddressSpace<'_>, gva: Gva) -> Option<String> {
    let mut text = Vec::new();
    let mut at = gva;
    while text.len() < MAX_NAME {
        let rest = PAGE_BYTES.saturating_sub(usize::try_from(at.page_offset()).ok()?);
        let bytes = space.bytes(at, rest.min(32)).ok()?;
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(bytes.get(..end)?);
                return Some(text.escape_ascii().to_string());
            }
            None => text.extend_from_slice(&bytes),
        }
        at = at.checked_add(bytes.len() as u64)?;
    }
    None
}
