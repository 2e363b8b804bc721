//! A source that fails, shortens or changes at every stage: the dump is absent, or whole and the source's.
//!
//! ```text
//! read 1   ...   read n: fault   ...   last read of the writer   ...   reads of --verify
//! ```

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::error::{Error, Result};
use core2dmp::image::SegmentData;
use core2dmp::memory::Backing;
use core2dmp::source::ReadAt;
use core2dmp::windows;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::GuestSpec;

/// Places at which each fault is tried.
const PLACES: u64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// EIO, from here on.
    Broken,
    /// EIO, once.
    BrokenOnce,
    /// The file ends, from here on.
    Ended,
    /// Half of what is asked for, from here on.
    Short,
    /// EINTR, once.
    Interrupted,
    /// Other bytes, from here on.
    Changed,
}

/// A container in memory that goes wrong at its read `at`.
#[derive(Debug)]
struct Faulty {
    bytes: Vec<u8>,
    fault: Fault,
    at: u64,
    reads: Arc<AtomicU64>,
}

impl ReadAt for Faulty {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        let has_come = number >= self.at;
        match self.fault {
            Fault::Broken if has_come => Err(io::Error::from_raw_os_error(5)),
            Fault::BrokenOnce if number == self.at => Err(io::Error::from_raw_os_error(5)),
            Fault::Interrupted if number == self.at => Err(io::ErrorKind::Interrupted.into()),
            Fault::Ended if has_come => Ok(0),
            Fault::Short if has_come => {
                let count = buf.len().div_ceil(2);
                self.bytes.read_at(offset, &mut buf[..count])
            }
            Fault::Changed if has_come => {
                let count = self.bytes.read_at(offset, buf)?;
                for byte in &mut buf[..count] {
                    *byte ^= 0x40;
                }
                Ok(count)
            }
            _ => self.bytes.read_at(offset, buf),
        }
    }
}

/// How one run ended.
struct Run {
    outcome: Result<Plan>,
    /// Reads until the plan stood, and in all.
    planned: u64,
    reads: u64,
    folder: tempfile::TempDir,
}

