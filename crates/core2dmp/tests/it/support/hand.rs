//! A Xen core written by hand, section by section: for files that no guest and no tool stack would make.
//!
//! ```text
//! Elf64_Ehdr | section headers | parts in their order, each at its alignment
//! ```
//!
//! A part may be larger than its data: the rest is a hole, so that 64 GiB of pages cost nothing.

use std::io::{Seek, SeekFrom, Write};

/// What a test may break before the file is written.
#[derive(Clone)]
pub(crate) struct Hand {
    /// `e_machine`: 62 for x86-64, 3 for i386.
    pub(crate) machine: u16,
    /// Sections behind the empty one, in the order of their headers and of their data.
    pub(crate) parts: Vec<Part>,
}

/// A section.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) kind: u32,
    pub(crate) align: u64,
    pub(crate) entry: u64,
    pub(crate) size: u64,
    pub(crate) data: Vec<u8>,
}

impl Part {
    fn new(name: &'static str, kind: u32, align: u64, entry: u64, data: Vec<u8>) -> Self {
        let size = data.len() as u64;
        Self {
            name,
            kind,
            align,
            entry,
            size,
            data,
        }
    }
}

impl Hand {
    /// An HVM core with one vCPU of zeros and room for so many pages, all of it a hole, the table too.
    pub(crate) fn sparse(pages: u64) -> Self {
        let mut room = Part::new(".xen_pages", 1, 0x1000, 0x1000, Vec::new());
        room.size = pages * 0x1000;
        let mut table = Part::new(".xen_pfn", 1, 8, 8, Vec::new());
        table.size = pages * 8;
        Self {
            machine: 62,
            parts: vec![
                Part::new(".note.Xen", 7, 0, 0, notes(1, pages, 4096)),
                Part::new(".xen_prstatus", 1, 8, 5168, vec![0; 5168]),
                room,
                table,
                Part::new(".shstrtab", 3, 0, 0, Vec::new()),
            ],
        }
    }

    /// The section of this name.
    pub(crate) fn part(&mut self, name: &str) -> &mut Part {
        self.parts
            .iter_mut()
            .find(|part| part.name == name)
            .unwrap()
    }

    /// Where each part will stand.
    pub(crate) fn offsets(&self) -> Vec<u64> {
        let mut at = 0x40 + (self.parts.len() as u64 + 1) * 0x40;
        let names = self.names().len() as u64;
        let place = |part: &Part| {
            let start = at.next_multiple_of(part.align.max(1));
            at = start + if part.kind == 3 { names } else { part.size };
            start
        };
        self.parts.iter().map(place).collect()
    }

    /// Where this part will stand.
    pub(crate) fn offset(&self, name: &str) -> u64 {
        let index = self.parts.iter().position(|part| part.name == name);
        self.offsets()[index.unwrap()]
    }

    /// Writes the file; holes are skipped.
    pub(crate) fn write(&self, out: &mut (impl Write + Seek)) {
        let names = self.names();
        let mut head = vec![0_u8; 0x80];
        head[..9].copy_from_slice(b"\x7fELF\x02\x01\x01\x00\x01");
        let strings = self.parts.iter().position(|part| part.kind == 3).unwrap() + 1;
        for (at, value) in [
            (16, 4),
            (18, usize::from(self.machine)),
            (20, 1),
            (40, 0x40),
            (52, 64),
            (54, 56),
            (58, 64),
            (60, self.parts.len() + 1),
            (62, strings),
        ] {
            head[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
        }
        let mut name = 1_u32;
        for (part, offset) in self.parts.iter().zip(self.offsets()) {
            let size = if part.kind == 3 {
                names.len() as u64
            } else {
                part.size
            };
            let mut header = [0; 0x40];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4..8].copy_from_slice(&part.kind.to_le_bytes());
            header[24..32].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            header[48..56].copy_from_slice(&part.align.to_le_bytes());
            header[56..64].copy_from_slice(&part.entry.to_le_bytes());
            head.extend_from_slice(&header);
            name += part.name.len() as u32 + 1;
        }
        out.write_all(&head).unwrap();
        for (part, offset) in self.parts.iter().zip(self.offsets()) {
            out.seek(SeekFrom::Start(offset)).unwrap();
            let data = if part.kind == 3 { &names } else { &part.data };
            out.write_all(data).unwrap();
        }
    }

    fn names(&self) -> Vec<u8> {
        let names = self.parts.iter().flat_map(|part| [part.name, "\0"]);
        std::iter::once("\0")
            .chain(names)
            .collect::<String>()
            .into_bytes()
    }
}

/// One note of Xen's.
pub(crate) fn note(kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for value in [4, desc.len() as u32, kind] {
        note.extend_from_slice(&value.to_le_bytes());
    }
    note.extend_from_slice(b"Xen\0");
    note.extend_from_slice(desc);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// The marker and the header note of an HVM guest.
pub(crate) fn notes(vcpus: u64, pages: u64, page_size: u64) -> Vec<u8> {
    let header: Vec<u8> = [0xf00f_ebee, vcpus, pages, page_size]
        .iter()
        .flat_map(|value: &u64| value.to_le_bytes())
        .collect();
    [note(0x0200_0000, &[]), note(0x0200_0001, &header)].concat()
}
