//! The thread that this program comes from: its byte listing, laid over a dump of the Windows that it is of.
//!
//! The thread is kept beside the repository, not in it. Where it is absent these tests say so and do nothing.

use std::path::{Path, PathBuf};

use core2dmp_synth::{GuestSpec, dump};

use crate::run::{run, scratch, skipped};

/// Of the thread, from the workspace's root.
const PLACE: &str = "../shared/seed/osr-thread.txt";

/// `offset: good converted`.
type Line = (usize, u8, u8);

fn listing() -> Option<(PathBuf, Vec<Line>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(PLACE);
    let Ok(text) = std::fs::read_to_string(&path) else {
        skipped(&format!("the thread: no {PLACE}"));
        return None;
    };
    let byte = |text: &str| {
        u8::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 2)
    };
    let line = |line: &str| {
        let (offset, bytes) = line.trim().split_once(": ")?;
        let (good, converted) = bytes.split_once(' ')?;
        let offset = usize::from_str_radix(offset, 16).ok()?;
        Some((offset, byte(good)?, byte(converted)?))
    };
    Some((path, text.lines().filter_map(line).collect()))
}

#[test]
fn the_type_is_the_cause_and_repair_mends_it() {
    let Some((thread, bytes)) = listing() else {
        return;
    };
    assert!(bytes.contains(&(0xf98, 1, 2)));
    let folder = scratch();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let spec = GuestSpec::windows2003_x64().memory_mib(20).processors(2);
    let whole = dump::full(&spec.crashed(0xe2, [0; 4]).build()).bytes;
    let (mut good, mut converted) = (whole.clone(), whole);
    for (offset, old, new) in &bytes {
        good[*offset] = *old;
        converted[*offset] = *new;
    }
    let good = file("good.bin", &good[..0x2000]);
    let header = file("new.bin", &converted[..0x2000]);

    let diff = |options: &[&str], files: &[&Path]| {
        let outcome = run(options, files).expect_code(1);
        String::from_utf8(outcome.stdout).unwrap()
    };
    let verdict = "verdict: DumpType decides; DirectoryTableBase, PfnDataBase mislead; the rest is cosmetic\n";
    let text = diff(&["diff"], &[&good, &header]);
    assert!(text.ends_with(verdict), "{text}");
    for line in [
        "DumpType  1 (full) -> 2 (kernel (summary))",
        "DirectoryTableBase  0x54796000 -> 0x7eec1000",
        "RequiredDumpSpace  0x7fe00000 -> 0x28625000",
        "SystemUpTime  10m 54s -> 1d 3h 26m 47s",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    // The thread's own listing over one of the two, whichever it is, and our listing instead of the thread's.
    let ours = file(
        "listing",
        diff(&["diff", "--bytes"], &[&good, &header]).as_bytes(),
    );
    for listing in [&thread, &ours] {
        for with in [&good, &header] {
            let laid = diff(
                &["diff", "--listing"],
                &[listing, Path::new("--with"), with],
            );
            let fields = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
            assert_eq!(fields(&laid), fields(&text));
        }
    }

    let dump = file("new.dmp", &converted);
    let check = run(&["check"], &[&dump]).expect_code(1);
    let check = String::from_utf8(check.stdout).unwrap();
    assert!(check.contains("WinDbg would refuse this dump"), "{check}");
    assert!(check.contains("Win32 error 0n1392"), "{check}");
    run(&["repair", "--no-sync"], &[&dump]).expect_code(0);
    run(&["check"], &[&folder.path().join("new.repaired.dmp")]).expect_code(0);
}
