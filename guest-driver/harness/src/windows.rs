//! Windows' part in the driver's life: its functions, what they are told to answer, and every call written down.
//!
//! ```text
//! World::boot(Setup) -> DriverEntry -> the driver runs; tick(), callback(..), unload()
//! ```
//!
//! One driver lives at a time: the functions have no context, so what they know is global.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::image::Image;
use crate::load::Loaded;
use crate::step;

/// Names that the driver may import, and no others.
pub const IMPORTS: [&str; 19] = [
    "IoAllocateErrorLogEntry",
    "IoWriteErrorLogEntry",
    "KeDeregisterBugCheckCallback",
    "KeDeregisterBugCheckReasonCallback",
    "KeInitializeEvent",
    "KeRegisterBugCheckCallback",
    "KeRegisterBugCheckReasonCallback",
    "KeSetEvent",
    "KeWaitForSingleObject",
    "MmAllocateContiguousMemory",
    "MmFreeContiguousMemory",
    "MmGetPhysicalAddress",
    "MmGetSystemRoutineAddress",
    "PsCreateSystemThread",
    "PsTerminateSystemThread",
    "ZwClose",
    "ZwOpenKey",
    "ZwQueryValueKey",
    "ZwWaitForSingleObject",
];
/// What the driver may call in a callback.
const IN_CALLBACK: &str = "KeInitializeCrashDumpHeader";

/// How the harness's Windows is made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Names that a look-up does not find.
    pub missing: Vec<&'static str>,
    /// Reasons whose callbacks this Windows knows.
    pub reasons: Vec<i32>,
    /// Numbers under the service's `Parameters`.
    pub parameters: Vec<(&'static str, u32)>,
    /// The physical address of the driver's pages.
    pub gpa: u64,
    /// The header that `KeInitializeCrashDumpHeader` writes.
    pub header: Vec<u8>,
    /// What it returns.
    pub status: i32,
    /// The dump that `KeCapturePersistentThreadState` writes.
    pub triage: Vec<u8>,
}

#[derive(Default)]
struct Facts {
    setup: Option<Setup>,
    calls: Vec<String>,
    violations: Vec<String>,
    events: Vec<(u32, i32, String)>,
    /// Registered callbacks: reason (-1 for the plain one), record, routine.
    callbacks: Vec<(i32, usize, usize)>,
    allocations: Vec<(usize, usize)>,
    log_entry: Vec<u64>,
    threads: Vec<std::thread::JoinHandle<()>>,
    ticks: u32,
    is_waiting: bool,
    is_stopped: bool,
}

static FACTS: Mutex<Option<Facts>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();
static IS_CALLBACK: AtomicBool = AtomicBool::new(false);
static ALONE: Mutex<()> = Mutex::new(());
/// Pages of the record: the first allocation that is not freed.
static PAGES: AtomicUsize = AtomicUsize::new(0);
/// `KiBugCheckData`.
static mut BUG_CHECK_DATA: [u64; 5] = [0; 5];

fn facts<T>(act: impl FnOnce(&mut Facts) -> T) -> T {
    let mut facts = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
    act(facts.get_or_insert_default())
}

/// Writes the call down; one that may not be made in a callback is a violation.
fn called(name: &str) {
    let forbidden = IS_CALLBACK.load(Ordering::SeqCst) && name != IN_CALLBACK;
    facts(|facts| {
        facts.calls.push(name.to_owned());
        if forbidden {
            facts.violations.push(name.to_owned());
        }
    });
}

/// `DRIVER_OBJECT`, as large as it is.
#[repr(C, align(16))]
struct DriverObject([u64; 0x30]);

