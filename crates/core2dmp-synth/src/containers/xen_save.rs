//! The guest as `xl save`, `virsh save` on Xen, libxl or libxc write it.
//!
//! ```text
//! xl: 48 bytes, configuration | LibxlFmt: 16 bytes, record 1 | ff x 8, XENF: 24 + 16 bytes | records | records of
//! libxl
//! ```
//!
//! References: Xen, docs/specs/libxc-migration-stream.pandoc, libxl-migration-stream.pandoc, tools/xl/xl.h,
//! xen/include/public/arch-x86/hvm/save.h; libvirt, src/libxl/libxl_conf.h.

use crate::bytes::{put_bytes, put_u32, put_u64};
use crate::windows::guest::{Guest, Vcpu};
use crate::windows::memory::PAGE;

/// Frames of a record.
const BATCH: usize = 1024;

/// Who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XenSaver {
    /// `xl save`.
    Xl,
    /// `virsh save`.
    Libvirt,
    /// A stream of libxl without more.
    Libxl,
    /// An image of libxc without more.
    Libxc,
}

/// Builds a saved domain.
#[derive(Clone, Debug)]
pub struct XenSave<'a> {
    guest: &'a Guest,
    saver: XenSaver,
    version: u32,
    live: bool,
    verify: bool,
    context: bool,
    cpu_bytes: usize,
    fpu: bool,
}

impl Guest {
    /// The guest as `xl save` writes it.
    #[must_use]
    pub fn xen_save(&self) -> XenSave<'_> {
        XenSave::new(self)
    }
}

