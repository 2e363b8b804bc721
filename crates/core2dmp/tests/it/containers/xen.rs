//! Xen cores: what the library reads from what the tool stack writes, and from files that it would never write.
//!
//! The files are made by `core2dmp-synth` or by hand, without the library's structures.

use core2dmp::address::{Gpa, Pfn};
use core2dmp::container::{CpuState, Guest, X86Registers};
use core2dmp::memory::{Backing, Frames, MemoryRun};
use core2dmp_synth::{GuestSpec, Vcpu};

use crate::support::hand::{Hand, Part, note, notes};
use crate::support::open::{file_of, open};

/// A run of frames that stand in the file from `offset` on.
fn run(first: u64, count: u64, offset: u64) -> MemoryRun {
    MemoryRun {
        frames: Frames::new(Pfn::new(first), count),
        backing: Backing::File { offset },
    }
}

/// The general registers in one order.
fn general(r: &X86Registers) -> [u64; 18] {
    let [r8, r9, r10, r11, r12, r13, r14, r15] = r.r8_r15;
    [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r8, r9, r10, r11, r12, r13, r14,
        r15, r.rip, r.rflags,
    ]
}

/// The vCPU against what the hypervisor showed.
fn assert_vcpu(cpu: &CpuState, vcpu: &Vcpu) {
    let (r, e) = (cpu.registers.x86().unwrap(), &vcpu.registers);
    assert_eq!(cpu.online, vcpu.online);
    let wanted = [
        e.rax, e.rbx, e.rcx, e.rdx, e.rsi, e.rdi, e.rsp, e.rbp, e.r8, e.r9, e.r10, e.r11, e.r12,
        e.r13, e.r14, e.r15, e.rip, e.rflags,
    ];
    assert_eq!(general(r), wanted);
    assert_eq!(
        [r.cs, r.ss, r.ds, r.es, r.fs, r.gs],
        [e.cs, e.ss, e.ds, e.es, e.fs, e.gs]
    );
    assert_eq!([r.cr0, r.cr2, r.cr3, r.cr4], [e.cr0, e.cr2, e.cr3, e.cr4]);
    assert_eq!(r.dr, Some([e.dr0, e.dr1, e.dr2, e.dr3, e.dr6, e.dr7]));
    assert!(r.fxsave == Some(e.fxsave));
    assert_eq!((r.gdtr, r.idtr, r.tr, r.ldtr), (None, None, None, None));
}

/// Every frame of the guest, as the container's memory has it.
fn assert_memory(opened: &Guest, guest: &core2dmp_synth::Guest) {
    let mut page = [0; 4096];
    for pfn in guest.present.iter().flat_map(|run| run.0..run.0 + run.1) {
        opened.memory.read(Pfn::new(pfn).gpa(), &mut page).unwrap();
        assert!(Some(page) == guest.page(pfn), "frame {pfn:#x}");
    }
}

/// The error's line, for a file that must not open.
fn refusal(hand: &Hand) -> String {
    open(hand.bytes()).unwrap_err().to_string()
}

#[test]
fn hvm_core_with_holes_padding_and_frames_above_ram() {
    let spec = GuestSpec::windows10().processors(2).above_4g().fill(40);
    let guest = spec.ballooned(0x900, 0x30).build();
    let file = file_of(&guest.xen_core());
    let size = file.len() as u64;
    let opened = open(file).unwrap();
    // 2 vCPUs and the shared info page end at 0x3fc8.
    let pages = 0x4000;
    let after_hole = pages + (0xa0 + 0x840) * 0x1000;
    let high = after_hole + 0x6d0 * 0x1000;
    assert_eq!(
        opened.memory.runs(),
        [
            run(0, 0xa0, pages),
            run(0xc0, 0x840, pages + 0xa0 * 0x1000),
            run(0x930, 0x6d0, after_hole),
            // 16 frames of an option ROM above the RAM.
            run(0x10_0000, 0x1010, high),
        ]
    );
    assert_memory(&opened, &guest);
    let info = &opened.container;
    assert_eq!((info.format, info.title), ("xen", "Xen dump-core"));
    assert_eq!((info.size, info.padding), (size, 16));
    assert_eq!(info.salvaged, None);
    assert_eq!(info.warnings, Vec::<String>::new());
    assert_eq!(
        info.details,
        [
            ("guest", "HVM or PVH".to_owned()),
            ("written by", "Xen 4.17.7".to_owned()),
            ("page table", ".xen_pfn".to_owned()),
        ]
    );
    assert_eq!(
        opened.hints.not_ram,
        [(0xa0, 0x20), (0xf_0000, 0x1_0000)].map(|(first, n)| Frames::new(Pfn::new(first), n))
    );
}

