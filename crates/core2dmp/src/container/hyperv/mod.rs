//! Hyper-V's saved states of Windows 10, Windows Server 2016 and later, and of `OpenVMM` (`.vmrs`).
//!
//! ```text
//! store of keys -> /savedstate/RamMemoryBlock<n>           -> ranges of frames
//!               -> /savedstate/RamBlock<n>                 -> a MiB of memory each: runs, or decoded
//!               -> /savedstate/savedVM/partition_state     -> vCPUs
//! ```
//!
//! Older states (`.vsv`, `.bin`, virtual machines up to version 5.0) have other keys, which no source describes; they
//! are refused by name.
//!
//! See docs/formats/hyperv.md, and `format/hyperv.rs` for the sources.

mod cpus;
mod memory;
mod storage;
mod tables;

use std::sync::Arc;

use self::memory::{Blocks, Memory, MemoryKeys};
use self::storage::{Bytes, Entry, NodeId, ROOT, Storage, Value};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, pc};
use crate::error::{Error, Place, Result};
use crate::format::hyperv::{HEADERS_AT, LAST_OLD_VM_VERSION, SIGNATURE};
use crate::memory::PhysicalMemory;
use crate::source::{ReadAt, fill_at};

pub(super) const TITLE: &str = "Hyper-V saved state";
pub(super) const MAGICS: &[&[u8]] = &[&SIGNATURE.to_le_bytes()];

/// Bytes of the hypervisor's state that are accepted: 32 KiB for each of 2048 vCPUs.
const MAX_STATE: u32 = 64 << 20;

/// One of the two headers may be lost.
pub(super) fn probe(probe: &Probe<'_>) -> bool {
    let mut other = [0; 4];
    let read = fill_at(probe.source, HEADERS_AT[1], &mut other);
    probe.begins_with(MAGICS) || matches!(read, Ok(4)) && u32::from_le_bytes(other) == SIGNATURE
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let storage = Storage::open(&*source, options.salvage)?;
    let mut salvaged = Vec::new();
    salvaged.extend(not_replayed(&storage, options)?);
    let keys = Keys::read(&storage, &*source)?;
    if keys.bad > 0 {
        salvaged.push(format!(
            "{} keys with a wrong checksum were passed over",
            keys.bad
        ));
    }
    let version = keys.check_version(&storage)?;
    let memory = keys.memory.finish()?;
    let mut salvage = Salvage::new(options);
    if source.size() < memory.end() {
        salvage.accept(memory.end(), source.size(), "the end of memory")?;
    }
    salvaged.extend(salvage.done("file"));
    let mut warnings = Vec::new();
    let (runs, lost) = memory.runs()?;
    if lost > 0 {
        warnings.push(format!(
            "{lost} frames of the guest's memory are in no block of the file"
        ));
    }
    let cpus = match read_state(&*source, keys.state, &mut warnings) {
        Some(state) => cpus::read(&state, &mut warnings),
        None => Vec::new(),
    };
    let mut details = vec![("version of the virtual machine", version)];
    details.extend(keys.kind.map(|kind| ("kind", kind)));
    details.push(("ranges", memory.ranges().to_string()));
    details.push(("blocks", blocks(&memory)));
    let size = source.size();
    Ok(Guest {
        memory: PhysicalMemory::new(Arc::clone(&source), runs)
            .with_decoder(Arc::new(Blocks::new(source, memory))),
        cpus,
        hints: Hints {
            not_ram: pc::not_ram(),
            ..Hints::default()
        },
        container: ContainerInfo {
            format: "hyperv",
            title: TITLE,
            size,
            details,
            padding: 0,
            salvaged: (!salvaged.is_empty()).then(|| salvaged.join("; ")),
            warnings,
        },
    })
}

/// Changes that are not in the file yet, in words, if it is read without them.
fn not_replayed(storage: &Storage<'_>, options: &OpenOptions) -> Result<Option<String>> {
    if storage.outstanding == 0 {
        return Ok(None);
    }
    let what = format!("{} changes in its replay log", storage.outstanding);
    if options.salvage {
        return Ok(Some(format!("{what} were not made")));
    }
    Err(Error::malformed(
        "Hyper-V store",
        Place::Offset(HEADERS_AT[0]),
        "a file that was closed: let Windows replay it first (ApplyPendingSavedStateFileReplayLog)",
        what,
    ))
}

