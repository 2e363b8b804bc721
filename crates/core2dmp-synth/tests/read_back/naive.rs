//! Ten-line readers of what the crate writes, by other means than it writes it: a container on disk is all they see.

use std::collections::BTreeMap;
use std::io::Cursor;

use core2dmp_synth::{Arch, XenCore};

/// A core file, its sections by name and its frames by number.
pub struct Core {
    pub bytes: Vec<u8>,
    pub sections: BTreeMap<String, (usize, usize, u64)>,
    pub frames: BTreeMap<u64, usize>,
    pub padding: usize,
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Core {
    pub fn of(core: &XenCore<'_>) -> Self {
        let mut file = Cursor::new(Vec::new());
        core.write_to(&mut file).unwrap();
        Self::parse(file.into_inner())
    }

    fn parse(bytes: Vec<u8>) -> Self {
        let (table, count, names) = (
            0x40,
            usize::from(u16_at(&bytes, 60)),
            usize::from(u16_at(&bytes, 62)),
        );
        assert_eq!(
            (&bytes[..4], u64_at(&bytes, 40)),
            (&b"\x7fELF"[..], table as u64)
        );
        let field = |i: usize, at: usize| u64_at(&bytes, table + i * 64 + at);
        let mut sections = BTreeMap::new();
        for i in 1..count {
            let name =
                &bytes[field(names, 24) as usize + u32_at(&bytes, table + i * 64) as usize..];
            let end = name.iter().position(|&byte| byte == 0).unwrap();
            let name = String::from_utf8(name[..end].to_vec()).unwrap();
            sections.insert(
                name,
                (field(i, 24) as usize, field(i, 32) as usize, field(i, 56)),
            );
        }
        let (start, size, entry) = sections
            .get(".xen_pfn")
            .or_else(|| sections.get(".xen_p2m"))
            .copied()
            .unwrap();
        let pages = sections[".xen_pages"].0;
        let pfns: Vec<u64> = (0..size / entry as usize)
            .map(|i| u64_at(&bytes, start + i * entry as usize))
            .collect();
        let known = pfns.iter().take_while(|&&pfn| pfn != u64::MAX).count();
        let frames = pfns[..known]
            .iter()
            .enumerate()
            .map(|(i, &pfn)| (pfn, pages + i * 4096))
            .collect();
        Self {
            padding: pfns.len() - known,
            frames,
            sections,
            bytes,
        }
    }

    pub fn page(&self, pfn: u64) -> Option<&[u8]> {
        self.frames.get(&pfn).map(|&at| &self.bytes[at..at + 4096])
    }

    /// The entry of a vCPU.
    pub fn vcpu(&self, index: usize) -> &[u8] {
        let (start, _, entry) = self.sections[".xen_prstatus"];
        &self.bytes[start + index * entry as usize..][..entry as usize]
    }

    pub fn physical(&self, gpa: u64, bytes: usize) -> Option<Vec<u8>> {
        (gpa..gpa + bytes as u64)
            .map(|at| Some(self.page(at >> 12)?[at as usize & 0xfff]))
            .collect()
    }
}

/// A core seen through a root of page tables.
pub struct Virtual<'a> {
    pub core: &'a Core,
    pub arch: Arch,
    pub root: u64,
}

impl Virtual<'_> {
    pub fn translate(&self, va: u64) -> Option<u64> {
        let entry = |table: u64, index: u64, width: u64| -> Option<u64> {
            let mut bytes = self.core.physical(table + index * width, width as usize)?;
            bytes.resize(8, 0);
            let value = u64_at(&bytes, 0);
            let used = match self.arch {
                Arch::Arm64 => 0x0000_ffff_ffff_ffff,
                _ => 0x000f_ffff_ffff_ffff,
            };
            (value & 1 == 1).then_some(value & used)
        };
        let (top, width, bits) = match self.arch {
            Arch::X64La57 => (48, 8, 9),
            Arch::X64 | Arch::Arm64 => (39, 8, 9),
            Arch::X86Pae => (30, 8, 9),
            Arch::X86 => (22, 4, 10),
        };
        let (mut table, mut shift) = (
            self.root
                & if self.arch == Arch::X86Pae {
                    !0x1f
                } else {
                    !0xfff
                },
            top,
        );
        loop {
            let va = if width == 8 && self.arch != Arch::X86Pae {
                va
            } else {
                va & 0xffff_ffff
            };
            let value = entry(table, va >> shift & ((1 << bits) - 1), width)?;
            let root_of_pae = self.arch == Arch::X86Pae && shift == 30;
            let large = match self.arch {
                Arch::Arm64 => value & 2 == 0,
                _ => value & 0x80 != 0 && !root_of_pae,
            };
            if shift == 12 || large {
                return Some(value & !((1u64 << shift) - 1) | va & ((1 << shift) - 1));
            }
            table = value & !0xfff;
            shift -= bits;
        }
    }

    pub fn read(&self, va: u64, bytes: usize) -> Option<Vec<u8>> {
        (va..va + bytes as u64)
            .map(|at| Some(self.core.physical(self.translate(at)?, 1)?[0]))
            .collect()
    }

    pub fn pointer(&self, va: u64) -> u64 {
        let mut bytes = self
            .read(va, if self.arch.is_64() { 8 } else { 4 })
            .unwrap();
        bytes.resize(8, 0);
        u64_at(&bytes, 0)
    }

    pub fn u32(&self, va: u64) -> u32 {
        u32_at(&self.read(va, 4).unwrap(), 0)
    }

    pub fn unicode(&self, va: u64) -> String {
        let width = if self.arch.is_64() { 8 } else { 4 };
        let length = usize::from(u16_at(&self.read(va, 2).unwrap(), 0));
        let text = self.read(self.pointer(va + width), length).unwrap();
        String::from_utf16(
            &text
                .chunks(2)
                .map(|pair| u16_at(pair, 0))
                .collect::<Vec<_>>(),
        )
        .unwrap()
    }

    /// The entries of a list, by the addresses of their links.
    pub fn list(&self, head: u64) -> Vec<u64> {
        let mut entries = Vec::new();
        let mut at = self.pointer(head);
        while at != head {
            entries.push(at);
            at = self.pointer(at);
        }
        entries
    }
}
