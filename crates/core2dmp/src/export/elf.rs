//! An ELF core with the notes that QEMU writes: read by crash, Volatility, elf2dmp, gdb, and by us.
//!
//! ```text
//! Header64 | [Section64: only for 65535 segments and more] | PT_NOTE, PT_LOAD ... | notes | zeros | memory
//! notes: CORE prstatus for each vCPU, then QEMU's for each
//! ```
//!
//! Memory starts at a multiple of 4096, so that a file system can share it with the source.

use zerocopy::{FromZeros, IntoBytes};

use super::planned::Export;
use super::tables;
use crate::address::PAGE_SIZE;
use crate::container::{
    Arm64Floating, Arm64Registers, CpuState, Guest, Registers, TableRegister, X86Registers,
};
use crate::format::elf_core::{
    CORE, CORE_NAME, FPREGSET, FpregsetArm64, Header64, IDENT, LOAD, MACHINE_386, MACHINE_AARCH64,
    MACHINE_X86_64, MANY_SEGMENTS, NOTE, NoteHeader, PRSTATUS, Prstatus32, Prstatus64,
    PrstatusArm64, Section64, Segment64,
};
use crate::format::qemu;

/// Plans the file.
pub(super) fn elf(export: &mut Export, guest: &Guest) {
    let machine = machine(&guest.cpus);
    let notes = notes(guest, machine);
    let segments = (export.runs.len() as u64).saturating_add(1);
    let is_many = segments >= u64::from(MANY_SEGMENTS);
    let header_bytes = size_of::<Header64>() as u64;
    let section_bytes = if is_many {
        size_of::<Section64>() as u64
    } else {
        0
    };
    let segments_at = header_bytes.saturating_add(section_bytes);
    let notes_at =
        segments_at.saturating_add(segments.saturating_mul(size_of::<Segment64>() as u64));
    let memory_at = notes_at
        .saturating_add(notes.len() as u64)
        .next_multiple_of(PAGE_SIZE);
    let mut head = header(machine, segments, segments_at, is_many);
    let mut note = Segment64::new_zeroed();
    note.kind.set(NOTE);
    note.offset.set(notes_at);
    note.file_bytes.set(notes.len() as u64);
    note.memory_bytes.set(notes.len() as u64);
    head.extend(note.as_bytes());
    let mut at = memory_at;
    for range in &export.runs {
        let mut load = Segment64::new_zeroed();
        load.kind.set(LOAD);
        load.offset.set(at);
        load.virtual_address.set(range.first.gpa().get());
        load.physical_address.set(range.first.gpa().get());
        load.file_bytes.set(range.bytes());
        load.memory_bytes.set(range.bytes());
        head.extend(load.as_bytes());
        at = at.saturating_add(range.bytes());
    }
    head.extend(notes);
    head.resize(usize::try_from(memory_at).unwrap_or(head.len()), 0);
    export.image.push_bytes(head);
    for range in export.runs.clone() {
        export.push_frames(&guest.memory, range);
    }
    export.vcpus = guest.cpus.len();
}

/// The header, and the section that tells of more segments than the header can.
fn header(machine: u16, segments: u64, segments_at: u64, is_many: bool) -> Vec<u8> {
    let mut header = Header64::new_zeroed();
    header.ident = IDENT;
    header.kind.set(CORE);
    header.machine.set(machine);
    header.version.set(1);
    header.segments_at.set(segments_at);
    header.header_bytes.set(64);
    header.segment_bytes.set(56);
    header
        .segments
        .set(u16::try_from(segments).unwrap_or(MANY_SEGMENTS));
    if !is_many {
        return header.as_bytes().to_vec();
    }
    header.sections_at.set(64);
    header.section_bytes.set(64);
    header.sections.set(1);
    let mut section = Section64::new_zeroed();
    section
        .info
        .set(u32::try_from(segments).unwrap_or(u32::MAX));
    [header.as_bytes(), section.as_bytes()].concat()
}

/// What the vCPUs are. Nothing says whether an x86 runs 64-bit code; but then something points above 4 GiB.
fn machine(cpus: &[CpuState]) -> u16 {
    let is_narrow = |cpu: &CpuState| match &cpu.registers {
        Registers::X86(r) => {
            let wide = r.rip | r.rsp | r.rax | r.rcx | r.gs_base_kernel | r.gs_base_user;
            wide <= u64::from(u32::MAX) && r.r8_r15 == [0; 8]
        }
        Registers::Arm64(_) => false,
    };
    match cpus.first().map(|cpu| &cpu.registers) {
        Some(Registers::Arm64(_)) => MACHINE_AARCH64,
        Some(Registers::X86(_)) if cpus.iter().all(is_narrow) => MACHINE_386,
        _ => MACHINE_X86_64,
    }
}

fn notes(guest: &Guest, machine: u16) -> Vec<u8> {
    let cpus = &guest.cpus;
    let mut notes = Vec::new();
    for (cpu, number) in cpus.iter().zip(1_u32..) {
        let status = match &cpu.registers {
            Registers::X86(r) if machine == MACHINE_386 => {
                prstatus_32(r, number).as_bytes().to_vec()
            }
            Registers::X86(r) => prstatus_64(r, number).as_bytes().to_vec(),
            Registers::Arm64(r) => prstatus_arm64(r, number).as_bytes().to_vec(),
        };
        note(&mut notes, CORE_NAME, PRSTATUS, &status);
        if let Registers::Arm64(registers) = &cpu.registers
            && let Some(floating) = &registers.floating
        {
            note(
                &mut notes,
                CORE_NAME,
                FPREGSET,
                fpregset_arm64(floating).as_bytes(),
            );
        }
    }
    for registers in cpus.iter().filter_map(|cpu| cpu.registers.x86()) {
        let mut registers = registers.clone();
        if registers.gdtr.is_none() && registers.idtr.is_none() {
            let is_64bit = machine != MACHINE_386;
            let found = tables::of_region(&guest.memory, &registers, is_64bit);
            (registers.gdtr, registers.idtr) = found.unzip();
        }
        let (state, other) = qemu_state(&registers);
        let contents = [state.as_bytes(), &other.to_le_bytes()].concat();
        note(&mut notes, qemu::NOTE_NAME, qemu::NOTE_TYPE, &contents);
    }
    notes
}

