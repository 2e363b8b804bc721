//! The only place that knows how bytes move.
//!
//! ```text
//! plan's segments --Bytes-->  write
//!                 --Source--> copy_file_range: the kernel copies, or shares extents; holes stay holes
//!                 --Encoded-> decoded on all cores, written in order; zero pages stay holes
//!                 --Zeros-->  a hole in a file, zeros in a stream
//! ```
//!
//! A file appears whole or not at all: it is written under a temporary name in the same folder, readable by
//! its owner alone, locked, flushed, and renamed. Whatever ends the program before that leaves no file of the final
//! name; an error or an interruption leaves none at all. What a killed run left is told by its lock, which is gone.

mod cache;
mod copy;
mod decode;
mod export;
mod file;
pub mod in_place;
mod leftover;
mod part;
mod room;
mod sparse;
mod split;
mod stream;
mod verify;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use self::part::Part;
use self::room::Room;
use crate::address::{Gpa, Pfn};
use crate::dump::Plan;
use crate::error::{Error, Place, Result};
use crate::image::{Segment, SegmentData};
use crate::memory::PhysicalMemory;

pub use export::{export_to_file, export_to_stream};
pub use leftover::{Leftover, leftovers};
pub use split::to_parts;
pub use stream::to_stream;

/// A new file beside the dump at `path` for something that belongs to it, such as its checksums: private, and named so that
/// [`leftovers`] finds it if it is left behind.
///
/// # Errors
/// What the operating system says.
pub fn temporary(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    part::create(path, part::folder(path))
}

/// Bytes that are moved between two looks at the interruption flag.
const STEP: u64 = 32 << 20;
/// Bytes of a buffer where the kernel does not copy.
const BUFFER: usize = 1 << 20;

/// Is told how far the writer is, and may stop it.
pub trait Progress {
    /// `bytes` more of the file are done; `Break` stops, and nothing is left behind.
    fn advance(&self, bytes: u64) -> ControlFlow<()>;
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// How to write a file.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// Replace an existing file.
    pub force: bool,
    /// Flush it to the disk before it gets its name.
    pub sync: bool,
    /// Leave pages of zeros out of the file, as holes: it takes less space, and the pages pass through the program.
    pub sparse: bool,
    /// Read it again before it gets its name, and compare it with the source.
    pub verify: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            force: false,
            sync: true,
            sparse: false,
            verify: false,
        }
    }
}

/// What was written otherwise than planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Pages that could not be decoded and are zeros: only if the plan says so.
    pub corrupt: u64,
    /// The first of them.
    pub corrupt_pages: Vec<CorruptPage>,
}

/// A page that is zeros because the container's data for it makes no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptPage {
    /// Its address.
    pub gpa: Gpa,
    /// What is wrong, and where in the file.
    pub why: String,
}

/// Corrupt pages that are listed one by one.
const MAX_CORRUPT_PAGES: usize = 64;

/// Writes the planned file at `path`; `memory` is the guest's that was planned.
///
/// # Errors
/// [`Error::OutputExists`] without `force`, [`Error::Io`] with the place, [`Error::CorruptPage`],
/// [`Error::Interrupted`]. No file is left in any of these cases.
pub fn to_file(
    plan: &Plan,
    memory: &PhysicalMemory,
    path: &Path,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let damage = decode::Damage::new(memory, plan.salvage);
    file(&plan.segments, memory, damage, path, options, progress)
}

/// Writes a file of these segments at `path`, such as a repaired dump: those of the source are `memory`'s.
///
/// # Errors
/// As [`to_file`].
pub fn segments_to_file(
    segments: &[Segment],
    memory: &PhysicalMemory,
    path: &Path,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let damage = decode::Damage::new(memory, false);
    file(segments, memory, damage, path, options, progress)
}

fn file(
    segments: &[Segment],
    memory: &PhysicalMemory,
    damage: decode::Damage<'_>,
    path: &Path,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let room = Room::new(progress, part::folder(path));
    let (part, written) = Part::write(segments, memory, damage, path, options, &room)?;
    part.publish(options, progress)?;
    Ok(written)
}

/// Bytes in all.
fn size_of(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .fold(0, |sum, segment| sum.saturating_add(segment.bytes))
}

/// Whether pages of zeros are left out of the file.
fn leaves_holes(segments: &[Segment], options: WriteOptions) -> bool {
    let decoded = |segment: &Segment| matches!(segment.data, SegmentData::Encoded { .. });
    options.sparse || segments.iter().any(decoded)
}

/// Why bytes did not move.
#[derive(Debug)]
enum Failure {
    /// The container could not be read.
    Source { offset: u64, error: io::Error },
    /// A page of the container could not be made.
    Page(CorruptPage),
    /// The output could not be written.
    Output(io::Error),
    /// What was written does not read as the source does.
    Differs { frame: Option<Pfn>, offset: u64 },
    /// Somebody asked to stop.
    Stopped,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// The error for the user; `output` names the place in the output.
    fn tell(self, output: &str) -> Error {
        match self {
            Self::Source { offset, error } => {
                let place = Place::Offset(offset);
                Error::io(format!("cannot read the container at {place}"), error)
            }
            Self::Page(CorruptPage { gpa, why }) => Error::CorruptPage { gpa, why },
            Self::Output(error) => Error::io(format!("cannot write {output}"), error),
            Self::Differs { frame, offset } => Error::ReadBack { frame, offset },
            Self::Stopped => Error::Interrupted,
        }
    }
}

/// Writes all bytes at an offset.
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(not(unix))]
    {
        use std::io::{Seek, SeekFrom, Write};
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }
}

/// `bytes` more are in their place.
fn advance(progress: &dyn Progress, at: &mut u64, bytes: u64) -> Result<(), Failure> {
    *at = at.saturating_add(bytes);
    match progress.advance(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Failure::Stopped),
    }
}

#[cfg(test)]
mod tests;
