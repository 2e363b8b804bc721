//! Whether there is room beside a core for what a conversion takes out of it.

use super::span::Span;
use super::steps::Steps;
use crate::error::{Error, Result};

/// Room for the journal's lines and the file system's own, beyond what is saved.
const SPARE: u64 = 4 << 20;

pub(super) fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::CannotConsume { why: why.into() })
}

/// Whether there is room for what is kept beside the core.
pub(super) fn check_space(steps: &Steps, wrote: &[(Span, u32)], free: u64) -> Result<()> {
    let written = wrote
        .iter()
        .fold(0_u64, |sum, (span, _)| sum.saturating_add(span.bytes));
    let needed = steps
        .saved_bytes()
        .saturating_add(written)
        .saturating_add(SPARE);
    if free < needed {
        return refused(format!(
            "what it would take out of the file has to be kept beside it: that takes {needed} bytes, and {free} are free"
        ));
    }
    Ok(())
}
