//! Instructions of Microsoft's own DLLs and where their callers are on the stack, as an emulator proved it.
//!
//! The DLLs are not in this repository: `cargo xtask unwind` fetches them into `target/unwind/dlls`, or
//! `CORE2DMP_MSVC_RUNTIME` names their folder. What each line means is said there, in `xtask/src/unwind/golden.rs`.

use std::path::{Path, PathBuf};

use core2dmp::windows::unwind::{How, X64};
use sha2::{Digest, Sha256};

use super::{BASE, STACK, Scene};

const FACTS: &str = include_str!("../../../data/unwind-x64.txt");
/// What stands in the stack at an offset, and in a register.
const ON_STACK: u64 = 0xffff_d151_0000_0000;
const IN_REGISTER: u64 = 0xffff_d161_0000_0000;
/// Bytes of the stack from RSP up.
const BYTES: u64 = 0x2000;
const KEPT: [usize; 8] = [3, 5, 6, 7, 12, 13, 14, 15];

fn folder() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/unwind/dlls");
    let folder = std::env::var_os("CORE2DMP_MSVC_RUNTIME").map_or(own, PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

/// One line against a scene with its DLL; the stack is full of marks.
fn check(scene: &Scene, line: &str) {
    let mut words = line.split(' ');
    let rva = hex(words.next().unwrap());
    let distance = hex(words.next().unwrap());
    let rsp = STACK + 0x1000;
    let mut gpr = std::array::from_fn(|number| IN_REGISTER + number as u64);
    gpr[4] = rsp;
    let mut wanted = gpr;
    for word in words {
        if let Some((register, offset)) = word.split_once('@') {
            gpr[hex(register) as usize] = rsp + hex(offset);
            wanted[hex(register) as usize] = rsp + hex(offset);
        }
    }
    for word in line.split(' ') {
        if let Some((register, offset)) = word.split_once('=') {
            wanted[hex(register) as usize] = ON_STACK + hex(offset);
        }
    }
    let here = X64 {
        gpr,
        rip: BASE + rva,
    };
    let (found, _) = scene
        .caller(here, How::Context)
        .unwrap_or_else(|why| panic!("{line}: {why}"));
    assert_eq!(
        (found.rip, found.gpr[4]),
        (ON_STACK + distance, rsp + distance + 8),
        "{line}"
    );
    for number in KEPT {
        assert_eq!(
            found.gpr[number], wanted[number],
            "{line}: register {number}"
        );
    }
}

#[test]
fn microsofts_own_code() {
    let Some(folder) = folder() else {
        eprintln!(
            "SKIPPED: no DLLs in target/unwind/dlls; `cargo xtask unwind` fetches them (PyPI)"
        );
        return;
    };
    let mut scene = None;
    let mut checked = 0;
    for line in FACTS.lines().filter(|line| !line.starts_with('#')) {
        let Some(rest) = line.strip_prefix("dll ") else {
            if let Some(scene) = &scene {
                check(scene, line);
                checked += 1;
            }
            continue;
        };
        let (name, hash) = rest.split_once(' ').unwrap();
        let Ok(file) = std::fs::read(folder.join(name)) else {
            eprintln!("SKIPPED: {name} is not in {}", folder.display());
            scene = None;
            continue;
        };
        let digest = Sha256::digest(&file);
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if found != hash {
            eprintln!("SKIPPED: {name} is another version");
            scene = None;
            continue;
        }
        let mut with = Scene::x64();
        let size = with.memory.image(BASE, &file);
        with.module(name, BASE, size);
        let marks: Vec<u64> = (0..BYTES)
            .step_by(8)
            .map(|offset| ON_STACK + offset)
            .collect();
        with.memory.words(STACK + 0x1000, &marks);
        scene = Some(with);
    }
    eprintln!("{checked} instructions");
}
