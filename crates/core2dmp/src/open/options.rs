//! How to open files.

use std::path::PathBuf;

use crate::container;
use crate::windows::IdentifyOptions;

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
