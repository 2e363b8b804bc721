//! What `xl dump-core` writes: an ELF of sections, without program headers.
//!
//! ```text
//! 0x0000  Elf64_Ehdr          e_phnum 0, e_shnum 6 or 7
//! 0x0040  section headers
//!         .note.Xen           four notes; names "Xen\0"
//!         .xen_prstatus       vcpu_guest_context_t[nr_vcpus]
//!         .xen_shared_info    optional
//!         .xen_pages          nr_pages x 4096, page aligned
//!         .xen_pfn | .xen_p2m one entry a page: pfn | {pfn, machine frame}
//!         .shstrtab           last
//! ```
//!
//! Sources: Xen, docs/misc/dump-core-format.txt and `tools/libs/guest/xg_core.c` (4.17);
//! xen/include/public/arch-x86/xen.h and xen-x86_64.h for `vcpu_guest_context`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Note type: [`NoteHeader`].
pub(crate) const NOTE_HEADER: u32 = 0x0200_0001;
/// Note type: the hypervisor's version.
pub(crate) const NOTE_XEN_VERSION: u32 = 0x0200_0002;

/// `NoteHeader::magic` of a paravirtual guest.
pub(crate) const MAGIC_PV: u64 = 0xf00f_ebed;
/// `NoteHeader::magic` of an HVM or PVH guest.
pub(crate) const MAGIC_HVM: u64 = 0xf00f_ebee;

/// A `.xen_pfn` entry without a page: the writer pads the table with these.
pub(crate) const INVALID_PFN: u64 = u64::MAX;

/// Frames that the writer leaves out always, even where RAM is: VGA. First and one past the last.
pub(crate) const SKIPPED_VGA: (u64, u64) = (0xa0, 0xc0);
/// Frames that the writer leaves out always: MMIO below 4 GiB. First and one past the last.
pub(crate) const SKIPPED_MMIO: (u64, u64) = (0xf_0000, 0x10_0000);

/// Contents of the note [`NOTE_HEADER`].
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct NoteHeader {
    /// [`MAGIC_PV`] or [`MAGIC_HVM`].
    pub(crate) magic: U64,
    /// vCPUs in `.xen_prstatus`, which may be fewer than the domain has.
    pub(crate) nr_vcpus: U64,
    /// Pages in `.xen_pages`.
    pub(crate) nr_pages: U64,
    /// Bytes a page: 4096.
    pub(crate) page_size: U64,
}

/// First fields of the note [`NOTE_XEN_VERSION`].
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct NoteXenVersion {
    /// Such as 4.
    pub(crate) major: U64,
    /// Such as 17.
    pub(crate) minor: U64,
    /// Such as ".7", padded with zeros.
    pub(crate) extra: [u8; 16],
}

/// An entry of `.xen_p2m`.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct P2mEntry {
    /// The guest's frame.
    pub(crate) pfn: U64,
    /// The machine frame behind it.
    pub(crate) gmfn: U64,
}

/// `vcpu_guest_context.flags`: the vCPU is online.
pub(crate) const FLAG_ONLINE: u32 = 1 << 5;

/// `vcpu_guest_context_t` of a 64-bit tool stack.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct VcpuContext64 {
    /// An FXSAVE image.
    pub(crate) fpu: [u8; 512],
    /// Bit 5: online.
    pub(crate) flags: U32,
    pad: U32,
    /// General registers.
    pub(crate) user_regs: UserRegs64,
    trap_ctxt: [u8; 4096],
    ldt_base: U64,
    ldt_ents: U64,
    gdt_frames: [U64; 16],
    gdt_ents: U64,
    kernel_ss: U64,
    kernel_sp: U64,
    /// CR0 to CR7.
    pub(crate) ctrlreg: [U64; 8],
    /// DR0 to DR7.
    pub(crate) debugreg: [U64; 8],
    event_callback_eip: U64,
    failsafe_callback_eip: U64,
    syscall_callback_eip: U64,
    vm_assist: U64,
    /// FS base.
    pub(crate) fs_base: U64,
    /// The kernel's GS base, whatever mode the vCPU is in.
    pub(crate) gs_base_kernel: U64,
    /// The user's GS base.
    pub(crate) gs_base_user: U64,
}

