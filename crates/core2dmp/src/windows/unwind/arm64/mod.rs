//! ARM64: the caller's registers by `.pdata` and `.xdata`.
//!
//! ```text
//! PC --.pdata--> packed word --as--> codes, one for each instruction of the prolog, last one first
//!           `--> .xdata record ----> codes; epilogs have their own start in them
//! before the body: as many codes as instructions were carried out; in an epilog: those that are left
//! the caller's PC is LR; a signed one is stripped of its signature
//! ```
//!
//! Sources: "ARM64 exception handling", Microsoft's documentation; what the codes of hand-written frames hold: Wine.

mod codes;
mod packed;
mod xdata;

use super::ended::Ended;
use super::images::Image;
use super::registers::{Arm64, FP, LR};
use super::{How, Unwinder, proof};
use crate::address::Gva;
use crate::format::u32_at;
use codes::{Class, Code};
use xdata::Unwound;

/// Bytes of an entry of `.pdata`.
const ENTRY_BYTES: u32 = 8;
const ENTRY: &str = "an entry of .pdata";

/// An entry of `.pdata`.
#[derive(Debug, Clone, Copy)]
struct Function {
    begin: u32,
    /// A packed description, or the address of an `.xdata` record.
    data: u32,
    gva: Gva,
}

/// Where the function that holds an instruction starts, as far as it is known.
pub(super) fn function_start(unwinder: &Unwinder<'_, '_>, image: &Image, ip: Gva) -> Option<u32> {
    let rva = image.rva(ip)?;
    find(unwinder, image, rva)
        .ok()?
        .map(|(function, _)| function.begin)
}

/// The caller's registers. `exact`: PC is the next instruction, not a return address.
pub(super) fn caller(
    unwinder: &Unwinder<'_, '_>,
    registers: &Arm64,
    exact: bool,
) -> Result<(Arm64, How), Ended> {
    let ip = Gva::new(registers.pc);
    let Some(image) = unwinder.image(ip) else {
        return leaf(unwinder, registers, Ended::NoImage { ip }, exact);
    };
    // A return address may lie behind its function, if the call never returns.
    let rva = image.rva(ip).unwrap_or(0);
    let inside = if exact { rva } else { rva.saturating_sub(4) };
    let Some((function, unwound)) = find(unwinder, image, inside)? else {
        return leaf(unwinder, registers, Ended::NoFunction { ip }, exact);
    };
    let instruction = rva.wrapping_sub(function.begin) >> 2;
    let mut machine = Machine {
        unwinder,
        registers: *registers,
        how: How::UnwindData,
        skip_next: 0,
    };
    let part = unwound.at(instruction, exact);
    if part.in_epilog {
        machine.how = How::Epilog;
    }
    machine.run(part.codes)?;
    if machine.how == How::MachineFrame {
        return Ok((machine.registers, How::MachineFrame));
    }
    let mut caller = machine.registers;
    caller.pc = without_signature(caller.get(LR));
    Ok((caller, machine.how))
}

/// A function that has saved nothing returns to LR. Only the innermost frame can be of such a function.
fn leaf(
    unwinder: &Unwinder<'_, '_>,
    registers: &Arm64,
    otherwise: Ended,
    exact: bool,
) -> Result<(Arm64, How), Ended> {
    let mut caller = *registers;
    caller.pc = without_signature(caller.get(LR));
    let outside = matches!(otherwise, Ended::NoImage { .. });
    let proven = || proof::is_return_arm64(unwinder, caller.pc);
    if !exact || (outside && !proven()) {
        return Err(otherwise);
    }
    Ok((caller, How::Leaf))
}

/// Pointer authentication keeps its code in the bits above the address; bit 55 says which half it belongs to.
const fn without_signature(pointer: u64) -> u64 {
    const HIGH: u64 = 0xffff_0000_0000_0000;
    if pointer >> 55 & 1 == 1 {
        pointer | HIGH
    } else {
        pointer & !HIGH
    }
}

/// The function of an address, and what its prolog and epilogs do; `None` for a leaf. Entries have no end: the
/// descriptions have lengths.
fn find(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    rva: u32,
) -> Result<Option<(Function, Unwound)>, Ended> {
    let memory = &unwinder.memory;
    let (table, count) = image.table(memory, ENTRY_BYTES)?;
    let (mut low, mut high) = (0, count);
    let mut found = None;
    while low < high {
        let middle = low.midpoint(high);
        let offset = u64::from(middle).saturating_mul(u64::from(ENTRY_BYTES));
        let gva = table.saturating_add(offset);
        let mut bytes = [0; ENTRY_BYTES as usize];
        memory.bytes(gva, &mut bytes, ENTRY)?;
        let (Some(begin), Some(data)) = (u32_at(&bytes, 0), u32_at(&bytes, 4)) else {
            return Err(Ended::Corrupt { what: ENTRY, gva });
        };
        if rva < begin {
            high = middle;
        } else {
            found = Some(Function { begin, data, gva });
            low = middle.saturating_add(1);
        }
    }
    let Some(function) = found else {
        return Ok(None);
    };
    let unwound = describe(unwinder, image, function)?;
    let inside = rva.wrapping_sub(function.begin) >> 2 < unwound.length;
    Ok(inside.then_some((function, unwound)))
}

