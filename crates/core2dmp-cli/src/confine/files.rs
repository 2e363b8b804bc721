//! Landlock: which files can be opened from here on.
//!
//! ```text
//! sources, their companions   read
//! folder of the output        create, read, write, rename, remove: files; also in folders below it
//! counts of processors        read
//! all else                    nothing: no file, no folder, no device, no socket
//! ```
//!
//! What is open stays open: standard output, a terminal, a pipe. Version by version the kernel handles more; what it
//! does not know is left out (`CompatLevel::BestEffort`, the crate's default).

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::Access;

/// What the standard library counts processors by: a group's quota may be less than the machine has.
const PROCESSORS: [&str; 3] = [
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/sys/fs/cgroup",
];

/// The newest interface that is asked for.
const NEWEST: ABI = ABI::V7;

/// Restricts this thread and those that it will start; the version that holds, `None` where the kernel has none.
pub(super) fn restrict(access: &Access) -> Result<Option<i32>, RulesetError> {
    let mut ruleset = Ruleset::default();
    if access.moves {
        // The first version forbids moves between folders, whatever is asked for: then rather no Landlock than a core
        // that cannot get its name back.
        ruleset = ruleset
            .set_compatibility(CompatLevel::SoftRequirement)
            .handle_access(AccessFs::Refer)?
            .set_compatibility(CompatLevel::BestEffort);
    }
    let mut ruleset = ruleset
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let mut write = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile
    });
    if access.moves {
        write |= AccessFs::Refer;
    }
    for path in &access.read {
        let access = if path.is_dir() {
            AccessFs::ReadFile | AccessFs::ReadDir
        } else {
            AccessFs::ReadFile.into()
        };
        ruleset = allow(ruleset, path, access)?;
    }
    for path in PROCESSORS {
        ruleset = allow(ruleset, Path::new(path), AccessFs::ReadFile.into())?;
    }
    for file in &access.change {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        ruleset = allow(ruleset, file, access)?;
    }
    for folder in &access.write {
        ruleset = allow(ruleset, folder, write)?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi as i32),
        _ => None,
    })
}

/// A path that is not there gets no rule: the program says so itself when it opens it.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // Pipes and sockets need no rule, and may not have one.
    let is_of_a_tree = path.metadata().is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_file() || kind.is_dir() || kind.is_block_device() || kind.is_char_device()
    });
    if !is_of_a_tree {
        return Ok(ruleset);
    }
    match PathFd::new(path) {
        Ok(fd) => ruleset.add_rule(PathBeneath::new(fd, access)),
        Err(_) => Ok(ruleset),
    }
}
