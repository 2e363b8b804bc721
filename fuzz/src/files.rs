//! Containers: a file of each kind, made of a guest of five frames.
//!
//! What opens has to keep what [`core2dmp::memory`] promises, and looking for Windows in it has to end.

use std::sync::{Arc, LazyLock};

use core2dmp::address::Pfn;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::memory::MemoryRun;
use core2dmp::source::ReadAt;
use core2dmp::windows;
use core2dmp_synth::{
    self as synth, GuestSpec, HiberVersion as V, KdumpCompression, XenSaver, dump,
};

use crate::input::{self, Seed};

/// A format: how its title begins, and files to begin with.
pub(crate) struct Format {
    title: Option<&'static str>,
    seeds: LazyLock<Vec<Seed>>,
}

macro_rules! formats {
    ($($name:ident: $title:expr, $files:expr;)*) => {
        $(pub(crate) static $name: Format = Format {
            title: $title,
            seeds: LazyLock::new(|| $files(&small(GuestSpec::windows10())).into_iter().map(Seed::new).collect()),
        };)*
    };
}

type Files = Vec<Vec<u8>>;

formats! {
    XEN: Some("Xen dump-core"), xen;
    ELF: Some("ELF"), elf;
    KDUMP: Some("kdump"), kdump;
    LIME: Some("LiME"), |guest: &synth::Guest| vec![guest.lime(&[0x10_1800]), guest.avml(&[0x10_1800])];
    RAW: None, |_: &synth::Guest| vec![vec![0x55; 1 << 20]];
    VMWARE: Some("VMware"), vmware;
    HYPERV: Some("Hyper-V"), hyperv;
    HIBERFIL: Some("hibernation"), hiberfil;
    ZDMP: Some("DumpIt"), zdmp;
    QEMU_STREAM: Some("QEMU migration"), qemu_stream;
    XEN_SAVE: Some("Xen saved"), xen_save;
    DMP: Some("crash dump"), dmp;
}

/// A guest whose container holds five frames.
fn small(spec: GuestSpec) -> synth::Guest {
    let mut guest = spec.memory_mib(20).processors(2).build();
    let written: Vec<u64> = (0x100..0x1400)
        .filter(|pfn| guest.frames.is_written(*pfn))
        .take(2)
        .collect();
    guest.present = vec![(0x3, 2)];
    guest.present.extend(written.iter().map(|pfn| (*pfn, 1)));
    guest.present.push((0x1300, 1));
    guest.expected.runs.clone_from(&guest.present);
    guest
}

fn xen(guest: &synth::Guest) -> Files {
    let file = |core: synth::XenCore<'_>| {
        let mut file = std::io::Cursor::new(Vec::new());
        core.write_to(&mut file).unwrap();
        file.into_inner()
    };
    let core = || guest.xen_core();
    vec![
        file(core()),
        file(core().padding(3)),
        file(core().prstatus_32bit()),
        file(core().pv()),
    ]
}

fn elf(guest: &synth::Guest) -> Files {
    let core = || guest.qemu_elf();
    vec![
        core().bytes(),
        core().notes_last().cut_at(0x10_1800).bytes(),
        core().virtualbox().bytes(),
        core().vmcoreinfo(b"NUMBER(phys_base)=1\n".to_vec()).bytes(),
    ]
}

fn kdump(guest: &synth::Guest) -> Files {
    use KdumpCompression as C;
    let with = |compression| guest.kdump().compression(compression).bytes();
    let mut files: Files = [C::None, C::Zlib, C::Lzo, C::Snappy, C::Zstd]
        .map(with)
        .into();
    files.push(guest.kdump().flattened(0x4321));
    files
}

fn vmware(guest: &synth::Guest) -> Files {
    let file = || guest.vmware();
    vec![file().state(), file().whole(), file().blocks().whole()]
}

fn hyperv(guest: &synth::Guest) -> Files {
    let file = || guest.hyperv();
    vec![
        file().bytes(),
        file().compressed().bytes(),
        file().packed().chained().stale().bytes(),
    ]
}

fn hiberfil(guest: &synth::Guest) -> Files {
    let mut files: Files = [V::Ten64, V::Eleven]
        .into_iter()
        .flat_map(|version| {
            let file = || guest.hiberfil(version);
            [file().bytes(), file().method(2).bytes()]
        })
        .collect();
    let seven = small(GuestSpec::windows7());
    files.extend([V::VistaSp2x64, V::Seven64].map(|version| seven.hiberfil(version).bytes()));
    let xp = small(GuestSpec::windows2003_pae());
    files.push(xp.hiberfil(V::Xp32).bytes());
    files
}

fn zdmp(guest: &synth::Guest) -> Files {
    let dump = dump::full(guest).bytes;
    [0x1000, 0x10000]
        .map(|block| synth::zdmp(&dump, block))
        .into()
}

fn qemu_stream(guest: &synth::Guest) -> Files {
    let file = || guest.qemu_stream();
    vec![
        file().bytes(),
        file().without_description().bytes(),
        file().again().bytes(),
        file().mapped().bytes(),
        file().libvirt(0).bytes(),
    ]
}

fn xen_save(guest: &synth::Guest) -> Files {
    let file = || guest.xen_save();
    vec![
        file().bytes(),
        file().live().verify().bytes(),
        file().old().bytes(),
        file().saver(XenSaver::Libvirt).bytes(),
    ]
}

fn dmp(guest: &synth::Guest) -> Files {
    vec![
        dump::full(guest).bytes,
        dump::bitmap(guest, false).bytes,
        dump::bitmap(guest, true).bytes,
        dump::rdmp(guest, dump::Ranges::Kernel).bytes,
        dump::triage(guest).bytes,
        dump::full(&small(GuestSpec::windows7_pae())).bytes,
    ]
}

impl Format {
    pub(crate) fn seeds(&self) -> Vec<Vec<u8>> {
        input::inputs(&self.seeds)
    }

    pub(crate) fn run(&self, data: &[u8]) -> bool {
        let Some(file) = input::file(&self.seeds, data) else {
            return false;
        };
        let claimed = container::recognise(&*file).unwrap_or(None);
        let ours = match (self.title, claimed) {
            (Some(title), Some(claimed)) => claimed.contains(title),
            (None, None) => true,
            _ => false,
        };
        if !ours {
            return false;
        }
        for salvage in [false, true] {
            let options = OpenOptions::default().salvage(salvage);
            if let Ok(guest) = container::open(Arc::clone(&file), options) {
                assert_kept(&guest, &*file);
                let _ = windows::identify(&guest);
            }
        }
        true
    }
}

/// Runs ascend, do not overlap, and name frames that exist; each can be read at both its ends, or says why not.
fn assert_kept(guest: &Guest, file: &dyn ReadAt) {
    assert_eq!(guest.container.size, file.size());
    let runs = guest.memory.runs();
    assert!(
        runs.iter()
            .all(|run| run.frames.count > 0 && run.frames.end() <= Pfn::END)
    );
    let ascend = |pair: &[MemoryRun]| pair[0].frames.end() <= pair[1].frames.first;
    assert!(runs.windows(2).all(ascend));
    let mut page = [0; 4096];
    for run in runs.iter().take(64) {
        for pfn in [run.frames.first, Pfn::new(run.frames.end().get() - 1)] {
            let read = guest.memory.read(pfn.gpa(), &mut page);
            if let Err(error) = read {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
