//! Opens whatever the user has: finds the files that belong together, unpacks them, and finds the holes of raw memory.
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
mod dump_file;
mod files;
mod folder;
mod hole;
mod options;
mod set;
mod unpack;

use std::path::Path;

use self::set::Set;
use crate::container::Guest;
use crate::container::dmp::DumpFile;
use crate::error::{Error, Result};
use crate::progress::{Progress, Silent};
use crate::text;
use crate::windows::{self, IdentifyOptions, Windows};

pub use compression::without_ending;
pub use dump_file::{dump, dump_if_one, header};
pub use files::{Files, folder_of};
pub use options::OpenOptions;
pub use unpack::{Unpacked, is_compressed};

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
        match names {
            [one] if one.as_ref().is_dir() => folder::find(one.as_ref()),
            [one] => belong::beside(one.as_ref()),
            several => {
                let mut paths = several.iter().map(AsRef::as_ref);
                if let Some(folder) = paths.clone().find(|name| name.is_dir()) {
                    return Err(Error::FolderAmongFiles {
                        folder: text::path(folder),
                    });
                }
                Ok(Self {
                    paths: paths.by_ref().map(Path::to_path_buf).collect(),
                    ..Self::default()
                })
            }
        }
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
            None => set::opened(&set, options)?,
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
