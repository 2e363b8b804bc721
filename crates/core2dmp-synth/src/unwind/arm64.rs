//! ARM64: functions as instructions that a machine of our own carries out, and their unwind data.
//!
//! A stack walk on ARM64 does not read code: an instruction is what it does, and four bytes of nothing.

use std::collections::BTreeMap;

/// FP's number.
pub const FP: u8 = 29;
/// LR's number.
pub const LR: u8 = 30;

/// Kinds of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// General ones.
    X,
    /// Floating point.
    D,
}

/// An instruction of a prolog. An epilog carries out the opposite of each, backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insn {
    /// Nothing.
    Nop,
    /// `sub sp, sp, #n`.
    Sub(u32),
    /// `stp`: first register, how many (1 or 2), offset from SP.
    Store(Kind, u8, u8, u32),
    /// The same with `[sp, #-n]!`.
    StoreFirst(Kind, u8, u8, u32),
    /// `stp x(n), lr`.
    StoreWithLr(u8, u32),
    /// The same with `[sp, #-n]!`, which packed words can say and codes cannot.
    StoreWithLrFirst(u8, u32),
    /// `mov fp, sp` or `add fp, sp, #n`.
    SetFrame(u32),
    /// `pacibsp`.
    Sign,
}

/// Registers and a stack.
#[derive(Clone, Debug)]
pub struct Machine {
    /// X0 to X30.
    pub x: [u64; 31],
    /// D0 to D31.
    pub d: [u64; 32],
    /// The stack pointer.
    pub sp: u64,
    /// Words that were written.
    pub stack: BTreeMap<u64, u64>,
}

/// What signing adds to a pointer: bits above 48, bit 55 stays.
const SIGNATURE: u64 = 0x0053_0000_0000_0000;

impl Machine {
    fn registers(&mut self, kind: Kind) -> &mut [u64] {
        match kind {
            Kind::X => &mut self.x,
            Kind::D => &mut self.d,
        }
    }

    /// Carries out an instruction of a prolog.
    pub fn execute(&mut self, instruction: Insn) {
        match instruction {
            Insn::Nop => {}
            Insn::Sub(bytes) => self.sp -= u64::from(bytes),
            Insn::Store(kind, first, count, offset) => {
                for number in 0..count {
                    let value = self.registers(kind)[usize::from(first + number)];
                    let at = self.sp + u64::from(offset) + 8 * u64::from(number);
                    self.stack.insert(at, value);
                }
            }
            Insn::StoreFirst(kind, first, count, bytes) => {
                self.sp -= u64::from(bytes);
                self.execute(Insn::Store(kind, first, count, 0));
            }
            Insn::StoreWithLr(register, offset) => {
                self.execute(Insn::Store(Kind::X, register, 1, offset));
                self.execute(Insn::Store(Kind::X, LR, 1, offset + 8));
            }
            Insn::StoreWithLrFirst(register, bytes) => {
                self.sp -= u64::from(bytes);
                self.execute(Insn::StoreWithLr(register, 0));
            }
            Insn::SetFrame(offset) => self.x[usize::from(FP)] = self.sp + u64::from(offset),
            Insn::Sign => self.x[usize::from(LR)] ^= SIGNATURE,
        }
    }

    /// Carries out the opposite of one, in an epilog.
    pub fn reverse(&mut self, instruction: Insn) {
        match instruction {
            Insn::Nop => {}
            Insn::Sub(bytes) => self.sp += u64::from(bytes),
            Insn::Store(kind, first, count, offset) => {
                for number in 0..count {
                    let at = self.sp + u64::from(offset) + 8 * u64::from(number);
                    let value = self.stack[&at];
                    self.registers(kind)[usize::from(first + number)] = value;
                }
            }
            Insn::StoreFirst(kind, first, count, bytes) => {
                self.reverse(Insn::Store(kind, first, count, 0));
                self.sp += u64::from(bytes);
            }
            Insn::StoreWithLr(register, offset) => {
                self.reverse(Insn::Store(Kind::X, register, 1, offset));
                self.reverse(Insn::Store(Kind::X, LR, 1, offset + 8));
            }
            Insn::StoreWithLrFirst(register, bytes) => {
                self.reverse(Insn::StoreWithLr(register, 0));
                self.sp += u64::from(bytes);
            }
            Insn::SetFrame(offset) => self.sp = self.x[usize::from(FP)] - u64::from(offset),
            Insn::Sign => self.x[usize::from(LR)] ^= SIGNATURE,
        }
    }
}

