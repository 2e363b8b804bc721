//! The images that code lies in: which one, its tables, and the nearest export.

use std::cell::OnceCell;
use std::sync::Arc;

use super::ended::Ended;
use super::memory::Memory;
use crate::address::Gva;
use crate::windows::modules::Module;
use crate::windows::pe::PeImage;

/// Exports of an image that are looked at; ordinals have 16 bits.
const MAX_EXPORTS: u32 = 1 << 16;
/// What is named where an image's first page cannot be read.
const HEADERS: &str = "the image's headers";

/// Where an instruction lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The image. Its names are guest text.
    pub module: Arc<Module>,
    /// From the image's base.
    pub rva: u32,
    /// Where its function starts, from the image's base, as far as unwind data says.
    pub function: Option<u32>,
    /// The last export at or before the instruction.
    pub export: Option<NearestExport>,
}

/// An export near an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestExport {
    /// Its name, escaped.
    pub name: String,
    /// Bytes from there to the instruction.
    pub offset: u32,
    /// Whether unwind data says that it is the instruction's own function. If not, it is a landmark only.
    pub is_function: bool,
}

/// The exports of an image by address.
#[derive(Debug, Default)]
struct Exports {
    /// Address, and the name's place in the table of names; ascending.
    sorted: Vec<(u32, u32)>,
    names: u32,
}

/// An image whose tables are read when they are needed.
#[derive(Debug)]
pub(super) struct Image {
    module: Arc<Module>,
    headers: OnceCell<Result<PeImage, Ended>>,
    exports: OnceCell<Exports>,
}

/// All images, by base.
#[derive(Debug, Default)]
pub(super) struct Images {
    sorted: Vec<Image>,
}

impl Images {
    pub(super) fn new(modules: impl IntoIterator<Item = Module>) -> Self {
        Self::default().with(modules)
    }

    pub(super) fn with(mut self, modules: impl IntoIterator<Item = Module>) -> Self {
        self.sorted.extend(modules.into_iter().map(|module| Image {
            module: Arc::new(module),
            headers: OnceCell::new(),
            exports: OnceCell::new(),
        }));
        self.sorted.sort_by_key(|image| image.module.base);
        self
    }

    /// The image that holds an address.
    pub(super) fn of(&self, gva: Gva) -> Option<&Image> {
        let after = self
            .sorted
            .partition_point(|image| image.module.base <= gva);
        let image = self.sorted.get(after.checked_sub(1)?)?;
        image.rva(gva).map(|_| image)
    }
}

impl Image {
    /// From the image's base, if it lies inside.
    pub(super) fn rva(&self, gva: Gva) -> Option<u32> {
        let offset = gva.get().checked_sub(self.module.base.get())?;
        let offset = u32::try_from(offset).ok()?;
        (offset < self.module.size).then_some(offset)
    }

    /// Offsets outside of the image are the caller's to notice: what is there is not the image's.
    pub(super) fn at(&self, rva: u32) -> Option<Gva> {
        (rva < self.module.size).then(|| self.module.base.saturating_add(u64::from(rva)))
    }

    fn headers(&self, memory: &Memory<'_, '_>) -> Result<&PeImage, Ended> {
        let headers = self.headers.get_or_init(|| {
            let gva = self.module.base;
            memory.bytes(gva, &mut [0; 0x1000], HEADERS)?;
            let what = HEADERS;
            PeImage::read(memory.space(), gva).ok_or(Ended::Corrupt { what, gva })
        });
        headers.as_ref().map_err(Clone::clone)
    }

    /// Address and number of the entries in the exception directory, each of this many bytes.
    ///
    /// # Errors
    /// If there is none, or it lies outside of the image.
    pub(super) fn table(
        &self,
        memory: &Memory<'_, '_>,
        entry_bytes: u32,
    ) -> Result<(Gva, u32), Ended> {
        let headers = self.headers(memory)?;
        let (rva, size) = headers.exception_range();
        if rva == 0 || size < entry_bytes {
            let module = self.module.name.clone();
            return Err(Ended::NoTable { module });
        }
        let inside = self.module.size.saturating_sub(rva).min(size);
        let what = "the exception directory in the headers";
        let gva = self.module.base;
        let table = self.at(rva).ok_or(Ended::Corrupt { what, gva })?;
        Ok((table, inside.checked_div(entry_bytes).unwrap_or(0)))
    }

    /// Whether the section that holds an offset is code, where the headers say so.
    pub(super) fn is_code(&self, memory: &Memory<'_, '_>, rva: u32) -> bool {
        let Ok(headers) = self.headers(memory) else {
            return true;
        };
        let inside = headers.sections.iter().find(|section| {
            let offset = rva.checked_sub(section.rva);
            offset.is_some_and(|offset| offset < section.size)
        });
        inside.is_some_and(|section| section.executable)
    }

    /// What is known of an address in the image.
    pub(super) fn place(&self, memory: &Memory<'_, '_>, ip: Gva, function: Option<u32>) -> Place {
        let rva = self.rva(ip).unwrap_or(0);
        Place {
            module: Arc::clone(&self.module),
            rva,
            function,
            export: self.nearest(memory, rva, function),
        }
    }

    fn nearest(
        &self,
        memory: &Memory<'_, '_>,
        rva: u32,
        function: Option<u32>,
    ) -> Option<NearestExport> {
        let exports = self
            .exports
            .get_or_init(|| self.read_exports(memory).unwrap_or_default());
        let after = exports.sorted.partition_point(|(start, _)| *start <= rva);
        let (start, index) = *exports.sorted.get(after.checked_sub(1)?)?;
        let slot = exports.names.checked_add(index.checked_mul(4)?)?;
        let name = memory.u32(self.at(slot)?, "an export's name").ok()?;
        Some(NearestExport {
            name: self.headers(memory).ok()?.text(memory.space(), name)?,
            offset: rva.checked_sub(start)?,
            is_function: function == Some(start),
        })
    }

    /// Address and name of every export that is not forwarded elsewhere; of several names the first.
    fn read_exports(&self, memory: &Memory<'_, '_>) -> Option<Exports> {
        let headers = self.headers(memory).ok()?;
        let (start, size) = headers.export_range();
        let tables = headers.export_tables(memory.space())?;
        let functions = self.array(memory, tables.functions, tables.function_count, 4)?;
        let ordinals = self.array(memory, tables.ordinals, tables.name_count, 2)?;
        let mut sorted: Vec<(u32, u32)> = ordinals
            .chunks_exact(2)
            .zip(0_u32..)
            .filter_map(|(ordinal, index)| {
                let [low, high] = *ordinal.first_chunk()?;
                let slot = usize::from(u16::from_le_bytes([low, high])).checked_mul(4)?;
                let rva = crate::format::u32_at(&functions, slot)?;
                let forwarded = rva.wrapping_sub(start) < size;
                (rva != 0 && !forwarded).then_some((rva, index))
            })
            .collect();
        sorted.sort_unstable();
        sorted.dedup_by_key(|(rva, _)| *rva);
        let names = tables.names;
        Some(Exports { sorted, names })
    }

    fn array(&self, memory: &Memory<'_, '_>, rva: u32, count: u32, width: u32) -> Option<Vec<u8>> {
        let bytes = count.min(MAX_EXPORTS).checked_mul(width)?;
        let mut array = vec![0; usize::try_from(bytes).ok()?];
        memory
            .bytes(self.at(rva)?, &mut array, "the exports")
            .ok()?;
        Some(array)
    }
}
