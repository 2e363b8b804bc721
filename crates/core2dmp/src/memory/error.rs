//! Why bytes of guest-physical memory cannot be read: absent, unreadable and corrupt are three errors.

use std::io;
use std::sync::Arc;

use crate::address::Gpa;

/// Why bytes of guest-physical memory cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The container has no such frame.
    #[error("physical address {gpa} is not in the container")]
    Absent {
        /// The first address that is missing.
        gpa: Gpa,
    },
    /// The container's file could not be read there.
    #[error("physical address {gpa}, file offset {offset:#x}: {source}")]
    Unreadable {
        /// The address.
        gpa: Gpa,
        /// Where its bytes should be.
        offset: u64,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// What the container holds about the frame makes no sense.
    #[error("physical address {gpa} is corrupt in the container: {what}")]
    Corrupt {
        /// The address.
        gpa: Gpa,
        /// What is wrong with it.
        what: String,
    },
}
