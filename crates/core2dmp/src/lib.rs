//! The memory of a virtual machine becomes a Windows crash dump that WinDbg opens.
//!
//! Data goes one way, and every stage is a plain value that can be printed and tested:
//!
//! ```text
//! container file  ->  physical memory  ->  Windows  ->  plan  ->  dump file
//! (Xen, QEMU, ..)     (runs of frames)     (facts)      (data)    (bytes)
//!
//!   container::open     memory, paging    windows::identify   dump::plan   write::to_file
//! ```
//!
//! Modules import only those before them in this order, and a test keeps it:
//! `address error format source image codec | memory container paging windows dump export audit write`.
//!
//! Guest memory is hostile: every loop over it has a bound, every size is checked before it allocates,
//! and nothing here panics on what a guest has written. What could not be read is reported, never
//! zero-filled in silence.

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
pub mod format;
pub mod image;
pub mod memory;
pub mod paging;
pub mod source;
pub mod windows;
pub mod write;
