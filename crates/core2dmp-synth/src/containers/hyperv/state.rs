//! The value of `partition_state`: what the hypervisor knows of the processors.
//!
//! ```text
//! 24, 24, bytes | 16 bytes | chunks: id, bytes, 8 zeros, data
//! prolog | OS id | VTL 0 (| VTL 1) | VP bits | for each VP: VP, (VTL page,) VTL, registers .. | epilog
//! ```
//!
//! References: OpenVMM, vmm_core/hyperv_dump/src/partition_state.rs and vm/hv1/hvdef/src/save_restore.rs.

use crate::bytes::{put_u16, put_u32, put_u64};
use crate::windows::guest::{Guest, Vcpu};

/// What differs from state to state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StateShape {
    /// A secure kernel at trust level 1, whose registers follow those of level 0.
    pub(crate) secure_kernel: bool,
    /// The processor's maker.
    pub(crate) vendor: u32,
}

pub(crate) fn partition_state(guest: &Guest, shape: StateShape) -> Vec<u8> {
    let mut out = vec![0; 40];
    let mut prolog = vec![0; 4064];
    prolog[..4].copy_from_slice(b"udTP");
    put_u32(&mut prolog, 8, shape.vendor);
    chunk(&mut out, 0, &prolog);
    chunk(&mut out, 0x2000_1000, &[0; 16]);
    for level in 0..=u8::from(shape.secure_kernel) {
        chunk(&mut out, 0x2000_8000, &marker(level));
    }
    // Twelve bytes: what follows is not aligned to anything.
    let mut bits = [0; 12];
    put_u64(&mut bits, 4, (1 << guest.vcpus.len()) - 1);
    chunk(&mut out, 0x3000_0000, &bits);
    for (number, vcpu) in (0_u32..).zip(&guest.vcpus) {
        let mut own = [0; 16];
        put_u32(&mut own, 0, number);
        chunk(&mut out, 0x3000_1000, &own);
        if shape.secure_kernel {
            chunk(&mut out, 0x3001_8000, &[0; 32]);
        }
        chunk(&mut out, 0x3001_a000, &marker(0));
        registers(&mut out, vcpu);
        if shape.secure_kernel {
            chunk(&mut out, 0x3001_a000, &marker(1));
            let mut secure = vcpu.clone();
            secure.registers.rip = 0xffff_f801_dead_0000;
            secure.registers.cr3 = 0x7000;
            registers(&mut out, &secure);
        }
    }
    chunk(&mut out, 0xf000_0000, &[]);
    let bytes = out.len() as u64;
    for (at, value) in [(0, 24), (8, 24), (16, bytes)] {
        put_u64(&mut out, at, value);
    }
    out
}

fn marker(level: u8) -> [u8; 16] {
    let mut marker = [0; 16];
    marker[0] = level;
    marker
}

fn chunk(out: &mut Vec<u8>, id: u32, data: &[u8]) {
    out.extend(id.to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out.extend([0; 8]);
    out.extend(data);
}

fn words(out: &mut Vec<u8>, id: u32, values: &[u64]) {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    chunk(out, id, &data);
}

fn registers(out: &mut Vec<u8>, vcpu: &Vcpu) {
    let r = &vcpu.registers;
    words(
        out,
        0x3000_5000,
        &[
            r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11,
            r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags,
        ],
    );
    words(out, 0x3000_7000, &[r.cr0, r.cr2, r.cr3, r.cr4, 0xf, 0xd01]);
    let mut data = vec![0; 8 * 16 + 16];
    for (n, (selector, base)) in vcpu.segments().into_iter().enumerate() {
        put_u64(&mut data, n * 16, base);
        put_u32(&mut data, n * 16 + 8, 0xffff_ffff);
        put_u16(&mut data, n * 16 + 12, selector);
        put_u16(&mut data, n * 16 + 14, 0x209b);
    }
    data[128] = (r.cs & 3) as u8;
    chunk(out, 0x3000_9000, &data);
    let mut data = vec![0; 32];
    for (at, (base, limit)) in [(0, vcpu.idt), (16, vcpu.gdt)] {
        put_u16(&mut data, at + 6, limit);
        put_u64(&mut data, at + 8, base);
    }
    chunk(out, 0x3000_a000, &data);
    words(
        out,
        0x3000_8000,
        &[r.dr0, r.dr1, r.dr2, r.dr3, r.dr6, r.dr7],
    );
    let float = [
        &r.fxsave[0xa0..0x1a0],
        &r.fxsave[0x20..0xa0],
        &r.fxsave[..0x20],
    ];
    chunk(out, 0x3000_6000, &float.concat());
    let mut features = [0; 64];
    features[0] = 7;
    chunk(out, 0x3000_d000, &features);
}
