//! The pages that a debugger reads while it opens a dump: those that are not in the file, or are zeros.
//!
//! ```text
//! page tables -> KDBG -> PsLoadedModuleList -> entries -> names, PE headers
//!                     -> KiProcessorBlock -> PRCB -> CONTEXT, descriptor table, thread -> process -> its page tables
//!                     -> PsActiveProcessHead -> EPROCESS ..;  KUSER_SHARED_DATA
//! ```
//!
//! A page that is missing is no wrong value: nothing that it would have held is judged. Learned by taking one page at a
//! time out of good dumps before dbgeng 10.0.10240; the words of 10.0.29507 are those of its own runs.

mod lists;
mod processors;
mod visit;

use self::visit::{Thing, Visitor};
use super::{Finding, Severity, words};
use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::container::dmp::DumpFile;
use crate::format::header_fields::FieldId;
use crate::format::kdbg::{
    CM_NT_CSD_VERSION, KI_PROCESSOR_BLOCK, MM_LAST_UNLOADED_DRIVER, MM_SYSTEM_RANGE_START,
    MM_UNLOADED_DRIVERS, NT_BUILD_LAB, OWNER_TAG, PS_ACTIVE_PROCESS_HEAD, PS_LOADED_MODULE_LIST,
    TAG,
};
use crate::format::nt::kuser;
use crate::paging::AddressSpace;
use crate::windows::Windows;

/// Bytes of the debugger data block that have to be read for any of it to be used.
const BLOCK_HEAD: usize = 0x2e0;

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The pages that are missing, a finding each.
    pub(super) findings: Vec<Finding>,
    /// Whether the page tables, or the debugger data block, are not in the file.
    pub(super) lost_block: bool,
}

/// Walks a dump in which Windows was found.
pub(super) fn walk(dump: &DumpFile, guest: &Guest, windows: &Windows) -> Walked {
    let space = windows.space(&guest.memory);
    let mut visitor = Visitor::new(dump, &space);
    root(&mut visitor, guest, windows);
    let block = block(&mut visitor, windows);
    let lost_block = visitor.found_any();
    if block {
        // A pointer that is wrong is a finding of the block; what it points to is nothing that is missing.
        let is_wrong = |offset, gva| match offset {
            PS_LOADED_MODULE_LIST => gva != windows.module_list.value,
            PS_ACTIVE_PROCESS_HEAD => gva != windows.process_list.value,
            _ => false,
        };
        let field = |offset| windows.kdbg.value.pointer(offset);
        variables(&mut visitor, |offset| {
            field(offset).filter(|gva| !is_wrong(offset, *gva))
        });
        processors::walk(&mut visitor, windows);
    }
    lists::modules(
        &mut visitor,
        windows.module_list.value,
        windows.kernel.image.base,
    );
    lists::processes(&mut visitor, windows.process_list.value);
    let kuser = Gva::new(if windows.mode.is_64bit() {
        kuser::ADDRESS64
    } else {
        kuser::ADDRESS32
    });
    let shows = "clock and product are the header's; nothing else lacks";
    let thing = Thing::new(
        "KUSER_SHARED_DATA",
        Severity::Cosmetic,
        words::NO_KUSER,
        shows,
    );
    visitor.visit(&thing, kuser, kuser::SIZE);
    Walked {
        findings: visitor.into_findings(),
        lost_block,
    }
}

/// What can be said of a dump in which no Windows was found: the header's own pointers.
pub(super) fn from_header(dump: &DumpFile, guest: &Guest) -> Walked {
    let mut walked = Walked::default();
    for space in super::block::spaces(dump, &guest.memory) {
        let mut visitor = Visitor::new(dump, &space);
        if let Some(gva) = dump.number(FieldId::KdDebuggerDataBlock).map(Gva::new) {
            visitor.visit(&block_thing(), gva, BLOCK_HEAD);
            if has_tag(&space, gva) {
                variables(&mut visitor, |offset| {
                    let value = space.u64(gva.checked_add(offset as u64)?).ok()?;
                    let pointer = space.mode().canonical(Gva::new(value))?;
                    (pointer.get() != 0).then_some(pointer)
                });
            }
        }
        let lost_block = visitor.found_any();
        if let Some(gva) = dump.number(FieldId::PsLoadedModuleList) {
            lists::modules(&mut visitor, Gva::new(gva), Gva::default());
        }
        let findings = visitor.into_findings();
        if !findings.is_empty() {
            walked = Walked {
                findings,
                lost_block,
            };
            break;
        }
    }
    walked
}

/// Whether a plain block is at an address.
fn has_tag(space: &AddressSpace<'_>, gva: Gva) -> bool {
    let tag = gva.saturating_add(OWNER_TAG as u64);
    space.bytes(tag, TAG.len()).is_ok_and(|bytes| bytes == TAG)
}

