//! What a format sees of a file before it claims it.

use crate::source::ReadAt;

/// The beginning of a file, and the file.
pub(super) struct Probe<'a> {
    pub(super) head: &'a [u8],
    pub(super) source: &'a dyn ReadAt,
    /// Whether the file begins as those of some format do, whether or not that format claims it.
    pub(super) begins_as_known: bool,
}

impl Probe<'_> {
    /// Whether the file begins with one of these.
    pub(super) fn begins_with(&self, magics: &[&[u8]]) -> bool {
        magics.iter().any(|magic| self.head.starts_with(magic))
    }
}
