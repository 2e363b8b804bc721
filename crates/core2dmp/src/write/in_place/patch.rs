//! Changes a dump in place, so that it can be undone.
//!
//! ```text
//! FILE.dmp.core2dmp-undo   written, flushed, named   before the first byte of FILE.dmp changes
//!     core2dmp undo 1
//!     size 134217728
//!     f98 02000000 01000000        offset, old bytes, new bytes
//! ```
//!
//! Killed half-way, the file is old in some places and new in others; undoing it puts back the old bytes in
//! all. A file that somebody else has changed meanwhile is left alone.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::audit::repair::Change;
use crate::error::{Error, Place, Result};
use crate::source::{FileSource, ReadAt, read_exact_at};

/// The first line of an undo file.
const MAGIC: &str = "core2dmp undo 1";
/// Bytes of an undo file that are read: a header and the registers of 2048 processors take less.
const MAX_UNDO: u64 = 64 << 20;

/// The undo file beside a dump.
#[must_use]
pub fn undo_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".core2dmp-undo");
    PathBuf::from(name)
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// Changes the dump at `path`, after its old bytes are safe in the undo file; returns that file's name.
///
/// # Errors
/// [`Error::OutputExists`] if there is an undo file already, [`Error::Io`], and [`Error::Malformed`] if the file
/// does not hold what the changes were planned on.
pub fn apply(path: &Path, changes: &[Change]) -> Result<PathBuf> {
    let undo = undo_path(path);
    let source = FileSource::open(path)?;
    for change in changes {
        expect(&source, change.offset, &[&change.old])?;
    }
    save(&undo, source.size(), changes)?;
    let pieces = changes.iter().map(|change| (change.offset, &change.new));
    write_pieces(path, pieces)?;
    Ok(undo)
}

/// Restores what was in the dump at `path` before [`apply`], and removes the undo file; returns how many
/// places were put back.
///
/// # Errors
/// [`Error::Io`] if there is no undo file, [`Error::Malformed`] if it is damaged or the dump was changed since.
pub fn undo(path: &Path) -> Result<usize> {
    let name = undo_path(path);
    let (size, changes) = load(&name)?;
    let source = FileSource::open(path)?;
    if source.size() != size {
        return Err(Error::malformed(
            "size of the dump",
            Place::Offset(0),
            format!("{size} bytes, as when it was repaired"),
            format!("{} bytes", source.size()),
        ));
    }
    for change in &changes {
        expect(&source, change.offset, &[&change.old, &change.new])?;
    }
    write_pieces(
        path,
        changes.iter().map(|change| (change.offset, &change.old)),
    )?;
    std::fs::remove_file(&name)
        .map_err(|e| Error::io(format!("cannot remove {}", shown(&name)), e))?;
    Ok(changes.len())
}

/// Checks that the file holds one of `wanted`, or a mixture that a broken-off change left, at `offset`.
fn expect(source: &FileSource, offset: u64, wanted: &[&Vec<u8>]) -> Result<()> {
    let bytes = wanted.first().map_or(0, |bytes| bytes.len());
    let mut found = vec![0; bytes];
    read_exact_at(source, offset, &mut found, "the dump")?;
    let known = found
        .iter()
        .enumerate()
        .all(|(n, byte)| wanted.iter().any(|wanted| wanted.get(n) == Some(byte)));
    if known {
        return Ok(());
    }
    Err(Error::malformed(
        "the dump",
        Place::Offset(offset),
        "the bytes that were there when it was repaired",
        "others: it was changed since",
    ))
}

