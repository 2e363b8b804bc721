//! x64: the caller's registers by `.pdata` and `UNWIND_INFO`.
//!
//! ```text
//! RIP --.pdata--> function --UNWIND_INFO--> prolog's effects, undone as far as RIP has got
//!                     |            `-chained-> those of the primary function, all of them
//!                     `- none: a leaf         `-machine frame-> interrupted code, maybe on another stack
//! in an epilog (version 1: seen in the code; 2: listed): the rest of it is carried out instead
//! ```
//!
//! Sources: "x64 exception handling", Microsoft's documentation; winnt.h.

mod epilog;
mod info;
mod table;

use super::ended::Ended;
use super::images::Image;
use super::registers::X64;
use super::{How, Unwinder, proof};
use crate::address::Gva;
use info::{Info, Op};
use table::Function;

/// Unwind information that is chained to another's, or entries that point to others.
const MAX_CHAIN: usize = 32;

/// Where the function that holds an instruction starts, as far as it is known.
pub(super) fn function_start(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    ip: Gva,
    exact: bool,
) -> Option<u32> {
    let rva = image.rva(ip)?;
    let function = find(unwinder, image, rva, exact).ok()??;
    primary(unwinder, image, function).ok().map(|it| it.begin)
}

/// The caller's registers. `exact`: RIP is the next instruction, not a return address.
pub(super) fn caller(
    unwinder: &Unwinder<'_, '_>,
    registers: &X64,
    exact: bool,
) -> Result<(X64, How), Ended> {
    let ip = Gva::new(registers.rip);
    let Some(image) = unwinder.image(ip) else {
        // A call through a wild pointer lands here; what called is on top of the stack.
        return leaf(unwinder, registers, Ended::NoImage { ip }, exact, true);
    };
    let rva = image.rva(ip).unwrap_or(0);
    match find(unwinder, image, rva, exact)? {
        Some(function) => by_function(unwinder, image, function, registers, exact),
        None => leaf(unwinder, registers, Ended::NoFunction { ip }, exact, !exact),
    }
}

/// Returns from a function that has changed nothing. A return address never points into one, and code outside of all
/// images is none; there the top of the stack has to be a return address.
fn leaf(
    unwinder: &Unwinder<'_, '_>,
    registers: &X64,
    otherwise: Ended,
    exact: bool,
    to_prove: bool,
) -> Result<(X64, How), Ended> {
    let mut caller = *registers;
    let outside = matches!(otherwise, Ended::NoImage { .. });
    if outside && !exact {
        return Err(otherwise);
    }
    pop_return(unwinder, &mut caller)?;
    if to_prove && !proof::is_return(unwinder, caller.rip) {
        return Err(otherwise);
    }
    Ok((caller, How::Leaf))
}

fn pop_return(unwinder: &Unwinder<'_, '_>, registers: &mut X64) -> Result<(), Ended> {
    registers.rip = unwinder.memory.stack(registers.rsp())?;
    registers.set_rsp(registers.rsp().wrapping_add(8));
    Ok(())
}

/// The function of an address. A call that never returns may be its function's last instruction: the return address
/// is then the next function's first.
fn find(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    rva: u32,
    exact: bool,
) -> Result<Option<Function>, Ended> {
    let memory = &unwinder.memory;
    let function = table::find(memory, image, rva)?;
    let at_start = function.is_none_or(|function| function.begin == rva);
    if exact || !at_start {
        return Ok(function);
    }
    let gva = image.at(rva).unwrap_or_default();
    let before = rva
        .checked_sub(1)
        .filter(|_| proof::is_return(unwinder, gva.get()));
    match before {
        Some(before) => Ok(table::find(memory, image, before)?.or(function)),
        None => Ok(function),
    }
}

/// The function that a part of one belongs to: the end of its chain.
fn primary(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    function: Function,
) -> Result<Function, Ended> {
    let mut function = function;
    for _ in 0..MAX_CHAIN {
        match Info::read(&unwinder.memory, image, function.info)?.chained {
            Some(next) => function = next,
            None => return Ok(function),
        }
    }
    Err(endless(image, function))
}

