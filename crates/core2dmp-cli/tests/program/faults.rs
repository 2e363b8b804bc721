//! A host that fails: every call that writes, with every error; disks that are full, read-only, gone, or that lie.
//!
//! `strace -e inject` makes a call fail without making it. Those tests need strace; those that mount need root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use core2dmp_synth::GuestSpec;
use tempfile::TempDir;

use crate::run::{Outcome, names, program, run, scratch, skipped};

fn core(spec: GuestSpec) -> (TempDir, PathBuf) {
    let folder = scratch();
    let path = folder.path().join("guest.core");
    spec.build().xen_core().write_file(&path).unwrap();
    (folder, path)
}

fn small() -> GuestSpec {
    GuestSpec::windows10().memory_mib(20).fill(50)
}

/// The program under strace, which spoils a call of it.
fn spoiled(inject: &str, options: &[&str], files: &[&Path]) -> Outcome {
    spoiled_of(None, inject, options, files)
}

/// The same; of calls on this file alone, for the loader of programs reads as well.
fn spoiled_of(file: Option<&Path>, inject: &str, options: &[&str], files: &[&Path]) -> Outcome {
    let of = file.iter().flat_map(|file| [Path::new("-P"), file]);
    // strace skips a call by giving it a number that no filter lets through.
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("inject={inject}"),
        ])
        .args(of)
        .arg(env!("CARGO_BIN_EXE_core2dmp"))
        .arg("--no-sandbox")
        .args(options)
        .args(files)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn has_strace() -> bool {
    let tried = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        skipped("failing calls: strace is not installed, or may not trace");
    }
    works
}

#[test]
fn every_call_that_writes_may_fail() {
    if !has_strace() {
        return;
    }
    let (folder, core) = core(small());
    let good = folder.path().join("good.dmp");
    run(&["convert"], &[&core, &good]).expect_code(0);
    let expected = fs::read(&good).unwrap();
    let out = scratch();
    let dump = out.path().join("out.dmp");
    let (mut injected, mut absent) = (0, 0);
    for (call, errors, moments) in [
        (
            "pwrite64",
            &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"][..],
            &[1, 2, 4][..],
        ),
        (
            "copy_file_range",
            &["EIO", "ENOSPC", "EINTR", "EXDEV", "ENOSYS"],
            &[1, 2, 3],
        ),
        ("ftruncate", &["EIO", "ENOSPC", "EFBIG"], &[1]),
        ("fsync", &["EIO", "ENOSPC", "EDQUOT"], &[1, 2]),
        ("renameat2", &["EIO", "ENOSPC", "EACCES", "EROFS"], &[1]),
        ("flock", &["ENOLCK", "EOPNOTSUPP", "EINTR"], &[1]),
        ("fstatfs", &["EIO"], &[1]),
    ] {
        for error in errors {
            for moment in moments {
                let inject = format!("{call}:error={error}:when={moment}");
                let outcome = spoiled(&inject, &["convert"], &[&core, &dump]);
                injected += 1;
                match outcome.code {
                    Some(0) => {
                        assert_eq!(names(out.path()), ["out.dmp"], "{inject}");
                        assert!(fs::read(&dump).unwrap() == expected, "{inject}");
                        fs::remove_file(&dump).unwrap();
                    }
                    Some(2) => {
                        let said = &outcome.stderr;
                        assert!(said.starts_with("error: cannot "), "{inject}: {said}");
                        assert!(said.contains("out.dmp"), "{inject}: {said}");
                        assert_eq!(names(out.path()), [""; 0], "{inject}: {said}");
                        absent += 1;
                    }
                    other => panic!("{inject}: {other:?}: {}", outcome.stderr),
                }
            }
        }
    }
    println!("{injected} calls failed: {absent} times an error and no dump, else a whole one");
    assert!(absent > injected / 3);
}

#[test]
fn reads_that_fail_are_named_and_leave_nothing() {
    if !has_strace() {
        return;
    }
    let (_folder, core) = core(small());
    let out = scratch();
    let dump = out.path().join("out.dmp");
    let (mut injected, mut absent) = (0, 0);
    for moment in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233] {
        for error in ["EIO", "EINTR", "ESTALE", "ENODEV"] {
            let inject = format!("pread64:error={error}:when={moment}+");
            // An interruption that never ends would be repeated for ever.
            let once = |sign: char| sign == '+' && error == "EINTR";
            let inject = inject.trim_end_matches(once);
            let outcome = spoiled_of(Some(&core), inject, &["convert"], &[&core, &dump]);
            injected += 1;
            match outcome.code {
                Some(0) => fs::remove_file(&dump).unwrap(),
                Some(2) => {
                    assert!(
                        outcome.stderr.starts_with("error: "),
                        "{inject}: {}",
                        outcome.stderr
                    );
                    assert_ne!(error, "EINTR", "{}", outcome.stderr);
                    absent += 1;
                }
                other => panic!("{inject}: {other:?}: {}", outcome.stderr),
            }
            assert_eq!(names(out.path()), [""; 0], "{inject}");
        }
    }
    println!("{injected} reads failed: {absent} times an error and no dump");
}

#[test]
fn a_disk_that_lies_is_found_by_verification() {
    if !has_strace() {
        return;
    }
    let (_folder, core) = core(small());
    let out = scratch();
    let dump = out.path().join("out.dmp");
    // The header's pages are said to be written, and are not.
    let lie = "pwrite64:retval=8192:when=1";
    let outcome = spoiled(lie, &["convert", "--verify"], &[&core, &dump]).expect_code(2);
    let said = &outcome.stderr;
    assert!(
        said.contains("what was written at offset 0x0 does not read"),
        "{said}"
    );
    assert_eq!(names(out.path()), [""; 0]);
    // Nor are the others, page by page.
    let lie = "copy_file_range:retval=4096";
    let outcome = spoiled(lie, &["convert", "--verify"], &[&core, &dump]).expect_code(2);
    let said = &outcome.stderr;
    assert!(said.contains(", frame 0x"), "{said}");
    assert_eq!(names(out.path()), [""; 0]);
    // Without it nobody notices, which is what it is for.
    spoiled(lie, &["convert"], &[&core, &dump]).expect_code(0);
}