#[test]
fn vcpus_keep_the_order_of_the_container_and_all_their_registers() {
    let spec = GuestSpec::windows10().processors(3);
    let guest = spec.vcpu_order(vec![2, 3, 0, 1]).build();
    let opened = open(file_of(&guest.xen_core())).unwrap();
    assert_eq!(opened.cpus.len(), 4);
    for (index, (cpu, vcpu)) in opened.cpus.iter().zip(&guest.vcpus).enumerate() {
        assert_eq!(cpu.index, index);
        assert_vcpu(cpu, vcpu);
        let r = cpu.registers.x86().unwrap();
        assert_eq!(
            [r.fs_base, r.gs_base_kernel, r.gs_base_user],
            [vcpu.fs_base, vcpu.gs_base_kernel, vcpu.gs_base_user]
        );
        assert_eq!(cpu.registers.has_paging(), vcpu.processor < 3);
    }
}

#[test]
fn pv_core_takes_the_guests_frames_and_not_the_machines() {
    let guest = GuestSpec::windows2003_pae().fill(30).build();
    let opened = open(file_of(&guest.xen_core().pv())).unwrap();
    assert_eq!(
        opened.memory.runs(),
        [run(0, 0xa0, 0x3000), run(0xc0, 0x1f40, 0xa_3000)]
    );
    assert_memory(&opened, &guest);
    assert_vcpu(&opened.cpus[0], &guest.vcpus[0]);
    let details = &opened.container.details;
    assert_eq!(opened.container.padding, 0);
    assert_eq!(details[0], ("guest", "PV".to_owned()));
    assert_eq!(details[2], ("page table", ".xen_p2m".to_owned()));
}

#[test]
fn without_shared_info_and_with_other_padding() {
    let guest = GuestSpec::windows7().build();
    let core = guest.xen_core().without_shared_info();
    for padding in [0, 3, 4124] {
        let core = core.clone().padding(padding).extra_frames(false);
        let opened = open(file_of(&core)).unwrap();
        assert_eq!(opened.container.padding, padding);
        assert_eq!(
            opened.memory.runs(),
            [run(0, 0xa0, 0x2000), run(0xc0, 0x1f40, 0xa_2000)]
        );
    }
}

#[test]
fn vcpus_of_a_32_bit_tool_stack() {
    let guest = GuestSpec::windows2003_x86().processors(2).build();
    let opened = open(file_of(&guest.xen_core().prstatus_32bit())).unwrap();
    assert_eq!(opened.cpus.len(), 2);
    for (cpu, vcpu) in opened.cpus.iter().zip(&guest.vcpus) {
        assert_vcpu(cpu, vcpu);
        let r = cpu.registers.x86().unwrap();
        assert_eq!([r.fs_base, r.gs_base_kernel, r.gs_base_user], [0; 3]);
    }
    // A 32-bit PV guest of a 64-bit tool stack has that layout in entries of 5168 bytes.
    let narrow = file_of(&guest.xen_core().pv().prstatus_32bit());
    let mut file = file_of(&guest.xen_core().pv());
    for cpu in 0..2 {
        let entry = 0x768 + cpu * 5168;
        file[entry..entry + 2800].copy_from_slice(&narrow[0x768 + cpu * 2800..][..2800]);
    }
    file[18] = 3;
    let opened = open(file).unwrap();
    assert_eq!(opened.cpus.len(), 2);
    for (cpu, vcpu) in opened.cpus.iter().zip(&guest.vcpus) {
        assert_vcpu(cpu, vcpu);
    }
}

