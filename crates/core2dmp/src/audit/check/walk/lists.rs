//! The lists of modules and of processes, entry by entry.

use std::collections::HashSet;

use super::super::{Severity, words};
use super::pointer;
use super::visit::{Thing, Visitor};
use crate::address::Gva;
use crate::format::nt::{LAYOUT32, LAYOUT64, Layout};

/// Entries that are followed.
const MAX_ENTRIES: usize = 16384;
/// Bytes of a PE header that are read first.
const PE_BYTES: usize = 0x200;

fn layout(visitor: &Visitor<'_, '_>) -> &'static Layout {
    if visitor.space.mode().is_64bit() {
        &LAYOUT64
    } else {
        &LAYOUT32
    }
}

/// Calls `visit` with each entry of a list until one cannot be read.
fn each(
    visitor: &mut Visitor<'_, '_>,
    head: Gva,
    mut visit: impl FnMut(&mut Visitor<'_, '_>, usize, Gva) -> bool,
) {
    let mut seen = HashSet::from([head]);
    let mut at = head;
    for index in 0..MAX_ENTRIES {
        let Some(next) = pointer(visitor.space, at, 0) else {
            return;
        };
        if !seen.insert(next) || !visit(visitor, index, next) {
            return;
        }
        at = next;
    }
}

/// `PsLoadedModuleList`: the head, the entries, names and headers.
pub(super) fn modules(visitor: &mut Visitor<'_, '_>, head: Gva, kernel: Gva) {
    let layout = layout(visitor);
    let list = Thing::new(
        "PsLoadedModuleList",
        Severity::Broken,
        words::NO_MODULE_LIST,
        "no modules",
    );
    if !visitor.visit(&list, head, layout.pointer) {
        return;
    }
    each(visitor, head, |visitor, index, entry| {
        let shows = "none of the modules from there on";
        let name = format!("entry {index} of PsLoadedModuleList");
        let thing = Thing::new(name, Severity::Broken, words::NO_MODULE, shows);
        let bytes = layout
            .module_base_name
            .saturating_add(layout.pointer.saturating_mul(2));
        if !visitor.visit(&thing, entry, bytes) {
            return false;
        }
        let string = entry.saturating_add(layout.module_base_name as u64);
        let length = visitor.space.u16(string).unwrap_or(0);
        if let Some(buffer) = pointer(visitor.space, string, layout.string_buffer) {
            let shows = "a module without its name";
            let name = format!("name of entry {index} of PsLoadedModuleList");
            let thing = Thing::new(name, Severity::Broken, words::NO_MODULE_NAME, shows);
            visitor.visit(&thing, buffer, usize::from(length));
        }
        if let Some(base) = pointer(visitor.space, entry, layout.module_base) {
            header(visitor, index, base, base == kernel);
        }
        true
    });
}

/// A module's PE header: without the kernel's there are no symbols of it.
fn header(visitor: &mut Visitor<'_, '_>, index: usize, base: Gva, is_kernel: bool) {
    let thing = if is_kernel {
        let shows = "lists, processors and registers, but the kernel without its header, and so without symbols";
        Thing::new(
            "PE header of the kernel",
            Severity::Broken,
            words::PAGE_ALONE,
            shows,
        )
    } else {
        let name = format!("PE header of module {index}");
        Thing::new(
            name,
            Severity::Cosmetic,
            words::PAGE_ALONE,
            "that module without symbols",
        )
    };
    if !visitor.visit(&thing, base, PE_BYTES) {
        return;
    }
    for (gva, bytes, what) in directories(visitor, base).into_iter().flatten() {
        let name = format!("{what} directory of module {index}");
        let shows = "that module by another name, or without symbols";
        let thing = Thing::new(name, Severity::Cosmetic, words::PAGE_ALONE, shows);
        visitor.visit(&thing.may_be_zero(), gva, bytes);
    }
}

/// The export and the debug directory of an image.
fn directories(visitor: &Visitor<'_, '_>, base: Gva) -> [Option<(Gva, usize, &'static str)>; 3] {
    /// From the PE signature to the data directories, by the width of the image.
    const DIRECTORIES: (u64, u64) = (0x78, 0x88);
    const DEBUG: u64 = 6;
    let space = visitor.space;
    let at = |offset: u64| space.u32(base.saturating_add(offset)).ok().map(u64::from);
    let directory = |index: u64| {
        let pe = at(0x3c)?;
        let table = if space.mode().is_64bit() {
            DIRECTORIES.1
        } else {
            DIRECTORIES.0
        };
        let entry = pe
            .saturating_add(table)
            .saturating_add(index.saturating_mul(8));
        let rva = at(entry).filter(|rva| *rva != 0)?;
        Some((rva, at(entry.saturating_add(4))?))
    };
    let place = |rva: u64| base.saturating_add(rva);
    let exports = directory(0).map(|(rva, _)| (place(rva), 0x28, "export"));
    let debug = directory(DEBUG);
    let record = debug.and_then(|(rva, _)| at(rva.saturating_add(0x14)));
    [
        exports,
        debug.map(|(rva, _)| (place(rva), 0x1c, "debug")),
        record
            .filter(|rva| *rva != 0)
            .map(|rva| (place(rva), 0x18, "debug")),
    ]
}

/// `PsActiveProcessHead` and its entries.
pub(super) fn processes(visitor: &mut Visitor<'_, '_>, head: Gva) {
    let layout = layout(visitor);
    let list = Thing::new(
        "PsActiveProcessHead",
        Severity::Broken,
        words::PAGE_ALONE,
        "no processes",
    );
    if !visitor.visit(&list, head, layout.pointer) {
        return;
    }
    each(visitor, head, |visitor, index, links| {
        let name = format!("process {index} of PsActiveProcessHead");
        let shows = "none of the processes from there on";
        let thing = Thing::new(name, Severity::Broken, words::PAGE_ALONE, shows);
        visitor.visit(&thing, links, layout.pointer)
    });
}
