//! Runs the real driver on Linux: its image is mapped, its imports are bound to functions of this crate, and Windows'
//! part in its life is played by the tests.
//!
//! ```text
//! core2dmp-guest.sys --image--> sections, imports, relocations --load--> mapped, W^X
//!                                                     windows: 19 imports, 5 look-ups, each call written down
//!                                                     step: one instruction at a time, every store a place to die at
//! ```
//!
//! What it cannot show: Windows' own loader, its order of callbacks, and whatever its functions do that these do not.
//! Only x64 images run; of the others the headers are checked.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test bench for x64 Linux: what goes wrong here has to stop it"
)]

pub mod image;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod load;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod step;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod windows;

use std::path::PathBuf;

/// The drivers that `cargo xtask driver` built: name and path.
#[must_use]
pub fn drivers() -> Vec<(String, PathBuf)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/driver");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path().join("core2dmp-guest.sys"))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort();
    found
}
