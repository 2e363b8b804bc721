//! A thread of System that looks, now and then, whether memory was added. Windows has no callback for that which
//! every way of adding memory calls.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use guest_record::Poll;

use crate::events::{self, Event};
use crate::nt::{self, ObjectAttributes};
use crate::state::STATE;

/// `NotificationEvent`, `Executive`, `KernelMode`, `THREAD_ALL_ACCESS`.
const NOTIFICATION: i32 = 0;
const EXECUTIVE: i32 = 0;
const KERNEL_MODE: i8 = 0;
const ALL_ACCESS: u32 = 0x1f_ffff;
/// What a wait returns that was not ended by the event.
const STATUS_TIMEOUT: nt::NtStatus = 0x102;
/// Units of a timeout in a second; negative is from now on.
const PER_SECOND: i64 = -10_000_000;

/// An event that Windows keeps in its lists.
struct Stop(UnsafeCell<nt::Event>);

// SAFETY: the driver only has its address; Windows guards what is in it.
unsafe impl Sync for Stop {}

static STOP: Stop = Stop(UnsafeCell::new(nt::Event([0; 4])));
static THREAD: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
static SECONDS: AtomicU32 = AtomicU32::new(0);

/// Starts it, unless it is not wanted. Without it the boot header stays as it is, which is no reason to fail.
pub(crate) fn start(seconds: u32) {
    if seconds == 0 {
        return;
    }
    SECONDS.store(seconds, Ordering::Release);
    // SAFETY: the event is in the driver's image, and is not used yet.
    unsafe { nt::KeInitializeEvent(STOP.0.get(), NOTIFICATION, 0) };
    let attributes = ObjectAttributes {
        length: size_of::<ObjectAttributes>() as u32,
        root: core::ptr::null_mut(),
        name: core::ptr::null(),
        attributes: nt::KERNEL_HANDLE,
        security: core::ptr::null_mut(),
        quality: core::ptr::null_mut(),
    };
    let none = core::ptr::null_mut();
    let mut thread = core::ptr::null_mut();
    let (to, how) = (&raw mut thread, &raw const attributes);
    // SAFETY: no process means System; the routine is in the driver, which `stop` keeps loaded until it has ended.
    let status = unsafe { nt::PsCreateSystemThread(to, ALL_ACCESS, how, none, none, run, none) };
    if status >= 0 {
        THREAD.store(thread, Ordering::Release);
    }
}

/// Ends it, and waits until it has.
pub(crate) fn stop() {
    let thread = THREAD.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if thread.is_null() {
        return;
    }
    // SAFETY: the event was initialised before the thread was made.
    unsafe { nt::KeSetEvent(STOP.0.get(), 0, 0) };
    // SAFETY: the handle is open; no timeout means as long as it takes.
    unsafe { nt::ZwWaitForSingleObject(thread, 0, core::ptr::null()) };
    // SAFETY: the handle is open, and is not used again.
    unsafe { nt::ZwClose(thread) };
}

extern "system" fn run(_: *mut c_void) {
    let timeout = i64::from(SECONDS.load(Ordering::Acquire)).wrapping_mul(PER_SECOND);
    let mut has_failed = false;
    loop {
        let (event, how_long) = (STOP.0.get(), &raw const timeout);
        // SAFETY: the event was initialised before the thread was made, and lives as long as the driver.
        let waited =
            unsafe { nt::KeWaitForSingleObject(event, EXECUTIVE, KERNEL_MODE, 0, how_long) };
        let Some(driver) = STATE.get().filter(|_| waited == STATUS_TIMEOUT) else {
            break;
        };
        let (object, (gpa, _)) = (driver.object.cast(), driver.kernel.pages.addresses());
        match driver.writer.poll(&driver.kernel) {
            Poll::Renewed => events::log(object, Event::Renewed, nt::STATUS_SUCCESS, gpa),
            // Once: a log full of the same entry helps nobody.
            Poll::Failed(status) if !has_failed => {
                has_failed = true;
                events::log(object, Event::NotRenewed, status, gpa);
            }
            Poll::Same | Poll::Failed(_) | Poll::Crashing => {}
        }
    }
    // SAFETY: this is the thread's own end; it holds nothing.
    unsafe { nt::PsTerminateSystemThread(nt::STATUS_SUCCESS) };
}
