//! Where a dump goes, and what can be refused before the guest is read.
//!
//! ```text
//! convert a/guest.core             a/guest.dmp
//! convert a/guest.core b/x.dmp     b/x.dmp
//! convert a/guest.core b           b/guest.dmp, if b is a folder
//! convert a/guest.core -           standard output, if that is no terminal
//! ```

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use core2dmp::error::Error;

use crate::args::ConvertArgs;
use crate::escape;
use crate::message::Failure;
use core2dmp::open;

use super::Source;

/// Where the dump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    Stream,
    File(PathBuf),
}

impl Output {
    /// What the arguments ask for.
    pub(super) fn of(
        args: &ConvertArgs,
        output: Option<&Path>,
        source: &Source,
    ) -> Result<Self, Failure> {
        let default = || default_name(source.first(), args.to.ending());
        let path = match output {
            Some(path) if path.as_os_str() == "-" => {
                if io::stdout().is_terminal() && !args.dry_run {
                    return Err(Failure::Refused {
                        message: "the output is binary, and standard output is a terminal"
                            .to_owned(),
                        hint: "give a file name, or pipe it into something",
                    });
                }
                if args.verify {
                    return Err(Failure::Refused {
                        message: "a stream cannot be read again".to_owned(),
                        hint: "--hash prints the checksums of what was sent",
                    });
                }
                if args.split.is_some() {
                    return Err(Failure::Refused {
                        message: "a stream cannot be split".to_owned(),
                        hint: "give a file name; the parts are numbered behind it",
                    });
                }
                return Ok(Self::Stream);
            }
            Some(folder) if folder.is_dir() => {
                folder.join(default()?.file_name().unwrap_or_default())
            }
            Some(path) => path.to_path_buf(),
            None => default()?,
        };
        let mut sources = source.files.paths.iter();
        if sources.any(|source| is_same(source, &path)) {
            return Err(Failure::Refused {
                message: format!("{} is the source itself", path.display()),
                hint: "give another name for the dump",
            });
        }
        if !args.dry_run {
            // The writer refuses all of this too, but only after the guest has been read.
            check(&path, args.force)?;
        }
        Ok(Self::File(path))
    }

    /// As it is reported.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stream => "-".to_owned(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// Where a repaired dump goes: `a/guest.dmp` becomes `a/guest.repaired.dmp`.
pub(super) fn repaired(dump: &Path, output: Option<&Path>) -> PathBuf {
    let default = dump.with_extension("repaired.dmp");
    match output {
        Some(folder) if folder.is_dir() => folder.join(default.file_name().unwrap_or_default()),
        Some(path) => path.to_path_buf(),
        None => default,
    }
}

/// Refuses a name that a repaired dump cannot have; only a dump that is changed needs one.
pub(crate) fn check_repaired(dump: &Path, path: &Path, force: bool) -> Result<(), Failure> {
    if is_same(dump, path) {
        return Err(Failure::Refused {
            message: format!("{} is the dump itself", path.display()),
            hint: "give another name, or --in-place to change the dump itself",
        });
    }
    check(path, force)
}

/// The source's name with another extension, in the same folder.
fn default_name(source: &Path, ending: &str) -> Result<PathBuf, Failure> {
    if source.metadata().is_ok_and(|meta| !meta.is_file()) {
        return Err(Failure::Refused {
            message: format!(
                "{} is not a file whose name a dump could have",
                source.display()
            ),
            hint: "give the name of the dump: core2dmp convert SOURCE OUT.dmp",
        });
    }
    Ok(open::without_ending(source).with_extension(ending))
}

/// Whether both names mean one file, which `--force` would destroy.
fn is_same(source: &Path, output: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(source), Ok(output)) = (source.metadata(), output.metadata()) {
        use std::os::unix::fs::MetadataExt as _;
        // A hard link has another name, which no path tells.
        return (source.dev(), source.ino()) == (output.dev(), output.ino());
    }
    match (source.canonicalize(), output.canonicalize()) {
        (Ok(source), Ok(output)) => source == output,
        _ => false,
    }
}

/// Whether a new file can have this name.
fn check(path: &Path, force: bool) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Failure::Refused {
            message: format!("{}: no such folder", folder.display()),
            hint: "make the folder first, or write the dump somewhere else",
        });
    }
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => Err(Failure::Refused {
            message: format!("{} is not a regular file", path.display()),
            hint: "give another name; - is standard output",
        }),
        Ok(_) if !force => Err(Failure::Library(Error::OutputExists {
            path: escape::path(path),
        })),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_stands_beside_the_source() {
        let name = |source: &str| default_name(Path::new(source), "dmp").ok();
        assert_eq!(name("/a/b.core"), Some("/a/b.dmp".into()));
        assert_eq!(
            name("2010-0112-1512.38-win.1.core"),
            Some("2010-0112-1512.38-win.1.dmp".into())
        );
        assert_eq!(name("memory"), Some("memory.dmp".into()));
        assert_eq!(name("guest.core.xz"), Some("guest.dmp".into()));
    }
}
