//! Containers with known contents: `expect.json` beside each says what a correct program finds.
//!
//! The corpus is kept beside the repository, not in it. Where it is absent these tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::core_file::CoreFile;
use crate::dump_file::{DumpFile, register};
use crate::run::{names, run, scratch, skipped};
use crate::schema;

/// Of the corpus, from the workspace's root.
const PLACE: &str = "../shared/corpus";

/// A case, unpacked.
struct Case {
    core: PathBuf,
    expect: Value,
}

/// Unpacks a case; `None`, said aloud, where that is not possible.
fn case(name: &str) -> Option<Case> {
    let folder = unpacked(name)?;
    let expect = std::fs::read(folder.join("expect.json")).unwrap();
    Some(Case {
        core: folder.join("xen.core"),
        expect: serde_json::from_slice(&expect).unwrap(),
    })
}

/// The folder of a case, unpacked; `None`, said aloud, where that is not possible.
pub(crate) fn unpacked(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpus = root.join(PLACE);
    if !corpus.join(name).is_dir() {
        skipped(&format!("corpus case {name}: no {PLACE}/{name}"));
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("corpus");
    let unpacked = Command::new(corpus.join("unpack"))
        .arg(&target)
        .arg(name)
        .status();
    if !unpacked.is_ok_and(|status| status.success()) {
        skipped(&format!("corpus case {name}: it cannot be unpacked"));
        return None;
    }
    Some(target.join(name))
}

/// A number that JSON holds as a hex string, or as a number.
#[track_caller]
fn number(value: &Value) -> u64 {
    match value {
        Value::String(hex) => u64::from_str_radix(hex.strip_prefix("0x").unwrap(), 16).unwrap(),
        other => other
            .as_u64()
            .unwrap_or_else(|| panic!("{other} is no number")),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `[[first, frames], ...]` of the corpus.
fn pairs(value: &Value) -> Vec<(u64, u64)> {
    let pair = |pair: &Value| (number(&pair[0]), number(&pair[1]));
    list(value).iter().map(pair).collect()
}

/// `[{ first, frames }, ...]` of the program.
fn runs(value: &Value) -> Vec<(u64, u64)> {
    let run = |run: &Value| (number(&run["first"]), number(&run["frames"]));
    list(value).iter().map(run).collect()
}

#[test]
fn w10_live_2() {
    windows("w10-live-2");
}

#[test]
fn w2k3_crash() {
    windows("w2k3-crash");
}

#[test]
fn x86pae_crash() {
    windows("x86pae-crash");
}

#[test]
fn linux_pv_crash() {
    no_windows("linux-pv-crash");
}

#[test]
fn xen_ballooned() {
    no_windows("xen-ballooned");
}

#[test]
fn xen_4608m() {
    no_windows("xen-4608M");
}

#[test]
fn reactos_x86() {
    let Some(case) = case("reactos-x86") else {
        return;
    };
    let expect = &case.expect;
    let options = ["info", "--json", "--context", "vcpu"];
    let info = run(&options, &[&case.core]).expect_code(0).json();
    schema::check(&info);
    container(&case, &info["container"]);
    let windows = &info["windows"];
    let value = |key: &str| &windows[key]["value"];
    assert_eq!(windows["architecture"], expect["arch"]);
    assert_eq!(*value("build"), expect["build"]);
    assert_eq!(*value("dtb"), expect["dtb"]);
    assert_eq!(value("kernel")["base"], expect["kernel_base"]);
    assert_eq!(value("kernel")["size"], expect["kernel_size"]);
    assert_eq!(value("kernel")["timestamp"], expect["kernel_timestamp"]);
    assert_eq!(windows["crashed"], expect["crashed"]);
    assert_eq!(value("bugcheck")["code"], expect["bugcheck"]["code"]);
    assert_eq!(
        value("bugcheck")["parameters"],
        expect["bugcheck"]["parameters"]
    );
    contexts(expect, windows);
    // It has no debugger data block: the dump's is rebuilt, field by field.
    assert!(list(&value("kdbg")["rebuilt"]).len() > 10);
    let folder = scratch();
    let path = folder.path().join("out.dmp");
    run(&["convert", "--no-sync"], &[&case.core, &path]).expect_code(0);
    let dump = DumpFile::open(&path);
    let kdbg = dump.read(dump.header.kdbg, 0x20).unwrap();
    assert_eq!(&kdbg[0x10..0x14], b"KDBG");
    assert_eq!(dump.header.code, number(&expect["bugcheck"]["code"]));
    assert_eq!(dump.header.processors, number(&expect["processors"]));
}

fn no_windows(name: &str) {
    if let Some(case) = case(name) {
        assert_eq!(case.expect["error"], "no Windows kernel");
        refused(&case, "no Windows kernel in this memory");
    }
}

/// The container is described, the error is told, and no dump appears.
fn refused(case: &Case, message: &str) {
    let info = run(&["info", "--json"], &[&case.core]).expect_code(2);
    let document = info.json();
    schema::check(&document);
    container(case, &document["container"]);
    assert_eq!(document["windows"], Value::Null);
    assert_eq!(document["error"]["message"], message);
    let folder = scratch();
    let dump = folder.path().join("out.dmp");
    let outcome = run(&["convert"], &[&case.core, &dump]).expect_code(2);
    assert!(
        outcome
            .stderr
            .starts_with(&format!("error: {message}\nhint: "))
    );
    assert_eq!(names(folder.path()), [""; 0]);
}

fn container(case: &Case, container: &Value) {
    let expect = &case.expect;
    assert_eq!(container["format"], "xen");
    assert_eq!(runs(&container["runs"]), pairs(&expect["container_runs"]));
    assert_eq!(container["padding"], expect["container_padding"]);
    if let Some(vcpus) = expect["vcpus"].as_u64() {
        assert_eq!(container["vcpus"], vcpus);
    }
}

fn windows(name: &str) {
    let Some(case) = case(name) else {
        return;
    };
    let info = run(&["info", "--json"], &[&case.core])
        .expect_code(0)
        .json();
    schema::check(&info);
    container(&case, &info["container"]);
    facts(&case.expect, &info["windows"]);
    lists(&case.expect, &info["windows"]);
    contexts(&case.expect, &info["windows"]);
    let folder = scratch();
    let path = folder.path().join("out.dmp");
    let convert = run(&["convert", "--json", "--no-sync"], &[&case.core, &path]).expect_code(0);
    schema::check(&convert.json());
    assert_eq!(convert.json()["windows"], info["windows"]);
    let dump = DumpFile::open(&path);
    header(&case.expect, &dump);
    body(&case, &dump);
}

fn facts(expect: &Value, windows: &Value) {
    let value = |key: &str| &windows[key]["value"];
    let architecture = match expect["arch"].as_str().unwrap() {
        "amd64" => "x64",
        other => other,
    };
    assert_eq!(windows["architecture"], architecture);
    assert_eq!(*value("build"), expect["build"]);
    assert_eq!(*value("dtb"), expect["dtb"]);
    assert_eq!(value("kernel")["base"], expect["kernel_base"]);
    assert_eq!(value("kernel")["size"], expect["kernel_size"]);
    assert_eq!(value("kdbg")["address"], expect["kdbg"]);
    assert_eq!(value("kdbg")["size"], expect["kdbg_size"]);
    assert_eq!(value("kdbg")["encoded"], expect["kdbg_encoded"]);
    if let Some(keys) = expect["kdbg_keys"].as_object() {
        let found = &value("kdbg")["keys"];
        assert_eq!(found["ki_wait_never"], keys["KiWaitNever"]);
        assert_eq!(found["ki_wait_always"], keys["KiWaitAlways"]);
        assert_eq!(found["kdp_data_block_encoded"], keys["KdpDataBlockEncoded"]);
    }
    for key in [
        "ps_loaded_module_list",
        "ps_active_process_head",
        "pfn_database",
        "pfn_database_variable",
        "kd_version_block",
        "major_version",
        "system_time",
        "system_uptime",
        "product_type",
        "suite_mask",
    ] {
        assert_eq!(*value(key), expect[key], "{key}");
        assert!(
            windows[key]["source"]
                .as_str()
                .is_some_and(|source| !source.is_empty())
        );
    }
    assert_eq!(windows["crashed"], expect["crashed"]);
    assert_eq!(value("bugcheck")["code"], expect["bugcheck"]["code"]);
    if expect["crashed"] == true {
        assert_eq!(
            value("bugcheck")["parameters"],
            expect["bugcheck"]["parameters"]
        );
    }
    assert_eq!(runs(value("runs")), pairs(&expect["runs"]));
    assert_eq!(
        runs(&windows["missing"]["first_runs"]),
        pairs(&expect["pages_missing"])
    );
}

fn lists(expect: &Value, windows: &Value) {
    let modules = list(&windows["modules"]);
    assert_eq!(modules.len() as u64, number(&expect["modules"]["count"]));
    for (module, name) in modules.iter().zip(list(&expect["modules"]["first"])) {
        assert_eq!(module["name"], *name);
    }
    for (module, base) in modules.iter().zip(list(&expect["modules"]["bases"])) {
        assert_eq!(module["base"], *base);
    }
    let processes = list(&windows["processes"]);
    assert_eq!(processes.len() as u64, number(&expect["processes"]));
    for (process, name) in processes.iter().zip(list(&expect["process_names"])) {
        assert_eq!(process["name"], *name);
    }
}

fn contexts(expect: &Value, windows: &Value) {
    let processors = list(&windows["processors"]);
    assert_eq!(processors.len() as u64, number(&expect["processors"]));
    for (processor, expected) in processors.iter().zip(list(&expect["contexts"])) {
        assert_eq!(processor["number"], expected["processor"]);
        assert_eq!(processor["context"]["source"], expected["source"]);
        for (name, value) in registers(expected) {
            let found = &processor["context"]["registers"][name];
            assert_eq!(found, value, "{name} of {expected}");
        }
    }
}

/// The registers in an entry of `contexts`.
fn registers(expected: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let keys = expected.as_object().into_iter().flatten();
    keys.filter(|(key, _)| !matches!(key.as_str(), "processor" | "source"))
}

fn header(expect: &Value, dump: &DumpFile) {
    let header = &dump.header;
    let low_bits = if header.pae { 0x1f } else { 0xfff };
    let roots = list(&expect["dtb_alternatives"])
        .iter()
        .chain([&expect["dtb"]]);
    let mut roots = roots.map(|root| number(root) & !low_bits);
    assert!(
        roots.any(|root| root == header.dtb & !low_bits),
        "{:#x}",
        header.dtb
    );
    let names = [&expect["pfn_database"], &expect["pfn_database_variable"]];
    assert!(names.map(number).contains(&header.pfn_database));
    assert_eq!(header.is_64, expect["arch"] == "amd64");
    assert_eq!(header.pae, expect["arch"] == "x86-pae");
    assert_eq!(header.machine, if header.is_64 { 0x8664 } else { 0x14c });
    for (found, key) in [
        (header.major, "major_version"),
        (header.build, "build"),
        (header.module_list, "ps_loaded_module_list"),
        (header.process_list, "ps_active_process_head"),
        (header.processors, "processors"),
        (header.kdbg, "kdbg"),
        (header.time, "system_time"),
        (header.uptime, "system_uptime"),
        (u64::from(header.product), "product_type"),
        (u64::from(header.suite), "suite_mask"),
    ] {
        assert_eq!(found, number(&expect[key]), "{key}");
    }
    assert_eq!(header.code, number(&expect["bugcheck"]["code"]));
    if expect["crashed"] == true {
        let parameters = list(&expect["bugcheck"]["parameters"]).iter().map(number);
        assert_eq!(header.parameters, parameters.collect::<Vec<_>>());
    }
    assert_eq!(header.runs, pairs(&expect["runs"]));
    assert_eq!(
        header.pages,
        header.runs.iter().map(|run| run.1).sum::<u64>()
    );
    assert_eq!(header.dump_type, 1);
    assert_eq!(header.required_space, dump.size);
    // 0xD1 tells the instruction that touched the wrong memory; otherwise a breakpoint, as Windows writes it.
    let exception = match header.code {
        0xd1 => (0xc000_0005, header.parameters[3]),
        _ => (0x8000_0003, register(&header.context, "rip").unwrap()),
    };
    assert_eq!((header.exception_code, header.exception_address), exception);
    assert_ne!(header.attributes & 0x20, 0, "generated offline");
}

/// Every byte is the core's, except where the corpus allows a change; there stands what has to.
fn body(case: &Case, dump: &DumpFile) {
    let expect = &case.expect;
    let core = CoreFile::open(&case.core);
    let patchable: Vec<(u64, u64)> = list(&expect["patchable"])
        .iter()
        .flat_map(|patch| pairs(&patch["pieces"]))
        .collect();
    let is_patchable = |gpa: u64| {
        let mut pieces = patchable.iter();
        pieces.any(|&(first, bytes)| (first..first + bytes).contains(&gpa))
    };
    for &(first, count) in &dump.header.runs {
        for pfn in first..first + count {
            let (Some(written), Some(source)) = (dump.page(pfn), core.page(pfn)) else {
                panic!("frame {pfn:#x} is missing");
            };
            if written != source {
                let differs = |at: &usize| written[*at] != source[*at];
                for at in (0..0x1000).filter(differs) {
                    let gpa = (pfn << 12) + at as u64;
                    assert!(is_patchable(gpa), "byte at {gpa:#x} was changed");
                }
            }
        }
    }
    let kdbg = dump.read(number(&expect["kdbg"]), 0x20).unwrap();
    assert_eq!(&kdbg[0x10..0x14], b"KDBG", "it is plain");
    for patch in list(&expect["patchable"]) {
        if patch["what"] == "context" {
            let [(gpa, bytes)] = pairs(&patch["pieces"])[..] else {
                panic!("a context in one piece");
            };
            let context = dump.physical(gpa, bytes as usize).unwrap();
            let number_of = number(&patch["processor"]) as usize;
            for (name, value) in registers(&expect["contexts"][number_of]) {
                if let Some(found) = register(&context, name) {
                    assert_eq!(found, number(value), "{name} in the dump");
                }
            }
        }
    }
}
