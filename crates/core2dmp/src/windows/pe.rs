//! An executable image as it is mapped: headers, sections, exports and the PDB's identity.
//!
//! ```text
//! base + 0        MZ, e_lfanew -> PE, optional header, data directories, sections
//! base + export   names sorted, ordinals, addresses
//! base + debug    CodeView "RSDS", GUID, age, "ntkrnlmp.pdb"
//! ```
//!
//! Pages of an image may be paged out: a directory that cannot be read is `None`, no error.

use std::fmt;
use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::pe::{
    self, ImageDataDirectory, ImageDebugDirectory, ImageDosHeader, ImageExportDirectory,
    ImageNtHeaders32, ImageNtHeaders64, ImageSectionHeader,
};
use object::pod;

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

/// Which PDB describes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PdbId {
    /// The file's name, escaped.
    pub name: String,
    /// As stored: the first three fields little-endian.
    pub guid: [u8; 16],
    /// How often it was written.
    pub age: u32,
}

impl fmt::Display for PdbId {
    /// As symbol servers write it: `ntkrnlmp.pdb/0123..EF1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.guid;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let b = u16::from_le_bytes([b0, b1]);
        let c = u16::from_le_bytes([c0, c1]);
        write!(f, "{}/{a:08X}{b:04X}{c:04X}", self.name)?;
        for byte in rest {
            write!(f, "{byte:02X}")?;
        }
        write!(f, "{:X}", self.age)
    }
}

/// The headers of an image in memory.
#[derive(Debug, Clone)]
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
    /// Its sections.
    pub sections: Vec<Section>,
    exports: (u32, u32),
    debug: (u32, u32),
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
        let (size, checksum, directories) = match machine {
            pe::IMAGE_FILE_MACHINE_I386 => {
                let (nt32, rest32) = pod::from_bytes::<ImageNtHeaders32>(headers).ok()?;
                let header = &nt32.optional_header;
                (
                    header.size_of_image.get(LE),
                    header.check_sum.get(LE),
                    rest32,
                )
            }
            _ => {
                let header = &nt64.optional_header;
                (
                    header.size_of_image.get(LE),
                    header.check_sum.get(LE),
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
            sections: read_sections(sections, count),
            exports: directory(directories, 0),
            debug: directory(directories, 6),
        })
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
            let at = self.at(entry.address_of_raw_data.get(LE))?;
            let header = space.bytes(at, 24).ok()?;
            if !header.starts_with(b"RSDS") {
                return None;
            }
            Some(PdbId {
                name: read_text(space, at.checked_add(24)?)?,
                guid: bytes_at(&header, 4)?,
                age: u32_at(&header, 20)?,
            })
        })
    }
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
