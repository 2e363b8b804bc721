//! How to open a container.

use crate::memory::Frames;

/// How to open a container: `OpenOptions::default().salvage(true)`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Rebuild by rule what a damaged file lacks, and say so, where that is possible.
    pub salvage: bool,
    /// Frames that a raw file leaves out, since no RAM was there.
    pub holes: Vec<Frames>,
    /// The format, one of [`format_names`](super::format_names), whatever the file looks like.
    pub format: Option<String>,
}

impl OpenOptions {
    /// Sets [`salvage`](Self#structfield.salvage).
    #[must_use]
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }

    /// Sets [`format`](Self#structfield.format).
    #[must_use]
    pub fn format(mut self, format: Option<String>) -> Self {
        self.format = format;
        self
    }

    /// Sets [`holes`](Self#structfield.holes).
    #[must_use]
    pub fn holes(mut self, holes: Vec<Frames>) -> Self {
        self.holes = holes;
        self
    }
}
