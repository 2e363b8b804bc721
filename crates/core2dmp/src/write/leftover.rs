//! Files that a killed run left behind, distinguished by their lock from those that a running one is writing.
//!
//! ```text
//! writer    creates, locks, looks whether the file still has its name ............ writes, renames, ends
//! cleaner   opens, locks: fails while the writer lives; succeeds  -->  removes, still holding the lock
//! ```
//!
//! A file that is removed between its creation and its lock has no name any more, and its writer makes another.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::temporary::{SUFFIX, folder, prefix};

/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Signs that `tempfile` makes up.
const RANDOM: usize = 6;

/// A temporary file without a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was written last.
    pub modified: Option<SystemTime>,
}

/// Files that runs which were to write `path` left when they were killed, the oldest name first. Those that another run
/// is writing, and those of other users, are not among them.
#[must_use]
pub fn leftovers(path: &Path) -> Vec<Leftover> {
    let Ok(entries) = fs::read_dir(folder(path)) else {
        return Vec::new();
    };
    let prefix = prefix(path);
    let mut found: Vec<Leftover> = entries
        .take(MAX_ENTRIES)
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            is_ours(name.as_encoded_bytes(), prefix.as_encoded_bytes())
        })
        .filter_map(|entry| {
            let path = entry.path();
            let meta = abandoned(&path)?.metadata().ok()?;
            // It may have been born this moment, and is not locked yet.
            if meta.len() == 0 && is_new(&meta) {
                return None;
            }
            Some(Leftover {
                path,
                bytes: meta.len(),
                modified: meta.modified().ok(),
            })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Whether it was written within the last minute, or at an unknown time.
fn is_new(meta: &fs::Metadata) -> bool {
    let age = meta.modified().ok().and_then(|then| then.elapsed().ok());
    age.is_none_or(|age| age.as_secs() < 60)
}

impl Leftover {
    /// Removes it, unless it has got a writer, or is gone.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove(&self) -> io::Result<()> {
        match abandoned(&self.path) {
            // Locked until it is removed.
            Some(_file) => fs::remove_file(&self.path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// `.NAME.xxxxxx.core2dmp-part`, or `.NAME.001.xxxxxx.core2dmp-part` of a part.
fn is_ours(name: &[u8], prefix: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else {
        return false;
    };
    let Some(middle) = rest.strip_suffix(SUFFIX.as_bytes()) else {
        return false;
    };
    let random = match middle {
        [a, b, c, b'.', random @ ..] if [a, b, c].iter().all(|sign| sign.is_ascii_digit()) => {
            random
        }
        random => random,
    };
    random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric)
}

/// The file, locked, if it is a regular file of this user that no run is writing.
#[cfg(target_os = "linux")]
fn abandoned(path: &Path) -> Option<File> {
    use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
    // Not blocking: it might be a FIFO that somebody has put there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == rustix::process::geteuid().as_raw();
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    is_ours.then(|| File::from(file))
}

/// Without locks that is unknown.
#[cfg(not(target_os = "linux"))]
fn abandoned(_: &Path) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::temporary::lock;
    use super::*;

    #[test]
    fn only_the_names_that_a_writer_makes_are_ours() {
        let ours = |name: &str| is_ours(name.as_bytes(), b".a.dmp.");
        assert!(ours(".a.dmp.Ab12cD.core2dmp-part"));
        assert!(ours(".a.dmp.001.Ab12cD.core2dmp-part"));
        for other in [
            ".a.dmp.old.Ab12cD.core2dmp-part",
            ".a.dmp.Ab12cD",
            "a.dmp.Ab12cD.core2dmp-part",
            ".a.dmp.Ab12cDe.core2dmp-part",
            ".a.dmp..core2dmp-part",
        ] {
            assert!(!ours(other), "{other}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_with_a_writer_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dmp");
        let part = folder.path().join(".a.dmp.Ab12cD.core2dmp-part");
        fs::write(&part, "some pages").unwrap();
        let writer = File::open(&part).unwrap();
        assert!(lock(&writer));
        assert_eq!(leftovers(&path), []);
        drop(writer);
        let found = leftovers(&path);
        assert_eq!(found.len(), 1);
        let writer = File::open(&part).unwrap();
        assert!(lock(&writer));
        assert!(found[0].remove().is_err() && part.exists());
        drop(writer);
        found[0].remove().unwrap();
        assert!(!part.exists());
        // Neither is a link: what it leads to is not ours.
        std::os::unix::fs::symlink("/etc/passwd", &part).unwrap();
        assert_eq!(leftovers(&path), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_was_removed_cannot_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!lock(&file));
    }
}
