//! The guest as QEMU's `dump-guest-memory` writes it, or VirtualBox' `debugvm dumpvmcore`: an ELF core of segments.
//!
//! ```text
//! QEMU        Elf_Ehdr | section header 0 | program headers | notes | memory, at whatever offset that is
//! VirtualBox  Elf_Ehdr | program headers | notes | memory
//! ```
//!
//! References: QEMU, dump/dump.c and docs/specs/vmcoreinfo.rst; VirtualBox, DBGFCoreWrite.cpp; readelf of files of
//! QEMU 10.0.2.

use std::io::{self, Write};

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::containers::core_notes::{self, VirtualboxFormat};
use crate::windows::arch::Arch;
use crate::windows::guest::Guest;
use crate::windows::memory::{PAGE, VGA_END, VGA_START};

/// The BIOS: its first frame, and how many.
const ROM: (u64, u64) = (0xf_ffc0, 0x40);

/// A range of memory in the file: physical address, bytes.
type Range = (u64, u64);

/// Builds an ELF core.
#[derive(Clone, Debug)]
pub struct QemuElf<'a> {
    guest: &'a Guest,
    narrow: bool,
    virtualbox: Option<VirtualboxFormat>,
    cpu_notes: bool,
    kernel_gs: bool,
    vmcoreinfo: Option<Vec<u8>>,
    notes_last: bool,
    mappings: usize,
    cuts: Vec<u64>,
}

impl Guest {
    /// The guest as QEMU's `dump-guest-memory` writes it.
    #[must_use]
    pub fn qemu_elf(&self) -> QemuElf<'_> {
        QemuElf::new(self)
    }
}