#[test]
fn sections_are_found_by_name_in_any_order() {
    let plain = Hand::new(&[0, 1, 2, 0xc0, 0xc1]);
    // Every rotation of the parts, forwards and backwards.
    for turn in 0..plain.parts.len() {
        for reverse in [false, true] {
            let mut hand = plain.clone();
            hand.parts.rotate_left(turn);
            if reverse {
                hand.parts.reverse();
            }
            let pages = hand.offset(".xen_pages");
            let opened = open(hand.bytes()).unwrap();
            assert_eq!(
                opened.memory.runs(),
                [run(0, 3, pages), run(0xc0, 2, pages + 0x3000)]
            );
            assert_eq!(opened.cpus.len(), 1);
        }
    }
}

#[test]
fn notes_are_walked_by_their_own_sizes() {
    let mut hand = Hand::new(&[7]);
    let ours = notes(1, 1, 4096);
    // Another tool stack's version note, and one whose size is not a multiple of four.
    let version = note(0x0200_0002, &[4; 0x4fc]);
    let odd = note(0x0200_0042, &[1, 2, 3, 4, 5]);
    let part = hand.part(".note.Xen");
    part.data = [version, odd, ours].concat();
    part.size = part.data.len() as u64;
    let opened = open(hand.bytes()).unwrap();
    assert_eq!(opened.memory.frame_count(), 1);
    assert_eq!(opened.memory.runs()[0].frames.first, Pfn::new(7));
}

#[test]
fn runs_merge_only_what_continues_in_frames_and_in_the_file() {
    // Not ascending: 5 and 6 stand before 3 and 4, so the file breaks where the frames do not.
    let hand = Hand::new(&[5, 6, 3, 4]);
    let pages = hand.offset(".xen_pages");
    let opened = open(hand.bytes()).unwrap();
    assert_eq!(
        opened.memory.runs(),
        [run(3, 2, pages + 0x2000), run(5, 2, pages)]
    );
    let mut byte = [9];
    opened.memory.read(Gpa::new(0x6000), &mut byte).unwrap();
    assert_eq!(byte, [1]);
}

#[test]
fn padding_in_the_middle_takes_its_page_with_it() {
    let hand = Hand::new(&[4, u64::MAX, 5, 6]);
    let pages = hand.offset(".xen_pages");
    let opened = open(hand.bytes()).unwrap();
    assert_eq!(opened.container.padding, 1);
    assert_eq!(
        opened.memory.runs(),
        [run(4, 1, pages), run(5, 2, pages + 0x2000)]
    );
}

#[test]
fn frames_that_cannot_be_are_refused() {
    let duplicate = Hand::new(&[5, 6, 5]);
    let table = duplicate.offset(".xen_pfn");
    assert_eq!(
        refusal(&duplicate),
        format!(
            ".xen_pfn at file offset {table:#x}: expected every frame once, found frame 0x5 twice"
        )
    );
    assert_eq!(
        refusal(&Hand::new(&[0, 1 << 40])),
        "a page frame number of the container: found 1099511627776, the limit is 1099511627775"
    );
    let last = (1 << 40) - 1;
    assert_eq!(
        open(Hand::new(&[last]).bytes())
            .unwrap()
            .memory
            .runs()
            .len(),
        1
    );
    assert!(refusal(&Hand::new(&[u64::MAX - 1])).starts_with("a page frame number"));
}

#[test]
fn counts_that_disagree_are_refused() {
    let hand = Hand::new(&[0, 1, 2, 3]);
    let place = format!(
        "number of pages at file offset {:#x}",
        hand.offset(".xen_pfn")
    );
    let mut promised = hand.clone();
    promised.part(".note.Xen").data = notes(1, 5, 4096);
    assert_eq!(
        refusal(&promised),
        format!("{place}: expected 5, as .note.Xen says, found 4 pages and 4 entries of .xen_pfn")
    );
    let mut table = hand.clone();
    table.part(".xen_pfn").data.truncate(24);
    table.part(".xen_pfn").size = 24;
    assert_eq!(
        refusal(&table),
        format!("{place}: expected 4, as .note.Xen says, found 4 pages and 3 entries of .xen_pfn")
    );
    // Fewer vCPUs than promised is odd, no reason to refuse.
    let mut vcpus = hand;
    vcpus.part(".note.Xen").data = notes(3, 4, 4096);
    assert_eq!(
        open(vcpus.bytes()).unwrap().container.warnings,
        ["the header note promises 3 vCPUs, .xen_prstatus holds 1"]
    );
}

