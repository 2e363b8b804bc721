//! The containers hold what the guest says, in the layout that `xl dump-core` uses.

use crate::naive::{Core, u32_at, u64_at};
use core2dmp_synth::GuestSpec;

#[test]
fn hvm_core_has_the_layout_of_xl_dump_core() {
    let guest = GuestSpec::windows10().processors(2).fill(40).build();
    let core = Core::of(&guest.xen_core());
    assert_eq!(core.sections[".note.Xen"], (0x200, 0x568, 0));
    assert_eq!(core.sections[".xen_prstatus"], (0x768, 2 * 5168, 5168));
    assert_eq!(core.sections[".xen_shared_info"].0, 0x768 + 2 * 5168);
    let (pages, size, _) = core.sections[".xen_pages"];
    assert_eq!(pages % 4096, 0);
    let notes = &core.bytes[0x200..0x768];
    assert_eq!(u64_at(notes, 0x20), 0xf00f_ebee);
    assert_eq!(
        (u64_at(notes, 0x28), u64_at(notes, 0x30) * 4096),
        (2, size as u64)
    );
    assert_eq!((u32_at(notes, 0x550), u64_at(notes, 0x560)), (4, 1));
    let (names, length, _) = core.sections[".shstrtab"];
    assert_eq!(names + length, core.bytes.len());
}

#[test]
fn frames_of_the_core_are_those_of_the_guest() {
    let guest = GuestSpec::windows7()
        .above_4g()
        .fill(30)
        .ballooned(0x900, 0x30)
        .build();
    let core = Core::of(&guest.xen_core());
    assert_eq!(core.padding, 16);
    // Frame 0 is there, the VGA hole is not, and 16 option ROM frames lie behind the memory.
    assert!(
        core.frames.contains_key(&0)
            && !core.frames.contains_key(&0xa0)
            && core.frames.contains_key(&0xc0)
    );
    assert_eq!(core.frames.len() as u64, guest.frame_count() + 16);
    for (&pfn, _) in core.frames.iter().take(guest.frame_count() as usize) {
        assert_eq!(
            core.page(pfn).unwrap(),
            guest.page(pfn).unwrap(),
            "{pfn:#x}"
        );
    }
    assert_eq!(guest.expected.missing, [(0x900, 0x30)]);
    assert!(
        core.page(0x900).is_none() && guest.page(0x92f).is_none() && guest.page(0x930).is_some()
    );
}

#[test]
fn variants_of_the_core() {
    let guest = GuestSpec::windows2003_pae().build();
    let pv = Core::of(&guest.xen_core().pv());
    assert_eq!(
        (pv.padding, pv.frames.len() as u64),
        (0, guest.frame_count())
    );
    assert_eq!(u64_at(&pv.bytes, 0x220), 0xf00f_ebed);
    let narrow = Core::of(
        &guest
            .xen_core()
            .prstatus_32bit()
            .without_shared_info()
            .padding(3)
            .extra_frames(false),
    );
    assert_eq!(narrow.sections[".xen_prstatus"], (0x728, 2800, 2800));
    assert_eq!(
        (
            narrow.padding,
            narrow.sections.contains_key(".xen_shared_info")
        ),
        (3, false)
    );
    assert_eq!(
        u64::from(u32_at(narrow.vcpu(0), 0x224)),
        guest.vcpus[0].registers.rip
    );
    assert_eq!(
        u64::from(u32_at(narrow.vcpu(0), 0xaa8)),
        guest.vcpus[0].registers.cr3
    );
}

#[test]
fn holes_read_as_zeros_and_builds_are_alike() {
    let spec = GuestSpec::windows2003_x64().fill(80);
    let dense = Core::of(&spec.clone().build().xen_core());
    let sparse = Core::of(&spec.build().xen_core().sparse(true));
    assert!(dense.bytes == sparse.bytes);
}

#[test]
fn vcpus_stand_in_the_order_asked_for() {
    let guest = GuestSpec::windows10()
        .processors(3)
        .vcpu_order(vec![2, 3, 0, 1])
        .build();
    let core = Core::of(&guest.xen_core());
    for processor in &guest.expected.processors {
        let vcpu = core.vcpu(processor.vcpu.unwrap());
        let registers = processor.from_vcpu.as_ref().unwrap();
        assert_eq!(u64_at(vcpu, 0x1420), processor.kpcr);
        assert_eq!(
            (u64_at(vcpu, 0x258), u64_at(vcpu, 0x288)),
            (registers.rax, registers.rip)
        );
        assert_eq!(
            (u64_at(vcpu, 0x1390), u64_at(vcpu, 0x2a0)),
            (registers.cr3, registers.rsp)
        );
    }
    // The one that Windows never started: real mode, no page tables.
    assert_eq!(
        (
            u64_at(core.vcpu(1), 0x1390),
            u64_at(core.vcpu(1), 0x1378) & 1
        ),
        (0, 0)
    );
}
