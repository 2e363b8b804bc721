//! A vCPU in `.xen_prstatus`: vcpu_guest_context_t of x86_64 (5168 bytes) or of x86_32 (2800 bytes).
//!
//! ```text
//! x86_64  000 FXSAVE  200 flags  208 user_regs (r15 .. gs)  1378 ctrlreg[8]  13b8 debugreg[8]  1418 fs, gs bases
//! x86_32  000 FXSAVE  200 flags  204 user_regs (ebx .. gs)   a9c ctrlreg[8]   abc debugreg[8]
//! ```
//!
//! References: xen/include/public/arch-x86/xen.h, xen-x86_64.h and xen-x86_32.h. For an HVM guest the fields not
//! written here are zero: descriptor tables, TR, EFER and all MSRs.

use crate::bytes::{put_bytes, put_u16, put_u32, put_u64};
use crate::windows::guest::Vcpu;

/// Encodes one vCPU.
pub(crate) fn context(vcpu: &Vcpu, narrow: bool, pv: bool) -> Vec<u8> {
    if narrow {
        context_32(vcpu, pv)
    } else {
        context_64(vcpu, pv)
    }
}

/// Flags: bit 5 online; of PV guests also bit 2, in the kernel.
fn flags(vcpu: &Vcpu, pv: bool) -> u32 {
    u32::from(vcpu.online) << 5 | if pv { 4 } else { 0 }
}

fn context_64(vcpu: &Vcpu, pv: bool) -> Vec<u8> {
    let r = &vcpu.registers;
    let mut c = vec![0; 0x1430];
    put_bytes(&mut c, 0, &r.fxsave);
    put_u32(&mut c, 0x200, flags(vcpu, pv));
    let general = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi,
    ];
    for (i, value) in general.into_iter().enumerate() {
        put_u64(&mut c, 0x208 + i * 8, value);
    }
    put_u64(&mut c, 0x288, r.rip);
    put_u16(&mut c, 0x290, r.cs);
    put_u64(&mut c, 0x298, r.rflags);
    put_u64(&mut c, 0x2a0, r.rsp);
    for (i, selector) in [r.ss, r.es, r.ds, r.fs, r.gs].into_iter().enumerate() {
        put_u16(&mut c, 0x2a8 + i * 8, selector);
    }
    for (offset, value) in [
        (0x1378, r.cr0),
        (0x1388, r.cr2),
        (0x1390, r.cr3),
        (0x1398, r.cr4),
    ] {
        put_u64(&mut c, offset, value);
    }
    for (i, value) in [r.dr0, r.dr1, r.dr2, r.dr3, 0, 0, r.dr6, r.dr7]
        .into_iter()
        .enumerate()
    {
        put_u64(&mut c, 0x13b8 + i * 8, value);
    }
    put_u64(&mut c, 0x1418, vcpu.fs_base);
    put_u64(&mut c, 0x1420, vcpu.gs_base_kernel);
    put_u64(&mut c, 0x1428, vcpu.gs_base_user);
    c
}

fn context_32(vcpu: &Vcpu, pv: bool) -> Vec<u8> {
    let r = &vcpu.registers;
    let mut c = vec![0; 2800];
    put_bytes(&mut c, 0, &r.fxsave);
    put_u32(&mut c, 0x200, flags(vcpu, pv));
    for (i, value) in [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rax]
        .into_iter()
        .enumerate()
    {
        put_u32(&mut c, 0x204 + i * 4, value as u32);
    }
    put_u32(&mut c, 0x224, r.rip as u32);
    put_u16(&mut c, 0x228, r.cs);
    put_u32(&mut c, 0x22c, r.rflags as u32);
    put_u32(&mut c, 0x230, r.rsp as u32);
    for (i, selector) in [r.ss, r.es, r.ds, r.fs, r.gs].into_iter().enumerate() {
        put_u16(&mut c, 0x234 + i * 4, selector);
    }
    for (offset, value) in [
        (0xa9c, r.cr0),
        (0xaa4, r.cr2),
        (0xaa8, r.cr3),
        (0xaac, r.cr4),
    ] {
        put_u32(&mut c, offset, value as u32);
    }
    for (i, value) in [r.dr0, r.dr1, r.dr2, r.dr3, 0, 0, r.dr6, r.dr7]
        .into_iter()
        .enumerate()
    {
        put_u32(&mut c, 0xabc + i * 4, value as u32);
    }
    c
}