#[test]
fn sizes_that_no_tool_stack_writes_are_refused() {
    let hand = Hand::new(&[0]);
    let mut large = hand.clone();
    large.part(".note.Xen").data = notes(1, 1, 8192);
    let at = large.offset(".note.Xen");
    assert_eq!(
        refusal(&large),
        format!("page size in .note.Xen at file offset {at:#x}: expected 4096, found 8192")
    );
    let mut entry = hand.clone();
    entry.part(".xen_prstatus").entry = 5160;
    let at = entry.offset(".xen_prstatus");
    assert_eq!(
        refusal(&entry),
        format!(
            "sh_entsize of .xen_prstatus at file offset {at:#x}: expected 5168 or 2800, found 5160"
        )
    );
    let mut table = hand.clone();
    table.part(".xen_pfn").entry = 16;
    let at = table.offset(".xen_pfn");
    assert_eq!(
        refusal(&table),
        format!("sh_entsize of the page table at file offset {at:#x}: expected 8, found 16")
    );
    let mut vcpus = hand;
    let part = vcpus.part(".xen_prstatus");
    part.size = 8193 * 5168;
    assert_eq!(
        refusal(&vcpus),
        "vCPUs in .xen_prstatus: found 8193, the limit is 8192"
    );
}

#[test]
fn more_sections_names_and_notes_than_a_core_has() {
    let other = |name| Part {
        name,
        kind: 1,
        align: 8,
        entry: 0,
        size: 0,
        data: Vec::new(),
    };
    let mut many = Hand::new(&[0]);
    many.parts.extend((0..58).map(|_| other(".x")));
    assert!(open(many.bytes()).is_ok());
    many.parts.push(other(".x"));
    // With 65 the probe does not claim it.
    assert!(refusal(&many).starts_with("not a container that core2dmp knows"));
    let mut large = Hand::new(&[0]);
    large.part(".note.Xen").size = (64 << 10) + 1;
    assert_eq!(
        refusal(&large),
        "bytes of .note.Xen: found 65537, the limit is 65536"
    );
    // Names that are too long are not read: sections are known by their shapes.
    let mut long = Hand::new(&[0]);
    long.parts.push(other(String::leak("x".repeat(4096))));
    assert_eq!(open(long.bytes()).unwrap().memory.frame_count(), 1);
}

#[test]
fn what_is_not_xens_is_not_claimed() {
    let found = |file: Vec<u8>| {
        let line = open(file).unwrap_err().to_string();
        assert!(line.starts_with("not a container that core2dmp knows: expected one of "));
        assert!(line.contains("Xen dump-core"), "{line}");
        let found = line.split(", found ").last().unwrap();
        found.trim_matches('"').to_owned()
    };
    assert_eq!(found(Vec::new()), "an empty file");
    assert_eq!(found(vec![b'M']), "M");
    assert_eq!(found(vec![0; 8192]), r"\x00\x00\x00\x00\x00\x00\x00\x00");
    let elf = r"\x7fELF\x02\x01\x01\x00";
    let plain = Hand::new(&[0]);
    // Somebody else's notes; another kind of ELF.
    let mut other = plain.bytes();
    let name = usize::try_from(plain.offset(".note.Xen")).unwrap() + 12;
    other[name..name + 4].copy_from_slice(b"CORE");
    assert_eq!(found(other), elf);
    for (at, value) in [(16, 2), (58, 56), (60, 0)] {
        let mut other = plain.bytes();
        other[at] = value;
        assert_eq!(found(other), elf, "byte {at}");
    }
    // With program headers it is the other kind of core, and has no memory.
    let mut other = plain.bytes();
    other[56] = 1;
    assert_eq!(
        open(other).unwrap_err().to_string(),
        "program headers at file offset 0x0: expected memory (PT_LOAD), found none"
    );
    let mut without = plain;
    without.part(".xen_pfn").name = ".xen_pfx";
    assert_eq!(
        refusal(&without),
        "section headers at file offset 0x40: expected .xen_pfn or .xen_p2m, found neither"
    );
}
