//! A Windows-shaped guest: what is in its memory and its registers.

pub(crate) mod build;
pub(crate) mod code;
pub(crate) mod crash;
pub(crate) mod drivers;
pub(crate) mod dump_header;
pub(crate) mod expected;
pub(crate) mod guest;
pub(crate) mod guest_record;
pub(crate) mod kdbg;
pub(crate) mod kernel;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod mm;
pub(crate) mod objects;
pub(crate) mod paging;
pub(crate) mod processor;
pub(crate) mod ram_header;
pub(crate) mod ram_map;
pub(crate) mod registers;
pub(crate) mod releases;
pub(crate) mod spec;
pub(crate) mod system;
pub(crate) mod vcpu;
pub(crate) mod world;
