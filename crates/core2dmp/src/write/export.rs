//! Exported memory: the same ways to move bytes, for files that are no dumps.

use std::io::Write;
use std::path::Path;

use super::{Progress, WriteOptions, Written, decode, file, stream};
use crate::error::Result;
use crate::export::Export;
use crate::memory::PhysicalMemory;

/// Writes exported memory at `path`; `salvage` makes zeros of pages that cannot be decoded, and lists them.
///
/// # Errors
/// As [`super::to_file`].
pub fn export_to_file(
    export: &Export,
    memory: &PhysicalMemory,
    path: &Path,
    salvage: bool,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let damage = decode::Damage::new(memory, salvage);
    file(&export.segments, memory, damage, path, options, progress)
}

/// Writes exported memory into a stream, its holes as zeros.
///
/// # Errors
/// As [`super::to_stream`].
pub fn export_to_stream(
    export: &Export,
    memory: &PhysicalMemory,
    out: &mut dyn Write,
    salvage: bool,
    progress: &dyn Progress,
) -> Result<Written> {
    let damage = decode::Damage::new(memory, salvage);
    stream::stream(&export.segments, memory, damage, out, progress)
}
