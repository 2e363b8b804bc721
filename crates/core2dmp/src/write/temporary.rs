//! Files that do not have their names yet: images on their way, and what belongs to a dump.
//!
//! ```text
//! .NAME.xxxxxx.core2dmp-part   created anew (O_EXCL), mode 0600, locked while its writer lives
//!        |  written, cut to size, flushed, [read again]
//!        v
//!       NAME                   renamed, and never over another file without `force`
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use super::file::FileWriter;
use super::free_space::FreeSpace;
use super::job::{WriteOptions, Written};
use super::page_cache::{CacheUse, WriteBack};
use super::{decoded, verify};
use crate::error::{Error, Result};
use crate::image::{Image, SegmentData};
use crate::memory::PhysicalMemory;
use crate::progress::Progress;

/// What its name ends with.
pub(super) const SUFFIX: &str = ".core2dmp-part";
/// Bytes of a name that the temporary one repeats: names have 255 at most.
const MAX_PREFIX: usize = 200;
/// How often somebody who cleans up may take a new file away before it is locked.
const ATTEMPTS: usize = 8;

/// An image's file, whole, and what it will be called.
pub(super) struct Unnamed<'p> {
    temporary: NamedTempFile,
    path: &'p Path,
    /// The name, for messages.
    name: String,
}

impl<'p> Unnamed<'p> {
    pub(super) fn write(
        image: &Image,
        memory: &PhysicalMemory,
        path: &'p Path,
        options: WriteOptions,
        space: &FreeSpace<'_>,
    ) -> Result<(Self, Written)> {
        let name = path.display().to_string().escape_debug().to_string();
        let failed = |what: &str, e| Error::io(format!("cannot {what} {name}"), e);
        check_target(path, &name, options.force)?;
        let temporary = create(path, folder(path)).map_err(|e| failed("create", e))?;
        let file = temporary.as_file();
        if leaves_holes(image, options) {
            // A write behind the end lets XFS reserve room in front of it, and that fills the holes.
            file.set_len(image.size())
                .map_err(|e| failed("extend", e))?;
        }
        let mut writer = FileWriter {
            memory,
            file,
            at: 0,
            progress: space,
            buffer: Vec::new(),
            damage: decoded::Damage::new(memory, image.salvage()),
            sparse: options.sparse,
            cache: CacheUse::begin(&**memory.source(), image.size()),
            write_back: WriteBack::new(options.sync || options.verify),
        };
        for segment in image.segments() {
            let written = writer.segment(segment);
            let told = written
                .map_err(|failure| failure.tell(&format!("{name} at offset {:#x}", writer.at)));
            told.map_err(|error| space.explain(error, &name, writer.at))?;
        }
        let written = writer.damage.written;
        file.set_len(image.size())
            .map_err(|e| failed("extend", e))?;
        if options.sync || options.verify {
            // What is not on the disk cannot be read again from there.
            file.sync_all().map_err(|e| failed("flush", e))?;
        }
        if options.verify {
            verify::file(file, image, memory, &name, space)?;
        }
        let unnamed = Self {
            temporary,
            path,
            name,
        };
        Ok((unnamed, written))
    }

    /// Gives it its name.
    pub(super) fn publish(self, options: WriteOptions, progress: &dyn Progress) -> Result<()> {
        // Flushing may have taken minutes.
        if progress.advance(0).is_break() {
            return Err(Error::Interrupted);
        }
        let named = if options.force {
            self.temporary.persist(self.path)
        } else {
            self.temporary.persist_noclobber(self.path)
        };
        match named {
            Ok(_) => {}
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::OutputExists { path: self.name });
            }
            Err(e) => {
                let what = format!("cannot rename the finished file to {}", self.name);
                return Err(Error::io(what, e.error));
            }
        }
        if options.sync {
            // The name is durable only with its folder. Not every file system can flush one: then it is as good
            // as it gets.
            let _ = File::open(folder(self.path)).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

/// Whether pages of zeros are left out of the file.
fn leaves_holes(image: &Image, options: WriteOptions) -> bool {
    let is_encoded = |data: &SegmentData| matches!(data, SegmentData::Encoded { .. });
    options.sparse
        || image
            .segments()
            .iter()
            .any(|segment| is_encoded(&segment.data))
}

/// A new file beside a dump for something that belongs to it, such as its checksums: private to its owner, and named so
/// that [`leftovers`](super::leftovers) finds it if it is left behind. Dropped without a name, it is removed.
#[derive(Debug)]
pub struct Temporary(NamedTempFile);

impl Temporary {
    /// Creates one in the folder of the dump at `dump`.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn beside(dump: &Path) -> io::Result<Self> {
        create(dump, folder(dump)).map(Self)
    }

    /// Gives it a name, in the place of a file that has it.
    ///
    /// # Errors
    /// What the operating system reports; the file is then removed.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        self.0.persist(path).map(drop).map_err(|error| error.error)
    }
}

impl io::Write for Temporary {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A new file in `folder` on the way to `path`, or to something that belongs to it; locked.
pub(super) fn create(path: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    for _ in 0..ATTEMPTS {
        // `tempfile` opens with O_EXCL and mode 0600.
        let temporary = tempfile::Builder::new()
            .prefix(&prefix(path))
            .suffix(SUFFIX)
            .tempfile_in(folder)
            // The library's own text names the temporary file, which the user never asked for.
            .map_err(|e| io::Error::from(e.kind()))?;
        if lock(temporary.as_file()) {
            return Ok(temporary);
        }
    }
    Err(io::Error::other(
        "somebody removes each new file of this name",
    ))
}

/// Locks a file that is to be written; `false` if somebody has taken it away.
#[cfg(target_os = "linux")]
pub(super) fn lock(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock, fstat};
    let locked = flock(file, FlockOperation::NonBlockingLockExclusive);
    // On a file system without locks no other run can check the lock either.
    locked != Err(rustix::io::Errno::WOULDBLOCK) && fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock(_: &File) -> bool {
    true
}

/// What the name of a temporary file for `path` begins with.
pub(super) fn prefix(path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default();
    let mut prefix = OsString::from(".");
    if name.len() > MAX_PREFIX {
        // Lossy text takes three bytes for one that is no text.
        let text = name.to_string_lossy();
        let mut end = MAX_PREFIX / 3;
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        prefix.push(OsStr::new(text.get(..end).unwrap_or_default()));
    } else {
        prefix.push(name);
    }
    prefix.push(".");
    prefix
}

/// The folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

/// Whether the name is free, or may be taken.
fn check_target(path: &Path, name: &str, force: bool) -> Result<()> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("cannot look at {name}"), e)),
        Ok(meta) if meta.is_file() && force => Ok(()),
        Ok(meta) if meta.is_file() => Err(Error::OutputExists {
            path: name.to_owned(),
        }),
        Ok(_) => Err(Error::io(
            format!("cannot write {name}: it is not a regular file"),
            io::ErrorKind::InvalidInput.into(),
        )),
    }
}
