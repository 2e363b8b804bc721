//! Memory for other programs, read back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use core2dmp_synth::{Frames, GuestSpec};

use crate::run::{names, run, scratch};
use crate::schema;

/// The header's comment, which names the container.
const COMMENT: std::ops::Range<usize> = 0xfb0..0x1030;

#[track_caller]
fn dump_of(source: &Path, out: &Path) -> Vec<u8> {
    run(&["convert", "--no-sync", "--force"], &[source, out]).expect_code(0);
    let mut dump = fs::read(out).unwrap();
    dump[COMMENT].fill(0);
    dump
}

#[test]
fn an_exported_guest_gives_the_same_dump() {
    let spec = GuestSpec::windows10().memory_mib(24).above_4g().fill(50);
    let guest = spec.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let core = path("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    let wanted = dump_of(&core, &path("wanted.dmp"));
    // Compressed pages are decoded on the way.
    let kdump = path("guest.kdump");
    fs::write(&kdump, guest.kdump().bytes()).unwrap();
    for source in [&core, &kdump] {
        for to in ["raw", "elf", "lime"] {
            let options = ["convert", "--to", to, "--json", "--force"];
            let document = run(&options, &[source]).expect_code(0).json();
            schema::check(&document);
            assert_eq!(document["export"]["format"], to);
            let exported = path(&format!("guest.{to}"));
            let meta = fs::metadata(&exported).unwrap();
            assert_eq!(document["export"]["size"], meta.len());
            assert_eq!(meta.mode() & 0o7777, 0o600);
            if to == "raw" {
                // 4 GiB and more by address, and hardly any of it on the disk.
                assert!(meta.len() > 4 << 30 && meta.blocks() * 512 < 32 << 20);
            }
            assert!(dump_of(&exported, &path("got.dmp")) == wanted, "{to}");
        }
    }
    // A dump is memory like any other.
    run(
        &["convert", "--to", "lime", "--force"],
        &[&path("wanted.dmp"), &path("again.lime")],
    )
    .expect_code(0);
    assert!(dump_of(&path("again.lime"), &path("got.dmp")) == wanted);
}

#[test]
fn a_guest_without_windows_can_be_exported() {
    let folder = scratch();
    let core = folder.path().join("linux.core");
    let mut guest = GuestSpec::windows10().processors(2).build();
    guest.frames = Frames::default();
    guest.xen_core().write_file(&core).unwrap();
    run(&["convert"], &[&core]).expect_code(2);
    for to in ["raw", "elf", "lime"] {
        let dry = run(&["convert", "--to", to, "--dry-run"], &[&core]).expect_code(0);
        assert!(
            String::from_utf8(dry.stdout)
                .unwrap()
                .contains("Would write")
        );
        run(&["convert", "--quiet", "--to", to], &[&core]).expect_code(0);
    }
    let all = ["linux.core", "linux.elf", "linux.lime", "linux.raw"];
    assert_eq!(names(folder.path()), all);
    let outcome = run(&["convert", "--to", "elf"], &[&core]).expect_code(2);
    assert!(outcome.stderr.contains("linux.elf exists"));
    // A stream has no holes, but the same bytes.
    let stream = run(&["convert", "--to", "raw"], &[&core, Path::new("-")]).expect_code(0);
    assert!(stream.stdout == fs::read(folder.path().join("linux.raw")).unwrap());
}