#[test]
fn verification_passes_what_is_right() {
    let (folder, core) = core(small());
    for options in [
        &["convert", "--verify"][..],
        &["convert", "--verify", "--force", "--sparse"],
        &["convert", "--verify", "--force", "--type", "bitmap"],
        &["convert", "--verify", "--force", "--split", "7M"],
    ] {
        let outcome = run(options, &[&core]).expect_code(0);
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(text.contains("  verified "), "{options:?}: {text}");
    }
    let outcome = run(&["convert", "--verify"], &[&core, Path::new("-")]).expect_code(2);
    assert!(outcome.stderr.contains("a stream cannot be read again"));
    drop(folder);
}

#[test]
fn a_dump_is_compared_with_its_core() {
    let (folder, core) = core(small());
    let dump = folder.path().join("guest.dmp");
    run(&["convert"], &[&core]).expect_code(0);
    let with = |dump: &Path| run(&["check", "--deep", "--json", "--with"], &[&core, dump]);
    let deep = with(&dump).expect_code(0).json()["deep"].clone();
    assert_eq!(deep["different"]["pages"], 0);
    let pages = |key: &str| deep[key].as_u64().unwrap();
    let all = (fs::metadata(&dump).unwrap().len() - 0x2000) / 0x1000;
    assert!(pages("changed_pages") > 0);
    assert_eq!(pages("alike_pages") + pages("changed_pages"), all);
    // Registers that were asked for are no fault.
    let other = folder.path().join("vcpu.dmp");
    run(&["convert", "--context", "vcpu"], &[&core, &other]).expect_code(0);
    with(&other).expect_code(0);
    // One bit of one page.
    let mut bytes = fs::read(&dump).unwrap();
    let at = bytes.len() - 0x3abc;
    bytes[at] ^= 1;
    fs::write(&dump, bytes).unwrap();
    let document = with(&dump).expect_code(1).json();
    assert_eq!(document["deep"]["different"]["pages"], 1);
    assert_eq!(document["clean"], false);
    let outcome = run(&["check", "--deep", "--with"], &[&core, &dump]).expect_code(1);
    let text = String::from_utf8(outcome.stdout).unwrap();
    let place = format!("at offset {:#x} of the dump", at & !0xfff);
    assert!(text.contains(&place), "{text}");
}

/// A file system of its own; `None` where nobody may mount.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            skipped("a disk of its own: a tmpfs cannot be mounted here (needs root)");
            return None;
        }
        Some(Self(at.to_path_buf()))
    }

    fn umount(&self, options: &[&str]) {
        let _ = Command::new("umount").args(options).arg(&self.0).status();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mounted = fs::read_to_string("/proc/mounts").unwrap_or_default();
        if mounted.contains(&*self.0.to_string_lossy()) {
            self.umount(&["-l"]);
        }
    }
}

#[test]
fn a_read_only_target_is_said() {
    let (folder, core) = core(small());
    let Some(disk) = Mount::new(&folder.path().join("disk"), "ro,size=64m") else {
        return;
    };
    let outcome = run(&["convert"], &[&core, &disk.0.join("out.dmp")]).expect_code(2);
    let said = &outcome.stderr;
    assert!(said.contains("read-only"), "{said}");
    assert!(said.contains("out.dmp"), "{said}");
}

#[test]
fn a_target_that_vanishes_leaves_nothing_under_its_name() {
    let (folder, core) = core(GuestSpec::windows10().memory_mib(256).fill(0));
    for _ in 0..10 {
        let Some(disk) = Mount::new(&folder.path().join("disk"), "size=600m") else {
            return;
        };
        let mut child = program()
            .args(["convert", "--quiet"])
            .args([&core, &disk.0.join("out.dmp")])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while names(&disk.0).is_empty() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "no file after a minute");
            std::thread::yield_now();
        }
        disk.umount(&["-l"]);
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            continue;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("cannot rename the finished file to"),
            "{said}"
        );
        assert_eq!(names(&disk.0), [""; 0]);
        return;
    }
    panic!("never unmounted in time");
}

#[test]
fn a_disk_is_not_filled_to_the_last_byte() {
    let (folder, core) = core(GuestSpec::windows10().memory_mib(256).fill(0));
    // Of which an eighth is for others.
    let Some(disk) = Mount::new(&folder.path().join("disk"), "size=200m") else {
        return;
    };
    let most = disk.0.join("others");
    File::create(&most).unwrap();
    let outcome = run(&["convert"], &[&core, &disk.0.join("out.dmp")]).expect_code(2);
    let said = &outcome.stderr;
    assert!(said.contains("the file system is almost full"), "{said}");
    assert!(said.contains("hint: free some space"), "{said}");
    assert_eq!(names(&disk.0), ["others"]);
}

#[test]
fn a_source_that_is_still_written_is_said() {
    let (folder, core) = core(small());
    let writer = File::options().append(true).open(&core).unwrap();
    let dump = folder.path().join("out.dmp");
    // The clock of the file goes on while the program runs.
    let mut child = program()
        .arg("convert")
        .args([&core, &dump])
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        use std::io::Write as _;
        (&writer).write_all(&[0; 512]).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    // A core that grows may also be refused as one; then the reason is said beside the error.
    assert!(
        told.contains("guest.core changed while it was read: it grew from "),
        "{told}"
    );
}
