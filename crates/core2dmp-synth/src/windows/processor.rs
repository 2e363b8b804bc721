//! Processors: KPCR, KPRCB with CONTEXT and special registers, descriptor tables, stacks and threads.
//!
//! ```text
//! KiProcessorBlock[n] -> KPRCB (in KPCR at +0x180 / +0x120)     KPRCB.ProcessorState: special registers, CONTEXT
//! descriptors + n * 0x4000:  x64: GDT +0, TSS +0x800, IDT +0x1000      x86: GDT +0, IDT +0x400, TSS +0xc00
//! ```
//!
//! References: KPCR in ntddk.h; descriptors: Intel SDM volume 3, section 3.4.5; KPCR + 0x7000 is where
//! KiSystemCall64Shadow takes the kernel's root from (elf2dmp reads it there too).

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::code;
use crate::windows::expected::Processor;
use crate::windows::memory::{PAGE, Place};
use crate::windows::objects::{self, ProcessObject};
use crate::windows::registers::Registers;
use crate::windows::world::World;

/// KPCR.KernelDirectoryTableBase on x64 kernels with shadowing.
pub(crate) const KERNEL_ROOT: u64 = 0x7000;
/// Bytes between the processors' descriptor tables.
const DESCRIPTORS: u64 = 0x4000;
const STACK_STRIDE: u64 = 0x1_0000;
const STACK_BYTES: u64 = 0x6000;
/// How far below the top of its stack the crashed processor stands; the crash's records lie above.
pub(crate) const BUGCHECK_DEPTH: u64 = 0x21e0;

/// Whether this kernel keeps a second root for user mode.
pub(crate) fn has_shadow(world: &World<'_>) -> bool {
    world.layout().arch.is_x64() && world.layout().pcr.prcb_size > KERNEL_ROOT
}

/// Makes all processors.
pub(crate) fn write_all(world: &mut World<'_>, processes: &[ProcessObject]) -> Vec<Processor> {
    let block = world.variable("KiProcessorBlock", 512);
    let width = world.layout().arch.pointer();
    (0..world.spec.processors)
        .map(|number| {
            let running = &processes[number as usize % processes.len()];
            let processor = write(world, number, running, processes[0].fact.eprocess);
            world.put_pointer(block + u64::from(number) * width, processor.kprcb);
            processor
        })
        .collect()
}

/// The top of a processor's kernel stack.
pub(crate) fn stack_top(world: &World<'_>, number: u32) -> u64 {
    world.layout().regions.stacks + u64::from(number) * STACK_STRIDE + STACK_BYTES
}

/// The user-mode thread block of the thread that a processor runs.
pub(crate) fn teb(world: &World<'_>, number: u32) -> u64 {
    let below = u64::from(number) * 0x2000;
    if world.layout().arch.is_64() {
        0x7f_f5e8_a000 - below
    } else {
        0x7ffd_e000 - below
    }
}

