//! vCPUs from the notes of QEMU and of VirtualBox.
//!
//! Both tell the GS base that is active, and beside it the one that `swapgs` would bring: which of the two is
//! the kernel's follows from the ring. Between an interrupt from user mode and its `swapgs` that is wrong; no
//! container can tell.

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::notes::Notes;
use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::format::{bytes_at, qemu, u64_at, vbox};

/// The vCPUs, in the order of their notes, and what wrote them.
pub(super) fn read(notes: &Notes, warnings: &mut Vec<String>) -> (Vec<CpuState>, Option<String>) {
    let qemu = notes
        .named(qemu::NOTE_NAME)
        .map(|note| from_qemu(&note.desc));
    let qemu = collect(qemu, "QEMU", warnings);
    if !qemu.is_empty() {
        return (qemu, Some("QEMU, or in its way".to_owned()));
    }
    let Some(core) = notes.named(vbox::CORE_NOTE_NAME).next() else {
        return (Vec::new(), None);
    };
    let Ok((core, _)) = vbox::CoreNote::read_from_prefix(&core.desc) else {
        warnings.push("the VBCORE note is too short".to_owned());
        return (Vec::new(), None);
    };
    let version = core.version.get();
    let writer = format!(
        "VirtualBox {}.{}.{}",
        version >> 24,
        version >> 16 & 0xff,
        version & 0xffff
    );
    let format = core.format.get();
    let (major, minor) = (format >> 16, format & 0xffff);
    if core.magic.get() != vbox::MAGIC
        || major != vbox::FORMAT_MAJOR
        || minor < vbox::FORMAT_MINOR_CPU
    {
        warnings.push(format!(
            "the VBCORE note has magic {:#x} and format {major}.{minor}, whose vCPUs are not known",
            core.magic
        ));
        return (Vec::new(), Some(writer));
    }
    if minor > vbox::FORMAT_MINOR_NEWEST {
        warnings.push(format!(
            "VBCORE has format {major}.{minor}; the newest known is {major}.{}, and the vCPUs are read as of that",
            vbox::FORMAT_MINOR_NEWEST
        ));
    }
    let cpus = notes
        .named(vbox::CPU_NOTE_NAME)
        .map(|note| from_vbox(&note.desc));
    let cpus = collect(cpus, "VBCPU", warnings);
    if u64::from(core.cpus.get()) != cpus.len() as u64 {
        warnings.push(format!(
            "VBCORE promises {} vCPUs, {} notes tell one",
            core.cpus,
            cpus.len()
        ));
    }
    (cpus, Some(writer))
}

/// Numbers them; one that cannot be read keeps its number.
fn collect(
    found: impl Iterator<Item = Result<X86Registers, String>>,
    name: &str,
    warnings: &mut Vec<String>,
) -> Vec<CpuState> {
    let mut cpus = Vec::new();
    for (index, registers) in found.enumerate() {
        match registers {
            Ok(registers) => cpus.push(CpuState {
                index,
                online: true,
                registers: Registers::X86(Box::new(registers)),
            }),
            Err(why) => warnings.push(format!("{name} note {index}: {why}")),
        }
    }
    cpus
}

/// The active and the other GS base as the kernel's and the user's.
fn gs_bases(cs: u16, active: u64, other: u64) -> (u64, u64) {
    if cs & 3 == 0 {
        (active, other)
    } else {
        (other, active)
    }
}

/// The low 16 bits of a selector or a limit.
const fn low(value: u32) -> u16 {
    (value & 0xffff) as u16
}

