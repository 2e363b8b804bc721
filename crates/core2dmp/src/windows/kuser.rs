//! `KUSER_SHARED_DATA`: the page that every address space of Windows has at one address.
//!
//! It verifies a page table's root, and tells the time, the product and the version.

use super::fact::{Fact, Source};
use crate::address::Gva;
use crate::format::nt::kuser;
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;

/// A copy of the fields that are used.
#[derive(Debug, Clone)]
pub(super) struct Kuser {
    bytes: Vec<u8>,
}

/// Its address.
pub(super) const fn address(is_64bit: bool) -> Gva {
    Gva::new(if is_64bit {
        kuser::ADDRESS64
    } else {
        kuser::ADDRESS32
    })
}

/// Whether the address space has a `KUSER_SHARED_DATA` that makes sense; `Err` says why not.
pub(super) fn verify(space: &AddressSpace<'_>) -> Result<(), String> {
    let kuser = Kuser::read(space)?;
    let (major, _) = kuser.version();
    if !matches!(major, 5 | 6 | 10) {
        return Err(format!(
            "KUSER_SHARED_DATA says NT {major}, which does not exist"
        ));
    }
    Ok(())
}

impl Kuser {
    pub(super) fn read(space: &AddressSpace<'_>) -> Result<Self, String> {
        let gva = address(space.mode().is_64bit());
        let bytes = space
            .bytes(gva, kuser::SIZE)
            .map_err(|why| format!("KUSER_SHARED_DATA: {why}"))?;
        Ok(Self { bytes })
    }

    fn u32(&self, offset: usize) -> u32 {
        u32_at(&self.bytes, offset).unwrap_or(0)
    }

    /// Such as (10, 0).
    pub(super) fn version(&self) -> (u32, u32) {
        (
            self.u32(kuser::NT_MAJOR_VERSION),
            self.u32(kuser::NT_MINOR_VERSION),
        )
    }

    /// Of Windows 10 and later; the high bits are flags.
    pub(super) fn build(&self) -> Option<u32> {
        let build = self.u32(kuser::NT_BUILD_NUMBER) & 0xffff;
        (self.version().0 >= 10 && build != 0).then_some(build)
    }

    /// FILETIME when the memory was taken.
    pub(super) fn system_time(&self) -> Option<Fact<u64>> {
        self.time(kuser::SYSTEM_TIME, "SystemTime")
    }

    /// Since boot, in 100 ns.
    pub(super) fn interrupt_time(&self) -> Option<Fact<u64>> {
        self.time(kuser::INTERRUPT_TIME, "InterruptTime")
    }

    pub(super) fn product_type(&self) -> Option<Fact<u32>> {
        let value = self.u32(kuser::NT_PRODUCT_TYPE);
        (1..=3)
            .contains(&value)
            .then(|| Fact::new(value, Source::Kuser("NtProductType")))
    }

    pub(super) fn suite_mask(&self) -> Fact<u32> {
        Fact::new(self.u32(kuser::SUITE_MASK), Source::Kuser("SuiteMask"))
    }

    /// `KSYSTEM_TIME`: low, high, high again. The two highs differ only while it is being written.
    fn time(&self, offset: usize, field: &'static str) -> Option<Fact<u64>> {
        let value = u64_at(&self.bytes, offset)?;
        (value != 0).then(|| Fact::new(value, Source::Kuser(field)))
    }
}
