//! Telling the host: a port, or a hypercall. Only x86 has either.

use guest_record::{Settings, Word};

/// What pvpanic's port answers, and whether the hypervisor is Xen. Nothing that was not asked for is touched.
pub(crate) fn look(settings: &Settings) -> (u8, bool) {
    let features = if settings.pvpanic_port == 0 {
        0
    } else {
        arch::read_port(settings.pvpanic_port)
    };
    (features, settings.xen && arch::is_xen())
}

/// Tells the host; runs at `HIGH_LEVEL`.
pub(crate) fn tell(word: Word) {
    match word {
        Word::Port(port, byte) => arch::write_port(port, byte),
        Word::XenCrash => arch::xen_crash(),
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod arch {
    use core::arch::asm;
    #[cfg(target_arch = "x86")]
    use core::arch::x86::__cpuid;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::__cpuid;

    /// `__HYPERVISOR_sched_op`, `SCHEDOP_shutdown`, `SHUTDOWN_crash` (xen/include/public/xen.h, sched.h).
    const SCHED_OP: usize = 29;
    const SHUTDOWN: usize = 2;
    static REASON_CRASH: u32 = 3;

    pub(super) fn read_port(port: u16) -> u8 {
        let byte;
        // SAFETY: the administrator named this port as pvpanic's, whose answer to a read has no effect.
        unsafe {
            asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack, preserves_flags));
        }
        byte
    }

    pub(super) fn write_port(port: u16, byte: u8) {
        // SAFETY: the port answered as pvpanic does, and the byte is a bit that it named.
        unsafe {
            asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags));
        }
    }

    fn signature(leaf: u32) -> [u32; 3] {
        let leaf = __cpuid(leaf);
        [leaf.ebx, leaf.ecx, leaf.edx]
    }

    fn word(text: [u8; 4]) -> u32 {
        u32::from_le_bytes(text)
    }

    /// Xen's leaf is behind Hyper-V's where Xen offers both.
    pub(super) fn is_xen() -> bool {
        let xen = [word(*b"XenV"), word(*b"MMXe"), word(*b"nVMM")];
        [0x4000_0000, 0x4000_0100]
            .into_iter()
            .any(|leaf| signature(leaf) == xen)
    }

    /// Intel's processors know `vmcall`, AMD's and Hygon's `vmmcall`; Xen takes what the processor has.
    pub(super) fn xen_crash() {
        let reason = &raw const REASON_CRASH;
        if signature(0)[0] == word(*b"Genu") {
            intel(reason);
        } else {
            amd(reason);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn intel(reason: *const u32) {
        // SAFETY: the hypervisor is Xen. It stops the guest; should it refuse, only rax is changed.
        unsafe {
            asm!("vmcall", inlateout("rax") SCHED_OP => _, in("rdi") SHUTDOWN, in("rsi") reason, options(nostack));
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn amd(reason: *const u32) {
        // SAFETY: as `intel`.
        unsafe {
            asm!("vmmcall", inlateout("rax") SCHED_OP => _, in("rdi") SHUTDOWN, in("rsi") reason, options(nostack));
        }
    }

    #[cfg(target_arch = "x86")]
    fn intel(reason: *const u32) {
        // SAFETY: as on x64; the first argument is in ebx.
        unsafe {
            asm!("push ebx", "mov ebx, {first}", "vmcall", "pop ebx", first = in(reg) SHUTDOWN,
                inlateout("eax") SCHED_OP => _, in("ecx") reason);
        }
    }

    #[cfg(target_arch = "x86")]
    fn amd(reason: *const u32) {
        // SAFETY: as on x64; the first argument is in ebx.
        unsafe {
            asm!("push ebx", "mov ebx, {first}", "vmmcall", "pop ebx", first = in(reg) SHUTDOWN,
                inlateout("eax") SCHED_OP => _, in("ecx") reason);
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub(super) fn read_port(_: u16) -> u8 {
        0
    }

    pub(super) fn write_port(_: u16, _: u8) {}

    pub(super) fn is_xen() -> bool {
        false
    }

    pub(super) fn xen_crash() {}
}
