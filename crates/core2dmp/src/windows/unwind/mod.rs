//! Stacks without symbols: who called whom, by the unwind data of the images in the guest's memory.
//!
//! ```text
//! registers --caller--> registers --caller--> ..      until the bottom, or what is missing
//!     |
//!     +-- x64     .pdata -> UNWIND_INFO (1 and 2), epilogs by their code       x64/
//!     +-- ARM64   .pdata (packed) -> .xdata                                    arm64/
//!     +-- x86     chain of EBP, else words that are return addresses           x86.rs
//! ```
//!
//! Every [`Frame`] says [`How`] it was got, and a [`Stack`] why it [`Ended`]. Nothing is guessed silently: an absent
//! page ends the walk, and is named.
//!
//! Guest memory is hostile: a walk has at most `MAX_FRAMES` frames, the stack pointer has to grow except where a
//! machine frame switches stacks, and tables and chains are bounded where they are read.
//!
//! Sources: "x64 exception handling" and "ARM64 exception handling" of Microsoft's documentation, winnt.h of the SDK;
//! what they leave open (epilogs that end in `jmp`, indirect entries) as coreclr's unwinder, Wine and LLVM have it,
//! checked instruction by instruction against Microsoft's own compiled code (`cargo xtask unwind`).

mod arm64;
mod ended;
mod images;
mod memory;
mod proof;
mod registers;
mod user;
mod x64;
mod x86;

use std::fmt;

use super::Windows;
use super::modules::Module;
use crate::address::Gva;
use crate::paging::{AddressSpace, PagingMode};

pub use ended::Ended;
use images::{Image, Images};
pub use images::{NearestExport, Place};
use memory::Memory;
pub use registers::{Arm64, Registers, X64, X86};

/// Frames of a stack.
const MAX_FRAMES: usize = 256;

/// How a frame was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum How {
    /// It is where the walk started.
    Context,
    /// By the unwind data of its callee.
    UnwindData,
    /// By the unwind data of its callee, whose code is absent: an epilog would not have been seen.
    UnwindDataAlone,
    /// By the rest of its callee's epilog, read from the code.
    Epilog,
    /// Its callee has no unwind data: it changed nothing but the stack pointer that `call` changes.
    Leaf,
    /// The processor pushed it when it interrupted the frame.
    MachineFrame,
    /// By the chain of frame pointers.
    FramePointer,
    /// It is the first word of the stack that follows a call; frames before it may be missing.
    ProvenReturn,
}

impl How {
    /// Whether the instruction pointer is the next instruction, not the one behind a call.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Context | Self::MachineFrame)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Context => "context",
            Self::UnwindData => "unwind data",
            Self::UnwindDataAlone => "unwind data, code absent",
            Self::Epilog => "epilog",
            Self::Leaf => "leaf",
            Self::MachineFrame => "machine frame",
            Self::FramePointer => "frame pointer",
            Self::ProvenReturn => "return address on the stack",
        })
    }
}

/// One function that had not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// How it was got.
    pub how: How,
    /// The instruction pointer: of the first frame and behind a machine frame the next instruction, else where the
    /// callee returns to.
    pub ip: Gva,
    /// The stack pointer there.
    pub sp: Gva,
    /// The image that holds the instruction; `None` if none does.
    pub place: Option<Place>,
}

/// The frames of one thread of execution, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Why there are no more.
    pub ended: Ended,
}

/// Walks the stack that `start` is on. `space` decides whose user memory is seen; frames in user images need
/// [`Unwinder::with_user_modules`].
#[must_use]
pub fn walk(windows: &Windows, space: &AddressSpace<'_>, start: &Registers) -> Stack {
    Unwinder::of(windows, space).walk(start)
}

/// What walks of one address space share: its images, and pages that were read.
#[derive(Debug)]
pub struct Unwinder<'a, 'm> {
    memory: Memory<'a, 'm>,
    images: Images,
}

impl<'a, 'm> Unwinder<'a, 'm> {
    /// Over these images.
    #[must_use]
    pub fn new(space: &'a AddressSpace<'m>, modules: impl IntoIterator<Item = Module>) -> Self {
        Self {
            memory: Memory::new(space),
            images: Images::new(modules),
        }
    }

