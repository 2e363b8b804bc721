//! The loaded modules: `PsLoadedModuleList`.

use super::fact::Fact;
use super::lists;
use super::pdb::PdbId;
use super::pe::PeImage;
use crate::address::Gva;
use crate::format::nt::Layout;
use crate::paging::AddressSpace;

/// Modules that are listed; busy systems have 250.
const MAX_MODULES: usize = 4096;
/// Bytes of a name that are read.
const MAX_NAME_BYTES: u16 = 1024;

/// A module of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its file's name. Guest text: escape it before it reaches a terminal.
    pub name: String,
    /// Its file's path. Guest text: escape it before it reaches a terminal.
    pub path: String,
    /// Where it is mapped.
    pub base: Gva,
    /// Bytes that it takes.
    pub size: u32,
    /// The time stamp of its PE header, where that page is present.
    pub timestamp: Option<u32>,
    /// Its PDB, where the debug directory is present.
    pub pdb: Option<PdbId>,
}

impl Module {
    /// A module of which nothing is known except its name and its place.
    #[must_use]
    pub const fn new(name: String, base: Gva, size: u32) -> Self {
        Self {
            name,
            path: String::new(),
            base,
            size,
            timestamp: None,
            pdb: None,
        }
    }
}

/// The modules, and why the list ended early.
pub(super) fn read(space: &AddressSpace<'_>, head: &Fact<Gva>) -> (Vec<Module>, Option<String>) {
    let layout = Layout::of(space.mode().is_64bit());
    let walk = lists::walk(space, head.value, MAX_MODULES);
    let mut broken = walk.broken;
    let mut modules = Vec::new();
    for entry in walk.entries {
        match module(space, layout, entry) {
            Some(module) => modules.push(module),
            None => {
                broken.get_or_insert_with(|| format!("the entry at {entry} cannot be read"));
            }
        }
    }
    let broken = broken.map(|why| format!("the module list is broken: {why}"));
    (modules, broken)
}

fn module(space: &AddressSpace<'_>, layout: &Layout, entry: Gva) -> Option<Module> {
    let field = |offset: usize| entry.checked_add(offset as u64);
    let base = space.pointer(field(layout.module_base)?).ok()?;
    let image = PeImage::read(space, base);
    Some(Module {
        name: unicode_string(space, layout, field(layout.module_base_name)?).unwrap_or_default(),
        path: unicode_string(space, layout, field(layout.module_full_name)?).unwrap_or_default(),
        base,
        size: space.u32(field(layout.module_size)?).ok()?,
        timestamp: image.as_ref().map(|image| image.timestamp),
        pdb: image.and_then(|image| image.pdb(space)),
    })
}

/// The text of a `UNICODE_STRING`; what is not UTF-16 becomes U+FFFD.
fn unicode_string(space: &AddressSpace<'_>, layout: &Layout, gva: Gva) -> Option<String> {
    let bytes = space.u16(gva).ok()?.min(MAX_NAME_BYTES);
    let buffer = space
        .pointer(gva.checked_add(layout.string_buffer as u64)?)
        .ok()?;
    let raw = space.bytes(buffer, usize::from(bytes)).ok()?;
    let (pairs, _) = raw.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    Some(
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}
