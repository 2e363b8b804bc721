//! The processor, one instruction at a time: every store into the watched pages is written down, in its order.
//!
//! ```text
//! trap flag -> SIGTRAP after each instruction -> pages differ from their shadow -> journal: offset, value, step
//! SIGSEGV   -> a read of KUSER_SHARED_DATA, or a port: done by hand, and on to the next instruction
//! ```
//!
//! The handlers touch atomics and preallocated memory only.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{REG_EFL, REG_RAX, REG_RDX, REG_RIP, c_int, c_void, siginfo_t, ucontext_t};

use crate::{hardware, pool};

/// Words that are watched, and stores that are written down at most.
const WORDS: usize = 8 * 0x1000 / 8;
const MOST_STORES: usize = 1 << 16;
/// The processor's trap flag.
const TRAP_FLAG: i64 = 0x100;
/// Where Windows has `KUSER_SHARED_DATA`; no process of Linux has anything there.
const USER_SHARED_DATA: u64 = 0xffff_f780_0000_0000;

/// A store: offset, value, and the instruction that made it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Store {
    /// From the first page.
    pub offset: u32,
    /// What it was.
    pub value: u64,
    /// Stores of one instruction have the same number.
    pub step: u64,
}

struct Watch(UnsafeCell<Watched>);

struct Watched {
    shadow: [u64; WORDS],
    journal: [Store; MOST_STORES],
}

// SAFETY: only the handler of the one stepping thread writes it, and `stepped` reads it when that has ended.
unsafe impl Sync for Watch {}

static WATCH: Watch = Watch(UnsafeCell::new(Watched {
    shadow: [0; WORDS],
    journal: [Store {
        offset: 0,
        value: 0,
        step: 0,
    }; MOST_STORES],
}));
static PAGES: AtomicUsize = AtomicUsize::new(0);
static STORES: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicUsize = AtomicUsize::new(0);
static ENDS: AtomicBool = AtomicBool::new(false);

/// Installs the handlers. Call it before the driver runs.
pub(crate) fn install() {
    for (signal, handler) in [
        (libc::SIGTRAP, on_trap as *const () as usize),
        (libc::SIGSEGV, on_fault as *const () as usize),
    ] {
        // SAFETY: numbers and pointers, of which zeros are some.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        // SAFETY: the handlers have the signature that SA_SIGINFO asks for.
        let set = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        assert_eq!(set, 0, "sigaction");
    }
}

/// Runs `act` one instruction at a time; what it stored into the pages at `pages`.
pub(crate) fn stepped(pages: usize, act: impl FnOnce()) -> Vec<Store> {
    PAGES.store(pages, Ordering::SeqCst);
    STORES.store(0, Ordering::SeqCst);
    STEPS.store(0, Ordering::SeqCst);
    ENDS.store(false, Ordering::SeqCst);
    // SAFETY: nothing steps yet, so nothing else uses it.
    let shadow = unsafe { &mut (*WATCH.0.get()).shadow };
    for (n, word) in shadow.iter_mut().enumerate() {
        *word = word_at(pages, n);
    }
    // SAFETY: sets the trap flag; the handler is installed and clears it.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    act();
    ENDS.store(true, Ordering::SeqCst);
    // The next instruction traps for the last time.
    let count = STORES.load(Ordering::SeqCst);
    assert!(count < MOST_STORES, "more stores than can be written down");
    // SAFETY: the stepping has ended.
    let journal = unsafe { &(*WATCH.0.get()).journal };
    journal.iter().take(count).copied().collect()
}

fn word_at(pages: usize, n: usize) -> u64 {
    // SAFETY: the caller of `stepped` passed the address of that many words.
    unsafe { (pages as *const u64).add(n).read_volatile() }
}

