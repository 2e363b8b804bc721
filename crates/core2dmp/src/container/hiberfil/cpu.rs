//! The processor that hibernated: its registers are in a page of their own before the memory.
//!
//! ```text
//! 64 bit   KSPECIAL_REGISTERS | CONTEXT      at 0xe0, since Windows 10 (15063) at 0xf0
//! 32 bit   CONTEXT | KSPECIAL_REGISTERS
//! ```
//!
//! The page is 1, 2 or 4, by version (volatility, `HibrProcPage`); its contents show which.

use zerocopy::FromBytes;

use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::format::context::{ContextAmd64, ContextX86, SpecialAmd64, SpecialX86};
use crate::format::hiberfil::{CONTEXT_AMD64, SPECIAL_X86};
use crate::source::{ReadAt, fill_at};

/// Pages that are looked at.
const SEARCHED_PAGES: u64 = 64;
/// `ContextFlags`: which processor, and the bits that no context of another kind has.
const KIND: u32 = 0x00f7_0000;
const AMD64: u32 = 0x0010_0000;
const X86: u32 = 0x0001_0000;
/// `ContextFlags`: control and integer registers.
const BOTH: u32 = 3;
/// Physical addresses have 52 bits.
const MAX_ROOT: u64 = 1 << 52;

/// The processor in the pages before `end`, and its page.
pub(super) fn find(source: &dyn ReadAt, end: u64, wide: bool) -> Option<(u64, CpuState)> {
    let pages = 1..end.min(SEARCHED_PAGES);
    pages.into_iter().find_map(|number| {
        let mut page = [0; PAGE_BYTES];
        let read = fill_at(source, number.saturating_mul(PAGE_SIZE), &mut page).ok()?;
        let page = page.get(..usize::try_from(read).ok()?)?;
        let registers = if wide { amd64(page) } else { x86(page) }?;
        let registers = Some(registers).filter(is_kernel)?;
        let cpu = CpuState {
            index: 0,
            online: true,
            registers: Registers::X86(Box::new(registers)),
        };
        Some((number, cpu))
    })
}

/// Whether a running kernel has such registers.
fn is_kernel(registers: &X86Registers) -> bool {
    registers.has_paging()
        && registers.cs != 0
        && registers.rip != 0
        && registers.rsp != 0
        && (1..MAX_ROOT).contains(&registers.cr3)
}

fn amd64(page: &[u8]) -> Option<X86Registers> {
    let (special, _) = SpecialAmd64::read_from_prefix(page).ok()?;
    let context = CONTEXT_AMD64.into_iter().find_map(|at| {
        let (context, _) = ContextAmd64::read_from_prefix(page.get(at..)?).ok()?;
        let flags = context.context_flags.get();
        (flags & KIND == AMD64 && flags & BOTH == BOTH).then_some(context)
    })?;
    let (base, swap) = (special.msr_gs_base.get(), special.msr_gs_swap.get());
    // Between entry and SWAPGS the two are exchanged.
    let is_user = base >> 63 == 0 && swap >> 63 == 1;
    let (gs_base_kernel, gs_base_user) = if is_user { (swap, base) } else { (base, swap) };
    let table = |base: u64, limit: u16| (base != 0).then_some(TableRegister { base, limit });
    Some(X86Registers {
        rax: context.rax.get(),
        rbx: context.rbx.get(),
        rcx: context.rcx.get(),
        rdx: context.rdx.get(),
        rsi: context.rsi.get(),
        rdi: context.rdi.get(),
        rsp: context.rsp.get(),
        rbp: context.rbp.get(),
        r8_r15: context.r8_r15.map(Into::into),
        rip: context.rip.get(),
        rflags: u64::from(context.eflags.get()),
        cs: context.seg_cs.get(),
        ss: context.seg_ss.get(),
        ds: context.seg_ds.get(),
        es: context.seg_es.get(),
        fs: context.seg_fs.get(),
        gs: context.seg_gs.get(),
        fs_base: 0,
        gs_base_kernel,
        gs_base_user,
        cr0: special.cr0.get(),
        cr2: special.cr2.get(),
        cr3: special.cr3.get(),
        cr4: special.cr4.get(),
        dr: Some(special.dr.map(Into::into)),
        fxsave: Some(context.flt_save),
        gdtr: table(special.gdtr.base.get(), special.gdtr.limit.get()),
        idtr: table(special.idtr.base.get(), special.idtr.limit.get()),
        tr: Some(special.tr.get()),
        ldtr: Some(special.ldtr.get()),
    })
}

fn x86(page: &[u8]) -> Option<X86Registers> {
    let (context, _) = ContextX86::read_from_prefix(page).ok()?;
    let (special, _) = SpecialX86::read_from_prefix(page.get(SPECIAL_X86..)?).ok()?;
    let flags = context.context_flags.get();
    if flags & KIND != X86 || flags & BOTH != BOTH {
        return None;
    }
    let wide = |value: zerocopy::little_endian::U32| u64::from(value.get());
    let selector = |value: zerocopy::little_endian::U32| (value.get() & 0xffff) as u16;
    let table = |base: u64, limit: u16| (base != 0).then_some(TableRegister { base, limit });
    Some(X86Registers {
        rax: wide(context.eax),
        rbx: wide(context.ebx),
        rcx: wide(context.ecx),
        rdx: wide(context.edx),
        rsi: wide(context.esi),
        rdi: wide(context.edi),
        rsp: wide(context.esp),
        rbp: wide(context.ebp),
        r8_r15: [0; 8],
        rip: wide(context.eip),
        rflags: wide(context.eflags),
        cs: selector(context.seg_cs),
        ss: selector(context.seg_ss),
        ds: selector(context.seg_ds),
        es: selector(context.seg_es),
        fs: selector(context.seg_fs),
        gs: selector(context.seg_gs),
        // The base of FS, the control region, is in no structure: the processor is recognised by its GDT.
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
        cr0: wide(special.cr0),
        cr2: wide(special.cr2),
        cr3: wide(special.cr3),
        cr4: wide(special.cr4),
        dr: Some(special.dr.map(wide)),
        fxsave: Some(context.extended),
        gdtr: table(wide(special.gdtr_base), special.gdtr_limit.get()),
        idtr: table(wide(special.idtr_base), special.idtr_limit.get()),
        tr: Some(special.tr.get()),
        ldtr: Some(special.ldtr.get()),
    })
}
