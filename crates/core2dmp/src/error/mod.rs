//! What went wrong: what, where, what was expected, what was found, and what the user can do.
//!
//! One error is one line; [`Error::remedy`] is what a second line is made of. Missing, zero, unreadable and corrupt are
//! four different things, and the variants keep them apart.

mod advice;
mod place;
mod remedy;

use std::io;

use crate::address::{Gpa, Gva, Pfn};
use crate::text::size;

pub use place::{Attempt, Place};
pub use remedy::Remedy;

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
        /// What the user can do.
        remedy: Remedy<'static>,
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
    /// Windows is in this memory, but not the one that was asked for.
    #[error("no Windows kernel at {wanted:#x}, and none whose page tables are there")]
    NoSuchKernel {
        /// What was asked for.
        wanted: u64,
        /// The base of each kernel that there is.
        kernels: Vec<Gva>,
    },
    /// Page tables of Windows, or what looks like them, that lead to memory which the container lacks.
    #[error(
        "page tables lead to physical address {gpa}, but the memory in this file ends at {end}"
    )]
    BehindEnd {
        /// Where they lead.
        gpa: Gpa,
        /// Where the memory ends.
        end: Gpa,
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
    /// A folder among several names.
    #[error("{folder} is a folder, and not the only source")]
    FolderAmongFiles {
        /// The folder, escaped.
        folder: String,
    },
    /// A file to which more than one other could belong.
    #[error("{path} could belong to more than one file beside it: {}", others.join(", "))]
    SeveralCompanions {
        /// The file, escaped.
        path: String,
        /// The others, escaped.
        others: Vec<String>,
    },
    /// A folder without memory of a guest.
    #[error("no guest's memory in {folder}")]
    NoGuestInFolder {
        /// The folder, escaped.
        folder: String,
    },
    /// A folder with the memory of several guests.
    #[error("{count} guests in {folder}: {list}")]
    SeveralGuests {
        /// The folder, escaped.
        folder: String,
        /// How many there are.
        count: usize,
        /// The first of them, each with its format.
        list: String,
        /// The first file of the first one, escaped.
        first: String,
    },
    /// Files that do not belong together.
    #[error("these are not the files of one guest: {}", files.join(", "))]
    NotOneGuest {
        /// Their names, escaped.
        files: Vec<String>,
    },
    /// Holes were given for a container that says itself where memory is.
    #[error("holes are for raw memory; this file says itself where memory is")]
    HolesNotRaw,
    /// A compressed file that cannot be unpacked to its end.
    #[error("the {compression} file {path} {damage}: {bytes:#x} bytes could be unpacked")]
    NotUnpacked {
        /// The file, escaped.
        path: String,
        /// How it is compressed.
        compression: &'static str,
        /// What is wrong with it.
        damage: String,
        /// Bytes that came out.
        bytes: u64,
    },
    /// A compressed file in a compressed file.
    #[error("{path} is compressed twice: {outer}, and in it {inner}")]
    CompressedTwice {
        /// The file, escaped.
        path: String,
        /// How it is compressed.
        outer: &'static str,
        /// How what is in it is compressed.
        inner: &'static str,
    },
    /// A compressed file that unpacks to more than any guest has.
    #[error("{path} unpacks to more than {}", size(*limit))]
    UnpacksTooLarge {
        /// The file, escaped.
        path: String,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// There is no room for the unpacked file.
    #[error(
        "no room to unpack {path}: it wants {}, in {folder} there is room for {}",
        wanted.map_or_else(|| "more".to_owned(), size),
        size(*room)
    )]
    NoRoomToUnpack {
        /// The file, escaped.
        path: String,
        /// Bytes that it wants, where that is known.
        wanted: Option<u64>,
        /// Where it is unpacked, escaped.
        folder: String,
        /// Bytes that may be used there.
        room: u64,
    },
    /// A way to compress that this build does not read.
    #[error("{path} is compressed with {compression}, which this build does not read")]
    NotBuiltIn {
        /// The file, escaped.
        path: String,
        /// How it is compressed.
        compression: &'static str,
        /// The feature of this crate that reads it.
        feature: &'static str,
    },
    /// A file that was given for a dump's header.
    #[error("{path} does not begin with the header of a dump")]
    NotAHeader {
        /// The file, escaped.
        path: String,
    },
    /// A file that was given for a dump.
    #[error("{path} is not a Windows crash dump")]
    NotADump {
        /// The file, escaped.
        path: String,
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

    /// What was tried, for the errors that tried several ways.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::NoWindows { tried }
            | Self::BehindEnd { tried, .. }
            | Self::NoDebuggerData { tried, .. } => tried,
            _ => &[],
        }
    }
}
