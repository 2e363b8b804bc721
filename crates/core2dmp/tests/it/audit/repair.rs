//! `repair`: from the memory behind the header, from the original core, in place and back, and how long it takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use core2dmp::audit::check::check;
use core2dmp::audit::repair::{Change, Repair, repair, repair_from};
use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{PlanOptions, plan};
use core2dmp::error::Error;
use core2dmp::source::FileSource;
use core2dmp::windows::identify;
use core2dmp::write::{self, Silent, WriteOptions, in_place};
use core2dmp_synth::{Guest, GuestSpec, dump};

use crate::support::repaired::{open, repaired};
use crate::support::sparse::{self, Volume, write_sparse};

/// Guests of both widths.
fn guests() -> [Guest; 2] {
    let spec = |spec: GuestSpec| spec.memory_mib(20).processors(2).crashed(0xe2, [0; 4]);
    [
        spec(GuestSpec::windows2003_x64()).build(),
        spec(GuestSpec::windows7_pae()).build(),
    ]
}

/// A header that a driver made at another boot: the wrong type, page tables, times, processors and block.
fn make_stale(dump: &mut dump::Dump) {
    let wide = dump.header_bytes == 0x2000;
    dump.set_type(2);
    let fields: [(usize, u32); 6] = if wide {
        [
            (0x10, 0x7eec_1000),
            (0x18, 0),
            (0x34, 9),
            (0x80, 0),
            (0xfa0, 0x3000),
            (0x1030, 7),
        ]
    } else {
        [
            (0x10, 0x7eec_1000),
            (0x14, 0),
            (0x24, 9),
            (0x60, 0),
            (0xfa0, 0x3000),
            (0xfb8, 7),
        ]
    };
    for (offset, value) in fields {
        dump.put_u32(offset, value);
    }
}

fn open_file(path: &Path) -> DumpFile {
    DumpFile::open(Arc::new(FileSource::open(path).unwrap())).unwrap()
}

/// The same file through its segments, as the repaired copy is written.
fn copied(dump: &DumpFile, repair: &Repair, path: &Path) {
    let image = repair.image(dump).unwrap();
    write::to_file(
        &image,
        &dump.memory(),
        path,
        WriteOptions::default(),
        &Silent,
    )
    .unwrap();
}

#[test]
fn a_stale_header_becomes_true_again() {
    let folder = tempfile::tempdir().unwrap();
    for guest in guests() {
        let good = dump::full(&guest);
        let mut stale = good.clone();
        make_stale(&mut stale);
        let plan = repair(&open(&stale.bytes)).unwrap();
        assert_eq!(plan.left, []);
        let mended = repaired(&stale.bytes, &plan);
        assert!(mended[good.header_bytes..] == good.bytes[good.header_bytes..]);
        assert!(check(&open(&mended)).findings.is_empty());
        // Every change has a reason, and is one.
        for Change {
            what,
            old,
            new,
            reason,
            ..
        } in &plan.changes
        {
            assert!(
                old != new && old.len() == new.len() && !reason.is_empty(),
                "{what}"
            );
        }
        // The copy that is written is the same file, and the dump was not touched.
        let (from, to) = (
            folder.path().join("stale.dmp"),
            folder.path().join("mended.dmp"),
        );
        std::fs::write(&from, &stale.bytes).unwrap();
        copied(&open_file(&from), &plan, &to);
        assert!(std::fs::read(&to).unwrap() == mended);
        assert!(std::fs::read(&from).unwrap() == stale.bytes);
        std::fs::remove_file(&to).unwrap();
    }
}

#[test]
fn planning_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale.dmp");
    let [guest, _] = guests();
    let mut stale = dump::full(&guest);
    make_stale(&mut stale);
    std::fs::write(&path, &stale.bytes).unwrap();
    let before = path.metadata().unwrap().modified().unwrap();
    let dump = open_file(&path);
    assert!(repair(&dump).unwrap().image(&dump).unwrap().size() > 0);
    assert!(std::fs::read(&path).unwrap() == stale.bytes);
    assert_eq!(path.metadata().unwrap().modified().unwrap(), before);
    let files: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert_eq!(files.len(), 1);
}

#[test]
fn in_place_and_back_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale.dmp");
    for guest in guests() {
        let mut stale = dump::full(&guest);
        make_stale(&mut stale);
        std::fs::write(&path, &stale.bytes).unwrap();
        let changes = repair(&open_file(&path)).unwrap().changes;
        let undo = in_place::apply(&path, &changes).unwrap();
        assert_eq!(undo, in_place::undo_path(&path));
        assert!(check(&open_file(&path)).findings.is_empty());
        // A second repair has nothing to do.
        assert_eq!(repair(&open_file(&path)).unwrap().changes, []);
        assert_eq!(in_place::undo(&path).unwrap(), changes.len());
        assert!(std::fs::read(&path).unwrap() == stale.bytes);
        assert!(!undo.exists());
    }
}

