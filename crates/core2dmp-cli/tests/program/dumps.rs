//! `info`, `check`, `diff` and `repair` of dumps, as JSON and by their effect on files.

use std::path::{Path, PathBuf};

use core2dmp_synth::dump::{self, Dump, Ranges};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{names, run, scratch};
use crate::schema;

/// A crashed guest, small.
fn guest() -> Guest {
    let spec = GuestSpec::windows7().memory_mib(20).processors(2);
    spec.crash_record(CrashRecord::DriverIrql).build()
}

/// A folder with a dump in it.
fn folder_with(dump: &Dump) -> (TempDir, PathBuf) {
    let folder = scratch();
    let path = folder.path().join("guest.dmp");
    std::fs::write(&path, &dump.bytes).unwrap();
    (folder, path)
}

/// The dump behind a header of another type and another boot, as in the thread.
fn stale(mut dump: Dump) -> Dump {
    dump.set_type(2);
    dump.put_u64(0x10, 0x7eec_1000);
    dump.put_u64(0x18, 0xffff_fadf_c920_0000);
    dump
}

/// The document of a command that ends with this code, held to the schema.
#[track_caller]
fn json(options: &[&str], files: &[&Path], code: i32) -> Value {
    let document = run(options, files).expect_code(code).json();
    schema::check(&document);
    document
}

#[test]
fn every_type_of_dump_is_described() {
    let guest = guest();
    for (kind, dump, memory) in [
        ("full", dump::full(&guest), true),
        ("bitmap", dump::bitmap(&guest, false), true),
        ("bitmap", dump::bitmap(&guest, true), true),
        ("summary", dump::summary(&guest), true),
        ("ranges", dump::rdmp(&guest, Ranges::Complete), true),
        ("triage", dump::triage(&guest), false),
    ] {
        let (_folder, path) = folder_with(&dump);
        let document = json(&["info", "--json"], &[&path], 0);
        let file = &document["dump_file"];
        assert_eq!(file["body"]["kind"], kind);
        assert_eq!(file["body"]["agrees"], true, "{kind}");
        let details = if kind == "summary" { "bitmap" } else { kind };
        let has_details = file["body"][details].is_object();
        assert_eq!(has_details, kind != "full", "{kind}");
        assert_eq!(document["windows"].is_object(), memory, "{kind}");
        let text = run(&["info"], &[&path]).expect_code(0);
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains("DRIVER_IRQL_NOT_LESS_OR_EQUAL"), "{text}");
    }
}

#[test]
fn a_header_alone_and_what_is_left_of_one_are_described() {
    let dump = dump::full(&guest());
    for (bytes, complete) in [(0x2000, true), (0x800, false), (8, false)] {
        let (_folder, path) = folder_with(&dump);
        std::fs::write(&path, &dump.bytes[..bytes]).unwrap();
        let document = json(&["info", "--json"], &[&path], 0);
        assert_eq!(document["dump_file"]["header_complete"], complete);
        assert_eq!(document["dump_file"]["body"]["kind"], "none");
        assert!(document["windows"].is_null());
        run(&["info"], &[&path]).expect_code(0);
        let verdict = json(&["check", "--json"], &[&path], 1);
        assert_eq!(verdict["clean"], false);
        assert_eq!(verdict["memory_understood"], false);
    }
}

#[test]
fn a_comment_does_not_reach_the_terminal_raw() {
    let mut dump = dump::full(&guest());
    dump.put(0xfb0, b"\x1b[2J\x1b]0;owned\x07\x9b\0");
    let (_folder, path) = folder_with(&dump);
    for options in [&["info"][..], &["info", "--json"], &["check"]] {
        let outcome = run(options, &[&path]).expect_code(0);
        let raw = |byte: &u8| !byte.is_ascii() || (byte.is_ascii_control() && *byte != b'\n');
        assert!(!outcome.stdout.iter().any(raw), "{options:?}");
    }
}

