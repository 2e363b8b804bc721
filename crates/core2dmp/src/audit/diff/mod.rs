//! Two headers field by field: what differs, what it means, and which difference decides.
//!
//! ```text
//! decides   the debugger opens one and refuses the other, or reads nothing through it
//! misleads  it opens, and shows another boot or another moment
//! cosmetic  the debugger does not look
//! ```
//!
//! A field's weight is a row of `audit/fields.rs`: what the debugger did when it was changed alone.

mod bodies;
mod listing;

use super::fields::row;
use crate::address::PAGE_SIZE;
use crate::container::dmp::{DeclaredRun, declared_runs};
use crate::format::context::{REGISTERS_AMD64, REGISTERS_X86, RegisterPlace};
use crate::format::dump_values::MACHINE_ARM64;
use crate::format::header_fields::{Field, FieldId, FieldValue, HeaderWidth};
use crate::memory::compare::MemoryDiff;

pub use super::fields::{Weight, weight};
pub use bodies::{Behind, Bodies};
pub use listing::{ByteDifference, ListingError, apply, byte_differences, parse_listing};

/// What the rest of the table of runs is worth.
const UNCOUNTED_RUNS: &str = "only what follows the runs that NumberOfRuns counts";

/// Real headers hold one or the other (docs/formats/dmp.md).
const EITHER: &str =
    "one holds the pointer's value, the other the variable's address: real headers have either";
/// No kernel's image is larger.
const KERNEL_BYTES: u64 = 32 << 20;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Which field.
    pub field: &'static Field,
    /// What the first header holds.
    pub old: FieldValue,
    /// What the second header holds.
    pub new: FieldValue,
    /// Which group it belongs to.
    pub weight: Weight,
    /// What the difference means, in one sentence.
    pub meaning: String,
    /// Of a context: the registers that differ, with both values.
    pub registers: Vec<RegisterDifference>,
    /// Of the table of runs: the runs that differ.
    pub runs: Vec<RunDifference>,
}

/// A run that differs, among those that `NumberOfRuns` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunDifference {
    /// Its place in the table.
    pub index: usize,
    /// First frame and number of frames in the first header; `None` if it has no such run.
    pub old: Option<(u64, u64)>,
    /// The same in the second header.
    pub new: Option<(u64, u64)>,
}

/// A register of the context that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterDifference {
    /// Its name.
    pub name: &'static str,
    /// Its bytes in the first header.
    pub old: Vec<u8>,
    /// Its bytes in the second header.
    pub new: Vec<u8>,
}

/// Everything that differs between two headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderDiff {
    /// The fields, those that decide first, then by offset.
    pub differences: Vec<Difference>,
    /// Bytes that belong to no field and differ.
    pub unnamed: usize,
}

/// Why two headers cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// One is no header at all.
    #[error("the {which} file does not begin with a dump header")]
    NotAHeader {
        /// "first" or "second".
        which: &'static str,
    },
    /// One is of 32 bit, the other of 64.
    #[error("one header is of 32 bit, the other of 64: nothing in them is comparable")]
    Widths,
}

