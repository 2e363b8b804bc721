//! The second line of an error: the library names the remedy, the program says how it is taken on its command line.

use core2dmp::error::Remedy;

/// What the user can do, as a hint.
pub(crate) fn words(remedy: Remedy<'_>) -> String {
    match remedy {
        Remedy::NameBoth { path, other } => format!("name both: {path} {other}"),
        Remedy::NameOne { path } => format!("name one of them, such as {path}"),
        Remedy::OneGuest { last } => {
            format!("one at a time; if {last} is where the output goes: --output {last} --force")
        }
        Remedy::OtherBuild { feature } => {
            format!("unpack it first, or use a build with the feature `{feature}`")
        }
        Remedy::NameKernel { base } => {
            format!("there is one whose base is {base}: --kernel {base}")
        }
        other => plain(other).to_owned(),
    }
}

/// The same, where it does not depend on the files.
fn plain(remedy: Remedy<'_>) -> &'static str {
    match remedy {
        Remedy::FreeSpace => {
            "free some space or write to another file system; nothing was left behind"
        }
        Remedy::RunAsOwner => {
            "a core holds all the guest's secrets and is readable by its owner: run as that user"
        }
        Remedy::CheckName => "check the name",
        Remedy::TakeAgain => "the file is damaged; take the core again if you can",
        Remedy::TakeAgainIfDamaged => {
            "the file is damaged or of a kind that core2dmp has not met; take the core again if you can"
        }
        Remedy::TakeKnownFormat => {
            "take the memory with `xl dump-core DOMAIN FILE`, or see README for what can be read"
        }
        Remedy::TakeWhileHibernated => {
            "Windows wipes the file when it resumes, and a machine that never hibernated has an empty one: take it while the machine hibernates, or use a dump of the running guest; --salvage reads pages that a wiped header left behind"
        }
        Remedy::GiveLinkTarget => "give the file that it names, from the volume that holds it",
        Remedy::SalvageOrTakeAgain => {
            "the disk was full while it was written: take it again, or rebuild the map by rule with --salvage"
        }
        Remedy::GiveBothFiles => "name both files, or keep them in one folder under one name",
        Remedy::TakeAllMemory => {
            "the file is cut short or holds the low part of the memory alone: take all of it; raw memory may leave a hole out, --hole START-END"
        }
        Remedy::IsItWindows => {
            "is the guest Windows, and was it up? --verbose lists what was tried"
        }
        Remedy::SeeAttempts => "--verbose lists what was tried",
        Remedy::MakeBitmap => "--type bitmap writes a dump that names any number of runs",
        Remedy::LeaveOutMissing => {
            "--type bitmap leaves out what the container lacks; the container is cut, or the guest lies"
        }
        Remedy::ListProcesses => "`core2dmp info --processes` lists them",
        Remedy::AcceptMissing => "without --strict they are written as zeros and reported",
        Remedy::AcceptCorrupt => {
            "the file is damaged; --salvage writes zeros for such pages and lists them"
        }
        Remedy::ConvertAgain => "convert the original core again, if there is one",
        Remedy::WriteBeside => {
            "nothing was changed; without --in-place the dump is written beside the core"
        }
        Remedy::UndoAgain => {
            "keep the file and its journal, mend what is wrong, and run `core2dmp convert --undo CORE` again"
        }
        Remedy::OtherNameOrReplace => "give another name, or --force to replace it",
        Remedy::CheckHost => {
            "a fault of this host's disk or memory, or the source changed meanwhile; nothing was left behind"
        }
        other => of_files(other),
    }
}

/// The same, where the files that were given are the matter.
fn of_files(remedy: Remedy<'_>) -> &'static str {
    match remedy {
        Remedy::OneFolder => "give one folder, or the files of one guest",
        Remedy::NameFile => {
            "name the file; raw memory is only recognised by its extension: .vmem, .raw, .mem, .dd"
        }
        Remedy::NoHoles => "leave --hole out",
        Remedy::CopyAgain => "copy the file again; --salvage reads what could be unpacked",
        Remedy::UnpackFirst => "unpack it once by hand",
        Remedy::RightFile => "no guest is so large: is this the right file?",
        Remedy::UnpackElsewhere => {
            "write the output to a larger file system, or set TMPDIR for `info`; nothing was left behind"
        }
        Remedy::GiveHeader => {
            "--header takes a dump of Windows, or its first page (32 bit) or two (64 bit)"
        }
        Remedy::GiveDump => {
            "a dump begins with PAGEDU64 or PAGEDUMP; `core2dmp convert` makes one of a core"
        }
        _ => "see `core2dmp --help`",
    }
}
