//! `MmPhysicalMemoryBlock`: the frames that Windows counts as its memory.
//!
//! ```text
//! KDBG+0x270 -> pointer variable -> { runs, pages, { first frame, frames } ... }
//! ```
//!
//! The container holds more (frame 0, option ROMs, video memory above the RAM) and may hold less (ballooned
//! pages). The dump's header has to name what Windows counts.

use super::fact::{Fact, Source};
use super::headers::GuestHeader;
use super::kdbg::DebuggerData;
use crate::address::{Gva, Pfn};
use crate::container::Guest;
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::kdbg::MM_PHYSICAL_MEMORY_BLOCK;
use crate::format::{u32_at, u64_at};
use crate::memory::Frames;
use crate::paging::AddressSpace;

/// Runs that are accepted: a real system with hot-added memory has tens.
const MAX_RUNS: u64 = 4096;

/// The runs, from Windows if it can be read, else from the container, with the reason.
pub(super) fn read(
    space: &AddressSpace<'_>,
    kdbg: Option<&DebuggerData>,
    recorded: Option<&GuestHeader>,
    guest: &Guest,
) -> (Fact<Vec<Frames>>, Option<String>) {
    let why = match from_windows(space, kdbg) {
        Ok(fact) => return (fact, None),
        Err(why) => why,
    };
    if let Some(fact) = recorded.and_then(from_header) {
        let warning = format!(
            "MmPhysicalMemoryBlock: {why}; the runs are those of {}",
            fact.source
        );
        return (fact, Some(warning));
    }
    let warning = format!("MmPhysicalMemoryBlock: {why}; the runs are those of the container");
    let runs = Fact::new(from_container(guest), Source::Container);
    (runs, Some(warning))
}

/// The runs of a guest record's header, which Windows itself made for a full dump. Other headers may describe the body
/// of another file.
fn from_header(header: &GuestHeader) -> Option<Fact<Vec<Frames>>> {
    let count = usize::try_from(header.number(FieldId::NumberOfRuns)?).ok()?;
    let table = header.width.field(FieldId::Runs)?.raw(&header.bytes)?;
    let word = match header.width {
        HeaderWidth::Bits32 => 4,
        HeaderWidth::Bits64 => 8,
    };
    let numbers: Vec<u64> = table
        .chunks_exact(word)
        .map(|bytes| u64_at(bytes, 0).or_else(|| u32_at(bytes, 0).map(u64::from)))
        .collect::<Option<_>>()?;
    let mut runs: Vec<Frames> = Vec::new();
    let (pairs, _) = numbers.as_chunks::<2>();
    for [first, count] in pairs.get(..count)? {
        let frames = Frames::new(Pfn::new(*first), *count);
        let after = runs.last().map_or(Pfn::new(0), |last| last.end());
        if *count == 0 || frames.first < after || frames.end() > Pfn::END {
            return None;
        }
        runs.push(frames);
    }
    let sum = runs
        .iter()
        .fold(0_u64, |sum, run| sum.saturating_add(run.count));
    let source = Source::Header {
        origin: header.origin.to_string(),
        field: "PhysicalMemoryBlock",
    };
    (sum > 0 && header.number(FieldId::NumberOfPages) == Some(sum)).then(|| Fact::new(runs, source))
}

fn from_windows(
    space: &AddressSpace<'_>,
    kdbg: Option<&DebuggerData>,
) -> Result<Fact<Vec<Frames>>, String> {
    let variable = kdbg
        .and_then(|kdbg| kdbg.pointer(MM_PHYSICAL_MEMORY_BLOCK))
        .ok_or("the debugger data block does not name it")?;
    let block = space.pointer(variable).map_err(|why| why.to_string())?;
    let runs = read_descriptor(space, block)?;
    let name = "MmPhysicalMemoryBlock";
    Ok(Fact::new(
        runs,
        Source::Variable {
            name,
            gva: variable,
        },
    ))
}

/// The runs of the `PHYSICAL_MEMORY_DESCRIPTOR` at `block`; `Err` says why it is none.
pub(super) fn read_descriptor(space: &AddressSpace<'_>, block: Gva) -> Result<Vec<Frames>, String> {
    let word = space.mode().pointer_bytes() as u64;
    // On 64 bit the count of runs is 32 bits wide, with 4 bytes of padding.
    let count = space.u32(block).map_err(|why| why.to_string())?;
    let count = u64::from(count);
    if count == 0 || count > MAX_RUNS {
        return Err(format!("{count} runs at {block}, expected 1 to {MAX_RUNS}"));
    }
    let read = |index: u64| {
        let at = block.saturating_add(index.saturating_mul(word));
        space.word(at).map_err(|why| why.to_string())
    };
    let pages = read(1)?;
    let mut runs: Vec<Frames> = Vec::new();
    for run in 0..count {
        let at = run.saturating_mul(2).saturating_add(2);
        let frames = Frames::new(Pfn::new(read(at)?), read(at.saturating_add(1))?);
        let after = runs.last().map_or(Pfn::new(0), |last| last.end());
        if frames.count == 0 || frames.first < after || frames.end() > Pfn::END {
            return Err(format!(
                "run {run} at {block} is {} frames from {}, expected ascending runs",
                frames.count, frames.first
            ));
        }
        runs.push(frames);
    }
    let sum = Frames::total(&runs);
    if sum != pages {
        return Err(format!("its runs have {sum} frames, its total is {pages}"));
    }
    Ok(runs)
}

/// The container's frames less what is known not to be RAM.
fn from_container(guest: &Guest) -> Vec<Frames> {
    let mut runs: Vec<Frames> = Vec::new();
    for run in guest.memory.runs() {
        let mut rest = vec![run.frames];
        for hole in &guest.hints.not_ram {
            rest = rest
                .into_iter()
                .flat_map(|frames| {
                    [
                        Frames::between(frames.first, frames.end().min(hole.first)),
                        Frames::between(frames.first.max(hole.end()), frames.end()),
                    ]
                })
                .filter(|frames| frames.count > 0)
                .collect();
        }
        for frames in rest {
            match runs.last_mut() {
                Some(last) if last.end() == frames.first => {
                    last.count = last.count.saturating_add(frames.count);
                }
                _ => runs.push(frames),
            }
        }
    }
    runs
}
