//! What can be done about an error, as a value: whoever shows the error puts it into words.

use crate::address::Gva;

/// What the user can do.
///
/// The library has no command line and no dialog, so it does not say "use this option": each variant names the action,
/// and a program says how it is taken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy<'a> {
    /// Free some space, or write elsewhere; nothing was left behind.
    FreeSpace,
    /// Run as the owner of the file: a core holds all the guest's secrets.
    RunAsOwner,
    /// Check the name.
    CheckName,
    /// The file is damaged: take the core again.
    TakeAgain,
    /// The file is damaged, or of a kind that nobody has met yet: take the core again.
    TakeAgainIfDamaged,
    /// Take the guest's memory in one of the known formats.
    TakeKnownFormat,
    /// Take the hibernation file while the machine hibernates, or [`salvage`](crate::container::OpenOptions::salvage) what
    /// a wiped header left behind.
    TakeWhileHibernated,
    /// Give the file that this link names.
    GiveLinkTarget,
    /// The disk was full when the core was written: take it again, or [`salvage`](crate::container::OpenOptions::salvage) it.
    SalvageOrTakeAgain,
    /// Give both files of the guest.
    GiveBothFiles,
    /// Find out whether the guest is Windows, from what was tried ([`Error::attempts`](super::Error::attempts)).
    IsItWindows,
    /// Another kernel of this memory may be named.
    NameKernel {
        /// The base of one.
        base: Gva,
    },
    /// Take all of the memory, or name the hole that raw memory leaves out.
    TakeAllMemory,
    /// Look at what was tried ([`Error::attempts`](super::Error::attempts)).
    SeeAttempts,
    /// Make a bitmap dump, which names any number of runs.
    MakeBitmap,
    /// Make a bitmap dump, which leaves out what the container lacks.
    LeaveOutMissing,
    /// Choose one of the processes that the guest has.
    ListProcesses,
    /// Accept that missing frames are written as zeros.
    AcceptMissing,
    /// Accept zeros for pages that cannot be decoded.
    AcceptCorrupt,
    /// Convert the original core again.
    ConvertAgain,
    /// Write the dump beside the core, which was not changed.
    WriteBeside,
    /// Keep the file and its journal, correct what is wrong, and undo again.
    UndoAgain,
    /// Give another name, or allow the file to be replaced.
    OtherNameOrReplace,
    /// Look for a fault of the host's disk or memory, or for who changed the source.
    CheckHost,
    /// Give one folder, or the files of one guest.
    OneFolder,
    /// Give both names.
    NameBoth {
        /// The file that was named.
        path: &'a str,
        /// One that may belong to it.
        other: &'a str,
    },
    /// Name the file: raw memory is only recognised by its extension.
    NameFile,
    /// Name one of several guests, such as this one.
    NameOne {
        /// Its first file.
        path: &'a str,
    },
    /// Give the files of one guest at a time, or say that the last one is the output.
    OneGuest {
        /// The last of them.
        last: &'a str,
    },
    /// Give no holes.
    NoHoles,
    /// Copy the compressed file again, or [`salvage`](crate::container::OpenOptions::salvage) what could be unpacked.
    CopyAgain,
    /// Unpack the file first.
    UnpackFirst,
    /// Check that it is the right file: no guest is so large.
    RightFile,
    /// Unpack where there is more room; nothing was left behind.
    UnpackElsewhere,
    /// Use a build of the library with this feature, or unpack the file first.
    OtherBuild {
        /// The feature of the crate.
        feature: &'static str,
    },
    /// Give a dump of Windows, or its first page (32 bit) or two (64 bit).
    GiveHeader,
    /// Give a dump; a core is made one first.
    GiveDump,
}
