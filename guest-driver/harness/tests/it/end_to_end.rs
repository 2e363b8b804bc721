//! The driver's own pages in a guest where KDBG, lists and the shared page are destroyed: the host finds the record, the
//! dump is whole, and Microsoft's engine opens it.
//!
//! ```text
//! synthetic guest's header and block --> harness's Windows --> driver's pages --> guest's RAM, mapped where they were
//!                                                                            --> identify, plan, write --> judge
//! ```

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, PlanOptions};
use core2dmp::windows::{self as found, RecordState, Windows};
use core2dmp_synth::{Guest, GuestSpec, RamHeader};
use guest_harness::image::Image;
use guest_harness::step;
use guest_harness::windows::{self, Setup, World};

use crate::setup::{images, newest, triage};

const STOP: (u32, [u64; 4]) = (0xd1, [0x28, 2, 0, 0xffff_f800_1234_5678]);

fn spec() -> [(&'static str, GuestSpec); 2] {
    [
        (
            "2003",
            GuestSpec::windows2003_x64()
                .processors(2)
                .crashed(STOP.0, STOP.1),
        ),
        (
            "10",
            GuestSpec::windows10().processors(2).crashed(STOP.0, STOP.1),
        ),
    ]
}

/// The header that Windows would make in this guest.
fn header(spec: &GuestSpec, stop: (u32, [u64; 4])) -> Vec<u8> {
    let guest = spec
        .clone()
        .ram_header(RamHeader::windows().bugcheck(stop.0, stop.1))
        .build();
    let mut bytes = vec![0; 0x2000];
    guest
        .frames
        .read(guest.expected.ram_headers[0].gpa, &mut bytes);
    bytes
}

/// Neighbouring frames that hold nothing.
fn free(guest: &Guest, count: u64) -> u64 {
    let is_free = |pfn: u64| guest.page(pfn) == Some([0; 0x1000]);
    let frames = guest.present.iter().flat_map(|run| run.0..run.0 + run.1);
    frames
        .rev()
        .find(|first| (*first..first + count).all(is_free))
        .unwrap()
}

/// Maps the driver's pages where they were when it wrote them, through three tables behind them.
fn map(guest: &mut Guest, va: u64, gpa: u64) {
    let mut table = guest.expected.dtb;
    for (level, n) in [(39, 8), (30, 9), (21, 10)] {
        let entry = table + ((va >> level) & 0x1ff) * 8;
        let mut bytes = [0; 8];
        guest.frames.read(entry, &mut bytes);
        assert_eq!(bytes, [0; 8], "nothing is mapped there");
        table = gpa + n * 0x1000;
        guest.frames.write(entry, &(table | 3).to_le_bytes());
    }
    for page in 0..8 {
        let entry = table + (((va >> 12) + page) & 0x1ff) * 8;
        let frame = gpa + page * 0x1000;
        guest.frames.write(entry, &(frame | 3).to_le_bytes());
    }
}

fn destroy(guest: &mut Guest) {
    let expected = guest.expected.clone();
    let block = expected.kdbg.unwrap();
    guest.write_va(block.va, &vec![0xd5; block.plain.len()]);
    for head in [
        expected.ps_loaded_module_list,
        expected.ps_active_process_head,
    ] {
        guest.write_va(head, &[0xd5; 16]);
    }
    guest.write_va(0xffff_f780_0000_0000, &[0xd5; 0x1000]);
}

/// The guest with the driver's pages as they are after each number of stores that is asked for.
struct Scene {
    guest: Guest,
    gpa: u64,
    before: Vec<u8>,
    stores: Vec<step::Store>,
}

fn scene(image: &Image, spec: &GuestSpec) -> Scene {
    let mut guest = spec.clone().build();
    // Eight pages, and three tables that map them.
    let gpa = free(&guest, 11) << 12;
    let setup = Setup {
        gpa,
        header: header(spec, (0, [0; 4])),
        triage: triage(&guest.expected.kdbg.as_ref().unwrap().plain),
        ..newest()
    };
    let world = World::boot(image, setup).unwrap();
    assert_eq!(world.status(), 0);
    let [a, b, c, d] = STOP.1;
    windows::set_stop_code([STOP.0.into(), a, b, c, d]);
    let refreshed = header(spec, STOP);
    windows::change(|setup| setup.header = refreshed);
    let before = windows::memory();
    let stores = step::stepped(windows::pages(), || world.callback(3, &mut [0; 4]));
    guest.frames.write(gpa, &before);
    map(&mut guest, windows::pages() as u64, gpa);
    destroy(&mut guest);
    Scene {
        guest,
        gpa,
        before,
        stores,
    }
}

impl Scene {
    fn died_after(&self, count: usize) -> Guest {
        let mut memory = self.before.clone();
        for store in self.stores.iter().take(count) {
            let at = store.offset as usize;
            memory[at..at + 8].copy_from_slice(&store.value.to_le_bytes());
        }
        let mut guest = self.guest.clone();
        guest.frames.write(self.gpa, &memory);
        guest
    }
}

fn identified(guest: &Guest) -> (container::Guest, Windows) {
    let mut core = Cursor::new(Vec::new());
    guest.xen_core().write_to(&mut core).unwrap();
    let core = Arc::new(core.into_inner());
    let opened = container::open(core, OpenOptions::default()).unwrap();
    let windows = found::identify(&opened).unwrap();
    (opened, windows)
}

#[test]
fn the_host_finds_a_header_whatever_store_the_guest_died_after() {
    for (name, image) in images() {
        for (system, spec) in spec() {
            let scene = scene(&image, &spec);
            let all = scene.stores.len();
            let edges = (0..all).step_by(97).chain([all - 1, all]);
            let mut states = Vec::new();
            for count in edges {
                let (_, windows) = identified(&scene.died_after(count));
                let record = &windows.records[0];
                assert!(record.is_confirmed(), "{name} {system} {count}: {record:?}");
                assert!(record.refused.is_empty() && !record.headers.is_empty());
                assert_eq!(windows.processors.len(), 2);
                assert_eq!(windows.bugcheck.value.code, STOP.0);
                states.push(record.state);
            }
            states.dedup();
            let wanted = [
                RecordState::Boot,
                RecordState::Refreshing,
                RecordState::Refreshed,
            ];
            assert_eq!(states, wanted);
        }
    }
}

fn judge() -> Option<PathBuf> {
    let judges = std::env::var_os("CORE2DMP_JUDGES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/judges");
    let judge = judges.unwrap_or(beside).join("dbgeng/judge-dbgeng");
    judge.is_file().then_some(judge)
}

#[test]
fn microsofts_engine_opens_what_is_made_of_the_record() {
    for (name, image) in images() {
        for (system, spec) in spec() {
            let scene = scene(&image, &spec);
            let (opened, windows) = identified(&scene.died_after(scene.stores.len()));
            let runs: Vec<_> = windows
                .runs
                .value
                .iter()
                .map(|run| (run.first.get(), run.count))
                .collect();
            assert_eq!(runs, scene.guest.expected.runs);
            let plan = dump::plan(&opened, &windows, &PlanOptions::default()).unwrap();
            assert_eq!(
                plan.header()[0xf98],
                1,
                "a full dump's header, whatever the guest's settings"
            );
            let path =
                PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{system}.dmp"));
            write(&opened, &plan, &path);
            let Some(judge) = judge() else {
                eprintln!("SKIPPED: no judge; {} was not opened", path.display());
                continue;
            };
            let output = Command::new(judge).arg(&path).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // The judge is not content: the lists are destroyed, so there are no modules. What is left is right.
            let facts = text.split_once("--- facts").map_or("", |(_, facts)| facts);
            for fact in [
                "(KERNEL_FULL_DUMP)",
                "NumberProcessors=2",
                "code=d1 28 2 0 fffff80012345678",
            ] {
                assert!(facts.contains(fact), "{fact}: {text}");
            }
            assert!(text.contains("(2 procs)"), "{text}");
            assert!(
                !text.contains("truncated") && !text.contains("PARTIALLY CORRUPT"),
                "{text}"
            );
        }
    }
}

fn write(opened: &container::Guest, plan: &dump::Plan, path: &Path) {
    let options = core2dmp::write::WriteOptions {
        force: true,
        ..Default::default()
    };
    core2dmp::write::to_file(
        plan,
        &opened.memory,
        path,
        options,
        &core2dmp::write::Silent,
    )
    .unwrap();
}
