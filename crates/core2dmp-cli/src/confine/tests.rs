//! Each test starts this test program again: what a process gave up it does not get back.

#![cfg(test)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// What the child tries.
const TRY: &str = "CORE2DMP_TRY";
/// Where.
const FOLDER: &str = "CORE2DMP_TRY_IN";

/// SIGSYS.
const KILLED: i32 = 31;

/// In the child: gives up all but a source and a folder, then tries.
#[test]
#[ignore = "the other tests start it"]
fn child() {
    let (Ok(what), Some(folder)) = (std::env::var(TRY), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let mut access = Access::default();
    access.read.push(folder.join("in/guest.vmss"));
    access.read.push(folder.join("in/guest.vmem"));
    access.write.push(folder.join("out"));
    enter(&access);
    println!("reached {}", level().unwrap());
    let outcome = attempt(&what, &folder);
    println!("outcome {outcome}");
}

fn attempt(what: &str, folder: &Path) -> String {
    let said = |result: std::io::Result<()>| match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let at = |name: &str| folder.join(name);
    match what {
        "read the source" => said(fs::read(at("in/guest.vmss")).map(drop)),
        "read its companion" => said(fs::read(at("in/guest.vmem")).map(drop)),
        "read a neighbour" => said(fs::read(at("in/secret")).map(drop)),
        "read /etc/passwd" => said(fs::read("/etc/passwd").map(drop)),
        "read a link out" => said(fs::read(at("out/link")).map(drop)),
        "change the source" => said(
            File::options()
                .write(true)
                .open(at("in/guest.vmss"))
                .map(drop),
        ),
        "write beside the source" => said(fs::write(at("in/new"), "x")),
        "write the output" => said(
            fs::write(at("out/new"), "x").and_then(|()| fs::rename(at("out/new"), at("out/name"))),
        ),
        "move it elsewhere" => said(
            fs::write(at("out/new"), "x").and_then(|()| fs::rename(at("out/new"), at("in/name"))),
        ),
        "write elsewhere" => said(fs::write(at("new"), "x")),
        "make a link" => said(std::os::unix::fs::symlink("/etc", at("out/etc"))),
        "make a folder" => said(fs::create_dir(at("out/folder"))),
        "start a thread" => std::thread::spawn(|| "done".to_owned()).join().unwrap(),
        "take memory" => {
            let mut bytes = Vec::<u8>::new();
            match bytes.try_reserve_exact(64 << 30) {
                Ok(()) => "done".to_owned(),
                Err(_) => "OutOfMemory".to_owned(),
            }
        }
        "start a program" => said(Command::new("/bin/true").status().map(drop)),
        "listen" => said(TcpListener::bind("127.0.0.1:0").map(drop)),
        "trace" => said(fs::read("/proc/1/environ").map(drop)),
        "dump core" => {
            let limits = rustix::process::getrlimit(rustix::process::Resource::Core);
            format!("{:?} {:?}", limits.current, limits.maximum)
        }
        other => panic!("{other}"),
    }
}

/// What a child says, or the signal that killed it.
fn tried(what: &str) -> Result<String, i32> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["in", "out"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["in/guest.vmss", "in/guest.vmem", "in/secret"] {
        // What a format claims.
        fs::write(folder.path().join(name), "KDUMP   ").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("out/link")).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "confine::tests::child",
            "--ignored",
            "--nocapture",
        ])
        .env(TRY, what)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("reached "), "{what}: {text}");
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&output.status) {
        assert!(!text.contains("outcome "), "{what}: {text}");
        return Err(signal);
    }
    let outcome = text.lines().find_map(|line| line.strip_prefix("outcome "));
    Ok(outcome
        .unwrap_or_else(|| panic!("{what}: {text}"))
        .to_owned())
}

#[test]
fn what_the_program_does_goes_on() {
    for what in [
        "read the source",
        "read its companion",
        "write the output",
        "start a thread",
    ] {
        assert_eq!(tried(what).as_deref(), Ok("done"), "{what}");
    }
}

#[test]
fn files_elsewhere_cannot_be_opened() {
    if !has_landlock() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "SKIPPED: this kernel has no Landlock");
        return;
    }
    for what in [
        "read a neighbour",
        "read /etc/passwd",
        "read a link out",
        "trace",
        "change the source",
        "write beside the source",
        "write elsewhere",
        "move it elsewhere",
    ] {
        assert_eq!(tried(what).as_deref(), Ok("PermissionDenied"), "{what}");
    }
}

/// Whether a child gets it.
fn has_landlock() -> bool {
    tried("read /etc/passwd").as_deref() != Ok("done")
}

#[test]
fn what_the_program_never_does_kills_it() {
    for what in ["start a program", "listen", "make a link", "make a folder"] {
        assert_eq!(tried(what), Err(KILLED), "{what}");
    }
}

#[test]
fn memory_has_an_end_and_no_core_is_dumped() {
    assert_eq!(tried("take memory").as_deref(), Ok("OutOfMemory"));
    assert_eq!(tried("dump core").as_deref(), Ok("Some(0) Some(0)"));
}

#[test]
fn a_level_is_said_in_words() {
    let level = |landlock, seccomp, word| Level::of(landlock, seccomp, true, word).to_string();
    assert_eq!(
        level(Some(7), true, Reach::Full),
        "Landlock 7, seccomp, limits"
    );
    assert_eq!(
        level(None, true, Reach::Partial),
        "no Landlock (Linux 5.13 and later, where it is enabled), seccomp, limits"
    );
    assert_eq!(level(None, false, Reach::Off), "off, by --no-sandbox");
}
