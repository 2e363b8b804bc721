//! What fuzzing keeps and what it found, as ordinary tests: each input ends well, in time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use core2dmp_fuzz::{TARGETS, Target};

/// An input takes milliseconds; tests are built without optimisation, and share their processors.
const MOST: Duration = Duration::from_secs(60);

fn inputs(folder: &str, target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(target.name);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

fn run(target: &Target, name: &str, data: &[u8]) -> bool {
    let start = Instant::now();
    let kept = target.run(data);
    let took = start.elapsed();
    assert!(took < MOST, "{name}: {took:?}");
    kept
}

#[test]
fn regressions_stay_mended() {
    for target in TARGETS {
        for (name, data) in inputs("regressions", target) {
            println!("{name}");
            run(target, &name, &data);
        }
    }
}

#[test]
fn the_corpus_and_the_seeds_end_well() {
    for target in TARGETS {
        for (name, data) in inputs("corpus", target) {
            println!("{name}");
            run(target, &name, &data);
        }
        let mut kept = 0;
        for (number, data) in target.seeds().iter().enumerate() {
            kept += u32::from(run(target, &format!("{} {number}", target.name), data));
        }
        assert!(kept > 0, "{}: no seed is worth anything", target.name);
    }
}

/// Folders are those of targets: a name that changed would leave its inputs behind, untested.
#[test]
fn every_folder_is_of_a_target() {
    for folder in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        // Without findings there is no folder for them.
        let entries = fs::read_dir(folder).into_iter().flatten();
        for entry in entries {
            let name = entry.unwrap().file_name();
            assert!(TARGETS.iter().any(|target| target.name == name), "{name:?}");
        }
    }
}
