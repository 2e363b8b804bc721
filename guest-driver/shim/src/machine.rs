//! The logic's machine: the pages, the clock, and the two things that are looked up.

use core::ffi::c_void;
use core::sync::atomic::{Ordering, fence};

use guest_record::{Clock, Machine, StopCode};

use crate::memory::Pages;
use crate::nt::{self, NtStatus};

/// `KeInitializeCrashDumpHeader` (wdm.h): Server 2003 SP1 and later.
type InitializeHeader = unsafe extern "system" fn(u32, u32, *mut c_void, u32, *mut u32) -> NtStatus;

/// `DUMP_TYPE_FULL`, the only one that the function makes.
const FULL: u32 = 1;
/// Offsets in `KUSER_SHARED_DATA` (ntddk.h): `KSYSTEM_TIME` low, high, high again.
const INTERRUPT_TIME: usize = 0x08;
const SYSTEM_TIME: usize = 0x14;

/// Windows' kernel, with what was looked up in it at the start.
pub(crate) struct Kernel {
    pub(crate) pages: Pages,
    initialize_header: Option<InitializeHeader>,
    bug_check_data: Option<*const usize>,
}

impl Kernel {
    /// Looks up what not every Windows has. Nothing is looked up later.
    pub(crate) fn new(pages: Pages) -> Self {
        const HEADER: [u16; 27] = nt::wide(b"KeInitializeCrashDumpHeader");
        const DATA: [u16; 14] = nt::wide(b"KiBugCheckData");
        Self {
            pages,
            initialize_header: nt::look_up(&HEADER).map(|address| {
                // SAFETY: the export of this name is that function in every Windows that has it.
                unsafe { core::mem::transmute::<*mut c_void, InitializeHeader>(address) }
            }),
            bug_check_data: nt::look_up(&DATA).map(|address| address.cast_const().cast()),
        }
    }
}

impl Machine for Kernel {
    fn make_header(&self, place: u32, bytes: u32) -> NtStatus {
        let Some(initialize) = self.initialize_header else {
            return nt::STATUS_NOT_SUPPORTED;
        };
        let mut needed = 0;
        let buffer = self.pages.at(place).cast();
        // SAFETY: the logic names places with room for a header; the function runs at any IRQL.
        unsafe { initialize(FULL, 0, buffer, bytes, &raw mut needed) }
    }

    fn load(&self, offset: u32) -> u64 {
        // SAFETY: the logic names multiples of 8 inside the pages, which are not paged out. Volatile, because Windows
        // writes headers there behind the compiler's back.
        unsafe { self.pages.at(offset).read_volatile() }
    }

    fn store(&self, offset: u32, value: u64) {
        // SAFETY: as `load`; only one processor at a time writes a place. Volatile: the host may read after any store.
        // On 32 bit these are two stores, and the magic is whole after the second.
        unsafe { self.pages.at(offset).write_volatile(value) };
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        Clock {
            system: time(SYSTEM_TIME),
            interrupt: time(INTERRUPT_TIME),
        }
    }

    fn stop_code(&self) -> Option<StopCode> {
        let data = self.bug_check_data?;
        let value = |index| {
            // SAFETY: the variable is five pointer-sized values in the kernel's own data, which is not paged out.
            u64::try_from(unsafe { data.wrapping_add(index).read_volatile() }).unwrap_or(0)
        };
        let code = u32::try_from(value(0) & 0xffff_ffff).unwrap_or(0);
        (code != 0).then(|| StopCode {
            code,
            parameters: [value(1), value(2), value(3), value(4)],
        })
    }
}

/// A `KSYSTEM_TIME` of `KUSER_SHARED_DATA`.
fn time(offset: usize) -> u64 {
    let at = nt::USER_SHARED_DATA.wrapping_add(offset);
    guest_record::time(|half| {
        let address = at.wrapping_add(half as usize) as *const u32;
        // SAFETY: this page is mapped, and never paged out, in every Windows.
        unsafe { address.read_volatile() }
    })
}
