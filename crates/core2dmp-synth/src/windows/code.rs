//! Kernel code, as far as readers look at it: what names the keys of an encoded KDBG, and where processors stand.
//!
//! ```text
//! KdCopyDataBlock   cmp byte [KdpDataBlockEncoded],0; lea r9,[KdDebuggerDataBlock]; mov r8d,Size/8;
//!                   mov rdx,[KiWaitNever]; mov r10,[KiWaitAlways]; .. xor rol xor bswap xor ..
//! KeSetTimerEx      .. call KiSetTimerEx -> mov rbx,[KiWaitNever]; mov rdi,[KiWaitAlways]
//! ```
//!
//! References: Volatility 2 `win8_kdbg.py` (KdCopyDataBlock), Bin2Dmp (KeSetTimerEx): both read these instructions.

use crate::windows::world::World;

/// Offset of .text.
pub(crate) const TEXT: u64 = 0x1_0000;
/// Offsets in the kernel image.
pub(crate) const KE_BUG_CHECK_EX: u64 = TEXT + 0x4000;
pub(crate) const FREEZE: u64 = TEXT + 0x6100;
pub(crate) const IDLE: u64 = TEXT + 0x8100;
/// Every processor idles in a copy of its own, so that a test can tell them apart.
pub(crate) const IDLE_STRIDE: u64 = 0x10;
pub(crate) const HALT_LOOP: u64 = TEXT + 0x9000;
pub(crate) const INTERRUPTS: u64 = TEXT + 0x2000;
pub(crate) const FAULT_SITE: u64 = TEXT + 0xa730;
pub(crate) const KE_SET_TIMER_EX: u64 = TEXT + 0xd400;
pub(crate) const KE_SET_TIMER: u64 = TEXT + 0xd480;
pub(crate) const KI_SET_TIMER_EX: u64 = TEXT + 0xd000;
const KD_COPY_DATA_BLOCK: u64 = TEXT + 0xb688;
const TAG_CODE: u64 = TEXT + 0xc010;

/// What the code refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    pub(crate) kdbg: u64,
    pub(crate) kdbg_size: u32,
    pub(crate) wait_never: u64,
    pub(crate) wait_always: u64,
    pub(crate) encoded: u64,
}

/// Instructions at an address.
struct Code {
    at: u64,
    bytes: Vec<u8>,
}

