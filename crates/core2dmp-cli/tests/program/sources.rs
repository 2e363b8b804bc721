//! Which files belong together, which name is the output, and where raw memory has a hole.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use core2dmp_synth::{Guest, GuestSpec, KdumpCompression};
use tempfile::TempDir;

use crate::run::{names, run, scratch};

/// The header's comment, which names the container.
const COMMENT: std::ops::Range<usize> = 0xfb0..0x1030;

fn crashed(spec: GuestSpec) -> Guest {
    spec.memory_mib(24)
        .fill(50)
        .crashed(0xd1, [8, 2, 0, 0x1234])
        .build()
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The dump that these sources and options give, without its comment, and what was said.
fn converted(options: &[&str], sources: &[&Path]) -> (Vec<u8>, String) {
    let folder = scratch();
    let out = folder.path().join("out.dmp");
    let mut options = options.to_vec();
    options.extend(["--no-sync", "--output", out.to_str().unwrap()]);
    options.insert(0, "convert");
    let outcome = run(&options, sources).expect_code(0);
    let mut dump = fs::read(out).unwrap();
    dump[COMMENT].fill(0);
    (dump, String::from_utf8(outcome.stdout).unwrap())
}

/// The dump of the guest's Xen core.
fn wanted(guest: &Guest) -> Vec<u8> {
    let folder = scratch();
    let core = folder.path().join("xen.core");
    guest.xen_core().write_file(&core).unwrap();
    converted(&[], &[&core]).0
}

#[test]
fn parts_of_a_split_dump_find_each_other() {
    let guest = crashed(GuestSpec::windows10());
    let wanted = wanted(&guest);
    let folder = scratch();
    let kdump = guest.kdump().compression(KdumpCompression::Zlib);
    let parts: Vec<PathBuf> = kdump
        .split(&[0x400, 0x1000])
        .iter()
        .zip(["memory.1", "memory.2", "memory.3"])
        .map(|(part, name)| write(&folder, name, part))
        .collect();
    // Any of them, all of them in any order, or their folder.
    let reversed: Vec<&Path> = parts.iter().rev().map(PathBuf::as_path).collect();
    for sources in [&[parts[1].as_path()][..], &reversed, &[folder.path()]] {
        let (dump, said) = converted(&[], sources);
        assert!(dump == wanted, "{sources:?}");
        let told = said.contains("memory.3, a part of the same split dump");
        assert_eq!(told, sources.len() == 1, "{said}");
    }
    // Two that claim the same frames: which belongs to it is not guessed.
    fs::copy(&parts[2], folder.path().join("copy.3")).unwrap();
    let dump = folder.path().join("x");
    let outcome = run(&["convert", "--dry-run"], &[&parts[0], &dump]);
    assert!(
        outcome.stderr.contains("error: ")
            || String::from_utf8_lossy(&outcome.stdout)
                .contains("name the parts that belong together"),
        "{outcome:?}"
    );
}

#[test]
fn a_folder_is_the_one_guest_in_it() {
    let guest = crashed(GuestSpec::windows10());
    let wanted = wanted(&guest);
    let folder = scratch();
    write(&folder, "qemu-server.conf", b"memory: 24\n");
    let outcome = run(&["info"], &[folder.path()]).expect_code(2);
    assert!(outcome.stderr.contains("no guest's memory in "));
    write(&folder, "guest.elf", &guest.qemu_elf().bytes());
    let (dump, said) = converted(&[], &[folder.path()]);
    assert!(dump == wanted);
    assert!(
        said.contains("guest.elf, the one guest in the folder"),
        "{said}"
    );
    // The dump gets the core's name and place; being there, it is no second guest.
    run(&["convert"], &[folder.path()]).expect_code(0);
    let all = ["guest.dmp", "guest.elf", "qemu-server.conf"];
    assert_eq!(names(folder.path()), all);
    run(&["info"], &[folder.path()]).expect_code(0);
    // Two are one too many.
    write(&folder, "other.lime", &guest.lime(&[0x9fc00]));
    let outcome = run(&["info"], &[folder.path()]).expect_code(2);
    let message = "guest.elf (ELF core (QEMU, libvirt, VirtualBox)); other.lime (LiME or AVML)";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint: name one of them, such as "));
    assert!(outcome.stderr.contains("guest.elf\n"));
}

#[test]
fn files_of_two_guests_are_refused() {
    let guest = GuestSpec::windows7().build();
    let folder = scratch();
    let first = write(&folder, "a.elf", &guest.qemu_elf().bytes());
    let second = write(&folder, "b.elf", b"not memory");
    let outcome = run(&["convert"], &[&first, &second]).expect_code(2);
    let told = "these are not the files of one guest: ";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--output "), "{}", outcome.stderr);
    // As the hint says.
    let out = second.to_str().unwrap();
    run(&["convert", "--force", "--output", out], &[&first]).expect_code(0);
    assert!(fs::read(&second).unwrap().starts_with(b"PAGEDU64"));
}

#[test]
fn a_companion_of_no_known_format_is_left_out_and_named() {
    let guest = crashed(GuestSpec::windows7());
    let (first, frames) = *guest.present.last().unwrap();
    let folder = scratch();
    let raw = guest.raw(0, first + frames);
    let memory = write(&folder, "win.vmem", &raw);
    write(&folder, "win.vmss", b"nothing that anybody knows");
    let (dump, said) = converted(&[], &[&memory]);
    assert!(dump == wanted(&guest));
    assert!(said.contains("win.vmss is beside it, but"), "{said}");
}

#[test]
fn vmwares_memory_and_state_find_each_other() {
    let guest = crashed(GuestSpec::windows10().above_4g());
    let wanted = wanted(&guest);
    let folder = scratch();
    let memory = write(&folder, "win.vmem", &guest.vmware().vmem());
    let state = write(&folder, "win.vmss", &guest.vmware().state());
    let both: [&Path; 2] = [&state, &memory];
    for sources in [&both[..1], &both[1..], &both, &[folder.path()]] {
        let (dump, said) = converted(&[], sources);
        assert!(dump == wanted, "{sources:?}");
        let told = said.contains("found beside it by its name");
        assert_eq!(told, sources.len() == 1, "{said}");
    }
    // What stands elsewhere and is linked here is found as well, confined or not.
    let here = scratch();
    let link = |name: &str, to: &Path| {
        let path = here.path().join(name);
        std::os::unix::fs::symlink(to, &path).unwrap();
        path
    };
    let linked = [link("win.vmem", &memory), link("win.vmss", &state)];
    for source in linked.iter().map(PathBuf::as_path).chain([here.path()]) {
        let (dump, said) = converted(&[], &[source]);
        assert!(dump == wanted, "{source:?}: {said}");
    }
    // The dump gets their name.
    run(&["convert"], &[&memory]).expect_code(0);
    assert_eq!(names(folder.path()), ["win.dmp", "win.vmem", "win.vmss"]);
}

#[test]
fn windows_tells_of_the_hole_that_a_raw_file_leaves_out() {
    // All of the kernel is low, and Windows counts 16 frames at 4 GiB as well.
    let guest = crashed(GuestSpec::windows7());
    let (first, frames) = *guest.present.last().unwrap();
    let mut file = guest.raw(0, first + frames);
    let numbers = |list: &[u64]| {
        list.iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let runs = &guest.expected.runs;
    let (low, total) = (runs[1], runs.iter().map(|run| run.1).sum::<u64>());
    let block = numbers(&[2, total, runs[0].0, runs[0].1, low.0, low.1]);
    let more = numbers(&[
        3,
        total + 16,
        runs[0].0,
        runs[0].1,
        low.0,
        low.1,
        0x10_0000,
        16,
    ]);
    // The number of runs is a word of 32 bits, and nobody looks at the 32 behind it.
    let at = file
        .windows(block.len())
        .position(|bytes| bytes[8..] == block[8..] && bytes[..4] == block[..4])
        .unwrap();
    file[at..at + more.len()].copy_from_slice(&more);
    file.extend([0x5a; 16 * 4096]);
    let folder = scratch();
    let raw = write(&folder, "guest.raw", &file);
    let (dump, said) = converted(&[], &[&raw]);
    assert!(dump.ends_with(&[0x5a; 16 * 4096]));
    let told = "warning: Windows counts memory behind a hole that this raw file leaves out: read as with --hole ";
    let (_, hole) = said.split_once(told).unwrap();
    // The same, given by hand.
    let hole = hole.lines().next().unwrap();
    assert_eq!(hole, format!("{:#x}-0x100000000", (first + frames) << 12));
    let (again, said) = converted(&["--hole", hole], &[&raw]);
    assert!(again == dump && !said.contains(told), "{said}");
    let document = run(&["info", "--json"], &[&raw]).expect_code(0).json();
    crate::schema::check(&document);
    assert!(
        document["warnings"]
            .to_string()
            .contains("read as with --hole ")
    );
}

/// Memory as VMware writes it: what is at 4 GiB and above follows the first 3 GiB.
fn vmem(guest: &Guest, path: &Path) {
    let file = File::create(path).unwrap();
    let mut end = 0;
    for &(first, frames) in &guest.present {
        for pfn in first..first + frames {
            let at = if pfn < 0xc_0000 { pfn } else { pfn - 0x4_0000 };
            file.write_all_at(&guest.page(pfn).unwrap(), at << 12)
                .unwrap();
            end = end.max((at + 1) << 12);
        }
    }
    file.set_len(end).unwrap();
}

#[test]
fn a_vmem_alone_has_vmwares_hole() {
    let guest = crashed(GuestSpec::windows10().above_4g());
    let folder = scratch();
    let path = folder.path().join("guest.vmem");
    vmem(&guest, &path);
    let (dump, said) = converted(&[], &[&path]);
    assert!(dump == wanted(&guest));
    assert!(
        said.contains("VMware's hole, 0xc0000000-0xffffffff, is assumed"),
        "{said}"
    );
    // By another name it is raw memory like any, and measures itself.
    let other = folder.path().join("guest.mem");
    fs::rename(&path, &other).unwrap();
    let (dump, said) = converted(&[], &[&other]);
    assert!(dump == wanted(&guest));
    assert!(
        said.contains("the file leaves out 0xc0000000-0xffffffff"),
        "{said}"
    );
}

#[test]
fn a_hole_is_for_raw_memory() {
    let folder = scratch();
    let guest = GuestSpec::windows7().build();
    let core = write(&folder, "guest.elf", &guest.qemu_elf().bytes());
    let outcome = run(&["info", "--hole", "3G-4G"], &[&core]).expect_code(2);
    assert!(outcome.stderr.contains("holes are for raw memory"));
    let outcome = run(&["info", "--hole", "4G-3G"], &[&core]).expect_code(2);
    assert!(outcome.stderr.contains("is not after the start"));
}