/// A system in which the driver is loaded.
pub struct World {
    _image: Loaded,
    driver: Box<DriverObject>,
    status: i32,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// Loads the driver and calls `DriverEntry`.
    ///
    /// # Errors
    /// An import that is not known.
    pub fn boot(image: &Image, setup: Setup) -> Result<Self, String> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        step::install();
        IS_CALLBACK.store(false, Ordering::SeqCst);
        PAGES.store(0, Ordering::SeqCst);
        set_stop_code([0; 5]);
        facts(|facts| {
            *facts = Facts {
                setup: Some(setup),
                ..Facts::default()
            };
        });
        let loaded = Loaded::new(image, address_of)?;
        let mut driver = Box::new(DriverObject([0; 0x30]));
        let path: Vec<u16> = "\\Registry\\Machine\\System\\Services\\c"
            .encode_utf16()
            .collect();
        let path = UnicodeString::new(&path);
        // SAFETY: the image's entry has this signature.
        let entry: extern "win64" fn(*mut c_void, *const UnicodeString) -> i32 =
            unsafe { std::mem::transmute(loaded.entry()) };
        let status = entry((&raw mut *driver).cast(), &raw const path);
        // The driver's thread has begun before anything else happens.
        let guard = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = |facts: &mut Option<Facts>| {
            facts
                .as_ref()
                .is_some_and(|facts| !facts.threads.is_empty() && !facts.is_waiting)
        };
        drop(
            CHANGED
                .wait_while(guard, begins)
                .unwrap_or_else(PoisonError::into_inner),
        );
        Ok(Self {
            _image: loaded,
            driver,
            status,
            _alone: alone,
        })
    }

    /// What `DriverEntry` returned.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Calls every registered callback of a reason; -1 for the plain one. `data` is what Windows passes.
    pub fn callback(&self, reason: i32, data: &mut [u64]) {
        let found = facts(|facts| facts.callbacks.iter().find(|c| c.0 == reason).copied());
        let Some((_, record, routine)) = found else {
            return;
        };
        IS_CALLBACK.store(true, Ordering::SeqCst);
        let bytes = (data.len() * 8) as u32;
        if reason == -1 {
            // SAFETY: the driver registered this routine as a plain callback.
            let routine: extern "win64" fn(*mut c_void, u32) =
                unsafe { std::mem::transmute(routine) };
            routine(std::ptr::null_mut(), 0);
        } else {
            // SAFETY: the driver registered this routine for a reason.
            let routine: extern "win64" fn(i32, usize, *mut u64, u32) =
                unsafe { std::mem::transmute(routine) };
            routine(reason, record, data.as_mut_ptr(), bytes);
        }
        IS_CALLBACK.store(false, Ordering::SeqCst);
    }

    /// The reasons whose callbacks are registered, -1 for the plain one.
    #[must_use]
    pub fn registered(&self) -> Vec<i32> {
        facts(|facts| facts.callbacks.iter().map(|callback| callback.0).collect())
    }

    /// Lets the driver's thread run once, and waits until it waits again.
    pub fn tick(&self) {
        let guard = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = |facts: &mut Option<Facts>| {
            facts
                .as_ref()
                .is_some_and(|facts| !facts.is_waiting || facts.ticks > 0)
        };
        let mut guard = CHANGED
            .wait_while(guard, is_busy)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = guard.as_mut() {
            facts.ticks = 1;
        }
        CHANGED.notify_all();
        drop(
            CHANGED
                .wait_while(guard, is_busy)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Calls the driver's unload routine; false if it has none.
    pub fn unload(&mut self) -> bool {
        let unload = self.driver.0.get(0x68 / 8).copied().unwrap_or(0) as usize;
        if unload == 0 {
            return false;
        }
        // SAFETY: the driver put its routine there.
        let unload: extern "win64" fn(*mut c_void) = unsafe { std::mem::transmute(unload) };
        unload((&raw mut *self.driver).cast());
        if let Some(place) = self.driver.0.get_mut(0x68 / 8) {
            *place = 0;
        }
        true
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.unload();
    }
}

/// Changes the setup while the driver runs.
pub fn change(act: impl FnOnce(&mut Setup)) {
    facts(|facts| facts.setup.as_mut().map(act));
}

/// Every call so far.
#[must_use]
pub fn calls() -> Vec<String> {
    facts(|facts| facts.calls.clone())
}

/// Calls that were made in a callback and may not be.
#[must_use]
pub fn violations() -> Vec<String> {
    facts(|facts| facts.violations.clone())
}

/// Entries of the event log: code, status, text.
#[must_use]
pub fn events() -> Vec<(u32, i32, String)> {
    facts(|facts| facts.events.clone())
}

/// Allocations that were not freed.
#[must_use]
pub fn allocations() -> usize {
    facts(|facts| facts.allocations.len())
}

/// The address of the record's pages; 0 before there are any.
#[must_use]
pub fn pages() -> usize {
    PAGES.load(Ordering::SeqCst)
}

/// What is in the record's pages.
#[must_use]
pub fn memory() -> Vec<u8> {
    let at = pages();
    assert_ne!(at, 0, "the driver has no pages");
    // SAFETY: the driver's pages are that long and not freed.
    unsafe { std::slice::from_raw_parts(at as *const u8, 0x8000) }.to_vec()
}

/// Sets `KiBugCheckData`.
pub fn set_stop_code(data: [u64; 5]) {
    // SAFETY: no driver runs while a test sets it.
    unsafe { (&raw mut BUG_CHECK_DATA).write_volatile(data) };
}

#[repr(C)]
struct UnicodeString {
    length: u16,
    maximum: u16,
    buffer: *const u16,
}

impl UnicodeString {
    fn new(text: &[u16]) -> Self {
        let bytes = (text.len() * 2) as u16;
        Self {
            length: bytes,
            maximum: bytes,
            buffer: text.as_ptr(),
        }
    }

    /// The text at an address that the driver passed.
    fn text(at: *const Self) -> String {
        // SAFETY: the driver passes a valid string.
        let string = unsafe { &*at };
        // SAFETY: its buffer has that many units.
        let units =
            unsafe { std::slice::from_raw_parts(string.buffer, usize::from(string.length / 2)) };
        String::from_utf16_lossy(units)
    }
}

/// The address of an imported function.
fn address_of(name: &str) -> Option<usize> {
    let address = match name {
        "IoAllocateErrorLogEntry" => allocate_entry as *const () as usize,
        "IoWriteErrorLogEntry" => write_entry as *const () as usize,
        "KeDeregisterBugCheckCallback" | "KeDeregisterBugCheckReasonCallback" => {
            deregister as *const () as usize
        }
        "KeInitializeEvent" => initialize_event as *const () as usize,
        "KeRegisterBugCheckCallback" => register_plain as *const () as usize,
        "KeRegisterBugCheckReasonCallback" => register_reason as *const () as usize,
        "KeSetEvent" => set_event as *const () as usize,
        "KeWaitForSingleObject" => wait as *const () as usize,
        "MmAllocateContiguousMemory" => allocate as *const () as usize,
        "MmFreeContiguousMemory" => free as *const () as usize,
        "MmGetPhysicalAddress" => physical as *const () as usize,
        "MmGetSystemRoutineAddress" => look_up as *const () as usize,
        "PsCreateSystemThread" => create_thread as *const () as usize,
        "PsTerminateSystemThread" => terminate as *const () as usize,
        "ZwClose" => close as *const () as usize,
        "ZwOpenKey" => open_key as *const () as usize,
        "ZwQueryValueKey" => query_value as *const () as usize,
        "ZwWaitForSingleObject" => join as *const () as usize,
        _ => return None,
    };
    Some(address)
}

extern "win64" fn look_up(name: *const UnicodeString) -> usize {
    let name = UnicodeString::text(name);
    called("MmGetSystemRoutineAddress");
    let missing = facts(|facts| {
        facts
            .setup
            .as_ref()
            .is_some_and(|setup| setup.missing.contains(&name.as_str()))
    });
    if missing {
        return 0;
    }
    match name.as_str() {
        "KeInitializeCrashDumpHeader" => initialize_header as *const () as usize,
        "KeCapturePersistentThreadState" => capture_state as *const () as usize,
        "RtlCaptureContext" => capture_context as *const () as usize,
        "MmAllocateContiguousNodeMemory" => allocate_on_node as *const () as usize,
        "KiBugCheckData" => (&raw const BUG_CHECK_DATA).addr(),
        _ => 0,
    }
}

fn new_pages(bytes: usize) -> usize {
    let layout = std::alloc::Layout::from_size_align(bytes, 0x1000)
        .unwrap_or(std::alloc::Layout::new::<u8>());
    // SAFETY: the size is not zero.
    let at = unsafe { std::alloc::alloc(layout) }.addr();
    facts(|facts| facts.allocations.push((at, bytes)));
    if PAGES.load(Ordering::SeqCst) == 0 {
        PAGES.store(at, Ordering::SeqCst);
    }
    at
}

extern "win64" fn allocate(bytes: usize, _highest: i64) -> usize {
    called("MmAllocateContiguousMemory");
    new_pages(bytes)
}

extern "win64" fn allocate_on_node(
    bytes: usize,
    _: i64,
    _: i64,
    _: i64,
    protect: u32,
    _: u32,
) -> usize {
    called("MmAllocateContiguousNodeMemory");
    assert_eq!(protect, 4, "PAGE_READWRITE: not executable");
    new_pages(bytes)
}

extern "win64" fn free(at: usize) {
    called("MmFreeContiguousMemory");
    let bytes = facts(|facts| {
        let index = facts
            .allocations
            .iter()
            .position(|allocation| allocation.0 == at);
        index.map(|index| facts.allocations.remove(index).1)
    });
    let layout = bytes.and_then(|bytes| std::alloc::Layout::from_size_align(bytes, 0x1000).ok());
    let Some(layout) = layout else {
        std::process::abort()
    };
    // SAFETY: it was allocated with this layout, and is not in the list any more.
    unsafe { std::alloc::dealloc(at as *mut u8, layout) };
}

extern "win64" fn physical(at: usize) -> u64 {
    called("MmGetPhysicalAddress");
    let base = facts(|facts| facts.setup.as_ref().map_or(0, |setup| setup.gpa));
    base.wrapping_add(at.wrapping_sub(pages()) as u64)
}

/// Writes the header word by word: the guest may die between any two.
extern "win64" fn initialize_header(
    kind: u32,
    flags: u32,
    buffer: *mut u64,
    bytes: u32,
    needed: *mut u32,
) -> i32 {
    called(IN_CALLBACK);
    assert_eq!(
        (kind, flags),
        (1, 0),
        "the only arguments that Windows takes"
    );
    let (header, status) = facts(|facts| {
        facts.setup.as_ref().map_or((Vec::new(), -1), |setup| {
            (setup.header.clone(), setup.status)
        })
    });
    assert!(header.len() <= bytes as usize);
    for (n, word) in header.chunks_exact(8).enumerate() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        // SAFETY: the driver passed a buffer of that many bytes.
        unsafe { buffer.add(n).write_volatile(word) };
    }
    // SAFETY: the driver passed the address of a number.
    unsafe { needed.write(header.len() as u32) };
    status
}