#[test]
fn what_cannot_be_proven_is_refused() {
    let [guest, _] = guests();
    let mut encrypted = dump::full(&guest);
    make_stale(&mut encrypted);
    encrypted.put_u32(0x1050, 0x100);
    let why = repair(&open(&encrypted.bytes)).unwrap_err();
    assert!(
        matches!(why, Error::CannotRepair { .. }) && why.to_string().contains("encrypted"),
        "{why}"
    );

    let mut cut = dump::full(&guest);
    cut.truncate(0x1000);
    let why = repair(&open(&cut.bytes)).unwrap_err();
    assert!(matches!(why, Error::CannotRepair { .. }), "{why}");

    // Pages of zeros prove nothing: what the body says is mended, the rest is left.
    let mut empty = dump::full(&guest);
    make_stale(&mut empty);
    empty.bytes[0x2000..].fill(0);
    let plan = repair(&open(&empty.bytes)).unwrap();
    let changed: Vec<_> = plan
        .changes
        .iter()
        .map(|change| change.what.as_str())
        .collect();
    assert!(changed.contains(&"DumpType"), "{changed:?}");
    assert!(
        !changed.contains(&"DirectoryTableBase") && !plan.left.is_empty(),
        "{changed:?}"
    );
}

#[test]
fn from_the_original_core_every_field_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    for guest in guests() {
        let core = folder.path().join("guest.core");
        guest.xen_core().write_file(&core).unwrap();
        let opened = container::open(
            Arc::new(FileSource::open(&core).unwrap()),
            OpenOptions::default(),
        )
        .unwrap();
        let windows = identify(&opened).unwrap();
        let path = folder.path().join("guest.dmp");
        let converted = plan(&opened, &windows, &PlanOptions::default()).unwrap();
        write::to_file(
            &converted.image,
            &opened.memory,
            &path,
            WriteOptions::default(),
            &Silent,
        )
        .unwrap();
        let good = std::fs::read(&path).unwrap();

        // All of the header but its tags is lost, and nothing of the memory says which frame is which.
        let mut broken = good.clone();
        let header = dump::header(&guest, 1).len();
        broken[8..header].fill(0x5a);
        let machine = if header == 0x2000 { 0x30 } else { 0x20 };
        broken[machine..machine + 4].copy_from_slice(&good[machine..machine + 4]);
        let plan = repair_from(&open(&broken), &opened, &windows).unwrap();
        assert_eq!(plan.left, []);
        let mended = repaired(&broken, &plan);
        assert!(mended[header..] == good[header..]);
        assert!(check(&open(&mended)).findings.is_empty());
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn another_core_is_no_source() {
    let [guest, _] = guests();
    let other = GuestSpec::windows2003_x64().memory_mib(24).build();
    let mut core = std::io::Cursor::new(Vec::new());
    other.xen_core().write_to(&mut core).unwrap();
    let opened = container::open(Arc::new(core.into_inner()), OpenOptions::default()).unwrap();
    let windows = identify(&opened).unwrap();
    let why = repair_from(&open(&dump::full(&guest).bytes), &opened, &windows).unwrap_err();
    assert!(matches!(why, Error::CannotRepair { .. }), "{why}");
}

/// The shortest of a few times: other processes are not measured.
fn shortest(times: usize, mut work: impl FnMut()) -> Duration {
    let measured = (0..times).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    measured.min().unwrap_or_default()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn sixty_four_gibibytes_take_less_than_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.dmp");
    let guest = sparse::large_guest();
    write_sparse(&guest, &path, make_stale);
    assert!(path.metadata().unwrap().len() > 63 << 30);

    let mut plan = None;
    let planning = shortest(3, || plan = Some(repair(&open_file(&path)).unwrap()));
    let plan = plan.unwrap();
    assert_eq!(plan.left, []);
    let in_place = shortest(3, || {
        in_place::apply(&path, &plan.changes).unwrap();
        in_place::undo(&path).unwrap();
    });
    println!("64 GiB: planned in {planning:?}, repaired in place and back in {in_place:?}");
    assert!(planning + in_place < SECOND, "{planning:?} + {in_place:?}");
    in_place::apply(&path, &plan.changes).unwrap();
    assert!(check(&open_file(&path)).findings.is_empty());
}

#[test]
fn sixty_four_gibibytes_are_copied_without_a_page_moved() {
    let Some(volume) = Volume::make() else {
        return;
    };
    let (path, copy) = (
        volume.folder().join("large.dmp"),
        volume.folder().join("mended.dmp"),
    );
    let guest = sparse::large_guest();
    write_sparse(&guest, &path, make_stale);
    let took = shortest(3, || {
        let dump = open_file(&path);
        let plan = repair(&dump).unwrap();
        std::fs::remove_file(&copy).ok();
        copied(&dump, &plan, &copy);
    });
    println!("64 GiB: repaired into a copy that shares its pages in {took:?}");
    assert!(took < SECOND, "{took:?}");
    let mended = open_file(&copy);
    assert_eq!(mended.size, open_file(&path).size);
    assert_eq!(check(&mended).findings, []);
}
