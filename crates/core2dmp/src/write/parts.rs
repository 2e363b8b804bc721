//! A dump in parts, for transports with a limit: `cat` joins them again.
//!
//! ```text
//! segments  |-header-|------ a ------|---- b ----|--- c ---|
//! parts     |-- .001 --|-- .002 --|-- .003 --|-- .004 -|
//! ```

use std::path::{Path, PathBuf};

use super::free_space::FreeSpace;
use super::job::{MAX_CORRUPT_PAGES, WriteOptions, Written};
use super::temporary::{self, Unnamed};
use crate::address::PAGE_SIZE;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::memory::PhysicalMemory;
use crate::progress::Progress;

/// Parts at most: their numbers have three digits.
const MAX_PARTS: u64 = 999;

/// Writes an image in parts of `part_bytes`, a multiple of 4096, the last one shorter: `PATH.001` and on. None
/// has its name before all are written.
///
/// # Errors
/// As [`to_file`](super::to_file); [`Error::TooMany`] for more than 999 parts.
pub fn to_parts(
    image: &Image,
    memory: &PhysicalMemory,
    path: &Path,
    part_bytes: u64,
    options: WriteOptions,
    progress: &dyn Progress,
) -> Result<(Vec<PathBuf>, Written)> {
    let part_bytes = part_bytes.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
    let count = image.size().div_ceil(part_bytes);
    if count > MAX_PARTS {
        return Err(Error::TooMany {
            what: "parts",
            found: count,
            limit: MAX_PARTS,
        });
    }
    let names: Vec<PathBuf> = (1..=count).map(|number| part_name(path, number)).collect();
    let space = FreeSpace::new(progress, temporary::folder(path));
    let mut parts = Vec::new();
    let mut all = Written::default();
    for (number, name) in (0_u64..).zip(&names) {
        let start = number.saturating_mul(part_bytes);
        let slice = image.slice(start, start.saturating_add(part_bytes));
        let (part, written) = Unnamed::write(&slice, memory, name, options, &space)?;
        parts.push(part);
        all.corrupt = all.corrupt.saturating_add(written.corrupt);
        all.corrupt_pages.extend(written.corrupt_pages);
    }
    all.corrupt_pages.truncate(MAX_CORRUPT_PAGES);
    for part in parts {
        part.publish(options, progress)?;
    }
    Ok((names, all))
}

/// `guest.dmp.001`.
fn part_name(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:03}"));
    PathBuf::from(name)
}
