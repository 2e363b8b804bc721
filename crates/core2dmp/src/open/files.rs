//! `Files`: the files of one guest by name; what a name reveals, and what a folder holds.

use std::path::{Path, PathBuf};

/// Files of a folder that are looked at.
const MAX_FILES: usize = 4096;

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

/// The regular files of a folder, the first of them, up to a limit; none if it cannot be read.
pub(super) fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    // `./` would be in front of every name.
    let place = |path: PathBuf| match path.strip_prefix(".") {
        Ok(short) => short.to_path_buf(),
        Err(_) => path,
    };
    let mut files: Vec<PathBuf> = entries
        .take(MAX_FILES)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .map(place)
        .collect();
    files.sort();
    files
}

/// A file's own name, without its folder.
pub(super) fn own_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A name's extension in small letters.
pub(super) fn extension(path: &Path) -> String {
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase()
}

/// What was taken besides what was named.
pub(super) fn found(path: &Path, why: &str) -> String {
    format!("{}, {why}", own_name(path))
}

/// The folder that a file is in; `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
