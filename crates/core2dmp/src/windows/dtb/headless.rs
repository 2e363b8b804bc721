//! A kernel whose header page is missing, or zeros: known by its export directory.
//!
//! ```text
//! "ntoskrnl.exe" at S   <-- Name (+0x0c)  export directory at D   AddressOfFunctions (+0x1c), Names, NameOrdinals
//! base = S - Name; D, the three tables and the text lie behind it, in the image
//! ```
//!
//! The directory, its tables and the names are one piece of the image (linkers put them so), another page than the
//! headers'. The addresses in it count from the base, so that it proves the base.
//!
//! Source: Microsoft, PE format, "The Edata Section (Image Only)".

use std::ops::ControlFlow;

use super::hints::EntryHint;
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE};
use crate::format::u32_at;
use crate::paging::{AddressSpace, ScanBudget};
use crate::windows::fact::Source;
use crate::windows::kernel::{self, KernelImage, MAX_IMAGE};
use crate::windows::pe::PeImage;

/// The kernel's name, as its exports have it.
const NAME: &[u8] = b"ntoskrnl.exe\0";
/// Bytes of a directory.
const DIRECTORY_BYTES: usize = 40;
/// Bytes before the name in which its directory stands: three tables of 4,000 entries come between.
const MOST_BEFORE: u64 = 256 << 10;
/// Names that are functions at least: the kernel of NT 3.1 exports more.
const LEAST_NAMES: u32 = 4;
/// Names of an export directory at most.
const MOST_NAMES: u32 = 1 << 16;
/// Places of the name that are looked at.
const MAX_NAMES_SEEN: usize = 64;

/// Finds the kernel near the hints, or in everything that the kernel's half maps.
pub(super) fn find(
    space: &AddressSpace<'_>,
    hints: &[EntryHint],
    budget: &mut ScanBudget,
) -> Option<KernelImage> {
    let near = hints.iter().find_map(|hint| {
        let first = Gva::new(hint.gva.page_start().get().saturating_sub(MAX_IMAGE));
        within(space, first, hint.gva.saturating_add(MAX_IMAGE), budget)
    });
    near.or_else(|| {
        let (first, last) = kernel::range(space.mode());
        within(space, first, last, budget)
    })
}

fn within(
    space: &AddressSpace<'_>,
    first: Gva,
    last: Gva,
    budget: &mut ScanBudget,
) -> Option<KernelImage> {
    let finder = memchr::memmem::Finder::new(NAME);
    let mut seen = 0_usize;
    let mut found = None;
    space.scan_within(first, last, budget, |gva, bytes| {
        for at in finder.find_iter(bytes) {
            found = named(space, gva.saturating_add(at as u64));
            seen = seen.saturating_add(1);
            if found.is_some() || seen >= MAX_NAMES_SEEN {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// The kernel whose export directory has its name at `name`.
fn named(space: &AddressSpace<'_>, name: Gva) -> Option<KernelImage> {
    let last = name.page_start();
    (0..=MOST_BEFORE / PAGE_SIZE).find_map(|page| {
        let start = last.checked_sub(page.saturating_mul(PAGE_SIZE))?;
        // A directory may go on in the next page.
        let bytes = space.bytes_to_page_end(start, PAGE_BYTES.saturating_add(DIRECTORY_BYTES));
        (0..PAGE_BYTES).step_by(4).find_map(|at| {
            let directory = bytes.get(at..at.saturating_add(DIRECTORY_BYTES))?;
            let gva = start.saturating_add(at as u64);
            let base = base(directory, gva, name)?;
            Some(image(space, base, gva))
        })
    })
}

/// The base that a directory at `gva` counts from, if it is one with this name.
fn base(directory: &[u8], gva: Gva, name: Gva) -> Option<Gva> {
    let field = |offset| u32_at(directory, offset);
    let base = name.checked_sub(u64::from(field(0x0c)?))?;
    let own = gva.checked_sub(base.get())?.get();
    let (functions, names) = (field(0x14)?, field(0x18)?);
    let tables = [field(0x1c)?, field(0x20)?, field(0x24)?];
    let in_image = |rva: &u32| {
        let rva = u64::from(*rva);
        rva >= own && rva.saturating_sub(own) <= MOST_BEFORE
    };
    let is_one = field(0)? == 0
        && base.page_offset() == 0
        && (PAGE_SIZE..MAX_IMAGE).contains(&own)
        && (LEAST_NAMES..MOST_NAMES).contains(&names)
        && (names..MOST_NAMES).contains(&functions)
        && tables.iter().all(in_image);
    is_one.then_some(base)
}

/// The image, as far as it is known; its end is where no page follows, or that of the largest kernel.
fn image(space: &AddressSpace<'_>, base: Gva, exports: Gva) -> KernelImage {
    let machine = u16::try_from(kernel::machine(space.mode())).unwrap_or(0);
    let size = u32::try_from(MAX_IMAGE).unwrap_or(u32::MAX);
    let rva = exports.checked_sub(base.get()).map_or(0, Gva::get);
    let rva = u32::try_from(rva).unwrap_or(0);
    let image = PeImage::without_header(base, size, machine, rva);
    KernelImage {
        name: image.export_name(space),
        pdb: image.find_pdb(space, kernel::is_kernels_pdb),
        image,
        source: Source::Exports(exports),
    }
}