extern "C" fn on_trap(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes this thread's context.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let step = STEPS.fetch_add(1, Ordering::Relaxed) as u64;
    let pages = PAGES.load(Ordering::Relaxed);
    // SAFETY: only one thread steps, and this handler is all that uses it then.
    let watched = unsafe { &mut *WATCH.0.get() };
    for (n, known) in watched.shadow.iter_mut().enumerate() {
        let value = word_at(pages, n);
        if value != *known {
            *known = value;
            let number = STORES.fetch_add(1, Ordering::Relaxed);
            if let Some(store) = watched.journal.get_mut(number) {
                *store = Store {
                    offset: (n * 8) as u32,
                    value,
                    step,
                };
            }
        }
    }
    if ENDS.load(Ordering::Relaxed) {
        registers[REG_EFL as usize] &= !TRAP_FLAG;
    }
}

/// Where the kernel keeps the registers that instructions number 0 to 15.
const NUMBERED: [c_int; 16] = [
    REG_RAX,
    libc::REG_RCX,
    REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn on_fault(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes this thread's context.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    // SAFETY: the kernel passes what happened, and of a fault its address.
    let address = unsafe { (*info).si_addr() } as u64;
    if !emulate(registers, address) {
        // SAFETY: write and abort may be called in a handler.
        unsafe {
            let text = b"the driver touched memory that it may not\n";
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::abort();
        }
    }
}

/// Does what the instruction would have done in Windows; false if the harness does not know it.
fn emulate(registers: &mut [i64; 23], address: u64) -> bool {
    let rip = registers[REG_RIP as usize];
    // SAFETY: the processor has just read the instruction; the image has bytes behind each.
    let code: [u8; 16] = unsafe { (rip as *const [u8; 16]).read() };
    let port = (registers[REG_RDX as usize] & 0xffff) as u32;
    match code {
        [0xec, ..] => {
            let al = i64::from(hardware::port_answer());
            registers[REG_RAX as usize] = (registers[REG_RAX as usize] & !0xff) | al;
            registers[REG_RIP as usize] = rip + 1;
            return true;
        }
        [0xee, ..] => {
            let byte = (registers[REG_RAX as usize] & 0xff) as u32;
            hardware::write_port(port, byte);
            registers[REG_RIP as usize] = rip + 1;
            return true;
        }
        _ => {}
    }
    let offset = address.wrapping_sub(USER_SHARED_DATA);
    if offset >= 0x400 {
        return false;
    }
    let value = pool::number(pool::base() + pool::SHARED + offset as usize, 4) as i64;
    let (rex, rest) = match code {
        [rex @ 0x40..=0x4f, ..] => (rex, 1),
        _ => (0, 0),
    };
    let (opcode, modrm) = (code[rest], code[rest + 1]);
    let (register, length) = match (opcode, modrm >> 6, modrm & 7) {
        // mov eax, [imm64]
        (0xa1, _, _) => (0, 9),
        // mov or cmp r32, [r64], with a displacement of 0, 1 or 4 bytes
        (0x8b | 0x3b | 0x39, mode @ 0..=2, base) if !(mode == 0 && base == 5) => {
            let displacement = [0, 1, 4][usize::from(mode)];
            let number = usize::from(modrm >> 3 & 7) | usize::from(rex & 4) << 1;
            (number, 2 + usize::from(base == 4) + displacement)
        }
        _ => return false,
    };
    let place = NUMBERED[register] as usize;
    if opcode == 0x3b || opcode == 0x39 {
        let (register, memory) = (registers[place] as u32, value as u32);
        let set = if opcode == 0x3b {
            compared(register, memory)
        } else {
            compared(memory, register)
        };
        let flags = &mut registers[REG_EFL as usize];
        *flags = (*flags & !COMPARED) | set;
    } else {
        registers[place] = value;
    }
    registers[REG_RIP as usize] = rip + (rest + length) as i64;
    true
}

/// Carry, zero, sign and overflow: what a comparison sets and a jump may look at.
const COMPARED: i64 = 1 | 1 << 6 | 1 << 7 | 1 << 11;

fn compared(left: u32, right: u32) -> i64 {
    let (difference, carry) = left.overflowing_sub(right);
    let (_, overflow) = left.cast_signed().overflowing_sub(right.cast_signed());
    let flag = |set: bool, bit: u32| i64::from(set) << bit;
    flag(carry, 0) | flag(difference == 0, 6) | flag(difference >> 31 == 1, 7) | flag(overflow, 11)
}
