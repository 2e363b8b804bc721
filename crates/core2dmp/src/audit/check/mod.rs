//! Would the debugger open this dump, and would it show the truth?
//!
//! ```text
//! header and body alone  --structure-->  what is refused, what is cut short
//! memory behind them     --truth------>  Windows, found without believing the header
//!                        --memory----->  every field against it
//! ```
//!
//! The words are those of dbgeng 10.0.10240 when one field of a good dump was broken at a time; which row of
//! docs/formats/dmp.md a finding belongs to is its field.

mod block;
mod kdbg;
mod memory;
mod processors;
mod proof;
mod runs;
mod structure;

use std::collections::HashSet;
use std::fmt;

use self::block::Damage;
pub(super) use self::memory::are_true;
pub(super) use self::runs::fitting_runs;
use crate::audit::repair::Change;
use crate::container::Guest;
use crate::container::dmp::DumpFile;
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

/// Whether `repair` can mend a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// From the memory behind the header, or from the body.
    Yes,
    /// What is missing for it.
    No(&'static str),
}

/// Something about a dump that the debugger, or its user, would stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The field or structure, by the SDK's name.
    pub field: &'static str,
    /// File offset of the field.
    pub offset: Option<u64>,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
    /// What the debugger prints, `None` where it says nothing.
    pub debugger: Option<&'static str>,
    /// Whether `repair` can mend it.
    pub mend: Mend,
}

/// What a dump was found to be.
#[derive(Debug)]
pub struct CheckReport {
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Windows in the memory behind the header, `Err` why it was not found.
    pub windows: Result<Windows, Error>,
    /// What mends findings that are no field of the header.
    pub(super) changes: Vec<Change>,
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
    // Where both speak of a field, the memory knows what should stand there.
    let mut findings = match &windows {
        Ok(windows) => memory::findings(dump, &guest, windows),
        Err(error) => memory::nothing_found(dump, &guest, error)
            .into_iter()
            .collect(),
    };
    findings.extend(structure::findings(dump));
    let changes = block
        .iter()
        .filter_map(|damage| damage.change.clone())
        .collect();
    if !block.is_empty() {
        // What the header and the block disagree on is the block's fault.
        findings.retain(|finding| !BLAMED_ON_THE_BLOCK.contains(&finding.field));
    }
    findings.extend(block.into_iter().map(|damage| damage.finding));
    if windows.is_err() {
        findings.iter_mut().for_each(needs_memory);
    }
    findings.sort_by_key(|finding| (finding.severity, finding.offset));
    let mut fields = HashSet::new();
    findings.retain(|finding| {
        // Of a structure in memory there may be several, one for each processor.
        let found = finding.offset.is_none().then(|| finding.found.clone());
        fields.insert((finding.field, finding.offset, found))
    });
    CheckReport {
        findings,
        windows,
        changes,
    }
}

/// Fields that the body alone tells; every other one needs the memory to be understood.
const FROM_THE_BODY: [&str; 7] = [
    "Signature",
    "ValidDump",
    "DumpType",
    "RequiredDumpSpace",
    "PhysicalMemoryBlock.NumberOfRuns",
    "PhysicalMemoryBlock.NumberOfPages",
    "bitmap",
];

fn needs_memory(finding: &mut Finding) {
    if finding.mend == Mend::Yes && !FROM_THE_BODY.contains(&finding.field) {
        finding.mend = Mend::No("memory behind the header that can be understood");
    }
}

/// Fields that a damaged debugger data block makes look wrong.
const BLAMED_ON_THE_BLOCK: [&str; 3] = [
    "DirectoryTableBase",
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
    block::damage(dump, &guest.memory, base)
}

/// What dbgeng prints, as it prints it.
pub(super) mod words {
    pub(super) const SIGNATURE: &str = "Could not match Dump File signature - invalid file format; \
                                        Win32 error 0n87: the parameter is incorrect";
    pub(super) const CORRUPT_FILE: &str = "Could not open dump file, Win32 error 0n1392: the file \
                                           or directory is corrupted and unreadable";
    pub(super) const NO_ROOT: &str =
        "Invalid directory table base value 0x0; OpenDumpFile failed, 80070570";
    pub(super) const MACHINE: &str = "Unable to initialize target machine information, Win32 error \
                                      0n87: the parameter is incorrect";
    pub(super) const NO_EVENT: &str = "WaitForEvent failed, 8000FFFF";
    pub(super) const TOO_MANY: &str = "WaitForEvent failed, 80004005";
    pub(super) const PARTIALLY: &str = "THIS DUMP FILE IS PARTIALLY CORRUPT. KdDebuggerDataBlock is \
                                        not present or unreadable.";
    pub(super) const NO_KDBG: &str = "KdDebuggerDataBlock not available!";
    pub(super) const RUNS_TRUNCATED: &str = "Dump header physical memory block has been truncated";
    pub(super) const TRUNCATED: &str = "Dump file has been truncated.  Data may be missing.";
    pub(super) const SET_BITS: &str =
        "Dump file has inconsistent set-bit count.  Data may be missing.";
    pub(super) const KERNEL_BASE: &str = "Debugger can not determine kernel base address";
    pub(super) const EXCEPTION_ZERO: &str = "Unknown exception - code 00000000";
    pub(super) const EXCEPTION_PAGE: &str = "Unknown exception - code 45474150";
    pub(super) const CONTEXT: &str = "Unable to get current machine context";
    pub(super) const CS: &str = "CS descriptor lookup failed";
    pub(super) const PARTIAL_CONTEXT: &str =
        "The context is partially valid. Only x86 user-mode context is available.";
    pub(super) const PROCESSORS: &str =
        "Invalid number of processors; WaitForEvent failed, 80070570";
    pub(super) const TOO_LARGE: &str =
        "Dump file is too large to map; Win32 error 0n87: the parameter is incorrect";
    pub(super) const OWNER_TAG: &str = "ERROR: KdDebuggerData.Header.OwnerTag is wrong";
    pub(super) const NO_MODULES: &str = "Module List address is NULL - debugger not initialized \
                                         properly; WaitForEvent failed, 80004005";
}

#[cfg(test)]
mod tests;
