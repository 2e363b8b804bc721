//! Whole dumps: planned, written, and read back by somebody else's reader, page by page.
//!
//! ```text
//! guest -> Xen core on disk -> identify -> plan -> write -> kdmp-parser (x64), raw offsets (x64 and x86)
//! ```

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, DumpKind, Missing, Plan, PlanOptions};
use core2dmp::error::{Error, Result};
use core2dmp::memory::Frames;
use core2dmp::source::FileSource;
use core2dmp::windows;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::{Arch, CrashRecord, Guest, GuestSpec};
use kdmp_parser::gxa::Gpa as TheirGpa;
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::phys;

use crate::support::dumped;

/// What a dump of five levels of page tables says.
const FIVE_LEVELS: &str = "five levels of page tables: WinDbg walks four";

const COMMENT: &str = concat!(
    "core2dmp ",
    env!("CARGO_PKG_VERSION"),
    " from Xen dump-core"
);

/// A guest's core on disk, and the dump beside it.
struct Case {
    guest: Guest,
    source: Arc<FileSource>,
    folder: tempfile::TempDir,
}

impl Case {
    fn new(spec: GuestSpec) -> Self {
        let guest = spec.build();
        let folder = tempfile::tempdir().unwrap();
        let core = folder.path().join("guest.core");
        guest.xen_core().write_file(&core).unwrap();
        let source = Arc::new(FileSource::open(&core).unwrap());
        Self {
            guest,
            source,
            folder,
        }
    }

    fn opened(&self) -> container::Guest {
        let source = Arc::clone(&self.source);
        container::open(source, OpenOptions::default()).unwrap()
    }

    fn plan(&self, options: &PlanOptions) -> Result<Plan> {
        let opened = self.opened();
        let windows = windows::identify(&opened).unwrap();
        dump::plan(&opened, &windows, options)
    }

    /// Writes the dump; its path.
    fn convert(&self) -> (PathBuf, Plan) {
        let plan = self.plan(&PlanOptions::default()).unwrap();
        let path = self.folder.path().join("guest.dmp");
        let options = WriteOptions::default().sync(false);
        write::to_file(&plan.image, &self.opened().memory, &path, options, &Silent).unwrap();
        (path, plan)
    }
}

/// Writes a dump and compares all of it.
fn check(spec: GuestSpec) {
    drop(checked(spec));
}

/// The same, for a test that wants to see more.
fn checked(spec: GuestSpec) -> (Case, Plan) {
    let case = Case::new(spec);
    let (path, plan) = case.convert();
    let dump = fs::read(&path).unwrap();
    let expected = &case.guest.expected;
    let mut header = dumped::header(expected, COMMENT);
    let mut warnings = Vec::new();
    if expected.arch == Arch::X64La57 {
        header[0x10..0x18].copy_from_slice(&case.guest.debuggers_root().to_le_bytes());
        warnings.push(FIVE_LEVELS);
    }
    let pages: u64 = expected.runs.iter().map(|run| run.1).sum();
    assert_eq!(dump.len() as u64, header.len() as u64 + pages * 0x1000);
    assert_eq!(plan.image.size(), dump.len() as u64);
    for at in (0..header.len()).step_by(4) {
        assert_eq!(dump[at..at + 4], header[at..at + 4], "header + {at:#x}");
    }
    let overlay = dumped::overlay(&case.guest);
    let frames = expected.runs.iter().flat_map(|run| run.0..run.0 + run.1);
    for (pfn, page) in frames.zip(dump[header.len()..].chunks(4096)) {
        assert!(
            page == dumped::page(&case.guest, &overlay, pfn),
            "frame {pfn:#x}"
        );
    }
    if expected.arch.is_64() {
        read_with_kdmp_parser(&path, &case.guest, &overlay);
    }
    assert_eq!(plan.warnings.len(), warnings.len(), "{:?}", plan.warnings);
    let mut told = plan.warnings.iter().zip(warnings);
    assert!(told.all(|(warning, start)| warning.starts_with(start)));
    (case, plan)
}

