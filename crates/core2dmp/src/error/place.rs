//! Where something went wrong, and what was tried.

use std::fmt;

use crate::address::{Gpa, Gva};

/// Where in the file or in the guest something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A byte offset in the container or dump file.
    Offset(u64),
    /// A guest-physical address.
    Physical(Gpa),
    /// A guest-virtual address.
    Virtual(Gva),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "file offset {offset:#x}"),
            Self::Physical(gpa) => write!(f, "physical address {gpa}"),
            Self::Virtual(gva) => write!(f, "virtual address {gva}"),
        }
    }
}

/// One way that was tried to find something, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The way, such as "vCPU 0 CR3 0x1ad000".
    pub way: String,
    /// What came of it.
    pub outcome: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.outcome)
    }
}
