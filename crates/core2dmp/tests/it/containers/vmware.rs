//! VMware's saved states: what is read of good files.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::{Arc, LazyLock};

use core2dmp::address::Pfn;
use core2dmp::container::{self, OpenOptions};
use core2dmp::memory::{Backing, Frames, MemoryRun};
use core2dmp::windows;
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::containers::{assert_memory, open};
use crate::support::sets::open_set;
use crate::support::vcpus::assert_vcpus;

/// Two vCPUs, and memory at 4 GiB and above.
static HIGH: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2).memory_mib(24);
    spec.above_4g().fill(60).build()
});

/// The runs of a guest whose memory starts there in the file.
fn runs(guest: &Guest, offset: u64) -> Vec<MemoryRun> {
    let low = guest.present[1].0 + guest.present[1].1;
    let high = guest.present.last().unwrap();
    let run = |first, count, page: u64| MemoryRun {
        frames: Frames::new(Pfn::new(first), count),
        backing: Backing::File {
            offset: offset + page * 4096,
        },
    };
    vec![
        run(0, low, 0),
        run(0x10_0000, high.0 + high.1 - 0x10_0000, low),
    ]
}

#[test]
fn memory_beside_the_state_in_either_order() {
    let files = || (HIGH.vmware().state(), HIGH.vmware().vmem());
    let (state, vmem) = files();
    let size = (state.len() + vmem.len()) as u64;
    let (again, vmem_first) = files();
    for set in [vec![state, vmem], vec![vmem_first, again]] {
        let opened = open_set(set).unwrap();
        assert_memory(&opened, &HIGH);
        assert_vcpus(&opened, &HIGH);
        assert_eq!(opened.memory.runs(), runs(&HIGH, 0));
        let info = &opened.container;
        assert_eq!((info.format, info.size), ("vmware", size));
        assert_eq!(
            info.details,
            [
                ("magic", "0xbed2bed2".to_owned()),
                ("kind", "memory beside the state".to_owned()),
                ("regions", "2".to_owned()),
            ]
        );
        assert_eq!(info.warnings, Vec::<String>::new());
        // What debug registers the state tells.
        let registers = opened.cpus[0].registers.x86().unwrap();
        assert_eq!(registers.dr, Some([0, 0, 0, 0, 0xffff_0ff0, 0x400]));
    }
}

#[test]
fn memory_in_the_state() {
    let file = HIGH.vmware().whole();
    let offset = (file.len() - 2 - HIGH.vmware().vmem().len()) as u64;
    assert_eq!(offset % 4096, 0);
    let opened = open(file).unwrap();
    assert_memory(&opened, &HIGH);
    assert_vcpus(&opened, &HIGH);
    assert_eq!(opened.memory.runs(), runs(&HIGH, offset));
    assert_eq!(opened.container.details[1].1, "memory in the state");
    // A .vmem that is not needed is not used.
    let opened = open_set(vec![HIGH.vmware().whole(), vec![0xee; 0x10_0000]]).unwrap();
    assert_memory(&opened, &HIGH);
    assert_eq!(
        opened.container.warnings,
        ["the state holds the memory itself: the .vmem is not used"]
    );
}

#[test]
fn every_magic_and_every_way_to_tell_registers() {
    for magic in [0xbed2_bed2, 0xbed3_bed3, 0xbad1_bad1, 0xbad2_bad2] {
        for state in [
            HIGH.vmware().magic(magic),
            HIGH.vmware().magic(magic).blocks(),
        ] {
            let opened = open(state.whole()).unwrap();
            assert_memory(&opened, &HIGH);
            assert_vcpus(&opened, &HIGH);
            let wanted = format!("{magic:#x}");
            assert_eq!(opened.container.details[0].1, wanted);
            assert_eq!(opened.container.warnings, Vec::<String>::new());
        }
    }
    // Sizes of 4 bytes, and registers of 4 bytes.
    for spec in [GuestSpec::windows2003_x86(), GuestSpec::windows2003_pae()] {
        let guest = spec.processors(2).memory_mib(20).fill(40).build();
        for magic in [0xbed2_bed0, 0xbed0_bed0, 0xbed2_bed2] {
            let state = guest.vmware().magic(magic);
            for opened in [
                open(state.whole()),
                open_set(vec![state.state(), state.vmem()]),
            ] {
                let opened = opened.unwrap();
                assert_memory(&opened, &guest);
                for (cpu, vcpu) in opened.cpus.iter().zip(&guest.vcpus) {
                    let registers = cpu.registers.x86().unwrap();
                    assert_eq!(registers.rip, vcpu.registers.rip);
                    assert_eq!(registers.cr3, vcpu.registers.cr3);
                    assert_eq!(registers.fs_base, vcpu.fs_base);
                }
            }
        }
    }
}

