//! Which files a command needs, before it opens one.

use std::path::{Path, PathBuf};

use core2dmp::write::in_place::reshape;

use crate::args::{CheckArgs, ConvertArgs, DiffArgs, InfoArgs, RepairArgs};
use crate::sources::{self, folder_of};

/// Paths, and what is done with them.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Read: files, or folders with all below them.
    pub(crate) read: Vec<PathBuf>,
    /// Listed.
    pub(crate) list: Vec<PathBuf>,
    /// Changed where they stand.
    pub(crate) change: Vec<PathBuf>,
    /// Folders in which files come and go.
    pub(crate) write: Vec<PathBuf>,
    /// Whether a file goes from one of them to another.
    pub(crate) moves: bool,
}

impl Needs {
    /// Of `convert`.
    pub(crate) fn of_convert(args: &ConvertArgs) -> Self {
        let mut needs = Self::default();
        let (sources, output) = args.sources_and_output();
        needs.sources(sources);
        needs.read.extend_from_slice(&args.header);
        if args.in_place || args.undo {
            needs.consumed(args.core(), output);
        } else if !args.dry_run {
            needs.output(output, args.core());
        }
        if needs.write.is_empty() {
            needs.unpacked(sources);
        }
        needs
    }

    /// Of `info`.
    pub(crate) fn of_info(args: &InfoArgs) -> Self {
        let mut needs = Self::default();
        needs.sources(&args.files);
        needs.read.extend_from_slice(&args.header);
        needs.unpacked(&args.files);
        needs
    }

    /// Of `check`.
    pub(crate) fn of_check(args: &CheckArgs) -> Self {
        let mut needs = Self::default();
        needs.source(&args.file);
        if let Some(core) = &args.with {
            needs.source(core);
            needs.unpacked(std::slice::from_ref(core));
        }
        needs
    }

    /// Of `diff`.
    pub(crate) fn of_diff(args: &DiffArgs) -> Self {
        let mut needs = Self::default();
        for file in args.old.iter().chain(&args.new).chain(&args.with) {
            needs.source(file);
            needs.unpacked(std::slice::from_ref(file));
        }
        needs.read.extend(args.listing.clone());
        needs
    }

    /// Of `repair`.
    pub(crate) fn of_repair(args: &RepairArgs) -> Self {
        let mut needs = Self::default();
        needs.source(&args.file);
        if let Some(core) = &args.from {
            needs.source(core);
            needs.unpacked(std::slice::from_ref(core));
        }
        if args.in_place || args.undo {
            // The file itself, and the old bytes beside it.
            needs.change.push(args.file.clone());
            needs.write.push(folder_of(&args.file).to_path_buf());
        } else if !args.dry_run {
            needs.output(args.output.as_deref(), &args.file);
        }
        needs
    }

    /// A source, and the files that belong to it: found as the command will find them again.
    pub(crate) fn source(&mut self, path: &Path) {
        self.sources(std::slice::from_ref(&path.to_path_buf()));
    }

    fn sources(&mut self, paths: &[PathBuf]) {
        for path in paths {
            // Of a folder everything in it.
            self.read.push(path.clone());
            self.list.push(folder_of(path).to_path_buf());
        }
        // What is wrong with them the command says.
        if let Ok(files) = sources::find(paths) {
            self.read.extend(files.paths);
        }
    }

    /// The folder of an output: the given one, that of the given file, or the source's.
    pub(crate) fn output(&mut self, output: Option<&Path>, source: &Path) {
        self.write.extend(match output {
            Some(path) if path.as_os_str() == "-" => None,
            Some(path) if path.is_dir() => Some(path.to_path_buf()),
            Some(path) => Some(folder_of(path).to_path_buf()),
            None if source.is_dir() => Some(source.to_path_buf()),
            None => Some(folder_of(source).to_path_buf()),
        });
    }

    /// Where compressed sources are unpacked if there is no output to do it beside.
    fn unpacked(&mut self, sources: &[PathBuf]) {
        if sources.iter().any(|path| sources::is_compressed(path)) {
            self.write.push(std::env::temp_dir());
        }
    }

    /// A core that becomes its dump, or the core again, and the journal beside it.
    fn consumed(&mut self, core: &Path, dump: Option<&Path>) {
        self.output(Some(core), core);
        self.output(dump, core);
        // The dump may have been made in another folder, which the journal names.
        let earlier = reshape::find(core).ok().flatten();
        self.output(earlier.as_ref().map(|found| &*found.dump), core);
        let own = folder_of(core).canonicalize().ok();
        self.moves = self
            .write
            .iter()
            .any(|folder| folder.canonicalize().ok() != own);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_source_brings_its_companions_and_an_output_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["win.vmss", "win.vmem", "winner.vmem", "secret"] {
            // What a format claims.
            fs::write(path(name), "KDUMP   ").unwrap();
        }
        let mut needs = Needs::default();
        needs.source(&path("win.vmss"));
        needs.read.sort();
        needs.read.dedup();
        assert_eq!(
            needs.read,
            ["win.vmem", "win.vmss"].map(path),
            "what has its name, and nothing else"
        );
        assert_eq!(needs.list, [folder.path()]);
        for (output, expected) in [
            (None, Some(folder.path().to_path_buf())),
            (Some("/nowhere/x.dmp"), Some("/nowhere".into())),
            (Some("x.dmp"), Some(".".into())),
            (Some("/"), Some("/".into())),
            (Some("-"), None),
        ] {
            let mut needs = Needs::default();
            needs.output(output.map(Path::new), &path("win.vmss"));
            assert_eq!(needs.write, Vec::from_iter(expected));
        }
    }
}
