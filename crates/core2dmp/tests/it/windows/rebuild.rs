//! A guest whose debugger data block is destroyed: rebuilt field by field, each as the block had it.
//!
//! ```text
//! a block of the guest's own  --overwritten-->  rebuilt in the kernel's header page  ==  what was overwritten
//! ```

use core2dmp::address::{Gva, Pfn};
use core2dmp::error::Error;
use core2dmp::memory::Frames;
use core2dmp::windows::{self, ContextPolicy, ContextSource, RebuiltField, Source};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use crate::support::cases::Case;
use crate::support::dump_bytes::number;
use crate::support::dumped;
use crate::support::open::{file_of, open};
use crate::support::specs::releases;

/// Where each field stands in `KDDEBUGGER_DATA64`, and how wide it is.
const FIELDS: [(&str, usize, usize); 18] = [
    ("KernBase", 0x18, 8),
    ("PaeEnabled", 0x36, 2),
    ("PsLoadedModuleList", 0x48, 8),
    ("PsActiveProcessHead", 0x50, 8),
    ("KiBugcheckData", 0x88, 8),
    ("KiProcessorBlock", 0x218, 8),
    ("MmPhysicalMemoryBlock", 0x270, 8),
    ("OffsetKThreadTeb", 0x29a, 2),
    ("OffsetKThreadApcProcess", 0x2a0, 2),
    ("OffsetEprocessDirectoryTableBase", 0x2ae, 2),
    ("OffsetPrcbCurrentThread", 0x2b4, 2),
    ("OffsetPrcbProcStateContext", 0x2bc, 2),
    ("OffsetPrcbNumber", 0x2be, 2),
    ("OffsetPcrSelfPcr", 0x2e2, 2),
    ("OffsetPcrCurrentPrcb", 0x2e4, 2),
    ("OffsetPcrContainedPrcb", 0x2e6, 2),
    ("OffsetPrcbProcStateSpecialReg", 0x2f2, 2),
    ("OffsetPrcbContext", 0x338, 2),
];

/// Overwrites the block; what it held is still in `expected`.
fn destroy(mut guest: Guest) -> Guest {
    let block = guest.expected.kdbg.as_ref().unwrap();
    let (va, bytes) = (block.va, block.plain.len());
    guest.write_va(va, &vec![0xd5; bytes]);
    guest
}

