//! Positioned reads of a file, a buffer, or anything that behaves like one.
//!
//! There is no cursor, so one source serves every stage and every thread. Nothing is mapped: a file that
//! shrinks under a mapping kills the process, but a short read is an error that can be reported.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Place, Result};
use crate::text;

/// Bytes that can be read at any offset.
pub trait ReadAt: Debug + Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Reads up to `buf.len()` bytes at `offset`; 0 means the end. As with `pread`, fewer bytes than
    /// asked for are no error.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// The file that holds the bytes from `offset` on, and where in it they are: the writer then lets the
    /// kernel copy them.
    fn file_at(&self, _offset: u64) -> Option<(&File, u64)> {
        None
    }
}

/// A file opened for reading.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens `path` read-only.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or is not a regular file or block device.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("cannot open {}", text::path(path));
        #[cfg(unix)]
        refuse_pipes(path).map_err(|e| Error::io(what(), e))?;
        let file = File::open(path).map_err(|e| Error::io(what(), e))?;
        let meta = file.metadata().map_err(|e| Error::io(what(), e))?;
        if meta.is_dir() {
            return Err(Error::io(what(), io::ErrorKind::IsADirectory.into()));
        }
        Self::of(file).map_err(|e| Error::io(what(), e))
    }

    /// A file that is open already, such as one without a name.
    ///
    /// # Errors
    /// What the operating system says when it is asked for the file's end.
    pub fn of(file: File) -> io::Result<Self> {
        let mut end = &file;
        // A block device reports length 0 in its metadata, its end does not.
        let size = io::Seek::seek(&mut end, io::SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

/// Opening a FIFO waits for somebody who writes, maybe for ever; and it cannot be read at positions.
#[cfg(unix)]
fn refuse_pipes(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = path.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe or a socket, which has no positions to read at",
        ));
    }
    Ok(())
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buf, offset)
    }

    fn file_at(&self, offset: u64) -> Option<(&File, u64)> {
        Some((&self.file, offset))
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}

/// Several files as one: the parts of a split dump, or memory and state that are in two files.
///
/// ```text
/// offset  0 .. size of part 0   |   2^56 .. + size of part 1   |   2 x 2^56 ..
/// ```
///
/// Parts are so far apart that nothing crosses from one into the next.
#[derive(Debug)]
pub struct JoinedSource {
    parts: Vec<Arc<dyn ReadAt>>,
}

impl JoinedSource {
    /// Parts at most.
    pub const MAX_PARTS: usize = 255;
    const SHIFT: u32 = 56;

    /// Joins `parts`, in this order.
    ///
    /// # Errors
    /// [`Error::TooMany`] past [`Self::MAX_PARTS`].
    pub fn new(parts: Vec<Arc<dyn ReadAt>>) -> Result<Self> {
        if parts.len() > Self::MAX_PARTS {
            return Err(Error::TooMany {
                what: "files of one guest",
                found: parts.len() as u64,
                limit: Self::MAX_PARTS as u64,
            });
        }
        Ok(Self { parts })
    }

    /// Where the bytes of part `index` start.
    #[must_use]
    pub const fn base(index: u64) -> u64 {
        index << Self::SHIFT
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.size()))
    }

    fn part(&self, offset: u64) -> Option<(&dyn ReadAt, u64)> {
        let index = usize::try_from(offset >> Self::SHIFT).ok()?;
        let inside = offset & ((1 << Self::SHIFT) - 1);
        Some((&**self.parts.get(index)?, inside))
    }
}

impl ReadAt for JoinedSource {
    /// One past the last byte of the last part.
    fn size(&self) -> u64 {
        let last = self.parts.len().saturating_sub(1) as u64;
        self.parts
            .last()
            .map_or(0, |part| Self::base(last).saturating_add(part.size()))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.part(offset)
            .map_or(Ok(0), |(part, inside)| part.read_at(inside, buf))
    }

