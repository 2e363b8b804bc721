//! A finished guest: its memory, its vCPUs, and what a correct reader finds in it.

use crate::containers::hiberfil::{HiberVersion, Hiberfil};
use crate::containers::hyperv::Hyperv;
use crate::containers::kdump::Kdump;
use crate::containers::lime;
use crate::containers::qemu_elf::QemuElf;
use crate::containers::qemu_stream::QemuStream;
use crate::containers::raw;
use crate::containers::vmware::Vmware;
use crate::containers::xen::XenCore;
use crate::containers::xen_save::XenSave;
use crate::windows::expected::Expected;
use crate::windows::memory::{Frames, PAGE};
use crate::windows::paging::AddressSpace;
use crate::windows::registers::Registers;

/// A guest in memory.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Memory contents.
    pub frames: Frames,
    /// The runs of frames that a container holds, ascending: first frame and count.
    pub present: Vec<(u64, u64)>,
    /// vCPUs in the container's order.
    pub vcpus: Vec<Vcpu>,
    /// The facts.
    pub expected: Expected,
}

/// A vCPU as the hypervisor sees it.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// The number of the processor it is; at or above the number of processors if Windows never started it.
    pub processor: u32,
    /// Its registers.
    pub registers: Registers,
    /// The base of FS.
    pub fs_base: u64,
    /// The kernel's GS base, whatever the mode: the KPCR on x64.
    pub gs_base_kernel: u64,
    /// The user's GS base: the TEB on x64.
    pub gs_base_user: u64,
    /// Base and limit of the GDT; a Xen core does not carry it, QEMU does.
    pub gdt: (u64, u16),
    /// Base and limit of the IDT; a Xen core does not carry it, QEMU does.
    pub idt: (u64, u16),
    /// Whether the vCPU runs (Xen's "online" flag).
    pub online: bool,
}

impl Guest {
    /// The contents of a frame as a container holds it, `None` if the container lacks the frame.
    #[must_use]
    pub fn page(&self, pfn: u64) -> Option<[u8; PAGE]> {
        let present = self
            .present
            .iter()
            .any(|&(first, count)| pfn >= first && pfn < first + count);
        present.then(|| {
            let mut page = [0; PAGE];
            self.frames.read_frame(pfn, &mut page);
            page
        })
    }

    /// The physical address behind a kernel address, by System's page tables.
    #[must_use]
    pub fn translate(&self, va: u64) -> Option<u64> {
        let space = AddressSpace {
            arch: self.expected.arch,
            root: self.expected.dtb,
        };
        space.translate(&self.frames, va)
    }

    /// Reads memory at a kernel address; `None` if a page of it is not mapped.
    #[must_use]
    pub fn read_va(&self, va: u64, bytes: usize) -> Option<Vec<u8>> {
        (va..va + bytes as u64)
            .map(|at| {
                let mut byte = [0];
                self.frames.read(self.translate(at)?, &mut byte);
                Some(byte[0])
            })
            .collect()
    }

    /// Changes memory at a mapped kernel address: for tests that break something.
    pub fn write_va(&mut self, va: u64, bytes: &[u8]) {
        for (at, &byte) in (va..).zip(bytes) {
            let gpa = self.translate(at).expect("the address is mapped");
            self.frames.write(gpa, &[byte]);
        }
    }

    /// How many frames a container holds.
    #[must_use]
    pub fn frame_count(&self) -> u64 {
        self.present.iter().map(|&(_, count)| count).sum()
    }

    /// The guest as `xl dump-core` writes it.
    #[must_use]
    pub fn xen_core(&self) -> XenCore<'_> {
        XenCore::new(self)
    }

    /// The guest as `xl save` writes it.
    #[must_use]
    pub fn xen_save(&self) -> XenSave<'_> {
        XenSave::new(self)
    }

    /// The guest as QEMU's `dump-guest-memory` writes it.
    #[must_use]
    pub fn qemu_elf(&self) -> QemuElf<'_> {
        QemuElf::new(self)
    }

    /// The guest as QEMU's migration stream.
    #[must_use]
    pub fn qemu_stream(&self) -> QemuStream<'_> {
        QemuStream::new(self)
    }

    /// The guest as a kdump-compressed dump.
    #[must_use]
    pub fn kdump(&self) -> Kdump<'_> {
        Kdump::new(self)
    }

    /// The guest as Hyper-V saves it.
    #[must_use]
    pub fn hyperv(&self) -> Hyperv<'_> {
        Hyperv::new(self)
    }

    /// The guest as VMware's saved state and its memory.
    #[must_use]
    pub fn vmware(&self) -> Vmware<'_> {
        Vmware::new(self)
    }

    /// The guest's memory as LiME writes it, its ranges cut at these physical addresses.
    #[must_use]
    pub fn lime(&self, cuts: &[u64]) -> Vec<u8> {
        lime::lime(self, cuts)
    }

    /// The guest's memory as AVML writes it, its ranges cut at these physical addresses.
    #[must_use]
    pub fn avml(&self, cuts: &[u64]) -> Vec<u8> {
        lime::avml(self, cuts)
    }

    /// The guest as this Windows hibernates it.
    #[must_use]
    pub fn hiberfil(&self, version: HiberVersion) -> Hiberfil<'_> {
        Hiberfil::new(self, version)
    }

    /// The guest's memory by address up to a frame, with `filler` where there is none.
    #[must_use]
    pub fn raw(&self, filler: u8, until_frame: u64) -> Vec<u8> {
        raw::by_address(self, filler, until_frame)
    }

    /// The guest's memory as its hypervisor's RAM file has it: without the hole below 4 GiB.
    #[must_use]
    pub fn raw_without_hole(&self) -> Vec<u8> {
        raw::without_hole(self)
    }
}