/// The rebuilt fields, as the destroyed block had them.
fn assert_fields(case: &Case, but: &[&str]) {
    let expected = &case.guest.expected;
    let block = &case.windows.kdbg.value;
    let lost = &expected.kdbg.as_ref().unwrap().plain;
    let mut names: Vec<&str> = Vec::new();
    for RebuiltField {
        name,
        value,
        source,
    } in &block.rebuilt
    {
        let (_, at, width) = FIELDS.into_iter().find(|field| field.0 == *name).unwrap();
        let field = at..at + width;
        assert!(!source.is_empty());
        names.push(name);
        // 32-bit addresses are told without their sign.
        let written = number(&block.bytes[field.clone()]);
        assert!(written == *value || written == *value | 0xffff_ffff_0000_0000);
        if !but.contains(name) {
            assert_eq!(block.bytes[field.clone()], lost[field], "{name}");
        }
    }
    names.sort_unstable();
    let has = |name: &str| match name {
        "PaeEnabled" => expected.arch == core2dmp_synth::Arch::X86Pae,
        // On x86 the kernel's FS base is the control region.
        "OffsetKThreadTeb" => {
            case.width() == 8
                || expected
                    .processors
                    .iter()
                    .any(|processor| processor.user_mode)
        }
        "OffsetPrcbContext" => expected.processors[0].context_pointer.is_some(),
        _ => true,
    };
    let mut wanted: Vec<&str> = FIELDS
        .map(|field| field.0)
        .into_iter()
        .filter(|n| has(n))
        .collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

/// Where the block is, and that nothing but it is in the way.
fn assert_placed(case: &Case) {
    let expected = &case.guest.expected;
    let kdbg = &case.windows.kdbg;
    let place = expected.kernel.base + 0x1000 - 0x340;
    assert_eq!(kdbg.source, Source::Rebuilt(Gva::new(place)));
    assert_eq!((kdbg.value.gva.get(), kdbg.value.size()), (place, 0x340));
    assert_eq!(
        case.windows.warnings,
        [format!(
            "the guest has no debugger data block; one made of {} proven fields is put at {place:#x}",
            kdbg.value.rebuilt.len()
        )]
    );
    let plan = case.plan(ContextPolicy::Auto);
    assert_eq!(case.dumped(&plan, place, 0x340), kdbg.value.bytes);
    let header = if case.width() == 8 { 0x80 } else { 0x60 };
    assert_eq!(number(&plan.header()[header..header + case.width()]), place);
    assert_eq!(dumped::own_warnings(&plan), [""; 0]);
}

/// What is read through the rebuilt block.
fn assert_read_through(case: &Case) {
    let (windows, expected) = (&case.windows, &case.guest.expected);
    assert_eq!(windows.modules.len(), expected.modules.len());
    assert_eq!(windows.processes.len(), expected.processes.len());
    let runs = expected.runs.iter();
    let runs: Vec<Frames> = runs
        .map(|run| Frames::new(Pfn::new(run.0), run.1))
        .collect();
    assert_eq!(windows.runs.value, runs);
    let stop = windows.bugcheck.value;
    let wanted = expected.bugcheck.as_ref();
    assert_eq!(stop.crashed, wanted.is_some());
    assert_eq!(
        stop.parameters,
        wanted.map_or([0; 4], |stop| stop.parameters)
    );
    assert_eq!(windows.processors.len(), expected.processors.len());
    for (found, wanted) in windows.processors.iter().zip(&expected.processors) {
        assert_eq!(found.number, wanted.number);
        assert_eq!(
            [
                Some(found.prcb),
                found.context,
                found.special,
                found.thread,
                found.process
            ],
            [
                wanted.kprcb,
                wanted.context,
                wanted.special,
                wanted.thread,
                wanted.process
            ]
            .map(|va| Some(Gva::new(va)))
        );
        assert_eq!(found.vcpu, wanted.vcpu);
    }
}

#[test]
fn a_running_guest() {
    for spec in releases() {
        let case = Case::of(destroy(spec.processors(3).fill(60).build()));
        assert_placed(&case);
        assert_fields(&case, &[]);
        assert_read_through(&case);
        for context in case.plan(ContextPolicy::Auto).crash.contexts {
            assert_eq!(context.source, ContextSource::Vcpu(context.number as usize));
        }
    }
}

#[test]
fn a_crashed_guest_above_4_gib_with_vcpus_in_another_order() {
    for spec in releases() {
        let spec = spec.processors(4).vcpu_order(vec![3, 0, 2, 1]);
        let spec = spec.crash_record(CrashRecord::DriverIrql).crashed_on(2);
        let high = spec.clone().build().expected.arch != core2dmp_synth::Arch::X86;
        let spec = if high { spec.above_4g() } else { spec };
        let case = Case::of(destroy(spec.build()));
        assert_placed(&case);
        assert_fields(&case, &[]);
        assert_read_through(&case);
        let plan = case.plan(ContextPolicy::Auto);
        let exception = case.guest.expected.bugcheck.clone().unwrap().exception;
        assert_eq!(plan.crash.processor.value, 2);
        assert_eq!(
            plan.crash.exception.value.address.get(),
            exception.unwrap().address
        );
    }
}

#[test]
fn a_vcpu_in_user_mode() {
    for spec in releases() {
        let case = Case::of(destroy(spec.processors(3).vcpu_user_mode(2).build()));
        assert_placed(&case);
        assert_fields(&case, &[]);
        assert_read_through(&case);
    }
}

#[test]
fn a_block_that_is_there_is_not_rebuilt() {
    let case = Case::new(GuestSpec::windows7().processors(2));
    assert!(matches!(case.windows.kdbg.source, Source::Tag(_)));
    assert_eq!(case.windows.kdbg.value.rebuilt, []);
}

#[test]
fn one_processor_whose_number_may_stand_in_two_places() {
    for spec in releases() {
        let case = Case::of(destroy(spec.build()));
        assert_placed(&case);
        // Both offsets that systems use hold its number, 0.
        assert_fields(&case, &["OffsetPrcbNumber"]);
        assert_read_through(&case);
    }
}

#[test]
fn registers_that_were_never_saved_are_found_by_the_pointer_to_them() {
    for spec in releases() {
        let case = Case::of(destroy(spec.processors(2).contexts_zero().build()));
        assert_placed(&case);
        assert_fields(&case, &[]);
        assert_read_through(&case);
    }
}

#[test]
fn a_saved_register_that_holds_the_contexts_address_is_no_pointer_to_it() {
    for (spec, register) in [
        (GuestSpec::windows2003_x86(), 0xa0),
        (GuestSpec::windows2003_x64(), 0xa8),
        (GuestSpec::windows7(), 0xa8),
    ] {
        let mut guest = destroy(spec.build());
        let context = guest.expected.processors[0].context;
        let width = if guest.expected.arch.is_64() { 8 } else { 4 };
        guest.write_va(context + register, &context.to_le_bytes()[..width]);
        // With one processor, its number may stand in two places.
        assert_fields(&Case::of(guest), &["OffsetPrcbNumber"]);
    }
}

#[test]
fn special_registers_that_were_never_saved_are_assumed_and_said_to_be() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_pae()] {
        let mut guest = destroy(spec.processors(2).build());
        for n in 0..2 {
            guest.write_va(guest.expected.processors[n].special, &[0; 0x54]);
            if guest.expected.arch.is_64() {
                guest.write_va(guest.expected.processors[n].special, &[0; 0xd8]);
            }
        }
        let case = Case::of(guest);
        assert_fields(&case, &[]);
        let fields = &case.windows.kdbg.value.rebuilt;
        let mut fields = fields.iter();
        let field = fields.find(|field| field.name == "OffsetPrcbProcStateSpecialReg");
        assert_eq!(
            field.unwrap().source,
            "as kernels of this line have it; nothing was saved there"
        );
    }
}

