//! The service's parameters: three numbers under its `Parameters` key, none of which has to be there.
//!
//! ```text
//! PvpanicPort   0        a port in QEMU: 0x505         0: no notification
//! XenShutdown   0        1: SCHEDOP_shutdown(crash)
//! PollSeconds   60       how often the memory is looked at; 0: never
//! ```

use core::ffi::c_void;
use core::mem::zeroed;

use guest_record::Settings;

use crate::nt::{self, ObjectAttributes, UnicodeString};

/// What is asked for.
pub(crate) struct Parameters {
    pub(crate) tell: Settings,
    pub(crate) poll_seconds: u32,
}

/// `KEY_READ`.
const READ: u32 = 0x2_0019;
/// `KeyValuePartialInformation`, and what it is for a number: index, type, bytes, value.
const PARTIAL: i32 = 2;
const REG_DWORD: u32 = 4;

/// A key that is closed when it is dropped.
struct Key(*mut c_void);

impl Key {
    fn open(root: *mut c_void, name: *const UnicodeString) -> Option<Self> {
        let attributes = ObjectAttributes {
            length: size_of::<ObjectAttributes>() as u32,
            root,
            name,
            attributes: nt::KERNEL_HANDLE,
            security: core::ptr::null_mut(),
            quality: core::ptr::null_mut(),
        };
        let mut key = core::ptr::null_mut();
        // SAFETY: all of it outlives the call, and the caller is at PASSIVE_LEVEL.
        let status = unsafe { nt::ZwOpenKey(&raw mut key, READ, &raw const attributes) };
        (status >= 0).then_some(Self(key))
    }

    fn number(&self, name: &[u16]) -> Option<u32> {
        #[repr(C)]
        struct Number {
            index: u32,
            kind: u32,
            bytes: u32,
            value: u32,
        }
        let name = UnicodeString::new(name);
        // SAFETY: numbers, of which zeros are some.
        let mut number: Number = unsafe { zeroed() };
        let (at, bytes, mut needed) = (&raw mut number, size_of::<Number>() as u32, 0);
        // SAFETY: the key is open, and all of it outlives the call.
        let status = unsafe {
            nt::ZwQueryValueKey(
                self.0,
                &raw const name,
                PARTIAL,
                at.cast(),
                bytes,
                &raw mut needed,
            )
        };
        let is_number = status >= 0 && number.kind == REG_DWORD && number.bytes == 4;
        is_number.then_some(number.value)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is open.
        unsafe { nt::ZwClose(self.0) };
    }
}

/// Reads them; what is not there is as if nothing had been asked for.
pub(crate) fn read(registry_path: *const UnicodeString) -> Parameters {
    const PARAMETERS: [u16; 10] = nt::wide(b"Parameters");
    const PORT: [u16; 11] = nt::wide(b"PvpanicPort");
    const XEN: [u16; 11] = nt::wide(b"XenShutdown");
    const POLL: [u16; 11] = nt::wide(b"PollSeconds");
    let name = UnicodeString::new(&PARAMETERS);
    let service = Key::open(core::ptr::null_mut(), registry_path);
    let key = service.and_then(|service| Key::open(service.0, &raw const name));
    let number = |name: &[u16]| key.as_ref().and_then(|key| key.number(name));
    Parameters {
        tell: Settings {
            pvpanic_port: number(&PORT)
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0),
            xen: number(&XEN) == Some(1),
        },
        poll_seconds: number(&POLL).unwrap_or(60),
    }
}
