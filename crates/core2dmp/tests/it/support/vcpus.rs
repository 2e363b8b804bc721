//! What a container that carries registers has to give back of them.

use core2dmp::container::{CpuState, Guest};
use core2dmp_synth::Vcpu;

/// A vCPU against what the hypervisor showed: everything but debug registers and FPU.
#[track_caller]
fn assert_vcpu(cpu: &CpuState, vcpu: &Vcpu) {
    let (r, e) = (cpu.registers.x86().unwrap(), &vcpu.registers);
    let [r8, r9, r10, r11, r12, r13, r14, r15] = r.r8_r15;
    assert_eq!(
        [
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r8, r9, r10, r11, r12, r13,
            r14, r15, r.rip, r.rflags,
        ],
        [
            e.rax, e.rbx, e.rcx, e.rdx, e.rsi, e.rdi, e.rsp, e.rbp, e.r8, e.r9, e.r10, e.r11,
            e.r12, e.r13, e.r14, e.r15, e.rip, e.rflags,
        ]
    );
    assert_eq!(
        [r.cs, r.ss, r.ds, r.es, r.fs, r.gs],
        [e.cs, e.ss, e.ds, e.es, e.fs, e.gs]
    );
    assert_eq!([r.cr0, r.cr2, r.cr3, r.cr4], [e.cr0, e.cr2, e.cr3, e.cr4]);
    assert_eq!(
        [r.fs_base, r.gs_base_kernel, r.gs_base_user],
        [vcpu.fs_base, vcpu.gs_base_kernel, vcpu.gs_base_user]
    );
    for (table, (base, limit)) in [(r.gdtr, vcpu.gdt), (r.idtr, vcpu.idt)] {
        let table = table.unwrap();
        assert_eq!((table.base, table.limit), (base, limit));
    }
    assert_eq!((r.tr, r.ldtr), (Some(0x40), Some(0)));
}

/// All vCPUs, in order.
#[track_caller]
pub(crate) fn assert_vcpus(opened: &Guest, guest: &core2dmp_synth::Guest) {
    assert_eq!(opened.cpus.len(), guest.vcpus.len());
    for (index, (cpu, vcpu)) in opened.cpus.iter().zip(&guest.vcpus).enumerate() {
        assert_eq!((cpu.index, cpu.online), (index, true));
        assert_vcpu(cpu, vcpu);
    }
}
