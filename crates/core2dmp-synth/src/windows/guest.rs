//! A finished guest: its memory, its vCPUs, and what a correct reader finds in it.

use crate::windows::arch::Arch;
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

impl Vcpu {
    /// The GS base that is in use, and the one that `swapgs` would bring.
    pub(crate) fn gs_bases(&self) -> (u64, u64) {
        if self.registers.cs & 3 == 0 {
            (self.gs_base_kernel, self.gs_base_user)
        } else {
            (self.gs_base_user, self.gs_base_kernel)
        }
    }

    /// ES, CS, SS, DS, FS, GS, LDTR and TR, with their bases.
    pub(crate) fn segments(&self) -> [(u16, u64); 8] {
        let r = &self.registers;
        let (active, _) = self.gs_bases();
        [
            (r.es, 0),
            (r.cs, 0),
            (r.ss, 0),
            (r.ds, 0),
            (r.fs, self.fs_base),
            (r.gs, active),
            (0, 0),
            (0x40, 0xffff_f800_0000_2000),
        ]
    }
}

impl Guest {
    /// The page tables that a debugger walks. It walks four levels: of five, the PML4 that the PML5's last entry names,
    /// without flags.
    #[must_use]
    pub fn debuggers_root(&self) -> u64 {
        let root = self.expected.dtb;
        match self.expected.arch {
            Arch::X64La57 => self.frames.read_u64(root + 511 * 8) & 0x000f_ffff_ffff_f000,
            _ => root,
        }
    }

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
}
