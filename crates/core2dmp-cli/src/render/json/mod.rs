//! JSON: the structures here are the contract that docs/json.md describes.
//!
//! Addresses, codes, masks and times are hex strings, since JSON's numbers lose bits; counts are numbers. A key is
//! never left out: what is not known is null. Guest strings are escaped to ASCII.

mod check;
mod container;
mod crash;
mod diff;
mod dump;
mod dump_file;
mod export;
mod header;
mod in_place;
mod repair;
mod windows;

use std::collections::BTreeMap;

use serde::Serialize;

use core2dmp::memory::Frames;
use core2dmp::windows::Fact;

use crate::confine::{self, Level};
use crate::escape::ascii_json;
use crate::message::Failure;
use crate::outcome::{Converted, Described, Made};
use crate::render::not_understood;
use crate::request;

pub(crate) use check::Check;
pub(crate) use container::Container;
pub(crate) use diff::Diff;
pub(crate) use dump::Dump;
pub(crate) use dump_file::DumpFile;
pub(crate) use export::Export;
pub(crate) use header::{Field, fields};
pub(crate) use in_place::InPlace;
pub(crate) use repair::Repair;
pub(crate) use windows::Windows;

/// Is raised when a key goes away or changes its meaning.
const SCHEMA: u32 = 1;
const PROGRAM: &str = concat!("core2dmp ", env!("CARGO_PKG_VERSION"));

/// What every document starts with.
#[derive(Debug, Serialize)]
struct Head {
    schema: u32,
    program: &'static str,
    command: &'static str,
}

impl Head {
    const fn of(command: &'static str) -> Self {
        Self {
            schema: SCHEMA,
            program: PROGRAM,
            command,
        }
    }
}

/// `core2dmp info --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    #[serde(flatten)]
    head: Head,
    pub(crate) file: String,
    pub(crate) container: Option<Container>,
    pub(crate) dump_file: Option<DumpFile>,
    pub(crate) windows: Option<Windows>,
    pub(crate) header: Option<Vec<Field>>,
    sandbox: Option<Level>,
    pub(crate) warnings: Vec<String>,
    pub(crate) error: Option<Error>,
}

impl Info {
    pub(crate) fn new(file: String) -> Self {
        Self {
            head: Head::of("info"),
            file,
            container: None,
            dump_file: None,
            windows: None,
            header: None,
            sandbox: confine::level(),
            warnings: Vec::new(),
            error: None,
        }
    }

    /// What came of it.
    pub(crate) fn of(request: &request::Info, outcome: &Result<Described, Failure>) -> Self {
        let document = Self::new(request.source.given.clone());
        let described = match outcome {
            Ok(described) => described,
            Err(failure) => {
                return Self {
                    error: Some(failure.into()),
                    ..document
                };
            }
        };
        let Described { guest, dump, found } = described;
        let document = Self {
            container: Some(Container::new(guest)),
            dump_file: dump.as_ref().map(DumpFile::new),
            warnings: guest.container.warnings.clone(),
            ..document
        };
        match found {
            Ok(found) => Self {
                windows: Some(Windows::new(guest, &found.windows, &found.crash)),
                header: found.plan.as_ref().map(|plan| fields(&found.windows, plan)),
                warnings: found.windows.warnings.clone(),
                ..document
            },
            Err(failure) if dump.is_some() => Self {
                warnings: document
                    .warnings
                    .into_iter()
                    .chain(not_understood(guest, failure))
                    .collect(),
                ..document
            },
            Err(failure) => Self {
                error: Some(failure.into()),
                ..document
            },
        }
    }
}

/// `core2dmp convert --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Convert {
    #[serde(flatten)]
    head: Head,
    pub(crate) source: String,
    pub(crate) output: Option<String>,
    pub(crate) written: bool,
    pub(crate) files: Vec<String>,
    pub(crate) checksums: BTreeMap<&'static str, String>,
    pub(crate) container: Option<Container>,
    pub(crate) windows: Option<Windows>,
    pub(crate) header: Option<Vec<Field>>,
    pub(crate) dump: Option<Dump>,
    pub(crate) export: Option<Export>,
    pub(crate) in_place: Option<InPlace>,
    pub(crate) undone: Option<String>,
    sandbox: Option<Level>,
    pub(crate) warnings: Vec<String>,
    pub(crate) error: Option<Error>,
}

