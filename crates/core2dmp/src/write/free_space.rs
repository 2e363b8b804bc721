//! Stops before the file system is full: others write there, too, and a host without room for its logs is worse off
//! than one without a dump.
//!
//! A container can name the same bytes many times, so its size does not limit that of its dump. The free space is
//! looked at while the file grows; a file system that shares extents loses none.

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::job::STEP;
use crate::error::Error;
use crate::progress::Progress;

/// Bytes that are left to others.
const RESERVE: u64 = 64 << 20;
/// A file that shares its extents takes next to nothing: up to this many bytes it is not stopped, however full the
/// disk.
const SHARED: u64 = 8 << 20;
/// On a small file system, this fraction stays free: one part in this many.
const SHARE: u64 = 8;

/// A file system's bytes: free for everybody, and in all.
#[derive(Debug, Clone, Copy)]
struct Space {
    free: u64,
    all: u64,
}

/// Watches the free space of the folder in which a file, or all parts of one, are written.
pub(super) struct FreeSpace<'a> {
    inner: &'a dyn Progress,
    folder: PathBuf,
    at_start: Option<Space>,
    unchecked: Cell<u64>,
    is_full: Cell<bool>,
}

impl<'a> FreeSpace<'a> {
    pub(super) fn new(inner: &'a dyn Progress, folder: &Path) -> Self {
        Self {
            inner,
            folder: folder.to_path_buf(),
            at_start: space(folder),
            unchecked: Cell::new(0),
            is_full: Cell::new(false),
        }
    }

    /// The error of a writer that was stopped here.
    pub(super) fn explain(&self, error: Error, name: &str, at: u64) -> Error {
        if matches!(error, Error::Interrupted) && self.is_full.get() {
            let what =
                format!("cannot write {name} at offset {at:#x}: the file system is almost full");
            return Error::io(what, io::ErrorKind::StorageFull.into());
        }
        error
    }

    fn is_used_up(&self) -> bool {
        let (Some(start), Some(now)) = (self.at_start, space(&self.folder)) else {
            return false;
        };
        let reserve = RESERVE.min(now.all / SHARE);
        let taken = start.free.saturating_sub(now.free);
        now.free < reserve && taken > SHARED
    }
}

impl Progress for FreeSpace<'_> {
    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.unchecked
            .set(self.unchecked.get().saturating_add(bytes));
        if self.unchecked.get() >= STEP {
            self.unchecked.set(0);
            if self.is_used_up() {
                self.is_full.set(true);
                return ControlFlow::Break(());
            }
        }
        self.inner.advance(bytes)
    }
}

#[cfg(target_os = "linux")]
fn space(folder: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Space {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        all: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

#[cfg(not(target_os = "linux"))]
fn space(_: &Path) -> Option<Space> {
    None
}
