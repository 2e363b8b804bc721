//! Every fact that `core2dmp-synth` promises of a guest, against what the library found.

use core2dmp::address::{Gpa, Gva, Pfn};
use core2dmp::memory::Frames;
use core2dmp::paging::PagingMode;
use core2dmp::windows::{self, Bugcheck, Fact, PdbId, Source, Windows};
use core2dmp_synth::{Arch, Expected, GuestSpec, Module, Pdb};

use super::open::{file_of, open};

/// The handler that a vCPU leads to.
pub(crate) const INTERRUPT: &str = "the handler of interrupt 0";

/// How the kernel was found.
pub(crate) enum Way {
    Below(&'static str),
    Search,
}

/// How the debugger data block was found.
pub(crate) enum Block {
    Tag,
    Code,
    Plaintext,
}

/// Builds, opens, identifies, and compares everything.
pub(crate) fn check(spec: GuestSpec, way: &Way, block: &Block) -> (Windows, Expected) {
    let guest = spec.build();
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let windows = windows::identify(&opened).unwrap();
    let expected = guest.expected;
    assert_facts(&windows, &expected, block);
    match (way, &windows.kernel.source) {
        (Way::Below(wanted), Source::Below { what, .. }) => assert_eq!(what, wanted),
        (Way::Search, Source::KernelRange) => {}
        (_, source) => panic!("the kernel was found by: {source}"),
    }
    (windows, expected)
}

/// Compares everything but how the kernel was found.
pub(crate) fn assert_facts(windows: &Windows, expected: &Expected, block: &Block) {
    assert_system(windows, expected);
    assert_block(windows, expected, block);
    assert_processors(windows, expected);
    assert_lists(windows, expected);
}

fn value_and_source<T: Copy>(fact: Option<&Fact<T>>) -> (T, String) {
    let fact = fact.unwrap();
    assert!(fact.rejected.is_empty());
    (fact.value, fact.source.to_string())
}

fn assert_system(windows: &Windows, expected: &Expected) {
    let mode = match expected.arch {
        Arch::X64 => PagingMode::X64,
        Arch::X64La57 => PagingMode::X64La57,
        Arch::X86 => PagingMode::X86,
        Arch::X86Pae => PagingMode::X86Pae,
        Arch::Arm64 => PagingMode::Arm64,
    };
    assert_eq!(windows.mode, mode);
    assert_eq!(
        windows.machine(),
        match expected.arch {
            Arch::X64 | Arch::X64La57 => 0x8664,
            Arch::X86 | Arch::X86Pae => 0x14c,
            Arch::Arm64 => 0xaa64,
        }
    );
    assert_eq!(windows.dtb.value, Gpa::new(expected.dtb));
    let system = expected.processes.iter().find(|process| process.pid == 4);
    let system = Gva::new(system.unwrap().eprocess);
    assert_eq!(windows.dtb.source, Source::SystemProcess(system));
    for other in &windows.dtb.rejected {
        let other = other.value.get();
        let mut roots = expected.processes.iter().map(|process| process.dtb & !0x1f);
        assert!(roots.any(|root| root == other), "{other:#x} is no root");
    }
    let version = &windows.version;
    let block = Gva::new(expected.kd_version_block);
    let from_block = format!("version block at {block}");
    assert_eq!(
        value_and_source(version.build.as_ref()),
        (expected.build, from_block.clone())
    );
    assert_eq!(
        value_and_source(Some(&version.flavour)),
        (expected.kd_major_version, from_block)
    );
    assert_eq!((version.nt, version.block), (expected.version, Some(block)));
    assert_eq!(version.build_lab.as_ref(), Some(&expected.build_lab));
    assert_eq!(
        version.kd_secondary,
        if expected.build >= 7600 { 2 } else { 0 }
    );
    assert_kuser(windows, expected);
}

fn assert_kuser(windows: &Windows, expected: &Expected) {
    let field = |name| format!("KUSER_SHARED_DATA {name}");
    for (fact, wanted, name) in [
        (&windows.system_time, expected.system_time, "SystemTime"),
        (&windows.up_time, expected.system_uptime, "InterruptTime"),
    ] {
        assert_eq!(value_and_source(fact.as_ref()), (wanted, field(name)));
    }
    for (fact, wanted, name) in [
        (
            &windows.product_type,
            expected.product_type,
            "NtProductType",
        ),
        (&windows.suite_mask, expected.suite_mask, "SuiteMask"),
    ] {
        assert_eq!(value_and_source(fact.as_ref()), (wanted, field(name)));
    }
}

fn assert_block(windows: &Windows, expected: &Expected, way: &Block) {
    let (found, wanted) = (&windows.kdbg.value, expected.kdbg.as_ref().unwrap());
    assert_eq!(found.gva, Gva::new(wanted.va));
    assert_eq!(found.size(), wanted.size);
    assert!(
        found.bytes == wanted.plain,
        "the block is not what was encoded"
    );
    match (way, &windows.kdbg.source, found.encoding) {
        (Block::Tag, Source::Tag(gva), None) => assert_eq!(gva.get(), wanted.va),
        (Block::Code, Source::CodeScan(_), Some(encoding))
        | (Block::Plaintext, Source::KnownPlaintext(_), Some(encoding)) => {
            let keys = wanted.keys.unwrap();
            assert_eq!(
                (
                    encoding.ki_wait_never,
                    encoding.ki_wait_always,
                    encoding.flag.get()
                ),
                (keys.wait_never, keys.wait_always, keys.encoded_flag)
            );
        }
        (_, source, encoding) => panic!("the block was found by: {source}, {encoding:?}"),
    }
    let from = |name| format!("KDBG {name}");
    let lists = [
        (
            &windows.module_list,
            expected.ps_loaded_module_list,
            "PsLoadedModuleList",
        ),
        (
            &windows.process_list,
            expected.ps_active_process_head,
            "PsActiveProcessHead",
        ),
    ];
    for (fact, wanted, name) in lists {
        assert_eq!(value_and_source(Some(fact)), (Gva::new(wanted), from(name)));
    }
    assert_eq!(
        value_and_source(windows.pfn_database.as_ref()),
        (
            Gva::new(expected.pfn_database),
            variable("MmPfnDatabase", expected.pfn_database_variable)
        )
    );
    assert_stop_code(windows, expected);
}

fn variable(name: &str, gva: u64) -> String {
    format!("{name} at {gva:#x}")
}

fn assert_stop_code(windows: &Windows, expected: &Expected) {
    let (stop, source) = value_and_source(Some(&windows.bugcheck));
    match &expected.bugcheck {
        Some(bugcheck) => {
            let wanted = Bugcheck {
                code: bugcheck.code,
                parameters: bugcheck.parameters,
                crashed: true,
            };
            assert_eq!(stop, wanted);
            assert_eq!(
                source,
                variable("KiBugcheckData", expected.ki_bugcheck_data)
            );
        }
        None => {
            assert_eq!(
                (stop.code, stop.parameters, stop.crashed),
                (0x161, [0; 4], false)
            );
            assert_eq!(source, "rule: a guest that has not crashed");
        }
    }
}

fn assert_processors(windows: &Windows, expected: &Expected) {
    assert_eq!(windows.processors.len(), expected.processors.len());
    for (found, wanted) in windows.processors.iter().zip(&expected.processors) {
        assert_eq!(found.number, wanted.number);
        assert_eq!(
            [
                Some(found.prcb),
                Some(found.pcr),
                found.context,
                found.special
            ],
            [wanted.kprcb, wanted.kpcr, wanted.context, wanted.special]
                .map(|va| Some(Gva::new(va)))
        );
        assert_eq!(
            (found.thread, found.process),
            (
                Some(Gva::new(wanted.thread)),
                Some(Gva::new(wanted.process))
            )
        );
        assert_eq!(found.vcpu, wanted.vcpu, "processor {}", found.number);
    }
}

fn pdb(pdb: &Pdb) -> PdbId {
    PdbId {
        name: pdb.name.clone(),
        guid: pdb.guid,
        age: pdb.age,
    }
}

fn assert_lists(windows: &Windows, expected: &Expected) {
    let image = &windows.kernel.image;
    let kernel = &expected.kernel;
    assert_eq!(
        (image.base.get(), u64::from(image.size), image.timestamp),
        (kernel.base, kernel.size, kernel.timestamp)
    );
    assert_eq!(windows.kernel.pdb, Some(pdb(&kernel.pdb)));
    assert_eq!(windows.kernel.name.as_deref(), Some("ntoskrnl.exe"));
    let runs: Vec<Frames> = expected
        .runs
        .iter()
        .map(|&(first, count)| Frames::new(Pfn::new(first), count))
        .collect();
    assert_eq!(windows.runs.value, runs);
    assert!(
        windows
            .runs
            .source
            .to_string()
            .starts_with("MmPhysicalMemoryBlock at 0x")
    );
    assert_modules(windows, expected);
    assert_processes(windows, expected);
}

fn assert_modules(windows: &Windows, expected: &Expected) {
    let modules: Vec<Module> = windows
        .modules
        .iter()
        .map(|module| Module {
            name: module.name.clone(),
            path: module.path.clone(),
            base: module.base.get(),
            size: u64::from(module.size),
            timestamp: module.timestamp.unwrap(),
            pdb: module
                .pdb
                .as_ref()
                .map(|id| Pdb {
                    name: id.name.clone(),
                    guid: id.guid,
                    age: id.age,
                })
                .unwrap(),
        })
        .collect();
    assert_eq!(modules, expected.modules);
}

fn assert_processes(windows: &Windows, expected: &Expected) {
    let processes: Vec<_> = windows
        .processes
        .iter()
        .map(|process| {
            (
                process.pid,
                process.name.clone(),
                process.dtb,
                process.eprocess.get(),
            )
        })
        .collect();
    let wanted: Vec<_> = expected
        .processes
        .iter()
        .map(|process| {
            (
                process.pid,
                process.name.clone(),
                process.dtb,
                process.eprocess,
            )
        })
        .collect();
    assert_eq!(processes, wanted);
}
