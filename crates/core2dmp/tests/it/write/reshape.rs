//! Conversions in place on real file systems: the same dump, in milliseconds, and the same core again after a power cut.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use core2dmp::address::PAGE_SIZE;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::error::{Error, Result};
use core2dmp::source::FileSource;
use core2dmp::windows;
use core2dmp::write::in_place::reshape::{self, Consumed};
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::GuestSpec;
use rustix::fs::{FallocateFlags, fallocate};

use crate::support::sparse::Volume;

/// A sum of all bytes and their places.
fn sum(path: &Path) -> (u64, u64) {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut sum, mut buffer) = (0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 20]);
    for at in (0..size).step_by(1 << 20) {
        let bytes = (size - at).min(1 << 20) as usize;
        file.read_exact_at(&mut buffer[..bytes], at).unwrap();
        for word in buffer[..bytes].chunks(8) {
            let mut eight = [0; 8];
            eight[..word.len()].copy_from_slice(word);
            sum = (sum ^ u64::from_le_bytes(eight))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(23);
        }
    }
    (size, sum)
}

fn planned(core: &Path) -> (Guest, Plan) {
    let source = Arc::new(FileSource::open(core).unwrap());
    let guest = container::open(source, OpenOptions::default()).unwrap();
    let windows = windows::identify(&guest).unwrap();
    let plan = dump::plan(&guest, &windows, &PlanOptions::default()).unwrap();
    (guest, plan)
}

fn consumed(core: &Path, dump: &Path) -> Result<Consumed> {
    let (guest, plan) = planned(core);
    let prepared = reshape::prepare(&plan.image, &guest.memory, core, dump)?;
    prepared.execute(&plan.image, false, &Silent)
}

/// Converts, undoes, and compares both with what is to be.
fn there_and_back(folder: &Path, mib: u64, zero_percent: u8, what: &str) {
    let (core, dump) = (folder.join("a.core"), folder.join("a.dmp"));
    let spec = GuestSpec::windows10().processors(4).memory_mib(mib);
    let guest = spec.fill(zero_percent).build();
    guest.xen_core().write_file(&core).unwrap();
    File::open(&core).unwrap().sync_all().unwrap();
    let before = sum(&core);
    let (opened, plan) = planned(&core);
    let copy = tempfile::tempdir().unwrap();
    let copy = copy.path().join("a.dmp");
    write::to_file(
        &plan.image,
        &opened.memory,
        &copy,
        WriteOptions::default(),
        &Silent,
    )
    .unwrap();
    let wanted = sum(&copy);
    fs::remove_file(&copy).unwrap();

    let prepared = reshape::prepare(&plan.image, &opened.memory, &core, &dump).unwrap();
    let cost = prepared.cost();
    let start = Instant::now();
    let done = prepared.execute(&plan.image, false, &Silent).unwrap();
    let took = start.elapsed();
    assert_eq!(sum(&dump), wanted, "{what}: another dump");
    assert_eq!(fs::metadata(&done.journal).unwrap().len(), done.bytes);
    let start = Instant::now();
    reshape::undo(&core, None).unwrap();
    println!(
        "{what}: {mib} MiB, {} shifts, {} bytes saved: there in {took:?}, back in {:?}",
        cost.shifts,
        cost.saved,
        start.elapsed()
    );
    assert_eq!(sum(&core), before, "{what}: another core");
    assert!(!dump.exists() && !done.journal.exists());
    fs::remove_file(core).unwrap();
}

/// Whether ranges can be taken out of files here.
fn can(folder: &Path) -> bool {
    let file = tempfile::tempfile_in(folder).unwrap();
    file.set_len(4 * PAGE_SIZE).unwrap();
    let can = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, PAGE_SIZE).is_ok();
    if !can {
        eprintln!(
            "SKIPPED: no range can be taken out of a file in {}",
            folder.display()
        );
    }
    can
}

#[test]
fn a_gibibyte_becomes_a_dump_without_being_copied() {
    let folder = tempfile::tempdir().unwrap();
    if !can(folder.path()) {
        return;
    }
    there_and_back(folder.path(), 1024, 0, "here");
    there_and_back(folder.path(), 64, 60, "here, some zeros");
}

