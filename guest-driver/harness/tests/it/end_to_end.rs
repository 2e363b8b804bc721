//! What the host makes of the driver's own pages where KDBG, lists and the shared page are destroyed: it finds the
//! record whatever store the guest died after, the program converts, and Microsoft's engine opens the dump.

use std::path::{Path, PathBuf};
use std::process::Command;

use core2dmp::windows::{self as found, RecordState};
use guest_harness::engine::Way;
use guest_harness::machine::Machine;
use guest_harness::step::Store;

use crate::scene::{self, Event, Scene};
use crate::setup::{dump_type, skipped, subjects};

/// Scenes of every driver and system, each once: drivers of one machine write the same.
fn scenes(event: Event) -> Vec<(String, Machine, Scene)> {
    let mut scenes: Vec<(String, Machine, Scene)> = Vec::new();
    // The processor's steps are those of one thread, and memory is looked at by the driver's own.
    let can = |way| event != Event::MemoryAdded || way == Way::Emulator;
    for subject in subjects().into_iter().filter(|subject| can(subject.way)) {
        for system in scene::systems(subject.machine) {
            let scene = Scene::of(&subject, &system, event);
            let is_known = |known: &(String, Machine, Scene)| {
                known.0.ends_with(system.name)
                    && known.2.before == scene.before
                    && values(&known.2) == values(&scene)
            };
            if !scenes.iter().any(is_known) {
                let name = format!("{} {}", subject.name, system.name);
                scenes.push((name, subject.machine, scene));
            }
        }
    }
    scenes
}

fn values(scene: &Scene) -> Vec<(u32, u64)> {
    let stores = scene.stores.iter();
    stores.map(|store| (store.offset, store.value)).collect()
}

/// As `cargo xtask driver` asks for: every store, and the judge.
fn is_thorough() -> bool {
    std::env::var_os("CORE2DMP_THOROUGH").is_some()
}

/// Whether the host is asked after so many stores: always, or where a slot was written, and of a header now and then.
fn is_asked(scene: &Scene, count: usize) -> bool {
    let is_slot = |store: &Store| store.offset < 0x1000;
    let before = count.checked_sub(1).and_then(|last| scene.stores.get(last));
    let is_edge = before.is_none_or(is_slot) || scene.stores.get(count).is_none_or(is_slot);
    is_thorough() || is_edge || count.is_multiple_of(64)
}

/// State and generation of the record that the host finds, in a guest that it has to identify by it.
fn asked(patient: &scene::Patient, name: &str) -> (RecordState, u64) {
    let windows =
        found::identify(&patient.opened).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(windows.records.len(), 1, "{name}");
    let record = &windows.records[0];
    assert!(record.is_confirmed(), "{name}: {record:?}");
    assert!(record.refused.is_empty(), "{name}: {:?}", record.refused);
    let is_refreshed = record.state == RecordState::Refreshed;
    assert_eq!(
        record.headers.len(),
        if is_refreshed { 2 } else { 1 },
        "{name}"
    );
    assert_eq!(record.headers[0].refreshed, is_refreshed, "{name}");
    assert!(record.block.is_some(), "{name}");
    assert_eq!(windows.processors.len(), 2, "{name}");
    (record.state, record.generation)
}

/// What the host finds before the first store and after each one, on all processors of this machine.
fn all_deaths(name: &str, scene: &Scene) -> Vec<(RecordState, u64)> {
    let deaths = scene.stores.len() + 1;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let part = deaths.div_ceil(workers);
    let work = |first: usize| {
        let patient = scene.patient();
        for store in &scene.stores[..first] {
            patient.store(store);
        }
        let mut found = Vec::new();
        for count in first..(first + part).min(deaths) {
            if is_asked(scene, count) {
                found.push(asked(&patient, &format!("{name}, {count} stores")));
            }
            if let Some(store) = scene.stores.get(count) {
                patient.store(store);
            }
        }
        found
    };
    std::thread::scope(|scope| {
        let parts = (0..deaths).step_by(part);
        let workers: Vec<_> = parts
            .map(|first| scope.spawn(move || work(first)))
            .collect();
        let found = workers.into_iter().map(|worker| worker.join().unwrap());
        found.flatten().collect()
    })
}

/// In each event: what the host finds, in this order, and nothing else.
#[test]
fn the_host_finds_a_header_whatever_store_the_guest_died_after() {
    use RecordState::{Boot, Failed, Refreshed, Refreshing};
    const CRASH: u64 = 1 << 63;
    for (event, wanted) in [
        (
            Event::BugCheck,
            vec![(Boot, 1), (Refreshing, CRASH | 1), (Refreshed, CRASH | 2)],
        ),
        (
            Event::BugCheckWithoutHeader,
            vec![(Boot, 1), (Refreshing, CRASH | 1), (Failed, CRASH | 2)],
        ),
        (Event::MemoryAdded, vec![(Boot, 1), (Boot, 2)]),
    ] {
        for (name, _, scene) in scenes(event) {
            let mut found = all_deaths(&name, &scene);
            let deaths = scene.stores.len() + 1;
            println!("{name}, {event:?}: {} of {deaths} deaths", found.len());
            found.dedup();
            assert_eq!(found, wanted, "{name}");
        }
    }
}

