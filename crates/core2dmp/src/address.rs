//! Addresses that cannot be mistaken for each other: guest-physical, guest-virtual, and page frame numbers.
//!
//! ```text
//! Gva  --paging-->  Gpa  --/4096-->  Pfn  --memory-->  offset in the container
//! ```
//!
//! There is no `+`: arithmetic on a guest's numbers is checked, and says so in its name.

use std::fmt;

/// Bytes in a page frame.
pub const PAGE_SIZE: u64 = 0x1000;

/// Bytes in a page frame, for buffers.
pub const PAGE_BYTES: usize = 0x1000;

/// Page frames in a mebibyte, at which RAM ends.
pub(crate) const MEBIBYTE: u64 = (1 << 20) / PAGE_SIZE;

const PAGE_SHIFT: u32 = 12;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The raw number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The address `bytes` further on; `None` past the end of 64 bits.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The address `bytes` further on, staying at the top of 64 bits, where no memory is.
            #[must_use]
            pub const fn saturating_add(self, bytes: u64) -> Self {
                Self(self.0.saturating_add(bytes))
            }

            /// The address `bytes` before; `None` below zero.
            #[must_use]
            pub const fn checked_sub(self, bytes: u64) -> Option<Self> {
                match self.0.checked_sub(bytes) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The first address of the page that holds this one.
            #[must_use]
            pub const fn page_start(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }

            /// Bytes from the start of the page.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A guest-physical address, in bytes.
    Gpa
}

address! {
    /// A guest-virtual address, in bytes. Those of a 32-bit guest are zero-extended.
    Gva
}

impl Gpa {
    /// The frame that holds this address.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

impl Gva {
    /// The address `bytes` further on (or back), wrapping as the processor's own arithmetic does.
    #[must_use]
    pub const fn wrapping_offset(self, bytes: i64) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }
}

/// A page frame number: a guest-physical address in units of 4096 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(u64);

impl Pfn {
    /// One past the last frame that 52 bits of physical address can name.
    pub const END: Self = Self(1 << 40);

    /// Wraps a raw number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address of the frame's first byte; a number past [`Pfn::END`] gives the top of 64 bits, which
    /// no memory holds.
    #[must_use]
    pub const fn gpa(self) -> Gpa {
        Gpa(self.0.saturating_mul(PAGE_SIZE))
    }

    /// The frame `frames` further on, staying at the top.
    #[must_use]
    pub const fn saturating_add(self, frames: u64) -> Self {
        Self(self.0.saturating_add(frames))
    }

    /// Frames from `earlier` to this one; 0 if it is not earlier.
    #[must_use]
    pub const fn frames_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_frames() {
        let gpa = Gpa::new(0x1234_5678);
        assert_eq!(gpa.pfn(), Pfn::new(0x12345));
        assert_eq!(gpa.page_offset(), 0x678);
        assert_eq!(gpa.page_start(), Pfn::new(0x12345).gpa());
        assert_eq!(Pfn::new(u64::MAX).gpa(), Gpa::new(u64::MAX));
        assert_eq!(Gpa::new(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn prints_as_hex() {
        assert_eq!(
            format!("{} {:?}", Gva::new(0x10), Pfn::new(0x1f)),
            "0x10 Pfn(0x1f)"
        );
    }
}
