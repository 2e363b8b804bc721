//! What runs the driver's code: this machine's processor, or an emulated one.
//!
//! ```text
//! Engine::call(routine) --> driver's code --import's stub--> windows::calls::dispatch(number, Args)
//!   Processor   x64 on x64: the stub jumps to `native::enter`; stores are seen by single steps (step)
//!   Emulator    any:        the stub is a `ret` with a hook in front of it; stores are seen by a hook
//! ```

pub(crate) mod emulator;
mod library;
pub(crate) mod native;

use crate::image::Image;
use crate::machine::Machine;
use crate::pool;
use emulator::Emulator;

/// Who runs the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// This machine's processor; x64 only.
    Processor,
    /// Unicorn, where its library is.
    Emulator,
}

/// Whether images of this machine can be run so; `Err` says why not.
///
/// # Errors
/// Another machine's processor, or no emulator.
pub fn runs(machine: Machine, way: Way) -> Result<(), String> {
    match way {
        Way::Processor if machine == Machine::X64 => Ok(()),
        Way::Processor => Err("this machine's processor runs x64".to_owned()),
        Way::Emulator => library::get().map(|_| ()),
    }
}

/// A processor.
#[derive(Debug)]
pub(crate) enum Engine {
    Processor,
    Emulator(Emulator),
}

/// Bytes from one stub to the next.
pub(crate) const STUB_BYTES: usize = 32;

impl Engine {
    /// A processor with stack `number`.
    pub(crate) fn new(way: Way, image: &Image, machine: Machine, number: usize) -> Self {
        match way {
            Way::Processor => Self::Processor,
            Way::Emulator => Self::Emulator(Emulator::new(image, machine, number)),
        }
    }

    /// Runs a routine of the driver to its end; what it returned.
    pub(crate) fn call(&self, routine: usize, arguments: &[u64]) -> u64 {
        match self {
            Self::Processor => native::call(routine, arguments),
            Self::Emulator(emulator) => emulator.call(routine, arguments),
        }
    }
}

/// Writes the stubs: each leads to the function of its number. `words` are the 32-bit words of its arguments.
pub(crate) fn write_stubs(way: Way, machine: Machine, words: impl Iterator<Item = u16>) {
    for (number, words) in words.enumerate() {
        let code = match (way, machine) {
            (Way::Processor, _) => native::stub(number),
            (Way::Emulator, Machine::X64) => vec![0xc3],
            (Way::Emulator, Machine::Arm64) => vec![0xc0, 0x03, 0x5f, 0xd6],
            (Way::Emulator, Machine::X86) => {
                let [low, high] = (words * 4).to_le_bytes();
                vec![0xc2, low, high]
            }
        };
        pool::slice(stub(number), code.len()).copy_from_slice(&code);
    }
    pool::protect(pool::STUBS, 0x1000, libc::PROT_READ | libc::PROT_EXEC);
}

/// The address of a stub.
pub(crate) fn stub(number: usize) -> usize {
    pool::base() + pool::STUBS + number * STUB_BYTES
}

/// Arguments of a call that the driver made, each as a pointer's width has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args {
    pub(crate) machine: Machine,
    pub(crate) words: [u64; 9],
}

impl Args {
    /// An argument as wide as a pointer; on x86, numbers of 64 bit are two.
    pub(crate) fn get(&self, number: usize) -> usize {
        self.words[number] as usize
    }

    /// An argument of 32 bit: what is above it in a register is anything.
    pub(crate) fn number(&self, number: usize) -> u32 {
        self.words[number] as u32
    }
}
