//! Memory and nothing else: `dd`, `.mem`, QEMU's `pmemsave`, VMware's `.vmem` alone.
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

use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, elf};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use crate::source::ReadAt;

pub(super) const TITLE: &str = "raw memory";

/// The least that is taken for a guest's memory.
const MIN_BYTES: u64 = 1 << 20;
/// Where RAM continues that has no place below 4 GiB.
const FOUR_GIB: Pfn = Pfn::new(0x10_0000);
/// Frames that are looked at to tell a hole from memory.
const SAMPLES: u64 = 256;

/// First bytes of files that are no memory, whatever their size.
const OTHERS: &[&[u8]] = &[
    b"\x7fELF",
    b"PAGEDU",
    b"KDUMP ",
    b"makedumpfile",
    b"EMiL",
    b"AVML",
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"BZh",
    b"PK\x03\x04",
    b"7z\xbc\xaf",
    b"QFI\xfb",
    b"QEVM",
    b"vhdxfile",
    b"conectix",
    b"KDMV",
    b"hibr",
    b"HIBR",
    b"wake",
    b"WAKE",
    b"RSTR",
    b"ZDMP",
    b"MDMP",
    b"LibxenFmt",
    b"\xd0\xbe\xd0\xbe",
    b"\xd0\xbe\xd2\xbe",
    b"\xd1\xba\xd1\xba",
    b"\xd2\xba\xd2\xba",
    b"\xd2\xbe\xd2\xbe",
    b"\xd3\xbe\xd3\xbe",
];

/// Only what nothing else claims.
pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.source.size() >= MIN_BYTES && !OTHERS.iter().any(|magic| probe.head.starts_with(magic))
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let size = source.size();
    let frames = size / PAGE_SIZE;
    let mut runs = RunBuilder::default();
    let (mut next, mut done) = (Pfn::new(0), 0_u64);
    for hole in sorted(&options.holes)? {
        let count = hole
            .first
            .frames_since(next)
            .min(frames.saturating_sub(done));
        push(&mut runs, next, count, done)?;
        done = done.saturating_add(count);
        next = hole.end();
    }
    push(&mut runs, next, frames.saturating_sub(done), done)?;
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
    let holes: Vec<String> = options.holes.iter().map(ToString::to_string).collect();
    let holes = match holes.as_slice() {
        [] => "none: by address".to_owned(),
        some => some.join(", "),
    };
    Ok(Guest {
        memory: PhysicalMemory::new(source, runs),
        cpus: Vec::new(),
        hints: Hints {
            not_ram: elf::not_ram(),
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
        .filter(|run| run.first < FOUR_GIB)
        .map(|run| run.end())
        .max()?;
    let high = end.frames_since(FOUR_GIB);
    if high == 0 || end.get() <= frames {
        return None;
    }
    let start = Pfn::new(frames.checked_sub(high)?);
    if start < low_end || start >= FOUR_GIB {
        return None;
    }
    let hole = Frames::between(start, FOUR_GIB);
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
