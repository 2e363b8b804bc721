//! Files that are not as they should be.

use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;

/// Opens a file's bytes, taking what there is of one that was cut short.
pub(crate) fn salvage(file: Vec<u8>) -> Result<Guest> {
    let options = OpenOptions {
        salvage: true,
        ..OpenOptions::default()
    };
    container::open(Arc::new(file), options)
}

/// The error's line, for a file that must not open.
#[track_caller]
pub(crate) fn refusal(file: Vec<u8>) -> String {
    let opened = container::open(Arc::new(file), OpenOptions::default());
    opened.unwrap_err().to_string()
}