fn write(world: &mut World<'_>, number: u32, running: &ProcessObject, system: u64) -> Processor {
    let layout = world.layout();
    let (arch, pcr) = (layout.arch, &layout.pcr);
    let kpcr = layout.pcr_va(number);
    let kprcb = kpcr + pcr.prcb;
    world.map_span(kpcr, pcr.prcb + pcr.prcb_size, Place::High);
    world.write(kpcr, &vec![0; (pcr.prcb + pcr.prcb_size) as usize]);
    let top = stack_top(world, number);
    world.map_pages(top - STACK_BYTES, STACK_BYTES / 0x1000, Place::Low);
    let user_block = teb(world, number);
    let thread = objects::write_thread(world, running.fact.eprocess, top, user_block);
    let idle = objects::write_thread(world, system, top, 0);
    let (gdt, idt, tss) = write_descriptors(world, number, kpcr);
    match arch {
        Arch::X64 | Arch::X64La57 => {
            write_pcr_x64(world, kpcr, [gdt.0, tss, idt.0], running.space.root);
        }
        Arch::X86 | Arch::X86Pae => write_pcr_x86(world, kpcr, [idt.0, gdt.0, tss], number),
        Arch::Arm64 => write_pcr_arm64(world, kpcr),
    }
    world.put_pointer(kprcb + pcr.current_thread, thread);
    world.put_pointer(kprcb + pcr.idle_thread, idle);
    world.write(kprcb + pcr.number, &[number as u8]);
    world.put_u32(kprcb + pcr.mhz, 2900);
    if arch == Arch::Arm64 {
        world.write(kprcb + pcr.vendor, b"ARM Limited");
    } else {
        // CpuType (the family), CpuID, CpuStep (model and stepping).
        world.write(kprcb + pcr.mhz + 4, &[6, 1, 3, 0x5e]);
        world.write(kprcb + pcr.vendor, b"GenuineIntel");
    }
    let memory = saved_registers(world, number, running.space.root);
    let special = kprcb + pcr.special;
    let task = if arch.is_64() { 0x40 } else { 0x28 };
    world.write(special, &memory.special(arch, gdt, idt, task));
    let context = kprcb + pcr.context;
    let zero = world.spec.contexts_zero;
    if !zero {
        world.write(context, &memory.context(arch));
    }
    let context_pointer = pcr.context_pointer.map(|offset| kprcb + offset);
    if let Some(pointer) = context_pointer {
        world.put_pointer(pointer, context);
    }
    Processor {
        number,
        kpcr,
        kprcb,
        context_pointer,
        context,
        context_pieces: world.pieces(context, arch.context_bytes()),
        special,
        gdt,
        idt,
        thread,
        process: running.fact.eprocess,
        process_name: running.fact.name.clone(),
        vcpu: None,
        user_mode: world.spec.user_mode.contains(&number),
        from_vcpu: None,
        from_memory: (!zero).then_some(memory),
    }
}

/// What Windows last saved of a processor: at the bug check, or some time ago.
fn saved_registers(world: &World<'_>, number: u32, root: u64) -> Registers {
    let mut registers = Registers::pattern(world.layout().arch, 2, number);
    let crashed_here = world
        .spec
        .crash
        .as_ref()
        .is_some_and(|crash| crash.processor == number);
    let place = if crashed_here {
        code::KE_BUG_CHECK_EX + 0x27
    } else {
        code::FREEZE + 2
    };
    let arch = world.layout().arch;
    registers.rip = arch.instruction(world.layout().regions.kernel + place);
    // Records of a crash stand on its stack, above what the bug check's own functions pushed.
    let depth = if crashed_here { BUGCHECK_DEPTH } else { 0x1e0 };
    registers.rsp = stack_top(world, number) - depth;
    registers.cr3 = root;
    registers.set_platform_register(world.layout().pcr_va(number));
    registers
}

/// Reference: KPCR of ARM64 in ntddk.h: Self and CurrentPrcb are where x64 has them; there are no descriptor tables.
fn write_pcr_arm64(world: &mut World<'_>, kpcr: u64) {
    let prcb = kpcr + world.layout().pcr.prcb;
    for (offset, value) in [(0x18, kpcr), (0x20, prcb)] {
        world.put_u64(kpcr + offset, value);
    }
}

fn write_pcr_x64(world: &mut World<'_>, kpcr: u64, [gdt, tss, idt]: [u64; 3], root: u64) {
    let prcb = kpcr + world.layout().pcr.prcb;
    for (offset, value) in [(0, gdt), (8, tss), (0x18, kpcr), (0x20, prcb), (0x38, idt)] {
        world.put_u64(kpcr + offset, value);
    }
    // MajorVersion and MinorVersion.
    world.put_u32(kpcr + 0x60, 0x0001_0001);
    world.put_u32(prcb, 0x1f80);
    if has_shadow(world) {
        world.put_u64(kpcr + KERNEL_ROOT, root | 2);
    }
}

fn write_pcr_x86(world: &mut World<'_>, kpcr: u64, [idt, gdt, tss]: [u64; 3], number: u32) {
    let prcb = kpcr + world.layout().pcr.prcb;
    let version_block = world.variable("KdVersionBlock", 0x28);
    for (offset, value) in [
        (0, 0xffff_ffff),
        (0x1c, kpcr),
        (0x20, prcb),
        (0x34, version_block),
        (0x38, idt),
        (0x3c, gdt),
        (0x40, tss),
    ] {
        world.put_u32(kpcr + offset, value as u32);
    }
    world.put_u32(kpcr + 0x44, 0x0001_0001);
    world.put_u32(kpcr + 0x48, 1 << number);
    world.write(kpcr + 0x51, &[number as u8]);
    world.put_u32(prcb, 0x0001_0001);
}

