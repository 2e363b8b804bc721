//! Puts a guest together, in the order in which the parts need one another.
//!
//! ```text
//! memory map -> kernel mapping -> processes -> processors -> modules -> variables -> KDBG -> code -> roots -> vCPUs
//! ```

use super::{crash, drivers, guest_record, kdbg, kernel, mm, processor, ram_header, vcpu};
use crate::windows::arch::Arch;
use crate::windows::code::{self, Targets};
use crate::windows::code_arm64;
use crate::windows::expected::{Bugcheck, Expected, Kdbg, Keys, Module, Processor, UserMemory};
use crate::windows::guest::{Guest, Vcpu};
use crate::windows::objects::{self, ProcessObject};
use crate::windows::spec::GuestSpec;
use crate::windows::system;
use crate::windows::world::World;

/// Everything that has been made so far.
#[derive(Clone, Debug)]
struct Parts {
    processes: Vec<ProcessObject>,
    processors: Vec<Processor>,
    modules: Vec<Module>,
    bugcheck: Option<Bugcheck>,
    kdbg: Option<Kdbg>,
    kd_version_block: u64,
    low_stub: Option<u64>,
    vcpus: Vec<Vcpu>,
    user: Vec<UserMemory>,
}

impl GuestSpec {
    /// Builds the guest.
    #[must_use]
    pub fn build(self) -> Guest {
        build(&self)
    }
}

fn build(spec: &GuestSpec) -> Guest {
    let mut world = World::new(spec);
    kernel::map(&mut world);
    system::map_extra(&mut world);
    let kuser_pfn = system::write_kuser(&mut world);
    let low_stub = system::write_low_stub(&mut world);
    let mut processes = objects::write_processes(&mut world);
    let mut processors = processor::write_all(&mut world, &processes);
    let kernel_module = kernel::module(&world);
    let modules = drivers::write_images(&mut world, kernel_module);
    drivers::write_list(&mut world, &modules);
    let bugcheck = spec
        .crash
        .as_ref()
        .map(|crash| crash::write(&mut world, crash, &processors));
    system::write_memory_block(&mut world);
    system::write_variables(
        &mut world,
        bugcheck.as_ref().map(|stop| (stop.code, stop.parameters)),
    );
    let keys = write_keys(&mut world);
    let encoded = spec
        .encoded_kdbg
        .unwrap_or(spec.layout.encodes_kdbg && spec.crash.is_none());
    let block = kdbg::write(&mut world, keys.filter(|_| encoded));
    let kd_version_block = kdbg::write_version_block(&mut world);
    write_kernel(&mut world, &modules[0], keys, encoded && block.is_some());
    let kdbg_copy = ram_header::prepare(
        &mut world,
        block.as_ref().map(|block| block.plain.as_slice()),
    );
    let records = guest_record::prepare(&mut world);
    system::write_decoys(&mut world);
    objects::finish_roots(&mut world, &processes, kuser_pfn);
    let vcpus = vcpu::make_all(&mut world, &mut processors, &mut processes);
    let user = mm::write_user_pages(&mut world, &processes);
    let parts = Parts {
        processes,
        processors,
        modules,
        bugcheck,
        kdbg: block,
        kd_version_block,
        low_stub,
        vcpus,
        user,
    };
    let mut expected = facts(&mut world, parts.clone());
    ram_header::write_all(&mut world, &mut expected, kdbg_copy);
    guest_record::write_all(&mut world, &mut expected, &records);
    if spec.pfn_database {
        expected.free = mm::write_pfn_database(&mut world, &parts.processes);
    }
    Guest {
        frames: world.ram.frames,
        present: world.map.present,
        vcpus: parts.vcpus,
        expected,
    }
}