/// Every frame of every run, by address, through a reader that is not ours.
fn read_with_kdmp_parser(path: &PathBuf, guest: &Guest, overlay: &dumped::Overlay) {
    let parser = KernelDumpParser::new(path).unwrap();
    let expected = &guest.expected;
    let pages: u64 = expected.runs.iter().map(|run| run.1).sum();
    assert_eq!(parser.physmem().len() as u64, pages);
    let reader = phys::Reader::new(&parser);
    let mut page = [0; 4096];
    for pfn in expected.runs.iter().flat_map(|run| run.0..run.0 + run.1) {
        let gpa = TheirGpa::new(pfn << 12);
        reader.read_exact(gpa, &mut page).unwrap();
        assert!(page == dumped::page(guest, overlay, pfn), "frame {pfn:#x}");
    }
    // It knows four levels of page tables only.
    if expected.arch == Arch::X64La57 {
        return;
    }
    // It walks the module list through the debugger data block that we made plain.
    let mut modules: Vec<(u64, String)> = parser
        .kernel_modules()
        .map(|(range, name)| (u64::from(range.start), name.to_lowercase()))
        .collect();
    modules.sort();
    let mut wanted: Vec<(u64, String)> = expected
        .modules
        .iter()
        .map(|module| (module.base, module.path.to_lowercase()))
        .collect();
    wanted.sort();
    for ((base, name), (wanted_base, path)) in modules.iter().zip(&wanted) {
        assert_eq!(base, wanted_base);
        let file = path.rsplit('\\').next().unwrap();
        assert!(name.ends_with(file), "{name} is not {path}");
    }
    assert_eq!(modules.len(), wanted.len());
}

/// Live and crashed, with 1 and 4 processors; the crash on the last one.
fn check_release(spec: &GuestSpec) {
    for processors in [1, 4] {
        let spec = spec.clone().processors(processors).fill(40);
        check(spec.clone());
        // MANUALLY_INITIATED_CRASH: no exception behind it.
        check(spec.crashed(0xe2, [1, 2, 3, 4]).crashed_on(processors - 1));
    }
}

#[test]
fn windows10() {
    check_release(&GuestSpec::windows10());
    check(GuestSpec::windows10().above_4g().fill(10).code_scan(false));
    check(GuestSpec::windows10().encoded_kdbg(false));
}

#[test]
fn windows10_with_five_levels() {
    check_release(&GuestSpec::windows10_la57());
}

#[test]
fn windows7_and_2003_of_64_bit() {
    check_release(&GuestSpec::windows7());
    check_release(&GuestSpec::windows2003_x64());
    check(GuestSpec::windows2003_x64().above_4g().fill(10));
}

#[test]
fn releases_of_32_bit() {
    check_release(&GuestSpec::windows2003_x86());
    check_release(&GuestSpec::windows2003_pae());
    check_release(&GuestSpec::windows7_pae());
    check(GuestSpec::windows7_pae().above_4g().fill(10));
}

#[test]
fn vcpus_in_another_order_of_another_number_and_in_user_mode() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_x86()] {
        check(spec.clone().processors(4).vcpu_order(vec![2, 0, 3, 1]));
        check(spec.clone().processors(4).vcpu_order(vec![3, 1]));
        check(spec.clone().processors(3).vcpu_user_mode(1));
        // Nothing sound in memory: the vCPUs' registers, though the guest has crashed.
        let zeros = spec.processors(2).contexts_zero();
        check(zeros.crashed(0xe2, [0; 4]));
    }
}

#[test]
fn exception_of_the_stop_codes_that_carry_one() {
    let wide = [
        CrashRecord::IrqlNotLessOrEqual,
        CrashRecord::KmodeException,
        CrashRecord::SystemServiceException,
        CrashRecord::PageFault,
        CrashRecord::SystemThreadException,
        CrashRecord::DriverIrql,
        CrashRecord::SecurityCheck,
    ];
    let narrow = [CrashRecord::KernelModeException, CrashRecord::DriverIrql];
    let wide = wide.map(|record| (GuestSpec::windows10(), record));
    let narrow = narrow.map(|record| (GuestSpec::windows7_pae(), record));
    for (spec, record) in wide.into_iter().chain(narrow) {
        assert_exception(spec, record);
    }
}

