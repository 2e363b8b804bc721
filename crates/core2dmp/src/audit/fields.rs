//! What each header field is worth: where its value comes from, how it weighs, what a difference in it means.
//!
//! ```text
//! format/header_fields.rs   name, place, kind, notation       bytes
//! here                      class, origin, weight, meaning    judging
//! ```
//!
//! Every weight was measured: one field of a good dump changed at a time, in front of dbgeng 10.0.10240 and
//! 10.0.29507; docs/formats/dmp-rows.md has the rows. A new field is a row there and an arm here.

use crate::address::{Gpa, Gva};
use crate::dump::{HeaderRoot, Plan};
use crate::format::header_fields::{FieldId, FieldValue};
use crate::windows::{Fact, Windows};

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

/// What a field describes, which is why a header that was made in the guest does or does not decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The file that is written: no other header can know it.
    File,
    /// The moment of the dump: a header that was made earlier is stale.
    Moment,
    /// The PFN database, by value or by address.
    FrameDatabase,
    /// The running system.
    System,
}

/// Types of dumps that the debugger reads a field of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadIn {
    /// Every type.
    All,
    /// Dumps whose pages are those of the header's runs.
    Full,
    /// Those, and summary dumps, which are refused where there are no runs.
    Counted,
    /// Dumps with a bitmap.
    Bitmaps,
}

impl ReadIn {
    /// Whether a dump of this type has the field read.
    pub(super) const fn includes(self, dump_type: Option<u64>) -> bool {
        match (self, dump_type) {
            (Self::All, _) => true,
            // A type that was never set is taken for a full dump.
            (Self::Full, kind) => matches!(kind, None | Some(1)),
            (Self::Counted, kind) => matches!(kind, None | Some(1 | 2)),
            (Self::Bitmaps, kind) => matches!(kind, Some(2 | 5 | 6)),
        }
    }
}

/// A value that is not in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedValue {
    /// What it was.
    pub value: FieldValue,
    /// Where it was read, in words.
    pub source: String,
    /// Why it is not believed.
    pub why: String,
}

/// Where a value comes from, and the values that lost.
pub(super) type Told = (String, Vec<RejectedValue>);

/// A field's row.
pub(super) struct Judged {
    pub(super) class: Class,
    pub(super) read_in: ReadIn,
    pub(super) origin: fn(&Windows, &Plan) -> Told,
    weight: fn(&FieldValue, &FieldValue) -> Weight,
    /// What a difference means, in one sentence.
    pub(super) meaning: &'static str,
}

/// The group of a difference between two values of a field.
#[must_use]
pub fn weight(id: FieldId, old: &FieldValue, new: &FieldValue) -> Weight {
    (row(id).weight)(old, new)
}

const RUNS: &str = "the runs name the frame of each page of the body: wrong ones scramble memory";
const LISTS: &str = "the debugger takes it from KDBG; a mark of another boot, and for the module list a warning \
                     (\"Mismatch between nt!KdDebuggerDataBlock and nt!KdVersionBlock\")";
const STOP: &str = "shown as it is: the wrong one tells another crash";
const EXCEPTION: &str = "what .exr -1 shows";
const UNREAD: &str = "the debugger does not look at it when it opens a dump";
const TAG: &str = "without this tag the debugger says \"Could not match Dump File signature\"";

