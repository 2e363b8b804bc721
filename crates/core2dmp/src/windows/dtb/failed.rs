//! A search that found no Windows, or not the one that was wanted: why.

use crate::address::{Gpa, Gva};
use crate::error::{Attempt, Error};
use crate::memory::PhysicalMemory;

/// That nothing was found.
#[derive(Debug)]
pub(in crate::windows) struct Failed {
    /// The kernels that there are, none of which was asked for.
    pub(super) kernels: Vec<Gva>,
    /// What was tried.
    pub(super) tried: Vec<Attempt>,
    /// A physical address behind all memory, to which page tables lead.
    pub(super) beyond: Option<Gpa>,
}

impl Failed {
    /// The error that says most: another kernel than the one that was wanted, memory that is not there, or nothing.
    pub(in crate::windows) fn error(self, memory: &PhysicalMemory, wanted: Option<u64>) -> Error {
        let Self {
            kernels,
            tried,
            beyond,
        } = self;
        match (wanted, beyond) {
            (Some(wanted), _) if !kernels.is_empty() => Error::NoSuchKernel { wanted, kernels },
            (_, Some(gpa)) => {
                let last = memory.runs().last();
                let end = last.map_or_else(Gpa::default, |run| run.frames.end().gpa());
                Error::BehindEnd { gpa, end, tried }
            }
            _ => Error::NoWindows { tried },
        }
    }
}
