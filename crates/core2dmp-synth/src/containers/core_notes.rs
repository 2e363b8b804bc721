//! The notes that tell vCPUs in core files of QEMU and of VirtualBox.
//!
//! ```text
//! QEMU        CORE 1 (0x150 or 0x90 bytes) for each vCPU, then QEMU 0 (0x1b8 bytes) for each
//! ARM64       CORE 1 (0x188 bytes), CORE 2 (0x210 bytes) for each vCPU in turn
//! VirtualBox  VBCORE 0xb00 (0x18 bytes), then VBCPU 0xb01 for each
//! ```
//!
//! References: QEMU, target/i386/arch_dump.c and target/arm/arch_dump.c; VirtualBox, include/VBox/vmm/dbgfcorefmt.h.

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::guest::{Guest, Vcpu};

/// Encodes a note.
pub(crate) fn note(name: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend_from_slice(&(name.len() as u32 + 1).to_le_bytes());
    note.extend_from_slice(&(contents.len() as u32).to_le_bytes());
    note.extend_from_slice(&kind.to_le_bytes());
    note.extend_from_slice(name);
    note.push(0);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend_from_slice(contents);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// QEMU's notes.
pub(crate) fn qemu(guest: &Guest, cpu_notes: bool, kernel_gs: bool) -> Vec<u8> {
    let is_64 = guest.expected.arch.is_64();
    let mut notes = Vec::new();
    if guest.expected.arch == Arch::Arm64 {
        for vcpu in guest.vcpus.iter().filter(|_| cpu_notes) {
            notes.extend(note(b"CORE", 1, &prstatus_arm64(vcpu)));
            notes.extend(note(b"CORE", 2, &prfpreg_arm64(vcpu)));
        }
        return notes;
    }
    for vcpu in &guest.vcpus {
        notes.extend(note(b"CORE", 1, &prstatus(vcpu, is_64)));
    }
    for vcpu in guest.vcpus.iter().filter(|_| cpu_notes) {
        let mut state = qemu_cpu(vcpu);
        if !kernel_gs {
            state.truncate(0x1b0);
            put_u32(&mut state, 4, 0x1b0);
        }
        notes.extend(note(b"QEMU", 0, &state));
    }
    notes
}

fn prstatus(vcpu: &Vcpu, is_64: bool) -> Vec<u8> {
    let r = &vcpu.registers;
    let id = vcpu.processor + 1;
    if is_64 {
        let mut status = vec![0; 0x150];
        put_u32(&mut status, 32, id);
        put_u64(&mut status, 112 + 16 * 8, r.rip);
        put_u64(&mut status, 112 + 19 * 8, r.rsp);
        return status;
    }
    let mut status = vec![0; 0x90];
    put_u32(&mut status, 24, id);
    put_u32(&mut status, 72 + 12 * 4, r.rip as u32);
    put_u32(&mut status, 72 + 15 * 4, r.rsp as u32);
    status
}

/// `aarch64_elf_prstatus`: X0 to X30, SP, PC, PSTATE, and whether there is FPU state.
fn prstatus_arm64(vcpu: &Vcpu) -> Vec<u8> {
    let r = &vcpu.registers;
    let arm64 = r.arm64.as_ref().expect("a vCPU of ARM64");
    let mut status = vec![0; 0x188];
    put_u32(&mut status, 32, vcpu.processor + 1);
    let last = [r.rsp, r.rip, u64::from(arm64.pstate)];
    for (i, value) in arm64.x.into_iter().chain(last).enumerate() {
        put_u64(&mut status, 112 + i * 8, value);
    }
    put_u32(&mut status, 112 + 34 * 8, 1);
    status
}

/// `aarch64_user_vfp_state`: V0 to V31, FPSR, FPCR.
fn prfpreg_arm64(vcpu: &Vcpu) -> Vec<u8> {
    let arm64 = vcpu.registers.arm64.as_ref().expect("a vCPU of ARM64");
    let mut state = vec![0; 0x210];
    put_bytes(&mut state, 0, &arm64.v.concat());
    put_u32(&mut state, 0x200, arm64.fpsr);
    put_u32(&mut state, 0x204, arm64.fpcr);
    state
}

fn qemu_cpu(vcpu: &Vcpu) -> Vec<u8> {
    let r = &vcpu.registers;
    let mut c = vec![0; 0x1b8];
    put_u32(&mut c, 0, 1);
    put_u32(&mut c, 4, 0x1b8);
    let general = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15, r.rip, r.rflags,
    ];
    for (i, value) in general.into_iter().enumerate() {
        put_u64(&mut c, 8 + i * 8, value);
    }
    let (active, other) = vcpu.gs_bases();
    let segments = [
        (r.cs, 0, 0xffff_ffff),
        (r.ds, 0, 0xffff_ffff),
        (r.es, 0, 0xffff_ffff),
        (r.fs, vcpu.fs_base, 0xfff),
        (r.gs, active, 0xffff_ffff),
        (r.ss, 0, 0xffff_ffff),
        (0, 0, 0),
        (0x40, 0xffff_f800_0000_2000, 0x67),
        (0, vcpu.gdt.0, u32::from(vcpu.gdt.1)),
        (0, vcpu.idt.0, u32::from(vcpu.idt.1)),
    ];
    for (i, (selector, base, limit)) in segments.into_iter().enumerate() {
        let at = 0x98 + i * 24;
        put_u32(&mut c, at, u32::from(selector));
        put_u32(&mut c, at + 4, limit);
        put_u32(&mut c, at + 8, 0x00cf_9300);
        put_u64(&mut c, at + 16, base);
    }
    for (i, value) in [r.cr0, 0, r.cr2, r.cr3, r.cr4].into_iter().enumerate() {
        put_u64(&mut c, 0x188 + i * 8, value);
    }
    put_u64(&mut c, 0x1b0, other);
    c
}

