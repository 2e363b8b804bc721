//! An image in memory: sections mapped with their rights, relocated, its imports bound.

use crate::image::Image;
use crate::machine::Machine;
use crate::pool;

/// Puts the image into the pool, away from where it would like to be, so that relocations are needed; its entry.
///
/// # Errors
/// An import that `resolve` does not know, or something outside the image.
pub(crate) fn load(
    image: &Image,
    machine: Machine,
    resolve: impl Fn(&str) -> Option<usize>,
) -> Result<usize, String> {
    let (base, size) = (pool::base() + pool::IMAGE, image.size as usize);
    if size > pool::IMAGE_BYTES {
        return Err("the image is too large".to_owned());
    }
    let memory = pool::slice(base, size);
    memory.fill(0);
    fill(memory, base as u64, image, machine.pointer(), resolve)?;
    pool::protect(pool::IMAGE, size, libc::PROT_READ);
    for section in &image.sections {
        let (execute, write) = section.rights();
        let mut rights = libc::PROT_READ;
        if execute {
            rights |= libc::PROT_EXEC;
        }
        if write {
            rights |= libc::PROT_WRITE;
        }
        pool::protect(
            pool::IMAGE + section.at as usize,
            section.size as usize,
            rights,
        );
    }
    Ok(base + image.entry as usize)
}

fn fill(
    memory: &mut [u8],
    base: u64,
    image: &Image,
    pointer: usize,
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
        let place = memory
            .get_mut(at..at + pointer)
            .ok_or("an import outside")?;
        place.copy_from_slice(&(address as u64).to_le_bytes()[..pointer]);
    }
    Ok(())
}
