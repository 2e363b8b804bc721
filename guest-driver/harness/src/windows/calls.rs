//! Windows' functions: each takes what the driver passed, and answers as the setup says.

use std::sync::atomic::Ordering;

use super::facts::{CHANGED, after, called, facts};
use super::{IN_CALLBACK, PAGES, World};
use crate::engine::emulator;
use crate::engine::{Args, stub};
use crate::machine::Machine;
use crate::pool;

/// A function: its name, the 32-bit words of its arguments on x86, and what it does.
type Function = (&'static str, u16, fn(&Args) -> u64);

/// Those that the driver imports, and behind them those that it looks up.
pub(crate) const FUNCTIONS: [Function; 23] = [
    ("IoAllocateErrorLogEntry", 2, allocate_entry),
    ("IoWriteErrorLogEntry", 1, write_entry),
    ("KeDeregisterBugCheckCallback", 1, deregister),
    ("KeDeregisterBugCheckReasonCallback", 1, deregister),
    ("KeInitializeEvent", 3, nothing),
    ("KeRegisterBugCheckCallback", 5, register_plain),
    ("KeRegisterBugCheckReasonCallback", 4, register_reason),
    ("KeSetEvent", 3, set_event),
    ("KeWaitForSingleObject", 5, wait),
    ("MmAllocateContiguousMemory", 3, allocate),
    ("MmFreeContiguousMemory", 1, free),
    ("MmGetPhysicalAddress", 1, physical),
    ("MmGetSystemRoutineAddress", 1, look_up),
    ("PsCreateSystemThread", 7, create_thread),
    ("PsTerminateSystemThread", 1, nothing),
    ("ZwClose", 1, nothing),
    ("ZwOpenKey", 3, open_key),
    ("ZwQueryValueKey", 6, query_value),
    ("ZwWaitForSingleObject", 3, join),
    (IN_CALLBACK, 5, initialize_header),
    ("KeCapturePersistentThreadState", 8, capture_state),
    ("RtlCaptureContext", 1, capture_context),
    ("MmAllocateContiguousNodeMemory", 9, allocate_on_node),
];

/// The driver called a stub.
pub(crate) fn dispatch(number: usize, args: &Args) -> u64 {
    let (name, _, function) = FUNCTIONS[number];
    called(name);
    function(args)
}

/// The address of a function.
pub(crate) fn address_of(name: &str) -> Option<usize> {
    FUNCTIONS
        .iter()
        .position(|function| function.0 == name)
        .map(stub)
}

/// The text of a `UNICODE_STRING`.
fn text(machine: Machine, at: usize) -> String {
    let bytes = pool::number(at, 2) as usize;
    let buffer = pool::number(at + machine.pointer(), machine.pointer()) as usize;
    let units = pool::slice(buffer, bytes).chunks_exact(2);
    let units: Vec<u16> = units.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    String::from_utf16_lossy(&units)
}

fn nothing(_: &Args) -> u64 {
    0
}

fn look_up(args: &Args) -> u64 {
    let name = text(args.machine, args.get(0));
    let (missing, data) = facts(|facts| {
        let setup = facts.setup.as_ref();
        let missing = setup.is_some_and(|setup| setup.missing.contains(&name.as_str()));
        (missing, facts.bug_check_data)
    });
    let found = match name.as_str() {
        _ if missing => None,
        "KiBugCheckData" => Some(data),
        name => address_of(name),
    };
    found.unwrap_or(0) as u64
}

fn new_pages(bytes: usize) -> u64 {
    let at = pool::take(bytes, 0x1000);
    facts(|facts| facts.allocations.push((at, bytes)));
    if PAGES.load(Ordering::SeqCst) == 0 {
        PAGES.store(at, Ordering::SeqCst);
    }
    at as u64
}

fn allocate(args: &Args) -> u64 {
    new_pages(args.get(0))
}

fn allocate_on_node(args: &Args) -> u64 {
    let protect = args.number(args.machine.choose(7, 4));
    assert_eq!(protect, 4, "PAGE_READWRITE: not executable");
    new_pages(args.get(0))
}

fn free(args: &Args) -> u64 {
    let at = args.get(0);
    let bytes = facts(|facts| {
        let index = facts.allocations.iter().position(|known| known.0 == at);
        index.map(|index| facts.allocations.remove(index).1)
    });
    assert!(bytes.is_some(), "only what was allocated is freed");
    pool::forget(at, bytes.unwrap_or(0));
    0
}

fn physical(args: &Args) -> u64 {
    let base = facts(|facts| facts.setup.as_ref().map_or(0, |setup| setup.gpa));
    base.wrapping_add(args.get(0).wrapping_sub(super::pages()) as u64)
}

/// Writes the header word by word: the guest may die between any two.
fn initialize_header(args: &Args) -> u64 {
    let [kind, flags, bytes] = [0, 1, 3].map(|n| args.number(n));
    let (buffer, needed) = (args.get(2), args.get(4));
    assert_eq!(
        (kind, flags),
        (1, 0),
        "the only arguments that Windows takes"
    );
    let (header, status) = facts(|facts| {
        let setup = facts.setup.as_ref();
        setup.map_or((Vec::new(), -1), |setup| {
            (setup.header.clone(), setup.status)
        })
    });
    assert!(header.len() <= bytes as usize);
    for (n, word) in header.chunks_exact(8).enumerate() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        emulator::note(buffer + n * 8, 8, word);
        // SAFETY: the driver passed a buffer of that many bytes. One store: the processor's stepping sees it whole.
        unsafe { ((buffer + n * 8) as *mut u64).write_volatile(word) };
    }
    pool::put(needed, 4, header.len() as u64);
    u64::from(status.cast_unsigned())
}

