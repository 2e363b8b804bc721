//! Virtual addresses: page tables of x86, x86 PAE, x64 with four and five levels, and ARM64 (4 KiB granule).
//!
//! ```text
//! x86      PDE 10 | PTE 10 | 12                      4 MiB pages at the PDE
//! PAE      PDPTE 2 | PDE 9 | PTE 9 | 12              2 MiB
//! x64      [PML5E 9 |] PML4E 9 | PDPTE 9 | PDE 9 | PTE 9 | 12    1 GiB and 2 MiB
//! ARM64    L0 9 | L1 9 | L2 9 | L3 9 | 12            1 GiB and 2 MiB blocks
//! ```
//!
//! Windows on ARM64 uses one table of 512 entries for both halves of the address space, as on x64.
//! An entry that is not valid may still say where the page is: Windows keeps transition and prototype
//! entries there. The walk tells them apart, and reports both as "not present".
//!
//! Sources: Intel SDM volume 3, chapter 4; Arm ARM, D8.3; the software entries as !pte prints them
//! (prototype bit 10, transition bit 11 on every architecture).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod access;
mod mode;
mod reach;
mod space;
mod walk;

pub use access::{AccessError, ScanBudget};
pub use mode::PagingMode;
pub use reach::{Reach, ReachedHalf};
pub use space::{AddressSpace, Mapping, NotPresent, TranslateError};
pub use walk::MappedRange;

#[cfg(test)]
mod tests;
