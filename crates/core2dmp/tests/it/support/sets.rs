//! Guests that stand in several files.

use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;
use core2dmp::source::ReadAt;

/// Opens the files of one guest.
pub(crate) fn open_set(files: Vec<Vec<u8>>) -> Result<Guest> {
    open_set_with(files, &OpenOptions::default())
}

/// Opens the files of one guest.
pub(crate) fn open_set_with(files: Vec<Vec<u8>>, options: &OpenOptions) -> Result<Guest> {
    let sources = files
        .into_iter()
        .map(|file| Arc::new(file) as Arc<dyn ReadAt>);
    container::open_set(sources.collect(), options)
}
