//! One guest in every container.

use core2dmp_synth::{Guest, HiberVersion, KdumpCompression};

/// Every container, by name, and whether it carries registers.
pub(crate) fn containers(guest: &Guest) -> Vec<(&'static str, Vec<u8>, bool)> {
    let kdump = |compression| guest.kdump().compression(compression).bytes();
    let end = guest.present.last().unwrap();
    let mut all = vec![
        ("QEMU ELF", guest.qemu_elf().bytes(), true),
        (
            "QEMU ELF, notes last, cut",
            guest.qemu_elf().notes_last().cut_at(0x23_4567).bytes(),
            true,
        ),
        ("kdump, plain", kdump(KdumpCompression::None), true),
        ("kdump, zlib", kdump(KdumpCompression::Zlib), true),
        ("kdump, LZO", kdump(KdumpCompression::Lzo), true),
        ("kdump, Snappy", kdump(KdumpCompression::Snappy), true),
        ("kdump, Zstandard", kdump(KdumpCompression::Zstd), true),
        ("kdump, flattened", guest.kdump().flattened(0x4321), true),
        ("Xen save", guest.xen_save().bytes(), true),
        ("QEMU stream", guest.qemu_stream().bytes(), true),
        ("LiME", guest.lime(&[0x9fc00]), false),
        ("AVML", guest.avml(&[0x9fc00]), false),
        ("Hyper-V", guest.hyperv().bytes(), true),
        ("Hyper-V, Xpress", guest.hyperv().compressed().bytes(), true),
        ("VMware", guest.vmware().whole(), true),
        ("VMware, blocks", guest.vmware().blocks().whole(), true),
    ];
    all.extend(hiberfil(guest).map(|(name, file)| (name, file, false)));
    if end.0 < 0x10_0000 {
        all.push(("raw", guest.raw(0, end.0 + end.1), false));
    }
    all
}

/// Hibernation files that this guest could write.
pub(crate) fn hiberfil(guest: &Guest) -> [(&'static str, Vec<u8>); 2] {
    use HiberVersion as V;
    let versions = match (guest.expected.arch.is_64(), guest.expected.build) {
        (false, _) => [V::Xp32, V::Ten32],
        (true, 7601) => [V::VistaSp2x64, V::Seven64],
        (true, _) => [V::Ten64, V::Eleven],
    };
    let [first, second] = versions.map(|version| guest.hiberfil(version));
    [
        ("hiberfil, plain", first.bytes()),
        ("hiberfil, Huffman", second.method(2).bytes()),
    ]
}
