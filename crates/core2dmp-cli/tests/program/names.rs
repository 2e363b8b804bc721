//! Names that mean something else than a new file: links, devices, folders, the source itself, names that are no text.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use core2dmp_synth::GuestSpec;
use tempfile::TempDir;

use crate::run::{names, program, run, scratch, skipped};

/// Conversions to one name at once.
const RACERS: usize = 6;

fn small() -> GuestSpec {
    GuestSpec::windows10().memory_mib(20).fill(90)
}

/// A folder with a core of its own name in it.
fn core() -> (TempDir, PathBuf) {
    let folder = scratch();
    let path = folder.path().join("guest.core");
    small().build().xen_core().write_file(&path).unwrap();
    (folder, path)
}

#[test]
fn what_is_no_file_is_not_replaced_even_by_force() {
    let (folder, core) = core();
    let at = |name: &str| folder.path().join(name);
    symlink("nowhere", at("dangling")).unwrap();
    symlink(&core, at("to-the-source")).unwrap();
    symlink("/dev/null", at("to-a-device")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::create_dir(at("folder/guest.dmp")).unwrap();
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let before = fs::read(&core).unwrap();
    for (name, words) in [
        ("dangling", "is not a regular file"),
        ("to-the-source", "is the source itself"),
        ("to-a-device", "is not a regular file"),
        ("fifo", "is not a regular file"),
        ("socket", "is not a regular file"),
        // Into the folder, where a folder has the name.
        ("folder", "is not a regular file"),
    ] {
        let outcome = run(&["convert", "--force"], &[&core, &at(name)]).expect_code(2);
        assert!(outcome.stderr.contains(words), "{name}: {}", outcome.stderr);
    }
    let outcome = run(&["convert", "--force"], &[&core, Path::new("/dev/null")]).expect_code(2);
    assert!(outcome.stderr.contains("is not a regular file"));
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert!(fs::symlink_metadata(at("dangling")).unwrap().is_symlink());
    assert!(fs::read(&core).unwrap() == before);
    assert_eq!(names(&at("folder")), ["guest.dmp"]);
    drop(socket);
}

#[test]
fn another_name_of_the_source_is_the_source() {
    let (folder, core) = core();
    let hard = folder.path().join("hard.dmp");
    fs::hard_link(&core, &hard).unwrap();
    for options in [&["convert"][..], &["convert", "--force"]] {
        let outcome = run(options, &[&core, &hard]).expect_code(2);
        assert!(
            outcome.stderr.contains("is the source itself"),
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(fs::metadata(&hard).unwrap().nlink(), 2);
    // The other way round: a link for a source, whose default name is beside the link.
    let elsewhere = scratch();
    let link = elsewhere.path().join("link.core");
    symlink(&core, &link).unwrap();
    run(&["convert"], &[&link]).expect_code(0);
    assert_eq!(names(elsewhere.path()), ["link.core", "link.dmp"]);
}

#[test]
fn a_source_that_would_block_is_refused() {
    let folder = scratch();
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()));
    for options in [&["convert", "--dry-run"][..], &["info"], &["check"]] {
        let outcome = run(options, &[&fifo]).expect_code(2);
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    }
    // Nor among several; confined, it could not be opened anyway.
    let (_folder, core) = core();
    let outcome = run(&["info", "--no-sandbox"], &[&core, &fifo]).expect_code(2);
    assert!(
        outcome.stderr.contains("it is a pipe"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn of_two_conversions_to_one_name_one_wins() {
    let (folder, core) = core();
    let out = scratch();
    let dump = out.path().join("out.dmp");
    let alone = folder.path().join("alone.dmp");
    run(&["convert"], &[&core, &alone]).expect_code(0);
    let expected = fs::read(&alone).unwrap();
    let start = |options: &[&str]| -> Vec<Output> {
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                let mut command = program();
                command.args(options).args([&core, &dump]);
                command.spawn().unwrap()
            })
            .collect();
        let racers = racers.into_iter();
        racers
            .map(|racer| racer.wait_with_output().unwrap())
            .collect()
    };
    let outcomes = start(&["convert"]);
    let won = outcomes.iter().filter(|o| o.status.success()).count();
    assert_eq!(won, 1);
    for lost in outcomes.iter().filter(|o| !o.status.success()) {
        let stderr = String::from_utf8_lossy(&lost.stderr);
        assert!(stderr.contains("out.dmp exists"), "{stderr}");
    }
    assert_eq!(names(out.path()), ["out.dmp"]);
    assert!(fs::read(&dump).unwrap() == expected);
    // By force the last one wins, and nobody takes away what another one is writing.
    for outcome in start(&["convert", "--force", "--clean"]) {
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{stderr}");
    }
    assert_eq!(names(out.path()), ["out.dmp"]);
    assert!(fs::read(&dump).unwrap() == expected);
}

#[test]
fn odd_names_are_names() {
    let (folder, core) = core();
    let longest = "x".repeat(251) + ".dmp";
    let wide = "\u{540d}".repeat(83) + ".dmp";
    for name in [
        b"a\nb.dmp".as_slice(),
        b"\xff\xfe.dmp",
        b" .dmp ",
        b"%s%n.dmp",
        b"'\"`$(x).dmp",
        b"..dmp",
        longest.as_bytes(),
        wide.as_bytes(),
    ] {
        let out = scratch();
        let dump = out.path().join(OsStr::from_bytes(name));
        let outcome = run(&["convert"], &[&core, &dump]).expect_code(0);
        let entries: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
        assert_eq!(entries.len(), 1, "{name:?}");
        assert_eq!(entries[0].as_ref().unwrap().file_name().as_bytes(), name);
        assert_eq!(outcome.stderr, "");
        run(&["check"], &[&dump]).expect_code(0);
    }
    // A name that looks like an option, as the source and as the output.
    fs::rename(&core, folder.path().join("-v.core")).unwrap();
    let output = program()
        .current_dir(folder.path())
        .args(["convert", "--", "-v.core", "--force.dmp"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(names(folder.path()), ["--force.dmp", "-v.core"]);
}

#[test]
fn odd_names_are_reported_as_one_line_without_instructions() {
    let (_folder, core) = core();
    let out = scratch();
    let dump = out
        .path()
        .join(OsStr::from_bytes(b"a\nerror: \x1b[2J\xff.dmp"));
    for options in [&["convert"][..], &["convert", "--force", "--json"]] {
        let outcome = run(options, &[&core, &dump]).expect_code(0);
        let raw = |byte: &u8| !byte.is_ascii_graphic() && !b" \n".contains(byte);
        assert!(!outcome.stdout.iter().any(|b| raw(b) && b.is_ascii()));
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(
            !text.lines().any(|line| line.starts_with("error:")),
            "{text}"
        );
    }
    let outcome = run(&["convert"], &[&core, &dump]).expect_code(2);
    assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\x1b'));
}

#[test]
fn in_a_folder_that_everybody_writes_the_file_is_private_from_its_first_byte() {
    let (_folder, core) = core();
    let out = scratch();
    fs::set_permissions(out.path(), Permissions::from_mode(0o1777)).unwrap();
    let log = out.path().join("log");
    let has_strace = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&log)
        .args([
            "-e",
            "trace=openat,open,chmod,fchmod,renameat2,rename,link,linkat",
        ])
        .args([
            "sh",
            "-c",
            "umask 0; exec \"$0\" convert --no-sandbox \"$1\" \"$2\"",
        ])
        .arg(env!("CARGO_BIN_EXE_core2dmp"))
        .args([&core, &out.path().join("out.dmp")])
        .stdout(Stdio::null())
        .status();
    if !has_strace.is_ok_and(|status| status.success()) {
        skipped("how the file is created: strace is not installed, or may not trace");
        return;
    }
    let log = fs::read_to_string(&log).unwrap();
    let creations: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("O_CREAT"))
        .collect();
    assert_eq!(creations.len(), 1, "{log}");
    let creation = creations[0];
    assert!(creation.contains("/.out.dmp.") && creation.contains(".core2dmp-part"));
    // O_EXCL follows no link either, whoever put one there.
    assert!(
        creation.contains("O_EXCL") && creation.contains("0600"),
        "{creation}"
    );
    assert!(!log.contains("chmod("), "{log}");
    assert!(log.contains("RENAME_NOREPLACE"), "{log}");
    let meta = fs::metadata(out.path().join("out.dmp")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o600);
}

#[test]
fn a_file_planted_under_the_temporary_name_is_not_ours() {
    let (_folder, core) = core();
    let out = scratch();
    let planted = out.path().join(".out.dmp.Ab12cD.core2dmp-part");
    let secret = out.path().join("secret");
    fs::write(&secret, "precious").unwrap();
    symlink(&secret, &planted).unwrap();
    let dump = out.path().join("out.dmp");
    let outcome = run(&["convert", "--clean"], &[&core, &dump]).expect_code(0);
    assert_eq!(outcome.stderr, "");
    assert!(fs::symlink_metadata(&planted).unwrap().is_symlink());
    assert_eq!(fs::read(&secret).unwrap(), b"precious");
    drop(File::open(&dump).unwrap());
}
