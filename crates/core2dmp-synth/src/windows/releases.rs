//! The Windows releases that guests can be shaped like, as plain tables.
//!
//! ```text
//! 19041 x64 -> 7601 x64 -> 3790 x64 -> 3790 32-bit, with and without PAE -> 7601 32-bit PAE      each from the one before
//!           -> 22000 ARM64
//! ```
//!
//! References: KPCR, KPRCB, EPROCESS and KTHREAD: public symbols of the builds named, as `dt` prints them and the
//! Vergilius project collects them. An offset that the KDBG tells need not be the real one: a reader has to take it
//! from there.

use crate::windows::arch::Arch;
use crate::windows::layout::{Layout, Mmpfn, Pcr, Process, Regions, Thread};

impl Layout {
    /// Windows 10 2004, build 19041, x64.
    pub(crate) fn windows10() -> Self {
        Self {
            arch: Arch::X64,
            build: 19041,
            version: (10, 0),
            build_lab: "19041.1.amd64fre.vb_release.191206-1406",
            pdb: "ntkrnlmp.pdb",
            kdbg_size: 0x380,
            encodes_kdbg: true,
            product_type: 1,
            suite_mask: 0x110,
            regions: windows10_regions(),
            mmpfn: Mmpfn {
                size: 0x30,
                pte_address: 8,
                reference_count: 0x20,
                location: 0x22,
            },
            pcr: Pcr {
                prcb: 0x180,
                prcb_size: 0xaec0,
                number: 0x24,
                current_thread: 8,
                idle_thread: 0x18,
                context: 0x130,
                special: 0x40,
                context_pointer: Some(0x6c98),
                mhz: 0x640,
                vendor: 0x85b8,
            },
            process: Process {
                size: 0xa40,
                dtb: 0x28,
                pid: 0x440,
                parent: 0x540,
                name: 0x5a8,
                peb: 0x550,
            },
            thread: Thread {
                size: 0x898,
                teb: 0xf0,
                initial_stack: 0x28,
                kernel_stack: 0x58,
                process: 0xb8,
                state: 0x184,
            },
        }
    }

    /// Windows 11, build 22000, ARM64.
    ///
    /// The offsets of KPCR, KPRCB, EPROCESS and ETHREAD are those that the debugger data block of a real small dump of that
    /// build names (rizin's test file), and `KernBase` and the block's size are of its kind. No public source names
    /// where `IdleThread`, the process' list entry and its name are: those are made up, within the structures' sizes.
    pub(crate) fn windows11_arm64() -> Self {
        Self {
            arch: Arch::Arm64,
            build: 22000,
            build_lab: "22000.1.arm64fre.co_release.210604-1628",
            pcr: Pcr {
                prcb: 0x980,
                prcb_size: 0x9680,
                number: 0x24,
                current_thread: 8,
                idle_thread: 0x18,
                context: 0x360,
                special: 0x40,
                context_pointer: Some(0x8a0),
                mhz: 0x6f4,
                vendor: 0x890,
            },
            process: Process {
                size: 0xc80,
                dtb: 0x28,
                pid: 0x400,
                parent: 0x4f8,
                name: 0x568,
                peb: 0x508,
            },
            thread: Thread {
                size: 0x910,
                teb: 0xe8,
                initial_stack: 0x28,
                kernel_stack: 0x58,
                process: 0xb0,
                state: 0x17c,
            },
            ..Self::windows10()
        }
    }

