//! The registers of a chosen context by name, those of x64 for x86 too, as docs/json.md has them.

use core2dmp::container::dmp::DumpFile;
use core2dmp::header::{
    ContextAmd64, ContextArm64, ContextX86, FieldId, FieldValue, MACHINE_ARM64, MACHINE_X64,
    MACHINE_X86, SpecialAmd64, SpecialX86,
};
use core2dmp::windows::ProcessorContext;
use zerocopy::FromBytes;

/// Names and values in the order in which they are printed; empty if there is no context.
pub(crate) fn list(context: &ProcessorContext) -> Vec<(&'static str, u64)> {
    let mut registers = general(&context.context);
    if !registers.is_empty() {
        registers.extend(control(&context.special));
    }
    registers
}

/// The registers in a dump's header; empty if there is none, or the header ends before it.
pub(crate) fn of_header(dump: &DumpFile) -> Vec<(&'static str, u64)> {
    let Some(FieldValue::Bytes(bytes)) = dump.value(FieldId::ContextRecord) else {
        return Vec::new();
    };
    let size = match dump
        .machine()
        .and_then(|machine| u32::try_from(machine).ok())
    {
        Some(MACHINE_X64) => size_of::<ContextAmd64>(),
        Some(MACHINE_ARM64) => size_of::<ContextArm64>(),
        Some(MACHINE_X86) => size_of::<ContextX86>(),
        _ => return Vec::new(),
    };
    bytes.get(..size).map_or_else(Vec::new, general)
}

fn general(bytes: &[u8]) -> Vec<(&'static str, u64)> {
    if let Ok(context) = ContextAmd64::ref_from_bytes(bytes) {
        return amd64(context);
    }
    if let Ok(context) = ContextArm64::ref_from_bytes(bytes) {
        return arm64(context);
    }
    let Ok(context) = ContextX86::ref_from_bytes(bytes) else {
        return Vec::new();
    };
    let selector = |value: u32| u64::from(value & 0xffff);
    vec![
        ("rax", u64::from(context.eax.get())),
        ("rbx", u64::from(context.ebx.get())),
        ("rcx", u64::from(context.ecx.get())),
        ("rdx", u64::from(context.edx.get())),
        ("rsi", u64::from(context.esi.get())),
        ("rdi", u64::from(context.edi.get())),
        ("rsp", u64::from(context.esp.get())),
        ("rbp", u64::from(context.ebp.get())),
        ("rip", u64::from(context.eip.get())),
        ("rflags", u64::from(context.eflags.get())),
        ("cs", selector(context.seg_cs.get())),
        ("ss", selector(context.seg_ss.get())),
        ("ds", selector(context.seg_ds.get())),
        ("es", selector(context.seg_es.get())),
        ("fs", selector(context.seg_fs.get())),
        ("gs", selector(context.seg_gs.get())),
    ]
}

fn amd64(context: &ContextAmd64) -> Vec<(&'static str, u64)> {
    let [r8, r9, r10, r11, r12, r13, r14, r15] = context.r8_r15.map(zerocopy::U64::get);
    vec![
        ("rax", context.rax.get()),
        ("rbx", context.rbx.get()),
        ("rcx", context.rcx.get()),
        ("rdx", context.rdx.get()),
        ("rsi", context.rsi.get()),
        ("rdi", context.rdi.get()),
        ("rsp", context.rsp.get()),
        ("rbp", context.rbp.get()),
        ("r8", r8),
        ("r9", r9),
        ("r10", r10),
        ("r11", r11),
        ("r12", r12),
        ("r13", r13),
        ("r14", r14),
        ("r15", r15),
        ("rip", context.rip.get()),
        ("rflags", u64::from(context.eflags.get())),
        ("cs", u64::from(context.seg_cs.get())),
        ("ss", u64::from(context.seg_ss.get())),
        ("ds", u64::from(context.seg_ds.get())),
        ("es", u64::from(context.seg_es.get())),
        ("fs", u64::from(context.seg_fs.get())),
        ("gs", u64::from(context.seg_gs.get())),
    ]
}

fn arm64(context: &ContextArm64) -> Vec<(&'static str, u64)> {
    const X: [&str; 31] = [
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "fp", "lr",
    ];
    let general = X.into_iter().zip(context.x.map(zerocopy::U64::get));
    let rest = [
        ("sp", context.sp.get()),
        ("pc", context.pc.get()),
        ("cpsr", u64::from(context.cpsr.get())),
    ];
    general.chain(rest).collect()
}

fn control(bytes: &[u8]) -> Vec<(&'static str, u64)> {
    if let Ok(special) = SpecialAmd64::ref_from_bytes(bytes) {
        return vec![
            ("cr0", special.cr0.get()),
            ("cr2", special.cr2.get()),
            ("cr3", special.cr3.get()),
            ("cr4", special.cr4.get()),
        ];
    }
    let Ok(special) = SpecialX86::ref_from_bytes(bytes) else {
        return Vec::new();
    };
    vec![
        ("cr0", u64::from(special.cr0.get())),
        ("cr2", u64::from(special.cr2.get())),
        ("cr3", u64::from(special.cr3.get())),
        ("cr4", u64::from(special.cr4.get())),
    ]
}
