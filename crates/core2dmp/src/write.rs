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
//! its owner alone, flushed, and renamed. Whatever ends the program before that leaves no file of the final
//! name; an error or an interruption leaves none at all.

mod copy;
mod decode;
pub mod in_place;
mod stream;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::address::{Gpa, PAGE_SIZE};
use crate::dump::{Plan, Segment, SegmentData};
use crate::error::{Error, Place, Result};
use crate::memory::PhysicalMemory;
use crate::source::{data_at, hole_at};

pub use stream::to_stream;

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
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            force: false,
            sync: true,
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
    let name = path.display().to_string().escape_debug().to_string();
    let failed = |what: &str| {
        let what = format!("cannot {what} {name}");
        move |e: io::Error| Error::io(what.clone(), e)
    };
    check_target(path, &name, options.force)?;
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    };
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    // `tempfile` opens with O_EXCL and mode 0600.
    let temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".core2dmp-part")
        .tempfile_in(folder)
        // The library's own text names the temporary file, which the user never asked for.
        .map_err(|e| failed("create")(e.kind().into()))?;
    let mut writer = FileWriter {
        memory,
        file: temporary.as_file(),
        at: 0,
        progress,
        buffer: Vec::new(),
        damage,
    };
    for segment in segments {
        let written = writer.segment(segment);
        written.map_err(|failure| failure.tell(&format!("{name} at offset {:#x}", writer.at)))?;
    }
    let (written, size) = (writer.damage.written, writer.at);
    let stopped = || progress.advance(0).is_break();
    finish(temporary, path, &name, size, options, &stopped)?;
    if options.sync {
        // The name is durable only with its folder. Not every file system can flush one: then it is as good
        // as it gets.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(written)
}

/// Whether the name is free, or may be taken.
fn check_target(path: &Path, name: &str, force: bool) -> Result<()> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("cannot look at {name}"), e)),
        Ok(meta) if meta.is_file() && force => Ok(()),
        Ok(meta) if meta.is_file() => Err(Error::OutputExists {
            path: name.to_owned(),
        }),
        Ok(_) => Err(Error::io(
            format!("cannot write {name}: it is not a regular file"),
            io::ErrorKind::InvalidInput.into(),
        )),
    }
}

fn finish(
    temporary: NamedTempFile,
    path: &Path,
    name: &str,
    size: u64,
    options: WriteOptions,
    stopped: &dyn Fn() -> bool,
) -> Result<()> {
    let failed = |what: &str, e| Error::io(format!("cannot {what} {name}"), e);
    let file = temporary.as_file();
    file.set_len(size).map_err(|e| failed("extend", e))?;
    if options.sync {
        file.sync_all().map_err(|e| failed("flush", e))?;
    }
    // Flushing may have taken minutes.
    if stopped() {
        return Err(Error::Interrupted);
    }
    let named = if options.force {
        temporary.persist(path)
    } else {
        temporary.persist_noclobber(path)
    };
    match named {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::OutputExists {
            path: name.to_owned(),
        }),
        Err(e) => Err(failed("rename the finished file to", e.error)),
    }
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
            Self::Stopped => Error::Interrupted,
        }
    }
}

struct FileWriter<'a> {
    memory: &'a PhysicalMemory,
    file: &'a File,
    at: u64,
    progress: &'a dyn Progress,
    buffer: Vec<u8>,
    damage: decode::Damage<'a>,
}

impl FileWriter<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), Failure> {
        match &segment.data {
            SegmentData::Bytes(bytes) => {
                let mut file = self.file;
                file.seek(SeekFrom::Start(self.at))?;
                file.write_all(bytes)?;
                self.moved(segment.bytes)
            }
            SegmentData::Zeros => self.moved(segment.bytes),
            SegmentData::Source { offset } => self.copy(*offset, segment.bytes),
            SegmentData::Encoded { index } => self.decode(*index, segment.bytes / PAGE_SIZE),
        }
    }

    /// Writes the pages that are not zero.
    fn decode(&mut self, index: u64, pages: u64) -> Result<(), Failure> {
        let (mut file, progress, at) = (self.file, self.progress, &mut self.at);
        decode::in_order(&mut self.damage, index, pages, &mut |block| {
            let start = *at;
            for (skipped, stretch) in decode::stretches(block) {
                file.seek(SeekFrom::Start(start.saturating_add(skipped)))?;
                file.write_all(stretch)?;
            }
            advance(progress, at, block.len() as u64)
        })
    }

    /// Copies what the source stores; what it has as holes stays one.
    fn copy(&mut self, from: u64, bytes: u64) -> Result<(), Failure> {
        let end = from.saturating_add(bytes);
        let source = &**self.memory.source();
        let mut from = from;
        while from < end {
            let hole = hole_at(source, from).min(end.saturating_sub(from));
            if hole > 0 {
                from = from.saturating_add(hole);
                self.moved(hole)?;
                continue;
            }
            let data = data_at(source, from).min(end.saturating_sub(from));
            let step = data.min(STEP);
            let moved = copy::copy_range(source, from, self.file, self.at, step, &mut self.buffer)?;
            from = from.saturating_add(moved);
            self.moved(moved)?;
        }
        Ok(())
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Failure> {
        advance(self.progress, &mut self.at, bytes)
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
