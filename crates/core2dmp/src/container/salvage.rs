//! Truncated files: an error, unless the user asks to read what is there.
//!
//! ```text
//! file ends  --options.salvage-->  no:  Error::CutShort, which names what is missing
//!                                  yes: what is missing is collected, and becomes `ContainerInfo::salvaged`
//! ```

use super::OpenOptions;
use crate::error::{Error, Place, Result};

/// Whether a file that ends too soon is accepted, and what it lacks.
pub(super) struct Salvage {
    wanted: bool,
    missing: Vec<String>,
}

impl Salvage {
    pub(super) const fn new(options: &OpenOptions) -> Self {
        Self {
            wanted: options.salvage,
            missing: Vec::new(),
        }
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether something was missing so far.
    pub(super) const fn is_cut(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Continues without `missing`, or fails with [`Error::CutShort`]: the file has `found` bytes of `expected`.
    pub(super) fn accept(
        &mut self,
        expected: u64,
        found: u64,
        missing: impl Into<String>,
    ) -> Result<()> {
        let missing = missing.into();
        if !self.wanted {
            return Err(Error::CutShort {
                expected,
                found,
                missing,
            });
        }
        self.missing.push(missing);
        Ok(())
    }

    /// As [`Self::accept`] where a read behind the end of the file failed; other results pass.
    pub(super) fn accept_truncated(
        &mut self,
        read: Result<()>,
        found: u64,
        missing: &str,
    ) -> Result<()> {
        match read.map_err(|error| as_cut_short(error, found, missing)) {
            Err(Error::CutShort {
                expected, missing, ..
            }) => self.accept(expected, found, missing),
            read => read,
        }
    }

    /// Notes what is missing, and was given up before the file was read.
    pub(super) fn note(&mut self, missing: &str) {
        self.missing.push(missing.to_owned());
    }

    /// For [`ContainerInfo::salvaged`](super::ContainerInfo::salvaged), where something was missing from `what`.
    pub(super) fn done(self, what: &str) -> Option<String> {
        (!self.missing.is_empty()).then(|| {
            format!(
                "the {what} was cut short (missing: {}); what is there was taken",
                self.missing.join("; ")
            )
        })
    }
}

/// A read behind the end of a file of `found` bytes, as the user has to see it; other errors as they are.
pub(super) fn as_cut_short(error: Error, found: u64, missing: &str) -> Error {
    match error {
        Error::Truncated {
            place: Place::Offset(at),
            expected,
            ..
        } => Error::CutShort {
            expected: at.saturating_add(expected),
            found,
            missing: missing.to_owned(),
        },
        error => error,
    }
}