/// `cpu_user_regs` of x86-64.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct UserRegs64 {
    pub(crate) r15: U64,
    pub(crate) r14: U64,
    pub(crate) r13: U64,
    pub(crate) r12: U64,
    pub(crate) rbp: U64,
    pub(crate) rbx: U64,
    pub(crate) r11: U64,
    pub(crate) r10: U64,
    pub(crate) r9: U64,
    pub(crate) r8: U64,
    pub(crate) rax: U64,
    pub(crate) rcx: U64,
    pub(crate) rdx: U64,
    pub(crate) rsi: U64,
    pub(crate) rdi: U64,
    error_code: U32,
    entry_vector: U32,
    pub(crate) rip: U64,
    pub(crate) cs: U16,
    pad0: U16,
    saved_upcall_mask: [u8; 4],
    pub(crate) rflags: U64,
    pub(crate) rsp: U64,
    pub(crate) ss: U16,
    pad1: [U16; 3],
    pub(crate) es: U16,
    pad2: [U16; 3],
    pub(crate) ds: U16,
    pad3: [U16; 3],
    pub(crate) fs: U16,
    pad4: [U16; 3],
    pub(crate) gs: U16,
    pad5: [U16; 3],
}

/// `vcpu_guest_context_t` of a 32-bit tool stack, and of a 32-bit PV guest.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct VcpuContext32 {
    /// An FXSAVE image.
    pub(crate) fpu: [u8; 512],
    /// Bit 5: online.
    pub(crate) flags: U32,
    /// General registers.
    pub(crate) user_regs: UserRegs32,
    trap_ctxt: [u8; 2048],
    ldt_base: U32,
    ldt_ents: U32,
    gdt_frames: [U32; 16],
    gdt_ents: U32,
    kernel_ss: U32,
    kernel_sp: U32,
    /// CR0 to CR7.
    pub(crate) ctrlreg: [U32; 8],
    /// DR0 to DR7.
    pub(crate) debugreg: [U32; 8],
    event_callback: [U32; 4],
    vm_assist: U32,
}

/// `cpu_user_regs` of x86-32.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct UserRegs32 {
    pub(crate) ebx: U32,
    pub(crate) ecx: U32,
    pub(crate) edx: U32,
    pub(crate) esi: U32,
    pub(crate) edi: U32,
    pub(crate) ebp: U32,
    pub(crate) eax: U32,
    error_code: U16,
    entry_vector: U16,
    pub(crate) eip: U32,
    pub(crate) cs: U16,
    saved_upcall_mask: [u8; 2],
    pub(crate) eflags: U32,
    pub(crate) esp: U32,
    pub(crate) ss: U16,
    pad1: U16,
    pub(crate) es: U16,
    pad2: U16,
    pub(crate) ds: U16,
    pad3: U16,
    pub(crate) fs: U16,
    pad4: U16,
    pub(crate) gs: U16,
    pad5: U16,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<NoteHeader>() == 0x20);
    assert!(size_of::<P2mEntry>() == 16);
    assert!(size_of::<UserRegs64>() == 0xc8);
    assert!(size_of::<VcpuContext64>() == 5168);
    assert!(offset_of!(VcpuContext64, user_regs) == 0x208);
    assert!(offset_of!(UserRegs64, rip) == 0x80);
    assert!(offset_of!(UserRegs64, rsp) == 0x98);
    assert!(offset_of!(VcpuContext64, ctrlreg) == 0x1378);
    assert!(offset_of!(VcpuContext64, debugreg) == 0x13b8);
    assert!(offset_of!(VcpuContext64, gs_base_kernel) == 0x1420);
    assert!(size_of::<UserRegs32>() == 0x44);
    assert!(size_of::<VcpuContext32>() == 2800);
    assert!(offset_of!(VcpuContext32, user_regs) == 0x204);
    assert!(offset_of!(VcpuContext32, ctrlreg) == 0xa9c);
    assert!(offset_of!(VcpuContext32, debugreg) == 0xabc);
    assert!(offset_of!(VcpuContext32, vm_assist) == 0xaec);
};