impl Insn {
    /// Its unwind code.
    #[must_use]
    pub fn code(self) -> Vec<u8> {
        let two = |word: u32| vec![(word >> 8) as u8, word as u8];
        match self {
            Self::Nop => vec![0xe3],
            Self::Sub(bytes) if bytes < 0x200 => vec![(bytes / 16) as u8],
            Self::Sub(bytes) if bytes < 0x8000 => two(0xc000 | (bytes / 16)),
            Self::Sub(bytes) => {
                let [_, a, b, c] = (bytes / 16).to_be_bytes();
                vec![0xe0, a, b, c]
            }
            Self::Store(Kind::X, FP, 2, at) => vec![0x40 | (at / 8) as u8],
            Self::StoreFirst(Kind::X, FP, 2, bytes) => vec![0x80 | (bytes / 8 - 1) as u8],
            Self::StoreFirst(Kind::X, 19, 2, bytes) if bytes <= 248 => {
                vec![0x20 | (bytes / 8) as u8]
            }
            Self::Store(Kind::X, first, 2, at) => {
                two(0xc800 | u32::from(first - 19) << 6 | (at / 8))
            }
            Self::StoreFirst(Kind::X, first, 2, bytes) => {
                two(0xcc00 | u32::from(first - 19) << 6 | (bytes / 8 - 1))
            }
            Self::Store(Kind::X, first, _, at) => {
                two(0xd000 | u32::from(first - 19) << 6 | (at / 8))
            }
            Self::StoreFirst(Kind::X, first, _, bytes) => {
                two(0xd400 | u32::from(first - 19) << 5 | (bytes / 8 - 1))
            }
            Self::StoreWithLrFirst(..) => panic!("no code says so"),
            Self::StoreWithLr(first, at) => {
                two(0xd600 | (u32::from(first - 19) / 2) << 6 | (at / 8))
            }
            Self::Store(Kind::D, first, 2, at) => {
                two(0xd800 | u32::from(first - 8) << 6 | (at / 8))
            }
            Self::StoreFirst(Kind::D, first, 2, bytes) => {
                two(0xda00 | u32::from(first - 8) << 6 | (bytes / 8 - 1))
            }
            Self::Store(Kind::D, first, _, at) => {
                two(0xdc00 | u32::from(first - 8) << 6 | (at / 8))
            }
            Self::StoreFirst(Kind::D, first, _, bytes) => {
                two(0xde00 | u32::from(first - 8) << 5 | (bytes / 8 - 1))
            }
            Self::SetFrame(0) => vec![0xe1],
            Self::SetFrame(offset) => vec![0xe2, (offset / 8) as u8],
            Self::Sign => vec![0xfc],
        }
    }
}

/// An epilog: where it starts in the function, in instructions, and which instructions of the prolog it reverses.
#[derive(Clone, Debug)]
pub struct Epilog {
    /// From the function's start.
    pub start: u32,
    /// In the prolog's order.
    pub reversed: Vec<Insn>,
}

/// An `.xdata` record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Instructions of the function.
    pub length: u32,
    /// Instructions of the prolog, in order.
    pub prolog: Vec<Insn>,
    /// Epilogs.
    pub epilogs: Vec<Epilog>,
    /// One epilog, at the function's end, told in the header.
    pub single: bool,
    /// Counts in a word of their own.
    pub extended: bool,
    /// The fragment of a function whose prolog, elsewhere, did this before.
    pub phantom: Vec<Insn>,
}

impl Record {
    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let undo = |instructions: &[Insn]| -> Vec<u8> {
            instructions.iter().rev().flat_map(|it| it.code()).collect()
        };
        let mut codes = undo(&self.prolog);
        if !self.phantom.is_empty() {
            codes.push(0xe5);
            codes.extend(undo(&self.phantom));
        }
        codes.push(0xe4);
        let mut scopes = Vec::new();
        for epilog in &self.epilogs {
            scopes.push((epilog.start, codes.len() as u32));
            codes.extend(undo(&epilog.reversed));
            codes.push(0xe4);
        }
        codes.resize(codes.len().next_multiple_of(4), 0xe3);
        let words = codes.len() as u32 / 4;
        let count = if self.single {
            scopes[0].1
        } else {
            scopes.len() as u32
        };
        let mut header = vec![self.length | u32::from(self.single) << 21];
        if self.extended {
            header.push(count | words << 16);
        } else {
            header[0] |= count << 22 | words << 27;
        }
        if !self.single {
            header.extend(scopes.iter().map(|(start, code)| start | code << 22));
        }
        let head = header.into_iter().flat_map(u32::to_le_bytes);
        head.chain(codes).collect()
    }
}

