//! Packed unwind data of ARM64: a word that stands for one of the prologs that compilers write.
//!
//! ```text
//! bits 0-1 flag (1 function, 2 fragment without prolog and epilog) | 2-12 length / 4 | 13-15 RegF | 16-19 RegI
//! bit 20 H | 21-22 CR | 23-31 frame size / 16
//!
//! prolog      pacibsp                    CR 2
//!             stp x19,x20,[sp,#-save]!   ..  RegI registers, then LR with CR 1
//!             stp d8,d9,[sp,#n]          ..  RegF + 1 registers, if RegF is not 0
//!             stp x0,x1,[sp,#n]          ..  four pairs, with H
//!             sub sp, sp, #locals            CR 0 and 1
//!             stp fp,lr,[sp,#-locals]!       CR 2 and 3, and mov fp, sp; over 512 bytes sub sp first
//! ```
//!
//! Source: "ARM64 exception handling: Packed unwind data", Microsoft's documentation.

use super::codes::{Class, Code};
use super::xdata::{Epilog, Unwound};

/// What one `sub` and one `stp` can take.
const SUB_BYTES: u32 = 4080;
const STP_BYTES: u32 = 512;

/// The codes that a packed word stands for; `None` if its sizes contradict each other.
pub(super) fn expand(word: u32) -> Option<Unwound> {
    let field = |shift: u32, bits: u32| word >> shift & ((1_u32 << bits).wrapping_sub(1));
    let length = field(2, 11);
    let shape = Shape {
        floats: match field(13, 3) {
            0 => 0,
            registers => registers.checked_add(1)?,
        },
        integers: field(16, 4),
        homes: field(20, 1) == 1,
        chain: field(21, 2),
        frame: field(23, 9).checked_mul(16)?,
    };
    let prolog = shape.prolog()?;
    let epilog = shape.epilog(&prolog);
    let mut codes = prolog.clone();
    codes.reverse();
    let start = codes.len();
    codes.extend(epilog.iter().rev());
    let is_fragment = word & 3 == 2;
    let instructions = u32::try_from(epilog.len()).ok()?.checked_add(1)?;
    let epilogs = length
        .checked_sub(instructions)
        .filter(|_| !is_fragment)
        .map(|first| Epilog {
            first,
            code: start,
            end: codes.len(),
        });
    Some(Unwound {
        length,
        // A fragment's prolog is elsewhere: all of it has been carried out.
        prolog: if is_fragment { 0 } else { start },
        end: start,
        codes,
        epilogs: epilogs.into_iter().collect(),
    })
}

/// The fields.
struct Shape {
    integers: u32,
    floats: u32,
    homes: bool,
    chain: u32,
    frame: u32,
}

impl Shape {
    /// The codes in the prolog's order.
    fn prolog(&self) -> Option<Vec<Code>> {
        if self.integers > 10 {
            return None;
        }
        let with_lr = u32::from(self.chain == 1);
        let integer_bytes = self.integers.checked_add(with_lr)?.checked_mul(8)?;
        let float_bytes = self.floats.checked_mul(8)?;
        let home_bytes = if self.homes { 64 } else { 0 };
        let saved = integer_bytes
            .checked_add(float_bytes)?
            .checked_add(home_bytes)?
            .checked_next_multiple_of(16)?;
        let locals = self.frame.checked_sub(saved)?;
        let mut codes = Vec::new();
        if self.chain == 2 {
            codes.push(Code::Sign);
        }
        let mut saves = Saves {
            codes: &mut codes,
            at: 0,
            first: Some(saved),
        };
        self.save_integers(&mut saves)?;
        let floats: Vec<u8> = (8..)
            .take(usize::try_from(self.floats).unwrap_or(0))
            .collect();
        for pair in floats.chunks(2) {
            saves.push(Class::D, pair)?;
        }
        if self.homes {
            for _ in 0..4 {
                saves.skip()?;
            }
        }
        self.take_locals(&mut codes, locals);
        Some(codes)
    }

    fn save_integers(&self, saves: &mut Saves<'_>) -> Option<()> {
        let mut registers: Vec<u8> = (19..)
            .take(usize::try_from(self.integers).unwrap_or(0))
            .collect();
        if self.chain == 1 {
            // An odd last register and LR are a pair; so is nothing else.
            registers.push(30);
        }
        for pair in registers.chunks(2) {
            saves.push(Class::X, pair)?;
        }
        Some(())
    }

    fn take_locals(&self, codes: &mut Vec<Code>, locals: u32) {
        let frame = |offset, pre| Code::Save {
            class: Class::X,
            first: 29,
            second: Some(30),
            offset,
            pre,
        };
        let mut take = |locals: u32| {
            if locals > SUB_BYTES {
                codes.push(Code::Alloc(SUB_BYTES));
                codes.push(Code::Alloc(locals.saturating_sub(SUB_BYTES)));
            } else if locals > 0 {
                codes.push(Code::Alloc(locals));
            }
        };
        match self.chain {
            2 | 3 if locals > 0 && locals <= STP_BYTES => codes.push(frame(locals, true)),
            2 | 3 => {
                take(locals);
                codes.push(frame(0, false));
            }
            _ => return take(locals),
        }
        codes.push(Code::SetFrame);
    }

    /// The codes that the epilog undoes, in the prolog's order: it neither stores parameters nor sets FP, and
    /// gets the stack back without FP unless it has to.
    fn epilog(&self, prolog: &[Code]) -> Vec<Code> {
        let kept = prolog.iter().copied();
        kept.filter(|code| !matches!(code, Code::Nothing | Code::SetFrame))
            .collect()
    }
}

/// Stores one behind another; the first one takes the room of all.
struct Saves<'c> {
    codes: &'c mut Vec<Code>,
    at: u32,
    first: Option<u32>,
}

impl Saves<'_> {
    fn push(&mut self, class: Class, registers: &[u8]) -> Option<()> {
        let (&first, rest) = registers.split_first()?;
        let second = rest.first().copied();
        let taken = self.first.take();
        self.codes.push(Code::Save {
            class,
            first,
            second,
            offset: taken.unwrap_or(self.at),
            pre: taken.is_some(),
        });
        let count = u32::try_from(registers.len()).ok()?;
        self.at = self.at.checked_add(count.checked_mul(8)?)?;
        Some(())
    }

    /// A pair of parameters, of which a caller needs nothing but the room they may be the first to take.
    fn skip(&mut self) -> Option<()> {
        self.codes.push(match self.first.take() {
            Some(saved) => Code::Alloc(saved),
            None => Code::Nothing,
        });
        self.at = self.at.checked_add(16)?;
        Some(())
    }
}
