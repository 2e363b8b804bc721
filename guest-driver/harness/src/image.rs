//! A PE image as far as a driver has one, by the PE format's public description.

/// What a driver's image is made of.
#[derive(Debug)]
pub struct Image {
    /// The file.
    pub bytes: Vec<u8>,
    /// `IMAGE_FILE_MACHINE_*`.
    pub machine: u16,
    /// `IMAGE_FILE_*`.
    pub characteristics: u16,
    /// `IMAGE_DLLCHARACTERISTICS_*`.
    pub dll_characteristics: u16,
    /// 1 for native.
    pub subsystem: u16,
    /// Major and minor.
    pub subsystem_version: (u16, u16),
    /// What the header says.
    pub checksum: u32,
    /// Where it would like to be.
    pub base: u64,
    /// Bytes when it is mapped.
    pub size: u32,
    /// Where it begins, from the base.
    pub entry: u32,
    /// Its sections.
    pub sections: Vec<Section>,
    /// What it imports.
    pub imports: Vec<Import>,
    /// Where addresses are that move with the base: offset and bytes.
    pub relocations: Vec<(u32, u32)>,
}

/// A section.
#[derive(Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// From the base.
    pub at: u32,
    /// Bytes when it is mapped.
    pub size: u32,
    /// Bytes in the file.
    pub data: Vec<u8>,
    /// `IMAGE_SCN_*`.
    pub flags: u32,
}

/// An imported function.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// Of which image.
    pub library: String,
    /// Its name.
    pub name: String,
    /// Where its address goes, from the base.
    pub slot: u32,
}

impl Section {
    /// Whether it can be executed, whether it can be written.
    #[must_use]
    pub fn rights(&self) -> (bool, bool) {
        (self.flags & 0x2000_0000 != 0, self.flags & 0x8000_0000 != 0)
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    fn text(&self, at: usize) -> Option<String> {
        let bytes = self.0.get(at..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    }
}

impl Image {
    /// Reads an image; `None` if it is none.
    #[must_use]
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        let file = Reader(&bytes);
        let header = file.u32(0x3c)? as usize;
        if file.u32(header)? != 0x4550 {
            return None;
        }
        let (machine, count) = (file.u16(header + 4)?, file.u16(header + 6)?);
        let optional = header + 24;
        let wide = file.u16(optional)? == 0x20b;
        let directories = optional + if wide { 112 } else { 96 };
        let directory = |n: usize| {
            Some((
                file.u32(directories + n * 8)? as usize,
                file.u32(directories + n * 8 + 4)? as usize,
            ))
        };
        let table = optional + usize::from(file.u16(header + 20)?);
        let sections: Vec<Section> = (0..usize::from(count))
            .map(|n| section(&file, table + n * 40))
            .collect::<Option<_>>()?;
        let size = file.u32(optional + 56)?;
        let mut mapped = vec![0; size as usize];
        for section in &sections {
            let at = section.at as usize;
            mapped
                .get_mut(at..at + section.data.len())?
                .copy_from_slice(&section.data);
        }
        let mapped = Reader(&mapped);
        let imports = imports(&mapped, directory(1)?.0, wide)?;
        let relocations = relocations(&mapped, directory(5)?)?;
        Some(Self {
            machine,
            characteristics: file.u16(header + 22)?,
            dll_characteristics: file.u16(optional + 70)?,
            subsystem: file.u16(optional + 68)?,
            subsystem_version: (file.u16(optional + 48)?, file.u16(optional + 50)?),
            checksum: file.u32(optional + 64)?,
            base: if wide {
                file.u64(optional + 24)?
            } else {
                file.u32(optional + 28)?.into()
            },
            size,
            entry: file.u32(optional + 16)?,
            sections,
            imports,
            relocations,
            bytes,
        })
    }
}

fn section(file: &Reader<'_>, at: usize) -> Option<Section> {
    let name: [u8; 8] = file.bytes(at)?;
    let (size, start, raw, data) = (
        file.u32(at + 8)?,
        file.u32(at + 12)?,
        file.u32(at + 16)? as usize,
        file.u32(at + 20)? as usize,
    );
    Some(Section {
        name: String::from_utf8_lossy(&name)
            .trim_end_matches('\0')
            .to_owned(),
        at: start,
        size,
        // What the file has beyond the section is padding.
        data: file.0.get(data..data + raw.min(size as usize))?.to_vec(),
        flags: file.u32(at + 36)?,
    })
}

fn imports(mapped: &Reader<'_>, table: usize, wide: bool) -> Option<Vec<Import>> {
    let mut imports = Vec::new();
    for descriptor in (table..).step_by(20) {
        let (names, library, slots) = (
            mapped.u32(descriptor)? as usize,
            mapped.u32(descriptor + 12)? as usize,
            mapped.u32(descriptor + 16)?,
        );
        if library == 0 {
            return Some(imports);
        }
        let library = mapped.text(library)?;
        let step = if wide { 8 } else { 4 };
        for n in 0.. {
            let name = if wide {
                mapped.u64(names + n * step)?
            } else {
                mapped.u32(names + n * step)?.into()
            };
            if name == 0 {
                break;
            }
            imports.push(Import {
                library: library.clone(),
                name: mapped.text(usize::try_from(name).ok()? + 2)?,
                slot: slots + u32::try_from(n * step).ok()?,
            });
        }
    }
    None
}

fn relocations(mapped: &Reader<'_>, (table, bytes): (usize, usize)) -> Option<Vec<(u32, u32)>> {
    let mut relocations = Vec::new();
    let mut at = table;
    while at < table + bytes {
        let (page, size) = (mapped.u32(at)?, mapped.u32(at + 4)? as usize);
        for entry in (at + 8..at + size).step_by(2) {
            let entry = mapped.u16(entry)?;
            let place = page + u32::from(entry & 0xfff);
            match entry >> 12 {
                0 => {}
                3 => relocations.push((place, 4)),
                10 => relocations.push((place, 8)),
                _ => return None,
            }
        }
        at += size.max(8);
    }
    Some(relocations)
}