impl<'a> XenSave<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            saver: XenSaver::Xl,
            version: 3,
            live: false,
            verify: false,
            context: true,
            cpu_bytes: 1032,
            fpu: true,
        }
    }

    /// Who writes it.
    #[must_use]
    pub fn saver(mut self, saver: XenSaver) -> Self {
        self.saver = saver;
        self
    }

    /// An image of version 2, by a Xen that writes vCPUs of 1016 bytes.
    #[must_use]
    pub fn old(mut self) -> Self {
        self.version = 2;
        self.cpu_bytes = 1016;
        self
    }

    /// Of vCPUs that never used their FPU: Xen leaves the area zero and the flag away.
    #[must_use]
    pub fn unused_fpu(mut self) -> Self {
        self.fpu = false;
        self
    }

    /// As of a guest that ran: pages come twice, and some went away.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Followed by pages for comparison, which differ here.
    #[must_use]
    pub fn verify(mut self) -> Self {
        self.verify = true;
        self
    }

    /// Leaves Xen's context out.
    #[must_use]
    pub fn without_context(mut self) -> Self {
        self.context = false;
        self
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let config = b"{\"c_info\": {\"type\": \"hvm\"}}\0";
        match self.saver {
            XenSaver::Xl => {
                file.extend(b"Xen saved domain, xl format\n \0 \r\0"[..32].iter());
                for value in [
                    0x0102_0304,
                    3,
                    0,
                    config.len() as u32 + 4,
                    config.len() as u32,
                ] {
                    file.extend(u32::to_le_bytes(value));
                }
                file.extend(config);
            }
            XenSaver::Libvirt => {
                let mut header = vec![0; 64];
                put_bytes(&mut header, 0, b"libvirt-xml\n \0 \r");
                put_u32(&mut header, 16, 2);
                put_u32(&mut header, 20, 12);
                file.extend(header);
                file.extend(b"<domain/>\n\n\0");
            }
            XenSaver::Libxl | XenSaver::Libxc => {}
        }
        let is_wrapped = self.saver != XenSaver::Libxc;
        if is_wrapped {
            file.extend(b"LibxlFmt\0\0\0\x02\0\0\0\0");
            // What a reader may skip.
            record(&mut file, 0x8000_0000, &[1, 2, 3]);
            record(&mut file, 1, &[]);
        }
        self.image(&mut file);
        if is_wrapped {
            record(&mut file, 3, b"\x02\0\0\0\0\0\0\0QEVM..");
            record(&mut file, 0, &[]);
        }
        file
    }

    fn image(&self, file: &mut Vec<u8>) {
        file.extend([0xff; 8]);
        file.extend(b"XENF");
        file.extend(self.version.to_be_bytes());
        file.extend([0; 8]);
        for value in [2_u32, 12, 4, 17] {
            file.extend(value.to_le_bytes());
        }
        if self.version > 2 {
            record(file, 0x11, &[7; 24]);
            record(file, 0x10, &[]);
        }
        // What nobody knows, and may be skipped.
        record(file, 0x8000_0123, &[9; 5]);
        let frames: Vec<u64> = self
            .guest
            .present
            .iter()
            .flat_map(|run| run.0..run.0 + run.1)
            .collect();
        if self.live {
            self.stale(file, &frames);
        }
        // A running guest's pages come in no order.
        let mut order = frames;
        if self.live {
            order.reverse();
        }
        for batch in order.chunks(BATCH) {
            // Page tables have a type of their own, even of HVM guests in old images.
            let typed: Vec<u64> = batch
                .iter()
                .map(|pfn| pfn | if pfn % 11 == 0 { 1 << 60 } else { 0 })
                .collect();
            self.pages(file, &typed, |pfn, page| {
                self.guest.frames.read_frame(pfn, page);
            });
        }
        if self.verify {
            record(file, 0xd, &[]);
            self.pages(file, &order[..order.len().min(BATCH)], |_, page| {
                page.fill(0x11)
            });
        }
        record(file, 8, &[0; 24]);
        record(file, 0xa, &[0; 8]);
        if self.context {
            record(file, 9, &self.hvm_context());
        }
        record(file, 0, &[]);
    }

    /// What pages were before, and frames that went away: 0xc8000 and on.
    fn stale(&self, file: &mut Vec<u8>, frames: &[u64]) {
        let stale: Vec<u64> = frames.iter().copied().filter(|pfn| pfn % 5 < 3).collect();
        for batch in stale.chunks(BATCH) {
            self.pages(file, batch, |_, page| page.fill(0x77));
        }
        let gone: Vec<u64> = (0xc_8000..0xc_8010).collect();
        self.pages(file, &gone, |_, page| page.fill(0x99));
        // Gone and broken, by turns.
        let without = |pfn: &u64| pfn | [0xf_u64, 0xd][(pfn % 2) as usize] << 60;
        let types: Vec<u64> = gone.iter().map(without).collect();
        self.pages(file, &types, |_, _| {});
    }

    /// A record of pages; their type shows which have no data.
    fn pages(&self, file: &mut Vec<u8>, frames: &[u64], fill: impl Fn(u64, &mut [u8])) {
        let mut body = Vec::new();
        body.extend((frames.len() as u64).to_le_bytes());
        for frame in frames {
            body.extend(frame.to_le_bytes());
        }
        let mut page = vec![0; PAGE];
        for frame in frames.iter().filter(|frame| **frame >> 60 < 0xd) {
            fill(frame & 0xf_ffff_ffff_ffff, &mut page);
            body.extend(&page);
        }
        record(file, 1, &body);
    }

    fn hvm_context(&self) -> Vec<u8> {
        let mut context = Vec::new();
        let mut header = vec![0; 24];
        put_u32(&mut header, 0, 0x5438_1286);
        put_u32(&mut header, 4, 1);
        entry(&mut context, 1, 0, &header);
        for (vcpu, instance) in self.guest.vcpus.iter().zip(0..) {
            entry(&mut context, 2, instance, &self.cpu(vcpu));
        }
        for (_, instance) in self.guest.vcpus.iter().zip(0..) {
            entry(&mut context, 5, instance, &[2; 40]);
        }
        entry(&mut context, 0, 0, &[]);
        context
    }

    fn cpu(&self, vcpu: &Vcpu) -> Vec<u8> {
        let r = &vcpu.registers;
        let mut c = vec![0; self.cpu_bytes];
        if self.fpu {
            put_bytes(&mut c, 0, &r.fxsave);
        }
        if self.cpu_bytes >= 1032 {
            // XEN_X86_FPU_INITIALISED.
            put_u32(&mut c, 1024, u32::from(self.fpu));
        }
        let general = [
            r.rax, r.rbx, r.rcx, r.rdx, r.rbp, r.rsi, r.rdi, r.rsp, r.r8, r.r9, r.r10, r.r11,
            r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags, r.cr0, r.cr2, r.cr3, r.cr4, r.dr0, r.dr1,
            r.dr2, r.dr3, r.dr6, r.dr7,
        ];
        for (i, value) in general.into_iter().enumerate() {
            put_u64(&mut c, 512 + i * 8, value);
        }
        let selectors = [r.cs, r.ds, r.es, r.fs, r.gs, r.ss, 0x40, 0];
        for (i, value) in selectors.into_iter().enumerate() {
            put_u32(&mut c, 736 + i * 4, u32::from(value));
            put_u32(&mut c, 768 + i * 4, 0xffff_ffff);
        }
        put_u32(&mut c, 800, u32::from(vcpu.idt.1));
        put_u32(&mut c, 804, u32::from(vcpu.gdt.1));
        let (active, other) = vcpu.gs_bases();
        let bases = [
            0,
            0,
            0,
            vcpu.fs_base,
            active,
            0,
            0xffff_f800_0000_2000,
            0,
            vcpu.idt.0,
            vcpu.gdt.0,
        ];
        for (i, value) in bases.into_iter().enumerate() {
            put_u64(&mut c, 808 + i * 8, value);
        }
        put_u64(&mut c, 944, other);
        put_u64(&mut c, 992, 0xd01);
        c
    }
}

/// A record of libxl or libxc.
fn record(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    file.extend(kind.to_le_bytes());
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    // From the record's start: the headers in front of it may have any length.
    file.extend(&[0; 8][..body.len().next_multiple_of(8) - body.len()]);
}

/// An entry of Xen's context.
fn entry(context: &mut Vec<u8>, kind: u16, instance: u16, data: &[u8]) {
    context.extend(kind.to_le_bytes());
    context.extend(instance.to_le_bytes());
    context.extend((data.len() as u32).to_le_bytes());
    context.extend(data);
}
