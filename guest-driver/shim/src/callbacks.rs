//! The bug check: four kinds of callback, whichever Windows calls first. All of it runs at `HIGH_LEVEL`.
//!
//! ```text
//! KbCallbackTriageDumpData   Windows 10 1809 and later   stop code and parameters
//! KbCallbackAddPages         Vista SP1 and later         the record's pages go into a kernel dump, too
//! KbCallbackDumpIo           XP SP1 and later            never looks at the buffer that Windows writes
//! plain                      all; after the dump
//! ```
//!
//! A kind that this Windows does not know is not registered, which is no error.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::zeroed;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_record::{PAGES, StopCode};

use crate::host;
use crate::nt::{self, AddPages, PlainRecord, Reason, ReasonRecord, ReasonRoutine, TriageDumpData};
use crate::state::STATE;

/// What Windows names the callbacks by.
const COMPONENT: &[u8; 9] = b"core2dmp\0";

/// A record that Windows keeps in its lists.
struct Record<T> {
    is_registered: AtomicBool,
    record: UnsafeCell<T>,
}

// SAFETY: between registering and deregistering the record is Windows', which guards it; the driver only has its address.
unsafe impl<T> Sync for Record<T> {}

impl<T> Record<T> {
    const fn new() -> Self {
        Self {
            is_registered: AtomicBool::new(false),
            // SAFETY: both records are numbers, of which zeros are what Windows expects first.
            record: UnsafeCell::new(unsafe { zeroed() }),
        }
    }
}

static TRIAGE: Record<ReasonRecord> = Record::new();
static ADD_PAGES: Record<ReasonRecord> = Record::new();
static DUMP_IO: Record<ReasonRecord> = Record::new();
static PLAIN: Record<PlainRecord> = Record::new();

/// Reasons and their records.
fn reasons() -> [(&'static Record<ReasonRecord>, ReasonRoutine, Reason); 3] {
    [
        (&TRIAGE, on_triage, Reason::TRIAGE),
        (&ADD_PAGES, on_add_pages, Reason::ADD_PAGES),
        (&DUMP_IO, on_dump_io, Reason::DUMP_IO),
    ]
}

/// Registers what this Windows knows.
pub(crate) fn register() {
    for (record, routine, reason) in reasons() {
        let (at, component) = (record.record.get(), COMPONENT.as_ptr());
        // SAFETY: record and name are in the driver's image and stay there until `deregister`.
        let known = unsafe { nt::KeRegisterBugCheckReasonCallback(at, routine, reason, component) };
        record.is_registered.store(known != 0, Ordering::Release);
    }
    let (at, none) = (PLAIN.record.get(), core::ptr::null_mut());
    // SAFETY: as above; there is no buffer.
    let known =
        unsafe { nt::KeRegisterBugCheckCallback(at, on_plain, none, 0, COMPONENT.as_ptr()) };
    PLAIN.is_registered.store(known != 0, Ordering::Release);
}

/// Takes all back.
pub(crate) fn deregister() {
    for (record, _, _) in reasons() {
        if record.is_registered.swap(false, Ordering::AcqRel) {
            // SAFETY: it was registered.
            unsafe { nt::KeDeregisterBugCheckReasonCallback(record.record.get()) };
        }
    }
    if PLAIN.is_registered.swap(false, Ordering::AcqRel) {
        // SAFETY: it was registered.
        unsafe { nt::KeDeregisterBugCheckCallback(PLAIN.record.get()) };
    }
}

/// What Windows passes with a reason, if it is as large as the driver knows it.
fn data<'a, T>(data: *mut c_void, bytes: u32) -> Option<&'a mut T> {
    if data.is_null() || (bytes as usize) < size_of::<T>() {
        return None;
    }
    // SAFETY: Windows passes a structure of this kind with this reason, and it is at least this large.
    Some(unsafe { &mut *data.cast() })
}

extern "system" fn on_triage(_: Reason, _: *mut ReasonRecord, given: *mut c_void, bytes: u32) {
    let told = data::<TriageDumpData>(given, bytes).map(|triage| StopCode {
        code: triage.bug_check_code,
        parameters: triage
            .parameters
            .map(|value| u64::try_from(value).unwrap_or(0)),
    });
    crash(told);
}

extern "system" fn on_add_pages(_: Reason, _: *mut ReasonRecord, given: *mut c_void, bytes: u32) {
    let request = data::<AddPages>(given, bytes);
    let told = request.as_ref().map(|request| StopCode {
        code: request.bug_check_code,
        parameters: [0; 4],
    });
    crash(told);
    if let (Some(request), Some(driver)) = (request, STATE.get()) {
        request.address = driver.kernel.pages.at(0).addr();
        request.count = PAGES as usize;
        request.flags = nt::ADD_PAGES_VIRTUAL;
    }
}

extern "system" fn on_dump_io(_: Reason, _: *mut ReasonRecord, _: *mut c_void, _: u32) {
    crash(None);
}

extern "system" fn on_plain(_: *mut c_void, _: u32) {
    crash(None);
    if let Some(driver) = STATE.get() {
        for word in driver.teller.ended().into_iter().flatten() {
            host::tell(word);
        }
    }
}

/// What all of them do; only the first of them does anything.
fn crash(told: Option<StopCode>) {
    if let Some(driver) = STATE.get() {
        if let Some(word) = driver.teller.begun() {
            host::tell(word);
        }
        let told = told.filter(|told| told.code != 0);
        driver.writer.crash(&driver.kernel, told);
    }
}
