//! `cargo xtask judge thread`: the dump of the thread that this program comes from, before and after its repair.
//!
//! ```text
//! a dump of Windows 2003 x64 + the thread's listing -> judge-dbgeng: refused, 0n1392
//!                                  \-> core2dmp repair -> judge-dbgeng: clean
//! ```

use std::path::Path;
use std::process::Command;

use core2dmp_synth::{GuestSpec, dump};

use super::beside;
use super::rows::{Opinion, ask};
use crate::run::{Outcome, check, release_program, target_dir};

/// What the engine says of it in the thread.
const WORDS: &str = "Win32 error 0n1392";

/// Judges it, twice.
pub fn task(judges: &Path) -> Outcome {
    let Some(seed) = beside("CORE2DMP_SEED", "seed") else {
        eprintln!("judge: the thread is SKIPPED, there is no ../shared/seed and no CORE2DMP_SEED");
        return Ok(());
    };
    let listing = std::fs::read_to_string(seed.join("osr-thread.txt"))?;
    let folder = target_dir().join("judge").join("thread");
    std::fs::create_dir_all(&folder)?;
    let spec = GuestSpec::windows2003_x64().memory_mib(20).processors(2);
    let mut converted = dump::full(&spec.crashed(0xe2, [0; 4]).build()).bytes;
    for (offset, byte) in listing.lines().filter_map(converted_byte) {
        converted[offset] = byte;
    }
    let script = judges.join("dbgeng/judge-dbgeng");
    let (broken, mended) = (folder.join("thread.dmp"), folder.join("repaired.dmp"));
    std::fs::write(&broken, converted)?;
    let (before, said) = ask(&script, &broken)?;
    let words = said.lines().find(|line| line.contains(WORDS));
    println!("before: {}", words.unwrap_or(&said));
    let program = release_program()?;
    check(
        Command::new(program)
            .args(["repair", "--force", "--no-sync"])
            .args([&broken, &mended]),
    )?;
    let (after, said) = ask(&script, &mended)?;
    println!("after:\n{said}");
    if before == Opinion::Refused && words.is_some() && after == Opinion::Clean {
        return Ok(());
    }
    Err("the engine should refuse it with 0n1392 before, and open it clean after".into())
}

/// Of a line `offset: good converted`.
fn converted_byte(line: &str) -> Option<(usize, u8)> {
    let (offset, bytes) = line.trim().split_once(": ")?;
    let (good, converted) = bytes.split_once(' ')?;
    if (good.len(), converted.len()) != (2, 2) {
        return None;
    }
    let offset = usize::from_str_radix(offset, 16).ok()?;
    Some((offset, u8::from_str_radix(converted, 16).ok()?))
}
