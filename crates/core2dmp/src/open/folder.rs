//! The one guest in a folder: libvirt's, Proxmox', VMware's, or one made by hand.
//!
//! ```text
//! every file --first bytes--> a known format | memory by its extension | nothing
//!            --by name, by parts--> guests       one: that   several: an error that lists them
//! ```
//!
//! A dump beside a core is likely what was made of it: dumps count only where there is nothing else, and raw
//! memory only where there is no file that says itself what it is.

use std::path::{Path, PathBuf};

use super::belong;
use super::dump_file::is_dump;
use super::files::{Files, extension, found, in_folder, own_name};
use crate::container;
use crate::error::{Error, Result};
use crate::source::FileSource;
use crate::text;

/// Extensions of files that are memory and nothing else.
const MEMORY: [&str; 5] = ["vmem", "raw", "mem", "dd", "lime"];
/// Guests that an error names.
const MAX_NAMED: usize = 8;

/// What a file in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Core(&'static str),
    Raw,
    Dump,
}

/// The guest in a folder.
pub(super) fn find(folder: &Path) -> Result<Files> {
    folder
        .read_dir()
        .map_err(|e| Error::io(format!("cannot read {}", text::path(folder)), e))?;
    let known: Vec<(Kind, PathBuf)> = in_folder(folder)
        .into_iter()
        .filter_map(|path| Some((kind_of(&path)?, path)))
        .collect();
    let rank = |kind: Kind| match kind {
        Kind::Core(_) => 0,
        Kind::Raw => 1,
        Kind::Dump => 2,
    };
    let Some(best) = known.iter().map(|(kind, _)| rank(*kind)).min() else {
        return Err(Error::NoGuestInFolder {
            folder: text::path(folder),
        });
    };
    // Each with what belongs to it; what is a part of another's is no guest of its own.
    let mut guests: Vec<(Kind, Files)> = Vec::new();
    for (kind, path) in known.iter().filter(|(kind, _)| rank(*kind) == best) {
        let taken = |files: &Files| files.paths.contains(path);
        if !guests.iter().any(|(_, files)| taken(files)) {
            guests.push((*kind, belong::beside(path)?));
        }
    }
    match guests.as_mut_slice() {
        [(_, files)] => {
            let first = files.paths.first().map_or(folder, |path| path);
            let how = found(first, "the one guest in the folder");
            files.found.insert(0, how);
            Ok(std::mem::take(files))
        }
        several => Err(ambiguous(folder, several)),
    }
}

fn ambiguous(folder: &Path, guests: &[(Kind, Files)]) -> Error {
    let title = |kind: &Kind| match kind {
        Kind::Core(title) => *title,
        Kind::Raw => "raw memory",
        Kind::Dump => "dump",
    };
    let list: Vec<String> = guests
        .iter()
        .take(MAX_NAMED)
        .map(|(kind, files)| {
            let names: Vec<String> = files.paths.iter().map(|path| own_name(path)).collect();
            format!("{} ({})", names.join(" + "), title(kind))
        })
        .collect();
    let more = guests.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    let first = guests.first().and_then(|(_, files)| files.paths.first());
    Error::SeveralGuests {
        folder: text::path(folder),
        count: guests.len(),
        list: list.join("; ") + &more,
        first: first.map_or_else(String::new, |path| text::path(path)),
    }
}

/// What a file is, if it can be a guest's memory.
fn kind_of(path: &Path) -> Option<Kind> {
    let source = FileSource::open(path).ok()?;
    let extension = extension(path);
    match container::recognise(&source).ok()? {
        Some(_) if is_dump(&source, path).ok()? => Some(Kind::Dump),
        Some(title) => Some(Kind::Core(title)),
        None if MEMORY.contains(&extension.as_str()) => Some(Kind::Raw),
        // Hyper-V's memory has an extension that everybody's files have.
        None if extension == "bin" => {
            let state = path.with_extension("vsv");
            state.is_file().then_some(Kind::Raw)
        }
        None => None,
    }
}
