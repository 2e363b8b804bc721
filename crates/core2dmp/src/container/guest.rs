//! `Guest`: what a container holds, whatever its format.

use super::cpu::CpuState;
use crate::memory::{Frames, PhysicalMemory};

/// What a container holds: memory, processors, and what else is known without looking at the memory.
#[derive(Debug)]
pub struct Guest {
    /// Physical memory.
    pub memory: PhysicalMemory,
    /// The hypervisor's vCPUs in the container's order, which is not the processors' order.
    pub cpus: Vec<CpuState>,
    /// What helps to find Windows.
    pub hints: Hints,
    /// What the container says of itself.
    pub container: ContainerInfo,
}

/// What a container knows about the guest besides memory and registers.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Frames that may be in the container without being RAM.
    pub not_ram: Vec<Frames>,
    /// Dump headers that notes of the container hold.
    pub headers: Vec<HeaderHint>,
    /// Memory that the writer of the container left out on purpose.
    pub left_out: Option<LeftOut>,
}

/// Memory that was left out on purpose, rather than missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// User memory: a kernel dump.
    User,
    /// Uninteresting pages, such as free ones.
    Some,
}

/// A dump header in a note.
#[derive(Debug, Clone)]
pub struct HeaderHint {
    /// The note's name.
    pub name: &'static str,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// What a container says of itself.
#[derive(Debug, Clone)]
pub struct ContainerInfo {
    /// Short name of the format, such as "xen".
    pub format: &'static str,
    /// The format in words.
    pub title: &'static str,
    /// Bytes of the file.
    pub size: u64,
    /// Further facts: name and value.
    pub details: Vec<(&'static str, String)>,
    /// Entries of the page table that stand for no page.
    pub padding: u64,
    /// The map was rebuilt by rule: what was missing and what was done.
    pub salvaged: Option<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}
