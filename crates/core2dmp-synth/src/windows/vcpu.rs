//! The vCPUs: what the hypervisor says of each processor, and shadow page tables for one in user mode.
//!
//! ```text
//! live, in the kernel   rip in the idle loop, CR3 = the running process
//! live, in user mode    cs 0x33, CR3 = the shadow root: user half, KPCR page, KPCR + 0x7000, descriptor tables, entry code
//! crashed               rip in a halt loop: not where the fault was
//! never started         real mode at the reset vector, CR3 0
//! ```

use crate::windows::arch::Arch;
use crate::windows::code;
use crate::windows::expected::Processor;
use crate::windows::guest::Vcpu;
use crate::windows::memory::Place;
use crate::windows::objects::{ProcessObject, fresh_frame};
use crate::windows::paging::{AddressSpace, KERNEL, USER};
use crate::windows::processor::{self, KERNEL_ROOT};
use crate::windows::registers::Registers;
use crate::windows::world::World;

/// EPROCESS.UserDirectoryTableBase, build 19041.
const USER_ROOT_FIELD: u64 = 0x388;

/// Instruction and stack pointers of a vCPU in user mode.
const USER_64: (u64, u64) = (0x7ff7_4c21_10d4, 0x005a_31ff_f8c0);
const USER_32: (u64, u64) = (0x77f0_82a4, 0x0012_fe50);

/// Makes the vCPUs in container order, and notes in `processors` which is whose.
pub(crate) fn make_all(
    world: &mut World<'_>,
    processors: &mut [Processor],
    processes: &mut [ProcessObject],
) -> Vec<Vcpu> {
    let count = world.spec.vcpus.unwrap_or(world.spec.processors);
    let order = world
        .spec
        .vcpu_order
        .clone()
        .unwrap_or_else(|| (0..count).collect());
    let mut vcpus = Vec::new();
    for (index, &number) in order.iter().enumerate() {
        let vcpu = match processors.get_mut(number as usize) {
            Some(processor) => {
                processor.vcpu = Some(index);
                let running = number as usize % processes.len();
                let vcpu = make(world, processor, &mut processes[running]);
                processor.from_vcpu = Some(vcpu.registers.clone());
                vcpu
            }
            None => never_started(world.layout().arch, number),
        };
        vcpus.push(vcpu);
    }
    vcpus
}

fn never_started(arch: Arch, number: u32) -> Vcpu {
    Vcpu {
        processor: number,
        registers: Registers::after_reset(arch),
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
        gdt: (0, 0xffff),
        idt: (0, 0xffff),
        online: true,
    }
}

fn make(world: &mut World<'_>, processor: &Processor, process: &mut ProcessObject) -> Vcpu {
    let arch = world.layout().arch;
    let number = processor.number;
    let kernel = world.layout().regions.kernel;
    let teb = processor::teb(world, number);
    let mut registers = Registers::pattern(arch, 1, number);
    registers.cr3 = process.space.root;
    registers.rsp = processor::stack_top(world, number) - 0x1f0;
    registers.set_platform_register(processor.kpcr);
    registers.rip = match &world.spec.crash {
        Some(_) => kernel + code::HALT_LOOP + 2,
        None => kernel + code::IDLE + 2 + u64::from(number) * code::IDLE_STRIDE,
    };
    registers.rip = arch.instruction(registers.rip);
    if processor.user_mode {
        enter_user_mode(world, processor, process, &mut registers);
    }
    let (fs_base, gs_base_kernel, gs_base_user) = match (arch.is_64(), processor.user_mode) {
        (true, _) => (0, processor.kpcr, teb),
        (false, true) => (teb, 0, 0),
        (false, false) => (processor.kpcr, 0, 0),
    };
    Vcpu {
        processor: number,
        registers,
        fs_base,
        gs_base_kernel,
        gs_base_user,
        gdt: processor.gdt,
        idt: processor.idt,
        online: true,
    }
}

fn enter_user_mode(
    world: &mut World<'_>,
    processor: &Processor,
    process: &mut ProcessObject,
    registers: &mut Registers,
) {
    let is_64 = world.layout().arch.is_64();
    (registers.rip, registers.rsp) = if is_64 { USER_64 } else { USER_32 };
    let teb = processor::teb(world, processor.number);
    for va in [registers.rip, registers.rsp, teb] {
        let pfn = world.ram.allocator.take(Place::Low);
        process.space.map(&mut world.ram, va & !0xfff, pfn, USER);
        // ret, wherever the instruction pointer is; harmless in the other two.
        world.ram.frames.write(pfn << 12 | va & 0xfff, &[0xc3]);
    }
    if let Some(arm64) = &mut registers.arm64 {
        arm64.x[18] = teb;
        // EL0.
        arm64.pstate &= !0xf;
        return;
    }
    if !is_64 {
        (registers.cs, registers.ss, registers.fs) = (0x1b, 0x23, 0x3b);
        return;
    }
    (registers.cs, registers.ss) = (0x33, 0x2b);
    if processor::has_shadow(world) {
        let shadow = make_shadow(world, processor, process);
        // Process context identifiers: 2 for the kernel's root, 1 for the user's.
        registers.cr3 = shadow | 1;
        registers.cr4 |= 1 << 17;
        process.fact.dtb |= 2;
        let dtb = world.layout().process.dtb;
        world.put_u64(process.fact.eprocess + dtb, process.fact.dtb);
        world.put_u64(process.fact.eprocess + USER_ROOT_FIELD, registers.cr3);
    }
}

/// A root with the user half of a process and the few kernel pages that entering the kernel takes.
fn make_shadow(world: &mut World<'_>, processor: &Processor, process: &ProcessObject) -> u64 {
    let root = fresh_frame(world);
    let shadow = AddressSpace {
        arch: world.layout().arch,
        root,
    };
    for i in 0..256 {
        let entry = world.ram.frames.read_u64(process.space.root + i * 8);
        world.ram.frames.write(root + i * 8, &entry.to_le_bytes());
    }
    let trampoline = world.layout().regions.kernel + code::INTERRUPTS;
    for va in [
        processor.kpcr,
        processor.kpcr + KERNEL_ROOT,
        processor.gdt.0,
        processor.idt.0,
        trampoline,
    ] {
        let pfn = world.gpa(va) >> 12;
        shadow.map(&mut world.ram, va & !0xfff, pfn, KERNEL);
    }
    root
}
