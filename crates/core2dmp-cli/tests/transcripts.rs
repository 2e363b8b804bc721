//! What a user sees, word for word: `tests/cmd/*.trycmd`, run in a folder of synthetic guests.
//!
//! `TRYCMD=overwrite cargo test -p core2dmp-cli --test transcripts` writes them anew; read the difference before it is
//! committed.

#![cfg(test)]

use std::path::Path;

use core2dmp_synth::{CrashRecord, Frames, Guest, GuestSpec};

/// The files that the transcripts speak of.
fn guests(folder: &Path) {
    let write = |name: &str, guest: &Guest| {
        guest.xen_core().write_file(folder.join(name)).unwrap();
    };
    let live = GuestSpec::windows10().processors(2);
    write("live.core", &live.clone().build());
    let crash = live.clone().crash_record(CrashRecord::DriverIrql);
    write("crashed.core", &crash.build());
    write("x86.core", &GuestSpec::windows2003_pae().build());
    write(
        "ballooned.core",
        &live.clone().ballooned(0x1f00, 16).build(),
    );
    write("many-runs.core", &live.clone().runs(50).build());
    write("no-kdbg.core", &live.clone().without_kdbg().build());
    let mut empty = live.build();
    empty.frames = Frames::default();
    write("no-windows.core", &empty);
    let whole = std::fs::read(folder.join("live.core")).unwrap();
    // The disk was full: a few pages and the table behind them are missing.
    let cut = &whole[..whole.len() - 0x1_4000];
    std::fs::write(folder.join("cut.core"), cut).unwrap();
    std::fs::write(folder.join("notes.txt"), "not a container\n").unwrap();
    std::fs::write(folder.join("there.dmp"), "precious\n").unwrap();
}

#[test]
fn transcripts() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    guests(folder.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/*.trycmd");
    // Cases run in the current folder; this is the only test of its process.
    std::env::set_current_dir(folder.path()).unwrap();
    trycmd::TestCases::new()
        .case(cases)
        .env("COLUMNS", "100")
        .register_bin("core2dmp", Path::new(env!("CARGO_BIN_EXE_core2dmp")));
}