extern "win64" fn capture_state(
    _context: *const c_void,
    _thread: *const c_void,
    _code: u32,
    _one: usize,
    _two: usize,
    _three: usize,
    _four: usize,
    buffer: *mut u8,
) -> u32 {
    called("KeCapturePersistentThreadState");
    let dump = facts(|facts| {
        facts
            .setup
            .as_ref()
            .map_or(Vec::new(), |setup| setup.triage.clone())
    });
    assert!(dump.len() <= 0x4_0000);
    // SAFETY: the driver's buffer has 0x40000 bytes.
    unsafe { std::ptr::copy_nonoverlapping(dump.as_ptr(), buffer, dump.len()) };
    dump.len() as u32
}

extern "win64" fn capture_context(context: *mut u8) {
    called("RtlCaptureContext");
    // SAFETY: a CONTEXT of x64 has 0x4d0 bytes, which the driver gives.
    unsafe { context.write_bytes(0x11, 0x4d0) };
}

extern "win64" fn register_reason(record: usize, routine: usize, reason: i32, _: usize) -> u8 {
    called("KeRegisterBugCheckReasonCallback");
    facts(|facts| {
        let known = facts
            .setup
            .as_ref()
            .is_some_and(|setup| setup.reasons.contains(&reason));
        if known {
            facts.callbacks.push((reason, record, routine));
        }
        u8::from(known)
    })
}

