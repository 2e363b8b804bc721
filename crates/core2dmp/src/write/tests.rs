//! What is left on the disk after success, after failure and after an interruption.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use core2dmp_synth::GuestSpec;
use tempfile::TempDir;

use super::{Progress, Silent, WriteOptions, to_file, to_stream};
use crate::container::{self, OpenOptions};
use crate::dump::{self, Plan, PlanOptions};
use crate::error::{Error, Result};
use crate::image::{Image, Segment, SegmentData};
use crate::memory::{PhysicalMemory, SortedRuns};
use crate::source::{FileSource, ReadAt};
use crate::windows;

mod encoded;
mod ends;

const QUICK: WriteOptions = WriteOptions {
    force: false,
    sync: false,
    sparse: false,
    verify: false,
};
const FORCE: WriteOptions = QUICK.force(true);

/// A small guest's core on disk, and the plan of its dump.
struct Case {
    folder: TempDir,
    memory: PhysicalMemory,
    plan: Plan,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = folder.path().join("guest.core");
        let spec = GuestSpec::windows10().memory_mib(20).fill(50);
        let guest = spec.ballooned(0x1300, 8).build();
        guest.xen_core().write_file(&core).unwrap();
        let source = Arc::new(FileSource::open(&core).unwrap());
        let opened = container::open(source, OpenOptions::default()).unwrap();
        let windows = windows::identify(&opened).unwrap();
        let plan = dump::plan(&opened, &windows, &PlanOptions::default()).unwrap();
        Self {
            folder,
            memory: opened.memory,
            plan,
        }
    }

    /// The same with a body of the test's own.
    fn of(image: Image) -> Self {
        let mut case = Self::new();
        case.plan.image = image;
        case
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.dmp")
    }

    fn write(&self, options: WriteOptions) -> Result<()> {
        to_file(
            &self.plan.image,
            &self.memory,
            &self.output(),
            options,
            &Silent,
        )
        .map(drop)
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Bytes of memory, or of a file without its name.
#[derive(Debug)]
struct Nameless<S>(S);

impl<S: ReadAt> ReadAt for Nameless<S> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
}

/// A source that breaks at an offset.
#[derive(Debug)]
struct Broken<S> {
    inner: S,
    at: u64,
}

impl<S: ReadAt> ReadAt for Broken<S> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.at.saturating_sub(offset)).unwrap();
        if left == 0 {
            return Err(io::Error::other("a bad sector"));
        }
        let count = buf.len().min(left);
        self.inner.read_at(offset, &mut buf[..count])
    }
}

/// Stops after this many steps, and counts bytes.
#[derive(Debug)]
struct Steps {
    left: AtomicU64,
    bytes: AtomicU64,
}

