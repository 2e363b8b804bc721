//! Why a stack has no more frames.

use std::fmt;

use crate::address::Gva;

/// Why there are no more frames.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The return address is zero: nobody called.
    Bottom,
    /// The instruction pointer lies in no image.
    NoImage {
        /// The instruction pointer.
        ip: Gva,
    },
    /// The image has no unwind data at all.
    NoTable {
        /// The image's name. Guest text.
        module: String,
    },
    /// The function has no unwind data, and what would be its return address follows no call.
    NoFunction {
        /// The instruction pointer.
        ip: Gva,
    },
    /// Memory that has to be read is absent, or cannot be read.
    Unreadable {
        /// What it holds.
        what: &'static str,
        /// Its address.
        gva: Gva,
        /// The reason.
        why: String,
    },
    /// Unwind data that cannot be.
    Corrupt {
        /// What is wrong.
        what: &'static str,
        /// Where it is.
        gva: Gva,
    },
    /// Unwind data of a kind that is not known here.
    Unknown {
        /// What it is.
        what: &'static str,
        /// Where it is.
        gva: Gva,
    },
    /// The caller's stack pointer is not above the callee's.
    NotGrowing {
        /// The callee's.
        before: Gva,
        /// The caller's.
        after: Gva,
    },
    /// The return address is in the other half of memory: the kernel is entered and left by machine frames alone.
    OtherHalf {
        /// The instruction pointer.
        ip: Gva,
    },
    /// No word of the stack from here on follows a call.
    NoReturnAddress {
        /// Where the search began.
        from: Gva,
        /// Bytes that were searched.
        bytes: u64,
    },
    /// There are more frames than are walked.
    TooMany(usize),
}

impl Ended {
    /// Whether the whole stack is known.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Bottom)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bottom => write!(f, "the bottom of the stack"),
            Self::NoImage { ip } => write!(f, "{ip} lies in no loaded image"),
            Self::NoTable { module } => {
                write!(f, "{} has no unwind data", module.escape_debug())
            }
            Self::NoFunction { ip } => {
                write!(
                    f,
                    "no unwind data for {ip}, and no return address on top of its stack"
                )
            }
            Self::Unreadable { what, gva, why } => write!(f, "{what} at {gva}: {why}"),
            Self::Corrupt { what, gva } => write!(f, "{what} at {gva} cannot be"),
            Self::Unknown { what, gva } => write!(f, "{what} at {gva} is not known here"),
            Self::NotGrowing { before, after } => {
                write!(
                    f,
                    "the caller's stack pointer {after} is not above {before}"
                )
            }
            Self::OtherHalf { ip } => {
                write!(f, "the return address {ip} is in the other half of memory")
            }
            Self::NoReturnAddress { from, bytes } => {
                write!(
                    f,
                    "no return address in {bytes:#x} bytes of stack from {from} on"
                )
            }
            Self::TooMany(frames) => write!(f, "more than {frames} frames"),
        }
    }
}
