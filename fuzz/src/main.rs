//! The targets under libFuzzer; `CORE2DMP_FUZZ_TARGET` names the one that runs. `cargo xtask fuzz` builds and calls it.

#![no_main]

use std::sync::LazyLock;

use core2dmp_fuzz::{TARGETS, Target};
use libfuzzer_sys::{Corpus, fuzz_target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("CORE2DMP_FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("CORE2DMP_FUZZ_TARGET={name} is no target"))
});

fuzz_target!(|data: &[u8]| -> Corpus {
    if TARGET.run(data) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
