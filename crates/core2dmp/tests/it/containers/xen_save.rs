//! Xen's saved domains: memory and registers, whoever wrapped them.

use std::sync::LazyLock;

use core2dmp::address::Pfn;
use core2dmp::container;
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec, XenSave, XenSaver};

use crate::support::containers::{assert_memory, open};
use crate::support::vcpus::assert_vcpus;

static GUEST: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2).memory_mib(40);
    spec.above_4g().fill(60).build()
});

#[track_caller]
fn assert_guest(save: &XenSave<'_>) -> container::Guest {
    let opened = open(save.bytes()).unwrap();
    assert_eq!(opened.container.format, "xen-save");
    assert_memory(&opened, &GUEST);
    assert_eq!(opened.memory.frame_count(), GUEST.frame_count());
    assert_vcpus(&opened, &GUEST);
    for (cpu, vcpu) in opened.cpus.iter().zip(&GUEST.vcpus) {
        let (got, wanted) = (cpu.registers.x86().unwrap(), &vcpu.registers);
        let dr = [
            wanted.dr0, wanted.dr1, wanted.dr2, wanted.dr3, wanted.dr6, wanted.dr7,
        ];
        assert_eq!((got.dr, got.fxsave), (Some(dr), Some(wanted.fxsave)));
    }
    opened
}

#[test]
fn every_saver_gives_the_same_guest() {
    for (saver, wrapped) in [
        (XenSaver::Xl, "version 3 at 0x78, wrapped by xl"),
        (XenSaver::Libvirt, "version 3 at 0x74, wrapped by libvirt"),
        (XenSaver::Libxl, "version 3 at 0x28, wrapped by libxl"),
        (XenSaver::Libxc, "version 3 at 0x0, wrapped by nobody"),
    ] {
        let opened = assert_guest(&GUEST.xen_save().saver(saver));
        assert_eq!(opened.container.warnings, [""; 0]);
        assert!(
            opened
                .container
                .details
                .contains(&("image", wrapped.to_owned())),
            "{:?}",
            opened.container
        );
    }
    assert_guest(&GUEST.xen_save().old());
    assert_guest(&GUEST.xen_save().verify());
}

#[test]
fn an_fpu_that_was_never_used_is_as_after_a_reset() {
    let opened = open(GUEST.xen_save().unused_fpu().bytes()).unwrap();
    for cpu in &opened.cpus {
        let image = cpu.registers.x86().unwrap().fxsave.unwrap();
        // FCW 0x40 and MXCSR 0x1f80, as `xl dump-core` of such a domain has them.
        let mut wanted = [0; 512];
        wanted[0] = 0x40;
        wanted[24..26].copy_from_slice(&[0x80, 0x1f]);
        assert!(image == wanted);
    }
}

#[test]
fn the_last_of_a_page_counts() {
    let opened = assert_guest(&GUEST.xen_save().live());
    // Nothing is left of frames that went away.
    let read = opened.memory.read(Pfn::new(0xc_8003).gpa(), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Absent { .. })));
    assert_eq!(
        opened.container.warnings,
        ["8 pages were broken when the domain was saved"]
    );
}

#[test]
fn without_a_context_there_are_no_registers() {
    let opened = open(GUEST.xen_save().without_context().bytes()).unwrap();
    assert_memory(&opened, &GUEST);
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(
        opened.container.warnings,
        ["the image has no context of Xen: no registers"]
    );
}

#[test]
fn guests_of_32_bit() {
    let guest = GuestSpec::windows2003_pae().processors(2).build();
    let opened = open(guest.xen_save().bytes()).unwrap();
    assert_memory(&opened, &guest);
    assert_vcpus(&opened, &guest);
}
