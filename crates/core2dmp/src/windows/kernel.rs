//! The kernel's image: where it is, and which one it is.
//!
//! ```text
//! an address inside it (IDT handler, RIP)  --down, page by page-->  MZ, named ntoskrnl.exe or ntkrnlmp.pdb
//! none                                     --everything that the kernel's half maps-->  MZ ...
//! ```

use std::ops::ControlFlow;

use super::dtb::EntryHint;
use super::fact::Source;
use super::pdb::PdbId;
use super::pe::PeImage;
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE};
use crate::format::nt;
use crate::paging::{AddressSpace, PagingMode, ScanBudget};

/// How far below a hint its image may start: the largest kernel so far has 24 MiB.
pub(super) const MAX_IMAGE: u64 = 32 << 20;

/// Where kernels are mapped on x64 and ARM64, both ends included: no system has placed one elsewhere.
const RANGE64: (u64, u64) = (0xffff_f800_0000_0000, 0xffff_f8ff_ffff_ffff);
/// On x86: above 2 or 3 GiB.
const RANGE32: (u64, u64) = (0x8000_0000, 0xffff_ffff);

/// Names of the kernel's PDB, without ".pdb"; the last is that of five-level paging.
const PDB_NAMES: [&str; 5] = ["ntkrnlmp", "ntoskrnl", "ntkrnlpa", "ntkrpamp", "ntkrla57"];

/// The kernel's image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KernelImage {
    /// Its headers.
    pub image: PeImage,
    /// The name in its export directory.
    pub name: Option<String>,
    /// Its PDB.
    pub pdb: Option<PdbId>,
    /// How it was found.
    pub source: Source,
}

/// The kernel below one of the hints.
pub(super) fn by_hints(space: &AddressSpace<'_>, hints: &[EntryHint]) -> Option<KernelImage> {
    hints.iter().find_map(|hint| below(space, hint))
}

fn below(space: &AddressSpace<'_>, hint: &EntryHint) -> Option<KernelImage> {
    let source = Source::Below {
        gva: hint.gva,
        what: hint.what,
    };
    let start = hint.gva.page_start();
    (0..MAX_IMAGE / PAGE_SIZE).find_map(|page| {
        let base = start.checked_sub(page.saturating_mul(PAGE_SIZE))?;
        let kernel = kernel_at(space, base, &source)?;
        // An image that ends before the hint is somebody else's.
        kernel.image.contains(hint.gva).then_some(kernel)
    })
}

/// Where this system may have its kernel, both ends included.
pub(super) const fn range(mode: PagingMode) -> (Gva, Gva) {
    let (first, last) = if mode.is_64bit() { RANGE64 } else { RANGE32 };
    (Gva::new(first), Gva::new(last))
}

/// The kernel among everything that the kernel's half maps.
pub(super) fn search(space: &AddressSpace<'_>, budget: &mut ScanBudget) -> Option<KernelImage> {
    let (first, last) = range(space.mode());
    let mut found = None;
    space.scan_within(first, last, budget, |gva, block| {
        for (page, bytes) in block.chunks(PAGE_BYTES).enumerate() {
            if bytes.starts_with(b"MZ") {
                let base = gva.saturating_add((page as u64).saturating_mul(PAGE_SIZE));
                found = kernel_at(space, base, &Source::KernelRange);
                if found.is_some() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    });
    found
}

fn kernel_at(space: &AddressSpace<'_>, base: Gva, source: &Source) -> Option<KernelImage> {
    if space.u16(base).ok()? != u16::from_le_bytes(*b"MZ") {
        return None;
    }
    let image = PeImage::read(space, base)?;
    if u32::from(image.machine) != machine(space.mode()) {
        return None;
    }
    let name = image.export_name(space);
    let pdb = image.pdb(space);
    let named = name
        .as_deref()
        .is_some_and(|name| name.eq_ignore_ascii_case("ntoskrnl.exe"));
    let listed = pdb.as_ref().is_some_and(is_kernels_pdb);
    (named || listed).then(|| KernelImage {
        image,
        name,
        pdb,
        source: source.clone(),
    })
}

/// Whether a PDB is one of the kernel's, by its name.
pub(super) fn is_kernels_pdb(pdb: &PdbId) -> bool {
    let name = pdb.name.to_ascii_lowercase();
    let file = name.rsplit('\\').next().unwrap_or_default();
    PDB_NAMES
        .iter()
        .any(|known| file.strip_suffix(".pdb") == Some(known))
}

/// Whether a `KLDR_DATA_TABLE_ENTRY` of the kernel itself is here: its base and its size.
pub(super) fn is_kernels_entry(space: &AddressSpace<'_>, kernel: &KernelImage, entry: Gva) -> bool {
    let layout = nt::Layout::of(space.mode().is_64bit());
    let base = entry.saturating_add(layout.module_base as u64);
    let size = entry.saturating_add(layout.module_size as u64);
    let has_size = |size: u32| {
        // The size is in the header, which may be missing: then it has some size.
        size == kernel.image.size
            || (kernel.image.is_without_header() && (1..=kernel.image.size).contains(&size))
    };
    space.pointer(base).ok() == Some(kernel.image.base) && space.u32(size).is_ok_and(has_size)
}

/// `MachineImageType` of a paging mode.
pub(super) const fn machine(mode: PagingMode) -> u32 {
    use crate::format::dump_values::{MACHINE_ARM64, MACHINE_X64, MACHINE_X86};
    match mode {
        PagingMode::X86 | PagingMode::X86Pae => MACHINE_X86,
        PagingMode::X64 | PagingMode::X64La57 => MACHINE_X64,
        PagingMode::Arm64 => MACHINE_ARM64,
    }
}
