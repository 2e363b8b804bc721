//! Every field of a planned header: its value, its source, and what other sources say.
//!
//! The last word on a header: what `info --facts` shows, and what `diff` and `repair` will compare with.

use crate::address::{Gpa, Gva};
use crate::dump::Plan;
use crate::format::header_fields::{Field, FieldId, FieldValue, HeaderWidth};
use crate::windows::{Fact, GuestHeader, Windows};

/// A field of the header with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFact {
    /// Which field.
    pub field: &'static Field,
    /// What the dump's header holds.
    pub value: FieldValue,
    /// Where that was read, in words.
    pub source: String,
    /// What other sources say.
    pub rejected: Vec<RejectedValue>,
}

/// A value that is not in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedValue {
    /// What it was.
    pub value: FieldValue,
    /// Where it was read, in words.
    pub source: String,
    /// Why it is not believed.
    pub why: String,
}

/// All fields of the planned header, by offset.
#[must_use]
pub fn field_facts(windows: &Windows, plan: &Plan) -> Vec<FieldFact> {
    let header = plan.header();
    let width = HeaderWidth::of(header);
    let fields = width.map(HeaderWidth::fields).unwrap_or_default();
    fields
        .iter()
        .map(|field| {
            let (source, mut rejected) = origin(windows, plan, field.id);
            let value = field.value(header);
            for other in &windows.headers {
                rejected.extend(weigh(other, field, &value));
            }
            FieldFact {
                field,
                source: match value {
                    FieldValue::NotSet => "nobody knows: as Windows fills it".to_owned(),
                    _ => source,
                },
                value,
                rejected,
            }
        })
        .collect()
}

/// Why a header that was made in the guest does not decide this field; `None` where it agrees or is silent.
fn weigh(header: &GuestHeader, field: &Field, chosen: &FieldValue) -> Option<RejectedValue> {
    let own = header.width.field(field.id)?;
    let value = own.value(&header.bytes);
    if value == *chosen || matches!(value, FieldValue::NotSet | FieldValue::Missing) {
        return None;
    }
    let why = match (field.id, header.contradictions.first()) {
        (
            FieldId::DumpType
            | FieldId::RequiredDumpSpace
            | FieldId::NumberOfRuns
            | FieldId::NumberOfPages
            | FieldId::Runs
            | FieldId::SecondaryDataState
            | FieldId::Attributes,
            _,
        ) => "describes the body of another file; never taken from a header".to_owned(),
        (_, Some(contradiction)) => format!("the header is of another boot: {contradiction}"),
        (
            FieldId::ContextRecord
            | FieldId::ExceptionCode
            | FieldId::ExceptionFlags
            | FieldId::ExceptionRecord
            | FieldId::ExceptionAddress
            | FieldId::ExceptionParameters
            | FieldId::ExceptionInformation
            | FieldId::SystemTime
            | FieldId::SystemUpTime
            | FieldId::BugCheckCode
            | FieldId::BugCheckParameter1
            | FieldId::BugCheckParameter2
            | FieldId::BugCheckParameter3
            | FieldId::BugCheckParameter4,
            None,
        ) => "as of when the header was made; memory is later".to_owned(),
        (FieldId::PfnDataBase, None) => {
            "the variable's address, or another value; both kinds are in use".to_owned()
        }
        (_, None) => "memory says otherwise".to_owned(),
    };
    Some(RejectedValue {
        value,
        source: header.origin.to_string(),
        why,
    })
}

/// Source and rejected values of a fact, in words.
fn told<T: Copy>(
    fact: Option<&Fact<T>>,
    number: impl Fn(T) -> u64,
) -> (String, Vec<RejectedValue>) {
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

/// Where the value of a field comes from.
fn origin(windows: &Windows, plan: &Plan, id: FieldId) -> (String, Vec<RejectedValue>) {
    let plain = |text: &str| (text.to_owned(), Vec::new());
    match id {
        FieldId::Signature
        | FieldId::ValidDump
        | FieldId::DumpType
        | FieldId::RequiredDumpSpace
        | FieldId::SecondaryDataState
        | FieldId::WriterStatus
        | FieldId::Attributes
        | FieldId::Comment => plain("the body that is written"),
        FieldId::NumberOfRuns | FieldId::NumberOfPages | FieldId::Runs => {
            plain(&windows.runs.source.to_string())
        }
        FieldId::MajorVersion => told(Some(&windows.version.flavour), u64::from),
        FieldId::MinorVersion => told(windows.version.build.as_ref(), u64::from),
        FieldId::DirectoryTableBase => told(Some(&windows.dtb), Gpa::get),
        FieldId::PfnDataBase => told(windows.pfn_database.as_ref(), Gva::get),
        FieldId::PsLoadedModuleList => told(Some(&windows.module_list), Gva::get),
        FieldId::PsActiveProcessHead => told(Some(&windows.process_list), Gva::get),
        FieldId::MachineImageType => plain("the kernel's PE header"),
        FieldId::PaeEnabled => plain("the page tables"),
        FieldId::NumberProcessors => plain("control blocks in KiProcessorBlock"),
        FieldId::BugCheckCode
        | FieldId::BugCheckParameter1
        | FieldId::BugCheckParameter2
        | FieldId::BugCheckParameter3
        | FieldId::BugCheckParameter4 => plain(&windows.bugcheck.source.to_string()),
        FieldId::KdDebuggerDataBlock => plain(&windows.kdbg.source.to_string()),
        FieldId::KdSecondaryVersion => match windows.version.block {
            Some(gva) => plain(&format!("version block at {gva}")),
            None => plain("rule: no version block"),
        },
        FieldId::ContextRecord => {
            let number = plan.crashed_processor.value;
            plain(&format!(
                "processor {number}: {}",
                plan.crashed_processor.source
            ))
        }
        FieldId::ExceptionCode
        | FieldId::ExceptionFlags
        | FieldId::ExceptionRecord
        | FieldId::ExceptionAddress
        | FieldId::ExceptionParameters
        | FieldId::ExceptionInformation => plain(&plan.exception.source.to_string()),
        FieldId::SystemTime => told(windows.system_time.as_ref(), |time| time),
        FieldId::SystemUpTime => told(windows.up_time.as_ref(), |time| time),
        FieldId::ProductType => told(windows.product_type.as_ref(), u64::from),
        FieldId::SuiteMask => told(windows.suite_mask.as_ref(), u64::from),
        FieldId::VersionUser | FieldId::MiniDumpFields | FieldId::BootId => plain(""),
    }
}
