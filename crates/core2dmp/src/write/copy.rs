//! Copies one range from the container into the dump, in the fastest way that the system offers.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use super::job::{BUFFER, Failure};
use crate::source::{ReadAt, fill_at};

/// Copies up to `bytes`; returns how many, at least one. The kernel does it where it can, and shares
/// extents instead where the file system can; where it cannot, or fails, a buffer tells which side failed.
pub(super) fn copy_range(
    source: &dyn ReadAt,
    from: u64,
    to_file: &File,
    to: u64,
    bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<u64, Failure> {
    if let Some((file, at)) = source.file_at(from)
        && let Some(copied) = kernel_copy(file, at, to_file, to, bytes)
    {
        return Ok(copied);
    }
    let step = usize::try_from(bytes).unwrap_or(BUFFER).min(BUFFER);
    buffer.resize(BUFFER, 0);
    let block = read_block(source, from, buffer, step)?;
    let mut out = to_file;
    out.seek(SeekFrom::Start(to))?;
    out.write_all(block)?;
    Ok(block.len() as u64)
}

/// `copy_file_range`; `None` where the kernel does not do it for these two files.
#[cfg(target_os = "linux")]
fn kernel_copy(from_file: &File, from: u64, to_file: &File, to: u64, bytes: u64) -> Option<u64> {
    let (mut off_in, mut off_out) = (from, to);
    let len = usize::try_from(bytes).unwrap_or(usize::MAX >> 1);
    let (input, output) = (Some(&mut off_in), Some(&mut off_out));
    match rustix::fs::copy_file_range(from_file, input, to_file, output, len) {
        // Some file systems copy nothing where they should say that they cannot.
        Ok(0) | Err(_) => None,
        Ok(copied) => Some(copied as u64),
    }
}

#[cfg(not(target_os = "linux"))]
fn kernel_copy(_: &File, _: u64, _: &File, _: u64, _: u64) -> Option<u64> {
    None
}

/// Reads `bytes` bytes, all of them.
pub(super) fn read_block<'b>(
    source: &dyn ReadAt,
    offset: u64,
    buffer: &'b mut [u8],
    bytes: usize,
) -> Result<&'b [u8], Failure> {
    let block = buffer.get_mut(..bytes).unwrap_or_default();
    let failed = |error| Failure::Source { offset, error };
    let got = fill_at(source, offset, block).map_err(failed)?;
    if got < block.len() as u64 {
        return Err(failed(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the container ends at {:#x}", offset.saturating_add(got)),
        )));
    }
    Ok(block)
}
