//! Runs the real driver on Linux: its image is mapped, its imports are bound to functions of this crate, and Windows'
//! part in its life is played by the tests.
//!
//! ```text
//! core2dmp-guest.sys --image--> sections, imports, relocations --load--> pool: mapped below 2 GiB, W^X
//!                                   engine: this processor (x64), or Unicorn (x64, x86, ARM64)
//!                                   windows: 19 imports, 5 look-ups, each call written down
//!                                   every store into the record's pages is a place to die at
//! ```
//!
//! What it cannot show: Windows' own loader, its order of callbacks, and whatever its functions do that these do not.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test bench for x64 Linux: what goes wrong here has to stop it"
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod engine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod hardware;
pub mod image;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod load;
pub mod machine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod pool;
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