    /// Windows 7 SP1, build 7601, x64.
    pub(crate) fn windows7() -> Self {
        Self {
            build: 7601,
            version: (6, 1),
            build_lab: "7601.17514.amd64fre.win7sp1_rtm.101119-1850",
            kdbg_size: 0x340,
            encodes_kdbg: false,
            regions: Regions {
                kernel: 0xffff_f800_0280_0000,
                hal: 0xffff_f800_0273_0000,
                drivers: 0xffff_f880_04e0_0000,
                pool: 0xffff_fa80_0180_0000,
                stacks: 0xffff_f880_0340_0000,
                boot_pcr: 0xffff_f800_02e4_f000,
                other_pcrs: 0xffff_f880_009b_1000,
                pcr_stride: 0x7_0000,
                descriptors: 0xffff_f800_0310_0000,
                pfn_database: 0xffff_fa80_0000_0000,
                root_pfn: 0x187,
                self_map: 0x1ed,
                pte_base: 0xffff_f680_0000_0000,
                extra: &[
                    0xffff_f8a0_0000_0000,
                    0xffff_f900_c000_0000,
                    0xffff_f980_0000_0000,
                ],
                ..Self::windows10().regions
            },
            mmpfn: Mmpfn {
                size: 0x30,
                pte_address: 0x10,
                reference_count: 0x18,
                location: 0x1a,
            },
            pcr: Pcr {
                prcb_size: 0x4d00,
                context: 0x120,
                context_pointer: Some(0x4bd8),
                vendor: 0x4b90,
                mhz: 0x640,
                ..Self::windows10().pcr
            },
            process: Process {
                size: 0x4d0,
                dtb: 0x28,
                pid: 0x180,
                parent: 0x290,
                name: 0x2e0,
                peb: 0x338,
            },
            thread: Thread {
                size: 0x498,
                teb: 0xb8,
                initial_stack: 0x28,
                kernel_stack: 0x38,
                process: 0x70,
                state: 0x164,
            },
            ..Self::windows10()
        }
    }

    /// Windows Server 2003 SP2, build 3790, x64.
    pub(crate) fn windows2003_x64() -> Self {
        Self {
            build: 3790,
            version: (5, 2),
            build_lab: "3790.srv03_sp2_rtm.070216-1710",
            kdbg_size: 0x318,
            product_type: 3,
            suite_mask: 0x112,
            regions: Regions {
                kernel: 0xffff_f800_0180_0000,
                unit: 0x18_0000,
                large_pages: false,
                hal: 0xffff_f800_01e0_0000,
                drivers: 0xffff_fadf_d720_0000,
                pool: 0xffff_fadf_e7a0_0000,
                stacks: 0xffff_fadf_da40_0000,
                boot_pcr: 0xffff_f800_0118_2000,
                other_pcrs: 0xffff_fadf_d6b0_0000,
                pcr_stride: 0x4000,
                descriptors: 0xffff_f800_0014_0000,
                pfn_database: 0xffff_fadf_ea00_0000,
                root_pfn: 0x124,
                extra: &[
                    0xffff_f6fb_8000_0000,
                    0xffff_f8a0_0000_0000,
                    0xffff_f980_0000_0000,
                ],
                ..Self::windows7().regions
            },
            mmpfn: Mmpfn {
                size: 0x30,
                pte_address: 8,
                reference_count: 0x18,
                location: 0x1b,
            },
            pcr: Pcr {
                prcb_size: 0x2600,
                number: 4,
                context_pointer: None,
                mhz: 0x640,
                vendor: 0x650,
                ..Self::windows7().pcr
            },
            process: Process {
                size: 0x3e0,
                dtb: 0x28,
                pid: 0xd8,
                parent: 0x1e0,
                name: 0x268,
                peb: 0x2c0,
            },
            thread: Thread {
                size: 0x3f0,
                teb: 0xb0,
                initial_stack: 0x28,
                kernel_stack: 0x30,
                process: 0x68,
                state: 0x154,
            },
            ..Self::windows7()
        }
    }

