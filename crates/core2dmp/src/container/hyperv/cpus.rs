//! vCPUs from the hypervisor's own state, the value of `partition_state`.
//!
//! ```text
//! descriptor | chunks: prolog | .. | VP 0 | VTL 0 | registers, one chunk a kind | VTL 1 | .. | VP 1 | .. | epilog
//! ```
//!
//! Windows is at virtual trust level 0; above it, where there is one, is the secure kernel, whose registers
//! are skipped. The chunk that holds the other GS base is not described: the kernel's is known in ring 0.

use std::collections::BTreeMap;

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::format::hyperv::{
    Chunk, Control, Debug, Float, General, STATE_GAP, Segments, StateDescriptor, Table, Tables,
    VENDOR, VENDOR_ARM, chunk,
};
use crate::format::u32_at;

/// vCPUs that are accepted; Hyper-V has 2048 at most.
const MAX_CPUS: usize = 1 << 16;

/// Chunks of a vCPU that were met.
#[derive(Default)]
struct Vcpu {
    general: Option<General>,
    control: Option<Control>,
    debug: Option<Debug>,
    segments: Option<Segments>,
    tables: Option<Tables>,
    float: Option<Float>,
}

/// The vCPUs, in the order of their numbers.
pub(super) fn read(state: &[u8], warnings: &mut Vec<String>) -> Vec<CpuState> {
    let vcpus = match collect(state) {
        Ok(found) => found,
        Err((found, why)) => {
            warnings.push(format!("the state of the processors: {why}"));
            found
        }
    };
    let mut cpus = Vec::new();
    for (index, (number, vcpu)) in vcpus.into_iter().enumerate() {
        match vcpu.registers() {
            Some(registers) => cpus.push(CpuState {
                index,
                online: true,
                registers: Registers::X86(Box::new(registers)),
            }),
            None => warnings.push(format!(
                "vCPU {number}: general, control or segment registers are missing"
            )),
        }
    }
    cpus
}

type Found = BTreeMap<u32, Vcpu>;

/// The chunks by vCPU; what came before it, where one is wrong.
fn collect(state: &[u8]) -> Result<Found, (Found, String)> {
    let mut found = Found::new();
    let descriptor = StateDescriptor::ref_from_prefix(state).ok();
    let start = descriptor.map_or(0, |(descriptor, _)| descriptor.header.get());
    let start = usize::try_from(start.saturating_add(STATE_GAP)).unwrap_or(usize::MAX);
    let mut rest = state.get(start..).unwrap_or_default();
    let (mut vcpu, mut level) = (None, 0);
    while let Ok((header, body)) = Chunk::ref_from_prefix(rest) {
        let at = state.len().saturating_sub(rest.len());
        let size = usize::try_from(header.size.get()).unwrap_or(usize::MAX);
        let Some((data, behind)) = body.split_at_checked(size) else {
            let why = format!("a chunk at {at:#x} of {size:#x} bytes reaches beyond its end");
            return Err((found, why));
        };
        rest = behind;
        match header.id.get() {
            chunk::PROLOG if u32_at(data, VENDOR) == Some(VENDOR_ARM) => {
                return Err((found, "registers of ARM64 are not read".to_owned()));
            }
            chunk::EPILOG => return Ok(found),
            chunk::VP => (vcpu, level) = (u32_at(data, 0), 0),
            chunk::VP_VTL => level = data.first().copied().unwrap_or(0),
            id => {
                let Some(number) = vcpu.filter(|_| level == 0) else {
                    continue;
                };
                if found.len() >= MAX_CPUS && !found.contains_key(&number) {
                    return Err((found, format!("more than {MAX_CPUS} vCPUs")));
                }
                found.entry(number).or_default().take(id, data);
            }
        }
    }
    Err((found, "its chunks do not end".to_owned()))
}

/// The structure at the beginning of the data; what is there already stays if the data is too short.
fn set<T: FromBytes>(place: &mut Option<T>, data: &[u8]) {
    if let Ok((value, _)) = T::read_from_prefix(data) {
        *place = Some(value);
    }
}

impl Vcpu {
    fn take(&mut self, id: u32, data: &[u8]) {
        match id {
            chunk::GENERAL => set(&mut self.general, data),
            chunk::CONTROL => set(&mut self.control, data),
            chunk::DEBUG => set(&mut self.debug, data),
            chunk::SEGMENTS => set(&mut self.segments, data),
            chunk::TABLES => set(&mut self.tables, data),
            chunk::FLOAT => set(&mut self.float, data),
            _ => {}
        }
    }

    fn registers(&self) -> Option<X86Registers> {
        let general = self.general.as_ref()?;
        let control = self.control.as_ref()?;
        let s = self.segments.as_ref()?;
        let table = |table: &Table| TableRegister {
            base: table.base.get(),
            limit: table.limit.get(),
        };
        let cs = s.cs.selector.get();
        let active = s.gs.base.get();
        let (gs_base_kernel, gs_base_user) = if cs & 3 == 0 {
            (active, 0)
        } else {
            (0, active)
        };
        Some(X86Registers {
            rax: general.rax.get(),
            rbx: general.rbx.get(),
            rcx: general.rcx.get(),
            rdx: general.rdx.get(),
            rsi: general.rsi.get(),
            rdi: general.rdi.get(),
            rsp: general.rsp.get(),
            rbp: general.rbp.get(),
            r8_r15: general.r8_r15.map(U64::get),
            rip: general.rip.get(),
            rflags: general.rflags.get(),
            cs,
            ss: s.ss.selector.get(),
            ds: s.ds.selector.get(),
            es: s.es.selector.get(),
            fs: s.fs.selector.get(),
            gs: s.gs.selector.get(),
            fs_base: s.fs.base.get(),
            gs_base_kernel,
            gs_base_user,
            cr0: control.cr0.get(),
            cr2: control.cr2.get(),
            cr3: control.cr3.get(),
            cr4: control.cr4.get(),
            dr: self.debug.as_ref().map(|debug| debug.dr.map(U64::get)),
            fxsave: self.float.as_ref().map(fxsave),
            gdtr: self.tables.as_ref().map(|tables| table(&tables.gdtr)),
            idtr: self.tables.as_ref().map(|tables| table(&tables.idtr)),
            tr: Some(s.tr.selector.get()),
            ldtr: Some(s.ldtr.selector.get()),
        })
    }
}

/// The parts in the order of an FXSAVE image.
fn fxsave(float: &Float) -> [u8; 512] {
    let mut image = [0; 512];
    let parts = float.control.iter().chain(&float.st).chain(&float.xmm);
    for (to, from) in image.iter_mut().zip(parts) {
        *to = *from;
    }
    image
}
