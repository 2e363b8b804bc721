//! Opening cores that are in memory.

use std::io::Cursor;
use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::error::Result;
use core2dmp_synth::XenCore;

/// The file that the tool stack would write.
pub(crate) fn file_of(core: &XenCore<'_>) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    core.write_to(&mut file).unwrap();
    file.into_inner()
}

/// Opens a file's bytes.
pub(crate) fn open(file: Vec<u8>) -> Result<Guest> {
    container::open(Arc::new(file), OpenOptions::default())
}
