//! Windows' kernel as far as the driver needs it: structures and functions of wdm.h, ntddk.h and ntifs.h.
//!
//! The functions are imported by their names alone, so no import library and no WDK is needed. Each exists in every
//! Windows since Server 2003; what does not is looked up at the start (`machine`, `memory`).

use core::ffi::c_void;

use guest_record::Width;

/// An NTSTATUS; negative is a failure.
pub(crate) type NtStatus = i32;

pub(crate) const STATUS_SUCCESS: NtStatus = 0;
pub(crate) const STATUS_INSUFFICIENT_RESOURCES: NtStatus = 0xc000_009a_u32.cast_signed();
pub(crate) const STATUS_NOT_SUPPORTED: NtStatus = 0xc000_00bb_u32.cast_signed();

/// The width of this Windows' dump header.
pub(crate) const WIDTH: Width = if cfg!(target_pointer_width = "64") {
    Width::Bits64
} else {
    Width::Bits32
};

/// `IMAGE_FILE_MACHINE_*` of this Windows.
pub(crate) const MACHINE: u32 = if cfg!(target_arch = "x86_64") {
    0x8664
} else if cfg!(target_arch = "aarch64") {
    0xaa64
} else {
    0x14c
};

/// `KI_USER_SHARED_DATA` (wdm.h): the same address in every system of an architecture.
pub(crate) const USER_SHARED_DATA: usize = if cfg!(target_pointer_width = "64") {
    0xffff_f780_0000_0000_u64 as usize
} else {
    0xffdf_0000
};

/// `UNICODE_STRING`.
#[repr(C)]
pub struct UnicodeString {
    pub(crate) length: u16,
    pub(crate) maximum_length: u16,
    pub(crate) buffer: *const u16,
}

impl UnicodeString {
    /// Of text in UTF-16.
    pub(crate) fn new(text: &[u16]) -> Self {
        let bytes = u16::try_from(text.len().wrapping_mul(2)).unwrap_or(0);
        Self {
            length: bytes,
            maximum_length: bytes,
            buffer: text.as_ptr(),
        }
    }
}

/// ASCII as UTF-16.
pub(crate) const fn wide<const N: usize>(text: &[u8; N]) -> [u16; N] {
    let mut wide = [0; N];
    let mut index = 0;
    while index < N {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            wide[index] = text[index] as u16;
        }
        index += 1;
    }
    wide
}

/// `DRIVER_OBJECT` up to what the driver sets.
#[repr(C)]
pub struct DriverObject {
    kind: i16,
    size: i16,
    device: *mut c_void,
    flags: u32,
    start: *mut c_void,
    bytes: u32,
    section: *mut c_void,
    extension: *mut c_void,
    name: UnicodeString,
    hardware_database: *mut c_void,
    fast_io: *mut c_void,
    init: *mut c_void,
    start_io: *mut c_void,
    /// `DriverUnload`.
    pub(crate) unload: Option<extern "system" fn(*mut DriverObject)>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::offset_of!(DriverObject, unload) == 0x68);
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::offset_of!(DriverObject, unload) == 0x34);

/// `KBUGCHECK_CALLBACK_REASON`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Reason(pub(crate) i32);

impl Reason {
    pub(crate) const DUMP_IO: Self = Self(3);
    pub(crate) const ADD_PAGES: Self = Self(4);
    /// Windows 10 1809 and later.
    pub(crate) const TRIAGE: Self = Self(7);
}

/// `KBUGCHECK_REASON_CALLBACK_ROUTINE`.
pub(crate) type ReasonRoutine = extern "system" fn(Reason, *mut ReasonRecord, *mut c_void, u32);

/// `KBUGCHECK_REASON_CALLBACK_RECORD`; zeros are what `KeInitializeCallbackRecord` makes of it.
#[repr(C)]
pub(crate) struct ReasonRecord {
    entry: [usize; 2],
    routine: usize,
    component: usize,
    checksum: usize,
    reason: i32,
    state: u8,
}

/// `KBUGCHECK_CALLBACK_RECORD`, likewise.
#[repr(C)]
pub(crate) struct PlainRecord {
    entry: [usize; 2],
    routine: usize,
    buffer: usize,
    length: u32,
    component: usize,
    checksum: usize,
    state: u8,
}

/// `KBUGCHECK_ADD_PAGES`.
#[repr(C)]
pub(crate) struct AddPages {
    pub(crate) context: *mut c_void,
    pub(crate) flags: u32,
    pub(crate) bug_check_code: u32,
    pub(crate) address: usize,
    pub(crate) count: usize,
}

/// `KB_ADD_PAGES_FLAG_VIRTUAL_ADDRESS`.
pub(crate) const ADD_PAGES_VIRTUAL: u32 = 1;

