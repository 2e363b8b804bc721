//! Synthetic guests through the program and back: what comes out is what went in.
//!
//! ```text
//! GuestSpec -> Guest -> guest.core -> core2dmp convert -> guest.dmp -> kdmp-parser (x64), own offsets (x86)
//!                |                          info --json                      |
//!                +-- Expected ----------------- = ---------------------------+
//! ```

use std::path::Path;

use core2dmp_synth::{CrashRecord, Guest, GuestSpec, RamHeader};
use kdmp_parser::gxa::Gpa;
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::phys;
use serde_json::{Value, json};

use crate::dump_file::{DumpFile, register};
use crate::expected::{by_name, chosen, facts, lists, same_registers};
use crate::run::{run, scratch};
use crate::schema;

/// A stop code with parameters that tell each other apart.
const CRASH: (u32, [u64; 4]) = (0xd1, [0xdead_bee0, 2, 1, 0x1234]);

#[test]
fn windows10_with_keys_in_the_code() {
    let windows = round_trip(GuestSpec::windows10().processors(4).fill(30));
    let source = windows["kdbg"]["source"].as_str().unwrap();
    assert!(
        source.starts_with("decoded with keys in the code"),
        "{source}"
    );
}

#[test]
fn windows10_with_keys_from_known_contents() {
    let windows = round_trip(GuestSpec::windows10().code_scan(false).fill(30));
    let source = windows["kdbg"]["source"].as_str().unwrap();
    assert!(source.ends_with("known contents"), "{source}");
}

#[test]
fn windows10_crashed_on_its_second_processor() {
    let spec = GuestSpec::windows10()
        .processors(2)
        .crashed(CRASH.0, CRASH.1);
    round_trip(spec.crashed_on(1).fill(30));
}

#[test]
fn windows10_above_4_gib_ballooned() {
    let spec = GuestSpec::windows10().processors(4).above_4g().fill(30);
    let guest = spec.clone().build();
    // Some of the frames that nothing but the filling uses, near the end of the highest run.
    let &(first, count) = guest.expected.runs.last().unwrap();
    let spec = spec
        .ballooned(first + count - 9, 4)
        .ballooned(first + count - 4, 2);
    let windows = round_trip(spec);
    assert_eq!(windows["missing"]["frames"], 6);
}

#[test]
fn windows10_with_five_levels() {
    let windows = round_trip(GuestSpec::windows10_la57().processors(2).fill(30));
    assert_eq!(windows["architecture"], "x64-la57");
}

#[test]
fn windows7() {
    round_trip(GuestSpec::windows7().processors(4).fill(30));
}

#[test]
fn windows2003_x64() {
    round_trip(
        GuestSpec::windows2003_x64()
            .crashed(CRASH.0, CRASH.1)
            .fill(30),
    );
}

#[test]
fn windows2003_x86() {
    round_trip(GuestSpec::windows2003_x86().fill(30));
    round_trip(
        GuestSpec::windows2003_x86()
            .processors(4)
            .crashed(CRASH.0, CRASH.1),
    );
}

#[test]
fn windows2003_pae() {
    round_trip(
        GuestSpec::windows2003_pae()
            .processors(4)
            .above_4g()
            .fill(30),
    );
}

#[test]
fn windows7_pae() {
    round_trip(GuestSpec::windows7_pae().fill(30));
}

#[test]
fn vcpus_in_any_order_one_of_them_never_started() {
    let spec = GuestSpec::windows10()
        .processors(3)
        .vcpu_order(vec![2, 3, 0, 1]);
    let windows = round_trip(spec.fill(30));
    let vcpus = [2, 3, 0].map(Value::from);
    for (processor, vcpu) in windows["processors"].as_array().unwrap().iter().zip(vcpus) {
        assert_eq!(processor["vcpu"], vcpu);
    }
}

#[test]
fn a_vcpu_in_user_mode_under_a_shadow_root() {
    round_trip(
        GuestSpec::windows10()
            .processors(2)
            .vcpu_user_mode(0)
            .vcpu_user_mode(1),
    );
    round_trip(GuestSpec::windows7_pae().processors(2).vcpu_user_mode(1));
}

#[test]
fn a_crash_whose_saved_contexts_are_zero() {
    let spec = GuestSpec::windows7()
        .processors(2)
        .crashed(CRASH.0, CRASH.1);
    let windows = round_trip(spec.contexts_zero());
    assert_eq!(windows["processors"][0]["context"]["source"], "vcpu");
}

