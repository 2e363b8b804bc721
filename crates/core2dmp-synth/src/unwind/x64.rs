//! x64: functions as instructions that a machine of our own carries out, their bytes, and their UNWIND_INFO.

use std::collections::BTreeMap;

/// RSP's number.
pub const RSP: u8 = 4;

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insn {
    /// Nothing.
    Nop,
    /// `push register`.
    Push(u8),
    /// `pop register`.
    Pop(u8),
    /// `sub rsp, n`.
    Sub(u32),
    /// `add rsp, n`.
    Add(u32),
    /// `lea register, [rsp + n]`: sets a frame register.
    SetFrame(u8, u32),
    /// `lea rsp, [register + n]`.
    FromFrame(u8, i32),
    /// `mov [rsp + n], register`.
    Save(u8, u32),
    /// `mov register, [rsp + n]`.
    Restore(u8, u32),
    /// `mov register, immediate`: a function uses it.
    Use(u8, u32),
    /// `ret`.
    Ret,
    /// `jmp rel32`.
    Jump(i32),
    /// `jmp rel8`.
    JumpShort(i8),
    /// Any bytes, with no effect.
    Raw(&'static [u8]),
}

impl Insn {
    /// Bytes of stack that it takes.
    fn takes(self) -> u32 {
        match self {
            Self::Push(_) => 8,
            Self::Sub(bytes) => bytes,
            _ => 0,
        }
    }

    /// Its machine code.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let high = |register: u8| register >> 3;
        let low = |register: u8| register & 7;
        // [rsp + n], n of 32 bits, or 8 where it fits.
        let at_rsp = |opcode: u8, register: u8, offset: u32| {
            let rex = 0x48 | high(register) << 2;
            let mut bytes = vec![rex, opcode];
            match i8::try_from(offset) {
                Ok(short) => bytes.extend([0x44 | low(register) << 3, 0x24, short as u8]),
                Err(_) => {
                    bytes.extend([0x84 | low(register) << 3, 0x24]);
                    bytes.extend(offset.to_le_bytes());
                }
            }
            bytes
        };
        let rsp_by = |modrm: u8, bytes: u32| match i8::try_from(bytes) {
            Ok(short) => vec![0x48, 0x83, modrm, short as u8],
            Err(_) => [&[0x48, 0x81, modrm][..], &bytes.to_le_bytes()].concat(),
        };
        let short = |opcode: u8, register: u8| match high(register) {
            0 => vec![opcode | low(register)],
            _ => vec![0x41, opcode | low(register)],
        };
        match self {
            Self::Nop => vec![0x90],
            Self::Push(register) => short(0x50, register),
            Self::Pop(register) => short(0x58, register),
            Self::Sub(bytes) => rsp_by(0xec, bytes),
            Self::Add(bytes) => rsp_by(0xc4, bytes),
            Self::SetFrame(register, offset) => at_rsp(0x8d, register, offset),
            Self::FromFrame(register, offset) => {
                let mut bytes = vec![0x48 | high(register), 0x8d];
                let sib: &[u8] = if low(register) == 4 { &[0x24] } else { &[] };
                match i8::try_from(offset) {
                    Ok(short) => {
                        bytes.push(0x60 | low(register));
                        bytes.extend(sib);
                        bytes.push(short as u8);
                    }
                    Err(_) => {
                        bytes.push(0xa0 | low(register));
                        bytes.extend(sib);
                        bytes.extend(offset.to_le_bytes());
                    }
                }
                bytes
            }
            Self::Save(register, offset) => at_rsp(0x89, register, offset),
            Self::Restore(register, offset) => at_rsp(0x8b, register, offset),
            Self::Use(register, value) => {
                let mut bytes = vec![0x48 | high(register), 0xc7, 0xc0 | low(register)];
                bytes.extend(value.to_le_bytes());
                bytes
            }
            Self::Ret => vec![0xc3],
            Self::Jump(offset) => [&[0xe9][..], &offset.to_le_bytes()].concat(),
            Self::JumpShort(offset) => vec![0xeb, offset as u8],
            Self::Raw(bytes) => bytes.to_vec(),
        }
    }
}

/// Registers and a stack, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// RAX to R15 in the processor's order.
    pub gpr: [u64; 16],
    /// Words that were written.
    pub stack: BTreeMap<u64, u64>,
}

impl Machine {
    fn rsp(&mut self) -> &mut u64 {
        &mut self.gpr[usize::from(RSP)]
    }

    /// Pushes a word.
    pub fn push(&mut self, value: u64) {
        *self.rsp() -= 8;
        let at = *self.rsp();
        self.stack.insert(at, value);
    }