fn from_qemu(desc: &[u8]) -> Result<X86Registers, String> {
    let Ok((note, _)) = qemu::CpuNote::ref_from_prefix(desc) else {
        return Err(format!("{} bytes, too short for a vCPU", desc.len()));
    };
    if note.version.get() != qemu::VERSION {
        return Err(format!("version {}, which is not known", note.version));
    }
    // Who makes such a note of another container's registers may not have them: zeros, which no processor has.
    let table = |segment: &qemu::Segment| {
        let (base, limit) = (segment.base.get(), low(segment.limit.get()));
        (base != 0 || limit != 0).then_some(TableRegister { base, limit })
    };
    let cs = low(note.cs.selector.get());
    let other = u64_at(desc, qemu::KERNEL_GS_BASE).unwrap_or(0);
    let (gs_base_kernel, gs_base_user) = gs_bases(cs, note.gs.base.get(), other);
    let [cr0, _, cr2, cr3, cr4] = note.cr.map(U64::get);
    Ok(X86Registers {
        rax: note.rax.get(),
        rbx: note.rbx.get(),
        rcx: note.rcx.get(),
        rdx: note.rdx.get(),
        rsi: note.rsi.get(),
        rdi: note.rdi.get(),
        rsp: note.rsp.get(),
        rbp: note.rbp.get(),
        r8_r15: note.r8_r15.map(U64::get),
        rip: note.rip.get(),
        rflags: note.rflags.get(),
        cs,
        ss: low(note.ss.selector.get()),
        ds: low(note.ds.selector.get()),
        es: low(note.es.selector.get()),
        fs: low(note.fs.selector.get()),
        gs: low(note.gs.selector.get()),
        fs_base: note.fs.base.get(),
        gs_base_kernel,
        gs_base_user,
        cr0,
        cr2,
        cr3,
        cr4,
        dr: None,
        fxsave: None,
        gdtr: table(&note.gdt),
        idtr: table(&note.idt),
        tr: Some(low(note.tr.selector.get())).filter(|tr| *tr != 0),
        ldtr: Some(low(note.ldt.selector.get())),
    })
}

/// The FXSAVE image that begins the XSAVE area, which is the end of the note whatever is before it.
fn fxsave_of(desc: &[u8]) -> Option<[u8; 512]> {
    let start = desc.len().checked_sub(vbox::XSAVE_AREA_BYTES)?;
    (start >= size_of::<vbox::CpuNote>()).then(|| bytes_at(desc, start))?
}

fn from_vbox(desc: &[u8]) -> Result<X86Registers, String> {
    let Ok((note, _)) = vbox::CpuNote::ref_from_prefix(desc) else {
        return Err(format!("{} bytes, too short for a vCPU", desc.len()));
    };
    let table = |table: &vbox::Table| TableRegister {
        base: table.base.get(),
        limit: low(table.limit.get()),
    };
    let cs = note.cs.selector.get();
    let other = note.kernel_gs_base.get();
    let (gs_base_kernel, gs_base_user) = gs_bases(cs, note.gs.base.get(), other);
    let [dr0, dr1, dr2, dr3, _, _, dr6, dr7] = note.dr.map(U64::get);
    Ok(X86Registers {
        rax: note.rax.get(),
        rbx: note.rbx.get(),
        rcx: note.rcx.get(),
        rdx: note.rdx.get(),
        rsi: note.rsi.get(),
        rdi: note.rdi.get(),
        rsp: note.rsp.get(),
        rbp: note.rbp.get(),
        r8_r15: note.r8_r15.map(U64::get),
        rip: note.rip.get(),
        rflags: note.rflags.get(),
        cs,
        ss: note.ss.selector.get(),
        ds: note.ds.selector.get(),
        es: note.es.selector.get(),
        fs: note.fs.selector.get(),
        gs: note.gs.selector.get(),
        fs_base: note.fs.base.get(),
        gs_base_kernel,
        gs_base_user,
        cr0: note.cr0.get(),
        cr2: note.cr2.get(),
        cr3: note.cr3.get(),
        cr4: note.cr4.get(),
        dr: Some([dr0, dr1, dr2, dr3, dr6, dr7]),
        fxsave: fxsave_of(desc),
        gdtr: Some(table(&note.gdtr)),
        idtr: Some(table(&note.idtr)),
        tr: Some(note.tr.selector.get()),
        ldtr: Some(note.ldtr.selector.get()),
    })
}
