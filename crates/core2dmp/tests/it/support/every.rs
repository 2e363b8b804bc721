//! One guest in every container.

use core2dmp_synth::{Guest, HiberVersion, KdumpCompression};

/// What a container tells of a vCPU.
#[derive(Clone, Copy)]
pub(crate) struct Carries {
    pub(crate) registers: bool,
    pub(crate) fpu: bool,
    pub(crate) debug: bool,
}

impl Carries {
    pub(crate) const NOTHING: Self = Self {
        registers: false,
        fpu: false,
        debug: false,
    };
    pub(crate) const GENERAL: Self = Self {
        registers: true,
        ..Self::NOTHING
    };
    pub(crate) const ALL: Self = Self {
        registers: true,
        fpu: true,
        debug: true,
    };
}

/// Every container, by name, and what it carries.
pub(crate) fn containers(guest: &Guest) -> Vec<(&'static str, Vec<u8>, Carries)> {
    let end = guest.present.last().unwrap();
    let mut all = vec![
        ("QEMU ELF", guest.qemu_elf().bytes(), Carries::GENERAL),
        (
            "QEMU ELF, notes last, cut",
            guest.qemu_elf().notes_last().cut_at(0x23_4567).bytes(),
            Carries::GENERAL,
        ),
        ("Xen save", guest.xen_save().bytes(), Carries::ALL),
        ("QEMU stream", guest.qemu_stream().bytes(), Carries::ALL),
        ("LiME", guest.lime(&[0x9fc00]), Carries::NOTHING),
        ("AVML", guest.avml(&[0x9fc00]), Carries::NOTHING),
        ("Hyper-V", guest.hyperv().bytes(), Carries::ALL),
        (
            "Hyper-V, Xpress",
            guest.hyperv().compressed().bytes(),
            Carries::ALL,
        ),
        (
            "VMware",
            guest.vmware().whole(),
            Carries {
                debug: true,
                ..Carries::GENERAL
            },
        ),
        (
            "VMware, blocks",
            guest.vmware().blocks().whole(),
            Carries {
                debug: true,
                ..Carries::GENERAL
            },
        ),
    ];
    all.extend(kdump(guest).map(|(name, file)| (name, file, Carries::GENERAL)));
    all.extend(hiberfil(guest).map(|(name, file)| (name, file, Carries::NOTHING)));
    if end.0 < 0x10_0000 {
        all.push(("raw", guest.raw(0, end.0 + end.1), Carries::NOTHING));
    }
    all
}

/// kdump-compressed dumps, by how their pages are compressed.
fn kdump(guest: &Guest) -> [(&'static str, Vec<u8>); 6] {
    let kdump = |compression| guest.kdump().compression(compression).bytes();
    [
        ("kdump, plain", kdump(KdumpCompression::None)),
        ("kdump, zlib", kdump(KdumpCompression::Zlib)),
        ("kdump, LZO", kdump(KdumpCompression::Lzo)),
        ("kdump, Snappy", kdump(KdumpCompression::Snappy)),
        ("kdump, Zstandard", kdump(KdumpCompression::Zstd)),
        ("kdump, flattened", guest.kdump().flattened(0x4321)),
    ]
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
