//! The registers of every processor in the dump, and where they came from.
//!
//! ```text
//! guest -> Xen core -> identify -> plan -> CONTEXT and KSPECIAL_REGISTERS, read from the planned dump by offset
//! ```

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets in files that fit in memory"
)]

use core2dmp::address::Gva;
use core2dmp::container::{Registers as Opened, TableRegister};
use core2dmp::dump::{HeaderRoot, Plan};
use core2dmp::paging::AddressSpace;
use core2dmp::windows::{ContextPolicy, ContextSource};
use core2dmp_synth::{Guest, GuestSpec, Processor, Registers};

use crate::support::cases::Case;
use crate::support::dump_bytes::number;
use crate::support::specs::context_places;

const RUNNING: &str = "the guest was running";
const SAVED: &str = "saved at the bug check; the vCPU has moved on";

/// The registers of a processor in the plan and in its PRCB, and whose they are.
fn assert_registers(
    case: &Case,
    plan: &Plan,
    number: usize,
    wanted: &Registers,
    source: (ContextSource, &str),
) {
    let processor = &case.guest.expected.processors[number];
    let found = &plan.crash.contexts[number];
    assert_eq!(found.number, processor.number);
    assert_eq!((found.source, found.why.as_str()), source);
    assert_eq!(
        (found.rip.get(), found.rsp.get()),
        (wanted.rip, wanted.rsp),
        "processor {number}"
    );
    let arch = case.guest.expected.arch;
    let expected = wanted.context(arch);
    let dumped = case.dumped(plan, processor.context, expected.len());
    assert_eq!(dumped, found.context);
    // All but what FXSAVE does not have: see windows/registers/tests.rs for the area of FNSAVE.
    let ranges = if arch.is_64() {
        [0..0x100, 0x100..0x4d0]
    } else {
        [0..0x1c, 0x8c..0x2cc]
    };
    for range in ranges {
        assert_eq!(dumped[range.clone()], expected[range], "processor {number}");
    }
    assert_special(case, plan, processor, wanted);
}

/// Control registers, and the descriptor tables that only memory knows.
fn assert_special(case: &Case, plan: &Plan, processor: &Processor, wanted: &Registers) {
    let width = case.width();
    let special = case.dumped(
        plan,
        processor.special,
        if width == 8 { 0xd8 } else { 0x54 },
    );
    let word = |at: usize| number(&special[at..at + width]);
    let control = [0, 1, 2, 3].map(|slot| word(slot * width));
    let own = own_root(case, processor, wanted);
    assert_eq!(control, [wanted.cr0, wanted.cr2, own, wanted.cr4]);
    let (gdt, idt) = if width == 8 {
        (0x56, 0x66)
    } else {
        (0x2a, 0x32)
    };
    let table = |at: usize| (word(at + 2), number(&special[at..at + 2]) as u16);
    assert_eq!((table(gdt), table(idt)), (processor.gdt, processor.idt));
}

/// CR3 that reads the kernel: the vCPU's, or its process' where the vCPU has the one of user mode.
fn own_root(case: &Case, processor: &Processor, wanted: &Registers) -> u64 {
    let shadowed = case.guest.expected.build == 19041 && wanted.cs & 3 == 3;
    let mut processes = case.guest.expected.processes.iter();
    let process = processes.find(|process| process.eprocess == processor.process);
    if shadowed {
        process.unwrap().dtb
    } else {
        wanted.cr3
    }
}

/// Every processor has its vCPU's registers.
fn assert_all_live(case: &Case, plan: &Plan, why: &str) {
    for (n, processor) in case.guest.expected.processors.iter().enumerate() {
        let source = ContextSource::Vcpu(processor.vcpu.unwrap());
        let wanted = processor.from_vcpu.as_ref().unwrap();
        assert_registers(case, plan, n, wanted, (source, why));
    }
    assert_eq!(
        plan.crash.contexts.len(),
        case.guest.expected.processors.len()
    );
}

