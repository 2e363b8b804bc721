//! What `info --json` says of a synthetic guest is what its maker says.

use core2dmp_synth::{Expected, Processor, Registers};
use serde_json::{Value, json};

/// As the program writes a number.
fn hex(value: u64) -> Value {
    format!("{value:#x}").into()
}

/// The facts of `info --json`.
pub(crate) fn facts(expected: &Expected, windows: &Value) {
    let value = |key: &str| &windows[key]["value"];
    let (kernel, kdbg) = (&expected.kernel, expected.kdbg.as_ref().unwrap());
    assert_eq!(*value("build"), expected.build);
    assert_eq!(windows["build_lab"], *expected.build_lab);
    assert_eq!(value("kernel")["base"], hex(kernel.base));
    assert_eq!(value("kernel")["size"], hex(kernel.size));
    assert_eq!(value("kernel")["timestamp"], hex(kernel.timestamp.into()));
    assert_eq!(value("kernel")["pdb"]["name"], *kernel.pdb.name);
    assert_eq!(value("kdbg")["address"], hex(kdbg.va));
    assert_eq!(value("kdbg")["size"], hex(kdbg.size.into()));
    assert_eq!(value("kdbg")["encoded"], kdbg.keys.is_some());
    if let Some(keys) = kdbg.keys {
        let found = &value("kdbg")["keys"];
        assert_eq!(found["ki_wait_never"], hex(keys.wait_never));
        assert_eq!(found["ki_wait_always"], hex(keys.wait_always));
        assert_eq!(found["kdp_data_block_encoded"], hex(keys.encoded_flag));
    }
    for (key, expected) in [
        ("dtb", expected.dtb),
        ("kd_version_block", expected.kd_version_block),
        ("major_version", expected.kd_major_version.into()),
        ("ps_loaded_module_list", expected.ps_loaded_module_list),
        ("ps_active_process_head", expected.ps_active_process_head),
        ("pfn_database", expected.pfn_database),
        ("pfn_database_variable", expected.pfn_database_variable),
        ("system_time", expected.system_time),
        ("system_uptime", expected.system_uptime),
        ("suite_mask", expected.suite_mask.into()),
    ] {
        assert_eq!(*value(key), hex(expected), "{key}");
    }
    assert_eq!(*value("product_type"), expected.product_type);
    let run = |&(first, frames): &(u64, u64)| json!({ "first": hex(first), "frames": frames });
    let runs = |runs: &[(u64, u64)]| runs.iter().map(run).collect::<Vec<_>>();
    assert_eq!(*value("runs"), Value::from(runs(&expected.runs)));
    assert_eq!(
        windows["missing"]["first_runs"],
        Value::from(runs(&expected.missing))
    );
    assert_eq!(windows["crashed"], expected.bugcheck.is_some());
    let stop = expected
        .bugcheck
        .as_ref()
        .map_or((0x161, [0; 4]), |stop| (stop.code, stop.parameters));
    let parameters = stop.1.map(hex);
    let bugcheck = value("bugcheck");
    assert_eq!(bugcheck["code"], hex(stop.0.into()));
    assert_eq!(bugcheck["parameters"], json!(parameters));
    assert!(bugcheck["name"].is_string());
}

/// Modules, processes and processors of `info --json`.
pub(crate) fn lists(expected: &Expected, windows: &Value) {
    let modules: Vec<Value> = expected
        .modules
        .iter()
        .map(|module| json!([module.name, module.path, hex(module.base), hex(module.size)]))
        .collect();
    let array = |key: &str| windows[key].as_array().unwrap().clone();
    let found = array("modules")
        .iter()
        .map(|module| {
            json!([
                module["name"],
                module["path"],
                module["base"],
                module["size"]
            ])
        })
        .collect::<Vec<_>>();
    assert_eq!(found, modules);
    let processes: Vec<Value> = expected
        .processes
        .iter()
        .map(|process| {
            json!({ "pid": process.pid, "name": process.name, "dtb": hex(process.dtb), "eprocess": hex(process.eprocess) })
        })
        .collect();
    assert_eq!(array("processes"), processes);
    let processors = array("processors");
    assert_eq!(processors.len(), expected.processors.len());
    for (found, expected_one) in processors.iter().zip(&expected.processors) {
        assert_eq!(found["number"], expected_one.number);
        assert_eq!(found["prcb"], hex(expected_one.kprcb));
        assert_eq!(found["pcr"], hex(expected_one.kpcr));
        assert_eq!(found["thread"], hex(expected_one.thread));
        assert_eq!(found["process"]["eprocess"], hex(expected_one.process));
        assert_eq!(found["process"]["name"], *expected_one.process_name);
        assert_eq!(found["vcpu"], json!(expected_one.vcpu));
        let registers = chosen(expected, expected_one.number as usize);
        same_registers(&found["context"], registers);
        // In user mode the kernel's page tables stand for the shadow ones, which map no kernel.
        let cr3 = match expected_one.user_mode {
            true => kernel_root(expected, expected_one),
            false => registers.cr3,
        };
        assert_eq!(found["context"]["registers"]["cr3"], hex(cr3));
    }
}

/// The page tables of the process that a processor runs.
fn kernel_root(expected: &Expected, processor: &Processor) -> u64 {
    let mut processes = expected.processes.iter();
    let process = processes.find(|process| process.eprocess == processor.process);
    process.unwrap().dtb
}

/// The registers that a processor gets by default.
pub(crate) fn chosen(expected: &Expected, processor: usize) -> &Registers {
    let processor = &expected.processors[processor];
    let (memory, vcpu) = (processor.from_memory.as_ref(), processor.from_vcpu.as_ref());
    match expected.bugcheck {
        Some(_) => memory.or(vcpu).unwrap(),
        None => vcpu.or(memory).unwrap(),
    }
}

/// The registers that a `CONTEXT` holds.
pub(crate) fn by_name(registers: &Registers) -> Vec<(&'static str, u64)> {
    vec![
        ("rax", registers.rax),
        ("rbx", registers.rbx),
        ("rcx", registers.rcx),
        ("rdx", registers.rdx),
        ("rsi", registers.rsi),
        ("rdi", registers.rdi),
        ("rbp", registers.rbp),
        ("rsp", registers.rsp),
        ("r8", registers.r8),
        ("r9", registers.r9),
        ("r10", registers.r10),
        ("r11", registers.r11),
        ("r12", registers.r12),
        ("r13", registers.r13),
        ("r14", registers.r14),
        ("r15", registers.r15),
        ("rip", registers.rip),
        ("rflags", registers.rflags),
        ("cs", registers.cs.into()),
        ("ss", registers.ss.into()),
        ("ds", registers.ds.into()),
        ("es", registers.es.into()),
        ("fs", registers.fs.into()),
        ("gs", registers.gs.into()),
    ]
}

/// Compares the registers of a processor in `info --json`.
#[track_caller]
pub(crate) fn same_registers(context: &Value, expected: &Registers) {
    let found = context["registers"].as_object().unwrap();
    for (name, value) in by_name(expected) {
        match found.get(name) {
            Some(found) => assert_eq!(*found, hex(value), "{name}"),
            None => assert!(name.starts_with('r') && value == 0, "{name} is absent"),
        }
    }
}