fn note(notes: &mut Vec<u8>, name: &[u8], kind: u32, contents: &[u8]) {
    let mut header = NoteHeader::new_zeroed();
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    header.name.set(length(name.len().saturating_add(1)));
    header.contents.set(length(contents.len()));
    header.kind.set(kind);
    notes.extend(header.as_bytes());
    notes.extend(name);
    notes.push(0);
    notes.resize(notes.len().next_multiple_of(4), 0);
    notes.extend(contents);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

/// The GS base that is active, and the one that `swapgs` would bring.
fn gs_bases(r: &X86Registers) -> (u64, u64) {
    if r.cs & 3 == 0 {
        (r.gs_base_kernel, r.gs_base_user)
    } else {
        (r.gs_base_user, r.gs_base_kernel)
    }
}

fn prstatus_64(r: &X86Registers, number: u32) -> Prstatus64 {
    let [r8, r9, r10, r11, r12, r13, r14, r15] = r.r8_r15;
    let wide = |selector: u16| u64::from(selector);
    let mut status = Prstatus64::new_zeroed();
    status.pid.set(number);
    status.registers = [
        r15,
        r14,
        r13,
        r12,
        r.rbp,
        r.rbx,
        r11,
        r10,
        r9,
        r8,
        r.rax,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        // Not in a system call.
        u64::MAX,
        r.rip,
        wide(r.cs),
        r.rflags,
        r.rsp,
        wide(r.ss),
        r.fs_base,
        gs_bases(r).0,
        wide(r.ds),
        wide(r.es),
        wide(r.fs),
        wide(r.gs),
    ]
    .map(Into::into);
    status
}

fn prstatus_32(r: &X86Registers, number: u32) -> Prstatus32 {
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    let wide = |selector: u16| u32::from(selector);
    let mut status = Prstatus32::new_zeroed();
    status.pid.set(number);
    status.registers = [
        low(r.rbx),
        low(r.rcx),
        low(r.rdx),
        low(r.rsi),
        low(r.rdi),
        low(r.rbp),
        low(r.rax),
        wide(r.ds),
        wide(r.es),
        wide(r.fs),
        wide(r.gs),
        u32::MAX,
        low(r.rip),
        wide(r.cs),
        low(r.rflags),
        low(r.rsp),
        wide(r.ss),
    ]
    .map(Into::into);
    status
}

fn prstatus_arm64(r: &Arm64Registers, number: u32) -> PrstatusArm64 {
    let mut status = PrstatusArm64::new_zeroed();
    status.pid.set(number);
    let all = r.x.iter().copied().chain([r.sp, r.pc, r.cpsr.into()]);
    for (slot, value) in status.registers.iter_mut().zip(all) {
        slot.set(value);
    }
    status
}

fn fpregset_arm64(floating: &Arm64Floating) -> FpregsetArm64 {
    let mut state = FpregsetArm64::new_zeroed();
    state.v = floating.v;
    state.fpsr.set(floating.fpsr);
    state.fpcr.set(floating.fpcr);
    state
}

/// QEMU's note, and the GS base that follows it. It has no debug registers and no state of the FPU.
fn qemu_state(r: &X86Registers) -> (qemu::CpuNote, u64) {
    let (active, other) = gs_bases(r);
    let mut note = qemu::CpuNote::new_zeroed();
    note.version.set(qemu::VERSION);
    let size = qemu::KERNEL_GS_BASE.saturating_add(size_of::<u64>());
    note.size.set(u32::try_from(size).unwrap_or(0));
    for (slot, value) in [
        (&mut note.rax, r.rax),
        (&mut note.rbx, r.rbx),
        (&mut note.rcx, r.rcx),
        (&mut note.rdx, r.rdx),
        (&mut note.rsi, r.rsi),
        (&mut note.rdi, r.rdi),
        (&mut note.rsp, r.rsp),
        (&mut note.rbp, r.rbp),
        (&mut note.rip, r.rip),
        (&mut note.rflags, r.rflags),
    ] {
        slot.set(value);
    }
    note.r8_r15 = r.r8_r15.map(Into::into);
    let table = |table: Option<TableRegister>| table.map_or((0, 0), |t| (t.base, t.limit.into()));
    let (gdt, idt) = (table(r.gdtr), table(r.idtr));
    let flat = u32::MAX;
    for (slot, selector, base, limit) in [
        (&mut note.cs, r.cs, 0, flat),
        (&mut note.ds, r.ds, 0, flat),
        (&mut note.es, r.es, 0, flat),
        (&mut note.fs, r.fs, r.fs_base, flat),
        (&mut note.gs, r.gs, active, flat),
        (&mut note.ss, r.ss, 0, flat),
        (&mut note.ldt, r.ldtr.unwrap_or(0), 0, 0),
        (&mut note.tr, r.tr.unwrap_or(0), 0, 0),
        (&mut note.gdt, 0, gdt.0, gdt.1),
        (&mut note.idt, 0, idt.0, idt.1),
    ] {
        slot.selector.set(selector.into());
        slot.base.set(base);
        slot.limit.set(limit);
    }
    note.cr = [r.cr0, 0, r.cr2, r.cr3, r.cr4].map(Into::into);
    (note, other)
}