#[test]
fn stop_codes_with_records() {
    for record in [
        CrashRecord::KmodeException,
        CrashRecord::SystemServiceException,
        CrashRecord::PageFault,
        CrashRecord::SystemThreadException,
        CrashRecord::SecurityCheck,
    ] {
        let spec = GuestSpec::windows10().processors(2).crash_record(record);
        round_trip(spec.crashed_on(1));
    }
}

#[test]
fn a_stale_header_loses_a_fresh_one_agrees() {
    let spec = GuestSpec::windows2003_x64().crashed(CRASH.0, CRASH.1);
    let spec = spec.ram_header(RamHeader::gplpv().stale().dump_type(2));
    let windows = round_trip(spec.ram_header(RamHeader::gplpv()));
    let headers = windows["headers"].as_array().unwrap();
    let confirmed: Vec<_> = headers.iter().map(|header| &header["confirmed"]).collect();
    assert_eq!(confirmed.len(), 2);
    assert!(confirmed.contains(&&json!(true)) && confirmed.contains(&&json!(false)));
}

#[test]
fn a_stream_is_the_same_as_a_file() {
    convert(&GuestSpec::windows10().fill(30).build(), |path, _| {
        let core = path.with_file_name("guest.core");
        let stream = run(&["convert"], &[&core, Path::new("-")]).expect_code(0);
        assert!(stream.stdout == std::fs::read(path).unwrap());
        assert!(stream.stderr.contains("\nWrote\n"), "{}", stream.stderr);
    });
}

#[test]
fn forced_contexts() {
    let spec = GuestSpec::windows7()
        .processors(2)
        .crashed(CRASH.0, CRASH.1);
    let guest = spec.build();
    let folder = scratch();
    let core = folder.path().join("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    for policy in ["vcpu", "memory"] {
        let info = run(&["info", "--json", "--context", policy], &[&core])
            .expect_code(0)
            .json();
        let processors = info["windows"]["processors"].as_array().unwrap().clone();
        for (found, expected) in processors.iter().zip(&guest.expected.processors) {
            let registers = match policy {
                "vcpu" => &expected.from_vcpu,
                _ => &expected.from_memory,
            };
            assert_eq!(found["context"]["source"], policy);
            same_registers(&found["context"], registers.as_ref().unwrap());
        }
    }
}

