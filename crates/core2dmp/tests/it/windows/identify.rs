//! Windows in memory: every fact that `core2dmp-synth` promises, and where it was read.
//!
//! ```text
//! release x processors x live/crashed     the usual way: CR3, interrupt 0, tag or code
//! no CR3, no stub, user mode, no code     each of the other ways, one by one
//! ```

use core2dmp::error::Error;
use core2dmp::windows::{self, Source};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::facts::{Block, INTERRUPT, Way, check};
use crate::support::open::{file_of, open};

/// A release with 1 and 4 processors, live and crashed.
fn check_release(spec: &GuestSpec, live: &Block) {
    for processors in [1, 4] {
        let spec = spec.clone().processors(processors);
        let (windows, _) = check(spec.clone(), &Way::Below(INTERRUPT), live);
        assert_eq!(windows.warnings, Vec::<String>::new());
        let crashed = spec.crashed(0xd1, [0x28, 2, 0, 0x8070_1234]);
        let (windows, _) = check(crashed, &Way::Below(INTERRUPT), &Block::Tag);
        assert_eq!(windows.warnings, Vec::<String>::new());
    }
}

#[test]
fn windows10_by_the_code_that_copies_the_block() {
    check_release(&GuestSpec::windows10(), &Block::Code);
    check_release(&GuestSpec::windows10_la57(), &Block::Code);
    check(
        GuestSpec::windows10().above_4g().fill(20),
        &Way::Below(INTERRUPT),
        &Block::Code,
    );
}

#[test]
fn windows10_by_known_contents() {
    check_release(&GuestSpec::windows10().code_scan(false), &Block::Plaintext);
    check_release(
        &GuestSpec::windows10_la57().code_scan(false),
        &Block::Plaintext,
    );
}

#[test]
fn windows10_whose_block_is_plain() {
    check_release(&GuestSpec::windows10().encoded_kdbg(false), &Block::Tag);
    // A crashed guest whose block stayed encoded.
    let spec = GuestSpec::windows10().crashed(0x50, [1, 2, 3, 4]);
    check(
        spec.encoded_kdbg(true),
        &Way::Below(INTERRUPT),
        &Block::Code,
    );
}

#[test]
fn older_releases() {
    for spec in [GuestSpec::windows7(), GuestSpec::windows2003_x64()] {
        check_release(&spec, &Block::Tag);
        check(spec.above_4g(), &Way::Below(INTERRUPT), &Block::Tag);
    }
}

#[test]
fn releases_of_32_bit() {
    check_release(&GuestSpec::windows2003_x86(), &Block::Tag);
    for spec in [GuestSpec::windows2003_pae(), GuestSpec::windows7_pae()] {
        check_release(&spec, &Block::Tag);
        check(spec.above_4g(), &Way::Below(INTERRUPT), &Block::Tag);
    }
}

#[test]
fn vcpus_in_another_order_and_of_another_number() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_pae()] {
        let shuffled = spec.clone().processors(4).vcpu_order(vec![2, 0, 3, 1]);
        let (windows, expected) = check(shuffled, &Way::Below(INTERRUPT), &block_of(&spec));
        assert_eq!(windows.warnings, Vec::<String>::new());
        // Processor 2 runs another process: its root came first, and lost to System's.
        let rejected = &windows.dtb.rejected;
        assert_eq!(rejected.len(), 1);
        let (index, register) = (0, "CR3");
        assert_eq!(rejected[0].source, Source::Vcpu { index, register });
        assert!(expected.dtb_alternatives.contains(&rejected[0].value.get()));

        let more = spec.clone().processors(3).vcpu_order(vec![3, 1, 0, 2]);
        let (windows, _) = check(more, &Way::Below(INTERRUPT), &block_of(&spec));
        assert_eq!(
            windows.warnings,
            [
                "vCPU 0 does not match any Windows processor: it does not use page tables: Windows has not started it"
            ]
        );
        let fewer = spec.clone().processors(4).vcpus(2);
        let (windows, _) = check(fewer, &Way::Below(INTERRUPT), &block_of(&spec));
        assert_eq!(windows.processors[3].vcpu, None);
    }
}

fn block_of(spec: &GuestSpec) -> Block {
    if spec.clone().build().expected.arch.is_64() {
        Block::Code
    } else {
        Block::Tag
    }
}

#[test]
fn low_stub_where_no_vcpu_has_page_tables() {
    let stub = Way::Below("the low stub's target");
    for (spec, block) in [
        (GuestSpec::windows10(), Block::Code),
        (GuestSpec::windows10_la57(), Block::Code),
        (GuestSpec::windows7(), Block::Tag),
    ] {
        check(spec.processors(2).vcpu_order(vec![2]), &stub, &block);
    }
}

#[test]
fn scan_where_nothing_else_is_left() {
    for (spec, block) in [
        (GuestSpec::windows10(), Block::Code),
        (GuestSpec::windows10_la57(), Block::Code),
        (GuestSpec::windows7().above_4g(), Block::Tag),
        (GuestSpec::windows2003_x64(), Block::Tag),
        (GuestSpec::windows2003_x86(), Block::Tag),
        (GuestSpec::windows2003_pae(), Block::Tag),
        (GuestSpec::windows7_pae(), Block::Tag),
    ] {
        let spec = spec.low_stub(false).fill(30);
        check(spec.vcpu_order(vec![1]), &Way::Search, &block);
    }
}

