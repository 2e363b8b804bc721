//! Code of any machine in Unicorn, which sees the harness's own memory at its own addresses.
//!
//! A hook in front of each stub runs Windows' function; a hook on every store keeps the journal.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use super::library::{self, Library, Uc, register};
use super::{Args, STUB_BYTES};
use crate::image::Image;
use crate::machine::Machine;
use crate::step::Store;
use crate::windows::calls;
use crate::{hardware, pool, windows};

/// Rights of a mapping.
const READ: u32 = 1;
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;
/// Where a routine of the driver returns to.
const END: usize = pool::STUBS + 0xff0;

/// An emulated processor with a stack of its own. One thread uses it at a time.
#[derive(Debug)]
pub(crate) struct Emulator {
    /// Unicorn's handle, as a number: the processor may be handed to another thread.
    uc: usize,
    machine: Machine,
    stack: usize,
}

/// The machine of what runs, for hooks.
static MACHINE: Mutex<Machine> = Mutex::new(Machine::X64);
/// Stores into the pages, while somebody watches.
static JOURNAL: Mutex<Option<Vec<Store>>> = Mutex::new(None);
/// What happens at a store of this number.
type Interruption = (usize, Box<dyn FnOnce()>);

thread_local! {
    static INTERRUPTION: RefCell<Option<Interruption>> = const { RefCell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unicorn() -> Library {
    library::get().unwrap_or_else(|why| panic_with(&why))
}

fn panic_with(why: &str) -> ! {
    eprintln!("emulator: {why}");
    std::process::abort()
}

fn check(what: &str, error: c_int) {
    if error != 0 {
        panic_with(&format!("{what}: error {error}"));
    }
}

impl Emulator {
    pub(super) fn new(image: &Image, machine: Machine, number: usize) -> Self {
        let unicorn = unicorn();
        let (arch, mode) = match machine {
            Machine::X86 => (library::ARCH_X86, library::MODE_32),
            Machine::X64 => (library::ARCH_X86, library::MODE_64),
            Machine::Arm64 => (library::ARCH_ARM64, library::MODE_ARM),
        };
        let mut uc = std::ptr::null_mut();
        // SAFETY: the handle goes where it is asked for.
        check("uc_open", unsafe {
            (unicorn.open)(arch, mode, &raw mut uc)
        });
        *lock(&MACHINE) = machine;
        map(uc, machine, image);
        hooks(uc, machine);
        let stack = pool::base() + pool::STACKS + (number + 1) * pool::STACK_BYTES - 0x200;
        assert!(number < 3, "as many stacks as there is room for");
        Self {
            uc: uc.addr(),
            machine,
            stack,
        }
    }

    fn uc(&self) -> Uc {
        self.uc as Uc
    }

    /// Runs a routine to its end.
    pub(super) fn call(&self, routine: usize, arguments: &[u64]) -> u64 {
        let end = (pool::base() + END) as u64;
        let set = |register, value| write_register(self.uc(), register, value);
        let mut stack = self.stack;
        match self.machine {
            Machine::X86 => {
                for argument in arguments.iter().rev() {
                    stack -= 4;
                    pool::put(stack, 4, *argument);
                }
                stack -= 4;
                pool::put(stack, 4, end);
                set(register::ESP, stack as u64);
            }
            Machine::X64 => {
                assert!(arguments.len() <= 4, "all in registers");
                for (register, argument) in register::X64_ARGUMENTS.into_iter().zip(arguments) {
                    set(register, *argument);
                }
                stack -= 8;
                pool::put(stack, 8, end);
                set(register::RSP, stack as u64);
            }
            Machine::Arm64 => {
                for (register, argument) in (register::ARM64_X0..).zip(arguments) {
                    set(register, *argument);
                }
                set(register::ARM64_LR, end);
                set(register::ARM64_SP, stack as u64);
            }
        }
        // SAFETY: the emulator's memory is the pool, which stays.
        let error = unsafe { (unicorn().start)(self.uc(), routine as u64, end, 0, 0) };
        if error != 0 {
            let counter = match self.machine {
                Machine::X86 => register::EIP,
                Machine::X64 => register::RIP,
                Machine::Arm64 => register::ARM64_PC,
            };
            let at = read_register(self.uc(), counter).wrapping_sub(pool::base() as u64);
            panic_with(&format!(
                "error {error} (6: read, 7: write, 8: fetch of nothing; 12 to 14: without the right) at {at:#x} of the \
                 image"
            ));
        }
        match self.machine {
            Machine::X86 => read_register(self.uc(), register::EAX),
            Machine::X64 => read_register(self.uc(), register::RAX),
            Machine::Arm64 => read_register(self.uc(), register::ARM64_X0),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and not used again.
        unsafe { (unicorn().close)(self.uc()) };
    }
}

/// The pool where it is, the image's sections with their rights, and the shared page where Windows has it.
fn map(uc: Uc, machine: Machine, image: &Image) {
    let unicorn = unicorn();
    let map = |at: u64, bytes: usize, rights, memory: usize| {
        let memory = memory as *mut c_void;
        // SAFETY: the pool has these bytes, and stays.
        check("uc_mem_map_ptr", unsafe {
            (unicorn.map)(uc, at, bytes as u64, rights, memory)
        });
    };
    let protect = |at: usize, bytes: usize, rights| {
        let bytes = bytes.next_multiple_of(0x1000) as u64;
        // SAFETY: the range was mapped.
        check("uc_mem_protect", unsafe {
            (unicorn.protect)(uc, at as u64, bytes, rights)
        });
    };
    let base = pool::base();
    map(base as u64, pool::BYTES, READ | WRITE, base);
    protect(base + pool::STUBS, 0x1000, READ | EXECUTE);
    protect(base + pool::IMAGE, image.size as usize, READ);
    for section in &image.sections {
        let (execute, write) = section.rights();
        let rights = READ | if execute { EXECUTE } else { 0 } | if write { WRITE } else { 0 };
        protect(
            base + pool::IMAGE + section.at as usize,
            section.size as usize,
            rights,
        );
    }
    // Unicorn's x64 has 52 bits of address.
    let mask = match machine {
        Machine::X64 => (1 << 52) - 1,
        Machine::X86 | Machine::Arm64 => u64::MAX,
    };
    map(
        machine.shared_data() & mask,
        0x1000,
        READ,
        base + pool::SHARED,
    );
}

fn hooks(uc: Uc, machine: Machine) {
    let unicorn = unicorn();
    let stubs = (pool::base() + pool::STUBS) as u64;
    let add = |kind, callback: *const (), begin: u64, end: u64, instruction: c_int| {
        let mut handle = 0;
        // SAFETY: each callback has the signature that its kind of hook asks for.
        check("uc_hook_add", unsafe {
            (unicorn.hook)(
                uc,
                &raw mut handle,
                kind,
                callback.cast(),
                std::ptr::null_mut(),
                begin,
                end,
                instruction,
            )
        });
    };
    add(
        library::HOOK_CODE,
        on_stub as *const (),
        stubs,
        stubs + 0xfef,
        0,
    );
    add(library::HOOK_MEM_WRITE, on_store as *const (), 1, 0, 0);
    if machine != Machine::Arm64 {
        add(
            library::HOOK_INSN,
            on_in as *const (),
            1,
            0,
            library::INSN_IN,
        );
        add(
            library::HOOK_INSN,
            on_out as *const (),
            1,
            0,
            library::INSN_OUT,
        );
    }
}

fn read_register(uc: Uc, register: c_int) -> u64 {
    let mut value = 0_u64;
    // SAFETY: no register that is asked for has more than eight bytes.
    check("uc_reg_read", unsafe {
        (unicorn().read)(uc, register, (&raw mut value).cast())
    });
    value
}

fn write_register(uc: Uc, register: c_int, value: u64) {
    // SAFETY: no register that is written has more than eight bytes, and they are only read.
    check("uc_reg_write", unsafe {
        (unicorn().write)(uc, register, (&raw const value).cast())
    });
}

/// In front of a stub's `ret`: Windows' function.
extern "C" fn on_stub(uc: Uc, address: u64, _: u32, _: *mut c_void) {
    let machine = *lock(&MACHINE);
    let number = (address as usize - pool::base() - pool::STUBS) / STUB_BYTES;
    let mut words = [0; 9];
    match machine {
        Machine::X86 => {
            let stack = read_register(uc, register::ESP) as usize;
            for (n, word) in words.iter_mut().enumerate() {
                *word = pool::number(stack + 4 + n * 4, 4);
            }
        }
        Machine::X64 => {
            let stack = read_register(uc, register::RSP) as usize;
            for (n, word) in words.iter_mut().enumerate() {
                *word = match register::X64_ARGUMENTS.get(n) {
                    Some(register) => read_register(uc, *register),
                    None => pool::number(stack + 8 + n * 8, 8),
                };
            }
        }
        Machine::Arm64 => {
            for (register, word) in (register::ARM64_X0..).zip(words.iter_mut().take(8)) {
                *word = read_register(uc, register);
            }
        }
    }
    let value = calls::dispatch(number, &Args { machine, words });
    match machine {
        Machine::X86 => {
            write_register(uc, register::EAX, value & 0xffff_ffff);
            write_register(uc, register::EDX, value >> 32);
        }
        Machine::X64 => write_register(uc, register::RAX, value),
        Machine::Arm64 => write_register(uc, register::ARM64_X0, value),
    }
}

/// Before the driver stores something.
extern "C" fn on_store(
    _: Uc,
    _kind: c_int,
    address: u64,
    bytes: c_int,
    value: i64,
    _: *mut c_void,
) {
    note(address as usize, bytes as usize, value.cast_unsigned());
}

extern "C" fn on_in(_: Uc, _port: u32, _bytes: c_int, _: *mut c_void) -> u32 {
    hardware::port_answer().into()
}

extern "C" fn on_out(_: Uc, port: u32, _bytes: c_int, value: u32, _: *mut c_void) {
    hardware::write_port(port, value);
}

/// Writes down what is about to be stored into the pages, as the word that it makes of the one that is there.
pub(crate) fn note(address: usize, bytes: usize, value: u64) {
    let offset = address.wrapping_sub(windows::pages());
    if offset >= 0x8000 || !is_watched() {
        return;
    }
    let (word, shift) = (offset & !7, (offset & 7) * 8);
    let mask = u64::MAX >> (64 - bytes * 8) << shift;
    let known = pool::number(windows::pages() + word, 8);
    let new = (known & !mask) | (value << shift & mask);
    if new == known {
        return;
    }
    let number = lock(&JOURNAL).as_mut().map_or(0, |journal| {
        journal.push(Store {
            offset: word as u32,
            value: new,
            step: journal.len() as u64,
        });
        journal.len()
    });
    let due = INTERRUPTION.with_borrow_mut(|kept| kept.take_if(|kept| kept.0 == number));
    if let Some((_, act)) = due {
        act();
    }
}

fn is_watched() -> bool {
    lock(&JOURNAL).is_some()
}

/// Every store into the pages while `act` runs. Something else happens in front of the store of a number, from 1.
pub(crate) fn watched(act: impl FnOnce(), interruption: Option<Interruption>) -> Vec<Store> {
    *lock(&JOURNAL) = Some(Vec::new());
    INTERRUPTION.set(interruption);
    act();
    INTERRUPTION.set(None);
    lock(&JOURNAL).take().unwrap_or_default()
}
