//! x64 code on this machine's processor.

use std::arch::global_asm;

use super::Args;
use crate::machine::Machine;
use crate::windows::calls;

// Windows' convention leaves room for four registers above the return address; the other arguments are behind it.
global_asm!(
    "guest_harness_enter:",
    "mov [rsp + 8], rcx",
    "mov [rsp + 16], rdx",
    "mov [rsp + 24], r8",
    "mov [rsp + 32], r9",
    "lea rdx, [rsp + 8]",
    "mov ecx, eax",
    "sub rsp, 0x28",
    "call {called}",
    "add rsp, 0x28",
    "ret",
    called = sym called,
);

unsafe extern "C" {
    fn guest_harness_enter();
}

/// `mov eax, number; mov r10, enter; jmp r10`.
pub(super) fn stub(number: usize) -> Vec<u8> {
    let enter = guest_harness_enter as *const () as u64;
    let mut code = vec![0xb8];
    code.extend((number as u32).to_le_bytes());
    code.extend([0x49, 0xba]);
    code.extend(enter.to_le_bytes());
    code.extend([0x41, 0xff, 0xe2]);
    code
}

extern "win64" fn called(number: u32, words: *const [u64; 9]) -> u64 {
    // SAFETY: the driver's stack has at least the four registers' room and its own frame above them.
    let words = unsafe { words.read() };
    let machine = Machine::X64;
    calls::dispatch(number as usize, &Args { machine, words })
}

pub(super) fn call(routine: usize, arguments: &[u64]) -> u64 {
    type Routine = extern "win64" fn(u64, u64, u64, u64) -> u64;
    let argument = |n: usize| arguments.get(n).copied().unwrap_or(0);
    // SAFETY: callers name routines of the driver, none of which has more than four arguments.
    let routine: Routine = unsafe { std::mem::transmute(routine) };
    routine(argument(0), argument(1), argument(2), argument(3))
}
