//! What went wrong: what, where, what was expected, what was found, and what the user can do.
//!
//! One error is one line; [`Error::hint`] is the second line. Missing, zero, unreadable and corrupt are
//! four different things, and the variants keep them apart.

use std::{fmt, io};

use crate::address::{Gpa, Gva, Pfn};

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in the file or in the guest something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A byte offset in the container or dump file.
    Offset(u64),
    /// A guest-physical address.
    Physical(Gpa),
    /// A guest-virtual address.
    Virtual(Gva),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "file offset {offset:#x}"),
            Self::Physical(gpa) => write!(f, "physical address {gpa}"),
            Self::Virtual(gva) => write!(f, "virtual address {gva}"),
        }
    }
}

/// One way that was tried to find something, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The way, such as "vCPU 0 CR3 0x1ad000".
    pub way: String,
    /// What came of it.
    pub outcome: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.outcome)
    }
}

/// An operation of this library failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read, a write or another call.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the name and place.
        what: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A structure does not hold what its format demands.
    #[error("{what} at {place}: expected {expected}, found {found}")]
    Malformed {
        /// The structure or field.
        what: &'static str,
        /// Where it stands.
        place: Place,
        /// What the format demands.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The file ends inside a structure.
    #[error("{what} at {place}: expected {expected} bytes, the file ends after {found}")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it starts.
        place: Place,
        /// Its size in bytes.
        expected: u64,
        /// Bytes of it that are there.
        found: u64,
    },
    /// More of something than this program accepts.
    #[error("{what}: found {found}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are, at least.
        found: u64,
        /// How many are accepted.
        limit: u64,
    },
    /// None of the known formats.
    #[error("not a container that core2dmp knows: expected one of {expected}, found {found}")]
    UnknownContainer {
        /// The names of the known formats.
        expected: String,
        /// The first bytes.
        found: String,
    },
    /// A file of a known format that holds no memory, or none any more.
    #[error("{what} holds no memory: {found}")]
    NoMemory {
        /// What it is.
        what: &'static str,
        /// What stands there instead.
        found: String,
        /// What the user can do: the second line.
        advice: &'static str,
    },
    /// A core that was cut short while it was written.
    #[error(
        "the core is cut short: expected {expected:#x} bytes, found {found:#x}; missing: {missing}"
    )]
    CutShort {
        /// Bytes that its headers promise.
        expected: u64,
        /// Bytes in the file.
        found: u64,
        /// What is not there, in words.
        missing: String,
    },
    /// A guest stands in several files, and one that is needed was not given.
    #[error("{found}: {missing} is needed too")]
    MissingFile {
        /// What was given.
        found: &'static str,
        /// What was not.
        missing: &'static str,
    },
    /// No page tables and kernel of Windows in this memory.
    #[error("no Windows kernel in this memory")]
    NoWindows {
        /// Everything that was tried.
        tried: Vec<Attempt>,
    },
    /// A kernel, but nothing that tells where its data is.
    #[error(
        "a Windows kernel (base {base}, {}, time stamp {timestamp:#x}), but no debugger data block",
        build.map_or_else(|| "unknown build".to_owned(), |build| format!("build {build}"))
    )]
    NoDebuggerData {
        /// Where the kernel's image starts.
        base: Gva,
        /// Its build, where it could be read.
        build: Option<u32>,
        /// The time stamp in its PE header.
        timestamp: u32,
        /// Everything that was tried.
        tried: Vec<Attempt>,
    },
    /// The guest's memory has more runs than the header of a full dump can name.
    #[error("the guest's memory has {found} runs; the header of a full dump holds {limit}")]
    TooManyRuns {
        /// Runs of the guest.
        found: usize,
        /// Runs that fit.
        limit: usize,
    },
    /// Windows counts so much more memory than the container holds that a full dump would be zeros.
    #[error(
        "Windows counts {counted} frames ({} GiB), the container holds {held}: a full dump would be zeros",
        counted >> 18
    )]
    ImplausibleMemory {
        /// Frames that Windows counts.
        counted: u64,
        /// Frames that the container holds.
        held: u64,
    },
    /// A process whose memory the dump should keep does not exist.
    #[error("no process {wanted} in the guest")]
    NoSuchProcess {
        /// Its number or name, as it was given.
        wanted: String,
    },
    /// Frames that Windows counts are missing, and the caller wanted none to be.
    #[error(
        "{missing} of {total} frames that Windows counts are not in the container; the first is {first}"
    )]
    FramesMissing {
        /// How many are absent.
        missing: u64,
        /// How many Windows counts.
        total: u64,
        /// The first absent frame's address.
        first: Gpa,
    },
    /// A page of the container cannot be had, and the caller did not ask to go on without it.
    #[error("the page of physical address {gpa} cannot be decoded: {why}")]
    CorruptPage {
        /// The page's address.
        gpa: Gpa,
        /// What is wrong, and where in the file.
        why: String,
    },
    /// A dump that cannot be repaired.
    #[error("the dump cannot be repaired: {why}")]
    CannotRepair {
        /// Why not.
        why: String,
    },
    /// A core that cannot become its dump where it stands, or a dump that cannot become its core again.
    #[error("not in place: {why}")]
    CannotConsume {
        /// Why not.
        why: String,
    },
    /// A conversion in place that could be neither finished nor undone.
    #[error("{path} is neither core nor dump: {why}")]
    HalfConsumed {
        /// The file.
        path: String,
        /// What went wrong while it was undone.
        why: String,
    },
    /// The output exists and may not be replaced.
    #[error("{path} exists")]
    OutputExists {
        /// The output's name, escaped.
        path: String,
    },
    /// A file that was just written, read again.
    #[error("what was written at offset {offset:#x}{} does not read as the source does", in_frame(*frame))]
    ReadBack {
        /// The guest's frame, where the bytes are a page of it as it is.
        frame: Option<Pfn>,
        /// In the file.
        offset: u64,
    },
    /// The user, or a signal, asked to stop.
    #[error("interrupted; no output was left behind")]
    Interrupted,
}

