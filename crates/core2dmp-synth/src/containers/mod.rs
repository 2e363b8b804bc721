//! Writers of the files in which hypervisors and dump tools keep a guest.

pub(crate) mod core_notes;
pub(crate) mod hiberfil;
pub(crate) mod hyperv;
pub(crate) mod kdump;
pub(crate) mod lime;
pub(crate) mod qemu_devices;
pub(crate) mod qemu_elf;
pub(crate) mod qemu_stream;
pub(crate) mod raw;
pub(crate) mod vmware;
pub(crate) mod xen;
pub(crate) mod xen_save;
pub(crate) mod xen_vcpu;
pub(crate) mod xpress;
pub(crate) mod zdmp;
