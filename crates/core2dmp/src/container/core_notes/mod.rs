//! The notes of ELF cores, which a kdump repeats: vCPUs of QEMU and VirtualBox, and a dump header.

mod cpus;
mod notes;

use super::{CpuState, HeaderHint};
use crate::format::dump_values::SIGNATURE;

pub(super) use notes::Notes;

/// What the notes of a core hold.
pub(super) struct Found {
    pub(super) cpus: Vec<CpuState>,
    pub(super) headers: Vec<HeaderHint>,
    /// What wrote them.
    pub(super) writer: Option<(&'static str, String)>,
    pub(super) warnings: Vec<String>,
}

impl Found {
    pub(super) fn new(notes: &Notes, is_x86: bool) -> Self {
        let mut warnings = Vec::new();
        let (cpus, writer) = if is_x86 {
            cpus::read(notes, &mut warnings)
        } else {
            (Vec::new(), None)
        };
        if !is_x86 {
            warnings.push("the vCPUs of this machine are not read: no registers".to_owned());
        } else if cpus.is_empty() {
            let threads = notes.threads();
            let why = if threads == 0 {
                "no note tells the vCPUs".to_owned()
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
