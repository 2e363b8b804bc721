//! What debuggers print, as they print it: today's WinDbg (dbgeng 10.0.29507), and where the one of 2015 (10.0.10240)
//! does something else, that.
//!
//! A line that another one brings about is a follow-up of it: whoever searches for the follow-up should find its cause.

use std::borrow::Cow;

use super::Severity;
use crate::address::Pfn;

/// What a debugger makes of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What today's WinDbg prints.
    pub today: Cow<'static, str>,
    /// What it prints later because of it.
    pub follow_ups: &'static [&'static str],
    /// What the engine of 2015 does, where that differs.
    pub of_2015: Option<Older>,
}

/// What the engine of 2015 does about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// How bad it is there.
    pub severity: Severity,
    /// What it prints.
    pub words: &'static str,
}

impl Said {
    const fn new(today: &'static str) -> Self {
        Self {
            today: Cow::Borrowed(today),
            follow_ups: &[],
            of_2015: None,
        }
    }

    const fn then(mut self, follow_ups: &'static [&'static str]) -> Self {
        self.follow_ups = follow_ups;
        self
    }

    pub(super) const fn older(mut self, severity: Severity, words: &'static str) -> Self {
        self.of_2015 = Some(Older { severity, words });
        self
    }

    /// The same behind the line that names a page which the dump lacks.
    #[must_use]
    pub(super) fn behind_page(mut self, pfn: Pfn) -> Self {
        let page = format!(
            "Page {:x} not present in the dump file. Type \".hh dbgerr004\" for details",
            pfn.get()
        );
        self.today = Cow::Owned(if self.today.is_empty() {
            page
        } else {
            format!("{page}; {}", self.today)
        });
        self
    }
}

/// A dump of ranges, which are younger than the engine of 2015.
pub(super) const OLDER_THAN_RANGES: Older = Older {
    severity: Severity::Refused,
    words: "Could not match Dump File signature - invalid file format",
};

/// After anything that breaks the page tables or the debugger data block.
const AFTER_PARTIALLY: &[&str] = &[
    "GetContextState failed, 0xD0000147",
    "ReadControl failed - kernel symbols must be loaded first",
    "WARNING: Unable to reset page directories",
];

/// After a processor whose registers cannot be read.
const AFTER_CONTEXT: &[&str] = &[
    "Unable to get program counter",
    "Unable to get current machine context",
    "WARNING: Unable to reset page directories",
];

const NO_MATCH: &str = "Could not match Dump File signature - invalid file format; Win32 error 0n87: the parameter is \
                        incorrect";
const CORRUPT: &str = "Could not open dump file, Win32 error 0n1392: the file or directory is corrupted and unreadable";

pub(super) const SIGNATURE: Said = Said::new(NO_MATCH);
pub(super) const CORRUPT_FILE: Said = Said::new(CORRUPT);
/// A type with ranges, and the body of another.
pub(super) const NO_RANGES: Said = Said::new(CORRUPT).older(Severity::Refused, NO_MATCH);
pub(super) const NO_ROOT: Said =
    Said::new("Invalid directory table base value 0x0; OpenDumpFile failed, 80070570");
pub(super) const MACHINE: Said = Said::new(
    "Unable to initialize target machine information, Win32 error 0n87: the parameter is incorrect",
);
pub(super) const NO_EVENT: Said =
    Said::new("Invalid number of processors: 0; WaitForEvent failed, 80070570")
        .older(Severity::Refused, "WaitForEvent failed, 8000FFFF");
pub(super) const TOO_MANY: Said = Said::new("GetContextState failed, 0xD0000147")
    .then(&["WARNING: Unable to reset page directories"])
    .older(Severity::Refused, "WaitForEvent failed, 80004005");
