//! Unwind codes of ARM64: each is one instruction of a prolog, undone.
//!
//! Source: "ARM64 exception handling: Unwind codes", Microsoft's documentation.

/// Kinds of registers that are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    X,
    D,
    Q,
}

impl Class {
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::X | Self::D => 8,
            Self::Q => 16,
        }
    }
}

/// What an instruction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Nothing that a walk needs.
    Nothing,
    /// Took bytes of stack.
    Alloc(u32),
    /// `mov fp, sp`.
    SetFrame,
    /// `add fp, sp, #n`.
    AddFrame(u32),
    /// Saved one register or two at an offset from the stack pointer, which with `pre` it took as well.
    Save {
        class: Class,
        first: u8,
        second: Option<u8>,
        offset: u32,
        pre: bool,
    },
    /// Saved the pair behind the one that the next code saves.
    SaveNext,
    /// Signed LR.
    Sign,
    /// PC and SP of interrupted code are on the stack.
    MachineFrame,
    /// A whole `CONTEXT` is on the stack.
    Context,
    /// A frame of the kernel's own.
    Custom(&'static str),
}

/// A decoded byte sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    Code(Code),
    /// The end: `end`, or `end_c` behind which the codes of the whole function's prolog follow.
    End,
    EndOfScope,
}

const FP: u8 = 29;
const LR: u8 = 30;

const fn save(class: Class, first: u8, second: Option<u8>, offset: u32, pre: bool) -> Code {
    Code::Save {
        class,
        first,
        second,
        offset,
        pre,
    }
}

/// The first code, and its bytes; `None` if it is reserved or cut.
pub(super) fn decode(bytes: &[u8]) -> Option<(Decoded, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let code = |code| Decoded::Code(code);
    let low = |mask: u8, scale: u32| u32::from(first & mask).wrapping_mul(scale);
    Some(match first {
        0x00..=0x1f => (code(Code::Alloc(low(0x1f, 16))), 1),
        0x20..=0x3f => {
            let pair = save(Class::X, 19, Some(20), low(0x1f, 8), true);
            (code(pair), 1)
        }
        0x40..=0x7f => {
            let pair = save(Class::X, FP, Some(LR), low(0x3f, 8), false);
            (code(pair), 1)
        }
        0x80..=0xbf => {
            let bytes = low(0x3f, 8).wrapping_add(8);
            let pair = save(Class::X, FP, Some(LR), bytes, true);
            (code(pair), 1)
        }
        0xc0..=0xdf => (code(two_bytes(first, *rest.first()?)?), 2),
        0xe0 => {
            let [a, b, c] = *rest.first_chunk()?;
            let units = u32::from_be_bytes([0, a, b, c]);
            (code(Code::Alloc(units.wrapping_mul(16))), 4)
        }
        0xe1 => (code(Code::SetFrame), 1),
        0xe2 => {
            let bytes = u32::from(*rest.first()?).wrapping_mul(8);
            (code(Code::AddFrame(bytes)), 2)
        }
        0xe3 => (code(Code::Nothing), 1),
        0xe4 => (Decoded::End, 1),
        0xe5 => (Decoded::EndOfScope, 1),
        0xe6 => (code(Code::SaveNext), 1),
        0xe7 => (code(any_register(*rest.first_chunk()?)?), 3),
        0xe8 => (code(Code::Custom("a trap frame")), 1),
        0xe9 => (code(Code::MachineFrame), 1),
        0xea => (code(Code::Context), 1),
        0xeb => (code(Code::Custom("a context of emulated code")), 1),
        0xec => (code(Code::Nothing), 1),
        0xfc => (code(Code::Sign), 1),
        _ => return None,
    })
}

/// Codes of two bytes: the register's number and an offset in units of 8.
fn two_bytes(first: u8, second: u8) -> Option<Code> {
    let word = u16::from_be_bytes([first, second]);
    let field = |shift: u32, mask: u16| (word >> shift & mask).to_le_bytes()[0];
    let x = |from: u8| from.wrapping_add(field(6, 0xf));
    let offset = u32::from(word & 0x3f).wrapping_mul(8);
    let taken = offset.wrapping_add(8);
    let pair = |class, first: u8, offset, pre| {
        save(class, first, Some(first.wrapping_add(1)), offset, pre)
    };
    Some(match first {
        0xc0..=0xc7 => Code::Alloc(u32::from(word & 0x7ff).wrapping_mul(16)),
        0xc8..=0xcb => pair(Class::X, x(19), offset, false),
        0xcc..=0xcf => pair(Class::X, x(19), taken, true),
        0xd0..=0xd3 => save(Class::X, x(19), None, offset, false),
        0xd4 | 0xd5 => {
            let register = 19_u8.wrapping_add(field(5, 0xf));
            let taken = u32::from(word & 0x1f).wrapping_mul(8).wrapping_add(8);
            save(Class::X, register, None, taken, true)
        }
        0xd6 | 0xd7 => {
            let register = 19_u8.wrapping_add(field(6, 7).wrapping_mul(2));
            save(Class::X, register, Some(LR), offset, false)
        }
        0xd8 | 0xd9 => pair(Class::D, 8_u8.wrapping_add(field(6, 7)), offset, false),
        0xda | 0xdb => pair(Class::D, 8_u8.wrapping_add(field(6, 7)), taken, true),
        0xdc | 0xdd => save(
            Class::D,
            8_u8.wrapping_add(field(6, 7)),
            None,
            offset,
            false,
        ),
        0xde => {
            let register = 8_u8.wrapping_add(field(5, 7));
            let taken = u32::from(word & 0x1f).wrapping_mul(8).wrapping_add(8);
            save(Class::D, register, None, taken, true)
        }
        // alloc_z: as much as the processor's vectors are long, which nothing here says.
        0xdf => Code::Custom("a stack of scalable vectors"),
        _ => return None,
    })
}

/// `save_any_reg`, behind its first byte: 0pxrrrrr ffoooooo.
fn any_register([first, second]: [u8; 2]) -> Option<Code> {
    let (is_pair, pre) = (first & 0x40 != 0, first & 0x20 != 0);
    let class = match (first >> 7, second >> 6) {
        (0, 0) => Class::X,
        (0, 1) => Class::D,
        (0, 2) => Class::Q,
        // Registers of scalable vectors and predicates.
        (0, _) => return Some(Code::Nothing),
        _ => return None,
    };
    let scale = if is_pair || pre || class == Class::Q {
        16
    } else {
        8
    };
    let units = u32::from(second & 0x3f);
    let units = if pre { units.wrapping_add(1) } else { units };
    let register = first & 0x1f;
    let other = is_pair.then(|| register.wrapping_add(1));
    Some(save(class, register, other, units.wrapping_mul(scale), pre))
}