impl<'a> QemuElf<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            narrow: false,
            virtualbox: None,
            cpu_notes: true,
            kernel_gs: true,
            vmcoreinfo: None,
            notes_last: false,
            mappings: 0,
            cuts: Vec::new(),
        }
    }

    /// A file of 32 bits, as of a machine without anything near 4 GiB.
    #[must_use]
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// VirtualBox' notes and segments.
    #[must_use]
    pub fn virtualbox(mut self) -> Self {
        self.virtualbox = Some(VirtualboxFormat::default());
        self
    }

    /// As VirtualBox writes it in this format.
    #[must_use]
    pub fn virtualbox_format(mut self, format: VirtualboxFormat) -> Self {
        self.virtualbox = Some(format);
        self
    }

    /// Leaves the vCPUs' notes out, but for CORE.
    #[must_use]
    pub fn without_cpu_notes(mut self) -> Self {
        self.cpu_notes = false;
        self
    }

    /// The vCPUs' notes of an older QEMU: 0x1b0 bytes, without the other GS base.
    #[must_use]
    pub fn without_kernel_gs(mut self) -> Self {
        self.kernel_gs = false;
        self
    }

    /// A VMCOREINFO note with these contents: what a driver of fw_cfg left.
    #[must_use]
    pub fn vmcoreinfo(mut self, contents: Vec<u8>) -> Self {
        self.vmcoreinfo = Some(contents);
        self
    }

    /// Puts the notes behind the memory.
    #[must_use]
    pub fn notes_last(mut self) -> Self {
        self.notes_last = true;
        self
    }

    /// As with `-p`: so many more segments, of one frame each, that name memory a second time.
    #[must_use]
    pub fn mappings(mut self, count: usize) -> Self {
        self.mappings = count;
        self
    }

    /// Cuts the segment at a physical address in two.
    #[must_use]
    pub fn cut_at(mut self, gpa: u64) -> Self {
        self.cuts.push(gpa);
        self
    }

    /// Writes the core.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let ranges = self.ranges();
        let notes = self.notes();
        let headers = 1 + ranges.len() + self.mappings;
        let (header, section, segment) = if self.narrow {
            (0x34, 0x28, 0x20)
        } else {
            (0x40, 0x40, 0x38)
        };
        let sections = if self.virtualbox.is_some() {
            0
        } else {
            section
        };
        let head_bytes = header + sections + headers * segment;
        let memory: u64 = ranges.iter().map(|range| range.1).sum();
        let (notes_at, memory_at) = if self.notes_last {
            (head_bytes as u64 + memory, head_bytes as u64)
        } else {
            (head_bytes as u64, (head_bytes + notes.len()) as u64)
        };
        let mut head = self.elf_header(headers, header + sections, header);
        if self.virtualbox.is_none() {
            let mut null = vec![0; section];
            let info = if self.narrow { 28 } else { 44 };
            put_u32(
                &mut null,
                info,
                if headers >= 0xffff { headers as u32 } else { 0 },
            );
            head.extend(null);
        }
        head.extend(self.segment(4, notes_at, 0, notes.len() as u64));
        let mut at = memory_at;
        let mut places = Vec::new();
        for &(gpa, bytes) in &ranges {
            head.extend(self.segment(1, at, gpa, bytes));
            places.push(at);
            at += bytes;
        }
        // The second names come last, and somewhere else in the file: whoever takes them reads other bytes.
        for n in 0..self.mappings as u64 {
            head.extend(self.segment(1, places[0] + 0x800, n % 0x80 * PAGE as u64, PAGE as u64));
        }
        assert_eq!(head.len(), head_bytes);
        out.write_all(&head)?;
        if !self.notes_last {
            out.write_all(&notes)?;
        }
        for &(gpa, bytes) in &ranges {
            self.write_range(out, gpa, bytes)?;
        }
        if self.notes_last {
            out.write_all(&notes)?;
        }
        out.flush()
    }

    /// The file in memory.
    ///
    /// # Panics
    ///
    /// Never: a vector takes everything.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        self.write_to(&mut file).unwrap();
        file
    }

    /// QEMU has the VGA hole inside the first block; VirtualBox leaves it out.
    fn ranges(&self) -> Vec<Range> {
        let page = PAGE as u64;
        let mut ranges: Vec<Range> = Vec::new();
        for &(first, count) in &self.guest.present {
            match ranges.last_mut() {
                Some(last)
                    if self.virtualbox.is_none()
                        && last.0 + last.1 == VGA_START * page
                        && first == VGA_END =>
                {
                    last.1 = (first + count) * page - last.0;
                }
                _ => ranges.push((first * page, count * page)),
            }
        }
        if self.has_rom() {
            ranges.push((ROM.0 * page, ROM.1 * page));
            ranges.sort_unstable();
        }
        for &cut in &self.cuts {
            let at = ranges
                .iter()
                .position(|range| range.0 < cut && cut < range.0 + range.1)
                .expect("a cut is inside the memory");
            let rest = (cut, ranges[at].0 + ranges[at].1 - cut);
            ranges[at].1 -= rest.1;
            ranges.insert(at + 1, rest);
        }
        ranges
    }

    fn write_range(&self, out: &mut impl Write, gpa: u64, bytes: u64) -> io::Result<()> {
        let page = PAGE as u64;
        let mut at = gpa;
        let mut buffer = vec![0; PAGE];
        while at < gpa + bytes {
            let pfn = at / page;
            if self.has_rom() && (ROM.0..ROM.0 + ROM.1).contains(&pfn) {
                buffer.fill(0xff);
            } else {
                self.guest.frames.read_frame(pfn, &mut buffer);
            }
            let end = ((pfn + 1) * page).min(gpa + bytes);
            let skipped = (at % page) as usize;
            out.write_all(&buffer[skipped..skipped + (end - at) as usize])?;
            at = end;
        }
        Ok(())
    }

    /// A PC's firmware is at the end of what 32 bits reach, where QEMU writes it as memory; ARM64's `virt` has it at 0.
    fn has_rom(&self) -> bool {
        !self.narrow && self.guest.expected.arch != Arch::Arm64
    }

    fn notes(&self) -> Vec<u8> {
        if let Some(format) = self.virtualbox {
            return core_notes::virtualbox(self.guest, format, self.cpu_notes);
        }
        let mut notes = core_notes::qemu(self.guest, self.cpu_notes, self.kernel_gs);
        if let Some(contents) = &self.vmcoreinfo {
            notes.extend(core_notes::note(b"VMCOREINFO", 0, contents));
        }
        notes
    }

    fn elf_header(&self, headers: usize, segments_at: usize, sections_at: usize) -> Vec<u8> {
        let machine = match self.guest.expected.arch {
            Arch::Arm64 => 183,
            Arch::X86 | Arch::X86Pae if self.virtualbox.is_none() => 3,
            _ => 62,
        };
        let class = if self.narrow { 1 } else { 2 };
        let (sections, sections_at) = if self.virtualbox.is_some() {
            (0, 0)
        } else {
            (1, sections_at)
        };
        let mut head = vec![0; if self.narrow { 0x34 } else { 0x40 }];
        put_bytes(&mut head, 0, &[0x7f, b'E', b'L', b'F', class, 1, 1]);
        put_u16(&mut head, 16, 4);
        put_u16(&mut head, 18, machine);
        put_u32(&mut head, 20, 1);
        let count = headers.min(0xffff) as u16;
        if self.narrow {
            put_u32(&mut head, 28, segments_at as u32);
            put_u32(&mut head, 32, sections_at as u32);
            for (offset, value) in [
                (40, 0x34),
                (42, 0x20),
                (44, count),
                (46, 0x28),
                (48, sections),
            ] {
                put_u16(&mut head, offset, value);
            }
        } else {
            put_u64(&mut head, 32, segments_at as u64);
            put_u64(&mut head, 40, sections_at as u64);
            // QEMU writes the size of a pointer there, and nobody minds.
            for (offset, value) in [(52, 8), (54, 0x38), (56, count), (58, 0x40), (60, sections)] {
                put_u16(&mut head, offset, value);
            }
        }
        head
    }

    fn segment(&self, kind: u32, offset: u64, gpa: u64, bytes: u64) -> Vec<u8> {
        if self.narrow {
            let mut segment = vec![0; 0x20];
            for (at, value) in [
                (0, u64::from(kind)),
                (4, offset),
                (8, gpa),
                (12, gpa),
                (16, bytes),
                (20, bytes),
            ] {
                put_u32(&mut segment, at, value as u32);
            }
            return segment;
        }
        let mut segment = vec![0; 0x38];
        put_u32(&mut segment, 0, kind);
        for (at, value) in [(8, offset), (16, gpa), (24, gpa), (32, bytes), (40, bytes)] {
            put_u64(&mut segment, at, value);
        }
        segment
    }
}
