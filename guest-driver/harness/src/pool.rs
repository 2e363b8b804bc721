//! Memory that a driver of any width can address: below 2 GiB, at the same place for the harness and the driver.
//!
//! ```text
//! 000000 image | 100000 stubs of Windows' functions | 101000 KUSER_SHARED_DATA | 110000 stacks | 140000 heap
//! ```

use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all of it.
pub(crate) const BYTES: usize = 4 << 20;
/// Where the driver's image is.
pub(crate) const IMAGE: usize = 0;
/// Room for the image.
pub(crate) const IMAGE_BYTES: usize = 0x10_0000;
/// A page of code: what the driver's imports lead to.
pub(crate) const STUBS: usize = 0x10_0000;
/// `KUSER_SHARED_DATA`.
pub(crate) const SHARED: usize = 0x10_1000;
/// Stacks of emulated processors.
pub(crate) const STACKS: usize = 0x11_0000;
/// Bytes of one of them.
pub(crate) const STACK_BYTES: usize = 0x1_0000;
/// Everything else.
const HEAP: usize = 0x14_0000;
/// What memory holds that nobody has written.
const RUBBISH: u8 = 0xa5;

static BASE: OnceLock<usize> = OnceLock::new();
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Where the pool begins.
pub(crate) fn base() -> usize {
    *BASE.get_or_init(|| {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping of nothing.
        let at = unsafe { libc::mmap(null_mut(), BYTES, rights, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap");
        at.addr()
    })
}

/// Gives everything back, writable and full of rubbish.
pub(crate) fn reset() {
    protect(IMAGE, BYTES, libc::PROT_READ | libc::PROT_WRITE);
    let heap = (base() + HEAP) as *mut u8;
    // SAFETY: the rest of the pool, which nobody uses any more.
    unsafe { heap.write_bytes(RUBBISH, BYTES - HEAP) };
    NEXT.store(base() + HEAP, Ordering::SeqCst);
}

/// Changes the rights of a part.
pub(crate) fn protect(at: usize, bytes: usize, rights: libc::c_int) {
    assert!(at + bytes <= BYTES, "outside the pool");
    let start = (base() + at) as *mut libc::c_void;
    // SAFETY: the range is inside the mapping; parts begin at pages.
    let changed = unsafe { libc::mprotect(start, bytes.next_multiple_of(0x1000), rights) };
    assert_eq!(changed, 0, "mprotect");
}

/// Bytes of the heap, full of rubbish.
pub(crate) fn take(bytes: usize, align: usize) -> usize {
    let next = NEXT.load(Ordering::SeqCst).next_multiple_of(align);
    assert!(next + bytes <= base() + BYTES, "the pool is empty");
    NEXT.store(next + bytes, Ordering::SeqCst);
    next
}

/// Writes rubbish where something was freed.
pub(crate) fn forget(at: usize, bytes: usize) {
    slice(at, bytes).fill(RUBBISH);
}

/// Bytes of the pool, or of a stack of the harness.
pub(crate) fn slice(at: usize, bytes: usize) -> &'static mut [u8] {
    // SAFETY: callers name memory of the pool, which lives as long as the process; two threads never use the same
    // part of it at once, except the driver's own pages, whose words are read one by one.
    unsafe { std::slice::from_raw_parts_mut(at as *mut u8, bytes) }
}

/// A number of 2, 4 or 8 bytes.
pub(crate) fn number(at: usize, bytes: usize) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes].copy_from_slice(slice(at, bytes));
    u64::from_le_bytes(whole)
}

/// Writes a number of 2, 4 or 8 bytes.
pub(crate) fn put(at: usize, bytes: usize, value: u64) {
    slice(at, bytes).copy_from_slice(&value.to_le_bytes()[..bytes]);
}
