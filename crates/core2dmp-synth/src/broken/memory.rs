//! Structures in the pages: the debugger data block, the processors' control blocks.

use super::case::Case;
use super::row::{Row, table};

#[rustfmt::skip]
pub(super) static ROWS: &[&[Row]] = table! {
    "debugger data encoded" [Live64] |case| as_in_the_guest(case)
        => Broken "KDBG in memory" "PARTIALLY CORRUPT" Whole;
    "debugger data without its tag" [Full64 Full32] |case| case.put_va(case.kdbg(0x10), b"GBDK")
        => Broken "KDBG.Header.OwnerTag" "KdDebuggerData.Header.OwnerTag is wrong" Whole;
    "debugger data of size 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x14), &[0; 4])
        => Broken "KDBG.Header.Size" "PARTIALLY CORRUPT" Anew;
    "KDBG.KernBase 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x18), &[0; 8])
        => Cosmetic "KDBG.KernBase" "" Whole;
    "KDBG.PsLoadedModuleList 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x48), &[0; 8])
        => Refused "KDBG.PsLoadedModuleList" "80004005" Whole;
    "KDBG.PsActiveProcessHead 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x50), &[0; 8])
        => Broken "KDBG.PsActiveProcessHead" "" Whole;
    "KDBG.PsLoadedModuleList elsewhere" [Full64] |case| {
        case.put_va(case.kdbg(0x48), &(case.guest.expected.kernel.base + 0x1800).to_le_bytes());
    } => Broken "KDBG.PsLoadedModuleList" "Debugger can not determine kernel base address" Whole;
    "KDBG.KiProcessorBlock 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x218), &[0; 8])
        => Broken "KDBG.KiProcessorBlock" "Unable to get current machine context" No;
    "KDBG.OffsetPrcbContext 0" [Full64 Full32] |case| case.put_va(case.kdbg(0x338), &[0; 2])
        => Silent "" "" Nothing;
    "KDBG without offsets of contexts" [Full64] |case| {
        case.put_va(case.kdbg(0x338), &[0; 2]);
        case.put_va(case.kdbg(0x2bc), &[0; 2]);
    } => Broken "KDBG.OffsetPrcbProcStateContext" "The context is partially valid" No;
    "KDBG without offsets of contexts" [Full32] |case| {
        case.put_va(case.kdbg(0x338), &[0; 2]);
        case.put_va(case.kdbg(0x2bc), &[0; 2]);
    } => Broken "KDBG.OffsetPrcbProcStateContext" "CS descriptor lookup failed" No;
    "PRCB.Context null" [Full64 Full32] |case| {
        let slot = case.guest.expected.processors[1].context_pointer.expect("Windows 7 has one");
        let bytes = if case.is_wide() { 8 } else { 4 };
        case.put_va(slot, &vec![0; bytes]);
    } => Broken "PRCB.Context" "" Whole;
    "context of zeros" [Full64 Full32] |case| {
        case.put_va(case.guest.expected.processors[1].context, &[0; 0x2cc]);
    } => Broken "PRCB context, SegCs" "" No;
    "CS 0" [Full64] |case| case.put_va(case.guest.expected.processors[0].context + 0x38, &[0; 2])
        => Broken "PRCB context, SegCs" "The context is partially valid" No;
    "CS 0" [Full32] |case| case.put_va(case.guest.expected.processors[0].context + 0xbc, &[0; 4])
        => Broken "PRCB context, SegCs" "" No;
    "descriptor table at 0" [Full64] |case| {
        case.put_va(case.guest.expected.processors[0].special + 0x58, &[0; 8]);
    } => Broken "PRCB special registers, Gdtr" "CS descriptor lookup failed" Anew;
    "descriptor table at 0" [Full32] |case| {
        case.put_va(case.guest.expected.processors[0].special + 0x2c, &[0; 4]);
    } => Broken "PRCB special registers, Gdtr" "CS descriptor lookup failed" Anew;
};

/// Puts back the encoded block, and the flag that says so.
fn as_in_the_guest(case: &mut Case) {
    let kdbg = case.guest.expected.kdbg.clone().expect("it has one");
    let keys = kdbg.keys.expect("it is encoded in the guest");
    for (va, bytes) in [(kdbg.va, kdbg.plain.len()), (keys.encoded_flag, 1)] {
        let bytes = case.guest.read_va(va, bytes).expect("it is mapped");
        case.put_va(va, &bytes);
    }
}