impl Steps {
    fn new(steps: u64) -> Self {
        Self {
            left: AtomicU64::new(steps),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Progress for Steps {
    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            0 | 1 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Memory without runs: the tests' own plans only refer to the source.
fn memory_of(source: impl ReadAt + 'static) -> PhysicalMemory {
    PhysicalMemory::new(Arc::new(source), SortedRuns::default())
}

fn source_image(offset: u64, bytes: u64) -> Image {
    let mut image = Image::new();
    image.push_source(offset, bytes);
    image
}

#[test]
fn file_stream_and_a_source_without_a_name_give_the_same_bytes() {
    let case = Case::new();
    case.write(QUICK).unwrap();
    let file = fs::read(case.output()).unwrap();
    assert_eq!(file.len() as u64, case.plan.image.size());
    let watch = Steps::new(u64::MAX);
    let mut stream = Vec::new();
    to_stream(&case.plan.image, &case.memory, &mut stream, &watch).unwrap();
    assert!(stream == file);
    assert_eq!(watch.bytes.load(Ordering::Relaxed), case.plan.image.size());
    let core = case.folder.path().join("guest.core");
    let nameless = memory_of(Nameless(FileSource::open(&core).unwrap()));
    let watch = Steps::new(u64::MAX);
    to_file(&case.plan.image, &nameless, &case.output(), FORCE, &watch).unwrap();
    assert!(fs::read(case.output()).unwrap() == file);
    assert_eq!(watch.bytes.load(Ordering::Relaxed), case.plan.image.size());
    // What the plan lacks is zeros: 8 ballooned frames of the second run.
    let missing = case.plan.header_bytes + (0x9e + 0x1300 - 0x100) * 0x1000;
    let at = usize::try_from(missing).unwrap();
    assert_eq!(case.plan.missing.frames, 8);
    assert!(file[at..at + 0x8000].iter().all(|byte| *byte == 0));
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let case = Case::new();
    fs::write(case.output(), "precious").unwrap();
    let error = case.write(QUICK).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} exists", case.output().display())
    );
    assert!(matches!(error, Error::OutputExists { .. }));
    assert_eq!(fs::read(case.output()).unwrap(), b"precious");
    case.write(WriteOptions {
        force: true,
        sync: true,
        sparse: false,
        verify: false,
    })
    .unwrap();
    assert_eq!(
        fs::metadata(case.output()).unwrap().len(),
        case.plan.image.size()
    );
    assert_eq!(case.names(), ["guest.core", "out.dmp"]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let case = Case::new();
    let mode = || fs::metadata(case.output()).unwrap().permissions().mode() & 0o7777;
    case.write(QUICK).unwrap();
    assert_eq!(mode(), 0o600);
    // A file that others could read is replaced, not filled.
    fs::set_permissions(case.output(), fs::Permissions::from_mode(0o644)).unwrap();
    case.write(FORCE).unwrap();
    assert_eq!(mode(), 0o600);
}

#[cfg(unix)]
#[test]
fn folders_links_and_devices_are_no_place_for_it() {
    use std::path::Path;

    let case = Case::new();
    let refused = |path: &Path| {
        let error = to_file(&case.plan.image, &case.memory, path, FORCE, &Silent).unwrap_err();
        let name = path.display();
        let line =
            format!("cannot write {name}: it is not a regular file: invalid input parameter");
        assert_eq!(error.to_string(), line);
    };
    refused(case.folder.path());
    let target = case.folder.path().join("target");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, case.output()).unwrap();
    refused(&case.output());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    // Nor is a link that leads nowhere.
    fs::remove_file(&target).unwrap();
    refused(&case.output());
    refused(Path::new("/dev/null"));
    let nowhere = case.folder.path().join("none/out.dmp");
    let error = to_file(&case.plan.image, &case.memory, &nowhere, QUICK, &Silent).unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with(&format!("cannot create {}: ", nowhere.display())),
        "{line}"
    );
    assert_eq!(case.names(), ["guest.core", "out.dmp"]);
}

#[test]
fn an_interruption_leaves_nothing() {
    let case = Case::new();
    let watch = Steps::new(u64::MAX);
    to_file(
        &case.plan.image,
        &case.memory,
        &case.output(),
        QUICK,
        &watch,
    )
    .unwrap();
    let steps = u64::MAX - watch.left.load(Ordering::Relaxed);
    assert!(steps > 3);
    fs::write(case.output(), "precious").unwrap();
    for step in 1..=steps {
        let watch = Steps::new(step);
        let stopped = to_file(
            &case.plan.image,
            &case.memory,
            &case.output(),
            FORCE,
            &watch,
        );
        assert_eq!(
            stopped.unwrap_err().to_string(),
            "interrupted; no output was left behind"
        );
        assert_eq!(case.names(), ["guest.core", "out.dmp"]);
        assert_eq!(fs::read(case.output()).unwrap(), b"precious");
    }
    let stopped = to_stream(
        &case.plan.image,
        &case.memory,
        &mut Vec::new(),
        &Steps::new(2),
    );
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn a_source_that_fails_leaves_nothing_and_names_the_place() {
    let case = Case::new();
    let offset = |segment: &Segment| match segment.data {
        SegmentData::Source { offset } => Some((offset, segment.bytes)),
        _ => None,
    };
    let largest = case.plan.image.segments().iter().filter_map(offset);
    let (offset, bytes) = largest.max_by_key(|(_, bytes)| *bytes).unwrap();
    let core = case.folder.path().join("guest.core");
    for at in [offset, offset + 0x1800, offset + bytes - 1] {
        let inner = FileSource::open(&core).unwrap();
        let broken = memory_of(Broken { inner, at });
        let error = to_file(&case.plan.image, &broken, &case.output(), QUICK, &Silent).unwrap_err();
        assert_eq!(case.names(), ["guest.core"]);
        assert_bad_sector(&error, at);
        let error = to_stream(&case.plan.image, &broken, &mut Vec::new(), &Silent).unwrap_err();
        assert_bad_sector(&error, at);
    }
}

/// It was the container that could not be read, at the block of this offset: the output is not to blame.
fn assert_bad_sector(error: &Error, at: u64) {
    let line = error.to_string();
    let place = line
        .strip_prefix("cannot read the container at file offset 0x")
        .and_then(|rest| rest.strip_suffix(": a bad sector"));
    let place = place.unwrap_or_else(|| panic!("names no place in the container: {line}"));
    let place = u64::from_str_radix(place, 16).unwrap();
    assert!(
        place <= at && at - place < super::job::BUFFER as u64,
        "{line}"
    );
}
