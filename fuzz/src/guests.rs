//! Guests of 20 MiB, built once: an input changes words of their memory and registers of their vCPUs.
//!
//! Only frames that something was written to are held; the others are zeros that nobody has to read.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};

use core2dmp::address::{Gpa, Gva, Pfn};
use core2dmp::container::{self, ContainerInfo, CpuState, Guest, Hints, OpenOptions, Registers};
use core2dmp::dump::{self, DumpKind, Keep, Plan, PlanOptions};
use core2dmp::memory::{Backing, FrameSet, Frames, PhysicalMemory, RunBuilder};
use core2dmp::paging::{AddressSpace, PagingMode, Reach, ReachedHalf};
use core2dmp::source::ReadAt;
use core2dmp::windows::{self, HeaderSearch, IdentifyOptions};
use core2dmp::write::{self, Silent};
use core2dmp_synth::{self as synth, CrashRecord, GuestSpec, RamHeader};
use kdmp_parser::parse::KernelDumpParser;

use crate::input::{self, Patched, Seed};
use crate::lazy::Lazy;

/// A guest to begin with.
struct Base {
    seed: Seed,
    frames: Vec<u64>,
    present: Vec<(u64, u64)>,
    cpus: Vec<CpuState>,
    roots: Vec<u64>,
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let crash = |spec: GuestSpec| spec.crashed(0xd1, [8, 2, 0, 0x1234]);
    [
        GuestSpec::windows10().processors(2),
        crash(GuestSpec::windows7().processors(2)).ram_header(RamHeader::gplpv()),
        GuestSpec::windows10().crash_record(CrashRecord::SystemThreadException),
        crash(GuestSpec::windows2003_x86()),
        crash(GuestSpec::windows7_pae()),
        GuestSpec::windows10().code_scan(false),
        GuestSpec::windows7().without_kdbg().pfn_database(),
    ]
    .into_iter()
    .map(|spec| Base::new(&spec.memory_mib(20).build()))
    .collect()
});

impl Base {
    fn new(guest: &synth::Guest) -> Self {
        let all = guest.present.iter().flat_map(|run| run.0..run.0 + run.1);
        let frames: Vec<u64> = all.filter(|pfn| guest.frames.is_written(*pfn)).collect();
        let mut bytes = vec![0; frames.len() * 4096];
        for (pfn, page) in frames.iter().zip(bytes.chunks_mut(4096)) {
            guest.frames.read_frame(*pfn, page);
        }
        let mut core = io::Cursor::new(Vec::new());
        guest.xen_core().write_to(&mut core).unwrap();
        let opened = container::open(Arc::new(core.into_inner()), OpenOptions::default()).unwrap();
        let processes = guest.expected.processes.iter();
        Self {
            seed: Seed::new(bytes),
            frames,
            present: guest.present.clone(),
            cpus: opened.cpus,
            roots: processes.map(|process| process.dtb).collect(),
        }
    }

    fn guest(&self, data: &[u8]) -> Guest {
        let mut cpus = self.cpus.clone();
        let mut absent = Vec::new();
        for record in input::records(data) {
            match record.kind {
                5 => set_register(&mut cpus, record.word, record.value),
                6 => absent.push(record.value % 0x1400),
                _ => {}
            }
        }
        let mut builder = RunBuilder::default();
        for &(first, count) in &self.present {
            for pfn in (first..first + count).filter(|pfn| !absent.contains(pfn)) {
                let backing = match self.frames.binary_search(&pfn) {
                    Ok(page) => Backing::File {
                        offset: page as u64 * 4096,
                    },
                    Err(_) => Backing::Zero,
                };
                builder
                    .push(Frames::new(Pfn::new(pfn), 1), backing)
                    .unwrap();
            }
        }
        let source: Arc<dyn ReadAt> = Arc::new(Patched::new(&self.seed, data));
        Guest {
            memory: PhysicalMemory::new(source, builder.finish().unwrap()),
            cpus,
            hints: Hints::default(),
            container: ContainerInfo {
                format: "fuzz",
                title: "fuzz",
                size: 0,
                details: Vec::new(),
                padding: 0,
                salvaged: None,
                warnings: Vec::new(),
            },
        }
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}

fn set_register(cpus: &mut [CpuState], number: u64, value: u64) {
    let count = cpus.len().max(1);
    let Some(cpu) = cpus.get_mut((number >> 8) as usize % count) else {
        return;
    };
    if let Registers::X86(registers) = &mut cpu.registers {
        let slot = match number % 8 {
            0 => &mut registers.cr3,
            1 => &mut registers.rip,
            2 => &mut registers.rsp,
            3 => &mut registers.gs_base_kernel,
            4 => &mut registers.fs_base,
            5 => &mut registers.cr4,
            6 => &mut registers.cr0,
            _ => &mut registers.rflags,
        };
        *slot = value;
    }
}

fn base(data: &[u8]) -> Option<&'static Base> {
    let first = usize::from(*data.first()? & 0x7f);
    BASES.get(first % BASES.len())
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let guests = 0..BASES.len();
    guests
        .flat_map(|number| {
            [[0; 12], [7; 12], [0x13; 12]].map(|record| [&[number as u8][..], &record[..]].concat())
        })
        .collect()
}

