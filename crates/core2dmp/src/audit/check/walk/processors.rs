//! Each processor: its pointer, control block, registers, descriptor table, thread and process.

use super::super::{Severity, words};
use super::pointer;
use super::visit::{Thing, Visitor};
use crate::address::{Gpa, Gva};
use crate::format::context::{REGISTERS_AMD64, REGISTERS_X86};
use crate::format::kdbg::{KI_PROCESSOR_BLOCK, OFFSET_PRCB_CONTEXT};
use crate::format::nt::{LAYOUT32, LAYOUT64};
use crate::paging::PagingMode;
use crate::windows::{Processor, Windows};

/// Bytes of a descriptor table that hold what the kernel's selectors name.
const SELECTORS: usize = 0x58;
/// Bytes of `KSPECIAL_REGISTERS` that are read.
const SPECIAL: usize = 0x54;

/// Every processor.
pub(super) fn walk(visitor: &mut Visitor<'_, '_>, windows: &Windows) {
    let block = windows.kdbg.value.pointer(KI_PROCESSOR_BLOCK);
    let word = windows.mode.pointer_bytes();
    for number in 0..windows.processor_count.value {
        let slot = u64::from(number).saturating_mul(word as u64);
        let name = format!("KiProcessorBlock[{number}]");
        let thing = Thing::new(
            name,
            Severity::Refused,
            words::NO_PROCESSOR_BLOCK,
            "nothing",
        );
        if let Some(block) = block {
            visitor.visit(&thing.may_be_zero(), block.saturating_add(slot), word);
        }
    }
    for processor in &windows.processors {
        one(visitor, windows, processor);
    }
}

fn one(visitor: &mut Visitor<'_, '_>, windows: &Windows, processor: &Processor) {
    let number = processor.number;
    let shows = "that processor without registers";
    let registers = |what: &str| {
        let name = format!("{what} of processor {number}");
        Thing::new(name, Severity::Broken, words::NO_CONTEXT, shows)
    };
    let prcb = registers("control block (PRCB)");
    let mut good = visitor.visit(&prcb, processor.prcb, 0x40);
    if let Some(offset) = windows.kdbg.value.offset(OFFSET_PRCB_CONTEXT) {
        let slot = processor.prcb.saturating_add(u64::from(offset));
        good &= visitor.visit(&prcb, slot, windows.mode.pointer_bytes());
    }
    if let Some(gva) = processor.special {
        good &= visitor.visit(&prcb, gva, SPECIAL);
    }
    let bytes = match windows.mode {
        PagingMode::X86 | PagingMode::X86Pae => 0x2cc,
        PagingMode::X64 | PagingMode::X64La57 => 0x4d0,
        PagingMode::Arm64 => 0x390,
    };
    if let Some(gva) = processor.context {
        good &= visitor.visit(&registers("CONTEXT"), gva, bytes);
    }
    if !good {
        return;
    }
    descriptors(visitor, windows, processor);
    code(visitor, windows, processor);
    thread(visitor, processor);
}

/// The descriptor table that CS is looked up in, on 32 bit FS too.
fn descriptors(visitor: &mut Visitor<'_, '_>, windows: &Windows, processor: &Processor) {
    let (layout, said) = match windows.mode {
        PagingMode::Arm64 => return,
        mode if mode.is_64bit() => (&LAYOUT64, words::CS),
        _ => (&LAYOUT32, words::SELECTOR),
    };
    let name = format!("descriptor table (GDT) of processor {}", processor.number);
    let thing = Thing::new(
        name,
        Severity::Broken,
        said,
        "that processor without its code selector",
    );
    if let Some(gdt) = pointer(visitor.space, processor.pcr, layout.pcr_gdt) {
        visitor.visit(&thing, gdt, SELECTORS);
    }
}

/// The code that the processor ran; a user's may be left out of a dump.
fn code(visitor: &mut Visitor<'_, '_>, windows: &Windows, processor: &Processor) {
    let (table, name) = match windows.mode {
        PagingMode::Arm64 => return,
        mode if mode.is_64bit() => (REGISTERS_AMD64, "Rip"),
        _ => (REGISTERS_X86, "Eip"),
    };
    let place = table.iter().find(|(register, ..)| *register == name);
    let rip = place
        .zip(processor.context)
        .and_then(|((_, offset, _), context)| pointer(visitor.space, context, *offset));
    if let Some(rip) = rip.filter(|rip| windows.mode.is_kernel(*rip)) {
        let name = format!("code at {name} of processor {}", processor.number);
        let thing = Thing::new(
            name,
            Severity::Cosmetic,
            words::PAGE_ALONE,
            "no instruction there",
        );
        visitor.visit(&thing.may_be_zero(), rip, 1);
    }
}

/// The thread, the process that it is attached to, and that one's page tables.
fn thread(visitor: &mut Visitor<'_, '_>, processor: &Processor) {
    let number = processor.number;
    let Some(thread) = processor.thread else {
        return;
    };
    let shows = "no process of that processor";
    let thing = |what: &str, said| {
        Thing::new(
            format!("{what} of processor {number}"),
            Severity::Broken,
            said,
            shows,
        )
    };
    let at = Gva::new(thread.get());
    if !visitor.visit(&thing("thread (KTHREAD)", words::NO_THREAD), at, 0x100) {
        return;
    }
    let Some(process) = processor.process else {
        return;
    };
    if !visitor.visit(&thing("process (EPROCESS)", words::NO_PEB), process, 0x40) {
        return;
    }
    let layout = if visitor.space.mode().is_64bit() {
        &LAYOUT64
    } else {
        &LAYOUT32
    };
    let root = process.saturating_add(layout.process_dtb as u64);
    if let Ok(root) = visitor.space.word(root) {
        let name = format!("page tables of the process of processor {number}");
        let shows = "no user addresses of that process";
        let tables = Thing::new(name, Severity::Cosmetic, words::NO_DIRECTORIES, shows);
        let root = Gpa::new(root & visitor.space.mode().root_mask());
        if root.get() != 0 {
            visitor.visit_frame(&tables.may_be_zero(), root);
        }
    }
}
