//! The files of a guest, found once.

use std::path::{Path, PathBuf};

use core2dmp::open::{self, Files};

use crate::args::given;
use crate::message::Failure;

/// The files of a guest.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The names as they were given, for reports.
    pub(crate) given: String,
    /// What they mean.
    pub(crate) files: Files,
    /// Whether one of the files has to be unpacked.
    pub(crate) is_compressed: bool,
}

impl Source {
    /// The files that these names mean.
    pub(crate) fn of(names: &[PathBuf]) -> Result<Self, Failure> {
        let files = Files::find(names)?;
        Ok(Self {
            given: given(names),
            is_compressed: files.paths.iter().any(|path| open::is_compressed(path)),
            files,
        })
    }

    /// The files that one name means.
    pub(crate) fn of_one(name: &Path) -> Result<Self, Failure> {
        Self::of(&[name.to_path_buf()])
    }

    /// The first file, whose name an output gets.
    pub(crate) fn first(&self) -> &Path {
        self.files.paths.first().map_or(Path::new(""), |path| path)
    }
}
