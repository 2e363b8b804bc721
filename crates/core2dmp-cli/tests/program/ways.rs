//! Ways to write a dump, with the program: sparse, in parts, with checksums that other programs check.

use std::path::Path;
use std::process::Command;

use core2dmp_synth::GuestSpec;

use crate::run::{run, scratch, skipped};

fn core(folder: &Path) -> std::path::PathBuf {
    let core = folder.join("guest.core");
    let guest = GuestSpec::windows10().processors(2).fill(60).build();
    guest.xen_core().write_file(&core).unwrap();
    core
}

/// Lets another program check a manifest.
fn checked_by(program: &str, manifest: &Path) {
    let outcome = Command::new(program)
        .args(["--check", "--strict"])
        .arg(manifest.file_name().unwrap())
        .current_dir(manifest.parent().unwrap())
        .output();
    match outcome {
        Ok(outcome) => assert!(outcome.status.success(), "{program}: {outcome:?}"),
        Err(_) => skipped(&format!("{program} is not here to check the manifest")),
    }
}

#[test]
fn checksums_of_a_dump_and_of_its_parts() {
    let folder = scratch();
    let core = core(folder.path());
    let dump = folder.path().join("guest.dmp");
    run(&["convert", "--no-sync", "--hash"], &[&core]).expect_code(0);
    checked_by("sha256sum", &folder.path().join("guest.dmp.sha256"));
    let whole = std::fs::read(&dump).unwrap();
    let told = std::fs::read_to_string(folder.path().join("guest.dmp.b3")).unwrap();
    assert_eq!(told, format!("{}  guest.dmp\n", blake3::hash(&whole)));

    std::fs::remove_file(&dump).unwrap();
    run(
        &[
            "convert",
            "--no-sync",
            "--hash",
            "--sparse",
            "--split",
            "7M",
        ],
        &[&core],
    )
    .expect_code(0);
    checked_by("sha256sum", &folder.path().join("guest.dmp.sha256"));
    let parts = (1..=5).map(|n| std::fs::read(folder.path().join(format!("guest.dmp.{n:03}"))));
    assert!(parts.map(Result::unwrap).collect::<Vec<_>>().concat() == whole);
    let manifest = std::fs::read_to_string(folder.path().join("guest.dmp.sha256")).unwrap();
    assert_eq!(manifest.lines().count(), 5);
    assert!(!dump.exists());
}

#[test]
fn a_stream_is_hashed_while_it_passes() {
    let folder = scratch();
    let core = core(folder.path());
    let outcome = run(&["convert", "--hash"], &[&core, Path::new("-")]).expect_code(0);
    let told = outcome.stderr;
    let sum = blake3::hash(&outcome.stdout).to_string();
    assert!(told.contains(&sum), "{told}");
}

#[test]
fn sizes_that_are_none() {
    for size in ["0", "-1", "4X", "G", "99999999999T", ""] {
        let split = format!("--split={size}");
        let outcome = run(&["convert", &split], &[Path::new("none.core")]).expect_code(2);
        let told = outcome.stderr;
        assert!(told.contains("--split"), "{told}");
    }
}
