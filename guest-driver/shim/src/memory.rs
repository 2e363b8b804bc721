//! The pages, and the debugger block in the second of them. Everything here runs at the start, none of it later.

use core::ffi::c_void;

use guest_record::{PAGE_BYTES, PAGES, find_block, place};

use crate::machine::Kernel;
use crate::nt;

/// `MmAllocateContiguousNodeMemory` (wdm.h): Windows 8 and later.
type AllocateOnNode = unsafe extern "system" fn(usize, i64, i64, i64, u32, u32) -> *mut c_void;
/// `PAGE_READWRITE` and `MM_ANY_NODE_OK`: memory that cannot be executed, as HVCI wants it.
const READ_WRITE: u32 = 4;
const ANY_NODE: u32 = 0x8000_0000;

/// `KeCapturePersistentThreadState`, as virtio-win declares it.
type CaptureState = unsafe extern "system" fn(
    *const c_void,
    *const c_void,
    u32,
    usize,
    usize,
    usize,
    usize,
    *mut c_void,
) -> u32;
/// `RtlCaptureContext`.
type CaptureContext = unsafe extern "system" fn(*mut c_void);
/// What it writes at most; and a page behind it for a `CONTEXT`.
const TRIAGE_BYTES: usize = 0x4_0000;
const CONTEXT_ROOM: usize = PAGE_BYTES as usize;

/// The pages of the record: physically contiguous, never paged out.
#[derive(Clone, Copy)]
pub(crate) struct Pages(*mut u64);

impl Pages {
    /// Zeroed pages.
    pub(crate) fn allocate() -> Option<Self> {
        let bytes = PAGES.wrapping_mul(PAGE_BYTES) as usize;
        Some(Self(allocate(bytes)?.cast()))
    }

    /// Gives the pages back.
    pub(crate) fn free(&self) {
        // SAFETY: they were allocated by `allocate`, and nothing uses them any more.
        unsafe { nt::MmFreeContiguousMemory(self.0.cast()) };
    }

    /// Physical and virtual address of the first page.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        // SAFETY: the pages are mapped.
        let gpa = unsafe { nt::MmGetPhysicalAddress(self.0.cast()) };
        (gpa.cast_unsigned(), self.address())
    }

    /// The virtual address of the first page, without a sign on 32 bit.
    fn address(&self) -> u64 {
        u64::try_from(self.0.addr()).unwrap_or(0)
    }

    /// The place at an offset.
    pub(crate) fn at(&self, offset: u32) -> *mut u64 {
        self.0.wrapping_byte_add(offset as usize)
    }
}

/// Physically contiguous, page-aligned, nonpaged and zeroed; not executable where Windows can do that.
fn allocate(bytes: usize) -> Option<*mut c_void> {
    const NODE: [u16; 30] = nt::wide(b"MmAllocateContiguousNodeMemory");
    let memory = match nt::look_up(&NODE) {
        Some(address) => {
            // SAFETY: the export of this name is that function in every Windows that has it.
            let allocate = unsafe { core::mem::transmute::<*mut c_void, AllocateOnNode>(address) };
            // SAFETY: any address will do, without a boundary; the caller is at PASSIVE_LEVEL.
            unsafe { allocate(bytes, 0, i64::MAX, 0, READ_WRITE, ANY_NODE) }
        }
        // SAFETY: any address will do; the caller is at PASSIVE_LEVEL.
        None => unsafe { nt::MmAllocateContiguousMemory(bytes, i64::MAX) },
    };
    if memory.is_null() {
        return None;
    }
    // SAFETY: as many bytes were allocated, and nobody else has them yet.
    unsafe { memory.cast::<u8>().write_bytes(0, bytes) };
    Some(memory)
}

/// Lets Windows write a small dump, whose debugger block it decodes, and copies that block into its page. Its size;
/// `None` where Windows cannot do it.
pub(crate) fn capture_block(kernel: &Kernel) -> Option<u32> {
    const CAPTURE: [u16; 30] = nt::wide(b"KeCapturePersistentThreadState");
    let address = nt::look_up(&CAPTURE)?;
    // SAFETY: the export of this name is that function in every Windows that has it.
    let capture = unsafe { core::mem::transmute::<*mut c_void, CaptureState>(address) };
    let memory = allocate(TRIAGE_BYTES.wrapping_add(CONTEXT_ROOM))?;
    let context = memory.wrapping_byte_add(TRIAGE_BYTES);
    capture_context(context);
    // SAFETY: the buffer has the size that the function writes at most; no thread means the current one, and there is
    // no stop code yet.
    unsafe { capture(context, core::ptr::null(), 0, 0, 0, 0, 0, memory) };
    // SAFETY: as many bytes were allocated, zeroed, and then written by Windows, which is done with them.
    let dump = unsafe { core::slice::from_raw_parts(memory.cast::<u8>(), TRIAGE_BYTES) };
    let block = find_block(dump, nt::WIDTH).and_then(|block| copy_block(kernel, dump, block));
    // SAFETY: it was allocated above; `dump` is not used any more.
    unsafe { nt::MmFreeContiguousMemory(memory) };
    block
}

/// Registers for the small dump: it is thrown away, so zeros do where Windows cannot tell them.
fn capture_context(context: *mut c_void) {
    const CONTEXT: [u16; 17] = nt::wide(b"RtlCaptureContext");
    if let Some(address) = nt::look_up(&CONTEXT) {
        // SAFETY: the export of this name is that function in every Windows that has it.
        let capture = unsafe { core::mem::transmute::<*mut c_void, CaptureContext>(address) };
        // SAFETY: a page is more than any CONTEXT, and aligned.
        unsafe { capture(context) };
    }
}

fn copy_block(kernel: &Kernel, dump: &[u8], block: guest_record::BlockPlace) -> Option<u32> {
    use guest_record::Machine;

    let start = block.offset as usize;
    let bytes = dump.get(start..start.wrapping_add(block.bytes as usize))?;
    let mut at = place::BLOCK;
    for word in bytes.chunks(8) {
        let mut whole = [0; 8];
        for (to, from) in whole.iter_mut().zip(word) {
            *to = *from;
        }
        kernel.store(at, u64::from_le_bytes(whole));
        at = at.wrapping_add(8);
    }
    Some(block.bytes)
}
