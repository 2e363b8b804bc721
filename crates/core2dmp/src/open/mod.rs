//! Opens whatever a person has: the files that belong together, unpacked, with the hole that raw memory leaves out.
//!
//! ```text
//! names --Files::find--> files: parts, companions by name, what a folder holds
//!                          |
//!                       unpack: .gz, .xz, .. into a sparse file without a name
//!                          |
//!                       container::open_set, or DumpFile::open  --raw memory: Windows says which hole-->  Opened
//! ```
//!
//! What was found beside the names that were given is a detail of the container. What could be meant in two ways is an
//! error that lists both.

mod belong;
mod compression;
mod decoder;
mod folder;
mod hole;
mod set;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::set::Set;
use crate::container::dmp::DumpFile;
use crate::container::{self, Guest};
use crate::error::{Error, Result};
use crate::format::header_fields::HeaderWidth;
use crate::progress::{Progress, Silent};
use crate::source::{FileSource, ReadAt, fill_at};
use crate::text;
use crate::windows::{self, GivenHeader, IdentifyOptions, Windows};

pub use belong::folder_of;
pub use compression::without_ending;
pub use unpack::{Unpacked, is_compressed};

/// Bytes of a file that show whether it is a dump.
const HEAD_BYTES: usize = 64;

/// How to open files.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How the container is read; holes that are given here are not searched.
    pub container: container::OpenOptions,
    /// How Windows is searched.
    pub identify: IdentifyOptions,
    /// The folder in which compressed files are unpacked; the system's for temporary files if there is none. The unpacked
    /// file has no name, and is gone when it is closed.
    pub unpack_in: Option<PathBuf>,
}

/// The files of one guest, not yet opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Files {
    /// In the container's order. The first is the one whose name an output gets.
    pub paths: Vec<PathBuf>,
    /// What was taken besides what was named, in words.
    pub found: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A guest, and the files that it was read from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The files that belong together.
    pub files: Files,
    /// Those of them that were compressed.
    pub unpacked: Vec<Unpacked>,
    /// The dump, if it is one: its header, and what is behind it.
    pub dump: Option<DumpFile>,
    /// The guest.
    pub guest: Guest,
    options: IdentifyOptions,
    /// What the search for a hole has found already.
    searched: Option<Result<Windows>>,
}

impl Opened {
    /// Finds Windows in the guest, with the options that it was opened with.
    ///
    /// # Errors
    /// As [`windows::identify_with`].
    pub fn identify(&mut self) -> Result<Windows> {
        match self.searched.take() {
            Some(found) => found,
            None => windows::identify_with(&self.guest, &self.options),
        }
    }
}

/// Opens the guest that `names` mean: one file with what belongs to it, several files of one guest, or a folder.
///
/// # Errors
/// What does not make one guest, cannot be unpacked, or what its container finds wrong.
pub fn open<P: AsRef<Path>>(names: &[P], options: &OpenOptions) -> Result<Opened> {
    Files::find(names)?.open(options, &Silent)
}

impl Files {
    /// The files that `names` mean; none of them is opened but to look at its first bytes.
    ///
    /// # Errors
    /// [`Error::FolderAmongFiles`], [`Error::SeveralCompanions`], [`Error::NoGuestInFolder`], [`Error::SeveralGuests`];
    /// [`Error::Io`] if the only name cannot be opened.
    pub fn find<P: AsRef<Path>>(names: &[P]) -> Result<Self> {
        belong::find(names)
    }

    /// Opens them; those that are compressed are unpacked first.
    ///
    /// # Errors
    /// What cannot be unpacked, or what the container finds wrong; [`Error::Interrupted`] if `progress` stops it.
    pub fn open(self, options: &OpenOptions, progress: &dyn Progress) -> Result<Opened> {
        let set = Set::open(self, options, progress)?;
        let dump = set.dump()?;
        let (guest, searched) = match &dump {
            Some(dump) => (set.described(dump.guest()), None),
            None => hole::opened(&set, options)?,
        };
        let Set {
            files, unpacked, ..
        } = set;
        Ok(Opened {
            files,
            unpacked,
            dump,
            guest,
            options: options.identify.clone(),
            searched,
        })
    }

    /// Whether it is one file, which need not be unpacked.
    #[must_use]
    pub fn is_one_as_it_is(&self) -> bool {
        matches!(self.paths.as_slice(), [path] if !is_compressed(path))
    }
}

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

/// The header that a file begins with, as one more source for [`IdentifyOptions::headers`].
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
fn is_dump(source: &dyn ReadAt, path: &Path) -> Result<bool> {
    let mut head = vec![0; HEAD_BYTES];
    let read = fill_at(source, 0, &mut head)
        .map_err(|e| Error::io(format!("cannot read {}", text::path(path)), e))?;
    head.truncate(usize::try_from(read).unwrap_or(HEAD_BYTES));
    Ok(DumpFile::is_dump(&head))
}

/// A file's own name, without its folder.
fn own_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
