//! From names on the command line to the files of one guest.
//!
//! ```text
//! names --split--> SOURCE..., OUT
//!          SOURCE... --find--> files: parts, companions by name, what a folder holds
//!                                |
//!                             unpack: .gz, .xz, .. into a sparse file without a name
//!                                |
//!                             container::open_set, or DumpFile::open
//! ```
//!
//! What was found beside the names that were given is said, in the container's table. What could be meant in two
//! ways is an error that lists both.

mod arguments;
mod find;
mod folder;
mod hole;
mod unpack;
mod wrapper;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Error;
use core2dmp::source::{FileSource, ReadAt, fill_at};

use crate::escape;
use crate::message::Failure;

pub(crate) use arguments::split;
pub(crate) use find::{find, folder_of};
pub(crate) use hole::{Identified, identified, parse as parse_hole};
pub(crate) use unpack::Unpack;

/// Bytes of a file that show whether it is a dump.
const HEAD_BYTES: usize = 64;

/// The files of one guest, not yet opened.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The first is the one whose name the dump gets.
    pub(crate) paths: Vec<PathBuf>,
    /// What was taken besides what was named.
    found: Vec<String>,
    /// What was compressed, and how.
    unpacked: Vec<String>,
    /// What the user should know.
    warnings: Vec<String>,
}

/// The same, open.
#[derive(Debug)]
pub(crate) struct Sources {
    files: Files,
    bytes: Vec<Arc<dyn ReadAt>>,
}

impl Files {
    /// Opens them; those that are compressed are unpacked.
    pub(crate) fn open(mut self, unpack: &Unpack) -> Result<Sources, Failure> {
        let mut bytes: Vec<Arc<dyn ReadAt>> = Vec::new();
        for path in &self.paths {
            let source = match unpack.file(path)? {
                Some(unpacked) => {
                    self.unpacked.push(unpacked.what);
                    self.warnings.extend(unpacked.warning);
                    FileSource::of(unpacked.file)
                        .map_err(|e| Error::io("cannot read a temporary file", e))?
                }
                None => FileSource::open(path)?,
            };
            bytes.push(Arc::new(source));
        }
        Ok(Sources { files: self, bytes })
    }
}

impl Sources {
    /// Reads them as a dump, if they are one.
    pub(crate) fn dump(&self) -> Result<Option<DumpFile>, Failure> {
        let [source] = self.bytes.as_slice() else {
            return Ok(None);
        };
        let name = self.files.paths.first().map(|path| escape::path(path));
        is_dump(&**source, &name.unwrap_or_default())?
            .then(|| DumpFile::open(Arc::clone(source)).map_err(Failure::from))
            .transpose()
    }

    /// Whether they are one file, which was not unpacked.
    pub(crate) fn is_one_file_as_it_is(&self) -> bool {
        self.bytes.len() == 1 && self.files.unpacked.is_empty()
    }

    /// Opens the guest that they hold.
    pub(crate) fn guest(&self, options: &OpenOptions) -> Result<Guest, Failure> {
        let mut options = options.clone();
        let mut warnings = self.files.warnings.clone();
        let is_raw = self.is_raw()?;
        if !is_raw && !options.holes.is_empty() {
            return Err(Failure::Refused {
                message: "--hole is for raw memory; this file says itself where memory is"
                    .to_owned(),
                hint: "leave --hole out",
            });
        }
        if is_raw
            && options.holes.is_empty()
            && let Some(hole) = self.vmware_hole()
        {
            warnings.push(format!(
                "a .vmem alone does not say where memory has holes: taken to be VMware's, {hole}; with the .vmss or .vmsn beside it that is known (--hole START-END says otherwise)"
            ));
            options.holes.push(hole);
        }
        let opened = container::open_set(self.bytes.clone(), &options);
        let mut guest = opened.map_err(|error| self.explain(error))?;
        for (name, list) in [
            ("with", &self.files.found),
            ("unpacked", &self.files.unpacked),
        ] {
            if !list.is_empty() {
                guest.container.details.push((name, list.join("; ")));
            }
        }
        guest.container.warnings.extend(warnings);
        Ok(guest)
    }

    /// Whether nothing but raw memory would claim them.
    fn is_raw(&self) -> Result<bool, Failure> {
        for source in &self.bytes {
            if container::recognise(&**source)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The hole of a `.vmem` that is large enough to have one.
    fn vmware_hole(&self) -> Option<core2dmp::memory::Frames> {
        let ([path], [source]) = (self.files.paths.as_slice(), self.bytes.as_slice()) else {
            return None;
        };
        (find::extension(&unwrapped(path)) == "vmem").then(|| hole::vmware(source.size()))?
    }

    /// Files that do not belong together, or of which one was meant for the output.
    fn explain(&self, error: Error) -> Failure {
        match (&error, self.files.paths.as_slice()) {
            (Error::TooMany { limit: 1, .. }, [.., last]) => Failure::Advised {
                message: format!(
                    "these are not the files of one guest: {}",
                    names(&self.files.paths)
                ),
                hint: format!(
                    "one at a time; if {} is where the output goes: --output {} --force",
                    escape::path(last),
                    escape::path(last)
                ),
            },
            _ => Failure::Library(error),
        }
    }
}

/// Whether a file begins as a dump.
fn is_dump(source: &dyn ReadAt, name: &str) -> Result<bool, Failure> {
    let mut head = vec![0; HEAD_BYTES];
    let read =
        fill_at(source, 0, &mut head).map_err(|e| Error::io(format!("cannot read {name}"), e))?;
    head.truncate(usize::try_from(read).unwrap_or(HEAD_BYTES));
    Ok(DumpFile::is_dump(&head))
}

/// Whether a file has to be unpacked first.
pub(crate) fn is_compressed(path: &Path) -> bool {
    unpack::regular(path)
        .is_some_and(|mut file| unpack::kind_of(&mut file).is_ok_and(|kind| kind.is_some()))
}

/// File names for a message.
pub(crate) fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| escape::path(path)).collect();
    names.join(", ")
}

/// A name without the extension of a compressed file: `guest.core.gz` is `guest.core`.
pub(crate) fn unwrapped(path: &Path) -> PathBuf {
    match path.file_stem() {
        Some(_) if wrapper::is_extension(&find::extension(path)) => path.with_extension(""),
        _ => path.to_path_buf(),
    }
}

/// A file's own name, without its folder.
fn own_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