/// Every processor has what Windows saved.
fn assert_all_saved(case: &Case, plan: &Plan, why: &str) {
    for (n, processor) in case.guest.expected.processors.iter().enumerate() {
        let wanted = processor.from_memory.as_ref().unwrap();
        assert_registers(case, plan, n, wanted, (ContextSource::Memory, why));
    }
}

#[test]
fn four_vcpus_of_which_windows_started_three() {
    for spec in context_places() {
        let case = Case::new(spec.processors(3).vcpus(4));
        assert_eq!(
            case.windows.warnings,
            [
                "vCPU 3 does not match any Windows processor: it does not use page tables: Windows has not started it"
            ]
        );
        let plan = case.plan(ContextPolicy::Auto);
        assert_eq!(plan.crash.contexts.len(), 3);
        assert_all_live(&case, &plan, RUNNING);
    }
}

#[test]
fn vcpus_in_shuffled_order() {
    for spec in context_places() {
        let case = Case::new(spec.processors(3).vcpu_order(vec![2, 3, 0, 1]));
        let plan = case.plan(ContextPolicy::Auto);
        let sources: Vec<_> = plan
            .crash
            .contexts
            .iter()
            .map(|context| context.source)
            .collect();
        assert_eq!(sources, [2, 3, 0].map(ContextSource::Vcpu));
        assert_all_live(&case, &plan, RUNNING);
    }
}

#[test]
fn a_processor_without_a_vcpu_keeps_what_memory_holds() {
    for spec in context_places() {
        let case = Case::new(spec.processors(3).vcpu_order(vec![2, 0]));
        for policy in [ContextPolicy::Auto, ContextPolicy::Vcpu] {
            let plan = case.plan(policy);
            let saved = case.guest.expected.processors[1].from_memory.as_ref();
            let source = (ContextSource::Memory, "no vCPU is this processor");
            assert_registers(&case, &plan, 1, saved.unwrap(), source);
            assert_eq!(plan.crash.contexts[0].source, ContextSource::Vcpu(1));
            assert_eq!(plan.crash.contexts[2].source, ContextSource::Vcpu(0));
        }
    }
}

#[test]
fn user_mode_with_the_root_of_its_process() {
    for spec in context_places() {
        let case = Case::new(spec.processors(3).vcpu_user_mode(1));
        let plan = case.plan(ContextPolicy::Auto);
        assert_all_live(&case, &plan, RUNNING);
        let expected = &case.guest.expected;
        let processor = &expected.processors[1];
        let registers = processor.from_vcpu.as_ref().unwrap();
        let own = own_root(&case, processor, registers);
        assert_eq!(own != registers.cr3, expected.build == 19041);
        let ring3 = if expected.arch.is_64() { 0x33 } else { 0x1b };
        assert_eq!(registers.cs, ring3);
        let found = &case.windows.processors[1];
        let process = case.windows.process_of(found).unwrap();
        assert_eq!(
            (process.name.as_str(), process.dtb),
            (processor.process_name.as_str(), own)
        );
    }
}

#[test]
fn crashed_with_vcpus_that_have_moved_on() {
    for spec in context_places() {
        let spec = spec.processors(3).vcpu_order(vec![1, 2, 0]);
        let case = Case::new(spec.crashed(0xe2, [0; 4]).crashed_on(2));
        let auto = case.plan(ContextPolicy::Auto);
        assert_all_saved(&case, &auto, SAVED);
        assert_all_saved(&case, &case.plan(ContextPolicy::Memory), "asked for");
        let live = case.plan(ContextPolicy::Vcpu);
        assert_all_live(&case, &live, "asked for");
        // Whoever's registers are shown: the same processor has crashed.
        for plan in [auto, live] {
            assert_eq!(plan.crash.processor.value, 2);
        }
    }
}

