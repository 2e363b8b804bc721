//! The dumps that are judged: of the corpus and of synthetic guests, of each type that is written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use core2dmp_synth::dump::{self, Ranges};
use core2dmp_synth::{CrashRecord, GuestSpec, RamHeader};

use super::{Row, beside};
use crate::run::{Outcome, check, release_program, target_dir};

/// Processors whose registers the debugger is asked for.
const MAX_PROCESSORS: usize = 4;
/// Types that every guest is converted into.
const TYPES: &[&str] = &["full", "bitmap", "active", "kernel"];

/// A dump to be judged.
pub struct Dump {
    /// Its name in the table.
    pub case: String,
    /// The file.
    pub file: PathBuf,
}

impl Dump {
    /// A dump that the user names.
    pub fn named(file: &str) -> Self {
        Self {
            case: file.to_owned(),
            file: PathBuf::from(file),
        }
    }

    /// Its name in a record, and of a file.
    pub fn slug(&self) -> String {
        self.case.replace(", ", "-").replace(' ', "-")
    }

    /// Whether it is a 64-bit dump.
    pub fn is_64bit(&self) -> Outcome<bool> {
        Ok(&self.head()?[4..8] == b"DU64")
    }

    /// Commands for the debugger: the registers of the first processors.
    pub fn debugger_commands(&self) -> Vec<String> {
        let Ok(head) = self.head() else {
            return Vec::new();
        };
        let at = if &head[4..8] == b"DU64" { 0x34 } else { 0x24 };
        let processors = usize::from(head[at]).clamp(1, MAX_PROCESSORS);
        std::iter::once("r".to_owned())
            .chain((1..processors).map(|number| format!("~{number}s; r")))
            .collect()
    }

    /// Whether it is a 64-bit kernel dump of a processor in user mode: the code that it ran is left out of it.
    pub fn leaves_out_rip(&self) -> Outcome<bool> {
        let head = self.head()?;
        let kind = u32::from_le_bytes(head[0xf98..0xf9c].try_into()?);
        let rip = u64::from_le_bytes(head[0x440..0x448].try_into()?);
        Ok(kind == 6 && rip >> 63 == 0)
    }

    fn head(&self) -> Outcome<[u8; 0x1000]> {
        let mut head = [0; 0x1000];
        File::open(&self.file)
            .and_then(|mut file| file.read_exact(&mut head))
            .map_err(|error| format!("{}: {error}", self.case))?;
        Ok(head)
    }
}

/// Converts every case of the corpus and every preset; refusals that are expected are rows already.
pub fn make(folder: &Path, rows: &mut Vec<Row>) -> Outcome<Vec<Dump>> {
    let program = release_program()?;
    std::fs::create_dir_all(folder)?;
    let mut dumps = Vec::new();
    let mut each = |case: &str, source: &Path, refusal: &Refusal, kinds: &[&str]| -> Outcome {
        for kind in kinds {
            let case = format!("{case}, {kind}");
            let dump = folder.join(format!("{}.dmp", case.replace(", ", "-")));
            let job = Job {
                case: &case,
                source,
                dump,
                kind,
                refusal,
            };
            dumps.extend(convert(&program, job, rows)?);
        }
        Ok(())
    };
    for (case, core, refusal) in corpus()? {
        each(&format!("corpus {case}"), &core, &refusal, TYPES)?;
    }
    for (case, spec) in presets() {
        let core = folder.join("guest.core");
        let spec = spec.user_pages(8).pfn_database();
        let guest = spec.build();
        guest.xen_core().write_file(&core)?;
        each(case, &core, &Refusal::Wrong, TYPES)?;
        if case.contains("la57") {
            let elf = folder.join("guest.elf");
            std::fs::write(&elf, guest.qemu_elf().bytes())?;
            each(&format!("{case} in ELF"), &elf, &Refusal::Wrong, TYPES)?;
        }
    }
    for (case, spec) in many_runs() {
        let core = folder.join("guest.core");
        spec.build().xen_core().write_file(&core)?;
        each(case, &core, &Refusal::Wrong, &["auto"])?;
    }
    for (case, source) in other_dumps() {
        let file = folder.join("guest.dmp");
        std::fs::write(&file, source.bytes)?;
        each(&case, &file, &Refusal::Wrong, &["auto"])?;
    }
    Ok(dumps)
}

/// Guests that a full dump cannot name.
fn many_runs() -> [(&'static str, GuestSpec); 2] {
    let crash = |spec: GuestSpec| spec.crashed(0xe2, [1, 2, 3, 4]);
    [
        (
            "w10-200-runs",
            crash(GuestSpec::windows10().processors(2).runs(200)),
        ),
        (
            "w7-pae-200-runs",
            crash(GuestSpec::windows7_pae().runs(200)),
        ),
    ]
}

/// Dumps of other types, as input: what a debugger of today may not open, and kernel dumps.
fn other_dumps() -> Vec<(String, dump::Dump)> {
    let guest = |spec: GuestSpec| spec.crashed(0xe2, [1, 2, 3, 4]).build();
    let wide = guest(GuestSpec::windows7().processors(2));
    let narrow = guest(GuestSpec::windows7_pae());
    [
        (2, dump::summary(&wide)),
        (2, dump::summary(&narrow)),
        (5, dump::bitmap(&wide, false)),
        (6, dump::bitmap(&wide, true)),
        (8, dump::rdmp(&wide, Ranges::Kernel)),
        (9, dump::rdmp(&wide, Ranges::KernelAndUser)),
        (10, dump::rdmp(&wide, Ranges::Complete)),
    ]
    .into_iter()
    .map(|(kind, dump)| {
        let bits = if dump.header_bytes == 0x2000 { 64 } else { 32 };
        (format!("of type {kind} {bits} bit"), dump)
    })
    .collect()
}

/// Whether a core is to be refused.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    /// It has to become a dump.
    Wrong,
    /// The guest lacks what a debugger wants: a dump is judged, but these words are right too.
    Allowed(&'static str),
    /// There is no Windows in it; these words have to be said.
    Due(String),
}

/// A conversion.
struct Job<'a> {
    case: &'a str,
    source: &'a Path,
    dump: PathBuf,
    kind: &'a str,
    refusal: &'a Refusal,
}

