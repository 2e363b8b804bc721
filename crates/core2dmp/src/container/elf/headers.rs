//! ELF header and program headers, of 32 and of 64 bit.

use object::LittleEndian as LE;
use object::elf::{
    self, FileHeader32, FileHeader64, Machine, ProgramHeader32, ProgramHeader64, SectionHeader32,
    SectionHeader64,
};
use object::pod;

use crate::container::core_notes;
use crate::error::{Error, Place, Result};
use crate::source::{ReadAt, read_exact_at};

/// Program headers that are accepted. QEMU writes one a virtual mapping when asked to: 65 732 were seen.
const MAX_SEGMENTS: u64 = 1 << 20;
/// Program headers that are held at once.
const BLOCK: u64 = 1 << 12;
/// `e_phnum` when section 0 has the number.
const PN_XNUM: u16 = 0xffff;

/// What is read of an ELF header.
#[derive(Debug, Clone, Copy)]
pub(super) struct ElfHeader {
    is_64bit: bool,
    machine: Machine,
    segments: u64,
    segment_bytes: u64,
    pub(super) segments_at: u64,
    sections_at: u64,
}

/// A segment that matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) kind: Kind,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) gpa: u64,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Note,
    Load,
}

impl Segment {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

impl ElfHeader {
    /// The header of a little-endian core that has program headers.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let (header, _) = pod::from_bytes::<FileHeader64<LE>>(head).ok()?;
        let ident = &header.e_ident;
        let is_core = ident.magic == elf::ELFMAG
            && ident.data == elf::ELFDATA2LSB
            && header.e_type.get(LE) == elf::ET_CORE;
        let parsed = match ident.class {
            elf::ELFCLASS64 => Self {
                is_64bit: true,
                machine: header.e_machine.get(LE),
                segments: u64::from(header.e_phnum.get(LE)),
                segment_bytes: u64::from(header.e_phentsize.get(LE)),
                segments_at: header.e_phoff.get(LE),
                sections_at: header.e_shoff.get(LE),
            },
            elf::ELFCLASS32 => {
                let (header, _) = pod::from_bytes::<FileHeader32<LE>>(head).ok()?;
                Self {
                    is_64bit: false,
                    machine: header.e_machine.get(LE),
                    segments: u64::from(header.e_phnum.get(LE)),
                    segment_bytes: u64::from(header.e_phentsize.get(LE)),
                    segments_at: u64::from(header.e_phoff.get(LE)),
                    sections_at: u64::from(header.e_shoff.get(LE)),
                }
            }
            _ => return None,
        };
        (is_core && parsed.segments > 0).then_some(parsed)
    }

    pub(super) fn read(source: &dyn ReadAt) -> Result<Self> {
        let mut head = [0; size_of::<FileHeader64<LE>>()];
        read_exact_at(source, 0, &mut head, "ELF header")?;
        let mut header = Self::parse(&head).ok_or_else(|| {
            let (expected, found) = ("a core with program headers", "another ELF");
            Error::malformed("ELF header", Place::Offset(0), expected, found)
        })?;
        if header.segments == u64::from(PN_XNUM) {
            header.segments = header.extended_count(source)?;
        }
        header.check()?;
        Ok(header)
    }

    /// The number that does not fit the ELF header stands in section 0.
    fn extended_count(&self, source: &dyn ReadAt) -> Result<u64> {
        const WHAT: &str = "section header 0";
        let mut raw = [0; size_of::<SectionHeader64<LE>>()];
        let size = if self.is_64bit {
            size_of::<SectionHeader64<LE>>()
        } else {
            size_of::<SectionHeader32<LE>>()
        };
        let raw = raw.get_mut(..size).unwrap_or_default();
        read_exact_at(source, self.sections_at, raw, WHAT)?;
        let wide = pod::from_bytes::<SectionHeader64<LE>>(raw);
        let narrow = pod::from_bytes::<SectionHeader32<LE>>(raw);
        let count = match (self.is_64bit, wide, narrow) {
            (true, Ok((section, _)), _) => section.sh_info.get(LE),
            (false, _, Ok((section, _))) => section.sh_info.get(LE),
            _ => 0,
        };
        if count < u32::from(PN_XNUM) {
            return Err(Error::malformed(
                "sh_info of section header 0",
                Place::Offset(self.sections_at),
                "the number of program headers, 65535 or more",
                count.to_string(),
            ));
        }
        Ok(u64::from(count))
    }

