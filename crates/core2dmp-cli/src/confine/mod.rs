//! What the program gives up before it reads the first byte that a guest wrote.
//!
//! ```text
//! arguments --> Access { read: sources, write: folder of the output } --> enter
//!     limits     no core dumps of a process that holds a guest's secrets, an end to its memory
//!     Landlock   opens the sources, and files in that folder; nothing else of the file system, no network
//!     seccomp    copies, allocates, starts threads; whatever else is called kills the process
//! ```
//!
//! Nothing here is needed for a right dump: a guest that gets past the library's checks finds itself in a process that
//! can do little. An old kernel has less of it; `level` says what was reached.

mod access;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod files;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod system_calls;

use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;

pub(crate) use access::Access;

/// What the process gave up; it cannot take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Level {
    /// In a word.
    pub(crate) level: Reach,
    /// The version of Landlock's interface that holds, if any does.
    pub(crate) landlock: Option<i32>,
    /// Whether system calls are filtered.
    pub(crate) seccomp: bool,
    /// Whether memory and core dumps are limited.
    pub(crate) limits: bool,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    /// Everything.
    Full,
    /// What the kernel has.
    Partial,
    /// The system has nothing of the kind.
    None,
    /// `--no-sandbox`.
    Off,
}

static REACHED: OnceLock<Level> = OnceLock::new();

/// What was reached; `None` before [`enter`], and where the guest is our own.
pub(crate) fn level() -> Option<Level> {
    REACHED.get().copied()
}

/// Says that the user wants none of it.
pub(crate) fn stay_out() {
    let _ = REACHED.set(Level::of(None, false, false, Reach::Off));
}

/// Gives up what `access` does not name, as far as the kernel can.
pub(crate) fn enter(access: &Access) {
    let limits = limit();
    let (landlock, seccomp) = confine(access);
    let word = match (landlock.is_some(), seccomp, limits) {
        (true, true, true) => Reach::Full,
        (false, false, false) => Reach::None,
        _ => Reach::Partial,
    };
    let _ = REACHED.set(Level::of(landlock, seccomp, limits, word));
}

#[cfg(target_os = "linux")]
fn limit() -> bool {
    limits::set().is_ok()
}

#[cfg(not(target_os = "linux"))]
fn limit() -> bool {
    false
}

/// The file system first: the filter would not let Landlock's own calls through.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn confine(access: &Access) -> (Option<i32>, bool) {
    let landlock = files::restrict(access).ok().flatten();
    (landlock, system_calls::restrict().is_ok())
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
fn confine(_: &Access) -> (Option<i32>, bool) {
    (None, false)
}

impl Level {
    const fn of(landlock: Option<i32>, seccomp: bool, limits: bool, level: Reach) -> Self {
        Self {
            level,
            landlock,
            seccomp,
            limits,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Reach::Off => return f.write_str("off, by --no-sandbox"),
            Reach::None => return f.write_str("none, this system has no means for it"),
            Reach::Full | Reach::Partial => {}
        }
        match self.landlock {
            Some(version) => write!(f, "Landlock {version}")?,
            None => f.write_str("no Landlock (Linux 5.13 and later, where it is enabled)")?,
        }
        f.write_str(if self.seccomp {
            ", seccomp"
        } else {
            ", no seccomp"
        })?;
        f.write_str(if self.limits {
            ", limits"
        } else {
            ", no limits"
        })
    }
}

#[cfg(all(
    test,
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod tests;
