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
mod build;
mod bytes;
mod code;
mod core_notes;
mod crash;
mod drivers;
pub mod dump;
mod expected;
mod guest;
mod header;
mod hiberfil;
mod hyperv;
mod hyperv_state;
mod kdbg;
mod kdump;
mod kernel;
mod layout;
mod lime;
mod memory;
mod mm;
mod objects;
mod paging;
mod processor;
mod qemu_devices;
mod qemu_elf;
mod qemu_stream;
mod ram_header;
mod ram_map;
mod raw;
mod registers;
mod releases;
mod spec;
mod system;
mod vcpu;
mod vmware;
mod world;
mod xen;
mod xen_save;
mod xen_vcpu;
mod xpress;
mod zdmp;

pub use crash::CrashRecord;
pub use expected::{
    Bugcheck, Exception, Expected, FoundHeader, Kdbg, Keys, Module, Pdb, Process, Processor,
    UserMemory,
};
pub use guest::{Guest, Vcpu};
pub use hiberfil::{HiberFile, HiberVersion, Hiberfil};
pub use hyperv::Hyperv;
pub use kdump::{Kdump, KdumpCompression};
pub use memory::{Fill, Frames};
pub use paging::Arch;
pub use qemu_elf::QemuElf;
pub use qemu_stream::QemuStream;
pub use ram_header::RamHeader;
pub use registers::Registers;
pub use spec::GuestSpec;
pub use vmware::Vmware;
pub use xen::XenCore;
pub use xen_save::{XenSave, XenSaver};
pub use xpress::{xpress_huffman, xpress_plain};
pub use zdmp::zdmp;
