//! Builds small Windows-shaped guests in memory and writes them as containers, for tests.
//!
//! ```text
//! GuestSpec::windows10().processors(2) --build--> Guest { frames, vcpus, expected } --xen_core()--> a file
//! ```
//!
//! A guest is not Windows: it has the shape of the named Windows where a crash-dump converter or a debugger looks, so
//! that Microsoft's debugger engine opens a correct dump of it without complaint. [`Expected`] says what a correct
//! reader finds. Everything is written by byte offsets of this crate's own and never through the library's structures:
//! a layout that is wrong there cannot cancel out here. The same specification gives the same bytes, always.
//!
//! ```
//! use core2dmp_synth::GuestSpec;
//!
//! let guest = GuestSpec::windows10().processors(2).build();
//! assert_eq!(guest.expected.processors.len(), 2);
//! let mut file = std::io::Cursor::new(Vec::new());
//! guest.xen_core().write_to(&mut file).unwrap();
//! ```

pub mod bare;
pub mod broken;
mod bytes;
mod containers;
pub mod dump;
pub mod unwind;
mod windows;

pub use bytes::crc32;
pub use containers::core_notes::VirtualboxFormat;
pub use containers::hiberfil::{HiberFile, HiberVersion, Hiberfil};
pub use containers::hyperv::Hyperv;
pub use containers::kdump::{Kdump, KdumpCompression};
pub use containers::qemu_elf::QemuElf;
pub use containers::qemu_stream::QemuStream;
pub use containers::vmware::Vmware;
pub use containers::xen::XenCore;
pub use containers::xen_save::{XenSave, XenSaver};
pub use containers::xpress::{xpress_huffman, xpress_plain};
pub use containers::zdmp::zdmp;
pub use windows::arch::Arch;
pub use windows::expected::{
    Bugcheck, Exception, Expected, FoundHeader, FoundRecord, Kdbg, Keys, Module, Pdb, Process,
    Processor, UserMemory,
};
pub use windows::guest::{Guest, Vcpu};
pub use windows::memory::{Fill, Frames};
pub use windows::registers::Registers;
pub use windows::registers_arm64::Arm64;
pub use windows::spec::{CrashRecord, GuestRecord, GuestSpec, RamHeader};