/// The format of VirtualBox' notes: what `DBGFCORECPU` looked like, and how a compiler laid it out.
///
/// ```text
/// 1.4, 1.5   .. xcr[2] cbExt XSAVE area    the area at 0x238 (alignment of 8) or 0x240 (16)
/// 1.6        .. tsc_aux xcr[2] cbExt ..    0x248 (Windows hosts) or 0x250 (gcc, clang: alignment of 16)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualboxFormat {
    /// Low half of `u32FmtVersion`; the high half is 1.
    pub minor: u32,
    /// Where the XSAVE area of 8192 bytes begins.
    pub area_at: usize,
}

impl Default for VirtualboxFormat {
    fn default() -> Self {
        Self {
            minor: 6,
            area_at: 0x250,
        }
    }
}

/// VirtualBox' notes.
pub(crate) fn virtualbox(guest: &Guest, format: VirtualboxFormat, cpu_notes: bool) -> Vec<u8> {
    let mut core = vec![0; 0x18];
    for (at, value) in [
        (0, 0xc01a_c0de),
        (4, 1 << 16 | format.minor),
        (8, 0x18),
        (12, 0x0700_000e),
        (16, 161_095),
        (20, guest.vcpus.len() as u32),
    ] {
        put_u32(&mut core, at, value);
    }
    let mut notes = note(b"VBCORE", 0xb00, &core);
    for vcpu in guest.vcpus.iter().filter(|_| cpu_notes) {
        notes.extend(note(b"VBCPU", 0xb01, &virtualbox_cpu(vcpu, format)));
    }
    notes
}

fn virtualbox_cpu(vcpu: &Vcpu, format: VirtualboxFormat) -> Vec<u8> {
    let r = &vcpu.registers;
    let mut c = vec![0; format.area_at + 0x2000];
    let general = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
        r.r15, r.rip, r.rsp, r.rbp, r.rflags,
    ];
    for (i, value) in general.into_iter().enumerate() {
        put_u64(&mut c, i * 8, value);
    }
    let (active, other) = vcpu.gs_bases();
    let segments = [
        (0x90, r.cs, 0),
        (0xa8, r.ds, 0),
        (0xc0, r.es, 0),
        (0xd8, r.fs, vcpu.fs_base),
        (0xf0, r.gs, active),
        (0x108, r.ss, 0),
        (0x1a0, 0, 0),
        (0x1b8, 0x40, 0xffff_f800_0000_2000),
    ];
    for (at, selector, base) in segments {
        put_u64(&mut c, at, base);
        put_u32(&mut c, at + 8, 0xffff_ffff);
        put_u16(&mut c, at + 16, selector);
    }
    let control = [
        r.cr0, r.cr2, r.cr3, r.cr4, r.dr0, r.dr1, r.dr2, r.dr3, 0, 0, r.dr6, r.dr7,
    ];
    for (i, value) in control.into_iter().enumerate() {
        put_u64(&mut c, 0x120 + i * 8, value);
    }
    for (at, (base, limit)) in [(0x180, vcpu.gdt), (0x190, vcpu.idt)] {
        put_u64(&mut c, at, base);
        put_u32(&mut c, at + 8, u32::from(limit));
    }
    put_u64(&mut c, 0x1e8, 0xd01);
    put_u64(&mut c, 0x218, other);
    // msrTscAux is of 1.6; behind it XCR0, XCR1 and cbExt.
    let xcr = if format.minor < 6 { 0x228 } else { 0x230 };
    put_u64(&mut c, xcr, 7);
    put_u32(&mut c, xcr + 16, 0x340);
    put_bytes(&mut c, format.area_at, &r.fxsave);
    c
}
