//! Exported memory is the guest's, and so are the registers.

use std::io::Cursor;
use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::container::{self, OpenOptions, TableRegister};
use core2dmp::export::{self, ExportFormat};
use core2dmp::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use core2dmp::source::FileSource;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::{Guest, GuestSpec, KdumpCompression};

use crate::support::containers::{assert_memory, open};
use crate::support::vcpus::assert_vcpus;

fn exported(guest: &container::Guest, format: ExportFormat) -> (container::Guest, export::Export) {
    let export = export::export(guest, format);
    let mut file = Vec::new();
    write::to_stream(&export.image, &guest.memory, &mut file, &Silent).unwrap();
    assert_eq!(file.len() as u64, export.image.size());
    (open(file).unwrap(), export)
}

fn guests() -> [Guest; 3] {
    [
        GuestSpec::windows10().processors(3).memory_mib(24).fill(40),
        GuestSpec::windows2003_pae().processors(2).fill(40),
        GuestSpec::windows7()
            .ballooned(0x800, 0x10)
            .ballooned(0x900, 1),
    ]
    .map(GuestSpec::build)
}

#[test]
fn elf_has_memory_and_registers() {
    for guest in guests() {
        let first = open(guest.qemu_elf().bytes()).unwrap();
        let (opened, export) = exported(&first, ExportFormat::Elf);
        assert_eq!(opened.container.format, "elf");
        assert_vcpus(&opened, &guest);
        assert_memory(&opened, &guest);
        assert_eq!(export.vcpus, guest.vcpus.len());
        assert_eq!(export.warnings, Vec::<String>::new());
        assert_eq!(opened.container.warnings, first.container.warnings);
        // What it was made of does not show.
        let kdump = guest.kdump().compression(KdumpCompression::Zlib).bytes();
        let (opened, _) = exported(&open(kdump).unwrap(), ExportFormat::Elf);
        assert_vcpus(&opened, &guest);
        assert_memory(&opened, &guest);
    }
}

#[test]
fn what_another_container_lacks_is_not_made_up() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_pae()] {
        of_a_xen_core(&spec.processors(2).build());
    }
}

/// Its vCPUs have no descriptor tables; the processors' control regions have.
fn of_a_xen_core(guest: &Guest) {
    let mut core = Cursor::new(Vec::new());
    guest.xen_core().write_to(&mut core).unwrap();
    let first = open(core.into_inner()).unwrap();
    let (opened, _) = exported(&first, ExportFormat::Elf);
    for ((got, from), processor) in opened
        .cpus
        .iter()
        .zip(&first.cpus)
        .zip(&guest.expected.processors)
    {
        let mut wanted = from.registers.x86().unwrap().clone();
        assert_eq!((wanted.gdtr, wanted.idtr, wanted.tr), (None, None, None));
        // QEMU's note has no place for these; and of LDTR a zero is what Windows has.
        wanted.dr = None;
        wanted.fxsave = None;
        wanted.ldtr = Some(0);
        let table = |base| {
            Some(TableRegister {
                base,
                limit: u16::MAX,
            })
        };
        wanted.gdtr = table(processor.gdt.0);
        wanted.idtr = table(processor.idt.0);
        assert_eq!(got.registers.x86().unwrap(), &wanted);
    }
}

#[test]
fn lime_and_raw_have_memory() {
    for guest in guests() {
        let first = open(guest.kdump().bytes()).unwrap();
        let (opened, export) = exported(&first, ExportFormat::Lime);
        assert_eq!(opened.container.format, "lime");
        assert_memory(&opened, &guest);
        assert!(export.warnings[0].contains("no place for registers"));
        let (opened, _) = exported(&first, ExportFormat::Raw);
        assert_eq!(opened.container.format, "raw");
        for run in first.memory.runs() {
            for pfn in run.frames.first.get()..run.frames.end().get() {
                let page = guest.page(pfn).unwrap();
                assert_eq!(
                    crate::support::containers::page(&opened, pfn),
                    page,
                    "{pfn:#x}"
                );
            }
        }
    }
}

#[test]
fn more_segments_than_the_header_counts() {
    // 70 000 ranges of one frame each: the number stands in the first section.
    let mut runs = RunBuilder::default();
    for n in 0..70_000 {
        runs.push(Frames::new(Pfn::new(n * 2), 1), Backing::Zero)
            .unwrap();
    }
    let mut guest = open(GuestSpec::windows7().build().lime(&[])).unwrap();
    let nothing = Arc::new(Vec::<u8>::new());
    guest.memory = PhysicalMemory::new(nothing, runs.finish().unwrap());
    let export = export::export(&guest, ExportFormat::Elf);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.elf");
    let options = WriteOptions::default();
    write::to_file(&export.image, &guest.memory, &path, options, &Silent).unwrap();
    let source = Arc::new(FileSource::open(&path).unwrap());
    let opened = container::open(source, OpenOptions::default()).unwrap();
    let frames: Vec<Frames> = opened.memory.runs().iter().map(|run| run.frames).collect();
    assert_eq!(frames, export.runs);
    assert_eq!(frames.len(), 70_000);
}
