//! Windows in physical memory: every fact that a dump needs, each with where it was read.
//!
//! ```text
//! vCPUs, low stub, scan -> page-table root -> kernel image -> debugger data block -> everything else
//!        (dtb)                (kuser)          (kernel, pe)       (kdbg)      version, runs, processors,
//!                                                                             stop code, modules, processes
//! ```
//!
//! [`identify`] needs no symbols and no network. What it cannot find it names, with what it tried. It asks
//! the memory, not the version number: what moved from build to build is found by what it must contain.
//!
//! Sources: reference works are cited in each file; offsets are in `format`.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bugcheck;
mod contexts;
mod crash;
mod dtb;
mod fact;
mod guest_record;
mod headers;
mod identify;
mod kdbg;
mod kernel;
mod kuser;
mod left;
mod lists;
mod modules;
mod options;
mod pdb;
mod pe;
mod pfn;
mod processes;
mod processors;
mod rebuild;
mod registers;
mod runs;
mod system;
pub mod unwind;
mod version;

pub use crate::format::kdbg::MM_PFN_DATABASE;
pub use bugcheck::Bugcheck;
pub use contexts::{ContextPolicy, ContextSource, ProcessorContext};
pub use crash::{CrashState, Exception};
pub use dtb::Rival;
pub use fact::{Fact, Rejected, Source};
pub use guest_record::{GuestRecord, RecordBlock, RecordHeader, RecordState};
pub use headers::{GivenHeader, GuestHeader, HeaderKind, HeaderOrigin, HeaderSearch};
pub use identify::{identify, identify_with};
pub use kdbg::{DebuggerData, Encoding, RebuiltField};
pub use kernel::KernelImage;
pub use modules::Module;
pub use options::IdentifyOptions;
pub use pdb::PdbId;
pub use pe::{PeImage, Section};
pub use pfn::PfnDatabase;
pub use processes::Process;
pub use processors::Processor;
pub use system::Windows;
pub use version::Version;
