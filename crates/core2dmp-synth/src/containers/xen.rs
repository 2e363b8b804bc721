//! The guest as `xl dump-core` of Xen 4.17 writes it.
//!
//! ```text
//! Elf64_Ehdr | section headers | .note.Xen | .xen_prstatus | [.xen_shared_info] | zeros to 4096 |
//! .xen_pages | .xen_pfn (HVM) or .xen_p2m (PV) | .shstrtab
//! ```
//!
//! References: docs/misc/dump-core-format.txt and tools/libs/guest/xg_core.c of Xen; sizes and constants as in cores
//! of Xen 4.17.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::containers::xen_vcpu;
use crate::windows::guest::Guest;
use crate::windows::memory::PAGE;

/// Bytes of `.note.Xen`.
const NOTES: usize = 0x568;
/// What a padding entry of `.xen_pfn` says.
const NO_PFN: u64 = u64::MAX;
/// Option ROM frames that QEMU's device model leaves right above the guest's memory.
const OPTION_ROM_FRAMES: u64 = 16;
/// Frames that are moved at a time.
const BATCH: usize = 256;
/// Bytes of the frame table that are written at a time.
const TABLE_PIECE: usize = 1 << 20;

/// Builds a Xen dump-core file.
#[derive(Clone, Debug)]
pub struct XenCore<'a> {
    guest: &'a Guest,
    pv: bool,
    shared_info: bool,
    padding: u64,
    prstatus_32bit: bool,
    extra_frames: bool,
    sparse: bool,
}

/// A section: name, type, offset, size, alignment, entry size.
struct Section(&'static str, u32, u64, u64, u64, u64);

/// Where everything lies in the file.
struct Plan {
    sections: Vec<Section>,
    /// First frame and count, with those of the option ROM: a terabyte's frames would not fit.
    runs: Vec<(u64, u64)>,
    pages: u64,
}

impl Guest {
    /// The guest as `xl dump-core` writes it.
    #[must_use]
    pub fn xen_core(&self) -> XenCore<'_> {
        XenCore::new(self)
    }
}