/// A frame, where it is known.
fn in_frame(frame: Option<Pfn>) -> String {
    frame.map_or_else(String::new, |frame| format!(", frame {frame},"))
}

impl Error {
    /// An I/O error with what was being done.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// A structure that breaks its format.
    pub fn malformed(
        what: &'static str,
        place: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            what,
            place,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// What the user can do about it: the second line of a message.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space or write to another file system; nothing was left behind"
                }
                io::ErrorKind::PermissionDenied => {
                    "a core holds all the guest's secrets and is readable by its owner: run as that user"
                }
                io::ErrorKind::NotFound => "check the name",
                _ => return None,
            },
            Self::Malformed { .. } | Self::TooMany { .. } => {
                "the file is damaged or of a kind that core2dmp has not met; take the core again if you can"
            }
            Self::Truncated { .. } => "the file is damaged; take the core again if you can",
            Self::UnknownContainer { .. } => {
                "take the memory with `xl dump-core DOMAIN FILE`, or see README for what can be read"
            }
            Self::NoMemory { advice, .. } => advice,
            Self::CutShort { .. } => {
                "the disk was full while it was written: take it again, or rebuild the map by rule with --salvage"
            }
            Self::MissingFile { .. } => {
                "name both files, or keep them in one folder under one name"
            }
            Self::NoWindows { .. } => {
                "is the guest Windows, and was it up? --verbose lists what was tried"
            }
            Self::NoDebuggerData { .. } => "--verbose lists what was tried",
            Self::TooManyRuns { .. } => "--type bitmap writes a dump that names any number of runs",
            Self::ImplausibleMemory { .. } => {
                "--type bitmap leaves out what the container lacks; the container is cut, or the guest lies"
            }
            Self::NoSuchProcess { .. } => "`core2dmp info --processes` lists them",
            Self::FramesMissing { .. } => "without --strict they are written as zeros and reported",
            Self::CorruptPage { .. } => {
                "the file is damaged; --salvage writes zeros for such pages and lists them"
            }
            Self::CannotRepair { .. } => "convert the original core again, if there is one",
            Self::CannotConsume { .. } => {
                "nothing was changed; without --in-place the dump is written beside the core"
            }
            Self::HalfConsumed { .. } => {
                "keep the file and its journal, mend what is wrong, and run `core2dmp convert --undo CORE` again"
            }
            Self::OutputExists { .. } => "give another name, or --force to replace it",
            Self::ReadBack { .. } => {
                "a fault of this host's disk or memory, or the source changed meanwhile; nothing was left behind"
            }
            Self::Interrupted => return None,
        })
    }

    /// What was tried, for the errors that tried several ways.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::NoWindows { tried } | Self::NoDebuggerData { tried, .. } => tried,
            _ => &[],
        }
    }
}
