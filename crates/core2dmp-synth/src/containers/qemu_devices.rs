//! Devices in a migration stream of QEMU, each with the description of its data.
//!
//! ```text
//! data  env.regs 16 x 8 | env.eip 8 | ..          JSON  {"name": "env.regs", "array_len": 16, "size": 8}, ..
//! ```
//!
//! References: QEMU, target/i386/machine.c, migration/vmstate.c; files of QEMU 7.2.22.

use crate::bytes::{be32, be64};
use crate::windows::guest::Vcpu;
use crate::windows::registers::Registers;

/// A device: its name, instance, data, and its fields as JSON.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) instance: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) fields: Vec<String>,
    pub(crate) subsections: Vec<String>,
}

/// A device that says its size and nothing else.
pub(crate) fn plain(name: &'static str, instance: u32, data: &[u8]) -> Device {
    Device {
        name,
        instance,
        data: data.to_vec(),
        fields: vec![format!(
            "{{\"name\": \"data\", \"size\": {}, \"type\": \"buffer\"}}",
            data.len()
        )],
        subsections: Vec::new(),
    }
}

/// Writes fields and describes them.
#[derive(Default)]
struct Fields {
    data: Vec<u8>,
    json: Vec<String>,
}

impl Fields {
    /// So many numbers of so many bytes.
    fn numbers(&mut self, name: &str, bytes: usize, values: &[u64]) {
        for value in values {
            self.data.extend(&value.to_be_bytes()[8 - bytes..]);
        }
        self.describe(name, bytes, values.len());
    }

    fn describe(&mut self, name: &str, bytes: usize, count: usize) {
        let array = if count > 1 {
            format!("\"array_len\": {count}, ")
        } else {
            String::new()
        };
        self.json.push(format!("{{\"name\": \"{name}\", {array}\"type\": \"x\", \"struct\": {{\"fields\": [{{\"name\": \"env.regs\", \"size\": 3}}]}}, \"size\": {bytes}}}"));
    }

    fn segments(&mut self, name: &str, segments: &[(u16, u64, u32)]) {
        for (selector, base, limit) in segments {
            be32(&mut self.data, u32::from(*selector));
            be64(&mut self.data, *base);
            be32(&mut self.data, *limit);
            be32(&mut self.data, 0x00cf_9300);
        }
        self.describe(name, 20, segments.len());
    }
}

/// A name as the stream has it: its length in a byte, then its text.
pub(crate) fn name(file: &mut Vec<u8>, name: &str) {
    file.push(name.len() as u8);
    file.extend(name.as_bytes());
}

/// A vCPU as QEMU for x86_64 has it.
pub(crate) fn cpu(vcpu: &Vcpu, instance: u32) -> Device {
    let r = &vcpu.registers;
    let mut fields = Fields::default();
    let general = [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ];
    fields.numbers("env.regs", 8, &general);
    fields.numbers("env.eip", 8, &[r.rip]);
    fields.numbers("env.eflags", 8, &[r.rflags]);
    fields.numbers("env.hflags", 4, &[0]);
    fpu(&mut fields, r);
    segments(&mut fields, vcpu);
    fields.numbers("env.sysenter_cs", 4, &[0]);
    for (name, value) in [("0", r.cr0), ("2", r.cr2), ("3", r.cr3), ("4", r.cr4)] {
        fields.numbers(&format!("env.cr[{name}]"), 8, &[value]);
    }
    let debug = [r.dr0, r.dr1, r.dr2, r.dr3, 0, 0, r.dr6, r.dr7];
    fields.numbers("env.dr", 8, &debug);
    fields.numbers("env.a20_mask", 4, &[0xffff_ffff]);
    fields.numbers("env.mxcsr", 4, &[u64::from(r.mxcsr())]);
    for half in r.fxsave[160..416].chunks_exact(8) {
        fields.data.extend(half.iter().rev());
    }
    fields.describe("env.xmm_regs[0]", 16, 16);
    fields.numbers("env.kernelgsbase", 8, &[vcpu.gs_bases().1]);
    // What it adds because it needs to.
    fields.data.push(5);
    name(&mut fields.data, "cpu/poll_control_msr");
    be32(&mut fields.data, 1);
    be64(&mut fields.data, 1);
    Device {
        name: "cpu",
        instance,
        data: fields.data,
        fields: fields.json,
        subsections: vec![
            "{\"vmsd_name\": \"cpu/poll_control_msr\", \"version\": 1, \"fields\": [{\"name\": \"env.poll_control_msr\", \"type\": \"uint64\", \"size\": 8}]}".to_owned(),
        ],
    }
}

/// Control and status words, tags, and the registers by their place on the stack.
fn fpu(fields: &mut Fields, r: &Registers) {
    let word = |at: usize| u64::from(u16::from_le_bytes([r.fxsave[at], r.fxsave[at + 1]]));
    // The top of the stack is register 3: FXSAVE has it first.
    let top = 3;
    fields.numbers("env.fpuc", 2, &[word(0)]);
    fields.numbers("env.fpus_vmstate", 2, &[word(2) | top << 11]);
    fields.numbers("env.fptag_vmstate", 2, &[u64::from(r.fxsave[4])]);
    fields.numbers("env.fpregs_format_vmstate", 2, &[0]);
    for register in 0..8 {
        let slot = (register + 8 - top as usize) % 8;
        let at = 32 + slot * 16;
        let mantissa = u64::from_le_bytes(r.fxsave[at..at + 8].try_into().unwrap());
        be64(&mut fields.data, mantissa);
        fields.data.extend([r.fxsave[at + 9], r.fxsave[at + 8]]);
    }
    fields.describe("env.fpregs", 10, 8);
}

fn segments(fields: &mut Fields, vcpu: &Vcpu) {
    let r = &vcpu.registers;
    let (active, _) = vcpu.gs_bases();
    let all = 0xffff_ffff;
    fields.segments(
        "env.segs",
        &[
            (r.es, 0, all),
            (r.cs, 0, all),
            (r.ss, 0, all),
            (r.ds, 0, all),
            (r.fs, vcpu.fs_base, 0xfff),
            (r.gs, active, all),
        ],
    );
    fields.segments("env.ldt", &[(0, 0, 0)]);
    fields.segments("env.tr", &[(0x40, 0xffff_f800_0000_2000, 0x67)]);
    fields.segments("env.gdt", &[(0, vcpu.gdt.0, u32::from(vcpu.gdt.1))]);
    fields.segments("env.idt", &[(0, vcpu.idt.0, u32::from(vcpu.idt.1))]);
}
