//! Writes images: the only place that moves bytes.
//!
//! ```text
//! image's segments --Bytes-->  write
//!                  --Source--> copy_file_range: the kernel copies, or shares extents; holes stay holes
//!                  --Encoded-> decoded on all cores, written in order; zero pages stay holes
//!                  --Zeros-->  a hole in a file, zeros in a stream
//! ```
//!
//! A file appears whole or not at all: it is written under a temporary name in the same folder, readable by
//! its owner alone, locked, flushed, and renamed. If the program ends before that, no file has the final name; after an
//! error or an interruption no file is left at all. A killed run's file is recognised because nobody holds its lock.

mod copy;
mod decoded;
mod file;
mod free_space;
pub mod in_place;
mod job;
mod leftover;
mod page_cache;
mod parts;
mod sparse;
mod stream;
mod temporary;
mod verify;

use std::path::Path;

use self::free_space::FreeSpace;
use self::temporary::Unnamed;
use crate::error::Result;
use crate::image::Image;
use crate::memory::PhysicalMemory;

pub use crate::progress::{Progress, Silent};
pub use job::{CorruptPage, WriteOptions, Written};
pub use leftover::{Leftover, leftovers};
pub use parts::to_parts;
pub use stream::to_stream;
pub use temporary::Temporary;

/// Writes an image at `path`; `memory` is the guest's that the image was planned for.
///
/// # Errors
/// [`Error::OutputExists`](crate::error::Error::OutputExists) without [`force`](WriteOptions#structfield.force),
/// [`Error::Io`](crate::error::Error::Io) with the place, [`Error::CorruptPage`](crate::error::Error::CorruptPage)
/// unless the image [salvages](Image::salvage), [`Error::ReadBack`](crate::error::Error::ReadBack),
/// [`Error::Interrupted`](crate::error::Error::Interrupted). No file is left in any of these cases.
pub fn to_file(
    image: &Image,
    memory: &PhysicalMemory,
    path: &Path,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let space = FreeSpace::new(progress, temporary::folder(path));
    let (file, written) = Unnamed::write(image, memory, path, options, &space)?;
    file.publish(options, progress)?;
    Ok(written)
}

#[cfg(test)]
mod tests;