#[test]
fn the_stack_pointer_is_the_one_that_points_to_a_stack() {
    let opened = open(HIGH.vmware().blocks().swapped().whole()).unwrap();
    assert_vcpus(&opened, &HIGH);
    assert_eq!(
        opened.container.warnings,
        [0, 1].map(|n| format!(
            "vCPU {n}: RSP and RBP are taken in the other order, since only so RSP is a kernel stack"
        ))
    );
}

#[test]
fn the_kernels_gs_base_follows_from_the_ring() {
    let spec = GuestSpec::windows10().processors(2).memory_mib(20);
    let guest = spec.vcpu_user_mode(1).build();
    let opened = open(guest.vmware().whole()).unwrap();
    assert_vcpus(&opened, &guest);
    // Where no tag tells the other one.
    let opened = open(guest.vmware().without_kernel_gs().whole()).unwrap();
    let bases = |cpu: usize| {
        let registers = opened.cpus[cpu].registers.x86().unwrap();
        (registers.gs_base_kernel, registers.gs_base_user)
    };
    assert_eq!(bases(0), (guest.vcpus[0].gs_base_kernel, 0));
    assert_eq!(bases(1), (0, guest.vcpus[1].gs_base_user));
}

#[test]
fn without_regions_memory_is_one_piece() {
    let guest = GuestSpec::windows10().memory_mib(20).fill(60).build();
    for state in [
        guest.vmware().without_regions(),
        guest.vmware().without_places(),
        guest.vmware(),
    ] {
        for opened in [
            open(state.whole()),
            open_set(vec![state.state(), state.vmem()]),
        ] {
            let opened = opened.unwrap();
            assert_memory(&opened, &guest);
            assert_eq!(opened.memory.runs().len(), 1);
        }
    }
}

#[test]
fn arm64_memory_starts_at_two_gigabytes() {
    let guest = GuestSpec::windows10().memory_mib(20).fill(60).build();
    let mut file = guest.vmware().without_regions().whole();
    let name = b"Platform";
    let at = file.windows(8).position(|bytes| bytes == name).unwrap() + 8;
    file[at] = 3;
    let opened = open(file).unwrap();
    let frames = guest.vmware().vmem().len() as u64 / 4096;
    let [run] = opened.memory.runs() else {
        panic!("{:?}", opened.memory.runs());
    };
    assert_eq!(run.frames, Frames::new(Pfn::new(0x8_0000), frames));
    assert_eq!(opened.cpus.len(), 0);
    assert_eq!(
        opened.container.warnings[0],
        "registers of ARM64 are not read from a saved state"
    );
}

/// A file of gigabytes that takes no room: `data` at its beginning, and `high` at 3 GiB.
#[derive(Debug)]
struct Sparse {
    low: Vec<u8>,
    high: Vec<u8>,
}

impl core2dmp::source::ReadAt for Sparse {
    fn size(&self) -> u64 {
        0xc000_0000 + self.high.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = buf
            .len()
            .min(0x1000)
            .min((self.size() - offset.min(self.size())) as usize);
        for (at, byte) in (offset..).zip(&mut buf[..n]) {
            let (part, at) = match at.checked_sub(0xc000_0000) {
                Some(at) => (&self.high, at),
                None => (&self.low, at),
            };
            *byte = part.get(at as usize).copied().unwrap_or(0);
        }
        Ok(n)
    }
}

#[test]
fn a_vmem_alone_is_raw_memory_with_a_hole() {
    let vmem = HIGH.vmware().vmem();
    let low = runs(&HIGH, 0)[0].frames.count as usize * 4096;
    let (low, high) = vmem.split_at(low);
    let file = Sparse {
        low: low.to_vec(),
        high: high.to_vec(),
    };
    let hole = Frames::new(Pfn::new(0xc_0000), 0x4_0000);
    let options = OpenOptions::default().holes(vec![hole]);
    let opened = container::open(Arc::new(file), options).unwrap();
    assert_memory(&opened, &HIGH);
    let found = windows::identify(&opened).unwrap();
    assert_eq!(found.dtb.value.get(), HIGH.expected.dtb);
}
