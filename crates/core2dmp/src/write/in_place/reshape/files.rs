//! What can be refused before a core changes; names, locks and space.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, fstatfs, fstatvfs, renameat_with};

use super::disk::{Disk as _, DiskFile};
use super::journal::{Head, Journal, Record};
use super::room::{check_space, refused};
use super::span::Span;
use super::steps::Steps;
use super::{Consumed, Cost, Found, journal_path, run};
use crate::error::{Error, Place, Result};
use crate::image::{Image, SegmentData};
use crate::memory::PhysicalMemory;
use crate::write::Progress;
use crate::write::temporary::{self, folder};

/// Bytes that are saved between two looks at the interruption flag.
const STEP: u64 = 64 << 20;
/// Records times stretches of data that they may list: 32 MiB of journal.
const MAX_LISTED: usize = 1 << 20;
/// A dump holds all the guest's secrets.
const MODE: u32 = 0o600;
/// Numbers of file systems, from linux/magic.h.
const FILE_SYSTEMS: [(u64, &str); 9] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x6969, "nfs"),
    (0x794c_7630, "overlayfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0x6573_5546, "fuse"),
];

/// A conversion that nothing speaks against.
#[derive(Debug)]
pub struct Prepared {
    core: PathBuf,
    dump: PathBuf,
    file: DiskFile,
    head: Head,
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let what = format!("cannot {what} {}", shown(path));
    move |e| Error::io(what.clone(), e)
}

/// As good as the file system allows.
fn sync_folder(path: &Path) {
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
}