/// Page tables alone: what is translated can be found again in what is enumerated, and all of it ends.
pub(crate) fn paging(data: &[u8]) -> bool {
    let Some(base) = base(data) else {
        return false;
    };
    let guest = base.guest(data);
    let within = guest
        .memory
        .runs()
        .iter()
        .fold(FrameSet::default(), |mut set, run| {
            set.insert(run.frames);
            set
        });
    let modes = [
        PagingMode::X86,
        PagingMode::X86Pae,
        PagingMode::X64,
        PagingMode::X64La57,
        PagingMode::Arm64,
    ];
    let values: Vec<u64> = input::records(data).map(|record| record.value).collect();
    let root = base.roots.first().copied().unwrap_or(0);
    for mode in modes {
        let space = AddressSpace::new(&guest.memory, mode, Gpa::new(root));
        for value in values.iter().take(8) {
            let gva = Gva::new(*value);
            let _ = (
                space.translate(gva),
                space.bytes(gva, 0x2100),
                space.self_map(),
            );
            let mut pages = 0_u64;
            let last = Gva::new(value.saturating_add(1 << 30));
            space.mapped(gva, last, |range| {
                assert!(range.bytes > 0);
                pages += 1;
                if pages < 1 << 16 {
                    std::ops::ControlFlow::Continue(())
                } else {
                    std::ops::ControlFlow::Break(())
                }
            });
        }
        let mut reach = Reach::new(&guest.memory, mode, within.clone());
        reach.add(Gpa::new(root), ReachedHalf::Kernel(Gva::new(1 << 47)));
        for root in &base.roots {
            reach.add(Gpa::new(*root), ReachedHalf::User(Gva::new(1 << 47)));
        }
        assert!(reach.into_pages().len() <= guest.memory.frame_count());
    }
    true
}

pub(crate) fn identify(data: &[u8]) -> bool {
    let Some(base) = base(data) else {
        return false;
    };
    let options = IdentifyOptions::default().header_search(HeaderSearch::All);
    let guest = base.guest(data);
    match windows::identify_with(&guest, &options) {
        Ok(windows) => {
            assert!(!windows.runs.value.is_empty());
            let ascend = |pair: &[Frames]| pair[0].end() <= pair[1].first;
            assert!(windows.runs.value.windows(2).all(ascend));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    true
}

/// All of a conversion: an error, or a dump of the planned size that `check` can read and kdmp-parser opens.
pub(crate) fn convert(data: &[u8]) -> bool {
    let Some(base) = base(data) else {
        return false;
    };
    let guest = base.guest(data);
    let Ok(windows) = windows::identify(&guest) else {
        return true;
    };
    let choice = input::records(data).next().map_or(0, |record| record.word);
    let kinds = [
        DumpKind::Auto,
        DumpKind::Full,
        DumpKind::Bitmap,
        DumpKind::Active,
        DumpKind::Kernel,
    ];
    let options = PlanOptions::default()
        .kind(kinds[choice as usize % kinds.len()])
        .keep(if choice & 0x80 == 0 {
            Vec::new()
        } else {
            vec![Keep::Pid(4)]
        });
    let Ok(plan) = dump::plan(&guest, &windows, &options) else {
        return true;
    };
    // No disk is written: zeros for what is missing are cheap in a file, and not here.
    if plan.image.size() < 64 << 20 {
        let mut file = Count(0);
        if let Err(error) = write::to_stream(&plan.image, &guest.memory, &mut file, &Silent) {
            // A container that names bytes behind its end is refused when it is opened; here nobody has looked.
            let is_cut = input::records(data).any(|record| record.kind == 4);
            assert!(is_cut, "{error}");
            return true;
        }
        assert_eq!(file.0, plan.image.size());
        if windows.mode.is_64bit() {
            assert_opens(&plan, &guest.memory);
        }
    }
    true
}

/// Another reader finds every frame of the plan. It is not made for hostile lists, so it sees none.
fn assert_opens(plan: &Plan, memory: &PhysicalMemory) {
    let file = Lazy::new(plan.image.clone(), memory.clone()).hiding(&[(0x20, 8), (0x80, 8)]);
    let parser = KernelDumpParser::with_reader(file).expect("kdmp-parser opens it");
    assert_eq!(parser.physmem().len() as u64, plan.frames);
}

struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