fn describe(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    function: Function,
) -> Result<Unwound, Ended> {
    let gva = function.gva;
    match function.data & 3 {
        0 => xdata::read(&unwinder.memory, image, function.data),
        1 | 2 => packed::expand(function.data).ok_or(Ended::Corrupt {
            what: "packed unwind data",
            gva,
        }),
        _ => Err(Ended::Unknown {
            what: "a kind of unwind data",
            gva,
        }),
    }
}

/// Undoes instructions.
struct Machine<'u, 'a, 'm> {
    unwinder: &'u Unwinder<'a, 'm>,
    registers: Arm64,
    how: How,
    /// Pairs that `save_next` codes in front say are saved behind the next pair.
    skip_next: u64,
}

impl Machine<'_, '_, '_> {
    fn run(&mut self, codes: &[Code]) -> Result<(), Ended> {
        for code in codes {
            self.undo(*code)?;
            if self.how == How::MachineFrame {
                break;
            }
        }
        Ok(())
    }

    fn undo(&mut self, code: Code) -> Result<(), Ended> {
        match code {
            Code::Nothing => {}
            Code::Alloc(bytes) => self.grow(u64::from(bytes)),
            Code::SetFrame => self.registers.sp = self.registers.get(FP),
            Code::AddFrame(bytes) => {
                let fp = self.registers.get(FP);
                self.registers.sp = fp.wrapping_sub(u64::from(bytes));
            }
            Code::Save {
                class,
                first,
                second,
                offset,
                pre,
            } => self.load(class, first, second, offset, pre)?,
            Code::SaveNext => self.skip_next = self.skip_next.saturating_add(1),
            Code::Sign => {
                let lr = without_signature(self.registers.get(LR));
                self.registers.set(LR, lr);
            }
            Code::MachineFrame => {
                let sp = self.registers.sp;
                self.registers.pc = self.unwinder.memory.stack(sp.wrapping_add(8))?;
                self.registers.sp = self.unwinder.memory.stack(sp)?;
                self.how = How::MachineFrame;
            }
            Code::Context => self.context()?,
            Code::Custom(what) => {
                let gva = Gva::new(self.registers.pc);
                return Err(Ended::Unknown { what, gva });
            }
        }
        Ok(())
    }

    fn grow(&mut self, bytes: u64) {
        self.registers.sp = self.registers.sp.wrapping_add(bytes);
    }

    /// Loads a register or a pair, and the pairs behind it that `save_next` stands for.
    fn load(
        &mut self,
        class: Class,
        first: u8,
        second: Option<u8>,
        offset: u32,
        pre: bool,
    ) -> Result<(), Ended> {
        let width = class.bytes();
        let next = std::mem::take(&mut self.skip_next);
        let base = if pre { 0 } else { u64::from(offset) };
        let mut at = self.registers.sp.wrapping_add(base);
        for pair in 0..=next {
            let step = u8::try_from(pair.saturating_mul(2)).unwrap_or(u8::MAX);
            for register in [Some(first), second].into_iter().flatten() {
                if class == Class::X {
                    let value = self.unwinder.memory.stack(at)?;
                    let number = usize::from(register.saturating_add(step));
                    self.registers.set(number, value);
                }
                at = at.wrapping_add(width);
            }
        }
        if pre {
            self.grow(u64::from(offset));
        }
        Ok(())
    }

    /// A whole `CONTEXT` on the stack.
    fn context(&mut self) -> Result<(), Ended> {
        use crate::format::context::ContextArm64;
        use zerocopy::{FromBytes, IntoBytes};
        let mut bytes = ContextArm64::zeroed();
        let at = Gva::new(self.registers.sp);
        self.unwinder
            .memory
            .bytes(at, bytes.as_mut_bytes(), "a CONTEXT on the stack")?;
        if let Ok(context) = ContextArm64::ref_from_bytes(bytes.as_bytes()) {
            self.registers = Arm64 {
                x: context.x.map(Into::into),
                sp: context.sp.get(),
                pc: context.pc.get(),
            };
        }
        self.how = How::MachineFrame;
        Ok(())
    }
}
