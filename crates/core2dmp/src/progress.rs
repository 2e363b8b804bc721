//! How a caller watches a long piece of work, and stops it.

use std::ops::ControlFlow;

/// A piece of work that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// A compressed file is unpacked; its bytes are those of the compressed file.
    Unpack,
    /// Two memories are compared; its bytes are those that both have.
    Compare,
    /// A file is written, or changed where it is.
    Write,
}

/// Watches work that takes time, and may stop it.
pub trait Progress {
    /// A piece of work of so many `bytes` begins.
    fn begin(&self, _work: Work, _bytes: u64) {}

    /// `bytes` more are done; `Break` stops the work, and nothing is left behind.
    fn advance(&self, bytes: u64) -> ControlFlow<()>;

    /// The piece of work that began last has ended, whether it succeeded or not.
    fn end(&self) {}
}

/// Watches nothing and stops nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