    fn check(&self) -> Result<()> {
        let bytes = if self.is_64bit {
            size_of::<ProgramHeader64<LE>>()
        } else {
            size_of::<ProgramHeader32<LE>>()
        };
        if self.segment_bytes != bytes as u64 {
            return Err(Error::malformed(
                "e_phentsize",
                Place::Offset(if self.is_64bit { 0x36 } else { 0x2a }),
                bytes.to_string(),
                self.segment_bytes.to_string(),
            ));
        }
        if self.segments > MAX_SEGMENTS {
            return Err(Error::TooMany {
                what: "program headers",
                found: self.segments,
                limit: MAX_SEGMENTS,
            });
        }
        Ok(())
    }

    /// The segments that hold notes or memory, in the file's order.
    pub(super) fn segments(&self, source: &dyn ReadAt) -> Result<Vec<Segment>> {
        const WHAT: &str = "program headers";
        let mut segments = Vec::new();
        let mut done = 0;
        let mut buffer = Vec::new();
        while done < self.segments {
            let count = self.segments.saturating_sub(done).min(BLOCK);
            let bytes = count.saturating_mul(self.segment_bytes);
            buffer.resize(usize::try_from(bytes).unwrap_or(0), 0);
            let skipped = done.saturating_mul(self.segment_bytes);
            read_exact_at(
                source,
                self.segments_at.saturating_add(skipped),
                &mut buffer,
                WHAT,
            )?;
            let count = usize::try_from(count).unwrap_or(0);
            if self.is_64bit {
                let headers = pod::slice_from_bytes::<ProgramHeader64<LE>>(&buffer, count);
                let (headers, _) = headers.unwrap_or_default();
                segments.extend(headers.iter().filter_map(wide));
            } else {
                let headers = pod::slice_from_bytes::<ProgramHeader32<LE>>(&buffer, count);
                let (headers, _) = headers.unwrap_or_default();
                segments.extend(headers.iter().filter_map(narrow));
            }
            done = done.saturating_add(BLOCK);
        }
        Ok(segments)
    }

    pub(super) fn machine(&self) -> core_notes::Machine {
        match self.machine {
            elf::EM_X86_64 | elf::EM_386 => core_notes::Machine::X86,
            elf::EM_AARCH64 => core_notes::Machine::Arm64,
            _ => core_notes::Machine::Other,
        }
    }

    pub(super) fn machine_name(&self) -> String {
        match self.machine {
            elf::EM_X86_64 => "x86-64".to_owned(),
            elf::EM_386 => "x86".to_owned(),
            elf::EM_AARCH64 => "ARM64".to_owned(),
            Machine(other) => format!("ELF machine {other}"),
        }
    }
}

fn kind(segment_type: elf::ProgramType) -> Option<Kind> {
    match segment_type {
        elf::PT_NOTE => Some(Kind::Note),
        elf::PT_LOAD => Some(Kind::Load),
        _ => None,
    }
}

/// `p_memsz` does not count: what of it is not in the file is nowhere, not zero.
fn wide(header: &ProgramHeader64<LE>) -> Option<Segment> {
    Some(Segment {
        kind: kind(header.p_type.get(LE))?,
        offset: header.p_offset.get(LE),
        bytes: header.p_filesz.get(LE),
        gpa: header.p_paddr.get(LE),
    })
}

fn narrow(header: &ProgramHeader32<LE>) -> Option<Segment> {
    Some(Segment {
        kind: kind(header.p_type.get(LE))?,
        offset: u64::from(header.p_offset.get(LE)),
        bytes: u64::from(header.p_filesz.get(LE)),
        gpa: u64::from(header.p_paddr.get(LE)),
    })
}
