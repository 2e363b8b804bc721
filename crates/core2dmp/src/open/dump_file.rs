//! Dumps, and the headers that they begin with, by their files' names.

use std::path::Path;
use std::sync::Arc;

use crate::container::dmp::DumpFile;
use crate::error::{Error, Result};
use crate::format::header_fields::HeaderWidth;
use crate::source::{FileSource, ReadAt, fill_at};
use crate::text;
use crate::windows::GivenHeader;

/// Bytes of a file that show whether it is a dump.
const HEAD_BYTES: usize = 64;

/// Opens a dump, if the file begins as one.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn dump_if_one(path: &Path) -> Result<Option<DumpFile>> {
    let source: Arc<dyn ReadAt> = Arc::new(FileSource::open(path)?);
    if !is_dump(&*source, path)? {
        return Ok(None);
    }
    DumpFile::open(source).map(Some)
}

/// Opens a dump.
///
/// # Errors
/// [`Error::NotADump`] for another file, [`Error::Io`] if it cannot be read.
pub fn dump(path: &Path) -> Result<DumpFile> {
    dump_if_one(path)?.ok_or_else(|| Error::NotADump {
        path: text::path(path),
    })
}

/// The header that a file begins with, as one more source for `IdentifyOptions::headers`.
///
/// # Errors
/// [`Error::NotAHeader`] if it begins with none, or with a part of one; [`Error::Io`] if it cannot be read.
pub fn header(path: &Path) -> Result<GivenHeader> {
    let name = text::path(path);
    let source = FileSource::open(path)?;
    let mut bytes = vec![0; HeaderWidth::Bits64.bytes()];
    let read =
        fill_at(&source, 0, &mut bytes).map_err(|e| Error::io(format!("cannot read {name}"), e))?;
    bytes.truncate(usize::try_from(read).unwrap_or(usize::MAX));
    if HeaderWidth::of(&bytes).is_none_or(|width| bytes.len() < width.bytes()) {
        return Err(Error::NotAHeader { path: name });
    }
    Ok(GivenHeader { name, bytes })
}

/// Whether a file begins as a dump.
pub(super) fn is_dump(source: &dyn ReadAt, path: &Path) -> Result<bool> {
    let mut head = vec![0; HEAD_BYTES];
    let read = fill_at(source, 0, &mut head)
        .map_err(|e| Error::io(format!("cannot read {}", text::path(path)), e))?;
    head.truncate(usize::try_from(read).unwrap_or(HEAD_BYTES));
    Ok(DumpFile::is_dump(&head))
}
