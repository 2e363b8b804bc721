//! Raw memory without any header: `dd`, `.mem`, QEMU's `pmemsave`, VMware's `.vmem` alone.
//!
//! ```text
//! by address   byte n of the file is physical address n
//! with a hole  the file goes on with the RAM behind the hole:   | low RAM | (hole) | high RAM |
//! ```
//!
//! Nothing in the file says where a hole is. It is opened without one; what Windows says of its memory then
//! tells whether there was one: see [`hole`].
//!
//! See docs/formats/raw.md.

use std::sync::Arc;

use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, pc};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use crate::source::ReadAt;

pub(super) const TITLE: &str = "raw memory";

/// The least that is taken for a guest's memory.
const MIN_BYTES: u64 = 1 << 20;
/// Frames that are looked at to tell a hole from memory.
const SAMPLES: u64 = 256;

/// First bytes of files that are no memory and of no format of [`super::FORMATS`].
const OTHERS: &[&[u8]] = &[
    // Compressed files: gzip, xz, Zstandard, LZ4, bzip2, zip, 7z.
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"BZh",
    b"PK\x03\x04",
    b"7z\xbc\xaf",
    // Disks: qcow2, VHDX, VHD, VMDK.
    b"QFI\xfb",
    b"vhdxfile",
    b"conectix",
    b"KDMV",
    // A dump of one process.
    b"MDMP",
];

pub(super) const MAGICS: &[&[u8]] = &[];

/// Only what nothing else claims.
pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.source.size() >= MIN_BYTES && !probe.begins_as_known && !probe.begins_with(OTHERS)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let frames = source.size() / PAGE_SIZE;
    let mut regions = Vec::new();
    let (mut next, mut done) = (Pfn::new(0), 0_u64);
    let ends = sorted(&options.holes)?.into_iter().map(Some).chain([None]);
    for hole in ends {
        let rest = frames.saturating_sub(done);
        let count = hole.map_or(rest, |hole| hole.first.frames_since(next).min(rest));
        regions.push(Region {
            frames: Frames::new(next, count),
            page: done,
        });
        done = done.saturating_add(count);
        next = hole.map_or(next, Frames::end);
    }
    let holes: Vec<String> = options.holes.iter().map(ToString::to_string).collect();
    let holes = match holes.as_slice() {
        [] => "none: by address".to_owned(),
        some => some.join(", "),
    };
    open_regions(source, &regions, holes)
}

/// Frames, and the page of a raw file at which they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The frames.
    pub frames: Frames,
    /// The number of the first one's page in the file.
    pub page: u64,
}

/// Opens a raw file whose pages belong where `regions` say; `holes` says so in words.
///
/// # Errors
/// [`Error::Malformed`] if two regions hold one frame, [`Error::TooMany`] if one lies beyond the last address.
pub fn open_regions(source: Arc<dyn ReadAt>, regions: &[Region], holes: String) -> Result<Guest> {
    let size = source.size();
    let mut runs = RunBuilder::default();
    for region in regions {
        push(
            &mut runs,
            region.frames.first,
            region.frames.count,
            region.page,
        )?;
    }
    let runs = runs.finish().map_err(|overlap| {
        let place = Place::Physical(overlap.pfn.gpa());
        Error::malformed("memory", place, "every frame once", "it twice")
    })?;
    let mut warnings =
        vec!["a raw file carries no registers, and does not say where memory has holes".to_owned()];
    if !size.is_multiple_of(PAGE_SIZE) {
        warnings.push(format!(
            "the last {} bytes of the file are no whole frame and are left out",
            size % PAGE_SIZE
        ));
    }
    Ok(Guest {
        memory: PhysicalMemory::new(source, runs),
        cpus: Vec::new(),
        hints: Hints {
            not_ram: pc::not_ram(),
            ..Hints::default()
        },
        container: ContainerInfo {
            format: "raw",
            title: TITLE,
            size,
            details: vec![("holes", holes)],
            padding: 0,
            salvaged: None,
            warnings,
        },
    })
}

fn push(runs: &mut RunBuilder, first: Pfn, count: u64, done: u64) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let offset = done.saturating_mul(PAGE_SIZE);
    runs.push(Frames::new(first, count), Backing::File { offset })
}

/// Holes in ascending order, without overlap.
pub(super) fn sorted(holes: &[Frames]) -> Result<Vec<Frames>> {
    let mut holes = holes.to_vec();
    holes.sort_by_key(|hole| hole.first);
    let mut pairs = holes.iter().zip(holes.iter().skip(1));
    if let Some((_, next)) = pairs.find(|(hole, next)| next.first < hole.end()) {
        return Err(Error::malformed(
            "holes",
            Place::Physical(next.first.gpa()),
            "holes that do not overlap",
            "two of them",
        ));
    }
    Ok(holes)
}

/// The hole below 4 GiB with which a raw file has to be opened again, if it was opened without one.
///
/// `counted` are the frames that Windows counts as its memory. They end where the guest's RAM ends; if the
/// file is too short to hold them by address, the RAM at 4 GiB and above is the file's last part, and the
/// hole starts where the rest ends. A file that is cut at some address is as short: there the place of the
/// supposed high RAM is a hole, and holds nothing.
#[must_use]
pub fn hole(guest: &Guest, counted: &[Frames]) -> Option<Frames> {
    let [run] = guest.memory.runs() else {
        return None;
    };
    if guest.container.format != "raw" || run.frames.first != Pfn::new(0) {
        return None;
    }
    let frames = run.frames.count;
    let end = counted.last()?.end();
    let low_end = counted
        .iter()
        .filter(|run| run.first < pc::FOUR_GIB)
        .map(|run| run.end())
        .max()?;
    let high = end.frames_since(pc::FOUR_GIB);
    if high == 0 || end.get() <= frames {
        return None;
    }
    let start = Pfn::new(frames.checked_sub(high)?);
    if start < low_end || start >= pc::FOUR_GIB {
        return None;
    }
    let hole = Frames::between(start, pc::FOUR_GIB);
    let stored = Frames::new(start, high.min(hole.count));
    holds_something(&guest.memory, stored).then_some(hole)
}

/// Whether some of the frames are neither zeros nor the ones that an empty bus reads as.
fn holds_something(memory: &PhysicalMemory, frames: Frames) -> bool {
    let step = frames.count.div_ceil(SAMPLES).max(1);
    let mut page = [0; PAGE_BYTES];
    (0..frames.count)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .any(|skipped| {
            let gpa = frames.first.saturating_add(skipped).gpa();
            memory.read(gpa, &mut page).is_ok() && page.iter().any(|byte| !matches!(byte, 0 | 0xff))
        })
}
