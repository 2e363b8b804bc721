//! How a guest's files are read and how the result is reported: the options that several commands share.

use std::path::PathBuf;

use core2dmp::memory::Frames;

/// How a guest's files are read, and which Windows in them is meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) salvage: bool,
    pub(crate) holes: Vec<Frames>,
    pub(crate) headers: Vec<PathBuf>,
    /// The kernel's base, or its page tables' root.
    pub(crate) kernel: Option<u64>,
    /// The container's format.
    pub(crate) format: Option<String>,
}

/// How an outcome is reported.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    /// As JSON.
    pub(crate) json: bool,
    /// With everything that was found.
    pub(crate) verbose: bool,
    /// Only errors and warnings.
    pub(crate) quiet: bool,
}
