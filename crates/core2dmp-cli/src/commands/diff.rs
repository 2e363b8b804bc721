//! `core2dmp diff`: two headers field by field, and two memories page by page.
//!
//! ```text
//! A, B                   headers  -->  fields: what decides, misleads, is cosmetic
//!                        memories -->  pages: alike, different, in one alone       (--memory)
//! listing + one header   the other header  -->  fields                             (--listing, --with)
//! ```

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use core2dmp::audit::diff::{
    self, ByteDifference, DiffError, Difference, HeaderDiff, ListingError, Weight,
};
use core2dmp::error::Error;
use core2dmp::format::header_fields::FieldId;

use super::open_if_dump;
use super::side::Side;
use crate::args::DiffArgs;
use crate::escape;
use crate::interrupt::Interrupt;
use crate::memory_diff::{self, MemoryDiff};
use crate::message::{Failure, Outcome, to_stdout};
use crate::progress::Bar;
use crate::render::{json, text};

/// Bytes of a listing that are read: two headers give fewer.
const MAX_LISTING: u64 = 4 << 20;

/// What was compared.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The first file, as it was given.
    pub(crate) old: String,
    /// What of it.
    pub(crate) old_what: &'static str,
    /// What stands behind its header.
    pub(crate) old_body: Option<String>,
    /// The second file.
    pub(crate) new: String,
    /// What of it.
    pub(crate) new_what: &'static str,
    /// What stands behind its header.
    pub(crate) new_body: Option<String>,
    /// The fields.
    pub(crate) fields: HeaderDiff,
    /// The bytes.
    pub(crate) bytes: Vec<ByteDifference>,
    /// The memories, if they were asked for.
    pub(crate) memory: Option<MemoryDiff>,
    /// Lines of a listing that lie behind the header.
    pub(crate) behind: usize,
}

/// Runs the command.
pub(crate) fn run(args: &DiffArgs) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::install()?;
    if !args.json {
        let comparison = compare(args, &interrupt)?;
        to_stdout(&if args.bytes {
            text::byte_listing(&comparison.bytes)
        } else {
            text::diff(&comparison)
        })?;
        return Ok(comparison.outcome());
    }
    let mut document = json::Diff::default();
    let result = compare(args, &interrupt);
    match &result {
        Ok(comparison) => document.fill(comparison, args.bytes),
        Err(failure) => document.error = Some(failure.into()),
    }
    to_stdout(&json::render(&document))?;
    result.map(|comparison| comparison.outcome())
}

fn compare(args: &DiffArgs, interrupt: &Interrupt) -> Result<Comparison, Failure> {
    if let (Some(listing), Some(with)) = (&args.listing, &args.with) {
        return lay_over(listing, with);
    }
    let (Some(old), Some(new)) = (&args.old, &args.new) else {
        return Err(Failure::Refused {
            message: "there are no two files to compare".to_owned(),
            hint: "core2dmp diff A B, or core2dmp diff --listing FILE --with HEADER",
        });
    };
    let (old, new) = (Side::open(old, interrupt)?, Side::open(new, interrupt)?);
    let mut fields =
        diff::diff_headers(&old.header, &new.header).map_err(|e| not_comparable(&e))?;
    let has_bodies = old.body.is_some() && new.body.is_some();
    if has_bodies && old.type_fits && new.type_fits {
        types_fit(&mut fields);
    }
    let memory = args.memory.then(|| {
        let (a, b) = (&old.guest.memory, &new.guest.memory);
        let bar = Bar::new(memory_diff::bytes(a, b), false, interrupt.clone());
        let memory = memory_diff::compare(a, b, &bar);
        bar.clear();
        memory
    });
    Ok(Comparison {
        bytes: diff::byte_differences(&old.header, &new.header),
        old: old.name,
        old_what: old.what,
        old_body: old.body,
        new: new.name,
        new_what: new.what,
        new_body: new.body,
        fields,
        memory,
        behind: 0,
    })
}

/// Two dumps of different types, each of which is what it says: neither type is wrong.
fn types_fit(fields: &mut HeaderDiff) {
    let mut types = fields.differences.iter_mut();
    if let Some(difference) = types.find(|d| d.field.id == FieldId::DumpType) {
        difference.weight = Weight::Cosmetic;
        difference.meaning = "each is the type of what stands behind its header".to_owned();
    }
    let order = |difference: &Difference| (difference.weight, difference.field.offset);
    fields.differences.sort_by_key(order);
}

/// The fields behind a listing of bytes.
fn lay_over(listing: &Path, with: &Path) -> Result<Comparison, Failure> {
    let differences = diff::parse_listing(&read_text(listing)?).map_err(|e| not_a_listing(&e))?;
    let Some(dump) = open_if_dump(with)? else {
        return Err(not_comparable(&DiffError::NotAHeader { which: "--with" }));
    };
    let header = dump.header;
    let inside: Vec<ByteDifference> = differences
        .iter()
        .copied()
        .filter(|difference| difference.offset < dump.width.bytes())
        .collect();
    let other = diff::apply(&header, &inside).map_err(|e| not_a_listing(&e))?;
    let is_old = inside
        .iter()
        .all(|difference| header.get(difference.offset) == Some(&difference.old));
    let fields = if is_old {
        diff::diff_headers(&header, &other)
    } else {
        diff::diff_headers(&other, &header)
    };
    let given = with.to_string_lossy().into_owned();
    let derived = format!("the other file of {}", listing.to_string_lossy());
    let whats = ["its header", "its bytes laid over that header"];
    let ([old, new], [old_what, new_what]) = if is_old {
        ([given, derived], whats)
    } else {
        let [own, laid] = whats;
        ([derived, given], [laid, own])
    };
    Ok(Comparison {
        old,
        old_what,
        old_body: None,
        new,
        new_what,
        new_body: None,
        fields: fields.map_err(|e| not_comparable(&e))?,
        behind: differences.len().saturating_sub(inside.len()),
        bytes: inside,
        memory: None,
    })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |e| Error::io(format!("cannot read {}", escape::path(path)), e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_LISTING)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn not_comparable(error: &DiffError) -> Failure {
    Failure::Refused {
        message: error.to_string(),
        hint: "diff compares dumps, the first one or two pages of dumps, and cores",
    }
}

fn not_a_listing(error: &ListingError) -> Failure {
    Failure::Refused {
        message: error.to_string(),
        hint: match error {
            ListingError::OtherHeader { .. } => {
                "--with takes one of the two files that the listing compares"
            }
            _ => "a listing has lines such as \"00000f98: 01 02\": offset, old byte, new byte",
        },
    }
}

impl Comparison {
    /// Whether nothing differs.
    pub(crate) fn is_alike(&self) -> bool {
        let headers = self.bytes.is_empty() && self.fields.differences.is_empty();
        headers && self.memory.as_ref().is_none_or(MemoryDiff::is_alike)
    }

    fn outcome(&self) -> Outcome {
        if self.is_alike() {
            Outcome::Done
        } else {
            Outcome::Findings
        }
    }
}
