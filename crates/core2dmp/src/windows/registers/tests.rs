//! Registers at the offsets of winnt.h, and FNSAVE against a twin that keeps the tags itself.

use proptest::prelude::*;

use super::*;
use crate::address::Gva;
use crate::container::{Arm64Floating, TableRegister};

/// A number of 80 bits: sign and exponent, then the mantissa.
type Number = (u16, u64);

/// What FNSAVE stores of eight physical registers: they hold `stack[i]` at TOP + i, and `used` says which hold one.
fn twin(stack: &[Number; 8], used: u8, top: usize) -> (u32, Vec<u8>) {
    let mut tags = 0;
    for (i, (exponent, mantissa)) in stack.iter().enumerate() {
        let physical = (top + i) % 8;
        let is_used = used >> physical & 1 == 1;
        let tag = match (is_used, exponent & 0x7fff, mantissa >> 63) {
            (false, ..) => 3,
            (true, 0, 0) if *mantissa == 0 => 1,
            (true, 1..=0x7ffe, 1) => 0,
            _ => 2,
        };
        tags |= tag << (physical * 2);
    }
    let image = stack.iter().flat_map(|(exponent, mantissa)| {
        [&mantissa.to_le_bytes()[..], &exponent.to_le_bytes()].concat()
    });
    (tags, image.collect())
}

