//! What the guests' memory holds is what `Expected` says, read the way a debugger reads it.

use crate::naive::{Core, Virtual, u16_at, u32_at, u64_at};
use core2dmp_synth::{CrashRecord, Expected, Guest, GuestSpec, RamHeader};

fn specs() -> Vec<GuestSpec> {
    let presets = [
        GuestSpec::windows10,
        GuestSpec::windows10_la57,
        GuestSpec::windows7,
        GuestSpec::windows2003_x64,
        GuestSpec::windows2003_x86,
        GuestSpec::windows2003_pae,
        GuestSpec::windows7_pae,
    ];
    presets
        .iter()
        .flat_map(|preset| [preset(), preset().processors(4).fill(20)])
        .collect()
}

fn system<'a>(core: &'a Core, expected: &Expected) -> Virtual<'a> {
    Virtual {
        core,
        arch: expected.arch,
        root: expected.dtb,
    }
}

fn read_back(guest: &Guest, check: impl Fn(&Virtual<'_>, &Expected)) {
    let core = Core::of(&guest.xen_core());
    check(&system(&core, &guest.expected), &guest.expected);
}

#[test]
fn the_kernel_image_is_where_expected_says() {
    for spec in specs() {
        read_back(&spec.build(), |memory, expected| {
            let kernel = &expected.kernel;
            let page = memory.read(kernel.base, 4096).unwrap();
            let pe = u32_at(&page, 0x3c) as usize;
            assert_eq!(
                (&page[..2], &page[pe..pe + 4]),
                (&b"MZ"[..], &b"PE\0\0"[..])
            );
            assert_eq!(
                (u32_at(&page, pe + 8), u32_at(&page, pe + 24 + 56)),
                (kernel.timestamp, kernel.size as u32)
            );
            let directories = pe + 24 + if expected.arch.is_64() { 112 } else { 96 };
            let debug = memory
                .read(
                    kernel.base + u64::from(u32_at(&page, directories + 48)),
                    0x1c,
                )
                .unwrap();
            let record = memory
                .read(kernel.base + u64::from(u32_at(&debug, 20)), 37)
                .unwrap();
            assert_eq!(
                (&record[..4], &record[4..20]),
                (&b"RSDS"[..], &kernel.pdb.guid[..])
            );
            assert_eq!(
                (u32_at(&record, 20), &record[24..36]),
                (kernel.pdb.age, kernel.pdb.name.as_bytes())
            );
            assert_eq!(kernel.pdb.id().len(), 34);
            // The second page of the PAGE section is in transition.
            assert!(
                memory
                    .translate(kernel.base + kernel.size / 3 * 2)
                    .is_some()
            );
            assert_eq!(
                memory.translate(kernel.base + kernel.size / 3 * 2 + 0x1000),
                None
            );
        });
    }
}

#[test]
fn the_kdbg_decodes_to_the_plain_block() {
    for spec in specs() {
        read_back(&spec.build(), |memory, expected| {
            let kdbg = expected.kdbg.as_ref().unwrap();
            let mut block = memory.read(kdbg.va, kdbg.size as usize).unwrap();
            assert_eq!(kdbg.keys.is_some(), expected.build == 19041);
            if let Some(keys) = kdbg.keys {
                assert_ne!(&block[0x10..0x14], b"KDBG");
                assert_eq!(memory.read(keys.encoded_flag, 1).unwrap(), [1]);
                for at in (0..block.len()).step_by(8) {
                    let x = (u64_at(&block, at) ^ keys.wait_never)
                        .rotate_left(keys.wait_never as u32 & 63);
                    let x = (x ^ keys.encoded_flag).swap_bytes() ^ keys.wait_always;
                    block[at..at + 8].copy_from_slice(&x.to_le_bytes());
                }
            }
            assert_eq!(block, kdbg.plain);
            assert_eq!(
                (&block[0x10..0x14], u32_at(&block, 0x14)),
                (&b"KDBG"[..], kdbg.size)
            );
            let field = |at| {
                u64_at(&block, at)
                    & if expected.arch.is_64() {
                        u64::MAX
                    } else {
                        0xffff_ffff
                    }
            };
            assert_eq!(
                (field(0x18), field(0x48)),
                (expected.kernel.base, expected.ps_loaded_module_list)
            );
            assert_eq!(
                (field(0xc0), field(0x218)),
                (expected.pfn_database_variable, expected.ki_processor_block)
            );
            let version = memory.read(expected.kd_version_block, 0x28).unwrap();
            assert_eq!(
                (u16_at(&version, 0), u32::from(u16_at(&version, 2))),
                (0xf, expected.build)
            );
            let descriptor = memory.pointer(field(0x270));
            let width = if expected.arch.is_64() { 8 } else { 4 };
            assert_eq!(memory.u32(descriptor) as usize, expected.runs.len());
            for (i, &(base, count)) in expected.runs.iter().enumerate() {
                let at = descriptor + 2 * width * (i as u64 + 1);
                assert_eq!(
                    (memory.pointer(at), memory.pointer(at + width)),
                    (base, count)
                );
            }
        });
    }
}

#[test]
fn processors_hold_their_contexts() {
    for spec in specs() {
        read_back(&spec.build(), |memory, expected| {
            let block = &expected.kdbg.as_ref().unwrap().plain;
            let offset = |at| u64::from(u16_at(block, at));
            let width = if expected.arch.is_64() { 8 } else { 4 };
            for processor in &expected.processors {
                let n = u64::from(processor.number);
                assert_eq!(
                    memory.pointer(expected.ki_processor_block + n * width),
                    processor.kprcb
                );
                assert_eq!(
                    memory.read(processor.kprcb + offset(0x2be), 1).unwrap(),
                    [n as u8]
                );
                let context = match offset_of_pointer(block) {
                    Some(at) => memory.pointer(processor.kprcb + at),
                    None => processor.kprcb + offset(0x2bc),
                };
                assert_eq!(context, processor.context);
                let saved = processor
                    .from_memory
                    .as_ref()
                    .unwrap()
                    .context(expected.arch);
                assert_eq!(memory.read(context, saved.len()).unwrap(), saved);
                let thread = memory.pointer(processor.kprcb + offset(0x2b4));
                assert_eq!(
                    (thread, memory.pointer(thread + offset(0x2a0))),
                    (processor.thread, processor.process)
                );
                let (rip, limit) = if expected.arch.is_64() {
                    (0xf8, 8)
                } else {
                    (0xb8, 4)
                };
                let mut bytes = saved[rip..rip + limit].to_vec();
                bytes.resize(8, 0);
                assert_eq!(
                    u64_at(&bytes, 0),
                    processor.from_memory.as_ref().unwrap().rip
                );
                // Interrupt 0 leads into the kernel.
                let gate = memory.read(processor.idt.0, 16).unwrap();
                let low = u64::from(u16_at(&gate, 0)) | u64::from(u16_at(&gate, 6)) << 16;
                assert_eq!(
                    low & 0xffff_0000,
                    (expected.kernel.base + 0x1_2000) & 0xffff_0000
                );
            }
        });
    }
}

fn offset_of_pointer(block: &[u8]) -> Option<u64> {
    (block.len() > 0x338).then(|| u64::from(u16_at(block, 0x338)))
}

#[test]
fn lists_name_modules_and_processes() {
    for spec in specs() {
        read_back(&spec.build(), |memory, expected| {
            let (base, size, name) = if expected.arch.is_64() {
                (0x30, 0x40, 0x58)
            } else {
                (0x18, 0x20, 0x2c)
            };
            let modules: Vec<_> = memory.list(expected.ps_loaded_module_list);
            assert_eq!(modules.len(), expected.modules.len());
            for (&entry, module) in modules.iter().zip(&expected.modules) {
                assert_eq!(memory.unicode(entry + name), module.name);
                assert_eq!(
                    (memory.pointer(entry + base), memory.u32(entry + size)),
                    (module.base, module.size as u32)
                );
                assert_eq!(memory.read(module.base, 2).unwrap(), b"MZ");
            }
            let width = if expected.arch.is_64() { 8 } else { 4 };
            let links = memory.list(expected.ps_active_process_head);
            assert!(links.len() > 10 && links.len() == expected.processes.len());
            let dtb = if width == 8 { 0x28 } else { 0x18 };
            for (&link, process) in links.iter().zip(&expected.processes) {
                assert_eq!(memory.pointer(link - width), process.pid);
                assert_eq!(memory.pointer(process.eprocess + dtb), process.dtb);
                assert_eq!(memory.read(process.eprocess, 1).unwrap(), [3]);
                // The kernel is the same under every process' root.
                let own = Virtual {
                    root: process.dtb,
                    ..*memory
                };
                assert_eq!(own.translate(link), memory.translate(link));
            }
        });
    }
}

#[test]
fn a_shadow_root_maps_only_the_way_into_the_kernel() {
    let guest = GuestSpec::windows10()
        .processors(2)
        .vcpu_user_mode(1)
        .build();
    let core = Core::of(&guest.xen_core());
    let processor = &guest.expected.processors[1];
    let registers = processor.from_vcpu.as_ref().unwrap();
    let shadow = Virtual {
        core: &core,
        arch: guest.expected.arch,
        root: registers.cr3,
    };
    assert_eq!(
        (
            registers.cs & 3,
            shadow.translate(guest.expected.kernel.base)
        ),
        (3, None)
    );
    let kernel_root = u64_at(&shadow.read(processor.kpcr + 0x7000, 8).unwrap(), 0);
    assert_eq!(kernel_root & !0xfff, guest.expected.dtb_alternatives[0]);
    let process = guest
        .expected
        .processes
        .iter()
        .find(|process| process.eprocess == processor.process)
        .unwrap();
    assert_eq!(process.dtb, kernel_root);
    assert!(shadow.translate(registers.rip).is_some());
}

#[test]
fn crashes_leave_their_records() {
    let spec = GuestSpec::windows10()
        .processors(2)
        .crash_record(CrashRecord::SystemThreadException)
        .crashed_on(1);
    read_back(&spec.build(), |memory, expected| {
        assert!(expected.kdbg.as_ref().unwrap().keys.is_none());
        let stop = expected.bugcheck.as_ref().unwrap();
        let exception = stop.exception.as_ref().unwrap();
        let data: Vec<u64> = (0..5)
            .map(|i| memory.pointer(expected.ki_bugcheck_data + i * 8))
            .collect();
        assert_eq!((data[0], &data[1..]), (0x7e, &stop.parameters[..]));
        assert_eq!(data[3], exception.exception_record.unwrap());
        let record = memory.read(data[3], 0x18).unwrap();
        assert_eq!(
            (u32_at(&record, 0), u64_at(&record, 0x10)),
            (0xc000_0005, exception.address)
        );
        let context = memory.read(data[4], 0x4d0).unwrap();
        assert_eq!(
            context,
            exception.registers.as_ref().unwrap().context(expected.arch)
        );
        let saved = expected.processors[1].from_memory.as_ref().unwrap();
        assert_ne!(
            saved.rip,
            expected.processors[1].from_vcpu.as_ref().unwrap().rip
        );
    });
}

#[test]
fn headers_left_in_memory_are_found_where_expected_says() {
    let header = || RamHeader::gplpv().stale().page_offset(0x40);
    let spec = GuestSpec::windows2003_x64()
        .ram_header(header())
        .ram_header(RamHeader::fwcfg());
    let guest = spec.ram_header(RamHeader::windows().dump_type(5)).build();
    let core = Core::of(&guest.xen_core());
    let [stale, fwcfg, windows] = &guest.expected.ram_headers[..] else {
        panic!()
    };
    let bytes = core.physical(stale.buffer, 0x2010).unwrap();
    assert_eq!(
        (&bytes[..8], &bytes[0x2008..]),
        (&b"XENXEN\x40\0"[..], &b"XENXEN\x40\0"[..])
    );
    assert_eq!(
        (&bytes[8..16], u32_at(&bytes, 8 + 0xf98)),
        (&b"PAGEDU64"[..], 2)
    );
    assert_ne!(u64_at(&bytes, 8 + 0x10), guest.expected.dtb);
    let bytes = core.physical(fwcfg.buffer, 0x2018).unwrap();
    assert_eq!(
        (u32_at(&bytes, 0), &bytes[12..22], u64_at(&bytes, 24 + 0x10)),
        (11, &b"VMCOREINFO"[..], guest.expected.dtb)
    );
    let memory = system(&core, &guest.expected);
    let kdbg = guest.expected.kdbg.as_ref().unwrap();
    assert_eq!(
        memory
            .read(u64_at(&bytes, 24 + 0x40), kdbg.plain.len())
            .unwrap(),
        kdbg.plain
    );
    let bytes = core.physical(windows.gpa, 0x2000).unwrap();
    assert_eq!(
        (
            windows.gpa & 0xfff,
            u32_at(&bytes, 0xf98),
            u64_at(&bytes, 0x80)
        ),
        (0, 5, kdbg.va)
    );
}

#[test]
fn many_runs_and_high_memory() {
    let guest = GuestSpec::windows7_pae()
        .above_4g()
        .runs(90)
        .processors(2)
        .build();
    assert_eq!(guest.expected.runs.len(), 90);
    let high = guest
        .expected
        .processors
        .iter()
        .flat_map(|p| &p.context_pieces)
        .any(|piece| piece.0 >> 32 != 0);
    assert!(high);
    assert!(guest.expected.missing.is_empty());
}
