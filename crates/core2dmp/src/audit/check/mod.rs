//! Checks whether the debugger would open a dump, and whether it would show the truth.
//!
//! ```text
//! header and body alone  --structure-->  what is refused, what is cut short
//! memory behind them     --truth------>  Windows, found without believing the header
//!                        --memory----->  every field against it
//! ```
//!
//! Verdict and words are those of today's WinDbg, dbgeng 10.0.29507, when one thing of a good dump was broken at a
//! time; where dbgeng 10.0.10240 of 2015 differs, a finding says that too. Which row of docs/formats/dmp.md a finding
//! belongs to is its field.

mod block;
mod kdbg;
mod memory;
mod processors;
mod proof;
mod ranges;
mod runs;
mod space;
mod structure;
mod walk;
pub(super) mod words;

use std::collections::HashSet;
use std::fmt;

use self::block::Damage;
pub(super) use self::block::spaces;
pub(super) use self::memory::are_true;
pub(super) use self::runs::fitting_runs;
pub use self::words::{Older, Said};
use crate::audit::overlay::Change;
use crate::container::Guest;
use crate::container::dmp::{Body, DumpFile};
use crate::error::Error;
use crate::windows::{Windows, identify};

/// How bad a finding is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The debugger does not open the dump.
    Refused,
    /// It opens, and shows nothing, too little, or what is not true.
    Broken,
    /// It opens, and the difference hardly shows.
    Cosmetic,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Broken => "opens broken",
            Self::Cosmetic => "cosmetic",
        })
    }
}

/// Whether `repair` can fix a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// From the memory behind the header, or from the body.
    Yes,
    /// What is missing for it.
    No(&'static str),
    /// What is missing for it, which the core that the dump was made of has: `repair_from`.
    FromCore(&'static str),
}

/// Something about a dump that the debugger, or its user, would stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The field or structure, by the SDK's name.
    pub field: &'static str,
    /// File offset of the field.
    pub offset: Option<u64>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What the debugger prints; `None` if it prints nothing.
    pub debugger: Option<Said>,
    /// Whether `repair` can fix it.
    pub mend: Mend,
}

/// What a dump was found to be.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// What the engine of 2015 does with every dump of this type, where that differs.
    pub of_2015: Option<Older>,
    /// Windows in the memory behind the header, `Err` why it was not found.
    pub windows: Result<Windows, Error>,
    /// What fixes findings that are no field of the header.
    pub(super) changes: Vec<Change>,
    /// Whether the debugger data block is not in the file, so that no other may be put in its place.
    pub(super) lost_block: bool,
}

impl CheckReport {
    /// The worst severity; `None` for a dump without a finding.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).min()
    }
}

