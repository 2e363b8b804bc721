//! Files that hypervisors wrote: the same guest through each of its containers is the same memory.
//!
//! The corpus is kept beside the repository, not in it. Where it is absent these tests say so and do nothing.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::dump::{self, PlanOptions};
use core2dmp::source::FileSource;
use core2dmp::windows;
use core2dmp::write::{self, Silent};

/// Of the corpus, from the workspace's root.
const PLACE: &str = "../shared/corpus";

/// The folder of an unpacked case; `None`, said aloud, where there is none.
fn case(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpus = root.join(PLACE);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("corpus-containers");
    let unpacked = corpus.join(name).is_dir()
        && fs::create_dir_all(&target).is_ok()
        && Command::new(corpus.join("unpack"))
            .arg(&target)
            .arg(name)
            .status()
            .is_ok_and(|status| status.success());
    if !unpacked {
        eprintln!("SKIPPED: corpus case {name}: no {PLACE}/{name}, or it cannot be unpacked");
        return None;
    }
    Some(target.join(name))
}

fn open(path: &Path) -> Guest {
    let source = Arc::new(FileSource::open(path).unwrap());
    container::open(source, OpenOptions::default()).unwrap()
}

/// Frames that both have, every one of which must be the same in both.
#[track_caller]
fn compare(one: &Guest, other: &Guest) -> u64 {
    let (mut a, mut b) = ([0; 4096], [0; 4096]);
    let mut both = 0;
    for run in one.memory.runs() {
        // Where a PC has no RAM, each hypervisor shows something of its own.
        let not_ram = |gpa: u64| (0xa_0000..0x10_0000).contains(&gpa) || gpa >= 0xf000_0000;
        for frame in 0..run.frames.count {
            let gpa = run.frames.first.saturating_add(frame).gpa();
            if not_ram(gpa.get()) || other.memory.read(gpa, &mut b).is_err() {
                continue;
            }
            one.memory.read(gpa, &mut a).unwrap();
            assert!(a == b, "the frame at {gpa}");
            both += 1;
        }
    }
    both
}

fn dump(guest: &Guest) -> Vec<u8> {
    let found = windows::identify(guest).unwrap();
    let plan = dump::plan(guest, &found, &PlanOptions::default()).unwrap();
    assert_eq!(plan.missing.frames, 0);
    let mut file = Vec::new();
    write::to_stream(&plan.image, &guest.memory, &mut file, &Silent).unwrap();
    file
}

/// The first byte that differs behind the header.
fn difference(one: &[u8], other: &[u8], header: usize) -> Option<usize> {
    assert_eq!(one.len(), other.len());
    let mut pairs = one.iter().zip(other).skip(header);
    Some(header + pairs.position(|(a, b)| a != b)?)
}

#[test]
fn reactos_x86() {
    let Some(folder) = case("reactos-x86") else {
        return;
    };
    let [xen, elf, kdump] =
        ["xen.core", "qemu.elf", "qemu.kdump"].map(|name| open(&folder.join(name)));
    assert_eq!(
        [&xen, &elf, &kdump].map(|guest| guest.container.format),
        ["xen", "elf", "kdump"]
    );
    assert!(compare(&xen, &elf) > 0x7f00);
    assert!(compare(&elf, &kdump) > 0x7f00);
    assert_eq!(elf.cpus.len(), 1);
    assert_eq!(elf.cpus[0].registers, kdump.cpus[0].registers);
    let wanted = dump(&xen);
    for guest in [&elf, &kdump] {
        assert_eq!(difference(&dump(guest), &wanted, 0x1000), None);
    }
}

#[test]
fn w10_live_2() {
    let Some(folder) = case("w10-live-2") else {
        return;
    };
    let [xen, elf] = ["xen.core", "qemu.elf"].map(|name| open(&folder.join(name)));
    assert!(compare(&xen, &elf) > 0x7f00);
    for (one, other) in elf.cpus.iter().zip(&xen.cpus) {
        let [mut one, other] = [one, other].map(|cpu| cpu.registers.x86().unwrap().clone());
        // What QEMU does not tell, and what Xen does not.
        (one.dr, one.fxsave) = (other.dr, other.fxsave);
        (one.gdtr, one.idtr, one.tr, one.ldtr) = (None, None, None, None);
        assert_eq!(one, other);
    }
    let found = windows::identify(&elf).unwrap();
    assert_eq!(found.processors.len(), 2);
    assert_eq!(dump(&elf).len(), dump(&xen).len());
}

#[test]
fn x86pae_crash() {
    let Some(folder) = case("x86pae-crash") else {
        return;
    };
    let [xen, elf] = ["xen.core", "qemu.elf"].map(|name| open(&folder.join(name)));
    assert!(compare(&xen, &elf) > 0x3f00);
    assert_eq!(difference(&dump(&elf), &dump(&xen), 0x1000), None);
}

/// Registers of a saved domain and of the same domain's dump-core: the FPU, which neither used, too.
#[test]
fn a_saved_domain_has_the_registers_of_its_core() {
    let Some(folder) = case("w10-live-2") else {
        return;
    };
    let [core, save] = ["xen.core", "xen.save"].map(|name| open(&folder.join(name)));
    assert_eq!(save.cpus.len(), core.cpus.len());
    for (save, core) in save.cpus.iter().zip(&core.cpus) {
        let [save, core] = [save, core].map(|cpu| cpu.registers.x86().unwrap());
        assert_eq!(save.dr, core.dr);
        assert!(save.fxsave.is_some() && save.fxsave == core.fxsave);
    }
}

/// VirtualBox cores of three formats: the XSAVE area is the note's end, whatever the compiler put before it.
#[test]
fn virtualbox_cores_of_three_formats() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/vbox");
    let (Some(xen), true) = (case("w10-live-2"), cases.is_dir()) else {
        eprintln!("SKIPPED: ../shared/cases/vbox is not there");
        return;
    };
    let xen = open(&xen.join("xen.core"));
    for (name, vcpus, warnings) in [("v13", 0, 2), ("v15", 2, 0), ("v16", 2, 0)] {
        let packed = fs::read(cases.join(format!("{name}.elf.xz"))).unwrap();
        let mut file = Vec::new();
        lzma_rust2::XzReader::new(&packed[..], true)
            .read_to_end(&mut file)
            .unwrap();
        let opened = container::open(Arc::new(file), OpenOptions::default()).unwrap();
        assert_eq!(opened.cpus.len(), vcpus, "{name}");
        assert_eq!(opened.container.warnings.len(), warnings, "{name}");
        for (cpu, xen) in opened.cpus.iter().zip(&xen.cpus) {
            let [cpu, xen] = [cpu, xen].map(|cpu| cpu.registers.x86().unwrap());
            let fxsave = cpu.fxsave.unwrap();
            assert_eq!(fxsave[24..28], [0x80, 0x1f, 0, 0], "{name}");
            assert_eq!(
                (cpu.rip, cpu.rsp, cpu.cr3),
                (xen.rip, xen.rsp, xen.cr3),
                "{name}"
            );
        }
    }
}
