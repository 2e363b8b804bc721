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

mod memory;
mod structure;

use std::fmt;

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
    let mut findings = structure::findings(dump);
    let guest = dump.guest();
    let windows = if guest.memory.frame_count() == 0 {
        Err(Error::NoWindows { tried: Vec::new() })
    } else {
        identify(&guest)
    };
    match &windows {
        Ok(windows) => findings.extend(memory::findings(dump, &guest, windows)),
        Err(error) => findings.extend(memory::nothing_found(dump, &guest, error)),
    }
    if windows.is_err() {
        findings.iter_mut().for_each(needs_memory);
    }
    findings.sort_by_key(|finding| (finding.severity, finding.offset));
    findings.dedup_by_key(|finding| (finding.field, finding.offset));
    CheckReport { findings, windows }
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

/// What dbgeng prints, as it prints it.
pub(super) mod words {
    pub(super) const SIGNATURE: &str = "Could not match Dump File signature - invalid file format; \
                                        Win32 error 0n87: the parameter is incorrect";
    pub(super) const CORRUPT_FILE: &str = "Could not open dump file, Win32 error 0n1392: the file \
                                           or directory is corrupted and unreadable";
    pub(super) const MACHINE: &str = "Unable to initialize target machine information, Win32 error \
                                      0n87: the parameter is incorrect";
    pub(super) const NO_EVENT: &str = "WaitForEvent failed, 8000FFFF";
    pub(super) const TOO_MANY: &str = "WaitForEvent failed, 80004005";
    pub(super) const PARTIALLY: &str = "THIS DUMP FILE IS PARTIALLY CORRUPT. KdDebuggerDataBlock is \
                                        not present or unreadable.";
    pub(super) const NO_KDBG: &str = "KdDebuggerDataBlock not available!";
    pub(super) const RUNS_TRUNCATED: &str =
        "Dump header physical memory block has been truncated";
    pub(super) const TRUNCATED: &str = "Dump file has been truncated.  Data may be missing.";
    pub(super) const SET_BITS: &str = "Dump file has inconsistent set-bit count.  Data may be missing.";
    pub(super) const KERNEL_BASE: &str = "Debugger can not determine kernel base address";
    pub(super) const EXCEPTION_ZERO: &str = "Unknown exception - code 00000000";
    pub(super) const EXCEPTION_PAGE: &str = "Unknown exception - code 45474150";
    pub(super) const CONTEXT: &str = "Unable to get current machine context";
    pub(super) const CS: &str = "CS descriptor lookup failed";
}

#[cfg(test)]
mod tests;
