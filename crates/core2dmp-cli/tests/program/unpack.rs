//! Compressed sources: every way, several members, cut short, twice, too large; and nothing left behind.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use core2dmp_synth::GuestSpec;
use flate2::Compression;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::run::{names, program, run, scratch, skipped};

/// The header's comment, which names the container.
const COMMENT: std::ops::Range<usize> = 0xfb0..0x1030;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(1));
    out.add_directory("memory", options).unwrap();
    for (name, bytes) in members {
        out.start_file(format!("memory/{name}"), options).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

type Compress = fn(&[u8]) -> Vec<u8>;

/// What is a stream: cut short, a part of it can be unpacked; two of them are one file.
const STREAMS: [(&str, &str, Compress); 5] = [
    ("gz", "gzip", gzip),
    ("xz", "xz", xz),
    ("zst", "Zstandard", zstd),
    ("lz4", "LZ4", lz4),
    ("bz2", "bzip2", bzip2),
];

/// A small guest's core, and its dump without the comment.
fn guest() -> (Vec<u8>, Vec<u8>) {
    let spec = GuestSpec::windows7().memory_mib(20).fill(80);
    let guest = spec.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let core = guest.qemu_elf().bytes();
    let folder = scratch();
    let path = write(&folder, "guest.elf", &core);
    (core, dump_of(&path))
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[track_caller]
fn dump_of(source: &Path) -> Vec<u8> {
    run(&["convert", "--no-sync", "--force"], &[source]).expect_code(0);
    let mut dump = fs::read(source.with_file_name("guest.dmp")).unwrap();
    dump[COMMENT].fill(0);
    dump
}

#[test]
fn every_way_to_compress() {
    let (core, wanted) = guest();
    let mut files: Vec<(String, Vec<u8>)> = STREAMS
        .iter()
        .map(|(ending, _, compress)| (format!("guest.elf.{ending}"), compress(&core)))
        .collect();
    let members: [(&str, &[u8]); 1] = [("guest.elf", &core)];
    files.push(("guest.zip".to_owned(), zip(&members)));
    for (name, bytes) in files {
        let folder = scratch();
        let path = write(&folder, &name, &bytes);
        assert!(dump_of(&path) == wanted, "{name}");
        let mut left = vec!["guest.dmp".to_owned(), name.clone()];
        left.sort();
        assert_eq!(names(folder.path()), left);
        // What it is called does not count.
        let other = folder.path().join("memory");
        fs::rename(&path, &other).unwrap();
        let info = run(&["info", "--json"], &[&other]).expect_code(0).json();
        crate::schema::check(&info);
        let unpacked = &info["container"]["details"]["unpacked"];
        assert!(unpacked.as_str().unwrap().contains(" of "), "{unpacked}");
    }
}

#[test]
fn several_members_are_one_file() {
    let (core, wanted) = guest();
    let (first, second) = core.split_at(core.len() / 3);
    for (ending, _, compress) in STREAMS {
        let folder = scratch();
        let mut bytes = compress(first);
        if ending == "zst" {
            // A skippable frame.
            bytes.extend(b"\x5a\x2a\x4d\x18\x05\0\0\0hello");
        }
        bytes.extend(compress(second));
        let path = write(&folder, &format!("guest.{ending}"), &bytes);
        assert!(dump_of(&path) == wanted, "{ending}");
    }
}

#[test]
fn a_file_that_is_cut_short_is_refused_or_salvaged() {
    let spec = GuestSpec::windows7().memory_mib(20).fill(20);
    let guest = spec.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let (first, frames) = *guest.present.last().unwrap();
    let raw = guest.raw(0, first + frames);
    for (ending, title, compress) in STREAMS {
        let folder = scratch();
        let whole = compress(&raw);
        let path = write(
            &folder,
            &format!("guest.{ending}"),
            &whole[..whole.len() * 9 / 10],
        );
        let outcome = run(&["convert"], &[&path]).expect_code(2);
        let told = format!("the {title} file ");
        assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("cut short: "),
            "{ending}: {}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains("--salvage"), "{}", outcome.stderr);
        assert_eq!(names(folder.path()).len(), 1);
        let options = ["info", "--salvage", "--json"];
        let info = run(&options, &[&path]).json();
        let warnings = info["warnings"].to_string();
        assert!(
            warnings.contains("what was unpacked is read"),
            "{ending}: {info}"
        );
        let size = info["container"]["size"].as_u64().unwrap();
        assert!(
            size > raw.len() as u64 / 2 && size < raw.len() as u64,
            "{ending}: {size}"
        );
    }
    let folder = scratch();
    let whole = zip(&[("guest.raw", &raw)]);
    let path = write(&folder, "guest.zip", &whole[..whole.len() / 2]);
    let outcome = run(&["convert"], &[&path]).expect_code(2);
    assert!(
        outcome.stderr.contains("the zip file "),
        "{}",
        outcome.stderr
    );
}

#[test]
fn damage_is_not_the_end() {
    let (core, _) = guest();
    for (ending, title, compress) in STREAMS {
        let folder = scratch();
        let mut bytes = compress(&core);
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 64] {
            *byte ^= 0x55;
        }
        let path = write(&folder, &format!("guest.{ending}"), &bytes);
        let outcome = run(&["info"], &[&path]).expect_code(2);
        let told = format!("the {title} file ");
        assert!(
            outcome.stderr.contains(&told),
            "{ending}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn twice_or_several_is_refused() {
    let (core, _) = guest();
    let folder = scratch();
    let twice = write(&folder, "guest.gz.xz", &xz(&gzip(&core)));
    let outcome = run(&["info"], &[&twice]).expect_code(2);
    assert!(
        outcome
            .stderr
            .contains("is compressed twice: gzip inside xz"),
        "{}",
        outcome.stderr
    );
    let two = write(&folder, "two.zip", &zip(&[("a", &core), ("b", b"b")]));
    let outcome = run(&["info"], &[&two]).expect_code(2);
    assert!(
        outcome.stderr.contains("more than one file"),
        "{}",
        outcome.stderr
    );
    let none = write(&folder, "none.zip", &zip(&[]));
    run(&["info"], &[&none]).expect_code(2);
}

/// Zeros in gzip: a thousandth of their size.
fn zeros(mib: usize) -> Vec<u8> {
    gzip(&vec![0; 64 << 20]).repeat(mib / 64)
}

#[test]
fn a_small_disk_keeps_its_reserve() {
    let folder = scratch();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        skipped("a small disk: a tmpfs cannot be mounted here (needs root)");
        return;
    }
    let noise: Vec<u8> = (0..0x300_0000_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    // The size is told, is not told, and is zeros.
    let told = write(&folder, "told.xz", &xz(&noise));
    let untold = write(&folder, "untold.bz2", &bzip2(&noise));
    let empty = write(&folder, "zeros.gz", &zeros(256));
    let info = |path: &Path| {
        let output = program()
            .arg("info")
            .arg(path)
            .env("TMPDIR", &disk)
            .output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let outputs = [&told, &untold, &empty].map(|path| info(path));
    let left = names(&disk);
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(
        outputs[0].contains("it needs 48.0 MiB, and "),
        "{}",
        outputs[0]
    );
    assert!(outputs[1].contains("it needs more, and "), "{}", outputs[1]);
    // It was read; what is said of a quarter of a GiB of zeros is not this test's.
    assert!(outputs[2].contains("error: "), "{}", outputs[2]);
    assert!(!outputs[2].contains("no room"), "{}", outputs[2]);
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_interrupted_unpacking_leaves_nothing() {
    let source = scratch();
    let path = write(&source, "zeros.gz", &zeros(8192));
    let folder = scratch();
    let mut child = program()
        .arg("convert")
        .args([&path, &folder.path().join("out.dmp")])
        .spawn()
        .unwrap();
    let files = format!("/proc/{}/fd", child.id());
    let deadline = Instant::now() + Duration::from_secs(60);
    let has_temporary = || {
        let entries = fs::read_dir(&files).into_iter().flatten().flatten();
        let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.starts_with(folder.path()))
    };
    while !has_temporary() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(folder.path()), [""; 0]);
}
