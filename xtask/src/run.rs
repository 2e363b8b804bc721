//! Running other programs, and where things are.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a task comes to.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A `cargo` command in the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command with our output; an error names it.
pub fn check(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| format!("`{}`: {error}", show(command)))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed ({status})", show(command)).into())
}

/// Runs a command and gives what it printed, `None` if it fails.
pub fn text_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command as one would type it.
pub fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a program of this name is installed.
pub fn have(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Builds the release program; returns its path, or that of the one that `CORE2DMP_PROGRAM` names.
pub fn release_program() -> Outcome<PathBuf> {
    if let Some(program) = env::var_os("CORE2DMP_PROGRAM") {
        return Ok(std::path::absolute(program)?);
    }
    check(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "core2dmp-cli",
    ]))?;
    let program = target_dir()
        .join("release")
        .join(format!("core2dmp{}", env::consts::EXE_SUFFIX));
    Ok(std::path::absolute(program)?)
}
