//! A row: a good dump, what breaks it, and what a checker and a repair have to make of that.

use super::case::Case;
use crate::dump::{self, Dump, Ranges};
use crate::windows::spec::GuestSpec;

/// Which good dump a row breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Type 1, x64, Windows 7.
    Full64,
    /// Type 1, x86 with PAE, Windows 7.
    Full32,
    /// Type 1, x64, Windows 10 that was running.
    Live64,
    /// Type 5, x64.
    Bitmap64,
    /// Type 6, x64.
    Kernel64,
    /// Type 2, x64.
    Summary64,
    /// Type 2, x86 with PAE.
    Summary32,
    /// Type 1, x64 with five levels of page tables.
    Levels5,
    /// Type 5, x64, a file of more than 16 MiB.
    Large64,
    /// Type 8, x64.
    Ranges8,
    /// Type 9, x64.
    Ranges9,
    /// Type 0xA, x64.
    RangesA,
}

impl Body {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Full64,
        Self::Full32,
        Self::Live64,
        Self::Bitmap64,
        Self::Kernel64,
        Self::Summary64,
        Self::Summary32,
        Self::Levels5,
        Self::Large64,
        Self::Ranges8,
        Self::Ranges9,
        Self::RangesA,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full64 => "full64",
            Self::Full32 => "full32",
            Self::Live64 => "live64",
            Self::Bitmap64 => "bitmap64",
            Self::Kernel64 => "kernel64",
            Self::Summary64 => "summary64",
            Self::Summary32 => "summary32",
            Self::Levels5 => "levels5",
            Self::Large64 => "large64",
            Self::Ranges8 => "ranges8",
            Self::Ranges9 => "ranges9",
            Self::RangesA => "rangesA",
        }
    }

    /// The good dump.
    #[must_use]
    pub fn good(self) -> Case {
        let stop = |spec: GuestSpec| {
            let spec = spec.memory_mib(20).processors(2);
            spec.crashed(0xe2, [1, 2, 3, 4]).build()
        };
        let guest = match self {
            Self::Full32 | Self::Summary32 => stop(GuestSpec::windows7_pae()),
            Self::Live64 => GuestSpec::windows10().memory_mib(20).processors(2).build(),
            Self::Levels5 => stop(GuestSpec::windows10_la57()),
            _ => stop(GuestSpec::windows7()),
        };
        let dump = match self {
            Self::Full64 | Self::Full32 | Self::Live64 | Self::Levels5 => dump::full(&guest),
            Self::Bitmap64 | Self::Large64 => dump::bitmap(&guest, false),
            Self::Kernel64 => dump::bitmap(&guest, true),
            Self::Summary64 | Self::Summary32 => dump::summary(&guest),
            Self::Ranges8 => dump::rdmp(&guest, Ranges::Kernel),
            Self::Ranges9 => dump::rdmp(&guest, Ranges::KernelAndUser),
            Self::RangesA => dump::rdmp(&guest, Ranges::Complete),
        };
        Case { guest, dump }
    }
}

/// How bad a checker has to call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The debugger does not open it.
    Refused,
    /// It opens, and shows nothing, too little, or what is not true.
    Broken,
    /// It opens, and the difference hardly shows.
    Cosmetic,
    /// Nothing is to be said.
    Silent,
}

/// What a repair has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// Nothing is left, and all pages are those of the good dump.
    Whole,
    /// Nothing is left; a page differs from the good dump's, where bytes had to be made anew.
    Anew,
    /// It says that it cannot, and why.
    No,
    /// There is nothing to repair.
    Nothing,
}

/// One thing broken.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The dump that it breaks.
    pub body: Body,
    /// Breaks it.
    pub apply: fn(&mut Case),
    /// What a checker has to call it.
    pub verdict: Verdict,
    /// The field or structure that it has to name; empty if silent.
    pub field: &'static str,
    /// Part of what the engine prints; empty if it prints nothing.
    pub words: &'static str,
    /// What a repair has to come to.
    pub mended: Mended,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.body.name(), self.name)
    }
}

impl Row {
    /// The broken dump.
    #[must_use]
    pub fn broken(&self, good: &Case) -> Dump {
        let mut case = good.clone();
        (self.apply)(&mut case);
        case.dump
    }
}

/// A table of rows: name, good dumps, what breaks them; what a checker calls it, in which field, in which words;
/// what a repair comes to.
macro_rules! table {
    ($($name:literal [$($body:ident)+] |$case:ident| $break:expr => $verdict:ident $field:literal $words:literal $mended:ident;)*) => {
        &[$(&[$(crate::broken::row::Row {
            name: $name,
            body: crate::broken::row::Body::$body,
            apply: |$case| $break,
            verdict: crate::broken::row::Verdict::$verdict,
            field: $field,
            words: $words,
            mended: crate::broken::row::Mended::$mended,
        }),+]),*]
    };
}
pub(super) use table;
