//! What a user sees, word for word: `tests/cmd/*.trycmd`, run in a folder of synthetic guests.
//!
//! `TRYCMD=overwrite cargo test -p core2dmp-cli --test transcripts` writes them anew; read the difference before it is
//! committed.

#![cfg(test)]

use std::path::Path;

use core2dmp_synth::{CrashRecord, Frames, Guest, GuestRecord, GuestSpec, dump};

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
    write("record.core", &destroyed(live.clone()));
    let mut empty = live.build();
    empty.frames = Frames::default();
    write("no-windows.core", &empty);
    let whole = std::fs::read(folder.join("live.core")).unwrap();
    // The disk was full: a few pages and the table behind them are missing.
    let cut = &whole[..whole.len() - 0x1_4000];
    std::fs::write(folder.join("cut.core"), cut).unwrap();
    std::fs::write(folder.join("notes.txt"), "not a container\n").unwrap();
    std::fs::write(folder.join("there.dmp"), "precious\n").unwrap();
    dumps(folder);
    sources(folder);
}

/// A driver in the guest left a record; KDBG, lists and `KUSER_SHARED_DATA` are overwritten.
fn destroyed(live: GuestSpec) -> Guest {
    let stopped = live.crashed(0xd1, [0x28, 2, 0, 0xffff_f806_1234_5678]);
    let mut guest = stopped.guest_record(GuestRecord::new()).build();
    let (modules, processes) = (
        guest.expected.ps_loaded_module_list,
        guest.expected.ps_active_process_head,
    );
    let block = guest.expected.kdbg.clone().unwrap();
    guest.write_va(block.va, &vec![0xd5; block.plain.len()]);
    guest.write_va(modules, &[0xd5; 16]);
    guest.write_va(processes, &[0xd5; 16]);
    guest.write_va(0xffff_f780_0000_0000, &[0xd5; 0x1000]);
    guest
}

/// Folders, and a compressed file.
fn sources(folder: &Path) {
    for (name, files) in [("none", 0), ("one", 1), ("several", 2)] {
        let inner = folder.join(name);
        std::fs::create_dir(&inner).unwrap();
        for file in ["a.core", "b.core"].iter().take(files) {
            std::fs::copy(folder.join("live.core"), inner.join(file)).unwrap();
        }
    }
    // Stored, not compressed: a header, a block of 65535 bytes of which a hundred are there.
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x00\xff\xff\0\0".to_vec();
    gzip.resize(gzip.len() + 100, 0x5a);
    std::fs::write(folder.join("cut.gz"), gzip).unwrap();
}

/// Dumps, good ones and broken ones.
fn dumps(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let spec = GuestSpec::windows7().memory_mib(20).processors(2);
    let guest = spec.crash_record(CrashRecord::DriverIrql).build();
    guest
        .xen_core()
        .write_file(folder.join("good.core"))
        .unwrap();
    let good = dump::full(&guest);
    write("good.dmp", &good.bytes);
    write("header.bin", &good.bytes[..0x2000]);
    write("cut-header.bin", &good.bytes[..0x100]);
    write("triage.dmp", &dump::triage(&guest).bytes);
    write("bitmap.dmp", &dump::bitmap(&guest, true).bytes);
    write(
        "ranges.dmp",
        &dump::rdmp(&guest, dump::Ranges::Complete).bytes,
    );
    // The thread: a header of another type, made in another boot.
    let mut stale = good.clone();
    stale.set_type(2);
    stale.put_u64(0x10, 0x7eec_1000);
    stale.put_u64(0x18, 0xffff_fadf_c920_0000);
    for name in ["stale.dmp", "in-place.dmp", "kept.dmp"] {
        write(name, &stale.bytes);
    }
    write(
        "listing.txt",
        b"Comparing good and new\n00000011: 60 10\n00000f98: 01 02\n",
    );
    let mut cut = good.clone();
    cut.truncate(good.bytes.len() - 0x5000);
    write("short.dmp", &cut.bytes);
    let mut encrypted = good;
    encrypted.put_u32(0x1050, 0x100);
    write("encrypted.dmp", &encrypted.bytes);
}

/// What the program says of its confinement here.
fn sandbox() -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_core2dmp"))
        .args(["info", "live.core"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("sandbox: "));
    line.unwrap().to_owned()
}

#[test]
fn transcripts() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    guests(folder.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/*.trycmd");
    // Cases run in the current folder; this is the only test of its process.
    std::env::set_current_dir(folder.path()).unwrap();
    let cases_of = trycmd::TestCases::new();
    // What this machine's kernel has.
    cases_of.insert_var("[SANDBOX]", sandbox()).unwrap();
    cases_of
        .case(cases)
        .env("COLUMNS", "100")
        .register_bin("core2dmp", Path::new(env!("CARGO_BIN_EXE_core2dmp")));
}