/// The variables that encode the KDBG, on kernels that do so.
fn write_keys(world: &mut World<'_>) -> Option<Keys> {
    if !world.layout().encodes_kdbg {
        return None;
    }
    let keys = Keys {
        wait_never: 0x5d83_c1f9_0e6b_a726,
        wait_always: 0x00b2_7e14_d95c_386f,
        encoded_flag: world.variable("KdpDataBlockEncoded", 1),
    };
    for (name, value) in [
        ("KiWaitNever", keys.wait_never),
        ("KiWaitAlways", keys.wait_always),
    ] {
        let va = world.variable(name, 8);
        world.put_u64(va, value);
    }
    Some(keys)
}

/// Code, exports and headers of the kernel.
fn write_kernel(world: &mut World<'_>, module: &Module, keys: Option<Keys>, encoded: bool) {
    let targets = keys.map(|keys| Targets {
        kdbg: kdbg::address(world),
        kdbg_size: world.layout().kdbg_size,
        wait_never: world.variable("KiWaitNever", 8),
        wait_always: world.variable("KiWaitAlways", 8),
        encoded: keys.encoded_flag,
    });
    if let Some(keys) = keys {
        world.write(keys.encoded_flag, &[u8::from(encoded)]);
    }
    match world.layout().arch {
        Arch::Arm64 => code_arm64::write(world, targets),
        _ => code::write(world, targets),
    }
    let mut exports = vec![
        ("KeBugCheckEx", module.base + code::KE_BUG_CHECK_EX),
        ("KeSetTimer", module.base + code::KE_SET_TIMER),
        ("KeSetTimerEx", module.base + code::KE_SET_TIMER_EX),
    ];
    for (name, bytes) in [
        ("KeNumberProcessors", 4),
        ("KiBugCheckData", 40),
        ("MmHighestUserAddress", 8),
        ("MmSystemRangeStart", 8),
        ("MmUserProbeAddress", 8),
        ("NtBuildNumber", 4),
        ("PsInitialSystemProcess", 8),
    ] {
        exports.push((name, world.variable(name, bytes)));
    }
    kernel::write_image(world, module, &exports);
}

/// What a correct reader finds.
fn facts(world: &mut World<'_>, parts: Parts) -> Expected {
    let layout = world.layout();
    let dtb = world.space.root;
    let mut alternatives: Vec<u64> = parts
        .processors
        .iter()
        .filter_map(|p| {
            parts
                .processes
                .iter()
                .find(|object| object.fact.eprocess == p.process)
                .map(|object| object.space.root)
        })
        .filter(|&root| root != dtb)
        .collect();
    alternatives.sort_unstable();
    alternatives.dedup();
    Expected {
        arch: layout.arch,
        build: layout.build,
        version: layout.version,
        build_lab: layout.build_lab.to_owned(),
        dtb,
        dtb_alternatives: alternatives,
        kernel: parts.modules[0].clone(),
        kdbg: parts.kdbg,
        kd_version_block: parts.kd_version_block,
        kd_major_version: 0xf,
        ps_loaded_module_list: world.variable("PsLoadedModuleList", 16),
        ps_active_process_head: world.variable("PsActiveProcessHead", 16),
        pfn_database: layout.regions.pfn_database,
        pfn_database_variable: world.variable("MmPfnDatabase", 8),
        ki_processor_block: world.variable("KiProcessorBlock", 512),
        ki_bugcheck_data: world.variable("KiBugCheckData", 40),
        runs: world.map.runs.clone(),
        missing: world.map.missing.clone(),
        processors: parts.processors,
        vcpus: parts.vcpus.len(),
        bugcheck: parts.bugcheck,
        modules: parts.modules,
        processes: parts
            .processes
            .into_iter()
            .map(|object| object.fact)
            .collect(),
        system_time: system::SYSTEM_TIME,
        system_uptime: system::UPTIME,
        product_type: layout.product_type,
        suite_mask: layout.suite_mask,
        ram_headers: Vec::new(),
        guest_records: Vec::new(),
        low_stub: parts.low_stub,
        user: parts.user,
        free: Vec::new(),
    }
}