fn blocks(memory: &Memory) -> String {
    format!(
        "{}, of them {} compressed",
        memory.blocks(),
        memory.compressed()
    )
}

/// The hypervisor's state; memory can be read without it.
fn read_state(
    source: &dyn ReadAt,
    state: Option<Bytes>,
    warnings: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let Some(state) = state else {
        warnings.push("no partition_state: no registers".to_owned());
        return None;
    };
    if state.size > MAX_STATE {
        warnings.push(format!(
            "partition_state of {:#x} bytes, too large to be one: no registers",
            state.size
        ));
        return None;
    }
    state
        .read(source, "partition_state")
        .inspect_err(|error| warnings.push(format!("no registers: {error}")))
        .ok()
}

/// The keys that matter.
#[derive(Default)]
struct Keys {
    version: Option<u64>,
    kind: Option<String>,
    state: Option<Bytes>,
    memory: MemoryKeys,
    bad: u64,
}

impl Keys {
    fn read(storage: &Storage<'_>, source: &dyn ReadAt) -> Result<Self> {
        let mut keys = Self::default();
        let saved = storage.node(&["savedstate"]).unwrap_or(ROOT);
        let machine = storage.node(&["savedstate", "savedVM"]).unwrap_or(ROOT);
        let parents: Vec<NodeId> = [saved, machine]
            .into_iter()
            .filter(|parent| *parent != ROOT)
            .collect();
        keys.bad = storage.each(&parents, &mut |entry| {
            if entry.parent == machine {
                if entry.name == b"partition_state" {
                    keys.state = bytes(&entry);
                }
                return Ok(());
            }
            keys.take(&entry, source)
        })?;
        Ok(keys)
    }

    fn take(&mut self, entry: &Entry<'_>, source: &dyn ReadAt) -> Result<()> {
        match (entry.name, entry.value) {
            (b"VmVersion", Value::Number(version)) => self.version = Some(version),
            (b"type", Value::Bytes(text)) if text.size < 0x100 => {
                let raw = text.read(source, "type of the saved state")?;
                let units = raw.chunks_exact(2).map_while(|pair| match pair {
                    [0, 0] => None,
                    [low, high] => Some(u16::from_le_bytes([*low, *high])),
                    _ => None,
                });
                self.kind = Some(
                    char::decode_utf16(units)
                        .map(|c| c.unwrap_or('?'))
                        .collect(),
                );
            }
            (name, Value::Bytes(bytes)) => {
                if let Some(number) = numbered(name, b"RamBlock") {
                    self.memory.block(number, bytes)?;
                } else if let Some(number) = numbered(name, b"RamMemoryBlock") {
                    self.memory.range(source, number, bytes)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The version of the virtual machine, if its keys are known.
    fn check_version(&self, storage: &Storage<'_>) -> Result<String> {
        let dotted = |version: u64| format!("{}.{}", version >> 8, version & 0xff);
        let found = match self.version {
            Some(version) if version > LAST_OLD_VM_VERSION => return Ok(dotted(version)),
            Some(version) => format!("version {}", dotted(version)),
            None if storage.node(&["savedVM"]).is_some() => {
                "a state of version 5.0 or older (.vsv)".to_owned()
            }
            None if storage.node(&["configuration"]).is_some() => {
                "a machine's configuration without one (.vmcx, or a .vmrs of a machine that is off)"
                    .to_owned()
            }
            None => "none".to_owned(),
        };
        Err(Error::malformed(
            "saved state in the Hyper-V store",
            Place::Offset(HEADERS_AT[0]),
            "one of a virtual machine of version 5.1 or later",
            found,
        ))
    }
}

fn bytes(entry: &Entry<'_>) -> Option<Bytes> {
    match entry.value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// The number behind `prefix`.
fn numbered(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(digits).ok().filter(|_| is_plain)?;
    number.parse().ok()
}
