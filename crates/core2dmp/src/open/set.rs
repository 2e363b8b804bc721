//! The files of one guest, open: as a dump, or as the guest that they hold.

use std::path::Path;
use std::sync::Arc;

use super::dump_file::is_dump;
use super::files::{Files, extension};
use super::options::OpenOptions;
use super::unpack::{self, Unpacked};
use super::{compression, hole};
use crate::container::dmp::DumpFile;
use crate::container::{self, Guest};
use crate::error::{Error, Result};
use crate::measure::measured;
use crate::memory::Frames;
use crate::progress::Progress;
use crate::source::{FileSource, ReadAt};
use crate::text;
use crate::windows::{self, Windows};

/// The files, their bytes, and how they were unpacked.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) files: Files,
    pub(super) unpacked: Vec<Unpacked>,
    bytes: Vec<Arc<dyn ReadAt>>,
}

impl Set {
    /// Opens the files, and unpacks those that are compressed.
    pub(super) fn open(
        mut files: Files,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let folder = options.unpack_in.clone().unwrap_or_else(std::env::temp_dir);
        let salvage = options.container.salvage;
        let mut bytes: Vec<Arc<dyn ReadAt>> = Vec::new();
        let mut unpacked = Vec::new();
        for path in &files.paths {
            let source = match unpack::file(path, &folder, salvage, progress)? {
                Some((file, how)) => {
                    let damage = how.damage.iter();
                    files.warnings.extend(
                        damage.map(|damage| format!("{damage}; what was unpacked is read")),
                    );
                    unpacked.push(how);
                    FileSource::of(file)
                        .map_err(|e| Error::io("cannot read a temporary file", e))?
                }
                None => FileSource::open(path)?,
            };
            bytes.push(Arc::new(source));
        }
        Ok(Self {
            files,
            unpacked,
            bytes,
        })
    }

    /// Reads them as a dump, if they are one.
    pub(super) fn dump(&self) -> Result<Option<DumpFile>> {
        let [source] = self.bytes.as_slice() else {
            return Ok(None);
        };
        let path = self.files.paths.first().map_or(Path::new(""), |path| path);
        if !is_dump(&**source, path)? {
            return Ok(None);
        }
        DumpFile::open(Arc::clone(source)).map(Some)
    }

    /// Opens the guest that they hold.
    pub(super) fn guest(&self, options: &container::OpenOptions) -> Result<Guest> {
        let mut options = options.clone();
        let is_raw = self.is_raw()?;
        if !is_raw && !options.holes.is_empty() {
            return Err(Error::HolesNotRaw);
        }
        let mut warning = None;
        if is_raw
            && options.holes.is_empty()
            && let Some(hole) = self.vmware_hole()
        {
            warning = Some(format!(
                "a .vmem alone does not record where memory has holes: VMware's hole, {hole}, is assumed; with the .vmss or .vmsn beside it the holes are known"
            ));
            options.holes.push(hole);
        }
        let opened = container::open_set(self.bytes.clone(), &options);
        let mut guest = opened.map_err(|error| self.explain(error))?;
        guest.container.warnings.extend(warning);
        Ok(self.described(guest))
    }

    /// The guest, with what is known of its files.
    pub(super) fn described(&self, mut guest: Guest) -> Guest {
        let unpacked: Vec<String> = self.unpacked.iter().map(ToString::to_string).collect();
        for (name, list) in [("with", &self.files.found), ("unpacked", &unpacked)] {
            if !list.is_empty() {
                guest.container.details.push((name, list.join("; ")));
            }
        }
        let warnings = self.files.warnings.iter().cloned();
        guest.container.warnings.extend(warnings);
        guest
    }

    /// Whether nothing but raw memory would claim them.
    fn is_raw(&self) -> Result<bool> {
        for source in &self.bytes {
            if container::recognise(&**source)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The hole of a `.vmem` that is large enough to have one.
    fn vmware_hole(&self) -> Option<Frames> {
        let ([path], [source]) = (self.files.paths.as_slice(), self.bytes.as_slice()) else {
            return None;
        };
        let extension = extension(&compression::without_ending(path));
        (extension == "vmem").then(|| hole::of_vmem(source.size()))?
    }

    /// Files that do not belong together.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::TooMany { limit: 1, .. } => Error::NotOneGuest {
                files: self
                    .files
                    .paths
                    .iter()
                    .map(|path| text::path(path))
                    .collect(),
            },
            error => error,
        }
    }
}

/// A guest, and what was found of Windows meanwhile.
type Measured = (Guest, Option<Result<Windows>>);

/// Opens the guest of `set`; raw memory whose holes are not given measures itself.
pub(super) fn opened(set: &Set, options: &OpenOptions) -> Result<Measured> {
    let guest = set.guest(&options.container)?;
    if guest.container.format != "raw" || !options.container.holes.is_empty() {
        return Ok((guest, None));
    }
    let identify = |guest: &Guest| windows::identify_with(guest, &options.identify);
    let found = identify(&guest);
    let (guest, found) = measured(guest, found, &identify);
    Ok((guest, Some(found)))
}
