//! Windows' part in the driver's life: its functions, what they are told to answer, and every call written down.
//!
//! ```text
//! World::boot(Setup) -> DriverEntry -> the driver runs; tick(), callback(..), unload()
//! ```

pub(crate) mod calls;
mod facts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::{self, Engine, Way, emulator};
use crate::image::Image;
use crate::machine::Machine;
use crate::step::{self, Store};
use crate::{load, pool};
use facts::{Facts, IS_CALLBACK, after, facts};

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

/// What Windows passes to a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Of `DumpIo` and the plain one: nothing that the driver looks at.
    Nothing,
    /// `KBUGCHECK_ADD_PAGES` with this stop code.
    AddPages(u32),
    /// The first half of it.
    ShortAddPages,
    /// `KBUGCHECK_TRIAGE_DUMP_DATA` with this stop code and parameters.
    Triage(u32, [u64; 4]),
}

static ALONE: Mutex<()> = Mutex::new(());
/// Pages of the record: the first allocation.
static PAGES: AtomicUsize = AtomicUsize::new(0);
/// The processor that a thread of the driver will have.
static FOR_THREAD: Mutex<Option<Engine>> = Mutex::new(None);

/// A system in which the driver is loaded.
pub struct World {
    machine: Machine,
    way: Way,
    processors: [Engine; 2],
    driver: usize,
    status: i32,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// Loads the driver and calls `DriverEntry`.
    ///
    /// # Errors
    /// An import that is not known, or a machine that cannot be run this way.
    pub fn boot(image: &Image, way: Way, setup: Setup) -> Result<Self, String> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = Machine::of(image.machine).ok_or("another machine")?;
        engine::runs(machine, way)?;
        step::install();
        IS_CALLBACK.store(false, Ordering::SeqCst);
        PAGES.store(0, Ordering::SeqCst);
        pool::reset();
        let (driver, data) = (pool::take(0x180, 16), pool::take(40, 16));
        pool::slice(driver, 0x180).fill(0);
        pool::slice(data, 40).fill(0);
        facts(|facts| {
            *facts = Facts {
                setup: Some(setup),
                bug_check_data: data,
                ..Facts::default()
            };
        });
        let words = calls::FUNCTIONS.iter().map(|function| function.1);
        engine::write_stubs(way, machine, words);
        let entry = load::load(image, machine, calls::address_of)?;
        let processor = |number| Engine::new(way, image, machine, number);
        let processors = [processor(0), processor(1)];
        *FOR_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(processor(2));
        let path = unicode_string(machine, "\\Registry\\Machine\\System\\Services\\c");
        let status = processors[0].call(entry, &[driver as u64, path]);
        // The driver's thread has begun before anything else happens.
        after(
            |facts| !facts.threads.is_empty() && !facts.is_waiting,
            |_| (),
        );
        Ok(Self {
            machine,
            way,
            processors,
            driver,
            status: status as u32 as i32,
            _alone: alone,
        })
    }

    /// What `DriverEntry` returned.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Calls the registered callback of a reason, -1 for the plain one; what `KBUGCHECK_ADD_PAGES` then holds: flags,
    /// address, count.
    pub fn callback(&self, reason: i32, given: Given) -> [u64; 3] {
        self.callback_on(0, reason, given)
    }

    /// The same on another processor.
    pub fn callback_on(&self, processor: usize, reason: i32, given: Given) -> [u64; 3] {
        let found = facts(|facts| facts.callbacks.iter().find(|c| c.0 == reason).copied());
        let Some((_, record, routine)) = found else {
            return [0; 3];
        };
        let (at, bytes) = self.given(given);
        let (record, at64, bytes) = (record as u64, at as u64, bytes as u64);
        let reason64 = u64::from(reason.cast_unsigned());
        let arguments = match reason {
            -1 => vec![0, 0],
            _ => vec![reason64, record, at64, bytes],
        };
        // Callbacks may be called in callbacks, by another processor.
        let outer = IS_CALLBACK.swap(true, Ordering::SeqCst);
        self.processors[processor].call(routine, &arguments);
        IS_CALLBACK.store(outer, Ordering::SeqCst);
        let pointer = self.machine.pointer();
        let fields = [pointer, pointer + 8, 2 * pointer + 8];
        let [flags, address, count] = fields.map(|field| at + field);
        [
            pool::number(flags, 4),
            pool::number(address, pointer),
            pool::number(count, pointer),
        ]
    }

    /// The structure in memory, and its bytes.
    fn given(&self, given: Given) -> (usize, usize) {
        let pointer = self.machine.pointer();
        let at = pool::take(0x40, 16);
        pool::slice(at, 0x40).fill(0);
        let bytes = match given {
            Given::Nothing => 4 * pointer,
            Given::ShortAddPages => pointer + 8,
            Given::AddPages(code) => {
                pool::put(at + pointer + 4, 4, code.into());
                3 * pointer + 8
            }
            Given::Triage(code, parameters) => {
                pool::put(at + pointer + 8, 4, code.into());
                // Parameters are aligned as pointers are.
                let first = (pointer + 12).next_multiple_of(pointer);
                for (n, parameter) in parameters.into_iter().enumerate() {
                    pool::put(at + first + n * pointer, pointer, parameter);
                }
                first + 4 * pointer
            }
        };
        (at, bytes)
    }

    /// Every store into the record's pages while `act` runs.
    pub fn watched(&self, act: impl FnOnce()) -> Vec<Store> {
        match self.way {
            Way::Processor => step::stepped(pages(), act),
            Way::Emulator => emulator::watched(act, None),
        }
    }

    /// Every store while `act` runs, emulated; `second` runs in front of the `number`th, from 1.
    pub fn in_front_of(
        &self,
        number: usize,
        act: impl FnOnce(),
        second: impl FnOnce() + 'static,
    ) -> Vec<Store> {
        emulator::watched(act, Some((number, Box::new(second))))
    }

    /// The reasons whose callbacks are registered, -1 for the plain one.
    #[must_use]
    pub fn registered(&self) -> Vec<i32> {
        facts(|facts| facts.callbacks.iter().map(|callback| callback.0).collect())
    }

    /// Lets the driver's thread run once, and waits until it waits again.
    pub fn tick(&self) {
        let is_busy = |facts: &Facts| !facts.is_waiting || facts.ticks > 0;
        after(is_busy, |facts| facts.ticks = 1);
        after(is_busy, |_| ());
    }

    /// Calls the driver's unload routine; false if it has none.
    pub fn unload(&self) -> bool {
        self.unload_on(0)
    }

    /// The same on another processor.
    pub fn unload_on(&self, processor: usize) -> bool {
        let pointer = self.machine.pointer();
        let field = self.driver + self.machine.choose(0x34, 0x68);
        let unload = pool::number(field, pointer) as usize;
        if unload == 0 {
            return false;
        }
        self.processors[processor].call(unload, &[self.driver as u64]);
        pool::put(field, pointer, 0);
        true
    }

    /// The processor of the driver's thread, which has only one.
    pub(crate) fn processor_of_thread() -> Engine {
        let mut engine = FOR_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        engine
            .take()
            .unwrap_or_else(|| unreachable!("the driver has one thread"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.unload();
    }
}

/// A `UNICODE_STRING` in the pool.
fn unicode_string(machine: Machine, text: &str) -> u64 {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (buffer, at) = (pool::take(units.len(), 8), pool::take(16, 8));
    pool::slice(buffer, units.len()).copy_from_slice(&units);
    pool::put(at, 2, units.len() as u64);
    pool::put(at + 2, 2, units.len() as u64);
    let pointer = machine.pointer();
    pool::put(at + pointer, pointer, buffer as u64);
    at as u64
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
    pool::slice(at, 0x8000).to_vec()
}

/// Sets `KiBugCheckData` of a machine.
pub fn set_stop_code(world: &World, data: [u64; 5]) {
    let pointer = world.machine.pointer();
    let at = facts(|facts| facts.bug_check_data);
    for (n, value) in data.into_iter().enumerate() {
        pool::put(at + n * pointer, pointer, value);
    }
}
