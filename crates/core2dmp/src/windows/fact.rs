//! A fact about the guest: its value, where it was read, and what contradicts it.
//!
//! The same fact can often be read in several places, and a stale one is nothing special: it is one more
//! source that loses to memory. What lost is kept, with the reason.

use std::fmt;

use crate::address::{Gpa, Gva};

/// A value with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact<T> {
    /// What is accepted.
    pub value: T,
    /// Where it was read.
    pub source: Source,
    /// What other sources say, and why they are rejected.
    pub rejected: Vec<Rejected<T>>,
}

/// A value that lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected<T> {
    /// What it was.
    pub value: T,
    /// Where it was read.
    pub source: Source,
    /// Why it is rejected.
    pub why: String,
}

impl<T> Fact<T> {
    /// A fact that nothing contradicts.
    pub const fn new(value: T, source: Source) -> Self {
        Self {
            value,
            source,
            rejected: Vec::new(),
        }
    }

    /// The same fact, with another source that says otherwise.
    #[must_use]
    pub fn against(mut self, value: T, source: Source, why: impl Into<String>) -> Self {
        self.rejected.push(Rejected {
            value,
            source,
            why: why.into(),
        });
        self
    }

    /// The same source for a value made from this one.
    pub fn map<U>(self, convert: impl Fn(T) -> U) -> Fact<U> {
        Fact {
            value: convert(self.value),
            source: self.source,
            rejected: self
                .rejected
                .into_iter()
                .map(|rejected| Rejected {
                    value: convert(rejected.value),
                    source: rejected.source,
                    why: rejected.why,
                })
                .collect(),
        }
    }
}

impl<T: PartialEq> Fact<T> {
    /// The first of `sources`, the best first; those that differ are kept as rejected.
    pub fn best(sources: impl IntoIterator<Item = (T, Source)>) -> Option<Self> {
        let mut sources = sources.into_iter();
        let (value, source) = sources.next()?;
        let mut fact = Self::new(value, source);
        for (value, source) in sources {
            if value != fact.value {
                let why = format!("disagrees with {}", fact.source);
                fact = fact.against(value, source, why);
            }
        }
        Some(fact)
    }
}

/// Where a value was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A register of a vCPU.
    Vcpu {
        /// Its position in the container.
        index: usize,
        /// The register.
        register: &'static str,
    },
    /// Windows' code for starting processors, below 1 MiB.
    LowStub(Gpa),
    /// A page that looks like a top-level page table.
    PageTableScan(Gpa),
    /// The process object of System.
    SystemProcess(Gva),
    /// Walking down from an address in the kernel.
    Below {
        /// The address.
        gva: Gva,
        /// What it is.
        what: &'static str,
    },
    /// Everything that the kernel's half maps was looked through.
    KernelRange,
    /// The kernel's export directory, where its header page is missing.
    Exports(Gva),
    /// A tag in memory.
    Tag(Gva),
    /// Decoded with keys that the kernel's code names.
    CodeScan(Gva),
    /// Decoded with keys solved from known contents.
    KnownPlaintext(Gva),
    /// Put together from what memory proves, and placed here.
    Rebuilt(Gva),
    /// A field of the debugger data block.
    Kdbg(&'static str),
    /// The version block beside it.
    VersionBlock(Gva),
    /// A variable that the kernel exports.
    Export(&'static str),
    /// A variable that the debugger data block points to.
    Variable {
        /// Its name.
        name: &'static str,
        /// Its address.
        gva: Gva,
    },
    /// A field of `KUSER_SHARED_DATA`.
    Kuser(&'static str),
    /// A processor's control block.
    Prcb {
        /// The processor's number.
        number: u32,
        /// The field.
        field: &'static str,
    },
    /// A header that was made inside the guest, and that the memory confirms.
    Header {
        /// Which.
        origin: String,
        /// The field.
        field: &'static str,
    },
    /// What the container says.
    Container,
    /// Nothing says it; this is what such a system has.
    Rule(&'static str),
}

impl Source {
    /// Whether it is the process object of System.
    #[must_use]
    pub const fn is_system(&self) -> bool {
        matches!(self, Self::SystemProcess(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpu { index, register } => write!(f, "vCPU {index} {register}"),
            Self::LowStub(gpa) => write!(f, "low stub at {gpa}"),
            Self::PageTableScan(gpa) => write!(f, "page table scan at {gpa}"),
            Self::SystemProcess(gva) => write!(f, "process System at {gva}"),
            Self::Below { gva, what } => write!(f, "below {what} {gva}"),
            Self::KernelRange => write!(f, "search of the kernel's half"),
            Self::Exports(gva) => write!(f, "export directory at {gva}, without the header page"),
            Self::Tag(gva) => write!(f, "tag at {gva}"),
            Self::CodeScan(gva) => write!(f, "decoded with keys in the code at {gva}"),
            Self::KnownPlaintext(gva) => {
                write!(f, "decoded with keys at {gva} and known contents")
            }
            Self::Rebuilt(gva) => write!(f, "rebuilt at {gva}"),
            Self::Kdbg(field) => write!(f, "KDBG {field}"),
            Self::VersionBlock(gva) => write!(f, "version block at {gva}"),
            Self::Export(name) => write!(f, "export {name}"),
            Self::Variable { name, gva } => write!(f, "{name} at {gva}"),
            Self::Kuser(field) => write!(f, "KUSER_SHARED_DATA {field}"),
            Self::Prcb { number, field } => write!(f, "PRCB {number} {field}"),
            Self::Header { origin, field } => write!(f, "{origin}, {field}"),
            Self::Container => write!(f, "container"),
            Self::Rule(rule) => write!(f, "rule: {rule}"),
        }
    }
}