impl Run {
    fn of(core: &[u8], fault: Fault, at: u64, verify: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let reads = Arc::new(AtomicU64::new(0));
        let source = Faulty {
            bytes: core.to_vec(),
            fault,
            at,
            reads: Arc::clone(&reads),
        };
        let mut planned = 0;
        let outcome = convert(source, &folder.path().join("out.dmp"), verify, || {
            planned = reads.load(Ordering::SeqCst);
        });
        Self {
            outcome,
            planned,
            reads: reads.load(Ordering::SeqCst),
            folder,
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn dump(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("out.dmp")).unwrap()
    }
}

fn convert(source: Faulty, path: &Path, verify: bool, mut planned: impl FnMut()) -> Result<Plan> {
    let guest = container::open(Arc::new(source), OpenOptions::default())?;
    let found = windows::identify(&guest)?;
    let plan = dump::plan(&guest, &found, &PlanOptions::default())?;
    planned();
    let options = WriteOptions::default().sync(false).verify(verify);
    write::to_file(&plan.image, &guest.memory, path, options, &Silent)?;
    Ok(plan)
}

fn core() -> Vec<u8> {
    let mut core = io::Cursor::new(Vec::new());
    let guest = GuestSpec::windows10().memory_mib(20).fill(50).build();
    guest.xen_core().write_to(&mut core).unwrap();
    core.into_inner()
}

/// Whether every byte that the plan takes from the source is the source's.
fn is_whole(dump: &[u8], plan: &Plan, core: &[u8]) -> bool {
    let mut at = 0_usize;
    for segment in plan.image.segments() {
        let bytes = usize::try_from(segment.bytes).unwrap();
        let found = &dump[at..at + bytes];
        let same = match &segment.data {
            SegmentData::Bytes(bytes) => found == bytes,
            SegmentData::Source { offset } => {
                let offset = usize::try_from(*offset).unwrap();
                found == &core[offset..offset + bytes]
            }
            SegmentData::Zeros => found.iter().all(|byte| *byte == 0),
            SegmentData::Encoded { .. } => panic!("a Xen core has none"),
        };
        if !same {
            return false;
        }
        at += bytes;
    }
    at == dump.len()
}

#[test]
fn a_dump_is_absent_or_whole_whatever_a_source_does() {
    let core = core();
    let good = Run::of(&core, Fault::None, 0, false);
    let expected = good.dump();
    assert!(is_whole(&expected, good.outcome.as_ref().unwrap(), &core));
    let (mut injected, mut absent) = (0, 0);
    for fault in [
        Fault::Broken,
        Fault::BrokenOnce,
        Fault::Ended,
        Fault::Short,
        Fault::Interrupted,
    ] {
        for place in 0..PLACES {
            let at = good.reads * place / PLACES;
            let run = Run::of(&core, fault, at, false);
            injected += 1;
            let Ok(plan) = &run.outcome else {
                assert_eq!(run.names(), [""; 0], "{fault:?} at {at}");
                assert!(
                    !matches!(fault, Fault::Short | Fault::Interrupted),
                    "{fault:?} at {at} is no error: {:?}",
                    run.outcome
                );
                absent += 1;
                continue;
            };
            assert_eq!(run.names(), ["out.dmp"], "{fault:?} at {at}");
            // A page that could not be read while Windows was looked for leaves a fact out, and says so.
            assert!(is_whole(&run.dump(), plan, &core), "{fault:?} at {at}");
            if matches!(fault, Fault::Short | Fault::Interrupted) {
                assert!(run.dump() == expected, "{fault:?} at {at}");
            }
        }
    }
    assert!(absent > PLACES, "{absent}");
    println!("{injected} faults injected into a source: {absent} times no dump, else a whole one");
}

#[test]
fn a_broken_source_is_named_with_its_place() {
    let core = core();
    let good = Run::of(&core, Fault::None, 0, false);
    for (fault, words) in [
        (Fault::Broken, "cannot read the container at file offset 0x"),
        (Fault::Ended, "the container ends at 0x"),
    ] {
        let run = Run::of(&core, fault, good.planned + 1, false);
        let said = run.outcome.unwrap_err().to_string();
        let causes = format!("{said}: {fault:?}");
        assert!(said.contains(words), "{causes}");
    }
}

#[test]
fn a_source_that_changes_under_the_writer_fails_verification() {
    let core = core();
    let good = Run::of(&core, Fault::None, 0, true);
    assert_eq!(good.names(), ["out.dmp"], "{:?}", good.outcome);
    let written = Run::of(&core, Fault::None, 0, false).reads;
    assert!(good.reads > written, "it was read again");
    let guest = container::open(Arc::new(core.clone()), OpenOptions::default()).unwrap();
    let mut caught = 0;
    for place in 0..PLACES {
        // In the writing, where every read of the verification sees other bytes than one of the writer's did.
        let at = good.planned + 1 + (written - good.planned - 1) * place / PLACES;
        let run = Run::of(&core, Fault::Changed, at, true);
        let Err(Error::ReadBack { frame, offset }) = run.outcome else {
            panic!("changed at read {at}: {:?}", run.outcome);
        };
        assert_eq!(run.names(), [""; 0]);
        // What is named is the frame that stands there.
        let frame = frame.unwrap();
        let backing = guest.memory.runs().iter().find_map(|memory| {
            let skipped = frame.get().checked_sub(memory.frames.first.get())?;
            (skipped < memory.frames.count).then_some((memory.backing, skipped))
        });
        let Some((Backing::File { offset: first }, skipped)) = backing else {
            panic!("{frame} is not in the core");
        };
        let plan = plan_of(&core);
        assert_eq!(source_of(&plan, offset), Some(first + skipped * 0x1000));
        caught += 1;
    }
    println!("{caught} changes of a source under the writer, each found by --verify");
}

fn plan_of(core: &[u8]) -> Plan {
    let guest = container::open(Arc::new(core.to_vec()), OpenOptions::default()).unwrap();
    let found = windows::identify(&guest).unwrap();
    dump::plan(&guest, &found, &PlanOptions::default()).unwrap()
}

/// The offset in the container of what stands at an offset of the dump.
fn source_of(plan: &Plan, offset: u64) -> Option<u64> {
    let mut at = 0;
    plan.image.segments().iter().find_map(|segment| {
        let start = at;
        at += segment.bytes;
        match segment.data {
            SegmentData::Source { offset: source } if (start..at).contains(&offset) => {
                Some(source + offset - start)
            }
            _ => None,
        }
    })
}
