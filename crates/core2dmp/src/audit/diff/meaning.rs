//! What a difference in a field means to the debugger.
//!
//! Every weight was measured: one field of a good dump changed at a time, in front of dbgeng 10.0.10240.

use crate::format::header_fields::{FieldId, FieldValue};

/// What a field is worth to the debugger; the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// One value opens, the other is refused or shows nothing.
    Decides,
    /// Both open; one shows another boot, or another moment.
    Misleads,
    /// The debugger does not look.
    Cosmetic,
}

/// The group of a difference between two values of a field.
#[must_use]
pub fn weight(id: FieldId, old: &FieldValue, new: &FieldValue) -> Weight {
    let is_zero = |value: &FieldValue| *value == FieldValue::Number(0);
    let either_zero = is_zero(old) || is_zero(new);
    match id {
        FieldId::Signature
        | FieldId::ValidDump
        | FieldId::MachineImageType
        | FieldId::NumberProcessors
        | FieldId::DumpType
        | FieldId::PaeEnabled
        | FieldId::KdDebuggerDataBlock
        | FieldId::NumberOfRuns
        | FieldId::Runs => Weight::Decides,
        // The debugger finds nothing with build 0, and takes any other.
        FieldId::MinorVersion | FieldId::DirectoryTableBase if either_zero => Weight::Decides,
        FieldId::MajorVersion if !(is_flavour(old) && is_flavour(new)) => Weight::Decides,
        FieldId::MajorVersion
        | FieldId::MinorVersion
        | FieldId::DirectoryTableBase
        | FieldId::PfnDataBase
        | FieldId::PsLoadedModuleList
        | FieldId::PsActiveProcessHead
        | FieldId::BugCheckCode
        | FieldId::BugCheckParameter1
        | FieldId::BugCheckParameter2
        | FieldId::BugCheckParameter3
        | FieldId::BugCheckParameter4
        | FieldId::NumberOfPages => Weight::Misleads,
        _ => Weight::Cosmetic,
    }
}

/// 0xF free, 0xC checked, and 0, which opens too.
fn is_flavour(value: &FieldValue) -> bool {
    matches!(value, FieldValue::Number(0 | 0xc | 0xf))
}

/// What the rest of the table of runs is worth.
pub(super) const UNCOUNTED_RUNS: &str = "only what stands behind the runs that NumberOfRuns counts";

/// One sentence on what the difference means.
pub(super) fn sentence(id: FieldId, old: &FieldValue, new: &FieldValue) -> String {
    match id {
        FieldId::Signature | FieldId::ValidDump => {
            "without this tag the debugger says \"Could not match Dump File signature\"".to_owned()
        }
        FieldId::MachineImageType => {
            "the wrong machine is refused, or everything is read in another width".to_owned()
        }
        FieldId::NumberProcessors => {
            "0 or more than there are control blocks is refused; fewer hides processors".to_owned()
        }
        FieldId::DumpType => dump_type(old, new),
        FieldId::PaeEnabled => "with the wrong value no page table is understood".to_owned(),
        FieldId::KdDebuggerDataBlock => {
            "a wrong address leaves the debugger without processors and lists: another boot's \
             kernel base is fatal"
                .to_owned()
        }
        FieldId::NumberOfRuns | FieldId::Runs => {
            "the runs say which frame each page of the body is: wrong ones scramble memory"
                .to_owned()
        }
        FieldId::NumberOfPages => {
            "more pages than the file has gives \"Dump file has been truncated\"; it opens"
                .to_owned()
        }
        FieldId::MinorVersion => "any build but 0 opens; the debugger shows it".to_owned(),
        FieldId::MajorVersion => {
            "0xF is a free build, 0xC a checked one; others are not read".to_owned()
        }
        FieldId::DirectoryTableBase => {
            "the page tables: another boot's, or another process'; a stale value opens, with \
             PARTIALLY CORRUPT"
                .to_owned()
        }
        FieldId::PfnDataBase => {
            "the debugger takes it from KDBG; differing values are a sign of another boot"
                .to_owned()
        }
        FieldId::PsLoadedModuleList | FieldId::PsActiveProcessHead => {
            "the debugger takes it from KDBG where that is good; a sign of another boot".to_owned()
        }
        FieldId::BugCheckCode
        | FieldId::BugCheckParameter1
        | FieldId::BugCheckParameter2
        | FieldId::BugCheckParameter3
        | FieldId::BugCheckParameter4 => {
            "shown as it is: the wrong one tells another crash".to_owned()
        }
        FieldId::ContextRecord => {
            "registers come from the processors' control blocks, not from here".to_owned()
        }
        FieldId::RequiredDumpSpace => {
            "not looked at in a full dump; it bounds what is read of bitmap and summary dumps"
                .to_owned()
        }
        FieldId::SystemTime => "the debug session time".to_owned(),
        FieldId::SystemUpTime => "the system uptime: another boot or another moment".to_owned(),
        FieldId::ExceptionCode
        | FieldId::ExceptionFlags
        | FieldId::ExceptionRecord
        | FieldId::ExceptionAddress
        | FieldId::ExceptionParameters
        | FieldId::ExceptionInformation => "what .exr -1 shows".to_owned(),
        FieldId::Comment => "printed when the dump is opened".to_owned(),
        _ => "the debugger does not look at it when it opens a dump".to_owned(),
    }
}

fn dump_type(old: &FieldValue, new: &FieldValue) -> String {
    let name = |value: &FieldValue| match value {
        FieldValue::Number(1) => "full",
        FieldValue::Number(2) => "summary",
        FieldValue::Number(3) => "header",
        FieldValue::Number(4) => "triage",
        FieldValue::Number(5) => "bitmap",
        FieldValue::Number(6) => "kernel bitmap",
        FieldValue::Number(8..=10) => "ranges (RDMP)",
        FieldValue::NotSet => "not set, taken as full",
        _ => "unknown",
    };
    format!(
        "{} against {}: the body behind the header has one form, and the other type is refused with \
         Win32 error 0n1392",
        name(old),
        name(new)
    )
}