    /// Over the kernel's modules.
    #[must_use]
    pub fn of(windows: &Windows, space: &'a AddressSpace<'m>) -> Self {
        Self::new(space, windows.modules.iter().cloned())
    }

    /// The same, and the images that the loader of a process lists; `space` is that process's. The reason is given
    /// where they are not all known.
    #[must_use]
    pub fn with_user_modules(self, windows: &Windows, eprocess: Gva) -> (Self, Option<String>) {
        let (modules, why) = user::modules(self.memory.space(), windows, eprocess);
        let images = self.images.with(modules);
        (Self { images, ..self }, why)
    }

    /// Whether an address lies in an image's code, behind a call.
    #[must_use]
    pub fn is_return(&self, gva: Gva) -> bool {
        match self.memory.space().mode() {
            PagingMode::Arm64 => proof::is_return_arm64(self, gva.get()),
            _ => proof::is_return(self, gva.get()),
        }
    }

    /// All frames from `start` on.
    #[must_use]
    pub fn walk(&self, start: &Registers) -> Stack {
        let mut frames = Vec::new();
        let mut registers = start.clone();
        let mut how = How::Context;
        loop {
            frames.push(self.frame(&registers, how));
            if frames.len() >= MAX_FRAMES {
                let ended = Ended::TooMany(MAX_FRAMES);
                return Stack { frames, ended };
            }
            match self.caller(&registers, how) {
                Ok((caller, next)) => (registers, how) = (caller, next),
                Err(ended) => return Stack { frames, ended },
            }
        }
    }

    /// The registers of the caller, as far as they are known, and how they were got. `how` is that of `registers`.
    ///
    /// # Errors
    /// Why there is no caller, or it cannot be known.
    pub fn caller(&self, registers: &Registers, how: How) -> Result<(Registers, How), Ended> {
        let (caller, next) = match registers {
            Registers::X64(from) => {
                let (to, next) = x64::caller(self, from, how.is_exact())?;
                (Registers::X64(to), next)
            }
            Registers::Arm64(from) => {
                let (to, next) = arm64::caller(self, from, how.is_exact())?;
                (Registers::Arm64(to), next)
            }
            Registers::X86(from) => {
                let (to, next) = x86::caller(self, from, how.is_exact())?;
                (Registers::X86(to), next)
            }
        };
        if caller.ip().get() == 0 {
            return Err(Ended::Bottom);
        }
        if next != How::MachineFrame && !self.is_same_half(registers, caller.ip()) {
            return Err(Ended::OtherHalf { ip: caller.ip() });
        }
        let (before, after) = (registers.sp(), caller.sp());
        // ARM64 leaves return through a register: once, from where execution was, the stack stays as it is.
        let may_stay = how.is_exact() && caller.ip() != registers.ip();
        let grows = after > before || (after == before && may_stay);
        if !grows && next != How::MachineFrame {
            return Err(Ended::NotGrowing { before, after });
        }
        Ok((caller, next))
    }

    /// Whether an address is in the half of memory that runs: that of the code, or of the stack where the instruction
    /// pointer is wild.
    fn is_same_half(&self, registers: &Registers, address: Gva) -> bool {
        let mode = self.memory.space().mode();
        let ip = registers.ip();
        let runs = if self.image(ip).is_some() {
            ip
        } else {
            registers.sp()
        };
        mode.is_kernel(address) == mode.is_kernel(runs)
    }

    fn frame(&self, registers: &Registers, how: How) -> Frame {
        let ip = registers.ip();
        let place = self.images.of(ip).map(|image| {
            let function = match registers {
                Registers::X64(_) => x64::function_start(self, image, ip, how.is_exact()),
                Registers::Arm64(_) => arm64::function_start(self, image, ip),
                Registers::X86(_) => None,
            };
            image.place(&self.memory, ip, function)
        });
        let sp = registers.sp();
        Frame { how, ip, sp, place }
    }

    fn image(&self, ip: Gva) -> Option<&Image> {
        self.images.of(ip)
    }
}

#[cfg(test)]
mod tests;
