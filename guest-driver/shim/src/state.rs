//! The one driver, where callbacks find it.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_record::{Teller, Writer};

use crate::machine::Kernel;
use crate::nt::DriverObject;

/// Everything that lives as long as the driver.
pub(crate) struct Driver {
    pub(crate) object: *mut DriverObject,
    pub(crate) kernel: Kernel,
    pub(crate) writer: Writer,
    pub(crate) teller: Teller,
}

/// A place for the driver in its own image, which is never paged out.
pub(crate) struct State {
    is_set: AtomicBool,
    driver: UnsafeCell<MaybeUninit<Driver>>,
}

// SAFETY: the driver is written once, before `is_set`, and only read afterwards; what changes in it is atomic or, in
// the pages, guarded by the writer.
unsafe impl Sync for State {}

pub(crate) static STATE: State = State {
    is_set: AtomicBool::new(false),
    driver: UnsafeCell::new(MaybeUninit::uninit()),
};

impl State {
    /// Called once, by `DriverEntry`, before anything that reads.
    pub(crate) fn set(&self, driver: Driver) {
        // SAFETY: nothing reads before `is_set`, and Windows calls `DriverEntry` once.
        unsafe { (*self.driver.get()).write(driver) };
        self.is_set.store(true, Ordering::Release);
    }

    /// The driver, while it is loaded.
    pub(crate) fn get(&self) -> Option<&Driver> {
        let is_set = self.is_set.load(Ordering::Acquire);
        // SAFETY: it was written before `is_set`, and nothing writes it again while it is.
        is_set.then(|| unsafe { (*self.driver.get()).assume_init_ref() })
    }

    /// Called once, by `unload`, after everything that reads.
    pub(crate) fn clear(&self) {
        self.is_set.store(false, Ordering::Release);
    }
}