#[test]
fn a_running_guest_by_what_memory_holds() {
    for spec in context_places() {
        let case = Case::new(spec.processors(2));
        assert_all_saved(&case, &case.plan(ContextPolicy::Memory), "asked for");
    }
}

#[test]
fn contexts_of_zeros_give_way_to_the_vcpus() {
    for spec in context_places() {
        let spec = spec.processors(3).contexts_zero();
        let case = Case::new(spec.crashed(0xe2, [1, 2, 3, 4]).crashed_on(1));
        let plan = case.plan(ContextPolicy::Auto);
        assert_all_live(&case, &plan, "what Windows saved is not sound: CS is 0");
        // No stack is known but those of the vCPUs, and no small parameter lies on a stack at 0.
        assert_eq!(
            plan.crash.processor.source.to_string(),
            "rule: nothing tells: the first processor"
        );
        let memory = case.plan(ContextPolicy::Memory);
        assert!(
            memory.crash.contexts[0]
                .context
                .iter()
                .all(|byte| *byte == 0)
        );
        assert_eq!(memory.crash.contexts[0].source, ContextSource::Memory);
    }
}

#[test]
fn a_saved_context_that_leads_nowhere_gives_way() {
    for spec in context_places() {
        let mut guest = spec.processors(2).crashed(0xe2, [0; 4]).build();
        let is_64 = guest.expected.arch.is_64();
        let (rip, rsp, width) = if is_64 {
            (0xf8, 0x98, 8)
        } else {
            (0xb8, 0xc4, 4)
        };
        let contexts = [0, 1].map(|n| guest.expected.processors[n].context);
        let nowhere = &0xffff_ffff_ff00_1000_u64.to_le_bytes()[..width];
        guest.write_va(contexts[0] + rip, nowhere);
        guest.write_va(contexts[1] + rsp, nowhere);
        let case = Case::of(guest);
        let plan = case.plan(ContextPolicy::Auto);
        for (n, what) in [(0, "instruction"), (1, "stack")] {
            let why = &plan.crash.contexts[n].why;
            let start = format!("what Windows saved is not sound: its {what} pointer: ");
            assert!(why.starts_with(&start), "{why}");
            assert_eq!(plan.crash.contexts[n].source, ContextSource::Vcpu(n));
        }
    }
}

#[test]
fn a_null_context_pointer_is_set_and_the_context_written_inline() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows7_pae()] {
        for crashed in [false, true] {
            let spec = spec.clone().processors(2);
            let mut guest = match crashed {
                true => spec.crashed(0xe2, [0; 4]).build(),
                false => spec.build(),
            };
            let processor = guest.expected.processors[1].clone();
            let slot = processor.context_pointer.unwrap();
            let width = if guest.expected.arch.is_64() { 8 } else { 4 };
            guest.write_va(slot, &[0; 8][..width]);
            let case = Case::of(guest);
            let plan = case.plan(ContextPolicy::Auto);
            assert_eq!(number(&case.dumped(&plan, slot, width)), processor.context);
            if crashed {
                assert_all_saved(&case, &plan, SAVED);
            } else {
                assert_all_live(&case, &plan, RUNNING);
            }
            let patched: Vec<&str> = plan.patches.iter().map(|p| p.what.as_str()).collect();
            assert!(patched.contains(&"pointer to the registers of processor 1"));
        }
    }
}

/// Where limit and base of GDT and IDT stand in `KSPECIAL_REGISTERS`, where TR does, and bytes of a base.
fn tables(case_is_64: bool) -> (u64, u64, u64, usize) {
    if case_is_64 {
        (0x56, 0x66, 0x70, 8)
    } else {
        (0x2a, 0x32, 0x38, 4)
    }
}

