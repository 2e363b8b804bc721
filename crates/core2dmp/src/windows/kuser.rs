//! `KUSER_SHARED_DATA`: the page that every address space of Windows has at one address.
//!
//! It verifies a page table's root, and has the time, the product and the version. Where it is not in the memory, or is
//! zeros, those are not known; the system is, by its kernel.

use super::fact::{Fact, Source};
use crate::address::Gva;
use crate::format::nt::kuser;
use crate::format::{u32_at, u64_at};
use crate::paging::AddressSpace;

/// A copy of the fields that are used.
#[derive(Debug, Clone)]
pub(super) struct Kuser {
    /// Empty if they cannot be read.
    bytes: Vec<u8>,
    /// Why they cannot be read, or make no sense.
    trouble: Option<String>,
}

/// Its address.
pub(super) const fn address(is_64bit: bool) -> Gva {
    Gva::new(if is_64bit {
        kuser::ADDRESS64
    } else {
        kuser::ADDRESS32
    })
}

impl Kuser {
    /// What the address space has at its address.
    pub(super) fn read(space: &AddressSpace<'_>) -> Self {
        let gva = address(space.mode().is_64bit());
        let (bytes, trouble) = match space.bytes(gva, kuser::SIZE) {
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => {
                (Vec::new(), Some(format!("the page at {gva} is zeros")))
            }
            Ok(bytes) => (bytes, None),
            Err(why) => (Vec::new(), Some(why.to_string())),
        };
        let mut read = Self { bytes, trouble };
        let (major, _) = read.version();
        if read.trouble.is_none() && !matches!(major, 5 | 6 | 10) {
            read.trouble = Some(format!("NT {major} does not exist"));
            read.bytes.clear();
        }
        read
    }

    /// Whether it makes sense; `Err` says why not.
    pub(super) fn verify(&self) -> Result<(), String> {
        match &self.trouble {
            None => Ok(()),
            Some(why) => Err(format!("KUSER_SHARED_DATA: {why}")),
        }
    }

    fn u32(&self, offset: usize) -> u32 {
        u32_at(&self.bytes, offset).unwrap_or(0)
    }

    /// Major and minor version, such as (10, 0); (0, 0) if they are unknown.
    pub(super) fn version(&self) -> (u32, u32) {
        (
            self.u32(kuser::NT_MAJOR_VERSION),
            self.u32(kuser::NT_MINOR_VERSION),
        )
    }

    /// Build number, in Windows 10 and later; the high bits are flags.
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

    /// Started processors (Windows 7 and later).
    pub(super) fn active_processors(&self) -> Option<Fact<u32>> {
        let value = self.u32(kuser::ACTIVE_PROCESSOR_COUNT);
        let known = self.version() >= (6, 1) && value != 0;
        known.then(|| Fact::new(value, Source::Kuser("ActiveProcessorCount")))
    }

    pub(super) fn suite_mask(&self) -> Option<Fact<u32>> {
        let mask = u32_at(&self.bytes, kuser::SUITE_MASK)?;
        Some(Fact::new(mask, Source::Kuser("SuiteMask")))
    }

    /// `KSYSTEM_TIME`: low, high, high again. The two highs differ only while it is being written.
    fn time(&self, offset: usize, field: &'static str) -> Option<Fact<u64>> {
        let value = u64_at(&self.bytes, offset)?;
        (value != 0).then(|| Fact::new(value, Source::Kuser(field)))
    }
}
