//! A Xen core, read by the tests' own offsets.
//!
//! Reference: dump-core-format.txt of Xen.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bytes::{u16_at, u32_at, u64_at};

/// The frames of an HVM core.
pub(crate) struct CoreFile {
    file: File,
    /// File offset of each frame.
    frames: BTreeMap<u64, u64>,
}

impl CoreFile {
    pub(crate) fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let read = |offset: u64, bytes: u64| {
            let mut buffer = vec![0; bytes as usize];
            file.read_exact_at(&mut buffer, offset).unwrap();
            buffer
        };
        let header = read(0, 0x40);
        let count = u64::from(u16_at(&header, 0x3c));
        let names_index = usize::from(u16_at(&header, 0x3e));
        let table = read(u64_at(&header, 0x28), count * 0x40);
        let sections: Vec<&[u8]> = table.chunks_exact(0x40).collect();
        let place = |section: &[u8]| (u64_at(section, 0x18), u64_at(section, 0x20));
        let (offset, bytes) = place(sections[names_index]);
        let names = read(offset, bytes);
        let section = |name: &str| {
            let is_it = |section: &&&[u8]| {
                let text = &names[u32_at(section, 0) as usize..];
                text.starts_with(name.as_bytes()) && text[name.len()] == 0
            };
            place(sections.iter().find(is_it).unwrap())
        };
        let (pages, _) = section(".xen_pages");
        let (offset, bytes) = section(".xen_pfn");
        let frames = (pages..)
            .step_by(0x1000)
            .zip(read(offset, bytes).chunks_exact(8))
            .map(|(offset, pfn)| (u64_at(pfn, 0), offset))
            .filter(|(pfn, _)| *pfn != u64::MAX)
            .collect();
        Self { file, frames }
    }

    /// The contents of a frame, `None` if the core lacks it.
    pub(crate) fn page(&self, pfn: u64) -> Option<[u8; 0x1000]> {
        let offset = self.frames.get(&pfn)?;
        let mut page = [0; 0x1000];
        self.file.read_exact_at(&mut page, *offset).unwrap();
        Some(page)
    }
}