    /// Windows Server 2003 SP2, build 3790, 32-bit; with PAE the kernel is another program.
    pub(crate) fn windows2003_32(pae: bool) -> Self {
        Self {
            arch: if pae { Arch::X86Pae } else { Arch::X86 },
            pdb: if pae { "ntkrpamp.pdb" } else { "ntkrnlmp.pdb" },
            regions: Regions {
                kernel: 0x8080_0000,
                unit: 0x10_0000,
                large_pages: false,
                hal: 0x80b2_0000,
                drivers: 0xf874_0000,
                pool: 0x8630_0000,
                stacks: 0xf789_0000,
                boot_pcr: 0xffdf_f000,
                other_pcrs: 0xf772_7000,
                pcr_stride: 0x4000,
                descriptors: 0x8003_f000,
                pfn_database: 0x8100_0000,
                root_pfn: if pae { 0x2f7 } else { 0x39 },
                self_map: 0x300,
                pte_base: 0xc000_0000,
                kuser: 0xffdf_0000,
                extra: &[0xe100_0000, 0xbf80_0000],
            },
            mmpfn: Mmpfn {
                size: if pae { 0x1c } else { 0x18 },
                pte_address: 4,
                reference_count: 0xc,
                location: 0xf,
            },
            pcr: Pcr {
                prcb: 0x120,
                prcb_size: 0xec0,
                number: 0x10,
                current_thread: 4,
                idle_thread: 0xc,
                context: 0x1c,
                special: 0x2e8,
                context_pointer: None,
                mhz: 0x3c4,
                vendor: 0x900,
            },
            process: Process {
                size: 0x278,
                dtb: 0x18,
                pid: 0x94,
                parent: 0x128,
                name: 0x164,
                peb: 0x1a0,
            },
            thread: Thread {
                size: 0x260,
                teb: 0x74,
                initial_stack: 0x18,
                kernel_stack: 0x20,
                process: 0x38,
                state: 0x4c,
            },
            ..Self::windows2003_x64()
        }
    }

    /// Windows 7 SP1, build 7601, 32-bit with PAE. Its KPCRs are not page-aligned.
    pub(crate) fn windows7_pae() -> Self {
        let (old, seven) = (Self::windows2003_32(true), Self::windows7());
        Self {
            build: seven.build,
            version: seven.version,
            build_lab: "7601.17514.x86fre.win7sp1_rtm.101119-1850",
            kdbg_size: seven.kdbg_size,
            product_type: seven.product_type,
            suite_mask: seven.suite_mask,
            regions: Regions {
                kernel: 0x82a1_0000,
                hal: 0x82d5_0000,
                drivers: 0x8be0_0000,
                pool: 0x8540_0000,
                stacks: 0x8d80_0000,
                boot_pcr: 0x8073_fc00,
                other_pcrs: 0x8098_5c00,
                pcr_stride: 0x8000,
                descriptors: 0x80b9_5000,
                pfn_database: 0x8340_0000,
                root_pfn: 0x185,
                ..old.regions
            },
            mmpfn: Mmpfn {
                size: 0x1c,
                pte_address: 8,
                reference_count: 0xc,
                location: 0xe,
            },
            pcr: Pcr {
                prcb_size: 0x3628,
                number: 0x3cc,
                context: 0x18,
                special: 0x2e4,
                context_pointer: Some(0x338c),
                mhz: 0x3c4,
                vendor: 0x335c,
                ..old.pcr
            },
            process: Process {
                size: 0x2c0,
                dtb: 0x18,
                pid: 0xb4,
                parent: 0x140,
                name: 0x16c,
                peb: 0x1a8,
            },
            thread: Thread {
                size: 0x2b8,
                teb: 0x88,
                initial_stack: 0x28,
                kernel_stack: 0x30,
                process: 0x50,
                state: 0x68,
            },
            ..old
        }
    }
}

fn windows10_regions() -> Regions {
    Regions {
        kernel: 0xffff_f806_5ea0_0000,
        unit: 0x20_0000,
        large_pages: true,
        hal: 0xffff_f806_5e90_0000,
        drivers: 0xffff_f806_6280_0000,
        pool: 0xffff_a50c_1d00_0000,
        stacks: 0xffff_d207_4b60_0000,
        boot_pcr: 0xffff_f806_5bd2_8000,
        other_pcrs: 0xffff_c101_7a40_0000,
        pcr_stride: 0x8_0000,
        descriptors: 0xffff_f806_6187_5000,
        pfn_database: 0xffff_d580_0000_0000,
        root_pfn: 0x1aa,
        self_map: 0x1a3,
        pte_base: 0xffff_d180_0000_0000,
        kuser: 0xffff_f780_0000_0000,
        extra: &[
            0xffff_8a00_0000_0000,
            0xffff_bc80_0000_0000,
            0xffff_ea80_0000_0000,
        ],
    }
}
