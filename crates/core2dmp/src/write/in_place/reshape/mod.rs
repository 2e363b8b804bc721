//! Turns a core into its dump in place, for disks without room for both; the bytes that are removed are kept beside it.
//!
//! ```text
//! steps     plan's segments  ->  ranges to take out and to put in, stretches to save       (pure)
//! span      where data is, and how far a broken-off step has come                          (pure)
//! journal   CORE.core2dmp-journal: the saved stretches, the steps, how far they have come
//! run       there and back, on anything that is a `Disk`
//! disk      fallocate: COLLAPSE_RANGE, INSERT_RANGE, PUNCH_HOLE
//! files     names, locks, space: what can be refused before anything changes
//! ```
//!
//! No page moves: the file system changes where in the file its blocks are. ext4 and XFS can do that. Killed at any
//! moment, or without power, the file and its journal are enough to make the core again, byte for byte.

mod disk;
#[cfg(target_os = "linux")]
mod files;
mod journal;
mod room;
mod run;
mod span;
mod steps;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
pub use files::{Prepared, find, prepare, undo};

/// The journal beside a core.
#[must_use]
pub fn journal_path(core: &Path) -> PathBuf {
    let mut name = OsString::from(core.as_os_str());
    name.push(".core2dmp-journal");
    PathBuf::from(name)
}

/// What a conversion in place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Ranges that are taken out or put in.
    pub shifts: usize,
    /// Bytes of the core that the journal keeps.
    pub saved: u64,
}

/// A journal that was found beside a core.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Its name.
    pub journal: PathBuf,
    /// The dump's name, as it was planned.
    pub dump: PathBuf,
    /// The file under the core's name is the one that was converted.
    pub is_here: bool,
    /// The file is the dump; else it is neither core nor dump.
    pub is_done: bool,
}

/// A conversion that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consumed {
    /// The journal, from which the dump can become the core again.
    pub journal: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Elsewhere no system call takes a range out of a file.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::path::{Path, PathBuf};

    use super::{Consumed, Cost, Found};

    use crate::error::{Error, Result};
    use crate::image::Image;
    use crate::memory::PhysicalMemory;
    use crate::write::Progress;

    /// A conversion that cannot exist on this system.
    #[derive(Debug)]
    pub struct Prepared(std::convert::Infallible);

    impl Prepared {
        /// What it takes.
        #[must_use]
        pub fn cost(&self) -> Cost {
            match self.0 {}
        }

        /// Carries it out.
        ///
        /// # Errors
        /// None.
        pub fn execute(self, _: &Image, _: bool, _: &dyn Progress) -> Result<Consumed> {
            match self.0 {}
        }
    }

    fn refused<T>() -> Result<T> {
        Err(Error::CannotConsume {
            why: "only Linux can".to_owned(),
        })
    }

    /// Refuses, because this system cannot do it.
    ///
    /// # Errors
    /// Always.
    pub fn prepare(_: &Image, _: &PhysicalMemory, _: &Path, _: &Path) -> Result<Prepared> {
        refused()
    }

    /// Refuses, because this system cannot do it.
    ///
    /// # Errors
    /// Always.
    pub fn undo(_: &Path, _: Option<&Path>) -> Result<PathBuf> {
        refused()
    }

    /// Finds nothing.
    ///
    /// # Errors
    /// None.
    pub fn find(_: &Path) -> Result<Option<Found>> {
        Ok(None)
    }
}

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Prepared, find, prepare, undo};

#[cfg(test)]
mod tests;