#[test]
fn vcpu_in_user_mode_with_shadow_page_tables() {
    let spec = GuestSpec::windows10().processors(2);
    // The other processor's vCPU knows the kernel.
    check(
        spec.clone().vcpu_user_mode(0),
        &Way::Below(INTERRUPT),
        &Block::Code,
    );
    // None does.
    let both = spec.vcpu_user_mode(0).vcpu_user_mode(1);
    check(both.clone(), &Way::Below(INTERRUPT), &Block::Code);
    check(both.low_stub(false), &Way::Below(INTERRUPT), &Block::Code);
    // No shadows before Windows 10.
    check(
        GuestSpec::windows7().vcpu_user_mode(0),
        &Way::Below(INTERRUPT),
        &Block::Tag,
    );
}

#[test]
fn vcpu_in_user_mode_of_32_bit() {
    for spec in [GuestSpec::windows2003_x86(), GuestSpec::windows7_pae()] {
        let spec = spec.processors(2).vcpu_user_mode(1);
        let (windows, _) = check(spec, &Way::Below(INTERRUPT), &Block::Tag);
        assert_eq!(windows.warnings, Vec::<String>::new());
    }
    let spec = GuestSpec::windows2003_pae().vcpu_user_mode(0);
    check(spec, &Way::Search, &Block::Tag);
}

#[test]
fn a_module_list_that_loops_or_breaks_is_told() {
    let mut guest = GuestSpec::windows10().build();
    let head = guest.expected.ps_loaded_module_list;
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let first = word(&guest.read_va(head, 8).unwrap());
    let second = word(&guest.read_va(first, 8).unwrap());
    guest.write_va(second, &first.to_le_bytes());
    let windows = windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap();
    assert_eq!(windows.modules.len(), 2);
    assert_eq!(
        windows.warnings,
        [format!(
            "the module list is broken: the link at {second:#x} leads back to {first:#x}"
        )]
    );
}

#[test]
fn memory_without_windows_says_what_was_tried() {
    let guest = GuestSpec::windows10()
        .processors(2)
        .vcpu_order(vec![0, 2])
        .build();
    let mut file = file_of(&guest.xen_core());
    // 2 vCPUs and the shared info page end at 0x3fc8; the table stands behind the pages.
    let table = file.len() - 0x48 - (0x1fe0 + 16 + 16) * 8;
    file[0x4000..table].fill(0);
    let error = windows::identify(&open(file).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "no Windows kernel in this memory");
    assert!(matches!(error, Error::NoWindows { .. }));
    let tried: Vec<String> = error.attempts().iter().map(ToString::to_string).collect();
    let dtb = guest.expected.dtb;
    let absent = |gva, entry| format!("virtual address {gva} is not present: its {entry} is 0x0");
    assert_eq!(
        tried,
        [
            format!(
                "vCPU 0 CR3 {dtb:#x}: X64: KUSER_SHARED_DATA: {}",
                absent("0xfffff78000000000", "PML4E")
            ),
            format!(
                "vCPU 0 CR3 {dtb:#x}: X86Pae: KUSER_SHARED_DATA: {}",
                absent("0xffdf0000", "PDPTE")
            ),
            "vCPU 1 CR3 0x0: the vCPU does not use page tables".to_owned(),
            "low stub below 1 MiB: none".to_owned(),
            "page table scan of all memory: 0 candidates, none maps Windows".to_owned(),
        ]
    );
}

/// A list's links of an entry whose object begins at `object`.
fn links_of(guest: &Guest, head: u64, object: u64) -> u64 {
    let mut links = word(guest, head);
    while !(object..object + 0x1000).contains(&links) {
        assert_ne!(links, head);
        links = word(guest, links);
    }
    links
}

fn word(guest: &Guest, va: u64) -> u64 {
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(&guest.read_va(va, width).unwrap());
    u64::from_le_bytes(bytes)
}

fn put_word(guest: &mut Guest, va: u64, value: u64) {
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    guest.write_va(va, &value.to_le_bytes()[..width]);
}

/// No list has the Idle process: its number is 0, and only its threads lead to it.
#[test]
fn an_idle_processor_runs_a_thread_of_idle() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows7_pae()] {
        let mut guest = spec.processors(2).build();
        let width: u64 = if guest.expected.arch.is_64() { 8 } else { 4 };
        let eprocess = guest.expected.processors[1].process;
        let head = guest.expected.ps_active_process_head;
        let links = links_of(&guest, head, eprocess);
        let (next, previous) = (word(&guest, links), word(&guest, links + width));
        put_word(&mut guest, previous, next);
        put_word(&mut guest, next + width, previous);
        put_word(&mut guest, links - width, 0);
        let found = windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap();
        let listed = guest.expected.processes.len() - 1;
        assert_eq!(found.processes.len(), listed);
        let idle = found.process_of(&found.processors[1]).unwrap();
        assert_eq!((idle.pid, idle.eprocess.get()), (0, eprocess));
        assert_eq!(idle.name, guest.expected.processors[1].process_name);
        assert_eq!(found.idle.as_ref(), Some(idle));
        // A thread of a process that ended, or of no process, is nobody's.
        put_word(&mut guest, links - width, 0x1234);
        let found = windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap();
        assert_eq!(found.process_of(&found.processors[1]), None);
    }
}

#[test]
fn service_packs() {
    for (spec, value, wanted) in [
        (GuestSpec::windows2003_x64(), 0x200_u32, Some((2, 0))),
        (GuestSpec::windows7_pae(), 0x101, Some((1, 1))),
        (GuestSpec::windows10(), 0, None),
    ] {
        let mut guest = spec.build();
        let block = &guest.expected.kdbg.as_ref().unwrap().plain;
        let width = if guest.expected.arch.is_64() { 8 } else { 4 };
        let mut variable = [0; 8];
        variable[..width].copy_from_slice(&block[0x268..0x268 + width]);
        guest.write_va(u64::from_le_bytes(variable), &value.to_le_bytes());
        let found = windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap();
        assert_eq!(found.version.service_pack, wanted);
    }
}