#[rustfmt::skip]
pub(super) fn row(id: FieldId) -> Judged {
    use Class::{File, FrameDatabase, Moment, System};
    use FieldId as Id;
    use ReadIn::{All, Bitmaps, Counted, Full};
    match id {
        Id::Signature | Id::ValidDump => judged(File, All, body, decides, TAG),
        Id::MajorVersion => judged(System, All, |w, _| told(Some(&w.version.flavour), u64::from), flavour,
            "0xF is a free build, 0xC a checked one; others are not read"),
        Id::MinorVersion => judged(System, All, |w, _| told(w.version.build.as_ref(), u64::from), unless_zero,
            "any build except 0 opens; the debugger shows it"),
        Id::DirectoryTableBase => judged(System, All, page_tables, unless_zero,
            "the page tables: another boot's, or another process'; a stale value opens, with PARTIALLY CORRUPT"),
        Id::PfnDataBase => judged(FrameDatabase, All, |w, _| told(w.pfn_database.as_ref(), Gva::get), misleads,
            "the debugger takes it from KDBG; differing values are a mark of another boot"),
        Id::PsLoadedModuleList => judged(System, All, |w, _| told(Some(&w.module_list), Gva::get), misleads, LISTS),
        Id::PsActiveProcessHead => judged(System, All, |w, _| told(Some(&w.process_list), Gva::get), misleads, LISTS),
        Id::MachineImageType => judged(System, All, |_, _| plain("the kernel's PE header"), decides,
            "the wrong machine is refused, or everything is read in another width"),
        Id::NumberProcessors => judged(System, All, |_, _| plain("control blocks in KiProcessorBlock"), decides,
            "0 is refused; more than there are control blocks adds processors without registers (refused by the \
             WinDbg of 2015); fewer hides processors"),
        Id::BugCheckCode | Id::BugCheckParameter1 | Id::BugCheckParameter2 | Id::BugCheckParameter3
        | Id::BugCheckParameter4 => judged(Moment, All, |w, _| plain(w.bugcheck.source.to_string()), misleads, STOP),
        Id::PaeEnabled => judged(System, All, |_, _| plain("the page tables"), decides,
            "with the wrong value no page table is understood"),
        Id::KdSecondaryVersion => judged(System, All, version_block, cosmetic, UNREAD),
        Id::KdDebuggerDataBlock => judged(System, All, |w, _| plain(w.kdbg.source.to_string()), decides,
            "a wrong address leaves the debugger without processors and lists: another boot's kernel base is fatal"),
        Id::NumberOfRuns => judged(File, Counted, runs, decides, RUNS),
        Id::Runs => judged(File, Full, runs, decides, RUNS),
        Id::NumberOfPages => judged(File, Full, runs, misleads,
            "more pages than the file has gives \"Dump file has been truncated\"; it opens"),
        Id::ContextRecord => judged(Moment, All, crashed, cosmetic,
            "registers come from the processors' control blocks, not from here"),
        Id::ExceptionCode | Id::ExceptionFlags | Id::ExceptionRecord | Id::ExceptionAddress
        | Id::ExceptionParameters | Id::ExceptionInformation =>
            judged(Moment, All, |_, p| plain(p.crash.exception.source.to_string()), cosmetic, EXCEPTION),
        Id::DumpType => judged(File, All, body, decides,
            "the body behind the header has one form, and another type is refused with Win32 error 0n1392"),
        Id::RequiredDumpSpace => judged(File, Bitmaps, body, misleads,
            "of a bitmap dump today's WinDbg reads no page behind it; if it is more than the file has, none behind \
             the file's last multiple of 16 MiB"),
        Id::SystemTime => judged(Moment, All, |w, _| told(w.system_time.as_ref(), |time| time), cosmetic,
            "the debug session time"),
        Id::SystemUpTime => judged(Moment, All, |w, _| told(w.up_time.as_ref(), |time| time), cosmetic,
            "the system uptime: another boot or another moment"),
        Id::Comment => judged(System, All, body, cosmetic, "printed when the dump is opened"),
        Id::SecondaryDataState | Id::Attributes => judged(File, All, body, cosmetic, UNREAD),
        Id::WriterStatus => judged(System, All, body, cosmetic, UNREAD),
        Id::ProductType => judged(System, All, |w, _| told(w.product_type.as_ref(), u64::from), cosmetic, UNREAD),
        Id::SuiteMask => judged(System, All, |w, _| told(w.suite_mask.as_ref(), u64::from), cosmetic, UNREAD),
        Id::VersionUser | Id::MiniDumpFields | Id::BootId =>
            judged(System, All, |_, _| plain(String::new()), cosmetic, UNREAD),
    }
}

const fn judged(
    class: Class,
    read_in: ReadIn,
    origin: fn(&Windows, &Plan) -> Told,
    weight: fn(&FieldValue, &FieldValue) -> Weight,
    meaning: &'static str,
) -> Judged {
    Judged {
        class,
        read_in,
        origin,
        weight,
        meaning,
    }
}

const fn decides(_: &FieldValue, _: &FieldValue) -> Weight {
    Weight::Decides
}

const fn misleads(_: &FieldValue, _: &FieldValue) -> Weight {
    Weight::Misleads
}

const fn cosmetic(_: &FieldValue, _: &FieldValue) -> Weight {
    Weight::Cosmetic
}

/// The debugger finds nothing with 0, and takes any other.
fn unless_zero(old: &FieldValue, new: &FieldValue) -> Weight {
    if [old, new].contains(&&FieldValue::Number(0)) {
        Weight::Decides
    } else {
        Weight::Misleads
    }
}

/// 0xF free, 0xC checked, and 0, which opens too.
fn flavour(old: &FieldValue, new: &FieldValue) -> Weight {
    let opens = |value: &FieldValue| matches!(value, FieldValue::Number(0 | 0xc | 0xf));
    if opens(old) && opens(new) {
        Weight::Misleads
    } else {
        Weight::Decides
    }
}

/// A source without values that lost.
fn plain(source: impl Into<String>) -> Told {
    (source.into(), Vec::new())
}

fn body(_: &Windows, _: &Plan) -> Told {
    plain("the body that is written")
}

fn runs(windows: &Windows, _: &Plan) -> Told {
    plain(windows.runs.source.to_string())
}

fn page_tables(windows: &Windows, plan: &Plan) -> Told {
    let (source, rejected) = told(Some(&windows.dtb), Gpa::get);
    let source = match plan.root {
        HeaderRoot::System(_) => source,
        HeaderRoot::FourLevels(_) => {
            let pml5 = windows.dtb.value;
            format!("the kernel's entry of the PML5 at {pml5} ({source})")
        }
        HeaderRoot::Process { pid, .. } => {
            format!("process {pid}, whose user code the header's context is in")
        }
    };
    (source, rejected)
}

fn version_block(windows: &Windows, _: &Plan) -> Told {
    match windows.version.block {
        Some(gva) => plain(format!("version block at {gva}")),
        None => plain("rule: no version block"),
    }
}

fn crashed(_: &Windows, plan: &Plan) -> Told {
    let processor = &plan.crash.processor;
    plain(format!(
        "processor {}: {}",
        processor.value, processor.source
    ))
}

/// Source and rejected values of a fact, in words.
fn told<T: Copy>(fact: Option<&Fact<T>>, number: impl Fn(T) -> u64) -> Told {
    let Some(fact) = fact else {
        return (String::new(), Vec::new());
    };
    let rejected = fact.rejected.iter().map(|rejected| RejectedValue {
        value: FieldValue::Number(number(rejected.value)),
        source: rejected.source.to_string(),
        why: rejected.why.clone(),
    });
    (fact.source.to_string(), rejected.collect())
}
