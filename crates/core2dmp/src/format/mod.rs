//! Bytes and nothing else: structures, offsets and constants of every format, each with its source.
//!
//! A structure is `repr(C)` of little-endian fields without alignment, so that it *is* its bytes; its size
//! and key offsets are asserted at compile time. Structures that grew over the years (the debugger data
//! block) or that differ between 32 and 64 bit only in width (lists) are tables of offsets instead.
//!
//! | file | what |
//! |---|---|
//! | [`xen`] | notes and sections of `xl dump-core` |
//! | [`xen_save`] | `xl save`: streams of libxl and libxc |
//! | [`qemu`], [`vbox`] | the notes that tell vCPUs in core files of QEMU and VirtualBox |
//! | [`kdump`] | kdump-compressed dumps and their flattened form |
//! | [`hiberfil`] | Windows' hibernation file |
//! | [`lime`] | the header in front of each range in LiME and AVML |
//! | [`zdmp`] | DumpIt's compressed dump |
//! | [`hyperv`] | the store of a Hyper-V saved state, and its values |
//! | [`vmware`] | groups and tags of VMware's saved states |
//! | [`qemu_stream`] | QEMU's migration stream, libvirt's header |
//! | [`dump64`], [`dump32`] | the two headers of a Windows dump |
//! | [`dump_values`] | dump types, attributes, stop codes that a converter writes |
//! | [`bitmap`], [`rdmp`], [`triage`] | what is between header and pages of dumps that are not full |
//! | [`guest_record`] | what a driver in the guest leaves for the host |
//! | [`header_fields`] | the fields of both headers by name |
//! | [`kdbg`] | the debugger data block and the version block |
//! | [`context`] | `CONTEXT` and `KSPECIAL_REGISTERS` |
//! | [`nt`] | the few kernel structures that are read by offset |
//! | [`stop_codes`] | stop codes and exceptions by name |

pub(crate) mod bitmap;
pub(crate) mod context;
pub(crate) mod dump32;
pub(crate) mod dump64;
pub(crate) mod dump_values;
pub(crate) mod elf_core;
pub(crate) mod guest_record;
mod header_field;
pub(crate) mod header_fields;
pub(crate) mod hiberfil;
pub(crate) mod hyperv;
pub(crate) mod kdbg;
pub(crate) mod kdump;
pub(crate) mod lime;
pub(crate) mod nt;
pub(crate) mod qemu;
pub(crate) mod qemu_stream;
pub(crate) mod rdmp;
pub mod stop_codes;
pub(crate) mod triage;
pub(crate) mod vbox;
pub(crate) mod vmware;
pub(crate) mod xen;
pub(crate) mod xen_save;
pub(crate) mod zdmp;

/// The bytes `offset..offset + N`, if they are there.
#[must_use]
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The little-endian u16 at `offset`.
#[must_use]
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_le_bytes)
}

/// The little-endian u32 at `offset`.
#[must_use]
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes_at(bytes, offset).map(u32::from_le_bytes)
}

/// The little-endian u64 at `offset`.
#[must_use]
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes_at(bytes, offset).map(u64::from_le_bytes)
}

/// Overwrites the bytes at `offset`; false, and nothing written, if they do not fit.
#[must_use]
pub(crate) fn put_at(bytes: &mut [u8], offset: usize, value: &[u8]) -> bool {
    let target = offset
        .checked_add(value.len())
        .and_then(|end| bytes.get_mut(offset..end));
    match target {
        Some(target) => {
            target.copy_from_slice(value);
            true
        }
        None => false,
    }
}
