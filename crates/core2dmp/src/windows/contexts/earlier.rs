//! Where a processor's thread last gave its processor away: what memory proves of a running guest whose container has
//! no registers.
//!
//! ```text
//! PRCB -> CurrentThread -> KernelStack  (KSWITCH_FRAME, other words)  return address  ... InitialStack
//!                                                                     RIP             RSP behind it
//! ```
//!
//! A KTHREAD's `KernelStack` is its stack pointer when it was switched from. The first word at or above it that is
//! the address behind a call of an image's code is where it goes on; what the thread did since is not in memory.
//! Selectors are those that Windows gives all of its kernel code. No other register is known, and the flags claim none.
//!
//! Sources: `KTHREAD` and `KSWITCH_FRAME` of Windows' public symbols; the selectors `KGDT64_R0_CODE` and others of
//! ntddk.h; offsets are the debugger data block's own.

use zerocopy::{FromZeros, IntoBytes};

use crate::address::Gva;
use crate::format::context::{
    ContextAmd64, ContextArm64, ContextX86, FLAGS_AMD64_CONTROL, FLAGS_ARM64_CONTROL,
    FLAGS_X86_CONTROL,
};
use crate::format::kdbg::{OFFSET_KTHREAD_INITIAL_STACK, OFFSET_KTHREAD_KERNEL_STACK};
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::Windows;
use crate::windows::processors::Processor;
use crate::windows::unwind::Unwinder;

/// Words above `KernelStack` that are looked at: a switch frame has 8, and what its caller saved follows.
const MAX_WORDS: u64 = 64;
/// What Intel says is always set in EFLAGS.
const EFLAGS_FIXED: u32 = 2;

/// A `CONTEXT` of what is proven; `None` if nothing is.
pub(super) fn context(
    space: &AddressSpace<'_>,
    windows: &Windows,
    processor: &Processor,
) -> Option<Vec<u8>> {
    let block = &windows.kdbg.value;
    let thread = processor.thread?;
    let field = |offset| {
        let offset = u64::from(block.offset(offset)?);
        space.pointer(thread.checked_add(offset)?).ok()
    };
    let bottom = field(OFFSET_KTHREAD_KERNEL_STACK)?;
    let top = field(OFFSET_KTHREAD_INITIAL_STACK)?;
    let bytes = top.get().checked_sub(bottom.get())?;
    let mode = space.mode();
    if !mode.is_kernel(bottom) {
        return None;
    }
    let word = mode.pointer_bytes() as u64;
    let unwinder = Unwinder::of(windows, space);
    let words = bytes.checked_div(word)?.min(MAX_WORDS);
    (0..words).find_map(|index| {
        let slot = bottom.checked_add(index.checked_mul(word)?)?;
        let ip = space.pointer(slot).ok()?;
        let sp = slot.checked_add(word)?;
        unwinder.is_return(ip).then(|| encode(mode, ip, sp))
    })
}

fn encode(mode: PagingMode, ip: Gva, sp: Gva) -> Vec<u8> {
    match mode {
        PagingMode::X64 | PagingMode::X64La57 => {
            let mut context = ContextAmd64::new_zeroed();
            context.context_flags.set(FLAGS_AMD64_CONTROL);
            context.seg_cs.set(0x10);
            context.seg_ss.set(0x18);
            for segment in [
                &mut context.seg_ds,
                &mut context.seg_es,
                &mut context.seg_gs,
            ] {
                segment.set(0x2b);
            }
            context.seg_fs.set(0x53);
            context.eflags.set(EFLAGS_FIXED);
            context.rip.set(ip.get());
            context.rsp.set(sp.get());
            context.as_bytes().to_vec()
        }
        PagingMode::X86 | PagingMode::X86Pae => {
            let mut context = ContextX86::new_zeroed();
            let low = |gva: Gva| (gva.get() & 0xffff_ffff) as u32;
            context.context_flags.set(FLAGS_X86_CONTROL);
            context.seg_cs.set(0x8);
            context.seg_ss.set(0x10);
            context.seg_ds.set(0x23);
            context.seg_es.set(0x23);
            context.seg_fs.set(0x30);
            context.eflags.set(EFLAGS_FIXED);
            context.eip.set(low(ip));
            context.esp.set(low(sp));
            context.as_bytes().to_vec()
        }
        PagingMode::Arm64 => {
            let mut context = ContextArm64::new_zeroed();
            context.context_flags.set(FLAGS_ARM64_CONTROL);
            context.pc.set(ip.get());
            context.sp.set(sp.get());
            context.as_bytes().to_vec()
        }
    }
}