    /// Carries out an instruction; a return and a jump leave the stack as it is.
    pub fn execute(&mut self, instruction: Insn) {
        let rsp = *self.rsp();
        match instruction {
            Insn::Push(register) => {
                let value = self.gpr[usize::from(register)];
                self.push(value);
            }
            Insn::Pop(register) => {
                self.gpr[usize::from(register)] = self.stack[&rsp];
                *self.rsp() += 8;
            }
            Insn::Sub(bytes) => *self.rsp() -= u64::from(bytes),
            Insn::Add(bytes) => *self.rsp() += u64::from(bytes),
            Insn::SetFrame(register, offset) => {
                self.gpr[usize::from(register)] = rsp + u64::from(offset);
            }
            Insn::FromFrame(register, offset) => {
                *self.rsp() = self.gpr[usize::from(register)].wrapping_add_signed(offset.into());
            }
            Insn::Save(register, offset) => {
                let value = self.gpr[usize::from(register)];
                self.stack.insert(rsp + u64::from(offset), value);
            }
            Insn::Restore(register, offset) => {
                self.gpr[usize::from(register)] = self.stack[&(rsp + u64::from(offset))];
            }
            Insn::Use(register, value) => self.gpr[usize::from(register)] = value.into(),
            Insn::Nop | Insn::Ret | Insn::Jump(_) | Insn::JumpShort(_) | Insn::Raw(_) => {}
        }
    }
}

/// A code of UNWIND_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operations' own names")]
pub enum Code {
    PushNonvol(u8),
    AllocSmall(u32),
    /// In eighths, 16 bits.
    AllocLarge(u32),
    /// 32 bits.
    AllocHuge(u32),
    SetFpreg,
    SaveNonvol(u8, u32),
    SaveNonvolFar(u8, u32),
    SaveXmm128(u8, u32),
    SaveXmm128Far(u8, u32),
    /// With an error code or without.
    PushMachframe(bool),
    /// Version 2: the length of epilogs, and whether one is at the end.
    EpilogLength(u8, bool),
    /// Version 2: from an epilog's start to the function's end.
    EpilogAt(u16),
    /// An operation and its operand, as they are.
    Raw(u8, u8),
}

impl Code {
    /// Its slots of two bytes.
    fn bytes(self, offset: u8) -> Vec<u8> {
        let code = |operation: u8, operand: u8| vec![offset, operation | operand << 4];
        let half =
            |head: Vec<u8>, value: u32| [head, (value as u16).to_le_bytes().to_vec()].concat();
        let word = |head: Vec<u8>, value: u32| [head, value.to_le_bytes().to_vec()].concat();
        match self {
            Self::PushNonvol(register) => code(0, register),
            Self::AllocLarge(bytes) => half(code(1, 0), bytes / 8),
            Self::AllocHuge(bytes) => word(code(1, 1), bytes),
            Self::AllocSmall(bytes) => code(2, (bytes / 8 - 1) as u8),
            Self::SetFpreg => code(3, 0),
            Self::SaveNonvol(register, at) => half(code(4, register), at / 8),
            Self::SaveNonvolFar(register, at) => word(code(5, register), at),
            Self::SaveXmm128(register, at) => half(code(8, register), at / 16),
            Self::SaveXmm128Far(register, at) => word(code(9, register), at),
            Self::PushMachframe(error_code) => code(10, u8::from(error_code)),
            Self::EpilogLength(length, at_end) => vec![length, 6 | u8::from(at_end) << 4],
            Self::EpilogAt(offset) => vec![offset as u8, 6 | ((offset >> 8) as u8) << 4],
            Self::Raw(operation, operand) => code(operation, operand),
        }
    }
}

/// UNWIND_INFO.
#[derive(Clone, Debug)]
pub struct Info {
    /// 1 or 2.
    pub version: u8,
    /// UNW_FLAG_*.
    pub flags: u8,
    /// Bytes of the prolog.
    pub prolog: u8,
    /// The frame register and its offset from RSP.
    pub frame: Option<(u8, u32)>,
    /// Codes with the offset behind their instruction, the last one first.
    pub codes: Vec<(u8, Code)>,
    /// With UNW_FLAG_CHAININFO: begin, end, information.
    pub chained: Option<[u32; 3]>,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            version: 1,
            flags: 0,
            prolog: 0,
            frame: None,
            codes: Vec::new(),
            chained: None,
        }
    }
}