#[test]
fn descriptor_tables_that_are_zero_in_memory() {
    for spec in context_places() {
        let mut guest = spec.processors(2).build();
        let (gdt, idt, tr, width) = tables(guest.expected.arch.is_64());
        let special = guest.expected.processors[1].special;
        for at in [gdt, idt] {
            guest.write_va(special + at, &[0; 10][..width + 2]);
        }
        guest.write_va(special + tr, &[0; 2]);
        let mut case = Case::of(guest);
        let read = |case: &Case, number_of: u64, at: u64| {
            let plan = case.plan(ContextPolicy::Auto);
            let special = case.guest.expected.processors[number_of as usize].special;
            let bytes = case.dumped(&plan, special + at, width + 2);
            (number(&bytes[2..]), number(&bytes[..2]) as u16)
        };
        let processor = case.guest.expected.processors[1].clone();
        // A Xen core has neither: the control region has the addresses, nobody the sizes.
        assert_eq!(read(&case, 1, gdt), (processor.gdt.0, 0xffff));
        assert_eq!(read(&case, 1, idt), (processor.idt.0, 0xffff));
        assert_eq!(read(&case, 1, tr).1, 0);
        // Containers of QEMU have all of it.
        for cpu in &mut case.opened.cpus {
            let Opened::X86(registers) = &mut cpu.registers else {
                panic!()
            };
            let table = |base, limit| Some(TableRegister { base, limit });
            registers.gdtr = table(0x8765_4000, 0x7f);
            registers.idtr = table(0x8765_5000, 0xfff);
            registers.tr = Some(0x48);
        }
        assert_eq!(read(&case, 1, gdt), (0x8765_4000, 0x7f));
        assert_eq!(read(&case, 1, idt), (0x8765_5000, 0xfff));
        assert_eq!(read(&case, 1, tr).1, 0x48);
        // What Windows stored stays.
        let stored = &case.guest.expected.processors[0];
        assert_eq!(read(&case, 0, gdt), stored.gdt);
        assert_eq!(read(&case, 0, idt), stored.idt);
        assert_ne!(read(&case, 0, tr).1, 0x48);
    }
}

/// Processor 0 runs the code of processor 1's process: its thread is attached to it, and its vCPU is there.
fn running_a_users_process(mut guest: Guest) -> Guest {
    let other = guest.expected.processors[1].clone();
    let block = &guest.expected.kdbg.as_ref().unwrap().plain;
    let attached = u64::from(u16::from_le_bytes([block[0x2a0], block[0x2a1]]));
    let thread = guest.expected.processors[0].thread;
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    guest.write_va(thread + attached, &other.process.to_le_bytes()[..width]);
    let registers = guest.vcpus[1].registers.clone();
    guest.vcpus[0].registers = registers;
    guest
}

/// Readers that know the header's page tables alone reach the header's RIP in a process' user code.
#[test]
fn the_headers_root_is_of_the_process_that_its_context_is_in() {
    for spec in context_places() {
        let spec = spec.processors(2);
        let both = spec.clone().vcpu_user_mode(0).vcpu_user_mode(1);
        let case = Case::of(running_a_users_process(both.build()));
        let plan = case.plan(ContextPolicy::Auto);
        let HeaderRoot::Process { root, pid } = plan.root else {
            panic!("{:?}", plan.root);
        };
        let expected = &case.guest.expected;
        let mut processes = expected.processes.iter();
        let wanted = expected.processors[1].process;
        let process = processes
            .find(|process| process.eprocess == wanted)
            .unwrap();
        assert_eq!(pid, process.pid);
        let rip = case.guest.vcpus[0].registers.rip;
        let space = AddressSpace::new(&case.opened.memory, case.windows.mode, root);
        let place = space.translate(Gva::new(rip)).unwrap();
        let system = case.windows.space(&case.opened.memory);
        assert_ne!(system.translate(Gva::new(rip)).ok(), Some(place));
        let header = &plan.header()[0x10..0x10 + case.width()];
        assert_eq!(number(header), root.get());

        let case = Case::new(spec);
        let root = case.plan(ContextPolicy::Auto).root;
        assert_eq!(root, HeaderRoot::System(case.windows.dtb.value));
    }
}