/// Converts; a refusal becomes a row.
fn convert(program: &Path, job: Job<'_>, rows: &mut Vec<Row>) -> Outcome<Option<Dump>> {
    let output = Command::new(program)
        .args(["convert", "--force", "--no-sync", "--type", job.kind])
        .arg(job.source)
        .arg(&job.dump)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let done = output.status.success();
    let refused = |words: &str| output.status.code() == Some(2) && said.contains(words);
    let right = match job.refusal {
        Refusal::Wrong => done,
        Refusal::Allowed(words) => done || refused(words),
        Refusal::Due(words) => refused(words),
    };
    if !right || !done {
        rows.push(Row {
            case: job.case.to_owned(),
            judge: "core2dmp",
            verdict: if right { "refused, rightly" } else { "FINDING" },
            findings: said.lines().next().unwrap_or_default().to_owned(),
        });
    }
    Ok(done.then(|| Dump {
        case: job.case.to_owned(),
        file: job.dump,
    }))
}

/// The corpus' Xen cores: name, file, and whether they are to be refused.
fn corpus() -> Outcome<Vec<(String, PathBuf, Refusal)>> {
    let Some(corpus) = beside("CORE2DMP_CORPUS", "corpus") else {
        eprintln!(
            "judge: the corpus is SKIPPED, there is no ../shared/corpus and no CORE2DMP_CORPUS"
        );
        return Ok(Vec::new());
    };
    let unpacked = target_dir().join("corpus");
    check(
        Command::new("bash")
            .arg(corpus.join("unpack"))
            .arg(&unpacked),
    )?;
    let mut cases = Vec::new();
    for entry in unpacked.read_dir()? {
        let folder = entry?.path();
        let (core, expect) = (folder.join("xen.core"), folder.join("expect.json"));
        if !core.exists() || !expect.exists() {
            continue;
        }
        let expect: serde_json::Value = serde_json::from_slice(&std::fs::read(expect)?)?;
        let case = folder.file_name().unwrap_or_default().to_string_lossy();
        let refusal = match expect["error"].as_str() {
            Some(words) => Refusal::Due(words.to_owned()),
            None if expect["kdbg"].is_null() => Refusal::Allowed("no debugger data block"),
            None => Refusal::Wrong,
        };
        cases.push((case.into_owned(), core, refusal));
    }
    cases.sort();
    Ok(cases)
}

/// Guests of every shape. The engine of the judges is older than five-level paging: such a dump names the PML4 of the
/// kernel's addresses, which it walks.
fn presets() -> Vec<(&'static str, GuestSpec)> {
    let mut presets = presets_of_10();
    presets.extend(older_presets());
    presets
}

const STOP: [u64; 4] = [0x1, 0x2, 0x3, 0x4];

fn presets_of_10() -> Vec<(&'static str, GuestSpec)> {
    vec![
        ("w10-1", GuestSpec::windows10()),
        ("w10-4", GuestSpec::windows10().processors(4)),
        (
            "w10-4-above-4g",
            GuestSpec::windows10().processors(4).above_4g(),
        ),
        ("w10-no-code", GuestSpec::windows10().code_scan(false)),
        (
            "w10-shuffled",
            GuestSpec::windows10()
                .processors(3)
                .vcpu_order(vec![2, 0, 1]),
        ),
        (
            "w10-user-mode",
            GuestSpec::windows10().processors(2).vcpu_user_mode(0),
        ),
        (
            "w10-no-vcpu",
            GuestSpec::windows10().vcpu_order(vec![1]).low_stub(false),
        ),
        (
            "w10-ballooned",
            GuestSpec::windows10().fill(40).ballooned(0x1f00, 0x20),
        ),
        (
            "w10-crash",
            GuestSpec::windows10()
                .processors(2)
                .crashed(0xe2, [0; 4])
                .crashed_on(1),
        ),
        (
            "w10-crash-7e",
            GuestSpec::windows10().crash_record(CrashRecord::SystemThreadException),
        ),
        ("w10-la57", GuestSpec::windows10_la57().processors(2)),
        (
            "w10-la57-crash",
            GuestSpec::windows10_la57()
                .processors(2)
                .crashed(0xe2, STOP),
        ),
    ]
}

fn older_presets() -> Vec<(&'static str, GuestSpec)> {
    vec![
        ("w7-2", GuestSpec::windows7().processors(2)),
        ("w7-crash", GuestSpec::windows7().crashed(0x3d, STOP)),
        ("w2k3-x64", GuestSpec::windows2003_x64().processors(4)),
        (
            "w2k3-x64-stale-header",
            GuestSpec::windows2003_x64()
                .crashed(0xe2, [0; 4])
                .ram_header(RamHeader::gplpv().stale()),
        ),
        ("w2k3-x86", GuestSpec::windows2003_x86()),
        ("w2k3-pae-4", GuestSpec::windows2003_pae().processors(4)),
        (
            "w2k3-pae-crash",
            GuestSpec::windows2003_pae().crashed(0xd1, STOP),
        ),
        ("w7-pae", GuestSpec::windows7_pae().processors(2)),
    ]
}