fn endless(image: &Image, function: Function) -> Ended {
    let what = "a chain of unwind information";
    let gva = image.at(function.info).unwrap_or_default();
    Ended::Corrupt { what, gva }
}

fn by_function(
    unwinder: &Unwinder<'_, '_>,
    image: &Image,
    function: Function,
    registers: &X64,
    exact: bool,
) -> Result<(X64, How), Ended> {
    let info = Info::read(&unwinder.memory, image, function.info)?;
    let rva = image.rva(Gva::new(registers.rip)).unwrap_or(0);
    let offset = rva.wrapping_sub(function.begin);
    let in_prolog = offset < u32::from(info.prolog);
    let mut how = How::UnwindData;
    if exact && !in_prolog {
        let site = epilog::Site {
            unwinder,
            image,
            function,
            info: &info,
        };
        match site.rest(registers)? {
            epilog::Rest::Done(caller) => return Ok((caller, How::Epilog)),
            epilog::Rest::NoCode => how = How::UnwindDataAlone,
            epilog::Rest::Body => {}
        }
    }
    let mut caller = *registers;
    let done = |code: &info::Code| !in_prolog || u32::from(code.offset) <= offset;
    let mut undo = Undo::new(unwinder, &info, &caller, |code| done(code));
    if undo.all(&info, &mut caller, done)? {
        return Ok((caller, How::MachineFrame));
    }
    let mut chained = info.chained;
    for _ in 0..MAX_CHAIN {
        let Some(next) = chained else {
            pop_return(unwinder, &mut caller)?;
            return Ok((caller, how));
        };
        let info = Info::read(&unwinder.memory, image, next.info)?;
        if undo.all(&info, &mut caller, |_| true)? {
            return Ok((caller, How::MachineFrame));
        }
        chained = info.chained;
    }
    Err(endless(image, function))
}

/// Undoes a prolog.
struct Undo<'u, 'a, 'm> {
    unwinder: &'u Unwinder<'a, 'm>,
    /// What the offsets of saved registers count from.
    base: u64,
}

impl<'u, 'a, 'm> Undo<'u, 'a, 'm> {
    fn new(
        unwinder: &'u Unwinder<'a, 'm>,
        info: &Info,
        registers: &X64,
        done: impl Fn(&info::Code) -> bool,
    ) -> Self {
        let mut set = info.codes.iter().filter(|code| code.op == Op::SetFrame);
        let is_set = info.chained.is_some() || set.any(done);
        let base = match info.frame {
            Some(frame) if is_set => frame.base(registers),
            _ => registers.rsp(),
        };
        Self { unwinder, base }
    }

    /// Whether there was a machine frame, which ends the unwinding of this function.
    fn all(
        &mut self,
        info: &Info,
        registers: &mut X64,
        done: impl Fn(&info::Code) -> bool,
    ) -> Result<bool, Ended> {
        for code in info.codes.iter().filter(|code| done(code)) {
            match code.op {
                Op::Push(register) => {
                    let value = self.unwinder.memory.stack(registers.rsp())?;
                    registers.set_rsp(registers.rsp().wrapping_add(8));
                    registers.set(register, value);
                }
                Op::Alloc(bytes) => {
                    registers.set_rsp(registers.rsp().wrapping_add(u64::from(bytes)));
                }
                Op::SetFrame => {
                    if let Some(frame) = info.frame {
                        registers.set_rsp(frame.base(registers));
                    }
                }
                Op::Save(register, offset) => {
                    let at = self.base.wrapping_add(u64::from(offset));
                    registers.set(register, self.unwinder.memory.stack(at)?);
                }
                Op::SaveXmm | Op::Epilog(..) => {}
                Op::MachineFrame { error_code } => {
                    self.machine_frame(registers, error_code)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// RIP, CS, RFLAGS, RSP, SS, with an error code below them or not.
    fn machine_frame(&self, registers: &mut X64, error_code: bool) -> Result<(), Ended> {
        let skip = if error_code { 8 } else { 0 };
        let at = registers.rsp().wrapping_add(skip);
        registers.rip = self.unwinder.memory.stack(at)?;
        registers.set_rsp(self.unwinder.memory.stack(at.wrapping_add(24))?);
        Ok(())
    }
}
