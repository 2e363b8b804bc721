//! The decoding against the description's own steps, the other way round.

use proptest::prelude::*;

use super::*;

/// The inverse of reference steps, in reverse order.
fn encode(plain: u64, never: u64, always: u64, flag: u64) -> u64 {
    let x = plain ^ always;
    let x = x.swap_bytes();
    let x = x ^ flag;
    let x = x.rotate_right((never & 63) as u32);
    x ^ never
}

proptest! {
    #[test]
    fn decode_undoes_encode(plain: u64, ki_wait_never: u64, ki_wait_always: u64, flag: u64) {
        let encoding = Encoding { ki_wait_never, ki_wait_always, flag: Gva::new(flag) };
        prop_assert_eq!(encoding.decode(encode(plain, ki_wait_never, ki_wait_always, flag)), plain);
    }
}

#[test]
fn a_block_of_another_kernel_is_not_ours() {
    let base = Gva::new(0xffff_f800_0100_0000);
    let mut head = vec![0; 0x20];
    head[0x10..0x14].copy_from_slice(b"KDBG");
    head[0x14..0x18].copy_from_slice(&0x340_u32.to_le_bytes());
    head[0x18..0x20].copy_from_slice(&base.get().to_le_bytes());
    assert_eq!(check_head(PagingMode::X64, base, &head), Some(0x340));
    assert_eq!(check_head(PagingMode::X64, Gva::new(0x1000), &head), None);
    head[0x14] = 0x41;
    assert_eq!(check_head(PagingMode::X64, base, &head), None);
}