extern "win64" fn register_plain(record: usize, routine: usize, _: usize, _: u32, _: usize) -> u8 {
    called("KeRegisterBugCheckCallback");
    facts(|facts| facts.callbacks.push((-1, record, routine)));
    1
}

extern "win64" fn deregister(record: usize) -> u8 {
    called("KeDeregisterBugCheck");
    facts(|facts| {
        let before = facts.callbacks.len();
        facts.callbacks.retain(|callback| callback.1 != record);
        u8::from(facts.callbacks.len() < before)
    })
}

extern "win64" fn allocate_entry(_object: usize, bytes: u8) -> usize {
    called("IoAllocateErrorLogEntry");
    assert!(bytes <= 0xf0, "ERROR_LOG_MAXIMUM_SIZE");
    facts(|facts| {
        facts.log_entry = vec![0; 0x100 / 8];
        facts.log_entry.as_ptr().addr()
    })
}

extern "win64" fn write_entry(_entry: usize) {
    called("IoWriteErrorLogEntry");
    facts(|facts| {
        let bytes: Vec<u8> = facts
            .log_entry
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let half = |at: usize| {
            bytes
                .get(at..at + 2)
                .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
        };
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let text = usize::from(half(6));
        let units: Vec<u16> = (text..0xf0)
            .step_by(2)
            .map(half)
            .take_while(|unit| *unit != 0)
            .collect();
        let text = String::from_utf16_lossy(&units);
        facts
            .events
            .push((word(0xc), word(0x14).cast_signed(), text));
    });
}