/// Base and limit of GDT and IDT, and the TSS' address.
type Descriptors = ((u64, u16), (u64, u16), u64);

fn write_descriptors(world: &mut World<'_>, number: u32, kpcr: u64) -> Descriptors {
    let base = world.layout().regions.descriptors + u64::from(number) * DESCRIPTORS;
    match world.layout().arch {
        Arch::X64 | Arch::X64La57 => {}
        Arch::X86 | Arch::X86Pae => return write_descriptors_x86(world, base, kpcr),
        Arch::Arm64 => return ((0, 0), (0, 0), 0),
    }
    world.map_pages(base, 2, Place::Low);
    let tss = base + 0x800;
    let mut page = vec![0; PAGE];
    for (selector, descriptor) in [
        (0x10, 0x0020_9b00_0000_0000),
        (0x18, 0x00cf_9300_0000_ffff),
        (0x20, 0x00cf_fb00_0000_ffff),
        (0x28, 0x00cf_f300_0000_ffff),
        (0x30, 0x0020_fb00_0000_0000),
        (0x40, system_descriptor(tss as u32, 0x67, 0x8b, 0)),
        (0x48, tss >> 32),
        (0x50, system_descriptor(0, 0x3c00, 0xf3, 0x40)),
    ] {
        put_u64(&mut page, selector, descriptor);
    }
    put_u64(&mut page, 0x800 + 4, stack_top(world, number));
    put_u16(&mut page, 0x800 + 0x66, 0x68);
    world.write(base, &page);
    let handlers = world.layout().regions.kernel + code::INTERRUPTS;
    for i in 0..256 {
        let handler = handlers + i * 0x10;
        let mut gate = [0; 16];
        put_u64(&mut gate, 0, gate_low(handler as u32, 0x10));
        put_u32(&mut gate, 8, (handler >> 32) as u32);
        world.write(base + 0x1000 + i * 16, &gate);
    }
    ((base, 0x6f), (base + 0x1000, 0xfff), tss)
}

fn write_descriptors_x86(world: &mut World<'_>, base: u64, kpcr: u64) -> Descriptors {
    world.map_pages(base, 1, Place::Low);
    let tss = base + 0xc00;
    let mut page = vec![0; PAGE];
    for (selector, descriptor) in [
        (0x08, 0x00cf_9b00_0000_ffff),
        (0x10, 0x00cf_9300_0000_ffff),
        (0x18, 0x00cf_fb00_0000_ffff),
        (0x20, 0x00cf_f300_0000_ffff),
        (0x28, system_descriptor(tss as u32, 0x20ab, 0x8b, 0)),
        (0x30, system_descriptor(kpcr as u32, 1, 0x93, 0xc0)),
        (0x38, system_descriptor(0x7ffd_e000, 0xfff, 0xf3, 0x40)),
    ] {
        put_u64(&mut page, selector, descriptor);
    }
    let handlers = world.layout().regions.kernel + code::INTERRUPTS;
    for i in 0..256 {
        put_u64(
            &mut page,
            0x400 + i * 8,
            gate_low(handlers as u32 + i as u32 * 0x10, 0x08),
        );
    }
    put_u16(&mut page, 0xc00 + 8, 0x10);
    put_bytes(
        &mut page,
        0xc00 + 0x1c,
        &(world.space.root as u32).to_le_bytes(),
    );
    world.write(base, &page);
    ((base, 0x3ff), (base + 0x400, 0x7ff), tss)
}

/// A segment descriptor.
fn system_descriptor(base: u32, limit: u32, access: u64, flags: u64) -> u64 {
    let (base, limit) = (u64::from(base), u64::from(limit));
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | access << 40
        | (limit >> 16 & 0xf) << 48
        | flags << 48
        | base >> 24 << 56
}

/// The low half of an interrupt gate.
fn gate_low(handler: u32, selector: u64) -> u64 {
    let handler = u64::from(handler);
    handler & 0xffff | selector << 16 | 0x8e << 40 | handler >> 16 << 48
}