/// The FXSAVE image of the same: control word, status with TOP, used, opcode, instruction and data pointer.
fn fxsave(stack: &[Number; 8], used: u8, top: usize) -> [u8; 512] {
    let mut image = [0; 512];
    image[0..2].copy_from_slice(&0x27f_u16.to_le_bytes());
    image[2..4].copy_from_slice(&((top as u16) << 11 | 0x4021).to_le_bytes());
    image[4] = used;
    image[6..8].copy_from_slice(&0x5d9_u16.to_le_bytes());
    image[8..12].copy_from_slice(&0x8067_1234_u32.to_le_bytes());
    image[12..14].copy_from_slice(&0x1b_u16.to_le_bytes());
    image[16..20].copy_from_slice(&0x0012_fe40_u32.to_le_bytes());
    image[20..22].copy_from_slice(&0x23_u16.to_le_bytes());
    image[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    for (i, (exponent, mantissa)) in stack.iter().enumerate() {
        image[32 + i * 16..40 + i * 16].copy_from_slice(&mantissa.to_le_bytes());
        image[40 + i * 16..42 + i * 16].copy_from_slice(&exponent.to_le_bytes());
        // FXSAVE pads to 16 bytes; FNSAVE has no room for the padding.
        image[42 + i * 16..48 + i * 16].fill(0xee);
    }
    image
}

fn word(area: &[u8], slot: usize) -> u32 {
    u32_at(area, slot * 4).unwrap()
}

fn assert_like_twin(stack: &[Number; 8], used: u8, top: usize) {
    let area = fnsave(&fxsave(stack, used, top), 0x8001_003b);
    let (tags, registers) = twin(stack, used, top);
    assert_eq!(
        word(&area, 2),
        tags | 0xffff_0000,
        "{stack:x?} {used:#x} {top}"
    );
    assert_eq!(&area[28..108], registers);
}

#[test]
fn fnsave_of_every_kind_of_number_at_every_top() {
    let one = (0x3fff, 1 << 63);
    let stack = [
        one,
        (0, 0),               // zero
        (0x8000, 0),          // minus zero
        (0x7fff, 1 << 63),    // infinity
        (0x7fff, 0b11 << 62), // not a number
        (0, 1),               // denormal
        (0x3fff, 1),          // unnormal
        (0xbfff, 0b11 << 62), // minus 1.5
    ];
    for top in 0..8 {
        for used in [0, 0xff, 1, 0x80, 0b0101_1010] {
            assert_like_twin(&stack, used, top);
        }
    }
    // TOP is 6: ST0 is register 6, whose tag stands in bits 12 and 13.
    let only = fnsave(&fxsave(&[one; 8], 1 << 6, 6), 0);
    assert_eq!(word(&only, 2), 0xffff_cfff);
    let empty = fnsave(&fxsave(&[(0, 0); 8], 0, 0), 0);
    assert_eq!(word(&empty, 2), 0xffff_ffff);
    let zeros = fnsave(&fxsave(&[(0, 0); 8], 0xff, 3), 0);
    assert_eq!(word(&zeros, 2), 0xffff_5555);
}

#[test]
fn fnsave_has_the_environment_of_32_bit() {
    let area = fnsave(&fxsave(&[(0, 0); 8], 0, 5), 0x8001_003b);
    let environment: Vec<u32> = (0..7).map(|slot| word(&area, slot)).collect();
    assert_eq!(
        environment,
        [
            0xffff_027f,
            0xffff_6821,
            0xffff_ffff,
            0x8067_1234,
            0x05d9_001b,
            0x0012_fe40,
            0xffff_0023,
        ]
    );
    assert_eq!(word(&area, 27), 0x8001_003b);
}

proptest! {
    #[test]
    fn fnsave_is_like_its_twin(stack: [(u16, u64); 8], used: u8, top in 0_usize..8) {
        assert_like_twin(&stack, used, top);
    }
}

#[test]
fn arm64_stands_at_the_offsets_of_winnt() {
    let registers = Arm64Registers {
        x: std::array::from_fn(|n| 0x1111_0000_0000_0000 + n as u64),
        sp: 0xffff_f803_1000_7f00,
        pc: 0xffff_f803_2220_1234,
        cpsr: 0x6000_0044,
        floating: Some(Arm64Floating {
            v: std::array::from_fn(|n| [0xa0 + n as u8; 16]),
            fpcr: 0x0100_0000,
            fpsr: 0x10,
        }),
        system: None,
    };
    let registers = Registers::Arm64(Box::new(registers));
    let context = context_of(&registers, PagingMode::Arm64, &[]);
    let mut wanted = vec![0; 0x390];
    let mut put = |at: usize, bytes: &[u8]| wanted[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x0, &0x40_0007_u32.to_le_bytes());
    put(0x4, &0x6000_0044_u32.to_le_bytes());
    for n in 0..31 {
        put(
            0x8 + n * 8,
            &(0x1111_0000_0000_0000 + n as u64).to_le_bytes(),
        );
    }
    put(0x100, &0xffff_f803_1000_7f00_u64.to_le_bytes());
    put(0x108, &0xffff_f803_2220_1234_u64.to_le_bytes());
    for n in 0..32 {
        put(0x110 + n * 16, &[0xa0 + n as u8; 16]);
    }
    put(0x310, &0x0100_0000_u32.to_le_bytes());
    put(0x314, &0x10_u32.to_le_bytes());
    assert_eq!(context, wanted);
}

/// Registers of zeros.
fn none() -> X86Registers {
    X86Registers {
        rax: 0,
        rbx: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        rsp: 0,
        rbp: 0,
        r8_r15: [0; 8],
        rip: 0,
        rflags: 0,
        cs: 0,
        ss: 0,
        ds: 0,
        es: 0,
        fs: 0,
        gs: 0,
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
        cr0: 0,
        cr2: 0,
        cr3: 0,
        cr4: 0,
        dr: None,
        fxsave: None,
        gdtr: None,
        idtr: None,
        tr: None,
        ldtr: None,
    }
}

#[test]
fn tables_come_from_memory_then_the_vcpu_then_the_control_region() {
    let pcr = (Some(Gva::new(0x8003_f000)), Some(Gva::new(0x8003_f400)));
    let table = |base, limit| Some(TableRegister { base, limit });
    let vcpu = X86Registers {
        gdtr: table(0xffff_f800_0000_1000, 0x57),
        // As a vCPU that was reset has it.
        idtr: table(0, 0xffff),
        tr: Some(0x40),
        ldtr: Some(0x50),
        ..none()
    };
    let base = |special: &[u8], at: usize| crate::format::u64_at(special, at).unwrap();
    let filled = special_of(vec![0; 0xd8], Some(&vcpu), pcr);
    assert_eq!(base(&filled, 0x58), 0xffff_f800_0000_1000);
    assert_eq!(u16_at(&filled, 0x56), Some(0x57));
    assert_eq!(base(&filled, 0x68), 0x8003_f400);
    assert_eq!(u16_at(&filled, 0x66), Some(0xffff));
    assert_eq!(u32_at(&filled, 0x70), Some(0x0050_0040));
    let mut stored = vec![0; 0x54];
    stored[0x2c..0x30].copy_from_slice(&0x8004_0000_u32.to_le_bytes());
    stored[0x2a..0x2c].copy_from_slice(&0x3ff_u16.to_le_bytes());
    stored[0x38] = 0x28;
    let kept = special_of(stored, Some(&vcpu), pcr);
    assert_eq!(
        (u16_at(&kept, 0x2a), u32_at(&kept, 0x2c)),
        (Some(0x3ff), Some(0x8004_0000))
    );
    assert_eq!(u32_at(&kept, 0x34), Some(0x8003_f400));
    assert_eq!(u32_at(&kept, 0x38), Some(0x0050_0028));
}
