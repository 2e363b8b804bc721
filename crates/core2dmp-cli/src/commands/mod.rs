//! One file per command.

mod around;
pub(crate) mod check;
pub(crate) mod consume;
pub(crate) mod convert;
pub(crate) mod deep;
pub(crate) mod demo;
pub(crate) mod diff;
mod export;
pub(crate) mod info;
mod output;
pub(crate) mod repair;
mod side;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{Guest, OpenOptions};
use core2dmp::error::Error;
use core2dmp::format::header_fields::HeaderWidth;
use core2dmp::source::{FileSource, ReadAt, fill_at};
use core2dmp::windows::{self, GivenHeader, HeaderSearch, IdentifyOptions, Windows};

use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::sources::{self, Identified, Unpack};

/// Opens the guest that a name means, with all that belongs to it, and looks for Windows: as `convert` does.
fn open_core(path: &Path, interrupt: &Interrupt) -> Result<(Guest, Windows), Failure> {
    let unpack = Unpack::temporary(false, false, interrupt.clone());
    let sources = sources::find(&[path.to_path_buf()])?.open(&unpack)?;
    let options = OpenOptions::default();
    let guest = sources.guest(&options)?;
    let search = |guest: &Guest| identify(guest, &[], HeaderSearch::default());
    let Identified { guest, found } = sources::identified(&sources, &options, guest, &search);
    Ok((guest, found?))
}

/// Bytes of a file that show whether it is a dump.
const HEAD_BYTES: usize = 64;

/// Opens a dump, if the file begins as one.
fn open_if_dump(path: &Path) -> Result<Option<DumpFile>, Failure> {
    let source = FileSource::open(path)?;
    let mut head = vec![0; HEAD_BYTES];
    let read = fill_at(&source, 0, &mut head)
        .map_err(|e| Error::io(format!("cannot read {}", escape::path(path)), e))?;
    head.truncate(usize::try_from(read).unwrap_or(HEAD_BYTES));
    if !DumpFile::is_dump(&head) {
        return Ok(None);
    }
    let source: Arc<dyn ReadAt> = Arc::new(source);
    Ok(Some(DumpFile::open(source)?))
}

/// Opens a dump; another file is an error.
fn open_dump(path: &Path) -> Result<DumpFile, Failure> {
    open_if_dump(path)?.ok_or_else(|| Failure::Refused {
        message: format!("{} is not a Windows crash dump", path.display()),
        hint: "a dump begins with PAGEDU64 or PAGEDUMP; `core2dmp convert` makes one of a core",
    })
}

/// Finds Windows, with the headers in these files as further sources.
fn identify(
    guest: &Guest,
    headers: &[PathBuf],
    header_search: HeaderSearch,
) -> Result<Windows, Failure> {
    let options = IdentifyOptions {
        headers: headers
            .iter()
            .map(|path| header(path))
            .collect::<Result<_, _>>()?,
        header_search,
    };
    Ok(windows::identify_with(guest, &options)?)
}

/// The header that a file begins with.
fn header(path: &Path) -> Result<GivenHeader, Failure> {
    let name = escape::path(path);
    let source = FileSource::open(path)?;
    let mut bytes = vec![0; HeaderWidth::Bits64.bytes()];
    let read =
        fill_at(&source, 0, &mut bytes).map_err(|e| Error::io(format!("cannot read {name}"), e))?;
    bytes.truncate(usize::try_from(read).unwrap_or(usize::MAX));
    if HeaderWidth::of(&bytes).is_none_or(|width| bytes.len() < width.bytes()) {
        return Err(Failure::Refused {
            message: format!("{name} does not begin with the header of a dump"),
            hint: "--header takes a dump of Windows, or its first page (32 bit) or two (64 bit)",
        });
    }
    Ok(GivenHeader { name, bytes })
}
