//! `core2dmp diff`: two headers field by field, and two memories page by page.
//!
//! ```text
//! A, B                   headers  -->  fields: what decides, misleads, is cosmetic
//!                        memories -->  pages: alike, different, only in one       (--memory, and where the bodies differ)
//! listing + one header   the other header  -->  fields                             (--listing, --with)
//! ```

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use core2dmp::audit::diff::{self, Bodies, ByteDifference, DiffError, ListingError};
use core2dmp::error::Error;
use core2dmp::memory::compare;
use core2dmp::open;

use super::compared::Compared;
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::outcome::Comparison;
use crate::progress::Bar;
use crate::request::{Compare, Diff, Source};

/// Bytes of a listing that are read: two headers give fewer.
const MAX_LISTING: u64 = 4 << 20;

/// Runs the command.
pub(crate) fn run(request: &Diff, interrupt: &Interrupt) -> Result<Comparison, Failure> {
    match &request.what {
        Compare::Listing { listing, with } => lay_over(listing, with),
        Compare::Files { old, new, memory } => {
            let bar = Bar::new(request.report.quiet, interrupt);
            let memory = if request.bytes { Some(false) } else { *memory };
            files(old, new, memory, &bar)
        }
    }
}

/// Two files. Their pages are compared where that was asked for, and where nothing else tells whether two different
/// bodies hold the same.
fn files(
    old: &Source,
    new: &Source,
    memory: Option<bool>,
    bar: &Bar,
) -> Result<Comparison, Failure> {
    let (old, new) = (Compared::open(old, bar)?, Compared::open(new, bar)?);
    let mut fields =
        diff::diff_headers(&old.header, &new.header).map_err(|e| not_comparable(&e))?;
    let bodies = old.behind.zip(new.behind);
    let are_dumps = old.body.is_some() && new.body.is_some();
    let differ = are_dumps && bodies.is_some() && fields.names_other_pages();
    let memory = memory
        .unwrap_or(differ)
        .then(|| compare::compare(&old.guest.memory, &new.guest.memory, bar))
        .transpose()?;
    if let Some((old, new)) = bodies {
        fields.weigh_by_bodies(&Bodies {
            old,
            new,
            pages: memory.as_ref(),
        });
    }
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

/// The fields behind a listing of bytes.
fn lay_over(listing: &Path, with: &Path) -> Result<Comparison, Failure> {
    let differences = diff::parse_listing(&read_text(listing)?).map_err(|e| not_a_listing(&e))?;
    let Some(dump) = open::dump_if_one(with)? else {
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