impl<'a> XenCore<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            pv: false,
            shared_info: true,
            padding: 16,
            prstatus_32bit: false,
            extra_frames: true,
            sparse: false,
        }
    }

    /// Writes a paravirtual guest's core: `.xen_p2m` with machine frames, other magic, no padding.
    #[must_use]
    pub fn pv(mut self) -> Self {
        self.pv = true;
        self.padding = 0;
        self.extra_frames = false;
        self
    }

    /// Leaves `.xen_shared_info` out, as of a guest that never ran.
    #[must_use]
    pub fn without_shared_info(mut self) -> Self {
        self.shared_info = false;
        self
    }

    /// How many padding entries end the frame table (default 16, PV 0).
    #[must_use]
    pub fn padding(mut self, entries: u64) -> Self {
        self.padding = entries;
        self
    }

    /// Writes vCPU contexts as a 32-bit tool stack does: 2800 bytes each.
    #[must_use]
    pub fn prstatus_32bit(mut self) -> Self {
        self.prstatus_32bit = true;
        self
    }

    /// Whether option ROM frames lie above the guest's memory (default true, PV false).
    #[must_use]
    pub fn extra_frames(mut self, present: bool) -> Self {
        self.extra_frames = present;
        self
    }

    /// Whether zero frames become holes in the file (default false: real cores are dense).
    #[must_use]
    pub fn sparse(mut self, sparse: bool) -> Self {
        self.sparse = sparse;
        self
    }

    /// Writes the core to a new file, replacing an old one.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut file = File::create(path)?;
        self.write_to(&mut file)
    }

    /// Writes the core.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        let plan = self.plan();
        let pages_at = plan.section(".xen_pages").2;
        let mut head = self.head(&plan);
        head.resize(pages_at as usize, 0);
        out.write_all(&head)?;
        self.write_pages(out, &plan)?;
        self.write_table(out, &plan)?;
        out.write_all(&names(&plan.sections))?;
        out.flush()
    }

    fn plan(&self) -> Plan {
        let mut runs = self.guest.present.clone();
        if self.extra_frames {
            let end = runs.last().map_or(0, |run| run.0 + run.1);
            runs.push((end, OPTION_ROM_FRAMES));
        }
        let pages = runs.iter().map(|run| run.1).sum::<u64>() + self.padding;
        let entry = self.prstatus_entry();
        let (table, table_entry) = if self.pv {
            (".xen_p2m", 16)
        } else {
            (".xen_pfn", 8)
        };
        let count = if self.shared_info { 7 } else { 6 };
        let mut at = 0x40 + count * 0x40;
        let mut sections = vec![
            Section("", 0, 0, 0, 0, 0),
            Section(".shstrtab", 3, 0, 0, 0, 0),
        ];
        let mut add = |name, kind, size: u64, align, entry| {
            sections.push(Section(name, kind, at, size, align, entry));
            at += size;
            if name == ".xen_shared_info" || name == ".xen_prstatus" && !self.shared_info {
                at = at.next_multiple_of(PAGE as u64);
            }
        };
        add(".note.Xen", 7, NOTES as u64, 0, 0);
        add(
            ".xen_prstatus",
            1,
            entry * self.guest.vcpus.len() as u64,
            8,
            entry,
        );
        if self.shared_info {
            add(".xen_shared_info", 1, PAGE as u64, 8, PAGE as u64);
        }
        add(
            ".xen_pages",
            1,
            pages * PAGE as u64,
            PAGE as u64,
            PAGE as u64,
        );
        add(table, 1, pages * table_entry, 8, table_entry);
        let length = names(&sections).len() as u64;
        (sections[1].2, sections[1].3) = (at, length);
        Plan {
            sections,
            runs,
            pages,
        }
    }

    fn prstatus_entry(&self) -> u64 {
        if self.prstatus_32bit { 2800 } else { 5168 }
    }

    /// Everything before the pages.
    fn head(&self, plan: &Plan) -> Vec<u8> {
        let mut head = vec![0; 0x40];
        put_bytes(&mut head, 0, b"\x7fELF\x02\x01\x01\x00\x01");
        put_u16(&mut head, 16, 4);
        put_u16(&mut head, 18, 62);
        put_u32(&mut head, 20, 1);
        put_u64(&mut head, 40, 0x40);
        for (offset, value) in [
            (52, 64),
            (54, 56),
            (58, 64),
            (60, plan.sections.len() as u16),
            (62, 1),
        ] {
            put_u16(&mut head, offset, value);
        }
        let text = names(&plan.sections);
        for section in &plan.sections {
            let mut header = vec![0; 0x40];
            put_u32(&mut header, 0, name_offset(&text, section.0));
            put_u32(&mut header, 4, section.1);
            for (offset, value) in [
                (24, section.2),
                (32, section.3),
                (48, section.4),
                (56, section.5),
            ] {
                put_u64(&mut header, offset, value);
            }
            head.extend_from_slice(&header);
        }
        head.extend_from_slice(&self.notes(plan));
        for vcpu in &self.guest.vcpus {
            head.extend_from_slice(&xen_vcpu::context(vcpu, self.prstatus_32bit, self.pv));
        }
        head
    }

    fn notes(&self, plan: &Plan) -> Vec<u8> {
        let mut notes = vec![0; NOTES];
        for (at, kind, size) in [
            (0, 0x0200_0000, 0),
            (0x10, 0x0200_0001, 0x20),
            (0x40, 0x0200_0002, 0x500),
            (0x550, 0x0200_0003, 8),
        ] {
            put_u32(&mut notes, at, 4);
            put_u32(&mut notes, at + 4, size);
            put_u32(&mut notes, at + 8, kind);
            put_bytes(&mut notes, at + 12, b"Xen\0");
        }
        put_u64(
            &mut notes,
            0x20,
            if self.pv { 0xf00f_ebed } else { 0xf00f_ebee },
        );
        put_u64(&mut notes, 0x28, self.guest.vcpus.len() as u64);
        put_u64(&mut notes, 0x30, plan.pages);
        put_u64(&mut notes, 0x38, PAGE as u64);
        put_u64(&mut notes, 0x50, 4);
        put_u64(&mut notes, 0x58, 17);
        put_bytes(&mut notes, 0x60, b".7");
        put_bytes(&mut notes, 0x70, b"a synthetic guest, not a compiler");
        put_bytes(
            &mut notes,
            0x70 + 0x90,
            b"xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
        );
        put_u64(&mut notes, 0x540, 0xffff_8000_0000_0000);
        put_u64(&mut notes, 0x548, PAGE as u64);
        put_u64(&mut notes, 0x560, 1);
        notes
    }

    fn write_pages(&self, out: &mut (impl Write + Seek), plan: &Plan) -> io::Result<()> {
        let mut buffer = vec![0; BATCH * PAGE];
        for &(first, count) in &self.guest.present {
            for start in (first..first + count).step_by(BATCH) {
                let frames = start..(start + BATCH as u64).min(first + count);
                let bytes = &mut buffer[..(frames.end - frames.start) as usize * PAGE];
                if self.sparse && !self.guest.frames.any_data(frames.clone()) {
                    out.seek(SeekFrom::Current(bytes.len() as i64))?;
                    continue;
                }
                let pages = frames.zip(bytes.chunks_exact_mut(PAGE));
                let data: Vec<bool> = pages
                    .map(|(pfn, page)| self.guest.frames.read_frame(pfn, page) || !self.sparse)
                    .collect();
                let mut done = 0;
                for alike in data.chunk_by(|one, next| one == next) {
                    let stretch = &bytes[done..done + alike.len() * PAGE];
                    done += stretch.len();
                    if alike[0] {
                        out.write_all(stretch)?;
                    } else {
                        out.seek(SeekFrom::Current(stretch.len() as i64))?;
                    }
                }
            }
        }
        let present = self.guest.frame_count();
        out.write_all(&vec![0; (plan.pages - present) as usize * PAGE])
    }

    fn write_table(&self, out: &mut impl Write, plan: &Plan) -> io::Result<()> {
        let mut table = Vec::new();
        let pfns = plan
            .runs
            .iter()
            .flat_map(|&(first, count)| first..first + count);
        for (i, pfn) in (0_u64..).zip(pfns.chain((0..self.padding).map(|_| NO_PFN))) {
            table.extend_from_slice(&pfn.to_le_bytes());
            if self.pv {
                table.extend_from_slice(&machine_frame(i).to_le_bytes());
            }
            if table.len() >= TABLE_PIECE {
                out.write_all(&table)?;
                table.clear();
            }
        }
        out.write_all(&table)
    }
}

impl Plan {
    fn section(&self, name: &str) -> &Section {
        self.sections
            .iter()
            .find(|section| section.0 == name)
            .unwrap()
    }
}

/// A machine frame for a PV guest's table: somewhere else, and in another order.
fn machine_frame(index: u64) -> u64 {
    0x42_0000 + (index ^ 0x1d)
}

/// The section name table.
fn names(sections: &[Section]) -> Vec<u8> {
    sections
        .iter()
        .flat_map(|section| section.0.bytes().chain([0]))
        .collect()
}

/// Where in the table a name is.
fn name_offset(table: &[u8], name: &str) -> u32 {
    let wanted: Vec<u8> = name.bytes().chain([0]).collect();
    table
        .windows(wanted.len())
        .position(|window| window == wanted)
        .unwrap_or(0) as u32
}