#[test]
fn a_stale_header_is_judged_compared_and_repaired() {
    let good = dump::full(&guest());
    let (folder, path) = folder_with(&stale(good.clone()));
    let document = json(&["check", "--json"], &[&path], 1);
    let first = &document["findings"][0];
    assert_eq!(first["severity"], "refused");
    assert_eq!(first["field"], "DumpType");
    let words = first["debugger"].as_str().unwrap();
    assert!(words.contains("Win32 error 0n1392"), "{words}");

    let other = folder.path().join("good.dmp");
    std::fs::write(&other, &good.bytes).unwrap();
    let document = json(&["diff", "--json", "--bytes"], &[&other, &path], 1);
    assert!(document["bytes"].is_array());
    let document = json(&["diff", "--json", "--memory"], &[&other, &path], 1);
    assert_eq!(
        document["verdict"],
        "DumpType decides; DirectoryTableBase, PfnDataBase mislead"
    );
    assert_eq!(document["memory"]["different"]["pages"], 0);

    let document = json(&["repair", "--json", "--dry-run"], &[&path], 0);
    assert!(document["output"].is_null());
    assert_eq!(names(folder.path()), ["good.dmp", "guest.dmp"]);
    let document = json(&["repair", "--json", "--no-sync"], &[&path], 0);
    assert_eq!(document["left"], serde_json::json!([]));
    let repaired = folder.path().join("guest.repaired.dmp");
    assert_eq!(std::fs::read(&repaired).unwrap(), good.bytes);
    json(&["check", "--json"], &[&repaired], 0);
    let document = json(&["diff", "--json", "--memory"], &[&other, &repaired], 0);
    assert_eq!(document["alike"], true);
    // The first result is kept, unless told otherwise.
    let again = run(&["repair"], &[&path]).expect_code(2);
    assert!(again.stderr.contains("guest.repaired.dmp exists"));
    run(&["repair", "--force"], &[&path]).expect_code(0);
    run(&["repair"], &[&repaired]).expect_code(0);
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn what_was_changed_in_place_is_put_back() {
    let before = stale(dump::full(&guest()));
    let (folder, path) = folder_with(&before);
    let document = json(&["repair", "--json", "--in-place"], &[&path], 0);
    assert!(document["undo_file"].is_string());
    run(&["check"], &[&path]).expect_code(0);
    assert_eq!(
        names(folder.path()),
        ["guest.dmp", "guest.dmp.core2dmp-undo"]
    );
    // Broken again: a second repair would lose the first one's old bytes.
    let mut broken = std::fs::read(&path).unwrap();
    broken[0xf98] = 2;
    std::fs::write(&path, &broken).unwrap();
    let refused = run(&["repair", "--in-place"], &[&path]).expect_code(2);
    assert!(refused.stderr.contains("an earlier repair was not undone"));
    assert_eq!(std::fs::read(&path).unwrap(), broken);
    let document = json(&["repair", "--json", "--undo"], &[&path], 0);
    assert_eq!(document["undone"], 3);
    assert_eq!(std::fs::read(&path).unwrap(), before.bytes);
    assert_eq!(names(folder.path()), ["guest.dmp"]);
    run(&["repair", "--undo"], &[&path]).expect_code(2);
}

#[test]
fn a_header_is_written_anew_from_the_core_it_is_of_and_from_no_other() {
    let guest = guest();
    let folder = scratch();
    let (core, path) = (
        folder.path().join("guest.core"),
        folder.path().join("guest.dmp"),
    );
    guest.xen_core().write_file(&core).unwrap();
    run(&["convert", "--no-sync"], &[&core]).expect_code(0);
    let good = std::fs::read(&path).unwrap();
    let mut broken = good.clone();
    broken[8..0x1000].fill(0);
    std::fs::write(&path, &broken).unwrap();
    let other = folder.path().join("other.core");
    let mut later = guest.clone();
    // The low part of the interrupt time: the same guest a moment later.
    later.write_va(0xffff_f780_0000_0008, &[0x77]);
    later.xen_core().write_file(&other).unwrap();
    let refused = run(&["repair", "--in-place", "--from"], &[&other, &path]).expect_code(2);
    assert!(
        refused.stderr.contains("another core"),
        "{}",
        refused.stderr
    );
    assert_eq!(std::fs::read(&path).unwrap(), broken);
    json(
        &["repair", "--json", "--in-place", "--from"],
        &[&core, &path],
        0,
    );
    assert_eq!(std::fs::read(&path).unwrap(), good);
    // A dump and a core: the header that convert would write.
    let document = json(&["diff", "--json"], &[&path, &core], 0);
    assert_eq!(document["alike"], true);
}

#[test]
fn what_cannot_be_proven_is_left() {
    let mut encrypted = dump::full(&guest());
    encrypted.put_u32(0x1050, 0x100);
    let (folder, path) = folder_with(&encrypted);
    let document = json(&["repair", "--json"], &[&path], 2);
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("encrypted"), "{message}");
    assert_eq!(names(folder.path()), ["guest.dmp"]);
    let mut cut = dump::full(&guest());
    let bytes = cut.bytes.len();
    cut.truncate(bytes - 0x5000);
    let (folder, path) = folder_with(&cut);
    let document = json(&["repair", "--json"], &[&path], 1);
    assert_eq!(document["left"][0]["mendable"], false);
    assert_eq!(names(folder.path()), ["guest.dmp"]);
}

