//! What the driver reads without a call: the clock of `KUSER_SHARED_DATA`, and a port.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use crate::pool;

/// What ports answer, and what was written to them: port and byte.
static PORT_ANSWER: AtomicU8 = AtomicU8::new(0xff);
static PORT_WRITES: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];
static PORT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Sets the two times of `KUSER_SHARED_DATA`.
pub fn set_clock(system: u64, interrupt: u64) {
    for (at, time) in [(0x14, system), (0x08, interrupt)] {
        let at = pool::base() + pool::SHARED + at;
        pool::put(at, 8, time);
        pool::put(at + 8, 4, time >> 32);
    }
}

/// What ports answer from now on; forgets what was written.
pub fn set_port(answer: u8) {
    PORT_ANSWER.store(answer, Ordering::SeqCst);
    PORT_COUNT.store(0, Ordering::SeqCst);
}

/// What was written to ports: port and byte.
#[must_use]
pub fn port_writes() -> Vec<(u16, u8)> {
    let count = PORT_COUNT.load(Ordering::SeqCst);
    let writes = PORT_WRITES.iter().take(count);
    writes
        .map(|write| {
            let [byte, _, low, high] = write.load(Ordering::SeqCst).to_le_bytes();
            (u16::from_le_bytes([low, high]), byte)
        })
        .collect()
}

/// What a port answers.
pub(crate) fn port_answer() -> u8 {
    PORT_ANSWER.load(Ordering::Relaxed)
}

/// A byte goes to a port. Touches atomics alone: called in a signal's handler, too.
pub(crate) fn write_port(port: u32, byte: u32) {
    let number = PORT_COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(write) = PORT_WRITES.get(number) {
        write.store((port & 0xffff) << 16 | (byte & 0xff), Ordering::Relaxed);
    }
}