/// `KBUGCHECK_TRIAGE_DUMP_DATA`.
#[repr(C)]
pub(crate) struct TriageDumpData {
    array: *mut c_void,
    flags: u32,
    max_virt_mem_size: u32,
    pub(crate) bug_check_code: u32,
    pub(crate) parameters: [usize; 4],
}

/// `OBJECT_ATTRIBUTES`.
#[repr(C)]
pub(crate) struct ObjectAttributes {
    pub(crate) length: u32,
    pub(crate) root: *mut c_void,
    pub(crate) name: *const UnicodeString,
    pub(crate) attributes: u32,
    pub(crate) security: *mut c_void,
    pub(crate) quality: *mut c_void,
}

/// `OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE`.
pub(crate) const KERNEL_HANDLE: u32 = 0x240;

/// `KEVENT`, as large as it is on any of these systems.
#[repr(C, align(8))]
pub(crate) struct Event(pub(crate) [usize; 4]);

/// What `PsCreateSystemThread` runs.
pub(crate) type ThreadRoutine = extern "system" fn(*mut c_void);

#[cfg_attr(
    target_arch = "x86",
    link(
        name = "ntoskrnl.exe",
        kind = "raw-dylib",
        modifiers = "+verbatim",
        import_name_type = "undecorated"
    )
)]
#[cfg_attr(
    not(target_arch = "x86"),
    link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")
)]
unsafe extern "system" {
    pub(crate) fn MmGetSystemRoutineAddress(name: *const UnicodeString) -> *mut c_void;
    pub(crate) fn MmAllocateContiguousMemory(bytes: usize, highest: i64) -> *mut c_void;
    pub(crate) fn MmFreeContiguousMemory(memory: *mut c_void);
    pub(crate) fn MmGetPhysicalAddress(memory: *mut c_void) -> i64;

    pub(crate) fn KeRegisterBugCheckReasonCallback(
        record: *mut ReasonRecord,
        routine: ReasonRoutine,
        reason: Reason,
        component: *const u8,
    ) -> u8;
    pub(crate) fn KeDeregisterBugCheckReasonCallback(record: *mut ReasonRecord) -> u8;
    pub(crate) fn KeRegisterBugCheckCallback(
        record: *mut PlainRecord,
        routine: extern "system" fn(*mut c_void, u32),
        buffer: *mut c_void,
        length: u32,
        component: *const u8,
    ) -> u8;
    pub(crate) fn KeDeregisterBugCheckCallback(record: *mut PlainRecord) -> u8;

    pub(crate) fn IoAllocateErrorLogEntry(object: *mut c_void, bytes: u8) -> *mut c_void;
    pub(crate) fn IoWriteErrorLogEntry(entry: *mut c_void);

    pub(crate) fn ZwOpenKey(
        key: *mut *mut c_void,
        access: u32,
        attributes: *const ObjectAttributes,
    ) -> NtStatus;
    pub(crate) fn ZwQueryValueKey(
        key: *mut c_void,
        name: *const UnicodeString,
        class: i32,
        value: *mut c_void,
        bytes: u32,
        needed: *mut u32,
    ) -> NtStatus;
    pub(crate) fn ZwClose(handle: *mut c_void) -> NtStatus;

    pub(crate) fn PsCreateSystemThread(
        thread: *mut *mut c_void,
        access: u32,
        attributes: *const ObjectAttributes,
        process: *mut c_void,
        client: *mut c_void,
        routine: ThreadRoutine,
        context: *mut c_void,
    ) -> NtStatus;
    pub(crate) fn PsTerminateSystemThread(status: NtStatus) -> NtStatus;
    pub(crate) fn ZwWaitForSingleObject(
        handle: *mut c_void,
        alertable: u8,
        timeout: *const i64,
    ) -> NtStatus;
    pub(crate) fn KeInitializeEvent(event: *mut Event, kind: i32, state: u8);
    pub(crate) fn KeSetEvent(event: *mut Event, increment: i32, wait: u8) -> i32;
    pub(crate) fn KeWaitForSingleObject(
        object: *mut Event,
        reason: i32,
        mode: i8,
        alertable: u8,
        timeout: *const i64,
    ) -> NtStatus;
}

/// A function or variable that not every Windows exports. At `PASSIVE_LEVEL` only.
pub(crate) fn look_up(name: &[u16]) -> Option<*mut c_void> {
    let name = UnicodeString::new(name);
    // SAFETY: the string and its text outlive the call; the caller is at PASSIVE_LEVEL.
    let address = unsafe { MmGetSystemRoutineAddress(&raw const name) };
    (!address.is_null()).then_some(address)
}
