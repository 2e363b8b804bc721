//! Which files belong to a name: the companion beside it, the other parts, what a folder holds.
//!
//! ```text
//! win.vmem        win.vmss or win.vmsn beside it, and the other way round     VMware
//! win.bin         win.vsv, and the other way round                            Hyper-V
//! dump.1          the other parts of the same split dump in the folder        makedumpfile --split
//! folder/         the one guest in it
//! ```
//!
//! If several names are given, no others are searched for. A companion is found by its name and identified by its first
//! bytes; one that no format recognises is ignored, with a note.

use std::path::{Path, PathBuf};

use super::files::{self, Files, extension, folder_of, found, own_name};
use crate::container::{self, SplitPart};
use crate::error::{Error, Result};
use crate::source::FileSource;
use crate::text;

/// Memory, and the extensions of the state that may be beside it.
const PAIRS: [(&str, &[&str]); 2] = [("vmem", &["vmss", "vmsn"]), ("bin", &["vsv"])];

/// A file, and what belongs to it.
pub(super) fn beside(path: &Path) -> Result<Files> {
    let mut files = Files {
        paths: vec![path.to_path_buf()],
        ..Files::default()
    };
    let source = FileSource::open(path)?;
    if let Some(part) = container::split_part(&source) {
        parts(path, part, &mut files);
        return Ok(files);
    }
    let companions = companions(path);
    match companions.as_slice() {
        [] => {}
        [companion] => take(companion, &mut files),
        several => {
            return Err(Error::SeveralCompanions {
                path: text::path(path),
                others: several.iter().map(|other| text::path(other)).collect(),
            });
        }
    }
    Ok(files)
}

/// The files beside `path` that its extension asks for.
fn companions(path: &Path) -> Vec<PathBuf> {
    let own = extension(path);
    let mut wanted: Vec<&str> = Vec::new();
    for (memory, states) in PAIRS {
        if own == memory {
            wanted.extend(states);
        } else if states.contains(&own.as_str()) {
            wanted.push(memory);
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let stem = path.file_stem();
    let mut found: Vec<PathBuf> = files::in_folder(folder_of(path))
        .into_iter()
        .filter(|other| other.file_stem() == stem && wanted.contains(&extension(other).as_str()))
        .collect();
    found.sort();
    found
}

/// Takes a companion, memory first, if a format knows the state.
fn take(companion: &Path, files: &mut Files) {
    let is_memory = PAIRS.iter().any(|pair| pair.0 == extension(companion));
    let state = if is_memory {
        files.paths.first().cloned().unwrap_or_default()
    } else {
        companion.to_path_buf()
    };
    if !is_known(&state) {
        let companion = text::path(companion);
        files.warnings.push(format!(
            "{companion} is beside it, but the state in {} is of no known format: left out",
            own_name(&state)
        ));
        return;
    }
    files
        .found
        .push(found(companion, "found beside it by its name"));
    let at = if is_memory { 0 } else { files.paths.len() };
    files.paths.insert(at, companion.to_path_buf());
}

/// Whether a format other than raw memory claims a file.
fn is_known(path: &Path) -> bool {
    FileSource::open(path)
        .and_then(|source| container::recognise(&source))
        .is_ok_and(|title| title.is_some())
}

/// Takes the other parts of a split dump, if it is clear which they are.
fn parts(path: &Path, part: SplitPart, files: &mut Files) {
    let own = path.canonicalize().ok();
    let mut all = vec![(part, path.to_path_buf())];
    for other in files::in_folder(folder_of(path)) {
        if other.canonicalize().ok() == own {
            continue;
        }
        let its_part = FileSource::open(&other)
            .ok()
            .and_then(|source| container::split_part(&source));
        if let Some(its_part) = its_part.filter(|other| other.of == part.of) {
            all.push((its_part, other));
        }
    }
    all.sort_by_key(|(part, path)| (part.first, path.clone()));
    let mut pairs = all.iter().zip(all.iter().skip(1));
    if pairs.any(|((part, _), (next, _))| next.first < part.end) {
        files.warnings.push(
            "more than one part of a split dump here has the same frames: name the parts that belong together"
                .to_owned(),
        );
        return;
    }
    let others = all.iter().filter(|(_, other)| other != path);
    files.found = others
        .map(|(_, other)| found(other, "a part of the same split dump"))
        .collect();
    files.paths = all.into_iter().map(|(_, path)| path).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Remedy;

    /// What a format claims.
    const STATE: &[u8] = b"KDUMP   ";

    #[test]
    fn a_companion_is_found_by_its_stem() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            "win.vmem",
            "win.VMSS",
            "winner.vmsn",
            "other.vmss",
            "alone.vmem",
        ] {
            std::fs::write(path(name), name).unwrap();
        }
        assert_eq!(companions(&path("win.vmem")), [path("win.VMSS")]);
        assert_eq!(companions(&path("win.VMSS")), [path("win.vmem")]);
        assert!(companions(&path("alone.vmem")).is_empty());
        // The state has an unknown format: it is ignored, with a note.
        let files = Files::find(&[path("win.vmem")]).unwrap();
        assert_eq!(files.paths, [path("win.vmem")]);
        assert!(files.warnings[0].contains("of no known format"));
        // Now it is something that a format claims.
        std::fs::write(path("win.VMSS"), STATE).unwrap();
        for given in ["win.vmem", "win.VMSS"] {
            let files = Files::find(&[path(given)]).unwrap();
            assert_eq!(files.paths, [path("win.vmem"), path("win.VMSS")]);
            assert!(files.found[0].contains("beside it"), "{:?}", files.found);
        }
        std::fs::write(path("win.vmsn"), STATE).unwrap();
        let error = Files::find(&[path("win.vmem")]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("win.VMSS") && message.contains("win.vmsn"));
        assert!(matches!(error.remedy(), Some(Remedy::NameBoth { .. })));
    }
}
