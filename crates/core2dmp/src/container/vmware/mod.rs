//! VMware: a saved state (`.vmss`) or a snapshot (`.vmsn`), and memory in it or beside it (`.vmem`).
//!
//! ```text
//! .vmss, .vmsn   header -> groups -> "memory"  -> regions -> runs of the block "Memory", or of the .vmem
//!                                 -> "cpu"     -> vCPUs
//! .vmem          frames, one region behind the other, and nothing else
//! ```
//!
//! A `.vmem` alone is raw memory without the hole below 4 GiB: see [`crate::open()`].
//!
//! See docs/formats/vmware.md, and `format/vmware.rs` for the sources.

mod cpus;
mod memory;
mod tags;

use std::sync::Arc;

use self::memory::MemoryTags;
use self::tags::{State, is_state};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, pc};
use crate::error::{Error, Place, Result};
use crate::memory::PhysicalMemory;
use crate::source::{ReadAt, fill_at};

pub(super) const TITLE: &str = "VMware saved state or snapshot";
pub(super) const MAGICS: &[&[u8]] = crate::format::vmware::MAGICS;

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

pub(super) fn open(sources: Vec<Arc<dyn ReadAt>>, options: &OpenOptions) -> Result<Guest> {
    let size = sources
        .iter()
        .fold(0_u64, |sum, source| sum.saturating_add(source.size()));
    let Set { state, vmem } = sort(sources)?;
    let state = state.unwrap_or_else(|| Arc::new(Vec::new()));
    let tags = State::read(&*state)?;
    let mut warnings = Vec::new();
    let map = read_map(&tags, state.size(), &mut warnings)?;
    let (memory, start, bytes) = source_of_memory(&state, vmem, &map, &mut warnings)?;
    let present = memory.size().saturating_sub(start).min(bytes);
    let placed = map.place(start, present)?;
    let expected = placed.cut.unwrap_or(0).max(bytes).saturating_add(start);
    let mut salvage = Salvage::new(options);
    if memory.size() < expected {
        salvage.accept(expected, memory.size(), "the end of memory")?;
    }
    let cpus = if map.is_arm64 {
        warnings.push("registers of ARM64 are not read from a saved state".to_owned());
        Vec::new()
    } else {
        cpus::read(&tags, &mut warnings)
    };
    if cpus.is_empty() {
        warnings.push("the saved state tells no registers".to_owned());
    }
    let kind = match start {
        0 => "memory beside the state",
        _ => "memory in the state",
    };
    Ok(Guest {
        memory: PhysicalMemory::new(memory, placed.runs),
        cpus,
        hints: Hints {
            not_ram: pc::not_ram(),
            ..Hints::default()
        },
        container: ContainerInfo {
            format: "vmware",
            title: TITLE,
            size,
            details: vec![
                ("magic", format!("{:#x}", tags.magic)),
                ("kind", kind.to_owned()),
                ("regions", placed.regions.to_string()),
            ],
            padding: 0,
            salvaged: salvage.done("file"),
            warnings,
        },
    })
}

/// What the state says of memory.
fn read_map(tags: &State<'_>, size: u64, warnings: &mut Vec<String>) -> Result<MemoryTags> {
    let mut map = MemoryTags::default();
    if let Err(error) = map.read(tags) {
        // There are no tags after a block that is cut; the code that places memory reports that.
        let end = map.block.map_or(0, |block| block.end());
        if end <= size {
            return Err(error);
        }
        if !map.has_regions() {
            let lost = "the state is cut: regions of memory, if there were any, are lost";
            warnings.push(lost.to_owned());
        }
    }
    Ok(map)
}

/// The files by what they are.
#[derive(Debug, Default)]
struct Set {
    state: Option<Arc<dyn ReadAt>>,
    vmem: Option<Arc<dyn ReadAt>>,
}

fn sort(sources: Vec<Arc<dyn ReadAt>>) -> Result<Set> {
    let count = sources.len() as u64;
    let mut set = Set::default();
    for source in sources {
        let mut magic = [0; 4];
        let read = fill_at(&*source, 0, &mut magic);
        let read = read.map_err(|e| Error::io("cannot read the file", e))?;
        let is_state = read == 4 && is_state(&magic);
        let place = if is_state {
            &mut set.state
        } else {
            &mut set.vmem
        };
        if place.replace(source).is_some() {
            return Err(Error::TooMany {
                what: "files of one VMware guest, each either a state or its memory",
                found: count,
                limit: 2,
            });
        }
    }
    Ok(set)
}

/// The file that holds memory, where it starts there, and how many bytes there should be.
fn source_of_memory(
    state: &Arc<dyn ReadAt>,
    vmem: Option<Arc<dyn ReadAt>>,
    map: &MemoryTags,
    warnings: &mut Vec<String>,
) -> Result<(Arc<dyn ReadAt>, u64, u64)> {
    match (map.block, vmem) {
        (Some(block), vmem) => {
            if block.is_compressed() {
                return Err(Error::malformed(
                    "memory in the saved state",
                    Place::Offset(block.offset),
                    "memory as it is: how VMware compresses it is not public",
                    format!("{:#x} bytes in {:#x}", block.bytes, block.stored),
                ));
            }
            if vmem.is_some() {
                warnings
                    .push("the state holds the memory itself: the .vmem is not used".to_owned());
            }
            if map.has_more_blocks {
                warnings
                    .push("the state holds several blocks of memory: the first is used".to_owned());
            }
            Ok((Arc::clone(state), block.offset, block.stored))
        }
        (None, Some(vmem)) => {
            let bytes = vmem.size();
            Ok((vmem, 0, bytes))
        }
        (None, None) => Err(Error::MissingFile {
            found: "a VMware state without memory",
            missing: "its .vmem",
        }),
    }
}