extern "win64" fn open_key(key: *mut usize, _access: u32, attributes: *const usize) -> i32 {
    called("ZwOpenKey");
    // SAFETY: OBJECT_ATTRIBUTES has the name at 0x10.
    let name = unsafe { attributes.add(2).read() };
    let name = UnicodeString::text(name as *const UnicodeString);
    let known = name == "Parameters" || name.starts_with("\\Registry\\");
    // SAFETY: the driver passed the address of a handle.
    unsafe { key.write(0x1000) };
    if known { 0 } else { -1 }
}

extern "win64" fn query_value(
    _key: usize,
    name: *const UnicodeString,
    _class: i32,
    value: *mut u32,
    bytes: u32,
    _needed: *mut u32,
) -> i32 {
    called("ZwQueryValueKey");
    let name = UnicodeString::text(name);
    let found = facts(|facts| {
        let setup = facts.setup.as_ref()?;
        setup
            .parameters
            .iter()
            .find(|parameter| parameter.0 == name)
            .map(|parameter| parameter.1)
    });
    let Some(found) = found else {
        return 0xc000_0034_u32.cast_signed();
    };
    assert_eq!(bytes, 16);
    for (n, word) in [0, 4, 4, found].into_iter().enumerate() {
        // SAFETY: the driver's buffer has 16 bytes.
        unsafe { value.add(n).write(word) };
    }
    0
}

extern "win64" fn close(_handle: usize) -> i32 {
    called("ZwClose");
    0
}

extern "win64" fn create_thread(
    thread: *mut usize,
    _access: u32,
    _attributes: usize,
    process: usize,
    _client: usize,
    routine: usize,
    context: usize,
) -> i32 {
    called("PsCreateSystemThread");
    assert_eq!(process, 0, "a thread of System");
    // SAFETY: the driver passed a thread's routine.
    let routine: extern "win64" fn(usize) = unsafe { std::mem::transmute(routine) };
    let handle = std::thread::spawn(move || routine(context));
    facts(|facts| facts.threads.push(handle));
    // SAFETY: the driver passed the address of a handle.
    unsafe { thread.write(0x2000) };
    0
}

extern "win64" fn terminate(_status: i32) -> i32 {
    called("PsTerminateSystemThread");
    0
}

extern "win64" fn join(_handle: usize, _alertable: u8, _timeout: usize) -> i32 {
    called("ZwWaitForSingleObject");
    for thread in facts(|facts| std::mem::take(&mut facts.threads)) {
        if thread.join().is_err() {
            std::process::abort();
        }
    }
    0
}

extern "win64" fn initialize_event(_event: usize, _kind: i32, _state: u8) {
    called("KeInitializeEvent");
}

extern "win64" fn set_event(_event: usize, _increment: i32, _wait: u8) -> i32 {
    called("KeSetEvent");
    facts(|facts| facts.is_stopped = true);
    CHANGED.notify_all();
    0
}

extern "win64" fn wait(
    _event: usize,
    _reason: i32,
    _mode: i8,
    _alertable: u8,
    timeout: *const i64,
) -> i32 {
    called("KeWaitForSingleObject");
    // SAFETY: the driver passed the address of a timeout.
    assert!(unsafe { *timeout } < 0, "a time from now on");
    let mut guard = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(facts) = guard.as_mut() {
        facts.is_waiting = true;
    }
    CHANGED.notify_all();
    let is_idle = |facts: &mut Option<Facts>| {
        facts
            .as_ref()
            .is_some_and(|facts| facts.ticks == 0 && !facts.is_stopped)
    };
    let mut guard = CHANGED
        .wait_while(guard, is_idle)
        .unwrap_or_else(PoisonError::into_inner);
    let Some(facts) = guard.as_mut() else {
        return 0;
    };
    facts.is_waiting = false;
    if facts.is_stopped {
        return 0;
    }
    facts.ticks = 0;
    // STATUS_TIMEOUT.
    0x102
}
