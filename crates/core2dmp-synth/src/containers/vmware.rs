//! The guest as VMware saves it: a state, and memory in it or beside it.
//!
//! ```text
//! magic 0 groups | name 64, place 8, bytes 8 for each group | the groups' tags
//! tag    flags = indices << 6 | bytes | length of name | name | indices | value
//!        bytes 63: stored, bytes in memory, padding | padding | block
//! ```
//!
//! References: crash, `vmware_vmss.c`; Volatility, addrspaces/vmware.py. Tags that no reader describes are named in
//! the format's page: `DR64`, `GDTR`, the MSR.

use crate::containers::raw;
use crate::windows::guest::{Guest, Vcpu};
use crate::windows::memory::{HIGH_START, PAGE};
use crate::windows::registers::Registers;

/// Builds a state.
#[derive(Clone, Debug)]
pub struct Vmware<'a> {
    guest: &'a Guest,
    magic: u32,
    blocks: bool,
    swapped: bool,
    kernel_gs: bool,
    regions: bool,
    place_of_one: bool,
}

impl Guest {
    /// The guest as VMware's saved state and its memory.
    #[must_use]
    pub fn vmware(&self) -> Vmware<'_> {
        Vmware::new(self)
    }
}

impl<'a> Vmware<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            magic: 0xbed2_bed2,
            blocks: false,
            swapped: false,
            kernel_gs: true,
            regions: true,
            place_of_one: true,
        }
    }

    /// Another magic; the two that end in zero make blocks with narrow sizes, and tags with narrow values.
    #[must_use]
    pub fn magic(mut self, magic: u32) -> Self {
        self.magic = magic;
        self
    }

    /// General and control registers and the IDTR as blocks, as newer versions write them.
    #[must_use]
    pub fn blocks(mut self) -> Self {
        self.blocks = true;
        self
    }

    /// RSP before RBP in the block of general registers.
    #[must_use]
    pub fn swapped(mut self) -> Self {
        self.swapped = true;
        self
    }

    /// Leaves out the GS base that is not active.
    #[must_use]
    pub fn without_kernel_gs(mut self) -> Self {
        self.kernel_gs = false;
        self
    }

    /// Memory as one piece from address 0 on, without a word of regions.
    #[must_use]
    pub fn without_regions(mut self) -> Self {
        self.regions = false;
        self
    }

    /// Regions without their places in the file.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        self.place_of_one = false;
        self
    }

    /// The `.vmss`, its memory beside it.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.file(None)
    }

    /// The `.vmem`.
    #[must_use]
    pub fn vmem(&self) -> Vec<u8> {
        raw::without_hole(self.guest)
    }

    /// State and memory in one file.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        self.file(Some(self.vmem()))
    }

    fn is_narrow(&self) -> bool {
        self.magic & 0xf == 0
    }

    fn file(&self, memory: Option<Vec<u8>>) -> Vec<u8> {
        let names = ["Checkpoint", "MKSVMX", "cpu", "memory"];
        let mut file = self.magic.to_le_bytes().to_vec();
        file.extend(8_u32.to_le_bytes());
        file.extend((names.len() as u32).to_le_bytes());
        let descriptors = file.len();
        file.resize(descriptors + names.len() * 80, 0);
        for (n, name) in names.into_iter().enumerate() {
            let start = file.len();
            match name {
                "Checkpoint" => self.checkpoint(&mut file),
                "MKSVMX" => self.block(&mut file, "imageData", &[], &[0x89; 200], 3),
                "cpu" => self.cpu(&mut file),
                _ => self.memory(&mut file, memory.as_deref()),
            }
            file.extend([0; 2]);
            let at = descriptors + n * 80;
            file[at..at + name.len()].copy_from_slice(name.as_bytes());
            let size = (file.len() - start) as u64;
            file[at + 64..at + 72].copy_from_slice(&(start as u64).to_le_bytes());
            file[at + 72..at + 80].copy_from_slice(&size.to_le_bytes());
        }
        file
    }

    fn checkpoint(&self, file: &mut Vec<u8>) {
        tag(file, "fileversion", &[], &10_u32.to_le_bytes());
        tag(file, "Platform", &[], &1_u32.to_le_bytes());
        let mut product = b"VMware ESX".to_vec();
        product.resize(0x100, 0);
        self.block(file, "ProductName", &[], &product, 0);
    }

    fn cpu(&self, file: &mut Vec<u8>) {
        let count = self.guest.vcpus.len() as u32;
        tag(file, "cpu:numVCPUs", &[], &count.to_le_bytes());
        for (n, vcpu) in self.guest.vcpus.iter().enumerate() {
            let n = n as u32;
            tag(file, "cpuID", &[n, 0], &0xd_u32.to_le_bytes());
            self.registers(file, n, vcpu);
        }
    }

    fn registers(&self, file: &mut Vec<u8>, n: u32, vcpu: &Vcpu) {
        let r = &vcpu.registers;
        self.general(file, n, r);
        self.tables(file, n, vcpu);
        tag(file, "rip", &[n], &r.rip.to_le_bytes());
        let flags = r.rflags as u32;
        for (name, part) in [("eflags", flags & 0xff), ("EFLAGS", flags & !0xff)] {
            tag(file, name, &[n], &part.to_le_bytes());
        }
        self.segments(file, n, vcpu);
        for (i, value) in (0..).zip([r.dr0, r.dr1, r.dr2, r.dr3, 0, 0, r.dr6, r.dr7]) {
            self.wide_or_narrow(file, ["DR64", "DR"], &[n, i], value);
        }
        if self.kernel_gs {
            let (_, other) = vcpu.gs_bases();
            tag(file, "MSR_KERNEL_GS_BASE", &[n], &other.to_le_bytes());
        }
    }

    fn general(&self, file: &mut Vec<u8>, n: u32, r: &Registers) {
        let word = |value: u64| value.to_le_bytes();
        let mut general = [
            ("rax", r.rax),
            ("rcx", r.rcx),
            ("rdx", r.rdx),
            ("rbx", r.rbx),
            ("rbp", r.rbp),
            ("rsp", r.rsp),
            ("rsi", r.rsi),
            ("rdi", r.rdi),
            ("r8", r.r8),
            ("r9", r.r9),
            ("r10", r.r10),
            ("r11", r.r11),
            ("r12", r.r12),
            ("r13", r.r13),
            ("r14", r.r14),
            ("r15", r.r15),
        ];
        let control = [r.cr0, 0, r.cr2, r.cr3, r.cr4, 0, 0, 0, 8];
        if self.swapped {
            general.swap(4, 5);
        }
        if self.blocks {
            let general: Vec<u8> = general.iter().flat_map(|(_, value)| word(*value)).collect();
            self.block(file, "gpregs", &[n], &general, 0);
            let control: Vec<u8> = control.into_iter().flat_map(word).collect();
            self.block(file, "CR64", &[n], &control, 0);
        } else {
            for (name, value) in general {
                tag(file, name, &[n], &word(value));
            }
            for (i, value) in (0..).zip(control) {
                self.wide_or_narrow(file, ["CR64", "CR"], &[n, i], value);
            }
        }
    }

    fn tables(&self, file: &mut Vec<u8>, n: u32, vcpu: &Vcpu) {
        for (name, (base, limit)) in [("IDTR", vcpu.idt), ("GDTR", vcpu.gdt)] {
            if self.blocks {
                let table = [&limit.to_le_bytes()[..], &base.to_le_bytes()].concat();
                self.block(file, name, &[n], &table, 5);
                continue;
            }
            for (i, value) in (0_u32..).zip([u32::from(limit), base as u32, (base >> 32) as u32]) {
                tag(file, name, &[n, i], &value.to_le_bytes());
            }
        }
    }

    fn segments(&self, file: &mut Vec<u8>, n: u32, vcpu: &Vcpu) {
        for (i, (selector, base)) in (0..).zip(vcpu.segments()) {
            tag(file, "S", &[n, i], &u32::from(selector).to_le_bytes());
            self.wide_or_narrow(file, ["S.base64", "S.base"], &[n, i], base);
        }
    }

    fn wide_or_narrow(&self, file: &mut Vec<u8>, names: [&str; 2], indices: &[u32], value: u64) {
        if self.is_narrow() {
            tag(file, names[1], indices, &(value as u32).to_le_bytes());
        } else {
            tag(file, names[0], indices, &value.to_le_bytes());
        }
    }

    /// What lies at 4 GiB and above is right behind what lies below.
    fn memory(&self, file: &mut Vec<u8>, memory: Option<&[u8]>) {
        let end = |high: bool| {
            let runs = self.guest.present.iter();
            let ends = runs.map(|run| run.0 + run.1);
            ends.filter(|end| (*end > HIGH_START) == high).max()
        };
        let low = end(false).unwrap_or(0);
        let mut regions = vec![(0, 0, low)];
        regions.extend(end(true).map(|end| (HIGH_START, low, end - HIGH_START)));
        let number = |file: &mut Vec<u8>, name, indices: &[u32], value: u64| {
            tag(file, name, indices, &(value as u32).to_le_bytes());
        };
        let count = if self.regions {
            regions.len() as u64
        } else {
            0
        };
        number(file, "regionsCount", &[], count);
        for (n, (ppn, page, frames)) in (0..).zip(regions).take(count as usize) {
            number(file, "regionPPN", &[n], ppn);
            if self.place_of_one {
                number(file, "regionPageNum", &[n], page);
            }
            number(file, "regionSize", &[n], frames);
        }
        number(file, "align_mask", &[], 0xffff);
        if let Some(memory) = memory {
            let sizes = if self.is_narrow() { 8 } else { 16 };
            let head = file.len() + 2 + 6 + 8 + sizes + 2;
            let padding = head.next_multiple_of(PAGE) - head;
            self.block(file, "Memory", &[0, 0], memory, padding);
        }
    }

    fn block(&self, file: &mut Vec<u8>, name: &str, indices: &[u32], value: &[u8], padding: usize) {
        head(file, name, indices, 63);
        for _ in 0..2 {
            if self.is_narrow() {
                file.extend((value.len() as u32).to_le_bytes());
            } else {
                file.extend((value.len() as u64).to_le_bytes());
            }
        }
        file.extend((padding as u16).to_le_bytes());
        file.resize(file.len() + padding, 0);
        file.extend(value);
    }
}

fn head(file: &mut Vec<u8>, name: &str, indices: &[u32], bytes: u8) {
    file.push((indices.len() as u8) << 6 | bytes);
    file.push(name.len() as u8);
    file.extend(name.as_bytes());
    file.extend(indices.iter().flat_map(|index| index.to_le_bytes()));
}

/// A tag whose value is small.
fn tag(file: &mut Vec<u8>, name: &str, indices: &[u32], value: &[u8]) {
    head(file, name, indices, value.len() as u8);
    file.extend(value);
}