pub(super) const PARTIALLY: Said = Said::new(
    "THIS DUMP FILE IS PARTIALLY CORRUPT. KdDebuggerDataBlock is not present or unreadable.",
)
.then(AFTER_PARTIALLY);
pub(super) const NO_KDBG: Said =
    Said::new("KdDebuggerDataBlock not available!").then(AFTER_PARTIALLY);
pub(super) const RUNS_TRUNCATED: Said =
    Said::new("Dump header physical memory block has been truncated");
pub(super) const TRUNCATED: Said = Said::new("Dump file has been truncated.  Data may be missing.");
pub(super) const SET_BITS: Said =
    Said::new("Dump file has inconsistent set-bit count.  Data may be missing.");
pub(super) const KERNEL_BASE: Said = Said::new(
    "WARNING: Mismatch between nt!KdDebuggerDataBlock and nt!KdVersionBlock - PsLoadedModuleList (Kernel Loaded Module \
     List)",
)
.older(Severity::Cosmetic, "Debugger can not determine kernel base address");
pub(super) const EXCEPTION_ZERO: Said = Said::new("Unknown exception - code 00000000");
pub(super) const EXCEPTION_PAGE: Said = Said::new("Unknown exception - code 45474150");
pub(super) const CONTEXT: Said =
    Said::new("GetContextState failed, 0xD0000147").then(AFTER_CONTEXT);
pub(super) const CS: Said =
    Said::new("CS descriptor lookup failed").then(&["Unable to get program counter"]);
/// The descriptor table of a 32-bit processor.
pub(super) const SELECTOR: Said =
    Said::new("Unable to read selector for PCR for processor").then(&[
        "WARNING: Unable to reset page directories",
        "CS descriptor lookup failed",
    ]);
pub(super) const PARTIAL_CONTEXT: Said =
    Said::new("The context is partially valid. Only x86 user-mode context is available.");
pub(super) const PROCESSORS: Said = Said::new("WaitForEvent failed, 80070570").older(
    Severity::Refused,
    "Invalid number of processors; WaitForEvent failed, 80070570",
);
pub(super) const TOO_LARGE: Said = Said::new(NO_MATCH).older(
    Severity::Refused,
    "Dump file is too large to map; Win32 error 0n87: the parameter is incorrect",
);
pub(super) const OWNER_TAG: Said = Said::new("ERROR: KdDebuggerData.Header.OwnerTag is wrong");
pub(super) const NO_MODULES: Said = Said::new(
    "Module List address is NULL - debugger not initialized properly; WaitForEvent failed, 80004005",
);

/// Nothing but the page's name.
pub(super) const PAGE_ALONE: Said = Said::new("");
pub(super) const NO_MODULE_LIST: Said = Said::new("Unable to read PsLoadedModuleList");
pub(super) const NO_PROCESSOR_BLOCK: Said =
    Said::new("KiProcessorBlock could not be read; WaitForEvent failed, 80004002");
pub(super) const NO_MODULE: Said = Said::new(
    "Unable to read KLDR_DATA_TABLE_ENTRY; WARNING: .reload failed, module list may be incomplete",
);
pub(super) const NO_MODULE_NAME: Said = Said::new("Unable to read NT module Base Name string");
pub(super) const NO_THREAD: Said = Said::new("Unable to read KTHREAD address").then(&[
    "Unable to get PEB pointer",
    "WARNING: Unable to reset page directories",
]);
pub(super) const NO_PEB: Said = Said::new("Unable to get PEB pointer");
pub(super) const NO_CONTEXT: Said =
    Said::new("GetContextState failed, 0x80004002").then(AFTER_CONTEXT);
pub(super) const NO_DIRECTORIES: Said = Said::new("WARNING: Unable to reset page directories");
pub(super) const NO_KUSER: Said =
    Said::new("ReadVirtual() failed in GetXStateConfiguration() first read attempt");
pub(super) const BLOCK_CUT: Said = Said::new("WARNING: Data block is");
pub(super) const NO_UNLOADED: Said = Said::new("Unable to enumerate kernel-mode unloaded modules");
