//! Which files a command needs, before it opens one.

use std::path::{Path, PathBuf};

use core2dmp::open::folder_of;

use crate::request::{Compare, Convert, Output, Repair, Request, Source, Target};

/// Paths, and what is done with them.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Read: files, or folders with all below them.
    pub(crate) read: Vec<PathBuf>,
    /// Changed in place.
    pub(crate) change: Vec<PathBuf>,
    /// Folders in which files come and go.
    pub(crate) write: Vec<PathBuf>,
    /// Whether a file goes from one of them to another.
    pub(crate) moves: bool,
}

impl Access {
    /// The files that a request needs; none if it could not be resolved.
    pub(crate) fn of(request: &Request) -> Self {
        let mut access = Self::default();
        match request {
            Request::Convert(request) => access.convert(request),
            Request::Undo(request) => {
                access.consumed(&request.core, request.dump.as_deref());
                // The dump may have been made in another folder, which the journal names.
                access.folder(request.planned.as_deref());
                access.moved(&request.core);
            }
            Request::Info(request) => {
                access.source(&request.source);
                access.read.extend_from_slice(&request.reading.headers);
            }
            Request::Check(request) => {
                access.read.push(request.dump.clone());
                access.sources(request.core.as_ref());
            }
            Request::Diff(request) => match &request.what {
                Compare::Files { old, new, .. } => access.sources([old, new]),
                Compare::Listing { listing, with } => {
                    access.read.extend([listing.clone(), with.clone()]);
                }
            },
            Request::Repair(request) => {
                access.read.push(request.dump.clone());
                access.sources(request.core.as_ref());
                access.repair(request);
            }
            // Its guest is its own.
            Request::Demo(_) => {}
        }
        access
    }

    fn convert(&mut self, request: &Convert) {
        self.read.extend_from_slice(&request.source.files.paths);
        self.read.extend_from_slice(&request.reading.headers);
        let output = match &request.output {
            Output::File(path) => Some(path.as_path()),
            Output::Stream => None,
        };
        if request.in_place.is_some() {
            self.consumed(request.source.first(), output);
            self.moved(request.source.first());
        } else if !request.dry_run {
            self.folder(output);
        }
        if request.source.is_compressed {
            self.write.push(request.unpack_in());
        }
    }

    fn repair(&mut self, request: &Repair) {
        match &request.target {
            Target::File { path, .. } if !request.dry_run => self.folder(Some(path)),
            Target::File { .. } => {}
            Target::InPlace | Target::Undo => {
                // The file itself, and the old bytes beside it.
                self.change.push(request.dump.clone());
                self.folder(Some(&request.dump));
            }
        }
    }

    fn sources<'a>(&mut self, sources: impl IntoIterator<Item = &'a Source>) {
        for source in sources {
            self.source(source);
        }
    }

    /// The files of a guest, and where they are unpacked if there is no output to do it beside.
    fn source(&mut self, source: &Source) {
        self.read.extend_from_slice(&source.files.paths);
        if source.is_compressed {
            self.write.push(std::env::temp_dir());
        }
    }

    /// The folder of a file that is written.
    fn folder(&mut self, file: Option<&Path>) {
        self.write
            .extend(file.map(|file| folder_of(file).to_path_buf()));
    }

    /// A core that becomes its dump, or the core again, and the journal beside it.
    fn consumed(&mut self, core: &Path, dump: Option<&Path>) {
        self.folder(Some(core));
        self.folder(dump);
    }

    /// Whether a file goes from one folder to another.
    fn moved(&mut self, core: &Path) {
        let own = folder_of(core).canonicalize().ok();
        let mut folders = self.write.iter();
        self.moves = folders.any(|folder| folder.canonicalize().ok() != own);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::request::Check;

    #[test]
    fn a_source_brings_its_companions_and_an_output_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["win.vmss", "win.vmem", "winner.vmem", "secret"] {
            // What a format claims.
            fs::write(path(name), "KDUMP   ").unwrap();
        }
        let source = Source::of_one(&path("win.vmss")).unwrap();
        let mut access = Access::default();
        access.source(&source);
        access.read.sort();
        assert_eq!(
            access.read,
            ["win.vmem", "win.vmss"].map(path),
            "what has its name, and nothing else"
        );
        for (output, expected) in [
            (None, None),
            (Some("/nowhere/x.dmp"), Some("/nowhere".into())),
            (Some("x.dmp"), Some(PathBuf::from("."))),
        ] {
            let mut access = Access::default();
            access.folder(output.map(Path::new));
            assert_eq!(access.write, Vec::from_iter(expected));
        }
        let check = Access::of(&Request::Check(Check::of(&path("win.vmss"))));
        assert_eq!(check.read, [path("win.vmss")]);
        assert!(check.write.is_empty());
    }
}