/// A packed word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed {
    /// 1 a function, 2 a fragment.
    pub flag: u32,
    /// Instructions.
    pub length: u32,
    /// Saved floating point registers, less one; 0 for none.
    pub reg_f: u32,
    /// Saved general registers.
    pub reg_i: u32,
    /// Whether parameters are stored.
    pub h: bool,
    /// What is done with FP and LR.
    pub cr: u32,
    /// Bytes of the frame.
    pub frame: u32,
}

impl Packed {
    /// The word.
    #[must_use]
    pub fn word(self) -> u32 {
        self.flag
            | self.length << 2
            | self.reg_f << 13
            | self.reg_i << 16
            | u32::from(self.h) << 20
            | self.cr << 21
            | (self.frame / 16) << 23
    }

    /// Bytes that saved registers take.
    #[must_use]
    pub fn saved(self) -> u32 {
        let integers = self.reg_i * 8 + u32::from(self.cr == 1) * 8;
        let floats = if self.reg_f == 0 {
            0
        } else {
            self.reg_f * 8 + 8
        };
        (integers + floats + u32::from(self.h) * 64).next_multiple_of(16)
    }

    /// The prolog that the documentation's table gives, step by step.
    #[must_use]
    pub fn prolog(self) -> Vec<Insn> {
        let mut prolog = Vec::new();
        let saved = self.saved();
        let integers = self.reg_i * 8 + u32::from(self.cr == 1) * 8;
        if self.cr == 2 {
            prolog.push(Insn::Sign);
        }
        let mut stores: Vec<Insn> = Vec::new();
        // Step 1: pairs, and the odd one, which with CR 1 is a pair with LR.
        let mut offset = 0;
        let mut register = 0;
        while register + 2 <= self.reg_i {
            stores.push(Insn::Store(Kind::X, 19 + register as u8, 2, offset));
            register += 2;
            offset += 16;
        }
        let odd = register < self.reg_i;
        let last = 19 + register as u8;
        match (odd, self.cr == 1) {
            (true, true) => stores.push(Insn::StoreWithLr(last, offset)),
            (true, false) => stores.push(Insn::Store(Kind::X, last, 1, offset)),
            // Step 2.
            (false, true) => stores.push(Insn::Store(Kind::X, LR, 1, integers - 8)),
            (false, false) => {}
        }
        // Step 3.
        if self.reg_f > 0 {
            let count = self.reg_f + 1;
            for pair in 0..count / 2 {
                stores.push(Insn::Store(
                    Kind::D,
                    8 + 2 * pair as u8,
                    2,
                    integers + 16 * pair,
                ));
            }
            if count % 2 == 1 {
                let last = 8 + count as u8 - 1;
                stores.push(Insn::Store(Kind::D, last, 1, integers + 8 * (count - 1)));
            }
        }
        // Step 4: parameters, of which a caller needs nothing.
        let homes = if self.h { 4 } else { 0 };
        match stores.first().copied() {
            Some(Insn::Store(kind, first, count, _)) => {
                stores[0] = Insn::StoreFirst(kind, first, count, saved);
                stores.extend(vec![Insn::Nop; homes]);
                prolog.extend(stores);
            }
            Some(Insn::StoreWithLr(first, _)) => {
                stores[0] = Insn::StoreWithLrFirst(first, saved);
                stores.extend(vec![Insn::Nop; homes]);
                prolog.extend(stores);
            }
            _ if self.h => {
                prolog.push(Insn::Sub(saved));
                prolog.extend([Insn::Nop; 3]);
            }
            _ => {}
        }
        prolog.extend(self.locals());
        prolog
    }

    /// Step 5.
    fn locals(self) -> Vec<Insn> {
        let locals = self.frame - self.saved();
        let subs = match locals {
            0 => vec![],
            1..=4080 => vec![Insn::Sub(locals)],
            _ => vec![Insn::Sub(4080), Insn::Sub(locals - 4080)],
        };
        if self.cr < 2 {
            return subs;
        }
        let mut steps = if locals <= 512 {
            vec![Insn::StoreFirst(Kind::X, FP, 2, locals)]
        } else {
            [subs, vec![Insn::Store(Kind::X, FP, 2, 0)]].concat()
        };
        steps.push(Insn::SetFrame(0));
        steps
    }
}
