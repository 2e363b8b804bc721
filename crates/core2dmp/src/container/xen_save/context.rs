//! vCPUs from the context that Xen keeps of an HVM guest: an entry for each vCPU that is up.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::error::Result;
use crate::format::context::FXSAVE_MXCSR;
use crate::format::xen_save::{CPU_FLAGS, FPU_INITIALISED, HvmCpu, RESET_FCW, RESET_MXCSR, entry};
use crate::format::{put_at, u16_at, u32_at};
use crate::source::{ReadAt, read_exact_at};

/// Entries that are accepted; a vCPU has some ten.
const MAX_ENTRIES: u32 = 1 << 17;
/// As errors call it.
const WHAT: &str = "context of Xen";
/// Bytes of an entry's own header.
const HEADER: u64 = 8;

/// Reads the context of `bytes` bytes at `at`.
pub(super) fn read(
    source: &dyn ReadAt,
    at: u64,
    bytes: u64,
    warnings: &mut Vec<String>,
) -> Result<Vec<CpuState>> {
    let end = at.saturating_add(bytes);
    let mut cpus: Vec<CpuState> = Vec::new();
    let mut at = at;
    for number in 0_u32.. {
        if number == MAX_ENTRIES {
            warnings.push(format!(
                "Xen's context has more than {MAX_ENTRIES} entries: the rest is not read"
            ));
            break;
        }
        let mut header = [0; 8];
        if at.saturating_add(HEADER) > end {
            warnings.push("Xen's context has no end".to_owned());
            break;
        }
        read_exact_at(source, at, &mut header, WHAT)?;
        let (kind, length) = (
            u16_at(&header, 0).unwrap_or(0),
            u32_at(&header, 4).unwrap_or(0),
        );
        let data = at.saturating_add(HEADER);
        at = data.saturating_add(u64::from(length));
        if kind == entry::END {
            break;
        }
        if at > end {
            warnings.push(format!(
                "the entry of Xen's context at file offset {:#x} is longer than the context",
                data.saturating_sub(HEADER)
            ));
            break;
        }
        if number == 0 {
            let mut magic = [0; 4];
            read_exact_at(source, data, &mut magic, WHAT)?;
            if (kind, u32::from_le_bytes(magic)) != (entry::HEADER, entry::MAGIC) {
                warnings
                    .push("Xen's context does not begin with its header: no registers".to_owned());
                break;
            }
        }
        if kind != entry::CPU {
            continue;
        }
        cpus.extend(cpu(source, data, length, cpus.len(), warnings)?);
    }
    Ok(cpus)
}

/// The vCPU of an entry; `None` if the entry is too short.
fn cpu(
    source: &dyn ReadAt,
    data: u64,
    length: u32,
    index: usize,
    warnings: &mut Vec<String>,
) -> Result<Option<CpuState>> {
    let mut cpu = [0; size_of::<HvmCpu>()];
    if (length as usize) < cpu.len() {
        warnings.push(format!("vCPU {index}: {length} bytes, too short"));
        return Ok(None);
    }
    read_exact_at(source, data, &mut cpu, WHAT)?;
    let Ok(cpu) = HvmCpu::ref_from_bytes(&cpu) else {
        return Ok(None);
    };
    let mut registers = registers(cpu);
    if !has_fpu(source, data, length)? {
        registers.fxsave = Some(reset_fpu());
    }
    Ok(Some(CpuState {
        index,
        online: true,
        registers: Registers::X86(Box::new(registers)),
    }))
}

/// Whether Xen wrote the vCPU's FPU: always, before it wrote flags.
fn has_fpu(source: &dyn ReadAt, data: u64, length: u32) -> Result<bool> {
    if u64::from(length) < CPU_FLAGS.saturating_add(4) {
        return Ok(true);
    }
    let mut flags = [0; 4];
    read_exact_at(
        source,
        data.saturating_add(CPU_FLAGS),
        &mut flags,
        "flags of a vCPU",
    )?;
    Ok(u32::from_le_bytes(flags) & FPU_INITIALISED != 0)
}

/// The FXSAVE image of a vCPU that has not used its FPU: what `xl dump-core` writes of the same one.
fn reset_fpu() -> [u8; 512] {
    let mut image = [0; 512];
    let _ = put_at(&mut image, 0, &RESET_FCW.to_le_bytes());
    let _ = put_at(&mut image, FXSAVE_MXCSR, &RESET_MXCSR.to_le_bytes());
    image
}

/// The low 16 bits of a selector or a limit.
const fn low(value: u32) -> u16 {
    (value & 0xffff) as u16
}

fn registers(cpu: &HvmCpu) -> X86Registers {
    let [cs, ds, es, fs, gs, ss, tr, ldtr] = cpu.selectors.map(|selector| low(selector.get()));
    let [_, _, _, fs_base, active, _, _, _, idt_base, gdt_base] = cpu.bases.map(U64::get);
    let [.., idt_limit, gdt_limit] = cpu.limits.map(U32::get);
    let other = cpu.shadow_gs.get();
    let (gs_base_kernel, gs_base_user) = if cs & 3 == 0 {
        (active, other)
    } else {
        (other, active)
    };
    let table = |base, limit| TableRegister {
        base,
        limit: low(limit),
    };
    X86Registers {
        rax: cpu.rax.get(),
        rbx: cpu.rbx.get(),
        rcx: cpu.rcx.get(),
        rdx: cpu.rdx.get(),
        rsi: cpu.rsi.get(),
        rdi: cpu.rdi.get(),
        rsp: cpu.rsp.get(),
        rbp: cpu.rbp.get(),
        r8_r15: cpu.r8_r15.map(U64::get),
        rip: cpu.rip.get(),
        rflags: cpu.rflags.get(),
        cs,
        ss,
        ds,
        es,
        fs,
        gs,
        fs_base,
        gs_base_kernel,
        gs_base_user,
        cr0: cpu.cr0.get(),
        cr2: cpu.cr2.get(),
        cr3: cpu.cr3.get(),
        cr4: cpu.cr4.get(),
        dr: Some(cpu.dr.map(U64::get)),
        fxsave: Some(cpu.fpu),
        gdtr: Some(table(gdt_base, gdt_limit)),
        idtr: Some(table(idt_base, idt_limit)),
        tr: Some(tr),
        ldtr: Some(ldtr),
    }
}
