//! File systems to measure on: a file, formatted and mounted for the time of the benchmark.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{Outcome, check, have};

/// A mounted file system; unmounted when dropped.
pub struct Volume {
    /// Where it is mounted.
    pub folder: PathBuf,
    image: PathBuf,
}

impl Volume {
    /// Makes a file system of this kind with room for a core, its dump and a copy. Needs root.
    pub fn make(work: &Path, kind: &str, core_mib: u64) -> Outcome<Self> {
        let mkfs = format!("mkfs.{kind}");
        if !have(&mkfs) {
            return Err(format!("{mkfs} is not installed").into());
        }
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Err("a loop mount needs root".into());
        }
        let image = work.join(format!("{kind}.img"));
        let folder = work.join(kind);
        fs::create_dir_all(&folder)?;
        File::create(&image)?.set_len((core_mib * 3 + 1024) << 20)?;
        check(
            Command::new(mkfs)
                .arg("-q")
                .arg(&image)
                .stdout(Stdio::null()),
        )?;
        let volume = Self { folder, image };
        check(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&volume.image)
                .arg(&volume.folder),
        )?;
        Ok(volume)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = check(Command::new("umount").arg(&self.folder)) {
            eprintln!("{error}: unmount it by hand");
            return;
        }
        // What is left is removed with the work directory.
        fs::remove_file(&self.image).ok();
    }
}

/// Unmounts and removes what an interrupted benchmark left behind.
pub fn clean(work: &Path) {
    for kind in ["xfs", "btrfs"] {
        let folder = work.join(kind);
        if mounts().iter().any(|(at, _)| *at == folder) {
            check(Command::new("umount").arg(&folder)).ok();
        }
    }
    fs::remove_dir_all(work).ok();
}

/// The kind of file system that a folder is on.
pub fn kind_of(folder: &Path) -> String {
    mounts()
        .into_iter()
        .filter(|(at, _)| folder.starts_with(at))
        .max_by_key(|(at, _)| at.as_os_str().len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// Mount points and kinds.
fn mounts() -> Vec<(PathBuf, String)> {
    let text = fs::read_to_string("/proc/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((PathBuf::from(words.next()?), words.next()?.to_owned()))
        })
        .collect()
}