    fn file_at(&self, offset: u64) -> Option<(&File, u64)> {
        let (part, inside) = self.part(offset)?;
        part.file_at(inside)
    }
}

/// Bytes of hole in the source from `offset` on; 0 if data is there, or if that is unknown.
pub(crate) fn hole_at(source: &dyn ReadAt, offset: u64) -> u64 {
    let Some((file, at)) = source.file_at(offset) else {
        return 0;
    };
    match next_data(file, at) {
        Some(data) => data.saturating_sub(at),
        None => 0,
    }
}

/// Bytes of data in the source from `offset` on; all of them if that is unknown.
pub(crate) fn data_at(source: &dyn ReadAt, offset: u64) -> u64 {
    source
        .file_at(offset)
        .and_then(|(file, at)| Some(next_hole(file, at)?.saturating_sub(at)))
        .unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
fn next_data(file: &File, offset: u64) -> Option<u64> {
    use rustix::fs::{SeekFrom, seek};
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Some(data),
        // No data behind: a hole up to the end.
        Err(rustix::io::Errno::NXIO) => seek(file, SeekFrom::End(0)).ok(),
        Err(_) => None,
    }
}

#[cfg(target_os = "linux")]
fn next_hole(file: &File, offset: u64) -> Option<u64> {
    use rustix::fs::{SeekFrom, seek};
    seek(file, SeekFrom::Hole(offset)).ok()
}

#[cfg(not(target_os = "linux"))]
fn next_data(_: &File, _: u64) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn next_hole(_: &File, _: u64) -> Option<u64> {
    None
}

/// Fills `buf` from `offset`, or says what was not there.
///
/// # Errors
/// [`Error::Io`] where the read fails, [`Error::Truncated`] where the source ends first.
pub fn read_exact_at(
    source: &dyn ReadAt,
    offset: u64,
    buf: &mut [u8],
    what: &'static str,
) -> Result<()> {
    let place = Place::Offset(offset);
    let expected = buf.len() as u64;
    match fill_at(source, offset, buf) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(Error::Truncated {
            what,
            place,
            expected,
            found,
        }),
        Err(e) => Err(Error::io(format!("cannot read {what} at {place}"), e)),
    }
}

/// Reads until `buf` is full or the source ends; the number of bytes read.
///
/// # Errors
/// What the operating system says; an interrupted call is repeated.
pub fn fill_at(source: &dyn ReadAt, offset: u64, buf: &mut [u8]) -> io::Result<u64> {
    let mut done = 0_usize;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match source.read_at(offset.saturating_add(done as u64), rest) {
            Ok(0) => break,
            Ok(n) => done = done.saturating_add(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_names_what_is_not() {
        let source = vec![1_u8, 2, 3];
        let mut two = [0; 2];
        read_exact_at(&source, 1, &mut two, "pair").unwrap();
        assert_eq!(two, [2, 3]);
        let error = read_exact_at(&source, 2, &mut two, "pair").unwrap_err();
        assert_eq!(
            error.to_string(),
            "pair at file offset 0x2: expected 2 bytes, the file ends after 1"
        );
    }

    #[test]
    fn joined_parts_keep_their_distance_and_their_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7, 8, 9]).unwrap();
        let named = FileSource::open(file.path()).unwrap();
        let parts: Vec<Arc<dyn ReadAt>> = vec![Arc::new(vec![1_u8, 2]), Arc::new(named)];
        let joined = JoinedSource::new(parts).unwrap();
        let second = JoinedSource::base(1);
        assert_eq!((joined.total(), joined.size()), (5, second + 3));
        let mut two = [0; 2];
        read_exact_at(&joined, second + 1, &mut two, "pair").unwrap();
        assert_eq!(two, [8, 9]);
        assert!(joined.file_at(0).is_none());
        assert_eq!(joined.file_at(second + 2).unwrap().1, 2);
        for nowhere in [2, second + 3, second << 1, u64::MAX] {
            assert_eq!(joined.read_at(nowhere, &mut two).unwrap(), 0);
        }
    }
}
