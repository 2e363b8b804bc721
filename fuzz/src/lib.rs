//! Fuzz targets: bytes of an attacker before the library.
//!
//! ```text
//! input --seed, patches--> file | guest --> open, identify, plan, check, repair --> invariants, or a panic
//!        \--as it is-----> file
//! ```
//!
//! Guests of 20 MiB are too slow to mutate: they are built once and stay in memory, an input only says which words of
//! which seed become what (see [`mod@input`]). Files of containers are made of a guest that has five frames.
//!
//! Nothing here needs libFuzzer but `main.rs`: `tests/regressions.rs` runs every committed input as a test.

pub mod input;

mod dumps;
mod files;
mod guests;
mod lazy;
mod stacks;

/// What one input goes through.
#[derive(Debug)]
pub struct Target {
    /// Its name: that of its folders in `corpus` and `regressions`.
    pub name: &'static str,
    run: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Runs an input; false if it is not worth keeping. Panics where an invariant breaks.
    #[must_use]
    pub fn run(&self, data: &[u8]) -> bool {
        (self.run)(data)
    }

    /// Inputs to begin with.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

macro_rules! targets {
    ($($name:literal: $run:expr, $seeds:expr;)*) => {
        /// All targets.
        pub static TARGETS: &[Target] = &[
            $(Target { name: $name, run: $run, seeds: $seeds },)*
        ];
    };
}

targets! {
    "xen": |data| files::XEN.run(data), || files::XEN.seeds();
    "elf": |data| files::ELF.run(data), || files::ELF.seeds();
    "kdump": |data| files::KDUMP.run(data), || files::KDUMP.seeds();
    "lime": |data| files::LIME.run(data), || files::LIME.seeds();
    "raw": |data| files::RAW.run(data), || files::RAW.seeds();
    "vmware": |data| files::VMWARE.run(data), || files::VMWARE.seeds();
    "hyperv": |data| files::HYPERV.run(data), || files::HYPERV.seeds();
    "hiberfil": |data| files::HIBERFIL.run(data), || files::HIBERFIL.seeds();
    "zdmp": |data| files::ZDMP.run(data), || files::ZDMP.seeds();
    "qemu-stream": |data| files::QEMU_STREAM.run(data), || files::QEMU_STREAM.seeds();
    "xen-save": |data| files::XEN_SAVE.run(data), || files::XEN_SAVE.seeds();
    "dmp": |data| files::DMP.run(data), || files::DMP.seeds();
    "header": dumps::header, dumps::header_seeds;
    "bitmap": dumps::bitmap, dumps::bitmap_seeds;
    "check": dumps::check, dumps::seeds;
    "repair": dumps::repair, dumps::seeds;
    "paging": guests::paging, guests::seeds;
    "stacks": stacks::walk, stacks::seeds;
    "identify": guests::identify, guests::seeds;
    "convert": guests::convert, guests::seeds;
}