#[test]
fn pages_of_one_memory_alone_are_their_own_class() {
    let guest = guest();
    let folder = scratch();
    let paths = ["full", "kernel"].map(|name| folder.path().join(name));
    let [full, kernel] = &paths;
    std::fs::write(full, dump::full(&guest).bytes).unwrap();
    std::fs::write(kernel, dump::bitmap(&guest, true).bytes).unwrap();
    let document = json(&["diff", "--json", "--memory"], &[full, kernel], 1);
    let pages = |class: &str| document["memory"][class]["pages"].as_u64().unwrap();
    assert_eq!((pages("different"), pages("only_new")), (0, 0));
    assert!(pages("only_old") > 0);
    let back = json(&["diff", "--json", "--memory"], &[kernel, full], 1);
    assert_eq!(back["memory"]["only_new"], document["memory"]["only_old"]);
}

#[test]
fn what_is_no_dump_is_an_error() {
    let folder = scratch();
    let text = folder.path().join("text");
    std::fs::write(&text, "neither core nor dump").unwrap();
    for options in [&["check", "--json"][..], &["repair", "--json"]] {
        let document = json(options, &[&text], 2);
        let message = document["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with("is not a Windows crash dump"),
            "{message}"
        );
    }
    json(&["diff", "--json"], &[&text, &text], 2);
}

/// Whatever the bodies are, and in whatever order a full dump's runs are: both open, the same pages.
#[test]
fn dumps_of_one_memory_with_different_bodies_hold_the_same_pages() {
    let folder = scratch();
    let guest = GuestSpec::windows7()
        .memory_mib(20)
        .crashed(0xe2, [0; 4])
        .build();
    let full = dump::full(&guest);
    let mut turned = full.clone();
    turn_runs(&mut turned.bytes);
    let mut scrambled = full.clone();
    turn_table(&mut scrambled.bytes);
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let one = path("full.dmp", &full.bytes);
    for (name, bytes) in [
        ("ranges.dmp", dump::rdmp(&guest, Ranges::Complete).bytes),
        ("bitmap.dmp", dump::bitmap(&guest, false).bytes),
        ("turned.dmp", turned.bytes),
    ] {
        let document = json(&["diff", "--json"], &[&one, &path(name, &bytes)], 1);
        let verdict = document["verdict"].as_str().unwrap();
        assert_eq!(
            verdict, "both open, the same pages; the differences are cosmetic",
            "{name}"
        );
        assert_eq!(document["memory"]["different"]["pages"], 0, "{name}");
    }
    // The table alone turned is another memory.
    let scrambled = path("scrambled.dmp", &scrambled.bytes);
    let document = json(&["diff", "--json"], &[&one, &scrambled], 1);
    assert_eq!(document["verdict"], "PhysicalMemoryBlock.Run decides");
}

/// Where the runs of a header are, and how many.
fn runs(bytes: &[u8]) -> Vec<(u64, u64)> {
    let at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let count = usize::try_from(at(0x88) & 0xffff_ffff).unwrap();
    (0..count)
        .map(|n| (at(0x98 + n * 16), at(0xa0 + n * 16)))
        .collect()
}

/// The table of runs, in the opposite order.
fn turn_table(bytes: &mut [u8]) {
    let mut runs = runs(bytes);
    assert!(runs.len() > 1);
    runs.reverse();
    for (n, (first, count)) in runs.into_iter().enumerate() {
        bytes[0x98 + n * 16..][..8].copy_from_slice(&first.to_le_bytes());
        bytes[0xa0 + n * 16..][..8].copy_from_slice(&count.to_le_bytes());
    }
}

/// The runs in the opposite order, and their pages with them.
fn turn_runs(bytes: &mut [u8]) {
    let (mut at, mut pages) = (0x2000, Vec::new());
    for (_, count) in runs(bytes) {
        let end = at + usize::try_from(count).unwrap() * 4096;
        pages.push(bytes[at..end].to_vec());
        at = end;
    }
    turn_table(bytes);
    pages.reverse();
    bytes[0x2000..at].copy_from_slice(&pages.concat());
}
