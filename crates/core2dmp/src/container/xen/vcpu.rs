//! `.xen_prstatus`: the vCPUs' registers, in the tool stack's own structure.

use object::elf::EM_386;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::layout::{Layout, TableKind};
use crate::container::{CpuState, Registers, X86Registers};
use crate::error::{Error, Place, Result};
use crate::format::xen::{FLAG_ONLINE, VcpuContext32, VcpuContext64};
use crate::source::{ReadAt, read_exact_at};

/// vCPUs that are accepted; Xen allows 128 for HVM and 8192 for PV.
const MAX_VCPUS: u64 = 8192;

pub(super) fn read(source: &dyn ReadAt, layout: &Layout) -> Result<Vec<CpuState>> {
    let section = &layout.prstatus;
    let bytes = section.entry_bytes;
    if bytes != size_of::<VcpuContext64>() as u64 && bytes != size_of::<VcpuContext32>() as u64 {
        return Err(Error::malformed(
            "sh_entsize of .xen_prstatus",
            Place::Offset(section.offset),
            "5168 or 2800",
            bytes.to_string(),
        ));
    }
    let count = section.size.checked_div(bytes).unwrap_or(0);
    if count > MAX_VCPUS {
        return Err(Error::TooMany {
            what: "vCPUs in .xen_prstatus",
            found: count,
            limit: MAX_VCPUS,
        });
    }
    // A PV guest of 32 bit on a 64-bit host is written in its own layout, in 64-bit entries.
    let narrow = layout.machine == EM_386 && layout.table.kind == TableKind::P2m;
    let mut entry = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let mut cpus = Vec::new();
    for index in 0..count {
        let offset = section.offset.saturating_add(index.saturating_mul(bytes));
        read_exact_at(source, offset, &mut entry, ".xen_prstatus")?;
        let parsed = match VcpuContext64::ref_from_prefix(&entry) {
            Ok((context, _)) if !narrow => Some(from_64(context)),
            _ => VcpuContext32::ref_from_prefix(&entry)
                .ok()
                .map(|(context, _)| from_32(context)),
        };
        let Some((flags, registers)) = parsed else {
            continue;
        };
        cpus.push(CpuState {
            index: usize::try_from(index).unwrap_or(usize::MAX),
            online: flags & FLAG_ONLINE != 0,
            registers: Registers::X86(Box::new(registers)),
        });
    }
    Ok(cpus)
}

fn from_64(context: &VcpuContext64) -> (u32, X86Registers) {
    let user = &context.user_regs;
    let [cr0, _, cr2, cr3, cr4, ..] = context.ctrlreg.map(U64::get);
    let [dr0, dr1, dr2, dr3, _, _, dr6, dr7] = context.debugreg.map(U64::get);
    let registers = X86Registers {
        rax: user.rax.get(),
        rbx: user.rbx.get(),
        rcx: user.rcx.get(),
        rdx: user.rdx.get(),
        rsi: user.rsi.get(),
        rdi: user.rdi.get(),
        rsp: user.rsp.get(),
        rbp: user.rbp.get(),
        r8_r15: [
            user.r8, user.r9, user.r10, user.r11, user.r12, user.r13, user.r14, user.r15,
        ]
        .map(U64::get),
        rip: user.rip.get(),
        rflags: user.rflags.get(),
        cs: user.cs.get(),
        ss: user.ss.get(),
        ds: user.ds.get(),
        es: user.es.get(),
        fs: user.fs.get(),
        gs: user.gs.get(),
        fs_base: context.fs_base.get(),
        gs_base_kernel: context.gs_base_kernel.get(),
        gs_base_user: context.gs_base_user.get(),
        cr0,
        cr2,
        cr3,
        cr4,
        dr: Some([dr0, dr1, dr2, dr3, dr6, dr7]),
        fxsave: Some(context.fpu),
        gdtr: None,
        idtr: None,
        tr: None,
        ldtr: None,
    };
    (context.flags.get(), registers)
}

fn from_32(context: &VcpuContext32) -> (u32, X86Registers) {
    let user = &context.user_regs;
    let wide = |register: U32| u64::from(register.get());
    let [cr0, _, cr2, cr3, cr4, ..] = context.ctrlreg.map(wide);
    let [dr0, dr1, dr2, dr3, _, _, dr6, dr7] = context.debugreg.map(wide);
    let registers = X86Registers {
        rax: wide(user.eax),
        rbx: wide(user.ebx),
        rcx: wide(user.ecx),
        rdx: wide(user.edx),
        rsi: wide(user.esi),
        rdi: wide(user.edi),
        rsp: wide(user.esp),
        rbp: wide(user.ebp),
        r8_r15: [0; 8],
        rip: wide(user.eip),
        rflags: wide(user.eflags),
        cs: user.cs.get(),
        ss: user.ss.get(),
        ds: user.ds.get(),
        es: user.es.get(),
        fs: user.fs.get(),
        gs: user.gs.get(),
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
        cr0,
        cr2,
        cr3,
        cr4,
        dr: Some([dr0, dr1, dr2, dr3, dr6, dr7]),
        fxsave: Some(context.fpu),
        gdtr: None,
        idtr: None,
        tr: None,
        ldtr: None,
    };
    (context.flags.get(), registers)
}
