//! The debugger data block KDDEBUGGER_DATA64, its encoding, and KdVersionBlock.
//!
//! ```text
//! 00 LIST_ENTRY64  10 'KDBG'  14 size  18 KernBase  20.. addresses of variables  298.. offsets in structures
//! encoded qword = rotr(bswap(plain ^ KiWaitAlways) ^ VA(KdpDataBlockEncoded), KiWaitNever) ^ KiWaitNever
//! ```
//!
//! References: KDDEBUGGER_DATA64 and DBGKD_GET_VERSION64 in WDBGEXTS.H of the Windows SDK. With 32-bit kernels the
//! list entry is two 32-bit pointers and eight zero bytes, and addresses are sign-extended.

use crate::bytes::{get_u64, put_bytes, put_u16, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::expected::{Kdbg, Keys};
use crate::windows::world::World;

/// Offset of the block in .data; it crosses a page.
const BLOCK: u64 = 0xed20;

/// Fields that hold the address of a variable: offset, name, and the variable's bytes.
const VARIABLES: [(usize, &str, u64); 45] = [
    (0x48, "PsLoadedModuleList", 16),
    (0x50, "PsActiveProcessHead", 16),
    (0x58, "PspCidTable", 8),
    (0x60, "ExpSystemResourcesList", 16),
    (0x68, "ExpPagedPoolDescriptor", 8),
    (0x70, "ExpNumberOfPagedPools", 4),
    (0x78, "KeTimeIncrement", 4),
    (0x80, "KeBugCheckCallbackListHead", 16),
    (0x88, "KiBugCheckData", 40),
    (0x90, "IopErrorLogListHead", 16),
    (0x98, "ObpRootDirectoryObject", 8),
    (0xa0, "ObpTypeObjectType", 8),
    (0xa8, "MmSystemCacheStart", 8),
    (0xb0, "MmSystemCacheEnd", 8),
    (0xb8, "MmSystemCacheWs", 8),
    (0xc0, "MmPfnDatabase", 8),
    (0xc8, "MmSystemPtesStart", 16),
    (0xd0, "MmSystemPtesEnd", 16),
    (0xd8, "MmSubsectionBase", 8),
    (0xe0, "MmNumberOfPagingFiles", 4),
    (0xe8, "MmLowestPhysicalPage", 8),
    (0xf0, "MmHighestPhysicalPage", 8),
    (0xf8, "MmNumberOfPhysicalPages", 8),
    (0x100, "MmMaximumNonPagedPoolInBytes", 8),
    (0x108, "MmNonPagedSystemStart", 8),
    (0x110, "MmNonPagedPoolStart", 8),
    (0x118, "MmNonPagedPoolEnd", 8),
    (0x120, "MmPagedPoolStart", 8),
    (0x128, "MmPagedPoolEnd", 8),
    (0x130, "MmPagedPoolInformation", 16),
    (0x140, "MmSizeOfPagedPoolInBytes", 8),
    (0x1c0, "MmAvailablePages", 8),
    (0x1c8, "MmHighestUserAddress", 8),
    (0x1d0, "MmSystemRangeStart", 8),
    (0x1d8, "MmUserProbeAddress", 8),
    (0x200, "MmLoadedUserImageList", 16),
    (0x208, "NtBuildLab", 64),
    (0x218, "KiProcessorBlock", 512),
    (0x220, "MmUnloadedDrivers", 8),
    (0x228, "MmLastUnloadedDriver", 8),
    (0x268, "CmNtCSDVersion", 4),
    (0x270, "MmPhysicalMemoryBlock", 8),
    (0x278, "MmSessionBase", 8),
    (0x280, "MmSessionSize", 8),
    (0x2d8, "KeLoaderBlock", 8),
];

/// Those that later versions have: only written if the block is long enough.
const LATER_VARIABLES: [(usize, &str, u64); 6] = [
    (0x308, "IopNumTriageDumpDataBlocks", 4),
    (0x310, "IopTriageDumpDataBlocks", 8),
    (0x318, "VfCrashDataBlock", 8),
    (0x320, "MmBadPagesDetected", 8),
    (0x328, "MmZeroedPageSingleBitErrorsDetected", 8),
    (0x330, "EtwpDebuggerData", 8),
];

/// Makes the variables and the block, writes it as this guest has it, and KdVersionBlock.
pub(crate) fn write(world: &mut World<'_>, keys: Option<Keys>) -> Option<Kdbg> {
    let layout = world.layout();
    let va = address(world);
    let plain = plain(world);
    let head = world.variable("KdpDebuggerDataListHead", 16);
    let width = layout.arch.pointer();
    let target = if world.spec.kdbg { va } else { head };
    world.put_pointer(head, target);
    world.put_pointer(head + width, target);
    if !world.spec.kdbg {
        return None;
    }
    let stored = match keys {
        Some(keys) => encode(&plain, keys),
        None => plain.clone(),
    };
    world.write(va, &stored);
    let pieces = world.pieces(va, plain.len());
    Some(Kdbg {
        va,
        pieces,
        size: layout.kdbg_size,
        keys,
        plain,
    })
}

/// Where the block is, or would be.
pub(crate) fn address(world: &World<'_>) -> u64 {
    world.layout().regions.kernel + world.layout().regions.unit + BLOCK
}

/// Encodes a block as KdEncodeDataBlock does: the steps of the decoder backwards.
pub(crate) fn encode(plain: &[u8], keys: Keys) -> Vec<u8> {
    let mut encoded = plain.to_vec();
    for at in (0..plain.len()).step_by(8) {
        let mut x = get_u64(plain, at) ^ keys.wait_always;
        x = x.swap_bytes() ^ keys.encoded_flag;
        x = x.rotate_right((keys.wait_never & 63) as u32) ^ keys.wait_never;
        put_u64(&mut encoded, at, x);
    }
    encoded
}

/// An address as the block holds it: sign-extended from 32 bits.
fn extended(arch: Arch, va: u64) -> u64 {
    if arch.is_64() {
        va
    } else {
        va as u32 as i32 as i64 as u64
    }
}

fn plain(world: &mut World<'_>) -> Vec<u8> {
    let layout = world.layout();
    let (arch, size) = (layout.arch, layout.kdbg_size as usize);
    let mut block = vec![0; size.max(0x3a0)];
    let head = world.variable("KdpDebuggerDataListHead", 16);
    if arch.is_64() {
        put_u64(&mut block, 0, head);
        put_u64(&mut block, 8, head);
    } else {
        put_u32(&mut block, 0, head as u32);
        put_u32(&mut block, 4, head as u32);
    }
    put_bytes(&mut block, 0x10, b"KDBG");
    put_u32(&mut block, 0x14, layout.kdbg_size);
    put_u64(&mut block, 0x18, extended(arch, layout.regions.kernel));
    put_u64(
        &mut block,
        0x20,
        extended(
            arch,
            layout.regions.kernel + crate::windows::code::HALT_LOOP,
        ),
    );
    // PaeEnabled; the x64 kernels say so too.
    let pae = !matches!(arch, Arch::X86 | Arch::Arm64);
    put_u16(&mut block, 0x36, u16::from(pae));
    let later = LATER_VARIABLES.iter().filter(|field| field.0 + 8 <= size);
    for &(offset, name, bytes) in VARIABLES.iter().chain(later) {
        let variable = world.variable(name, bytes);
        put_u64(&mut block, offset, extended(arch, variable));
    }
    put_u64(&mut block, 0x138, 0x1000);
    put_u64(&mut block, 0x290, extended(arch, layout.regions.pte_base));
    put_offsets(world, &mut block);
    if size >= 0x368 {
        put_u64(&mut block, 0x360, layout.regions.pte_base);
    }
    block.truncate(size);
    block
}

/// The fields from 0x298: offsets in and sizes of KTHREAD, EPROCESS, KPRCB and KPCR, and selectors.
fn put_offsets(world: &World<'_>, block: &mut [u8]) {
    let layout = world.layout();
    let (thread, process, pcr) = (&layout.thread, &layout.process, &layout.pcr);
    let is_64 = layout.arch.is_64();
    let has_current = layout.arch != Arch::Arm64;
    let mut put = |offset: usize, value: u64| put_u16(block, offset, value as u16);
    for (offset, value) in [
        (0x29a, thread.teb),
        (0x29c, thread.kernel_stack),
        (0x29e, thread.initial_stack),
        (0x2a0, thread.process),
        (0x2a2, thread.state),
        (0x2a8, process.size),
        (0x2aa, process.peb),
        (0x2ac, process.parent),
        (0x2ae, process.dtb),
        (0x2b0, pcr.prcb_size),
        (0x2b4, pcr.current_thread),
        (0x2b6, pcr.mhz),
        (0x2b8, pcr.mhz + 4),
        (0x2ba, pcr.vendor),
        (0x2bc, pcr.context),
        (0x2be, pcr.number),
        (0x2c0, thread.size),
        (0x2e0, pcr.prcb + pcr.prcb_size),
        (0x2e2, if is_64 { 0x18 } else { 0x1c }),
        // A real block of build 22000 leaves the PCR's CurrentPrcb out.
        (0x2e4, if has_current { 0x20 } else { 0 }),
        (0x2e6, pcr.prcb),
        (0x2f2, pcr.special),
        (0x338, pcr.context_pointer.unwrap_or(0)),
    ] {
        put(offset, value);
    }
    let selectors: [u16; 10] = match layout.arch {
        Arch::X64 | Arch::X64La57 => [0x10, 0x18, 0x18, 0x33, 0x2b, 0x53, 0, 0x40, 0x20, 0x53],
        Arch::X86 | Arch::X86Pae => [0x08, 0x10, 0x30, 0x1b, 0x23, 0x3b, 0x48, 0x28, 0, 0],
        Arch::Arm64 => [0; 10],
    };
    for (i, selector) in selectors.into_iter().enumerate() {
        put(0x2f4 + i * 2, u64::from(selector));
    }
}

/// Writes KdVersionBlock and returns its address.
pub(crate) fn write_version_block(world: &mut World<'_>) -> u64 {
    let layout = world.layout();
    let va = world.variable("KdVersionBlock", 0x28);
    let mut block = [0; 0x28];
    put_u16(&mut block, 0, 0xf);
    put_u16(&mut block, 2, layout.build as u16);
    block[4] = 6;
    block[5] = if layout.build >= 7600 { 2 } else { 0 };
    // MP, DATA, and PTR64 on 64-bit kernels.
    put_u16(&mut block, 6, if layout.arch.is_64() { 0x47 } else { 0x43 });
    put_u16(&mut block, 8, layout.arch.machine());
    block[10] = 0xc;
    block[12] = 0x2e;
    let list = world.variable("PsLoadedModuleList", 16);
    let head = world.variable("KdpDebuggerDataListHead", 16);
    put_u64(
        &mut block,
        0x10,
        extended(layout.arch, layout.regions.kernel),
    );
    put_u64(&mut block, 0x18, extended(layout.arch, list));
    put_u64(&mut block, 0x20, extended(layout.arch, head));
    world.write(va, &block);
    va
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_undone_by_the_published_decoder() {
        let keys = Keys {
            wait_never: 0x8f2d_5b7a_913c_46e1,
            wait_always: 0x004c_6f9a_1be2_7d35,
            encoded_flag: 0x1234_5678,
        };
        let plain: Vec<u8> = (0..64).collect();
        let encoded = encode(&plain, keys);
        for at in (0..64).step_by(8) {
            let mut x = get_u64(&encoded, at) ^ keys.wait_never;
            x = x.rotate_left((keys.wait_never & 63) as u32) ^ keys.encoded_flag;
            x = x.swap_bytes() ^ keys.wait_always;
            assert_eq!(x, get_u64(&plain, at));
        }
    }
}
