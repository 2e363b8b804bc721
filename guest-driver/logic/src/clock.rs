//! Times as `KUSER_SHARED_DATA` has them, read while Windows may be writing them.
//!
//! A `KSYSTEM_TIME` has its high half twice. Windows writes the second, the low half, and then the first; `wdm.h`'s
//! `KeQueryTickCount` reads in the other direction, so that two equal high halves belong to the low half between them.

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// FILETIME.
    pub system: u64,
    /// Since boot, in 100 ns.
    pub interrupt: u64,
}

/// A part of a `KSYSTEM_TIME`; the number is its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// `LowPart`.
    Low = 0,
    /// `High1Time`.
    High1 = 4,
    /// `High2Time`.
    High2 = 8,
}

/// How often a time is read that is being written. Bounded: in a bug check the processor that writes may be stopped
/// between both halves for good.
const ATTEMPTS: u32 = 16;

/// A time, read through `read`; 0 where Windows never comes to the end of writing it.
pub fn time(mut read: impl FnMut(Half) -> u32) -> u64 {
    for _ in 0..ATTEMPTS {
        let (high, low) = (read(Half::High1), read(Half::Low));
        if high == read(Half::High2) {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
    0
}