#[test]
fn exception_of_a_trap_that_only_its_fourth_parameter_places() {
    let kernel = GuestSpec::windows10().build().expected.kernel.base;
    let plan_of = |parameters| {
        let spec = GuestSpec::windows10().crashed(0x7f, parameters);
        let plan = Case::new(spec).plan(&PlanOptions::default()).unwrap();
        (
            plan.crash.exception.value.code,
            plan.crash.exception.value.address.get(),
        )
    };
    // STATUS_INTEGER_DIVIDE_BY_ZERO, STATUS_ILLEGAL_INSTRUCTION.
    assert_eq!(
        plan_of([0, 0, 0, kernel + 0x77]),
        (0xc000_0094, kernel + 0x77)
    );
    assert_eq!(
        plan_of([6, 0, 0, kernel + 0x78]),
        (0xc000_001d, kernel + 0x78)
    );
    // Nothing tells: a breakpoint where the processor was saved.
    let case = Case::new(GuestSpec::windows10().crash_record(CrashRecord::UnexpectedTrap));
    let saved = case.guest.expected.processors[0]
        .from_memory
        .as_ref()
        .unwrap();
    assert_eq!(plan_of([0; 4]), (0x8000_0003, saved.rip));
    assert_eq!(plan_of([8, 0, 0, kernel + 0x79]), (0x8000_0003, saved.rip));
}

/// The exception in the header against what the stop code's records say.
fn assert_exception(spec: GuestSpec, record: CrashRecord) {
    let crashed = spec.processors(2).crashed(0, [0; 4]).crashed_on(1);
    let case = Case::new(crashed.crash_record(record));
    let stop = case.guest.expected.bugcheck.as_ref().unwrap();
    let wanted = stop.exception.as_ref().unwrap();
    let plan = case.plan(&PlanOptions::default()).unwrap();
    let found = &plan.crash.exception.value;
    assert_eq!(plan.crash.processor.value, 1, "{record:?}");
    assert_eq!(found.address.get(), wanted.address, "{record:?}");
    assert!(
        wanted.code.is_none_or(|code| code == found.code),
        "{record:?}"
    );
    let header = plan.header();
    let (at, address, width) = match case.guest.expected.arch.is_64() {
        true => (0xf00, 0xf10, 8),
        false => (0x7d0, 0x7dc, 4),
    };
    assert_eq!(header[at..at + 4], found.code.to_le_bytes());
    assert_eq!(
        header[address..address + width],
        wanted.address.to_le_bytes()[..width]
    );
}

#[test]
fn frames_that_the_container_lacks_are_zeros_and_reported() {
    let spec = GuestSpec::windows10().fill(0).ballooned(0x1900, 0x30);
    let (case, plan) = checked(spec.ballooned(0x1a00, 1));
    let range = |first, count| Frames::new(Pfn::new(first), count);
    assert_eq!(
        plan.missing,
        Missing {
            frames: 0x31,
            ranges: vec![range(0x1900, 0x30), range(0x1a00, 1)],
        }
    );
    let options = PlanOptions::default().strict(true);
    let error = case.plan(&options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "49 of 8062 frames that Windows counts are not in the container; the first is 0x1900000"
    );
    let first = Gpa::new(0x190_0000);
    assert!(
        matches!(error, Error::FramesMissing { missing: 0x31, total: 8062, first: f } if f == first)
    );
    let whole = Case::new(GuestSpec::windows10());
    assert_eq!(whole.plan(&options).unwrap().missing, Missing::default());
}

#[test]
fn runs_fill_the_header_and_not_more() {
    for (spec, limit) in [
        (GuestSpec::windows10(), 42),
        (GuestSpec::windows7_pae(), 86),
    ] {
        let (_, plan) = checked(spec.clone().runs(limit));
        assert_eq!(plan.runs.len(), limit);
        let one_more = Case::new(spec.runs(limit + 1));
        let full = PlanOptions::default().kind(DumpKind::Full);
        let error = one_more.plan(&full).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the guest's memory has {} runs; the header of a full dump holds {limit}",
                limit + 1
            )
        );
    }
}

#[test]
fn the_source_is_not_changed() {
    let case = Case::new(GuestSpec::windows10().fill(30));
    let core = case.folder.path().join("guest.core");
    let before = fs::read(&core).unwrap();
    let modified = core.metadata().unwrap().modified().unwrap();
    let (_, plan) = case.convert();
    assert!(!plan.patches.is_empty());
    assert!(fs::read(&core).unwrap() == before);
    assert_eq!(core.metadata().unwrap().modified().unwrap(), modified);
}
