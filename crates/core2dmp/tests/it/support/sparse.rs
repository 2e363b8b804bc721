//! A dump of 64 GiB that takes a few MiB of disk, and a file system that shares extents.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use core2dmp_synth::dump::{self, Dump};
use core2dmp_synth::{Guest, GuestSpec};

/// A guest whose memory is 64 GiB, almost all of it zeros. Its dump needs no page that its memory has not.
pub(crate) fn large_guest() -> Guest {
    let spec = GuestSpec::windows7().processors(2);
    spec.memory_mib(64 << 10).crashed(0xe2, [0; 4]).build()
}

/// Writes the guest's full dump with holes where nothing was ever written, and a header that `change` changed.
pub(crate) fn write_sparse(guest: &Guest, path: &Path, change: impl Fn(&mut Dump)) {
    let bytes = dump::header(guest, 1);
    let mut header = Dump {
        pfns: Vec::new(),
        first_page: bytes.len(),
        header_bytes: bytes.len(),
        bytes,
    };
    change(&mut header);
    let mut file = File::create(path).unwrap();
    file.write_all(&header.bytes).unwrap();
    let mut at = header.bytes.len() as u64;
    let mut page = [0; 4096];
    for &(first, count) in &guest.expected.runs {
        let written = (first..first + count).filter(|pfn| guest.frames.is_written(*pfn));
        for pfn in written {
            guest.frames.read_frame(pfn, &mut page);
            file.seek(SeekFrom::Start(at + (pfn - first) * 4096))
                .unwrap();
            file.write_all(&page).unwrap();
        }
        at += count * 4096;
    }
    file.set_len(at).unwrap();
}

/// A file system in a file, such as one that shares extents; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    /// Makes one; `None`, loudly, where that is not possible.
    pub(crate) fn make() -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("SKIPPED: {why}, so nothing is copied on a file system that shares extents");
            None
        };
        let kinds = ["btrfs", "xfs"].into_iter();
        let Some(kind) = kinds.into_iter().find(|kind| have(&format!("mkfs.{kind}"))) else {
            return skipped("there is no mkfs.btrfs and no mkfs.xfs");
        };
        Self::of(kind).or_else(|| skipped(&format!("a loop mount of {kind} needs root")))
    }

    /// Makes one of this kind; `None` where that is not possible.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let volume = Self { folder };
        std::fs::create_dir(volume.folder()).unwrap();
        let made = run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        (made && volume.mount()).then_some(volume)
    }

    pub(super) fn mount(&self) -> bool {
        let image = self.folder.path().join("image");
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).arg(image).arg(self.folder()))
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Where it was never mounted there is nothing to unmount.
        run(Command::new("umount").arg(self.folder()));
    }
}

pub(super) fn run(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
