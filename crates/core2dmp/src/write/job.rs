//! What every way of writing has in common: options, progress, outcome, and why it failed.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use crate::address::{Gpa, Pfn};
use crate::error::{Error, Place, Result};
use crate::progress::Progress;

/// Bytes that are moved between two looks at the interruption flag.
pub(super) const STEP: u64 = 32 << 20;
/// Bytes of a buffer where the kernel does not copy.
pub(super) const BUFFER: usize = 1 << 20;

/// How to write a file: `WriteOptions::default().force(true)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Replace an existing file; by default it is an error.
    pub force: bool,
    /// Flush it to the disk before it gets its name: the default.
    pub sync: bool,
    /// Leave pages of zeros out of the file, as holes: it takes less space, and the pages pass through the program.
    pub sparse: bool,
    /// Read it again before it gets its name, and compare it with the source.
    pub verify: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            force: false,
            sync: true,
            sparse: false,
            verify: false,
        }
    }
}

impl WriteOptions {
    /// Sets [`force`](Self#structfield.force).
    #[must_use]
    pub const fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets [`sync`](Self#structfield.sync).
    #[must_use]
    pub const fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Sets [`sparse`](Self#structfield.sparse).
    #[must_use]
    pub const fn sparse(mut self, sparse: bool) -> Self {
        self.sparse = sparse;
        self
    }

    /// Sets [`verify`](Self#structfield.verify).
    #[must_use]
    pub const fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }
}

/// What was written otherwise than planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Pages that could not be decoded and are zeros: only if the image [salvages](crate::image::Image::salvage).
    pub corrupt: u64,
    /// The first of them.
    pub corrupt_pages: Vec<CorruptPage>,
}

/// A page that is zeros because the container's data for it does not decode to a page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptPage {
    /// Its address.
    pub gpa: Gpa,
    /// What is wrong, and where in the file.
    pub why: String,
}

/// Corrupt pages that are listed one by one.
pub(super) const MAX_CORRUPT_PAGES: usize = 64;

/// Why bytes did not move.
#[derive(Debug)]
pub(super) enum Failure {
    /// The container could not be read.
    Source { offset: u64, error: io::Error },
    /// A page of the container could not be made.
    Page(CorruptPage),
    /// The output could not be written.
    Output(io::Error),
    /// What was written does not read as the source does.
    Differs { frame: Option<Pfn>, offset: u64 },
    /// Somebody asked to stop.
    Stopped,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// The error for the user; `output` names the place in the output.
    pub(super) fn tell(self, output: &str) -> Error {
        match self {
            Self::Source { offset, error } => {
                let place = Place::Offset(offset);
                Error::io(format!("cannot read the container at {place}"), error)
            }
            Self::Page(CorruptPage { gpa, why }) => Error::CorruptPage { gpa, why },
            Self::Output(error) => Error::io(format!("cannot write {output}"), error),
            Self::Differs { frame, offset } => Error::ReadBack { frame, offset },
            Self::Stopped => Error::Interrupted,
        }
    }
}

/// Writes all bytes at an offset.
pub(super) fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(not(unix))]
    {
        use std::io::{Seek, SeekFrom, Write};
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }
}

/// `bytes` more are in their place.
pub(super) fn advance(progress: &dyn Progress, at: &mut u64, bytes: u64) -> Result<(), Failure> {
    *at = at.saturating_add(bytes);
    match progress.advance(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Failure::Stopped),
    }
}
