//! The driver: what Windows calls, and what it calls in Windows. All decisions are in `guest-record`.
//!
//! ```text
//! DriverEntry -> memory (pages, block) -> Writer::start -> callbacks, thread
//! callbacks   -> Writer::crash                                at HIGH_LEVEL
//! thread      -> Writer::poll, once a minute
//! unload      -> thread, callbacks, Writer::stop, pages
//! ```
//!
//! All unsafe code of the driver is in this crate. Each block names what makes it sound. It is built by
//! `cargo xtask driver`; README.md says what a build needs.

#![no_std]
#![no_main]

mod callbacks;
mod events;
mod host;
mod machine;
mod memory;
mod nt;
mod settings;
mod state;
mod thread;

use guest_record::{Started, Teller, Writer};

use crate::events::Event;
use crate::nt::{DriverObject, NtStatus, UnicodeString};
use crate::state::{Driver, STATE};

/// What Windows calls first, in the context of System.
///
/// # Safety
/// Windows passes the driver's own object and the path of its service's key, both valid during the call.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver: *mut DriverObject,
    registry_path: *const UnicodeString,
) -> NtStatus {
    match start(driver, registry_path) {
        Ok(()) => nt::STATUS_SUCCESS,
        Err(status) => {
            events::log(driver.cast(), Event::NotStarted, status, 0);
            status
        }
    }
}

fn start(driver: *mut DriverObject, registry_path: *const UnicodeString) -> Result<(), NtStatus> {
    let settings = settings::read(registry_path);
    let pages = memory::Pages::allocate().ok_or(nt::STATUS_INSUFFICIENT_RESOURCES)?;
    let kernel = machine::Kernel::new(pages);
    let block = memory::capture_block(&kernel);
    let started = Writer::start(
        &kernel,
        nt::WIDTH,
        kernel.pages.addresses(),
        nt::MACHINE,
        block,
    );
    let (writer, started) = match started {
        Ok(started) => started,
        Err(guest_record::StartError::Nothing(status)) => {
            kernel.pages.free();
            return Err(status);
        }
    };
    let (gpa, _) = kernel.pages.addresses();
    let (features, is_xen) = host::look(&settings.tell);
    STATE.set(Driver {
        object: driver,
        kernel,
        writer,
        teller: Teller::new(settings.tell, features, is_xen),
    });
    callbacks::register();
    thread::start(settings.poll_seconds);
    // SAFETY: the object is this driver's, and nobody else sets this field of it.
    unsafe { (*driver).unload = Some(unload) };
    match started {
        Started::Whole => events::log(driver.cast(), Event::Started, nt::STATUS_SUCCESS, gpa),
        Started::BlockAlone(status) => {
            events::log(driver.cast(), Event::WithoutHeader, status, gpa);
        }
    }
    Ok(())
}

/// What Windows calls last: the record is taken away before its pages are.
extern "system" fn unload(_driver: *mut DriverObject) {
    thread::stop();
    callbacks::deregister();
    if let Some(driver) = STATE.get() {
        driver.writer.stop(&driver.kernel);
        STATE.clear();
        driver.kernel.pages.free();
    }
}

/// Microsoft's linker flavour asks for it where a compiled object knows of floating point; nothing here computes with it.
#[cfg(target_env = "msvc")]
#[unsafe(no_mangle)]
static _fltused: i32 = 0;

/// Nothing in the driver panics. Were there a way to, the linker would ask for this function, which does not exist.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn core2dmp_guest_has_a_way_to_panic() -> !;
    }
    // SAFETY: never linked, so never called.
    unsafe { core2dmp_guest_has_a_way_to_panic() }
}