impl Convert {
    pub(crate) fn new(source: String) -> Self {
        Self {
            head: Head::of("convert"),
            source,
            output: None,
            written: false,
            files: Vec::new(),
            checksums: BTreeMap::new(),
            container: None,
            windows: None,
            header: None,
            dump: None,
            export: None,
            in_place: None,
            undone: None,
            sandbox: confine::level(),
            warnings: Vec::new(),
            error: None,
        }
    }

    /// What came of it.
    pub(crate) fn of(request: &request::Convert, outcome: &Converted) -> Self {
        let (guest, found) = (outcome.guest.as_ref(), outcome.windows.as_ref());
        let (plan, exported) = match &outcome.made {
            Some(Made::Dump(plan)) => (Some(&**plan), None),
            Some(Made::Export(export)) => (None, Some(export)),
            None => (None, None),
        };
        let written = outcome.written.as_ref();
        let files = written.map_or(&[][..], |written| &written.files);
        let sums = written.map_or(&[][..], |written| &written.sums);
        Self {
            output: Some(request.output.name()),
            written: outcome.failure.is_none() && !request.dry_run,
            files: files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect(),
            checksums: sums.iter().cloned().collect(),
            container: guest.map(Container::new),
            windows: guest.zip(found).map(|(guest, found)| match plan {
                Some(plan) => Windows::new(guest, found, &plan.crash),
                None => Windows::new(guest, found, &found.crash_state(guest, request.contexts)),
            }),
            header: found.zip(plan).map(|(found, plan)| fields(found, plan)),
            dump: plan.map(Dump::new),
            export: exported.map(Export::new),
            in_place: outcome.in_place.as_ref().map(InPlace::new),
            warnings: outcome.all_warnings(),
            error: outcome.failure.as_ref().map(Into::into),
            ..Self::new(request.source.given.clone())
        }
    }
}

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(crate) struct Error {
    message: String,
    hint: Option<String>,
    tried: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
struct Attempt {
    way: String,
    outcome: String,
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        Self {
            message: failure.message(),
            hint: failure.hint(),
            tried: failure
                .attempts()
                .iter()
                .map(|attempt| Attempt {
                    way: attempt.way.clone(),
                    outcome: attempt.outcome.clone(),
                })
                .collect(),
        }
    }
}

/// A value with its source.
#[derive(Debug, Serialize)]
struct FactOf<T> {
    value: T,
    source: String,
    rejected: Vec<Rejected<T>>,
}

/// A value that another source says, and why it is rejected.
#[derive(Debug, Serialize)]
struct Rejected<T> {
    value: T,
    source: String,
    why: String,
}

impl<T> FactOf<T> {
    fn new<U>(fact: &Fact<U>, convert: impl Fn(&U) -> T) -> Self {
        Self {
            value: convert(&fact.value),
            source: fact.source.to_string(),
            rejected: fact
                .rejected
                .iter()
                .map(|rejected| Rejected {
                    value: convert(&rejected.value),
                    source: rejected.source.to_string(),
                    why: rejected.why.clone(),
                })
                .collect(),
        }
    }
}

/// Consecutive frames.
#[derive(Debug, Serialize)]
struct Run {
    first: String,
    frames: u64,
}

fn runs<'a>(frames: impl IntoIterator<Item = &'a Frames>) -> Vec<Run> {
    frames
        .into_iter()
        .map(|frames| Run {
            first: hex(frames.first.get()),
            frames: frames.count,
        })
        .collect()
}

/// Frames that Windows counts and the container lacks.
#[derive(Debug, Serialize)]
struct Missing {
    frames: u64,
    first_runs: Vec<Run>,
}

fn hex(value: impl Into<u64>) -> String {
    format!("{:#x}", value.into())
}

/// The document's text.
pub(crate) fn render(document: &impl Serialize) -> String {
    // Strings, numbers and lists of them cannot fail to serialise.
    let json = serde_json::to_string_pretty(document).unwrap_or_default();
    ascii_json(&json) + "\n"
}
