//! A core that becomes its dump where it stands, and the core again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use core2dmp_synth::GuestSpec;
use tempfile::TempDir;

use crate::run::{Outcome, names, program, run, scratch, skipped};
use crate::schema;

const NAMES: [&str; 2] = ["guest.core.core2dmp-journal", "guest.dmp"];

/// Memory with a hole below 4 GiB, and pages outside the runs.
fn core(folder: &Path) -> PathBuf {
    let path = folder.join("guest.core");
    let guest = GuestSpec::windows10().processors(2).build();
    guest.xen_core().write_file(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    path
}

/// The dump that is written without `--in-place`.
fn dump_of(core: &Path) -> Vec<u8> {
    let folder = scratch();
    let dump = folder.path().join("out.dmp");
    run(&["convert"], &[core, &dump]).expect_code(0);
    fs::read(dump).unwrap()
}

/// Whether conversions in place work where the tests write.
fn can(folder: &TempDir) -> bool {
    let path = core(folder.path());
    let outcome = run(&["convert", "--in-place", "--dry-run"], &[&path]);
    let can = outcome.code == Some(0);
    if !can {
        skipped(&format!("no conversion in place: {}", outcome.stderr));
    }
    can
}

fn convert(core: &Path) -> Outcome {
    run(&["convert", "--in-place", "--yes"], &[core])
}

#[test]
fn a_core_becomes_its_dump_and_the_core_again() {
    let folder = scratch();
    if !can(&folder) {
        return;
    }
    let core = core(folder.path());
    let (before, wanted) = (fs::read(&core).unwrap(), dump_of(&core));
    let inode = core.metadata().unwrap().ino();
    let outcome = run(&["convert", "--in-place", "--yes", "--json"], &[&core]).expect_code(0);
    let document = outcome.json();
    schema::check(&document);
    assert_eq!(document["written"], true);
    assert_eq!(names(folder.path()), NAMES);
    let dump = folder.path().join("guest.dmp");
    let meta = dump.metadata().unwrap();
    assert_eq!((meta.ino(), meta.mode() & 0o7777), (inode, 0o600));
    assert!(fs::read(&dump).unwrap() == wanted, "another dump");
    let journal = folder.path().join(NAMES[0]).metadata().unwrap();
    assert_eq!(document["in_place"]["journal_bytes"], journal.len());
    assert_eq!(journal.mode() & 0o7777, 0o600);
    // Whoever looks for the core is told.
    let gone = run(&["convert"], &[&core]).expect_code(2);
    assert!(
        gone.stderr.contains("was converted in place into"),
        "{}",
        gone.stderr
    );

    // Moved meanwhile: only when it is told where.
    let moved = folder.path().join("moved.dmp");
    fs::rename(&dump, &moved).unwrap();
    let lost = run(&["convert", "--undo"], &[&core]).expect_code(2);
    assert!(
        lost.stderr.contains("give its name after"),
        "{}",
        lost.stderr
    );
    let undone = run(&["convert", "--undo", "--json"], &[&core, &moved]).expect_code(0);
    schema::check(&undone.json());
    assert_eq!(names(folder.path()), ["guest.core"]);
    assert!(fs::read(&core).unwrap() == before, "another core");
    assert_eq!(core.metadata().unwrap().mode() & 0o7777, 0o640);
    let nothing = run(&["convert", "--undo"], &[&core]).expect_code(2);
    assert!(
        nothing.stderr.contains("was not converted in place"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn dumps_of_other_types_too() {
    let folder = scratch();
    if !can(&folder) {
        return;
    }
    let core = core(folder.path());
    let before = fs::read(&core).unwrap();
    for kind in ["bitmap", "kernel"] {
        let other = scratch();
        let out = other.path().join("out.dmp");
        run(&["convert", "--type", kind], &[&core, &out]).expect_code(0);
        run(
            &["convert", "--in-place", "--yes", "--type", kind],
            &[&core],
        )
        .expect_code(0);
        let dump = fs::read(folder.path().join("guest.dmp")).unwrap();
        assert!(dump == fs::read(&out).unwrap(), "{kind}");
        run(&["convert", "--undo"], &[&core]).expect_code(0);
        assert!(fs::read(&core).unwrap() == before, "{kind}");
    }
}

#[test]
fn containers_whose_pages_do_not_fit_are_refused() {
    let folder = scratch();
    if !can(&folder) {
        return;
    }
    let guest = GuestSpec::windows10().build();
    let files = [
        (
            "unaligned.elf",
            guest.qemu_elf().bytes(),
            "not at multiples",
        ),
        ("packed.kdump", guest.kdump().bytes(), "are encoded"),
    ];
    for (name, bytes, why) in files {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let outcome = convert(&path).expect_code(2);
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("without --in-place"),
            "{}",
            outcome.stderr
        );
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn nothing_happens_without_a_yes() {
    let folder = scratch();
    if !can(&folder) {
        return;
    }
    let core = core(folder.path());
    let before = fs::read(&core).unwrap();
    let refused = |options: &[&str], what: &str| {
        let outcome = run(options, &[&core]).expect_code(2);
        assert!(outcome.stderr.contains(what), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("\nhint: "), "{}", outcome.stderr);
        assert!(fs::read(&core).unwrap() == before);
    };
    refused(&["convert", "--in-place"], "there is no terminal to ask on");
    let other = folder.path().join("other.core");
    fs::hard_link(&core, &other).unwrap();
    refused(&["convert", "--in-place", "--yes"], "other names");
    fs::remove_file(other).unwrap();
    fs::write(folder.path().join("guest.dmp"), "precious").unwrap();
    refused(&["convert", "--in-place", "--yes"], "guest.dmp exists");
    fs::remove_file(folder.path().join("guest.dmp")).unwrap();
    fs::write(folder.path().join(NAMES[0]), "core2dmp journal 1\nend 0\n").unwrap();
    refused(
        &["convert", "--in-place", "--yes"],
        "found damage at its head",
    );
    refused(&["convert", "--undo"], "found damage at its head");
}

#[test]
fn a_file_system_that_cannot_is_named() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("no /dev/shm");
    };
    let core = core(folder.path());
    let outcome = convert(&core).expect_code(2);
    assert!(
        outcome.stderr.contains("(tmpfs) cannot take ranges out"),
        "{}",
        outcome.stderr
    );
    assert_eq!(names(folder.path()), ["guest.core"]);
}

#[test]
fn a_dump_that_was_changed_since_stays_a_dump() {
    let folder = scratch();
    if !can(&folder) {
        return;
    }
    let core = core(folder.path());
    convert(&core).expect_code(0);
    let dump = folder.path().join("guest.dmp");
    let mut bytes = fs::read(&dump).unwrap();
    bytes[0x10] ^= 1;
    fs::write(&dump, &bytes).unwrap();
    let outcome = run(&["convert", "--undo"], &[&core]).expect_code(2);
    assert!(
        outcome.stderr.contains("was changed since"),
        "{}",
        outcome.stderr
    );
    assert!(fs::read(&dump).unwrap() == bytes);
}

/// Converts in place, and is killed at this call's n-th time, if it comes to that.
fn killed_at(call: &str, time: u32, core: &Path) -> ExitStatus {
    let inject = format!("inject={call}:signal=SIGKILL:when={time}");
    Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &inject,
        ])
        .arg(program().get_program())
        .args(["convert", "--in-place", "--yes", "-q"])
        .arg(core)
        .status()
        .unwrap()
}

/// The calls that change files, each killed at its n-th time until there is no n-th time; where `strace` is.
#[test]
fn killed_at_any_call_the_core_comes_back() {
    let folder = scratch();
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        return skipped("no strace, so nothing kills the program at a chosen call");
    }
    if !can(&folder) {
        return;
    }
    let path = core(folder.path());
    let (before, wanted) = (fs::read(&path).unwrap(), dump_of(&path));
    let (mut kills, mut unfinished) = (0, 0);
    for call in [
        "fallocate",
        "ftruncate",
        "fsync",
        "pwrite64",
        "fchmod",
        "copy_file_range",
        "linkat,renameat2,rename",
    ] {
        for time in 1.. {
            let folder = scratch();
            let core = core(folder.path());
            let status = killed_at(call, time, &core);
            let found = names(folder.path());
            if status.success() {
                assert_eq!(found, NAMES);
                assert!(fs::read(folder.path().join("guest.dmp")).unwrap() == wanted);
                break;
            }
            kills += 1;
            assert!(time < 200, "{call}");
            if found.iter().any(|name| name == NAMES[0]) {
                unfinished += 1;
                let again = convert(&core).expect_code(2);
                assert!(again.stderr.contains("--undo CORE"), "{}", again.stderr);
                run(&["convert", "--undo"], &[&core]).expect_code(0);
                assert_eq!(names(folder.path()), ["guest.core"], "{call} {time}");
            }
            assert!(fs::read(&core).unwrap() == before, "{call} {time}");
        }
    }
    println!("killed {kills} times, {unfinished} of them after the journal had its name");
    assert!(unfinished >= 10, "{unfinished}");
}