/// Judges a dump.
#[must_use]
pub fn check(dump: &DumpFile) -> CheckReport {
    let guest = dump.guest();
    let windows = if guest.memory.frame_count() == 0 {
        Err(Error::NoWindows { tried: Vec::new() })
    } else {
        identify(&guest)
    };
    if windows.is_err()
        && let Some(proven) = proof::find(dump)
    {
        return proven.report();
    }
    let block = block_of(dump, &guest, &windows);
    let walked = match &windows {
        Ok(windows) => walk::walk(dump, &guest, windows),
        // A dump without memory lacks nothing by itself.
        Err(_) if guest.memory.frame_count() == 0 => walk::Walked::default(),
        Err(_) => walk::from_header(dump, &guest),
    };
    // Where both speak of a field, the memory knows what should be there.
    let mut findings = match &windows {
        Ok(windows) => memory::findings(dump, &guest, windows),
        // What is missing is no wrong value.
        Err(_) if !walked.findings.is_empty() => Vec::new(),
        Err(error) => memory::nothing_found(dump, &guest, error)
            .into_iter()
            .collect(),
    };
    findings.extend(structure::findings(dump));
    let ranges = ranges::damage(dump);
    let changes = ranges
        .iter()
        .chain(&block)
        .filter_map(|damage| damage.change.clone())
        .collect();
    if !block.is_empty() {
        // What the header and the block disagree on is the block's fault.
        findings.retain(|finding| !BLAMED_ON_THE_BLOCK.contains(&finding.field));
    }
    if !block.is_empty() && block.iter().all(Damage::is_mended) {
        // It is as good as before then; no other has to be put in its place.
        findings.retain(|finding| !NEEDLESS_WITH_THE_BLOCK.contains(&finding.field));
    }
    let damages = ranges.into_iter().chain(block);
    findings.extend(damages.map(|damage| damage.finding));
    if walked.lost_block {
        findings.retain(|finding| !UNKNOWN_WITHOUT_THE_BLOCK.contains(&finding.field));
    }
    findings.extend(walked.findings);
    if windows.is_err() {
        findings.iter_mut().for_each(needs_memory);
    }
    findings.sort_by_key(|finding| (finding.severity, finding.offset));
    let mut fields = HashSet::new();
    findings.retain(|finding| {
        // There may be several structures of a kind in memory, one for each processor.
        let found = finding.offset.is_none().then(|| finding.found.clone());
        fields.insert((finding.field, finding.offset, found))
    });
    CheckReport {
        findings,
        of_2015: of_2015(dump),
        windows,
        changes,
        lost_block: walked.lost_block,
    }
}

/// What the engine of 2015 does with a dump of this type.
pub(super) fn of_2015(dump: &DumpFile) -> Option<Older> {
    matches!(dump.body, Body::Ranges(_)).then_some(words::OLDER_THAN_RANGES)
}

/// Fields that are known from the body alone; for every other one the memory must be understood.
const FROM_THE_BODY: [&str; 12] = [
    "Signature",
    "ValidDump",
    "DumpType",
    "RequiredDumpSpace",
    "PhysicalMemoryBlock.NumberOfRuns",
    "PhysicalMemoryBlock.NumberOfPages",
    "bitmap",
    "tags of the ranges",
    "metadata of the ranges",
    "offset of the first page",
    "number of ranges",
    "pages of the ranges",
];

fn needs_memory(finding: &mut Finding) {
    if finding.mend == Mend::Yes && !FROM_THE_BODY.contains(&finding.field) {
        finding.mend = Mend::No("memory behind the header that can be understood");
    }
}

/// What stands for a debugger data block that is damaged beyond fixing.
const NEEDLESS_WITH_THE_BLOCK: [&str; 2] = ["KDBG in memory", "KdDebuggerDataBlock"];

/// Fields that a damaged debugger data block makes look wrong.
const BLAMED_ON_THE_BLOCK: [&str; 3] = [
    "DirectoryTableBase",
    "PsLoadedModuleList",
    "PsActiveProcessHead",
];

/// What only the debugger data block, or the page tables that lead to it, can tell to be wrong.
const UNKNOWN_WITHOUT_THE_BLOCK: [&str; 7] = [
    "DirectoryTableBase",
    "KdDebuggerDataBlock",
    "KDBG in memory",
    "KDBG.KiProcessorBlock",
    "KDBG.OffsetPrcbProcStateContext",
    "PsLoadedModuleList",
    "PsActiveProcessHead",
];

/// What is wrong with the debugger data block that the header names.
fn block_of(dump: &DumpFile, guest: &Guest, windows: &Result<Windows, Error>) -> Vec<Damage> {
    let base = match windows {
        Ok(windows) => windows.kernel.image.base,
        Err(Error::NoDebuggerData { base, .. }) => *base,
        Err(_) => return Vec::new(),
    };
    // Encoded, it is judged as a whole.
    let encoded = windows
        .as_ref()
        .is_ok_and(|windows| windows.kdbg.value.encoding.is_some());
    if encoded {
        return Vec::new();
    }
    block::damage(dump, &guest.memory, base, windows.as_ref().ok())
}

#[cfg(test)]
mod tests;
