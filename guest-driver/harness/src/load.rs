//! An image in memory: sections mapped with their rights, relocated, its imports bound.

use std::ptr::null_mut;

use crate::image::Image;

/// A mapped image; unmapped when it is dropped.
#[derive(Debug)]
pub struct Loaded {
    base: usize,
    size: usize,
    entry: usize,
}

impl Loaded {
    /// Maps the image away from where it would like to be, so that relocations are needed.
    ///
    /// # Errors
    /// An import that `resolve` does not know, or a mapping that fails.
    pub fn new(image: &Image, resolve: impl Fn(&str) -> Option<usize>) -> Result<Self, String> {
        let size = image.size as usize;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping of nothing.
        let base: *mut u8 = unsafe { libc::mmap(null_mut(), size, rights, flags, -1, 0) }.cast();
        if base.cast() == libc::MAP_FAILED {
            return Err("mmap failed".to_owned());
        }
        let loaded = Self {
            base: base.addr(),
            size,
            entry: base.addr() + image.entry as usize,
        };
        // SAFETY: the mapping has this size, is writable, and nobody else knows it yet.
        let memory = unsafe { std::slice::from_raw_parts_mut(base, size) };
        fill(memory, base.addr() as u64, image, resolve)?;
        for section in &image.sections {
            loaded.protect(section.at as usize, section.size as usize, section.rights());
        }
        Ok(loaded)
    }

    fn protect(&self, at: usize, bytes: usize, (execute, write): (bool, bool)) {
        let mut rights = libc::PROT_READ;
        if execute {
            rights |= libc::PROT_EXEC;
        }
        if write {
            rights |= libc::PROT_WRITE;
        }
        let start = (self.base + at) as *mut libc::c_void;
        // SAFETY: the range is inside the mapping; sections begin at pages.
        let changed = unsafe { libc::mprotect(start, bytes.next_multiple_of(0x1000), rights) };
        assert_eq!(changed, 0, "mprotect");
    }

    /// Where the image begins to run.
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own; the driver was unloaded by its test, or never ran.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.size) };
    }
}

fn fill(
    memory: &mut [u8],
    base: u64,
    image: &Image,
    resolve: impl Fn(&str) -> Option<usize>,
) -> Result<(), String> {
    for section in &image.sections {
        let at = section.at as usize;
        let place = memory
            .get_mut(at..at + section.data.len())
            .ok_or("a section outside")?;
        place.copy_from_slice(&section.data);
    }
    let delta = base.wrapping_sub(image.base);
    for (at, bytes) in &image.relocations {
        let at = *at as usize;
        let place = memory
            .get_mut(at..at + *bytes as usize)
            .ok_or("a relocation outside")?;
        let mut whole = [0; 8];
        for (to, from) in whole.iter_mut().zip(place.iter()) {
            *to = *from;
        }
        let moved = u64::from_le_bytes(whole).wrapping_add(delta).to_le_bytes();
        place.copy_from_slice(moved.get(..place.len()).unwrap_or_default());
    }
    for import in &image.imports {
        let address = resolve(&import.name).ok_or_else(|| format!("no import {}", import.name))?;
        let at = import.slot as usize;
        let place = memory.get_mut(at..at + 8).ok_or("an import outside")?;
        place.copy_from_slice(&(address as u64).to_le_bytes());
    }
    Ok(())
}
