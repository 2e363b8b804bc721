//! The notes of ELF cores, which a kdump repeats: vCPUs of QEMU and VirtualBox, and a dump header.

mod arm64;
mod cpus;
mod notes;

use super::{CpuState, HeaderHint, pc};
use crate::format::dump_values::SIGNATURE;
use crate::memory::Frames;

pub(super) use notes::Notes;

/// Whose registers the notes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// x86 and x64.
    X86,
    Arm64,
    Other,
}

impl Machine {
    /// Frames that are no RAM of such a machine.
    pub(super) fn not_ram(self) -> Vec<Frames> {
        match self {
            Self::X86 => pc::not_ram(),
            Self::Arm64 | Self::Other => Vec::new(),
        }
    }
}

/// What the notes of a core hold.
pub(super) struct Found {
    pub(super) cpus: Vec<CpuState>,
    pub(super) headers: Vec<HeaderHint>,
    /// What wrote them.
    pub(super) writer: Option<(&'static str, String)>,
    pub(super) warnings: Vec<String>,
}

impl Found {
    pub(super) fn new(notes: &Notes, machine: Machine) -> Self {
        let mut warnings = Vec::new();
        let (cpus, writer) = match machine {
            Machine::X86 => cpus::read(notes, &mut warnings),
            Machine::Arm64 => (arm64::read(notes, &mut warnings), None),
            Machine::Other => (Vec::new(), None),
        };
        if machine == Machine::Other {
            warnings.push("the vCPUs of this machine are not read: no registers".to_owned());
        } else if cpus.is_empty() {
            let threads = notes.threads();
            let why = if threads == 0 {
                "no note tells the vCPUs".to_owned()
            } else if machine == Machine::Arm64 {
                format!("{threads} CORE notes, none of which can be read")
            } else {
                format!("{threads} CORE notes, but none with control registers")
            };
            warnings.push(format!("{why}: no registers"));
        }
        warnings.extend(notes.broken.iter().cloned());
        Self {
            cpus,
            headers: headers(notes),
            writer: writer.map(|writer| ("written by", writer)),
            warnings,
        }
    }
}

/// A driver of QEMU's `fw_cfg` device leaves a dump header where Linux leaves its `VMCOREINFO`.
fn headers(notes: &Notes) -> Vec<HeaderHint> {
    const NAME: &str = "VMCOREINFO";
    let signature = SIGNATURE.as_slice();
    notes
        .named(NAME.as_bytes())
        .filter(|note| note.desc.starts_with(signature))
        .map(|note| HeaderHint {
            name: NAME,
            bytes: note.desc.clone(),
        })
        .collect()
}