fn write_pieces<'p>(path: &Path, pieces: impl Iterator<Item = (u64, &'p Vec<u8>)>) -> Result<()> {
    let failed = |e| Error::io(format!("cannot change {}", shown(path)), e);
    let mut file = File::options().write(true).open(path).map_err(failed)?;
    for (offset, bytes) in pieces {
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

fn save(undo: &Path, size: u64, changes: &[Change]) -> Result<()> {
    let failed = |e| Error::io(format!("cannot write {}", shown(undo)), e);
    let mut text = format!("{MAGIC}\nsize {size}\n");
    for change in changes {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut hex, byte| {
                // Writing into a string does not fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        };
        text.push_str(&format!(
            "{:x} {} {}\n",
            change.offset,
            hex(&change.old),
            hex(&change.new)
        ));
    }
    fits(text.len() as u64)?;
    let folder = match undo.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(undo)
        .map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::OutputExists { path: shown(undo) },
            _ => failed(e.error),
        })?;
    // As good as the file system allows.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Whether an undo file of this many bytes is read: a part of one would undo a part.
fn fits(bytes: u64) -> Result<()> {
    if bytes > MAX_UNDO {
        return Err(Error::TooMany {
            what: "bytes of an undo file",
            found: bytes,
            limit: MAX_UNDO,
        });
    }
    Ok(())
}

fn load(undo: &Path) -> Result<(u64, Vec<Change>)> {
    let failed = |e| Error::io(format!("cannot read {}", shown(undo)), e);
    let mut text = String::new();
    let file = File::open(undo).map_err(failed)?;
    fits(file.metadata().map_err(failed)?.len())?;
    file.take(MAX_UNDO)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let damaged = |line: &str| {
        Error::malformed(
            "undo file",
            Place::Offset(0),
            "lines of offset, old bytes, new bytes",
            line.escape_debug().to_string(),
        )
    };
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(damaged("another first line"));
    }
    let size = lines
        .next()
        .and_then(|line| line.strip_prefix("size "))
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| damaged("no size"))?;
    let changes = lines
        .map(|line| parse(line).ok_or_else(|| damaged(line)))
        .collect::<Result<_>>()?;
    Ok((size, changes))
}

fn parse(line: &str) -> Option<Change> {
    let mut parts = line.split(' ');
    let offset = u64::from_str_radix(parts.next()?, 16).ok()?;
    let (old, new) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
    (old.len() == new.len() && parts.next().is_none()).then(|| Change {
        what: String::new(),
        offset,
        old,
        new,
        reason: String::new(),
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(offset: u64, old: &[u8], new: &[u8]) -> Change {
        Change {
            what: "field".to_owned(),
            offset,
            old: old.to_vec(),
            new: new.to_vec(),
            reason: String::new(),
        }
    }

    #[test]
    fn what_was_changed_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dmp");
        std::fs::write(&path, b"0123456789").unwrap();
        let changes = [change(2, b"23", b"XY"), change(9, b"9", b"Z")];
        let undo_file = apply(&path, &changes).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"01XY45678Z");
        // A second repair would lose the first one's old bytes.
        let again = apply(&path, &[change(2, b"XY", b"ab")]).unwrap_err();
        assert!(matches!(again, Error::OutputExists { .. }), "{again}");
        // As if it had been killed between two bytes.
        std::fs::write(&path, b"01X345678Z").unwrap();
        assert_eq!(undo(&path).unwrap(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
        assert!(!undo_file.exists());
    }

    #[test]
    fn an_undo_file_that_is_too_long_is_not_half_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dmp");
        std::fs::write(&path, b"0123456789").unwrap();
        // Cut where the limit is, it would still be whole lines.
        let mut text = format!("{MAGIC}\nsize 10\n");
        let left = usize::try_from(MAX_UNDO).unwrap() - text.len();
        let line = "0 30 30\n";
        text.push_str(&"0".repeat(left % line.len()));
        text.push_str(&line.repeat(left / line.len() + 1));
        std::fs::write(undo_path(&path), text).unwrap();
        assert_eq!(
            undo(&path).unwrap_err().to_string(),
            "bytes of an undo file: found 67108872, the limit is 67108864"
        );
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dmp");
        std::fs::write(&path, b"0123456789").unwrap();
        let planned = [change(2, b"99", b"XY")];
        assert!(matches!(
            apply(&path, &planned),
            Err(Error::Malformed { .. })
        ));
        assert!(!undo_path(&path).exists());
        apply(&path, &[change(2, b"23", b"XY")]).unwrap();
        std::fs::write(&path, b"01??456789").unwrap();
        assert!(matches!(undo(&path), Err(Error::Malformed { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"01??456789");
        assert!(undo_path(&path).exists());
    }
}
