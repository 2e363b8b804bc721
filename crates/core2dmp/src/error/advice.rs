//! Which remedy each error has.

use std::io;

use super::{Error, Remedy};

impl Error {
    /// What the user can do about it; `None` where nothing helps or nothing is wrong.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy<'_>> {
        Some(match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Remedy::FreeSpace,
                io::ErrorKind::PermissionDenied => Remedy::RunAsOwner,
                io::ErrorKind::NotFound => Remedy::CheckName,
                _ => return None,
            },
            Self::Malformed { .. } | Self::TooMany { .. } => Remedy::TakeAgainIfDamaged,
            Self::Truncated { .. } => Remedy::TakeAgain,
            Self::UnknownContainer { .. } => Remedy::TakeKnownFormat,
            Self::NoMemory { remedy, .. } => *remedy,
            Self::CutShort { .. } => Remedy::SalvageOrTakeAgain,
            Self::MissingFile { .. } => Remedy::GiveBothFiles,
            Self::NoWindows { .. } => Remedy::IsItWindows,
            Self::NoSuchKernel { kernels, .. } => Remedy::NameKernel {
                base: kernels.first().copied()?,
            },
            Self::BehindEnd { .. } => Remedy::TakeAllMemory,
            Self::NoDebuggerData { .. } => Remedy::SeeAttempts,
            Self::TooManyRuns { .. } => Remedy::MakeBitmap,
            Self::ImplausibleMemory { .. } => Remedy::LeaveOutMissing,
            Self::NoSuchProcess { .. } => Remedy::ListProcesses,
            Self::FramesMissing { .. } => Remedy::AcceptMissing,
            Self::CorruptPage { .. } => Remedy::AcceptCorrupt,
            Self::CannotRepair { .. } => Remedy::ConvertAgain,
            Self::CannotConsume { .. } => Remedy::WriteBeside,
            Self::HalfConsumed { .. } => Remedy::UndoAgain,
            Self::OutputExists { .. } => Remedy::OtherNameOrReplace,
            Self::ReadBack { .. } => Remedy::CheckHost,
            Self::Interrupted => return None,
            other => return other.remedy_of_files(),
        })
    }

    /// The same, where the files that were given are the matter.
    fn remedy_of_files(&self) -> Option<Remedy<'_>> {
        Some(match self {
            Self::FolderAmongFiles { .. } => Remedy::OneFolder,
            Self::SeveralCompanions { path, others } => Remedy::NameBoth {
                path,
                other: others.first().map_or("", String::as_str),
            },
            Self::NoGuestInFolder { .. } => Remedy::NameFile,
            Self::SeveralGuests { first, .. } => Remedy::NameOne { path: first },
            Self::NotOneGuest { files } => Remedy::OneGuest {
                last: files.last().map_or("", String::as_str),
            },
            Self::HolesNotRaw => Remedy::NoHoles,
            Self::NotUnpacked { .. } => Remedy::CopyAgain,
            Self::CompressedTwice { .. } => Remedy::UnpackFirst,
            Self::UnpacksTooLarge { .. } => Remedy::RightFile,
            Self::NoRoomToUnpack { .. } => Remedy::UnpackElsewhere,
            Self::NotBuiltIn { feature, .. } => Remedy::OtherBuild { feature },
            Self::NotAHeader { .. } => Remedy::GiveHeader,
            Self::NotADump { .. } => Remedy::GiveDump,
            _ => return None,
        })
    }
}
