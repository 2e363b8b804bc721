//! The project's files, as the checks of its own text see them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Outcome;

/// Every file below a folder with this extension, by path; what git does not keep is left out.
pub fn below(folder: &Path, extension: &str) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    add(folder, extension, &mut found)?;
    found.sort();
    Ok(found)
}

fn add(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let is_ours = !matches!(&*name, "target" | "corpus" | "artifacts" | ".git");
            if is_ours && !path.is_symlink() {
                add(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// A path below a folder, with `/` between its parts.
pub fn name(path: &Path, folder: &Path) -> String {
    let name = path.strip_prefix(folder).unwrap_or(path);
    name.display().to_string().replace('\\', "/")
}

/// Reads a text; an error names the file.
pub fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