/// The last that was tried.
fn failure(guest: &Guest) -> String {
    let error = windows::identify(&open(file_of(&guest.xen_core())).unwrap()).unwrap_err();
    assert!(matches!(error, Error::NoDebuggerData { .. }));
    error.attempts().last().unwrap().to_string()
}

#[test]
fn what_cannot_be_proven_is_named() {
    const WAY: &str = "rebuild from what memory proves";
    for spec in [GuestSpec::windows10(), GuestSpec::windows2003_x86()] {
        let guest = destroy(spec.processors(2).build());
        let expected = guest.expected.clone();
        let cases = [
            (
                expected.ps_loaded_module_list,
                "no list of modules that begins with the kernel",
            ),
            (
                expected.ps_active_process_head,
                "no list of processes that holds System",
            ),
            (
                expected.ki_processor_block,
                "no array of the processors' control blocks",
            ),
            (
                expected.processors[0].kprcb + if expected.arch.is_64() { 8 } else { 4 },
                "the control block's layout was not recognised",
            ),
        ];
        for (va, why) in cases {
            let mut broken = guest.clone();
            broken.write_va(va, &[0x77; 8]);
            assert_eq!(failure(&broken), format!("{WAY}: {why}"));
        }
        // Without room in the header page the block goes into another page of the image.
        let mut broken = guest.clone();
        broken.write_va(expected.kernel.base + 0xff0, &[0x77; 8]);
        let found = windows::identify(&open(file_of(&broken.xen_core())).unwrap()).unwrap();
        let block = found.kdbg.value.gva.get();
        assert!(block >= expected.kernel.base + 0x1000, "{block:#x}");
        assert!(block < expected.kernel.base + found.kernel.image.size as u64);
    }
    // Processor 0 has lost its number: processor 1 must not pass for it.
    let mut broken = destroy(GuestSpec::windows10().processors(2).build());
    let prcb = broken.expected.processors[0].kprcb;
    broken.write_va(prcb + 0x24, &[0x77]);
    broken.write_va(prcb + 0x04, &[0x77]);
    let why = "no array of the processors' control blocks";
    assert_eq!(failure(&broken), format!("{WAY}: {why}"));
}

/// The array of control blocks leads to a region that no vCPU leads to: x64 has no fixed one.
#[test]
fn control_regions_without_a_vcpu_are_found_by_their_array() {
    let spec = GuestSpec::windows10().vcpu_order(vec![1]);
    let case = Case::of(destroy(spec.build()));
    assert!(matches!(case.windows.kdbg.source, Source::Rebuilt(_)));
    let warnings = &case.windows.warnings;
    assert!(warnings[0].starts_with("the guest has no debugger data block; one made of"));
    assert!(warnings[1].starts_with("vCPU 0 does not match any Windows processor"));
    assert_eq!(
        case.windows.processors.len(),
        case.guest.expected.processors.len()
    );
    assert_eq!(
        case.windows.processes.len(),
        case.guest.expected.processes.len()
    );
}