/// Compares two headers, field by field.
///
/// # Errors
/// [`DiffError`] if one is none, or they have different widths.
pub fn diff_headers(old: &[u8], new: &[u8]) -> Result<HeaderDiff, DiffError> {
    let width_of = |header, which| HeaderWidth::of(header).ok_or(DiffError::NotAHeader { which });
    let width = match (width_of(old, "first"), width_of(new, "second")) {
        (Ok(a), Ok(b)) if a == b => a,
        (Ok(_), Ok(_)) => return Err(DiffError::Widths),
        // A signature that was damaged is a difference, the most decisive of all.
        (Ok(width), Err(_)) if is_damaged(new) => width,
        (Err(_), Ok(width)) if is_damaged(old) => width,
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let differences: Vec<Difference> = width
        .fields()
        .iter()
        .filter(|field| field.raw(old) != field.raw(new))
        .map(|field| difference(width, field, old, new))
        .collect();
    let bytes = old.iter().zip(new).take(width.bytes()).enumerate();
    let unnamed = bytes
        .filter(|(offset, (a, b))| a != b && width.field_at(*offset).is_none())
        .count();
    let mut diff = HeaderDiff {
        differences,
        unnamed,
    };
    diff.sort();
    Ok(diff)
}

/// Whether only one of the two tags is wrong: still a header, if a damaged one.
fn is_damaged(header: &[u8]) -> bool {
    use crate::format::dump_values::{SIGNATURE, VALID_DUMP32, VALID_DUMP64};
    let (signature, valid) = (header.get(..4), header.get(4..8));
    signature == Some(&SIGNATURE) || valid == Some(&VALID_DUMP64) || valid == Some(&VALID_DUMP32)
}

fn difference(width: HeaderWidth, field: &'static Field, old: &[u8], new: &[u8]) -> Difference {
    let (before, after) = (field.value(old), field.value(new));
    let mut difference = Difference {
        field,
        weight: weight(field.id, &before, &after),
        meaning: row(field.id).meaning.to_owned(),
        old: before,
        new: after,
        registers: Vec::new(),
        runs: Vec::new(),
    };
    match field.id {
        FieldId::ContextRecord if !is_arm64(width, old) && !is_arm64(width, new) => {
            difference.registers = registers(width, field.raw(old), field.raw(new));
        }
        // Without the bodies the types decide; runs matter whatever a wrong type says.
        FieldId::RequiredDumpSpace => {
            let kind = |header| width.field(FieldId::DumpType)?.number(header);
            let read_in = row(field.id).read_in;
            if !(read_in.includes(kind(old)) && read_in.includes(kind(new))) {
                difference.weight = Weight::Cosmetic;
            }
        }
        FieldId::PfnDataBase if is_variable(width, old) != is_variable(width, new) => {
            difference.weight = Weight::Cosmetic;
            EITHER.clone_into(&mut difference.meaning);
        }
        FieldId::Runs => {
            difference.runs = runs(width, old, new);
            if difference.runs.is_empty() {
                difference.weight = Weight::Cosmetic;
                difference.meaning = UNCOUNTED_RUNS.to_owned();
            }
        }
        _ => {}
    }
    difference
}

/// Whether `PfnDataBase` is the variable's address, which is in the kernel's image as its debugger data block is. On 32
/// bit the database is as near, but begins a page.
fn is_variable(width: HeaderWidth, header: &[u8]) -> bool {
    let number = |id| width.field(id)?.number(header);
    let pair = number(FieldId::PfnDataBase).zip(number(FieldId::KdDebuggerDataBlock));
    pair.is_some_and(|(database, block)| {
        database.abs_diff(block) < KERNEL_BYTES && !database.is_multiple_of(PAGE_SIZE)
    })
}

/// Whether the context is laid out as no table here says.
fn is_arm64(width: HeaderWidth, header: &[u8]) -> bool {
    let field = width.field(FieldId::MachineImageType);
    field.and_then(|field| field.number(header)) == Some(MACHINE_ARM64.into())
}

/// The runs that differ, as far as one of the headers counts them.
fn runs(width: HeaderWidth, old: &[u8], new: &[u8]) -> Vec<RunDifference> {
    let (old, new) = (declared_runs(width, old), declared_runs(width, new));
    (0..old.len().max(new.len()))
        .filter_map(|index| {
            let run = |runs: &[_]| {
                runs.get(index)
                    .map(|run: &DeclaredRun| (run.first, run.count))
            };
            let (old, new) = (run(&old), run(&new));
            (old != new).then_some(RunDifference { index, old, new })
        })
        .collect()
}

/// The registers of two contexts that differ.
fn registers(
    width: HeaderWidth,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Vec<RegisterDifference> {
    let table: &[RegisterPlace] = match width {
        HeaderWidth::Bits32 => REGISTERS_X86,
        HeaderWidth::Bits64 => REGISTERS_AMD64,
    };
    let (Some(old), Some(new)) = (old, new) else {
        return Vec::new();
    };
    table
        .iter()
        .filter_map(|&(name, offset, bytes)| {
            let cut = |context: &[u8]| Some(context.get(offset..)?.get(..bytes)?.to_vec());
            let (old, new) = (cut(old)?, cut(new)?);
            (old != new).then_some(RegisterDifference { name, old, new })
        })
        .collect()
}

impl HeaderDiff {
    /// The differences that decide whether the debugger opens the dump.
    pub fn decisive(&self) -> impl Iterator<Item = &Difference> {
        self.differences
            .iter()
            .filter(|difference| difference.weight == Weight::Decides)
    }

    /// Weighs by what is behind the headers: see `bodies.rs`.
    pub fn weigh_by_bodies(&mut self, bodies: &Bodies<'_>) {
        bodies::weigh(self, bodies);
        self.sort();
    }

    /// Whether the headers name different bodies: then only the pages tell whether both hold the same.
    #[must_use]
    pub fn names_other_pages(&self) -> bool {
        let of_pages = [FieldId::DumpType, FieldId::NumberOfRuns, FieldId::Runs];
        let mut fields = self.differences.iter().map(|d| d.field.id);
        fields.any(|id| of_pages.contains(&id))
    }

    fn sort(&mut self) {
        let order = |difference: &Difference| (difference.weight, difference.field.offset);
        self.differences.sort_by_key(order);
    }

    /// The last line: which field to look at, in words; and whether both hold the same pages, where those were
    /// compared.
    #[must_use]
    pub fn verdict(&self, pages: Option<&MemoryDiff>) -> String {
        let both = match pages {
            Some(pages) if pages.is_alike() => "both open, the same pages".to_owned(),
            Some(pages) if pages.has_same_frames() => format!(
                "both open, the same pages, {} of them with other contents",
                pages.different.pages
            ),
            _ => "both open".to_owned(),
        };
        let names = |weight: Weight| {
            let named = self.differences.iter().filter(|d| d.weight == weight);
            named.map(|d| d.field.name).collect::<Vec<_>>()
        };
        if self.differences.is_empty() {
            return "the headers are alike".to_owned();
        }
        let said = |weight: Weight, one: &str, many: &str| {
            let words = names(weight);
            match words.len() {
                0 => None,
                1 => Some(format!("{} {one}", words.join(", "))),
                _ => Some(format!("{} {many}", words.join(", "))),
            }
        };
        let decides = said(Weight::Decides, "decides", "decide");
        let misleads = said(Weight::Misleads, "misleads", "mislead");
        let rest = if names(Weight::Cosmetic).is_empty() {
            ""
        } else {
            "; the rest is cosmetic"
        };
        match (decides, misleads) {
            (Some(decides), Some(misleads)) => format!("{decides}; {misleads}{rest}"),
            (Some(decides), None) => format!("{decides}{rest}"),
            (None, Some(misleads)) => format!("{both}; {misleads}{rest}"),
            (None, None) => format!("{both}; the differences are cosmetic"),
        }
    }
}

#[cfg(test)]
mod tests;