#[test]
fn on_xfs_and_ext4() {
    for kind in ["xfs", "ext4"] {
        let Some(volume) = Volume::of(kind) else {
            eprintln!("SKIPPED: a loop mount of {kind} needs root and mkfs.{kind}");
            continue;
        };
        there_and_back(&volume.folder(), 128, 0, kind);
        there_and_back(&volume.folder(), 128, 90, &format!("{kind}, some zeros"));
    }
}

#[test]
fn a_file_system_that_cannot_says_so() {
    let Some(volume) = Volume::of("btrfs") else {
        return eprintln!("SKIPPED: a loop mount of btrfs needs root and mkfs.btrfs");
    };
    let core = volume.folder().join("a.core");
    let guest = GuestSpec::windows10().build();
    guest.xen_core().write_file(&core).unwrap();
    let before = sum(&core);
    let error = consumed(&core, &volume.folder().join("a.dmp")).unwrap_err();
    assert!(matches!(error, Error::CannotConsume { .. }), "{error}");
    assert!(error.to_string().contains("(btrfs) cannot"), "{error}");
    assert_eq!(sum(&core), before);
    assert_eq!(fs::read_dir(volume.folder()).unwrap().count(), 1);
}

/// Writes the same bytes in extents of this size that lie in another order on the disk.
fn fragment(path: &Path, bytes: u64) {
    let old = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    let file = File::create_new(path).unwrap();
    let size = old.len() as u64;
    file.set_len(size).unwrap();
    for number in (0..size.div_ceil(bytes)).rev() {
        let at = number * bytes;
        fallocate(&file, FallocateFlags::empty(), at, bytes.min(size - at)).unwrap();
    }
    file.write_all_at(&old, 0).unwrap();
    file.sync_all().unwrap();
}

/// Runs `work` on another thread and takes the power from the volume when `when` says so; `false` where nothing can.
fn cut(
    volume: &Volume,
    work: impl FnOnce() + Send + 'static,
    when: impl FnOnce(&dyn Fn() -> bool),
) -> bool {
    let worker = std::thread::spawn(work);
    when(&|| worker.is_finished());
    let is_cut = volume.cut_power();
    worker.join().unwrap();
    volume.restart();
    is_cut
}

/// The power goes while the file system shifts thousands of extents, there and back.
#[test]
fn after_a_power_cut_the_core_comes_back() {
    for kind in ["xfs", "ext4"] {
        let Some(volume) = Volume::of(kind) else {
            eprintln!("SKIPPED: a loop mount of {kind} needs root and mkfs.{kind}");
            continue;
        };
        let (core, dump) = (
            volume.folder().join("a.core"),
            volume.folder().join("a.dmp"),
        );
        let guest = GuestSpec::windows10()
            .processors(2)
            .memory_mib(96)
            .fill(0)
            .build();
        guest.xen_core().write_file(&core).unwrap();
        fragment(&core, 2 * PAGE_SIZE);
        let before = sum(&core);
        let journal = reshape::journal_path(&core);
        let (mut cuts, mut unfinished, mut twice) = (0, 0, 0);
        for attempt in 0..12_u32 {
            let (from, to) = (core.clone(), dump.clone());
            let work = move || drop(consumed(&from, &to));
            let is_cut = cut(&volume, work, |is_finished| {
                while !journal.exists() && !is_finished() {
                    std::hint::spin_loop();
                }
                std::thread::sleep(Duration::from_millis(2) * attempt);
            });
            if !is_cut {
                eprintln!("SKIPPED: there is no xfs_io to take the power from {kind}");
                break;
            }
            cuts += 1;
            if journal.exists() {
                let found = reshape::find(&core).unwrap().unwrap();
                unfinished += u32::from(!found.is_done);
                let from = core.clone();
                let work = move || drop(reshape::undo(&from, None));
                cut(&volume, work, |_| {
                    std::thread::sleep(Duration::from_millis(3) * (attempt % 5));
                });
                if journal.exists() {
                    twice += 1;
                    reshape::undo(&core, None).unwrap();
                }
            }
            assert_eq!(sum(&core), before, "{kind}, attempt {attempt}");
            assert!(!dump.exists() && !journal.exists());
        }
        println!(
            "{kind}: {cuts} power cuts, {unfinished} in the middle, {twice} once more on the way back"
        );
    }
}