fn judge() -> Option<PathBuf> {
    let judges = std::env::var_os("CORE2DMP_JUDGES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/judges");
    let judge = judges.unwrap_or(beside).join("dbgeng/judge-dbgeng");
    judge.is_file().then_some(judge)
}

/// The program, which the workspace of this repository builds.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("CORE2DMP_PROGRAM").map(PathBuf::from);
    named.filter(|program| program.is_file())
}

fn run(program: &Path, arguments: &[&std::ffi::OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text
}

#[test]
fn the_program_converts_and_microsofts_engine_opens() {
    let Some(program) = program() else {
        skipped("no program: CORE2DMP_PROGRAM names none (cargo xtask driver sets it)");
        return;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (name, machine, scene) in scenes(Event::BugCheck) {
        let guest = scene.done();
        let system = name.rsplit(' ').next().unwrap();
        let [core, dump] = ["core", "dmp"].map(|kind| folder.join(format!("{system}.{kind}")));
        std::fs::write(&core, scene::core(&guest)).unwrap();
        let info = run(&program, &["info".as_ref(), core.as_os_str()]);
        for words in [
            "Guest record",
            "of this boot",
            "the header of the bug check is whole",
        ] {
            assert!(info.contains(words), "{name}: no {words:?} in {info}");
        }
        let arguments = ["convert", "--force"].map(std::ffi::OsStr::new);
        run(
            &program,
            &[
                arguments[0],
                arguments[1],
                core.as_os_str(),
                dump.as_os_str(),
            ],
        );
        let bytes = std::fs::read(&dump).unwrap();
        // The seed's case: another type in front of a full body.
        let at = dump_type(machine);
        assert_eq!(
            bytes[at..at + 4],
            [1, 0, 0, 0],
            "{name}: a full dump's header"
        );
        let runs = runs(machine, &bytes);
        assert_eq!(runs, guest.expected.runs, "{name}");
        let body: u64 = runs.iter().map(|run| run.1 * 0x1000).sum();
        assert_eq!(bytes.len() as u64, body + machine.choose(0x1000, 0x2000));
        opened(&name, &dump, &runs);
    }
}

/// First frame and frames of each run, as the dump's header has them.
fn runs(machine: Machine, header: &[u8]) -> Vec<(u64, u64)> {
    let pointer = machine.pointer();
    let number = |at: usize, bytes: usize| {
        let mut whole = [0; 8];
        whole[..bytes].copy_from_slice(&header[at..at + bytes]);
        u64::from_le_bytes(whole)
    };
    let at = machine.choose(0x64, 0x88);
    let count = usize::try_from(number(at, 4)).unwrap();
    let first = at + 2 * pointer;
    let run = |n: usize| {
        let at = first + n * 2 * pointer;
        (number(at, pointer), number(at + pointer, pointer))
    };
    (0..count).map(run).collect()
}

fn opened(name: &str, dump: &Path, runs: &[(u64, u64)]) {
    let Some(judge) = judge().filter(|_| is_thorough()) else {
        skipped(
            "what Microsoft's engine makes of the dumps: no judge, or CORE2DMP_THOROUGH is not set",
        );
        return;
    };
    let output = Command::new(judge)
        .arg(dump)
        .arg(".dumpdebug")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The judge is not content: the lists are destroyed, so there are no modules. What is left is right.
    let facts = text.split_once("--- facts").map_or("", |(_, facts)| facts);
    for fact in [
        "(KERNEL_FULL_DUMP)",
        "NumberProcessors=2",
        "code=d1 28 2 0 ",
    ] {
        assert!(facts.contains(fact), "{name}: no {fact:?} in {text}");
    }
    assert!(text.contains("(2 procs)"), "{name}: {text}");
    for (first, count) in runs {
        let (start, length) = (first << 12, count << 12);
        let is_run = |line: &str| {
            let line = line.replace('`', "");
            line.contains(&format!(" {start:016x} "))
                && line.trim_end().ends_with(&format!("{length:08x}"))
        };
        assert!(
            text.lines().any(is_run),
            "{name}: no run at {start:#x} in {text}"
        );
    }
    assert!(
        !text.contains("truncated") && !text.contains("PARTIALLY CORRUPT"),
        "{name}: {text}"
    );
    println!("{name}: opened by Microsoft's engine");
}