/// Whether the header's page tables are a process' own, and are not in the file or are zeros. The address is right then.
pub(super) fn root_is_lost(dump: &DumpFile, guest: &Guest, windows: &Windows) -> bool {
    let root = dump.number(FieldId::DirectoryTableBase).unwrap_or(0);
    let root = Gpa::new(root & windows.mode.root_mask());
    let mut others = windows.dtb.rejected.iter();
    if others.any(|other| other.value == root && other.source.is_system()) {
        return true;
    }
    let mask = windows.mode.root_mask();
    let mut processes = windows.processes.iter();
    let is_ones = processes.any(|process| process.dtb & mask == root.get());
    is_ones && guest.memory.run_of(root.pfn()).is_none()
}

fn root(visitor: &mut Visitor<'_, '_>, guest: &Guest, windows: &Windows) {
    let shows = "nothing";
    let thing = Thing::new("page tables", Severity::Broken, words::PARTIALLY, shows);
    let root = visitor.dump.number(FieldId::DirectoryTableBase);
    let root = Gpa::new(root.unwrap_or(0));
    let is_lost = root_is_lost(visitor.dump, guest, windows);
    if is_lost {
        visitor.visit_frame(&thing, root);
    }
    // Of tables other than those that Windows was found by, a directory behind the root may be missing.
    let space = AddressSpace::new(&guest.memory, windows.mode, root);
    let mask = windows.mode.root_mask();
    let mut processes = windows.processes.iter();
    if is_lost || processes.any(|process| process.dtb & mask == space.root().get()) {
        let mut own = Visitor::new(visitor.dump, &space);
        for gva in [windows.kdbg.value.gva, windows.module_list.value] {
            if space.translate(gva).is_err() {
                own.visit(&thing, gva, 1);
            }
        }
        visitor.take(own);
    }
}

fn block_thing() -> Thing {
    let shows = "no processors, no process list";
    Thing::new(
        "KdDebuggerDataBlock",
        Severity::Broken,
        words::PARTIALLY,
        shows,
    )
}

/// The block that the header names; whether it can be read.
fn block(visitor: &mut Visitor<'_, '_>, windows: &Windows) -> bool {
    let truth = &windows.kdbg.value;
    let header = visitor
        .dump
        .number(FieldId::KdDebuggerDataBlock)
        .map(Gva::new);
    let gva = header
        .filter(|gva| windows.mode.is_kernel(*gva))
        .unwrap_or(truth.gva);
    let head = BLOCK_HEAD.min(truth.bytes.len());
    let good = visitor.visit(&block_thing(), gva, head);
    let rest = truth.bytes.len().saturating_sub(head);
    let shows = "fields of later releases lack";
    let tail = Thing::new(
        "the end of KdDebuggerDataBlock",
        Severity::Cosmetic,
        words::BLOCK_CUT,
        shows,
    );
    if good && rest > 0 {
        visitor.visit(&tail.may_be_zero(), gva.saturating_add(head as u64), rest);
    }
    good
}

/// Variables that the block points to: offset in the block, name, how bad it is without, what the debugger says and shows.
const VARIABLES: [(usize, &str, Severity, words::Said, &str); 8] = [
    (
        PS_LOADED_MODULE_LIST,
        "PsLoadedModuleList",
        Severity::Broken,
        words::NO_MODULE_LIST,
        "no modules",
    ),
    (
        KI_PROCESSOR_BLOCK,
        "KiProcessorBlock",
        Severity::Refused,
        words::NO_PROCESSOR_BLOCK,
        "nothing",
    ),
    (
        PS_ACTIVE_PROCESS_HEAD,
        "PsActiveProcessHead",
        Severity::Broken,
        words::PAGE_ALONE,
        "no processes",
    ),
    (
        MM_SYSTEM_RANGE_START,
        "MmSystemRangeStart",
        Severity::Cosmetic,
        words::PAGE_ALONE,
        "all the same",
    ),
    (
        NT_BUILD_LAB,
        "NtBuildLab",
        Severity::Cosmetic,
        words::PAGE_ALONE,
        "no \"Built by\" line",
    ),
    (
        CM_NT_CSD_VERSION,
        "CmNtCSDVersion",
        Severity::Cosmetic,
        words::PAGE_ALONE,
        "no service pack",
    ),
    (
        MM_UNLOADED_DRIVERS,
        "MmUnloadedDrivers",
        Severity::Cosmetic,
        words::NO_UNLOADED,
        "no unloaded modules",
    ),
    (
        MM_LAST_UNLOADED_DRIVER,
        "MmLastUnloadedDriver",
        Severity::Cosmetic,
        words::NO_UNLOADED,
        "no unloaded modules",
    ),
];

/// The variables that the block points to.
fn variables(visitor: &mut Visitor<'_, '_>, field: impl Fn(usize) -> Option<Gva>) {
    for (offset, name, severity, said, shows) in VARIABLES {
        if let Some(gva) = field(offset) {
            let thing = Thing::new(name, severity, said, shows);
            visitor.visit(&thing, gva, visitor.space.mode().pointer_bytes());
        }
    }
}

/// The bytes of a pointer's worth at an address.
fn pointer(space: &AddressSpace<'_>, gva: Gva, offset: usize) -> Option<Gva> {
    let pointer = space.pointer(gva.checked_add(offset as u64)?).ok()?;
    (pointer.get() != 0).then_some(pointer)
}
