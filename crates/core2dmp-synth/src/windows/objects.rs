//! Processes and threads: EPROCESS, ETHREAD, and a root of page tables for each process.
//!
//! ```text
//! PsActiveProcessHead <-> EPROCESS.ActiveProcessLinks <-> ..       UniqueProcessId | ActiveProcessLinks, side by side
//! KPRCB.CurrentThread -> KTHREAD.ApcState.Process -> EPROCESS
//! ```
//!
//! References: DISPATCHER_HEADER types in ntddk.h (3 process, 6 thread); offsets: `layout.rs`.

use crate::windows::arch::Arch;
use crate::windows::expected::Process;
use crate::windows::memory::{PAGE, Place};
use crate::windows::paging::{AddressSpace, USER};
use crate::windows::world::World;

/// The processes of every guest: name and UniqueProcessId.
const PROCESSES: [(&str, u64); 14] = [
    ("System", 4),
    ("smss.exe", 0x148),
    ("csrss.exe", 0x19c),
    ("wininit.exe", 0x1e4),
    ("csrss.exe", 0x1f0),
    ("winlogon.exe", 0x23c),
    ("services.exe", 0x264),
    ("lsass.exe", 0x270),
    ("svchost.exe", 0x2f4),
    ("svchost.exe", 0x354),
    ("spoolsv.exe", 0x5d8),
    ("explorer.exe", 0xa1c),
    ("xenagent.exe", 0x7b8),
    ("notepad.exe", 0xc44),
];

/// KUSER_SHARED_DATA as user mode sees it.
const USER_SHARED_DATA: u64 = 0x7ffe_0000;

/// A process and its page tables.
#[derive(Clone, Debug)]
pub(crate) struct ProcessObject {
    pub(crate) fact: Process,
    pub(crate) space: AddressSpace,
}

/// Makes all processes and links them into PsActiveProcessHead.
pub(crate) fn write_processes(world: &mut World<'_>) -> Vec<ProcessObject> {
    let head = world.variable("PsActiveProcessHead", 16);
    world.list_head(head);
    let mut roots = RootAllocator::default();
    let mut objects = Vec::new();
    for (i, (name, pid)) in PROCESSES.into_iter().enumerate() {
        let space = match i {
            0 => world.space,
            _ => AddressSpace {
                arch: world.layout().arch,
                root: roots.take(world),
            },
        };
        if i != 0 {
            space.prepare(&mut world.ram, false);
        }
        let eprocess = write_process(world, head, name, pid, space.root);
        let fact = Process {
            pid,
            name: name.to_owned(),
            dtb: space.root,
            eprocess,
        };
        objects.push(ProcessObject { fact, space });
    }
    let initial = world.variable("PsInitialSystemProcess", 8);
    world.put_pointer(initial, objects[0].fact.eprocess);
    objects
}

fn write_process(world: &mut World<'_>, head: u64, name: &str, pid: u64, dtb: u64) -> u64 {
    let offsets = &world.layout().process;
    let width = world.layout().arch.pointer();
    let va = world.pool(offsets.size);
    // DISPATCHER_HEADER: type 3, size in 32-bit units.
    world.write(va, &[3, 0, (offsets.size / 4).min(255) as u8, 0]);
    world.put_pointer(va + offsets.dtb, dtb);
    world.put_pointer(va + offsets.pid, pid);
    world.list_append(head, va + offsets.pid + width);
    world.write(va + offsets.name, name.as_bytes());
    if pid != 4 {
        world.put_pointer(va + offsets.parent, 4);
        world.put_pointer(
            va + offsets.peb,
            if width == 8 {
                0x7f_f5e8_b000
            } else {
                0x7ffd_f000
            },
        );
    }
    va
}

/// Makes a thread that runs in a process.
pub(crate) fn write_thread(world: &mut World<'_>, process: u64, stack: u64, teb: u64) -> u64 {
    let offsets = &world.layout().thread;
    let va = world.pool(offsets.size);
    world.write(va, &[6, 0, (offsets.size / 4).min(255) as u8, 0]);
    world.put_pointer(va + offsets.initial_stack, stack);
    world.put_pointer(va + offsets.kernel_stack, stack - 0x1a0);
    world.put_pointer(va + offsets.teb, teb);
    world.put_pointer(va + offsets.process, process);
    // KTHREAD_STATE Running.
    world.write(va + offsets.state, &[2]);
    va
}

/// Gives every process the kernel's half, a self-map and a bit of user memory. The kernel is complete by now.
pub(crate) fn finish_roots(world: &mut World<'_>, objects: &[ProcessObject], kuser_pfn: u64) {
    let regions = &world.layout().regions;
    let no_execute = world.layout().build >= 14393;
    world
        .space
        .self_map(&mut world.ram, regions.self_map, no_execute);
    for object in &objects[1..] {
        object.space.share_kernel(&mut world.ram, &world.space);
        object
            .space
            .self_map(&mut world.ram, regions.self_map, no_execute);
        object
            .space
            .map(&mut world.ram, USER_SHARED_DATA, kuser_pfn, USER & !2);
    }
}

/// Hands out roots: whole frames, or 32-byte slots of one frame with PAE.
#[derive(Debug, Default)]
struct RootAllocator {
    shared: Option<u64>,
    used: u64,
}

impl RootAllocator {
    fn take(&mut self, world: &mut World<'_>) -> u64 {
        if world.layout().arch != Arch::X86Pae {
            return fresh_frame(world);
        }
        let shared = *self.shared.get_or_insert_with(|| fresh_frame(world));
        self.used += 1;
        shared + 0x20 * self.used
    }
}

/// A zeroed frame below 4 GiB, where a 32-bit CR3 reaches it.
pub(crate) fn fresh_frame(world: &mut World<'_>) -> u64 {
    let gpa = world.ram.allocator.take(Place::Low) << 12;
    world.ram.frames.write(gpa, &[0; PAGE]);
    gpa
}
