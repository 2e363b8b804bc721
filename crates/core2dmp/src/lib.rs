//! Turns the memory of a virtual machine into a Windows crash dump that WinDbg opens.
//!
//! A core of Xen, QEMU, VMware, Hyper-V and others, a hibernation file or raw memory goes in; a full, bitmap or kernel
//! dump comes out. No agent runs in the guest, and no symbols and no network are needed.
//!
//! # The pipeline
//!
//! Data goes one way, and every stage is a plain value that can be printed, tested and kept:
//!
//! ```text
//! container file  ->  physical memory  ->  Windows  ->  plan, image  ->  dump file
//! (Xen, QEMU, ..)     (runs of frames)     (facts)      (data)           (bytes)
//!
//!   open, container     memory, paging    windows::identify   dump::plan   write::to_file
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use core2dmp::container::{self, OpenOptions};
//! use core2dmp::dump::{self, PlanOptions};
//! use core2dmp::source::FileSource;
//! use core2dmp::windows;
//! use core2dmp::write::{self, Silent, WriteOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (core, out) = (folder.path().join("guest.core"), folder.path().join("guest.dmp"));
//! # core2dmp_synth::GuestSpec::windows10().build().xen_core().write_file(&core)?;
//! let source = Arc::new(FileSource::open(&core)?);
//! let guest = container::open(source, OpenOptions::default())?;
//! let found = windows::identify(&guest)?;
//! for process in &found.processes {
//!     println!("{} {}", process.pid, process.name.escape_debug());
//! }
//!
//! let plan = dump::plan(&guest, &found, &PlanOptions::default())?;
//! write::to_file(&plan.image, &guest.memory, &out, WriteOptions::default(), &Silent)?;
//! assert_eq!(out.metadata()?.len(), plan.image.size());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to find what
//!
//! | you want to | use |
//! |---|---|
//! | open whatever you have: a file, several of one guest, a folder, compressed or not | [`open()`] |
//! | open bytes that are no file | [`container::open`], [`container::open_set`] |
//! | read physical memory | [`Guest::memory`](container::Guest), [`memory::PhysicalMemory::read`] |
//! | find Windows, its modules, processes and stop code | [`windows::identify`] |
//! | read virtual memory | [`windows::Windows::space`], [`paging::AddressSpace`] |
//! | plan a dump, or an ELF core, LiME or raw file | [`dump::plan()`], [`export::export()`] |
//! | write it | [`write::to_file`], [`write::to_stream`], [`write::to_parts`] |
//! | read a dump that is not a file yet | [`image::ImageReader`] |
//! | read a dump's header, name a stop code | [`header`] |
//! | check a dump, compare headers, repair one | [`audit::check`], [`audit::diff`], [`audit::repair`] |
//!
//! A dump that was planned but not written is a source like a file:
//!
//! ```
//! use std::sync::Arc;
//!
//! use core2dmp::container::{self, OpenOptions};
//! use core2dmp::dump::{self, PlanOptions};
//! use core2dmp::image::ImageReader;
//! use core2dmp::windows;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let core = core2dmp_synth::GuestSpec::windows10().build().kdump().bytes();
//! let guest = container::open(Arc::new(core), OpenOptions::default())?;
//! let found = windows::identify(&guest)?;
//! let plan = dump::plan(&guest, &found, &PlanOptions::default())?;
//!
//! let dump = ImageReader::new(plan.image, guest.memory);
//! let mut signature = [0; 8];
//! dump.read_exact_at(0, &mut signature)?;
//! assert_eq!(&signature, b"PAGEDU64");
//! # Ok(())
//! # }
//! ```
//!
//! # What holds everywhere
//!
//! - **A guest is hostile.** Every loop over its memory has a bound, every size is checked before it allocates, and
//!   nothing here panics on what a guest has written. Its strings are as it wrote them: escape them before a terminal
//!   sees them.
//! - **Nothing is zero-filled silently.** Absent, zero, unreadable and corrupt are four different outcomes; see
//!   [`memory`].
//! - **Facts have sources.** A [`windows::Fact`] is a value, where it was read, and the values that lost.
//! - **Errors say where.** An [`error::Error`] names the place, what was expected and what was found, and has a
//!   [`error::Remedy`].
//! - Files are read at positions and never mapped; the source is never written to.
//!
//! Modules import only those before them in this order, and a test keeps it:
//! `address text error progress format header source codec memory image | container paging windows measure open dump
//! export audit write`.

#![cfg_attr(
    test,
    expect(
        clippy::cast_possible_truncation,
        reason = "tests build inputs of known size"
    )
)]

pub mod address;
pub mod audit;
mod codec;
pub mod container;
pub mod dump;
pub mod error;
pub mod export;
mod format;
pub mod header;
pub mod image;
pub mod measure;
pub mod memory;
pub mod open;
pub mod paging;
pub mod progress;
pub mod source;
pub mod text;
pub mod windows;
pub mod write;

pub use open::{OpenOptions, Opened, open};
