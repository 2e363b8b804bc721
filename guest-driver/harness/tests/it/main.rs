//! The real driver: its image, its life, its death after any store, and what the host makes of it.
//!
//! `cargo xtask driver` builds the images; without them all of this is skipped, with a word.

#![cfg(test)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod end_to_end;
mod images;
mod killed;
mod lives;
mod scene;
mod setup;

#[path = "../../../logic/tests/it/reader.rs"]
mod reader;

/// Where the reader of the logic's tests expects the pages.
mod machine {
    pub(crate) const GPA: u64 = 0x1234_5000;
}