fn capture_state(args: &Args) -> u64 {
    let dump = facts(|facts| {
        let setup = facts.setup.as_ref();
        setup.map_or(Vec::new(), |setup| setup.triage.clone())
    });
    assert!(dump.len() <= 0x4_0000, "the driver's buffer");
    pool::slice(args.get(7), dump.len()).copy_from_slice(&dump);
    dump.len() as u64
}

fn capture_context(args: &Args) -> u64 {
    // As large as a CONTEXT is: x86, x64, ARM64.
    let bytes = match args.machine {
        Machine::X86 => 0x2cc,
        Machine::X64 => 0x4d0,
        Machine::Arm64 => 0x390,
    };
    pool::slice(args.get(0), bytes).fill(0x11);
    0
}

fn register_reason(args: &Args) -> u64 {
    let (record, routine, reason) = (args.get(0), args.get(1), args.number(2).cast_signed());
    facts(|facts| {
        let setup = facts.setup.as_ref();
        let known = setup.is_some_and(|setup| setup.reasons.contains(&reason));
        if known {
            facts.callbacks.push((reason, record, routine));
        }
        known.into()
    })
}

fn register_plain(args: &Args) -> u64 {
    facts(|facts| facts.callbacks.push((-1, args.get(0), args.get(1))));
    1
}

fn deregister(args: &Args) -> u64 {
    facts(|facts| {
        let before = facts.callbacks.len();
        let record = args.get(0);
        facts.callbacks.retain(|callback| callback.1 != record);
        u64::from(facts.callbacks.len() < before)
    })
}

fn allocate_entry(args: &Args) -> u64 {
    assert!(args.number(1) & 0xff <= 0xf0, "ERROR_LOG_MAXIMUM_SIZE");
    pool::take(0xf0, 16) as u64
}

fn write_entry(args: &Args) -> u64 {
    let at = args.get(0);
    let text = at + pool::number(at + 6, 2) as usize;
    let units: Vec<u16> = (text..at + 0xf0)
        .step_by(2)
        .map(|at| pool::number(at, 2) as u16)
        .take_while(|unit| *unit != 0)
        .collect();
    let (code, status) = (pool::number(at + 0xc, 4), pool::number(at + 0x14, 4));
    let entry = (
        code as u32,
        status as u32 as i32,
        String::from_utf16_lossy(&units),
    );
    facts(|facts| facts.events.push(entry));
    0
}

fn open_key(args: &Args) -> u64 {
    let pointer = args.machine.pointer();
    // OBJECT_ATTRIBUTES has the name behind length and root.
    let name = pool::number(args.get(2) + 2 * pointer, pointer) as usize;
    let name = text(args.machine, name);
    pool::put(args.get(0), pointer, 0x1000);
    if name == "Parameters" || name.starts_with("\\Registry\\") {
        0
    } else {
        0xc000_0034
    }
}

fn query_value(args: &Args) -> u64 {
    let name = text(args.machine, args.get(1));
    let found = facts(|facts| {
        let setup = facts.setup.as_ref()?;
        let mut parameters = setup.parameters.iter();
        let found = parameters.find(|parameter| parameter.0 == name);
        found.map(|parameter| parameter.1)
    });
    let Some(found) = found else {
        return 0xc000_0034;
    };
    assert_eq!(args.number(4), 16);
    for (n, word) in [0, 4, 4, found].into_iter().enumerate() {
        pool::put(args.get(3) + n * 4, 4, word.into());
    }
    0
}

fn create_thread(args: &Args) -> u64 {
    assert_eq!(args.get(3), 0, "a thread of System");
    let (routine, context) = (args.get(5), args.get(6) as u64);
    let engine = World::processor_of_thread();
    let handle = std::thread::spawn(move || {
        engine.call(routine, &[context]);
    });
    facts(|facts| facts.threads.push(handle));
    pool::put(args.get(0), args.machine.pointer(), 0x2000);
    0
}

fn join(_: &Args) -> u64 {
    for thread in facts(|facts| std::mem::take(&mut facts.threads)) {
        assert!(thread.join().is_ok(), "the driver's thread");
    }
    0
}

fn set_event(_: &Args) -> u64 {
    facts(|facts| facts.is_stopped = true);
    CHANGED.notify_all();
    0
}

fn wait(args: &Args) -> u64 {
    let timeout = pool::number(args.get(4), 8).cast_signed();
    assert!(timeout < 0, "a time from now on");
    facts(|facts| facts.is_waiting = true);
    CHANGED.notify_all();
    after(
        |facts| facts.ticks == 0 && !facts.is_stopped,
        |facts| {
            facts.is_waiting = false;
            if facts.is_stopped {
                return 0;
            }
            facts.ticks = 0;
            // STATUS_TIMEOUT.
            0x102
        },
    )
}
