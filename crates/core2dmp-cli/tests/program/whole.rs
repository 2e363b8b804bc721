//! The output appears whole or not at all, and belongs to its owner alone.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use core2dmp_synth::GuestSpec;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::run::{names, program, run, scratch, skipped};

/// Of the guest that is interrupted, in MiB: moving it takes far longer than noticing that it has begun.
const LARGE: u64 = 256;
/// How often an interruption may come too late.
const ATTEMPTS: usize = 10;

fn core(folder: &TempDir, spec: GuestSpec) -> PathBuf {
    let path = folder.path().join("guest.core");
    spec.build().xen_core().write_file(&path).unwrap();
    path
}

#[test]
fn the_dump_is_its_owners_alone() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    run(&["convert"], &[&core]).expect_code(0);
    assert_eq!(names(folder.path()), ["guest.core", "guest.dmp"]);
    let mode = fs::metadata(folder.path().join("guest.dmp"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let dump = folder.path().join("guest.dmp");
    fs::write(&dump, "precious").unwrap();
    let outcome = run(&["convert"], &[&core]).expect_code(2);
    assert!(
        outcome.stderr.contains("guest.dmp exists\nhint: "),
        "{}",
        outcome.stderr
    );
    assert_eq!(fs::read(&dump).unwrap(), b"precious");
    run(&["convert", "--force"], &[&core]).expect_code(0);
    assert!(fs::read(&dump).unwrap().starts_with(b"PAGEDU64"));
    assert_eq!(names(folder.path()), ["guest.core", "guest.dmp"]);
}

#[test]
fn the_source_is_never_the_output() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let before = fs::read(&core).unwrap();
    let other_name = folder
        .path()
        .join("../")
        .join(folder.path().file_name().unwrap())
        .join("guest.core");
    let outcome = run(&["convert", "--force"], &[&core, &other_name]).expect_code(2);
    assert!(
        outcome.stderr.contains("is the source itself"),
        "{}",
        outcome.stderr
    );
    assert!(fs::read(&core).unwrap() == before);
}

#[test]
fn a_link_is_not_followed() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let target = folder.path().join("target");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("guest.dmp")).unwrap();
    run(&["convert", "--force"], &[&core]).expect_code(2);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn sigint_leaves_nothing() {
    interrupted(Signal::INT);
}

#[test]
fn sigterm_leaves_nothing() {
    interrupted(Signal::TERM);
}

/// A signal in the middle of the copying, which a temporary file announces.
fn interrupted(signal: Signal) {
    let source = scratch();
    let core = core(&source, GuestSpec::windows10().memory_mib(LARGE).fill(0));
    for _ in 0..ATTEMPTS {
        let folder = scratch();
        let dump = folder.path().join("out.dmp");
        let mut child = program()
            .arg("convert")
            .args([&core, &dump])
            .spawn()
            .unwrap();
        if !wait_for_a_file(folder.path(), &mut child) {
            continue;
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            // The machine was busy and the signal late.
            assert_eq!(names(folder.path()), ["out.dmp"]);
            continue;
        }
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert_eq!(stderr, "error: interrupted; no output was left behind\n");
        assert_eq!(names(folder.path()), [""; 0]);
        return;
    }
    panic!("never interrupted in time");
}

/// Whether a file appeared before the program ended.
fn wait_for_a_file(folder: &Path, child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if !names(folder).is_empty() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("no output after a minute");
}

#[test]
fn a_signal_ends_a_stream_that_nobody_reads() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let mut child = program()
        .arg("convert")
        .args([&core, Path::new("-")])
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // The pipe is full by now or soon, and stays so.
    stdout.read_exact(&mut [0; 8]).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let mut child = program()
        .arg("convert")
        .args([&core, Path::new("-")])
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn a_full_device_is_an_error_of_a_stream() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10());
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        skipped("no /dev/full");
        return;
    };
    let mut command = program();
    command
        .arg("convert")
        .args([&core, Path::new("-")])
        .stdout(Stdio::from(full));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.starts_with("error: cannot write the stream at offset 0x0: No space left"),
        "{stderr}"
    );
}

#[test]
fn a_full_disk_leaves_nothing() {
    let folder = scratch();
    let core = core(&folder, GuestSpec::windows10().fill(0));
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        skipped("a full disk: a tmpfs cannot be mounted here (needs root)");
        return;
    }
    let outcome = run(&["convert"], &[&core, &disk.join("out.dmp")]);
    let left = names(&disk);
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let outcome = outcome.expect_code(2);
    assert!(
        outcome.stderr.contains("No space left on device"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("\nhint: free some space"),
        "{}",
        outcome.stderr
    );
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_limit_on_file_sizes_leaves_nothing() {
    let source = scratch();
    let core = core(&source, GuestSpec::windows10().fill(0));
    let folder = scratch();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 4096 && exec \"$0\" convert \"$1\" \"$2\""])
        .arg(env!("CARGO_BIN_EXE_core2dmp"))
        .args([&core, &folder.path().join("out.dmp")])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    assert_eq!(names(folder.path()), [""; 0]);
}
