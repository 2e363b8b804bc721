//! Reading what hypervisors and dump tools write.

mod corpus;
mod dmp_corpus;
mod dmp_cost;
mod dmp_damaged;
mod dmp_types;
mod elf;
mod elf_bad;
mod hiberfil;
mod hiberfil_bad;
mod hyperv;
mod hyperv_bad;
mod hyperv_bad_state;
mod kdump;
mod kdump_bad;
mod lime;
mod metamorphic;
mod qemu_stream;
mod qemu_stream_bad;
mod qemu_stream_real;
mod raw;
#[expect(
    clippy::cast_possible_truncation,
    reason = "tests build inputs of known size"
)]
mod raw_measured;
mod vmware;
mod vmware_bad;
mod xen;
mod xen_cut;
mod xen_save;
mod xen_save_bad;
mod zdmp;
