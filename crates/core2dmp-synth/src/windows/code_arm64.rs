//! Kernel code of ARM64: where processors stand, and the exported function that loads the keys of an encoded KDBG.
//!
//! ```text
//! KeSetTimerEx   stp; mov; bl KiSetTimerEx -> adrp x8,KiWaitNever; ldr x9,[x8,#..]; adrp x8,..; ldr x10,[x8,#..]; ..
//! ```
//!
//! No public source shows this function of an ARM64 kernel. That it loads both keys is so on x64 (`code.rs`), and the way
//! that a variable is loaded is every ARM64 compiler's. `KdCopyDataBlock` is not written: nobody has published it.
//!
//! Reference: Arm ARM, C6.2 (ADRP, LDR, BL).

use crate::windows::code::{
    FREEZE, HALT_LOOP, IDLE, IDLE_STRIDE, KE_BUG_CHECK_EX, KE_SET_TIMER, KE_SET_TIMER_EX,
    KI_SET_TIMER_EX, Targets,
};
use crate::windows::world::World;

const RET: u32 = 0xd65f_03c0;
/// `stp x29, x30, [sp, #-16]!` and its undoing.
const ENTER: u32 = 0xa9bf_7bfd;
const LEAVE: u32 = 0xa8c1_7bfd;
/// `mov x29, sp`.
const FRAME: u32 = 0x9100_03fd;

/// Writes the code; `targets` is for kernels that encode the block.
pub(crate) fn write(world: &mut World<'_>, targets: Option<Targets>) {
    let base = world.layout().regions.kernel;
    put(world, base + KE_BUG_CHECK_EX, &[ENTER, FRAME, LEAVE, RET]);
    // dsb sy; wfi; b .-4 / yield; b .-4 / wfi; ret
    put(
        world,
        base + HALT_LOOP,
        &[0xd503_3f9f, 0xd503_207f, 0x17ff_ffff],
    );
    put(world, base + FREEZE, &[0xd503_203f, 0x17ff_ffff]);
    for i in 0..64 {
        put(world, base + IDLE + i * IDLE_STRIDE, &[0xd503_207f, RET]);
    }
    let Some(targets) = targets else { return };
    let inner = base + KI_SET_TIMER_EX;
    let [never, never_load] = load(inner + 8, targets.wait_never, 9);
    let [always, always_load] = load(inner + 16, targets.wait_always, 10);
    let body = [
        ENTER,
        FRAME,
        never,
        never_load,
        always,
        always_load,
        0xca09_0149, // eor x9, x10, x9
        0xdac0_0d29, // rev x9, x9
        LEAVE,
        RET,
    ];
    put(world, inner, &body);
    for function in [KE_SET_TIMER_EX, KE_SET_TIMER] {
        let at = base + function;
        // mov w4, #0
        let call = call(at + 12, inner);
        put(world, at, &[ENTER, FRAME, 0x5280_0004, call, LEAVE, RET]);
    }
}

fn put(world: &mut World<'_>, va: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    world.write(va, &bytes);
}

/// `adrp x8, page of target; ldr xN, [x8, #offset in the page]`, the first of them at `at`.
fn load(at: u64, target: u64, register: u32) -> [u32; 2] {
    assert!(target.is_multiple_of(8), "the offset counts in words");
    let pages = ((target >> 12).wrapping_sub(at >> 12)) as u32;
    let adrp = 0x9000_0008 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5;
    let offset = (target & 0xfff) as u32 / 8;
    [adrp, 0xf940_0000 | offset << 10 | 8 << 5 | register]
}

/// `bl target`.
fn call(at: u64, target: u64) -> u32 {
    let words = (target.wrapping_sub(at) as i64 >> 2) as u32;
    0x9400_0000 | words & 0x3ff_ffff
}