/// Writes the guest as a core, converts that, and shows the dump and `info --json`.
fn convert(guest: &Guest, check: impl FnOnce(&Path, &Value)) {
    let folder = scratch();
    let core = folder.path().join("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    let info = run(&["info", "--json"], &[&core]).expect_code(0).json();
    schema::check(&info);
    let convert = run(&["convert", "--json"], &[&core]).expect_code(0).json();
    schema::check(&convert);
    assert_eq!(convert["windows"], info["windows"]);
    assert_eq!(
        (&convert["written"], &convert["error"]),
        (&json!(true), &Value::Null)
    );
    check(&folder.path().join("guest.dmp"), &info);
}

/// Everything that can be compared; the `windows` of `info --json`.
fn round_trip(spec: GuestSpec) -> Value {
    let guest = spec.build();
    let mut windows = Value::Null;
    convert(&guest, |path, info| {
        let dump = DumpFile::open(path);
        facts(&guest.expected, &info["windows"]);
        lists(&guest.expected, &info["windows"]);
        header(&guest, &dump);
        pages(&guest, &dump);
        if dump.header.is_64 {
            pages_by_kdmp_parser(&dump, path);
        }
        patches(&guest, &dump);
        windows = info["windows"].clone();
    });
    windows
}

fn header(guest: &Guest, dump: &DumpFile) {
    let (header, expected) = (&dump.header, &guest.expected);
    let stop = expected.bugcheck.as_ref();
    assert_eq!(header.dtb, guest.debuggers_root());
    assert_eq!(header.major, u64::from(expected.kd_major_version));
    assert_eq!(header.build, u64::from(expected.build));
    assert_eq!(header.pfn_database, expected.pfn_database);
    assert_eq!(header.module_list, expected.ps_loaded_module_list);
    assert_eq!(header.process_list, expected.ps_active_process_head);
    assert_eq!(header.processors, expected.processors.len() as u64);
    assert_eq!(header.code, stop.map_or(0x161, |stop| u64::from(stop.code)));
    assert_eq!(
        header.parameters,
        stop.map_or([0; 4], |stop| stop.parameters)
    );
    assert_eq!(header.kdbg, expected.kdbg.as_ref().unwrap().va);
    assert_eq!(header.runs, expected.runs);
    assert_eq!(
        header.pages,
        expected.runs.iter().map(|run| run.1).sum::<u64>()
    );
    assert_eq!(header.dump_type, 1);
    assert_eq!(
        (header.required_space, header.time),
        (dump.size, expected.system_time)
    );
    assert_eq!(header.uptime, expected.system_uptime);
    assert_eq!(
        (header.product, header.suite),
        (expected.product_type, expected.suite_mask)
    );
    assert_eq!(header.attributes & 0x20, 0x20, "generated offline");
    assert_eq!(
        header.comment,
        concat!(
            "core2dmp ",
            env!("CARGO_PKG_VERSION"),
            " from Xen dump-core"
        )
    );
    let crashed = stop.map_or(0, |stop| stop.processor as usize);
    let registers = chosen(expected, crashed);
    assert_eq!(
        register(&header.context, "rip"),
        Some(registers.rip),
        "the header's context"
    );
    let exception = stop.and_then(|stop| stop.exception.as_ref());
    let (code, address) = match (stop, exception) {
        (_, Some(exception)) => (exception.code.unwrap_or(0xc000_0005), exception.address),
        (Some(_), None) => (0xc000_0005, CRASH.1[3]),
        (None, None) => (0x8000_0003, registers.rip),
    };
    assert_eq!(
        (header.exception_code, header.exception_address),
        (code, address)
    );
}

/// Every byte that may differ from the guest's, as ranges of physical addresses.
fn patchable(guest: &Guest) -> Vec<(u64, usize)> {
    let expected = &guest.expected;
    let kdbg = expected.kdbg.as_ref().unwrap();
    let mut pieces = Vec::new();
    if let Some(keys) = kdbg.keys {
        pieces.extend(kdbg.pieces.iter().copied());
        pieces.push((guest.translate(keys.encoded_flag).unwrap(), 1));
    }
    for processor in &expected.processors {
        pieces.extend(processor.context_pieces.iter().copied());
        let bytes = if expected.arch.is_64() { 0xd8 } else { 84 };
        let special = processor.special..processor.special + bytes;
        pieces.extend(special.map(|va| (guest.translate(va).unwrap(), 1)));
    }
    pieces
}

/// Every frame is the guest's; zeros where the container lacks it.
fn pages(guest: &Guest, dump: &DumpFile) {
    let patchable = patchable(guest);
    for &(first, count) in &guest.expected.runs {
        for pfn in first..first + count {
            let expected = guest.page(pfn).unwrap_or([0; 0x1000]);
            let written = dump.page(pfn).unwrap();
            if written == expected {
                continue;
            }
            for at in (0..0x1000).filter(|at| written[*at] != expected[*at]) {
                let gpa = (pfn << 12) + at as u64;
                let mut pieces = patchable.iter();
                let allowed =
                    pieces.any(|&(piece, bytes)| (piece..piece + bytes as u64).contains(&gpa));
                assert!(allowed, "byte at {gpa:#x} was changed");
            }
        }
    }
}

/// kdmp-parser finds the same frames with the same contents.
fn pages_by_kdmp_parser(dump: &DumpFile, path: &Path) {
    let parser = KernelDumpParser::new(path).unwrap();
    assert_eq!(parser.physmem().len() as u64, dump.header.pages);
    let reader = phys::Reader::new(&parser);
    for &(first, count) in &dump.header.runs {
        for pfn in first..first + count {
            let mut page = [0; 0x1000];
            reader.read_exact(Gpa::new(pfn << 12), &mut page).unwrap();
            assert!(dump.page(pfn) == Some(page), "frame {pfn:#x}");
        }
    }
}

/// What the debugger reads through the page tables: the KDBG plain, the registers in place.
fn patches(guest: &Guest, dump: &DumpFile) {
    let expected = &guest.expected;
    let kdbg = expected.kdbg.as_ref().unwrap();
    assert_eq!(dump.read(kdbg.va, kdbg.plain.len()).unwrap(), kdbg.plain);
    if let Some(keys) = kdbg.keys {
        assert_eq!(dump.read(keys.encoded_flag, 1).unwrap(), [0]);
    }
    let bytes = if dump.header.is_64 { 0x4d0 } else { 0x2cc };
    for processor in &expected.processors {
        let context = dump.read(processor.context, bytes).unwrap();
        for (name, value) in by_name(chosen(expected, processor.number as usize)) {
            if let Some(found) = register(&context, name) {
                assert_eq!(found, value, "{name} of processor {}", processor.number);
            }
        }
    }
}
