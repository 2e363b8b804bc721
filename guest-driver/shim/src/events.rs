//! Entries in the system's event log. The driver has no message table: the log shows number, status and address.

use core::ffi::c_void;
use core::mem::{offset_of, zeroed};

use crate::nt::{self, NtStatus};

/// What is reported: severity, the customer bit, and the number that README.md explains.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Event {
    Started = 0x6000_0001,
    Renewed = 0x6000_0002,
    WithoutHeader = 0xa000_0003,
    NotRenewed = 0xa000_0004,
    NotStarted = 0xe000_0005,
}

/// Digits of an address in hexadecimal.
const DIGITS: usize = 16;

/// `IO_ERROR_LOG_PACKET` with one text behind it: the record's physical address, in hexadecimal.
#[repr(C)]
struct Packet {
    major_function: u8,
    retries: u8,
    dump_data_size: u16,
    number_of_strings: u16,
    string_offset: u16,
    event_category: u16,
    error_code: u32,
    unique_error_value: u32,
    final_status: NtStatus,
    sequence_number: u32,
    io_control_code: u32,
    device_offset: i64,
    dump_data: u32,
    text: [u16; DIGITS + 1],
}

const _: () = {
    assert!(offset_of!(Packet, error_code) == 0xc);
    assert!(offset_of!(Packet, dump_data) == 0x28);
};

/// Writes an entry; `object` is the driver's. At `DISPATCH_LEVEL` or below.
pub(crate) fn log(object: *mut c_void, event: Event, status: NtStatus, gpa: u64) {
    const BYTES: u8 = size_of::<Packet>() as u8;
    // SAFETY: the object is the driver's own; the size is below ERROR_LOG_MAXIMUM_SIZE.
    let entry: *mut Packet = unsafe { nt::IoAllocateErrorLogEntry(object, BYTES) }.cast();
    if entry.is_null() {
        // The log is full or off, which is no reason to fail.
        return;
    }
    // SAFETY: numbers, of which zeros are some.
    let mut packet: Packet = unsafe { zeroed() };
    packet.number_of_strings = 1;
    packet.string_offset = offset_of!(Packet, text) as u16;
    packet.error_code = event as u32;
    packet.final_status = status;
    let mut rest = gpa;
    for place in packet.text.iter_mut().take(DIGITS).rev() {
        let digit = (rest & 15) as u16;
        *place = if digit < 10 {
            0x30 + digit
        } else {
            0x57 + digit
        };
        rest >>= 4;
    }
    // SAFETY: the entry has this size, and is the driver's until it is written.
    unsafe { entry.write(packet) };
    // SAFETY: the entry was allocated above, and is not used again.
    unsafe { nt::IoWriteErrorLogEntry(entry.cast()) };
}