impl Info {
    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut codes: Vec<u8> = Vec::new();
        for (offset, code) in &self.codes {
            codes.extend(code.bytes(*offset));
        }
        let (register, offset) = self.frame.unwrap_or_default();
        let flags = self.flags | if self.chained.is_some() { 4 } else { 0 };
        let mut bytes = vec![
            self.version | flags << 3,
            self.prolog,
            (codes.len() / 2) as u8,
            register | ((offset / 16) as u8) << 4,
        ];
        bytes.extend(codes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        for word in self.chained.into_iter().flatten() {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }
}

/// A function: its prolog, what it does, how it ends.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Instructions of the prolog.
    pub prolog: Vec<Insn>,
    /// Between prolog and epilog.
    pub body: Vec<Insn>,
    /// Gives the frame up; the last one is a return or a jump.
    pub epilog: Vec<Insn>,
    /// Of UNWIND_INFO: 1 or 2.
    pub version: u8,
}

impl Function {
    /// Pushes these registers, takes so much stack, and gives all back.
    #[must_use]
    pub fn simple(pushed: &[u8], bytes: u32) -> Self {
        let mut prolog: Vec<Insn> = pushed.iter().copied().map(Insn::Push).collect();
        let mut epilog = Vec::new();
        if bytes > 0 {
            prolog.push(Insn::Sub(bytes));
            epilog.push(Insn::Add(bytes));
        }
        epilog.extend(pushed.iter().rev().copied().map(Insn::Pop));
        epilog.push(Insn::Ret);
        Self {
            prolog,
            body: vec![Insn::Nop; 3],
            epilog,
            version: 1,
        }
    }

    /// All instructions.
    pub fn instructions(&self) -> impl Iterator<Item = Insn> + '_ {
        let parts = [&self.prolog, &self.body, &self.epilog];
        parts.into_iter().flatten().copied()
    }

    /// The machine code.
    #[must_use]
    pub fn code(&self) -> Vec<u8> {
        self.instructions().flat_map(Insn::bytes).collect()
    }

    fn bytes_of(instructions: &[Insn]) -> usize {
        instructions.iter().map(|it| it.bytes().len()).sum()
    }

    /// The unwind information.
    #[must_use]
    pub fn info(&self) -> Info {
        let mut info = Info {
            version: self.version,
            ..Info::default()
        };
        // Offsets of saves count from the final RSP, and apply from then on.
        let moves = |it: &Insn| matches!(it, Insn::Push(_) | Insn::Sub(_));
        let last_move = self.prolog.iter().rposition(moves).unwrap_or(0);
        let settled = Self::bytes_of(&self.prolog[..self.prolog.len().min(last_move + 1)]);
        let mut offset = 0;
        for (number, instruction) in self.prolog.iter().enumerate() {
            offset += instruction.bytes().len();
            let later: u32 = self.prolog[number + 1..].iter().map(|it| it.takes()).sum();
            let code = match *instruction {
                Insn::Save(register, at) if later > 0 => {
                    let code = Code::SaveNonvol(register, at + later);
                    info.codes.push((settled as u8, code));
                    continue;
                }
                Insn::Push(register) => Code::PushNonvol(register),
                Insn::Sub(bytes) if bytes <= 128 => Code::AllocSmall(bytes),
                Insn::Sub(bytes) if bytes < 0x8_0000 => Code::AllocLarge(bytes),
                Insn::Sub(bytes) => Code::AllocHuge(bytes),
                Insn::SetFrame(register, at) => {
                    info.frame = Some((register, at));
                    Code::SetFpreg
                }
                Insn::Save(register, at) if at < 0x8_0000 => Code::SaveNonvol(register, at),
                Insn::Save(register, at) => Code::SaveNonvolFar(register, at),
                _ => continue,
            };
            info.codes.push((offset as u8, code));
        }
        info.codes.reverse();
        info.codes
            .sort_by_key(|(offset, _)| std::cmp::Reverse(*offset));
        info.prolog = Self::bytes_of(&self.prolog) as u8;
        if self.version == 2 {
            // The part that begins where the stack has been given back up to what was pushed.
            let kept = |it: &&Insn| matches!(it, Insn::Add(_) | Insn::FromFrame(..));
            let listed: Vec<Insn> = self.epilog.iter().skip_while(kept).copied().collect();
            let last = listed.last().map_or(0, |last| last.bytes().len());
            let length = (Self::bytes_of(&listed) - last + 1) as u8;
            if last == 1 {
                info.codes.insert(0, (0, Code::EpilogLength(length, true)));
            } else {
                let from_end = Self::bytes_of(&listed) as u16;
                info.codes.insert(0, (0, Code::EpilogAt(from_end)));
                info.codes.insert(0, (0, Code::EpilogLength(length, false)));
            }
        }
        info
    }
}