impl Code {
    fn new(at: u64) -> Self {
        Self {
            at,
            bytes: Vec::new(),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// An instruction whose 32-bit displacement counts from its end, `trailing` bytes after the displacement.
    fn relative(&mut self, opcode: &[u8], target: u64, trailing: &[u8]) -> &mut Self {
        self.raw(opcode);
        let end = self.at + (self.bytes.len() + 4 + trailing.len()) as u64;
        let displacement = target.wrapping_sub(end) as u32;
        self.raw(&displacement.to_le_bytes()).raw(trailing)
    }
}

/// Writes the code of x86 and x64; `targets` is for kernels that encode the block.
pub(crate) fn write(world: &mut World<'_>, targets: Option<Targets>) {
    let base = world.layout().regions.kernel;
    for i in 0..256 {
        // An interrupt's entry: push imm8; push rbp; jmp.
        world.write(
            base + INTERRUPTS + i * 0x10,
            &[0x6a, i as u8, 0x55, 0xe9, 0, 0x10, 0, 0],
        );
    }
    // mov [rsp+8],rcx ... / cli; hlt; jmp $-1 / pause; jmp $-2 / sti; hlt; ret
    world.write(
        base + KE_BUG_CHECK_EX,
        &[0x48, 0x89, 0x4c, 0x24, 0x08, 0x48, 0x89, 0x54, 0x24, 0x10],
    );
    world.write(base + HALT_LOOP, &[0xfa, 0xf4, 0xeb, 0xfd]);
    world.write(base + FREEZE, &[0xf3, 0x90, 0xeb, 0xfc]);
    for i in 0..64 {
        world.write(base + IDLE + i * IDLE_STRIDE, &[0xfb, 0xf4, 0xc3]);
    }
    world.write(base + FAULT_SITE, &[0x8b, 0x01, 0x89, 0x02, 0xc3]);
    // The tag as an operand: mov dword [rip+x],'GBDK'. It occurs in real kernels' code too.
    let mut tag = Code::new(base + TAG_CODE);
    tag.raw(&[0xc7, 0x05])
        .raw(&0x1234u32.to_le_bytes())
        .raw(b"KDBG")
        .raw(&[0xc3]);
    write_code(world, &tag);
    let Some(targets) = targets else { return };
    if world.spec.code_scan {
        let copy = copy_data_block(base + KD_COPY_DATA_BLOCK, targets);
        write_code(world, &copy);
    }
    for code in set_timer(base, targets) {
        write_code(world, &code);
    }
}

fn write_code(world: &mut World<'_>, code: &Code) {
    world.write(code.at, &code.bytes);
}

fn copy_data_block(at: u64, targets: Targets) -> Code {
    let mut code = Code::new(at);
    code.relative(&[0x80, 0x3d], targets.encoded, &[0]) // cmp byte [KdpDataBlockEncoded],0
        .relative(&[0x4c, 0x8d, 0x0d], targets.kdbg, &[]) // lea r9,[KdDebuggerDataBlock]
        .raw(&[0x74, 0x40, 0x41, 0xb8]) // je plain; mov r8d,qwords
        .raw(&(targets.kdbg_size / 8).to_le_bytes())
        .relative(&[0x48, 0x8b, 0x15], targets.wait_never, &[]) // mov rdx,[KiWaitNever]
        .relative(&[0x4c, 0x8b, 0x15], targets.wait_always, &[]) // mov r10,[KiWaitAlways]
        .relative(&[0x4c, 0x8d, 0x1d], targets.encoded, &[]) // lea r11,[KdpDataBlockEncoded]
        .raw(&[0x49, 0x8b, 0x01, 0x48, 0x33, 0xc2]) // mov rax,[r9]; xor rax,rdx
        .raw(&[0x8a, 0xca, 0x48, 0xd3, 0xc0]) // mov cl,dl; rol rax,cl
        .raw(&[0x49, 0x33, 0xc3, 0x48, 0x0f, 0xc8]) // xor rax,r11; bswap rax
        .raw(&[0x49, 0x33, 0xc2, 0x48, 0x89, 0x01]) // xor rax,r10; mov [rcx],rax
        .raw(&[0x48, 0x83, 0xc1, 0x08, 0x49, 0x83, 0xc1, 0x08]) // add rcx,8; add r9,8
        .raw(&[0x49, 0x83, 0xe8, 0x01, 0x75, 0xdc, 0xc3]); // sub r8,1; jne loop; ret
    code
}

fn set_timer(base: u64, targets: Targets) -> [Code; 3] {
    let inner = base + KI_SET_TIMER_EX;
    let mut body = Code::new(inner);
    body.raw(&[0x48, 0x89, 0x5c, 0x24, 0x08, 0x57, 0x48, 0x83, 0xec, 0x40]) // mov [rsp+8],rbx; push rdi; sub rsp,40h
        .relative(&[0x48, 0x8b, 0x1d], targets.wait_never, &[]) // mov rbx,[KiWaitNever]
        .raw(&[0x41, 0x8b, 0xf0]) // mov esi,r8d
        .relative(&[0x48, 0x8b, 0x3d], targets.wait_always, &[]) // mov rdi,[KiWaitAlways]
        .raw(&[0x48, 0x33, 0xfb, 0x48, 0xd3, 0xcf, 0x48, 0x0f, 0xcf]) // xor rdi,rbx; ror rdi,cl; bswap rdi
        .raw(&[0x48, 0x83, 0xc4, 0x40, 0x5f, 0xc3]);
    let mut timer_ex = Code::new(base + KE_SET_TIMER_EX);
    timer_ex
        .raw(&[
            0x48, 0x83, 0xec, 0x38, 0x4c, 0x89, 0x4c, 0x24, 0x20, 0x45, 0x33, 0xc9,
        ])
        .relative(&[0xe8], inner, &[])
        .raw(&[0x48, 0x83, 0xc4, 0x38, 0xc3]);
    let mut timer = Code::new(base + KE_SET_TIMER);
    timer
        .raw(&[
            0x48, 0x83, 0xec, 0x38, 0x4c, 0x89, 0x44, 0x24, 0x20, 0x45, 0x33, 0xc9, 0x45, 0x33,
            0xc0,
        ])
        .relative(&[0xe8], inner, &[])
        .raw(&[0x48, 0x83, 0xc4, 0x38, 0xc3]);
    [body, timer_ex, timer]
}
