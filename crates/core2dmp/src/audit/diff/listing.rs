//! A byte comparison as text, read and written: `offset: old new`, one byte a line.
//!
//! ```text
//! 00000011: 60 10
//! 00000f98: 01 02
//! ```

use crate::format::header_fields::HeaderWidth;

/// Lines that are read: two headers have no more bytes.
const MAX_LINES: usize = 0x2000;

/// A byte that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteDifference {
    /// From the start of the file.
    pub offset: usize,
    /// In the first file.
    pub old: u8,
    /// In the second file.
    pub new: u8,
}

/// Why a listing cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// No line of it is a byte difference.
    #[error("no line of the listing is \"offset: old new\" in hexadecimal")]
    Empty,
    /// It has more lines than a header has bytes.
    #[error("the listing has more than {limit} lines: it compares more than headers")]
    TooLong {
        /// Lines that are read.
        limit: usize,
    },
    /// It does not belong to this header.
    #[error(
        "the listing does not belong to this header: at offset {offset:#x} it has {old:02x} and {new:02x}, the header has {found}"
    )]
    OtherHeader {
        /// Where.
        offset: usize,
        /// The listing's first byte.
        old: u8,
        /// The listing's second byte.
        new: u8,
        /// What is there.
        found: String,
    },
}

/// Reads the lines that are byte differences, and skips all others.
///
/// # Errors
/// [`ListingError`] if there is none, or more than a header has bytes.
pub fn parse_listing(text: &str) -> Result<Vec<ByteDifference>, ListingError> {
    let mut differences = Vec::new();
    for line in text.lines() {
        let Some(difference) = parse_line(line) else {
            continue;
        };
        if differences.len() >= MAX_LINES {
            return Err(ListingError::TooLong { limit: MAX_LINES });
        }
        differences.push(difference);
    }
    if differences.is_empty() {
        return Err(ListingError::Empty);
    }
    Ok(differences)
}

fn parse_line(line: &str) -> Option<ByteDifference> {
    let (offset, bytes) = line.trim().split_once(':')?;
    let mut bytes = bytes.split_whitespace();
    let (old, new) = (bytes.next()?, bytes.next()?);
    let is_byte = |text: &str| text.len() == 2;
    if bytes.next().is_some() || !is_byte(old) || !is_byte(new) {
        return None;
    }
    Some(ByteDifference {
        offset: usize::from_str_radix(offset, 16).ok()?,
        old: u8::from_str_radix(old, 16).ok()?,
        new: u8::from_str_radix(new, 16).ok()?,
    })
}

/// The other header of a listing, from one of the two: `header` may be either side, as long as it is the same
/// side everywhere.
///
/// # Errors
/// [`ListingError::OtherHeader`] names the first byte that is neither.
pub fn apply(header: &[u8], listing: &[ByteDifference]) -> Result<Vec<u8>, ListingError> {
    let is_old = |d: &ByteDifference| header.get(d.offset) == Some(&d.old);
    let is_new = |d: &ByteDifference| header.get(d.offset) == Some(&d.new);
    let size = HeaderWidth::of(header).map_or(header.len(), HeaderWidth::bytes);
    let ours: Vec<ByteDifference> = listing
        .iter()
        .copied()
        .filter(|difference| difference.offset < size)
        .collect();
    let to_new = ours.iter().all(is_old);
    if !to_new && !ours.iter().all(is_new) {
        let stranger = ours.iter().find(|difference| !is_old(difference));
        let stranger = stranger.copied().unwrap_or(ByteDifference {
            offset: 0,
            old: 0,
            new: 0,
        });
        return Err(ListingError::OtherHeader {
            offset: stranger.offset,
            old: stranger.old,
            new: stranger.new,
            found: header
                .get(stranger.offset)
                .map_or("no byte there".to_owned(), |byte| format!("{byte:02x}")),
        });
    }
    let mut other = header.to_vec();
    for difference in &ours {
        if let Some(byte) = other.get_mut(difference.offset) {
            *byte = if to_new {
                difference.new
            } else {
                difference.old
            };
        }
    }
    Ok(other)
}

/// The bytes in which two headers differ, in the form of a listing.
#[must_use]
pub fn byte_differences(old: &[u8], new: &[u8]) -> Vec<ByteDifference> {
    old.iter()
        .zip(new)
        .enumerate()
        .filter(|(_, (old, new))| old != new)
        .map(|(offset, (old, new))| ByteDifference {
            offset,
            old: *old,
            new: *new,
        })
        .collect()
}