/// Looks at everything that could speak against making the planned dump of the file `core`, whose memory this is,
/// under the name `dump`. Nothing is changed.
///
/// # Errors
/// [`Error::CannotConsume`] with the reason, [`Error::Io`].
pub fn prepare(
    image: &Image,
    memory: &PhysicalMemory,
    core: &Path,
    dump: &Path,
) -> Result<Prepared> {
    let journal = journal_path(core);
    if journal.symlink_metadata().is_ok() {
        return Err(Error::OutputExists {
            path: shown(&journal),
        });
    }
    let file = own(core)?;
    let meta = file.metadata().map_err(failed("look at", core))?;
    if meta.nlink() > 1 {
        return refused("the file has other names, which would become the dump, too");
    }
    is_source(image, memory, &meta)?;
    let beside = folder(dump)
        .metadata()
        .map_err(failed("look at", folder(dump)))?;
    if beside.dev() != meta.dev() {
        return refused("the dump is to be on another file system");
    }
    let stat = fstatvfs(&file).map_err(|e| failed("look at the file system of", core)(e.into()))?;
    probe(core, stat.f_frsize)?;
    let steps = match Steps::of(image.segments(), meta.len(), stat.f_frsize) {
        Ok(steps) => steps,
        Err(why) => return refused(why),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let wrote = run::wrote(image.segments());
    check_space(&steps, &wrote, free)?;
    let file = DiskFile(file);
    let stretches = file
        .data(0)
        .map_err(failed("look for holes in", core))?
        .0
        .len();
    let shifts = steps.shifts.len();
    if stretches.saturating_mul(shifts) > MAX_LISTED {
        return refused(format!(
            "its {stretches} holes and {shifts} shifts are too many for the journal"
        ));
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(failed("find", path));
    let head = Head {
        core: absolute(core)?.as_os_str().as_bytes().to_vec(),
        dump: absolute(dump)?.as_os_str().as_bytes().to_vec(),
        inode: meta.ino(),
        mode: meta.mode() & 0o7777,
        block: stat.f_frsize,
        steps,
        wrote,
    };
    Ok(Prepared {
        core: core.to_owned(),
        dump: dump.to_owned(),
        file,
        head,
    })
}

/// Opens a file for changes by this program only.
fn own(path: &Path) -> Result<File> {
    let meta = path.symlink_metadata().map_err(failed("look at", path))?;
    if !meta.is_file() {
        return refused(format!("{} is not a regular file", shown(path)));
    }
    let options = File::options().read(true).write(true).open(path);
    let file = options.map_err(failed("change", path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
        rustix::io::Errno::WOULDBLOCK => Error::CannotConsume {
            why: format!("{} is in use by another core2dmp", shown(path)),
        },
        e => failed("lock", path)(e.into()),
    })?;
    Ok(file)
}

/// Whether the planned pages are this file's own bytes.
fn is_source(image: &Image, memory: &PhysicalMemory, meta: &fs::Metadata) -> Result<()> {
    let source = memory.source();
    let Some((first, 0)) = source.file_at(0) else {
        return refused("its memory is not stored in the file as plain bytes");
    };
    let read = first
        .metadata()
        .map_err(|e| Error::io("cannot look at the source", e))?;
    if (read.dev(), read.ino(), source.size()) != (meta.dev(), meta.ino(), meta.len()) {
        return refused("the file has changed since it was opened");
    }
    let is_own = |offset| matches!(source.file_at(offset), Some((file, at)) if std::ptr::eq(file, first) && at == offset);
    let all = image.segments().iter().all(|segment| match segment.data {
        SegmentData::Source { offset } => is_own(offset),
        _ => true,
    });
    if !all {
        return refused("its memory is in several files");
    }
    Ok(())
}

/// Whether the file system takes ranges out and puts them in, tried on a file of its own.
fn probe(core: &Path, block: u64) -> Result<()> {
    let file = tempfile::tempfile_in(folder(core)).map_err(failed("make a file beside", core))?;
    let mut disk = DiskFile(file);
    let bytes = usize::try_from(block).unwrap_or(0);
    if !(512..=1 << 20).contains(&bytes) || !bytes.is_power_of_two() {
        return refused(format!("its file system has blocks of {block} bytes"));
    }
    let written: Vec<u8> = [1, 2, 3].iter().flat_map(|n| vec![*n; bytes]).collect();
    let wanted: Vec<u8> = [1, 0, 3].iter().flat_map(|n| vec![*n; bytes]).collect();
    let tried = disk.write(0, &written).and_then(|()| {
        let middle = Span::new(block, block);
        disk.collapse(middle)?;
        disk.insert(middle)?;
        disk.punch(middle)?;
        let mut found = vec![0; written.len()];
        disk.read(0, &mut found)?;
        Ok(found == wanted)
    });
    match tried {
        Ok(true) => Ok(()),
        Ok(false) => refused("its file system does not put ranges into a file as it should"),
        Err(e) => {
            let magic = fstatfs(&disk.0).map(|stat| stat.f_type as u64).unwrap_or(0);
            let name = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
            let name = name.map_or("of another kind", |(_, name)| name);
            refused(format!(
                "its file system ({name}) cannot take ranges out of a file: {e}; ext4 and xfs can"
            ))
        }
    }
}

impl Prepared {
    /// What it takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        Cost {
            shifts: self.head.steps.shifts.len(),
            saved: self.head.steps.saved_bytes(),
        }
    }

    /// Does it. `progress` counts the bytes that are saved, and may stop it until the first change; `force` replaces
    /// an existing dump.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`]; then the core is as it was. If it could not be made so,
    /// [`Error::HalfConsumed`].
    pub fn execute(
        mut self,
        image: &Image,
        force: bool,
        progress: &dyn Progress,
    ) -> Result<Consumed> {
        let name = journal_path(&self.core);
        self.file.sync().map_err(failed("flush", &self.core))?;
        let mut journal = self.save(&name, progress)?;
        let done = self
            .file
            .0
            .set_permissions(Permissions::from_mode(MODE))
            .and_then(|()| run::there(&mut self.file, &mut journal, image.segments()))
            .and_then(|()| rename(&self.core, &self.dump, force));
        if let Err(e) = done {
            restore(&mut self.file, &mut journal, &self.core, &self.core)?;
            return Err(failed("convert in place", &self.core)(e));
        }
        sync_folder(&self.dump);
        Ok(Consumed {
            bytes: journal.bytes(),
            journal: name,
        })
    }

    /// Writes the journal; it has its name when all of it is on the disk.
    fn save(&self, name: &Path, progress: &dyn Progress) -> Result<Journal<DiskFile>> {
        let write = failed("write", name);
        let temporary = temporary::create(&self.dump, folder(name)).map_err(&write)?;
        let file = temporary.as_file().try_clone().map_err(&write)?;
        let mut stopped = false;
        let created = Journal::create(DiskFile(file), self.head.clone(), &mut |disk, to, span| {
            let mut done = 0_u64;
            while done < span.bytes {
                let step = span.bytes.saturating_sub(done).min(STEP);
                let from = Span::new(span.at.saturating_add(done), step);
                disk.take(to.saturating_add(done), &self.file, from)?;
                done = done.saturating_add(step);
                stopped = progress.advance(step).is_break();
                if stopped {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            Ok(())
        });
        let journal = match created {
            Err(_) if stopped => return Err(Error::Interrupted),
            created => created.map_err(&write)?,
        };
        temporary
            .persist_noclobber(name)
            .map_err(|e| match e.error.kind() {
                io::ErrorKind::AlreadyExists => Error::OutputExists { path: shown(name) },
                _ => write(e.error),
            })?;
        sync_folder(name);
        Ok(journal)
    }
}

fn rename(from: &Path, to: &Path, force: bool) -> io::Result<()> {
    if force {
        return fs::rename(from, to);
    }
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Makes the file at `path` the core again, under its name, and removes the journal.
fn restore(
    file: &mut DiskFile,
    journal: &mut Journal<DiskFile>,
    path: &Path,
    core: &Path,
) -> Result<()> {
    let name = journal_path(core);
    let half = |e: io::Error| Error::HalfConsumed {
        path: shown(path),
        why: e.to_string(),
    };
    run::back(file, journal).map_err(half)?;
    file.0
        .set_permissions(Permissions::from_mode(journal.head.mode))
        .map_err(half)?;
    if path != core {
        rename(path, core, false).map_err(half)?;
        sync_folder(core);
    }
    fs::remove_file(&name).map_err(failed("remove", &name))?;
    sync_folder(&name);
    Ok(())
}

fn open_journal(name: &Path, change: bool) -> Result<Journal<DiskFile>> {
    let file = File::options().read(true).write(change).open(name);
    let read = failed("read", name);
    Journal::open(DiskFile(file.map_err(&read)?), change).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => Error::malformed(
            "the journal",
            Place::Offset(0),
            "what a conversion in place wrote",
            e.to_string(),
        ),
        _ => read(e),
    })
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The journal of an earlier conversion of the file `core`.
///
/// # Errors
/// [`Error::Io`] if it is no journal, or damaged.
pub fn find(core: &Path) -> Result<Option<Found>> {
    let name = journal_path(core);
    if name.symlink_metadata().is_err() {
        return Ok(None);
    }
    let journal = open_journal(&name, false)?;
    let is_here = core
        .symlink_metadata()
        .is_ok_and(|meta| meta.ino() == journal.head.inode);
    Ok(Some(Found {
        journal: name,
        dump: path(&journal.head.dump),
        is_here,
        is_done: journal.last == Some(Record::Done),
    }))
}

/// Makes the core again of whatever a conversion of the file `core` left; `dump` is where the dump is now, if it was
/// moved. The journal is gone then. Returns the name of the file that it was made of.
///
/// # Errors
/// [`Error::Io`], [`Error::CannotConsume`] if the dump was changed since or is not found, [`Error::HalfConsumed`].
pub fn undo(core: &Path, dump: Option<&Path>) -> Result<PathBuf> {
    let mut journal = open_journal(&journal_path(core), true)?;
    let planned = path(&journal.head.dump);
    let beside = planned.file_name().map(|name| folder(core).join(name));
    let candidates = [dump, Some(core), Some(&planned), beside.as_deref()];
    let is_it = |path: &&Path| {
        let meta = path.symlink_metadata();
        meta.is_ok_and(|meta| meta.is_file() && meta.ino() == journal.head.inode)
    };
    let Some(at) = candidates.into_iter().flatten().find(is_it) else {
        return refused(format!(
            "the file that was converted is neither {} nor {}",
            shown(core),
            shown(dump.unwrap_or(&planned))
        ));
    };
    let mut file = DiskFile(own(at)?);
    if journal.last == Some(Record::Done)
        && !run::is_untouched(&file, &journal).map_err(failed("read", at))?
    {
        return refused(format!("{} was changed since", shown(at)));
    }
    restore(&mut file, &mut journal, at, core)?;
    Ok(at.to_owned())
}
