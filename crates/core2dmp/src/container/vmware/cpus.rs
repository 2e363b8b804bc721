//! vCPUs from the group `cpu`.
//!
//! ```text
//! rax[n] .. r15[n], rip[n], eflags[n], CR64[n][0..8], S[n][segment], S.base64[n][segment], IDTR[n][limit, low, high]
//! gpregs[n], CR64[n], IDTR[n]     newer versions: the same as a block
//! ```
//!
//! Those names are crash's. By analogy these are read too: `GDTR`, `DR64` and `DR`, `CR` and `S.base` of older
//! versions, the 32-bit names of the general registers. No source names the MSR that holds the other GS base: a number
//! whose name says "kernel GS" is taken for it. Without it the kernel's GS base is known only in ring 0.

use std::collections::BTreeMap;

use super::tags::{State, Tag};
use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::error::{Error, Result};
use crate::format::vmware::segment;
use crate::format::{u16_at, u64_at};

/// vCPUs that are accepted; VMware has 768 at most.
const MAX_CPUS: u32 = 4096;

/// General registers, in the processor's order, which is not that of the block.
const GENERAL: [[&str; 2]; 16] = [
    ["rax", "eax"],
    ["rcx", "ecx"],
    ["rdx", "edx"],
    ["rbx", "ebx"],
    ["rsp", "esp"],
    ["rbp", "ebp"],
    ["rsi", "esi"],
    ["rdi", "edi"],
    ["r8", ""],
    ["r9", ""],
    ["r10", ""],
    ["r11", ""],
    ["r12", ""],
    ["r13", ""],
    ["r14", ""],
    ["r15", ""],
];
const RSP: usize = 4;
const RBP: usize = 5;
/// The register at each place of `gpregs`, as crash has it: RBP is before RSP there.
const IN_BLOCK: [usize; 16] = [0, 1, 2, 3, RBP, RSP, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// What is known of a vCPU.
#[derive(Debug, Default)]
struct Vcpu {
    general: [Option<u64>; 16],
    is_block: bool,
    rip: Option<u64>,
    flags: Option<u64>,
    control: [Option<u64>; 9],
    debug: [u64; 8],
    has_debug: bool,
    selectors: [Option<u64>; 8],
    bases: [u64; 8],
    gdtr: Option<TableRegister>,
    idtr: Option<TableRegister>,
    kernel_gs: Option<u64>,
}

/// The vCPUs, in the order of their numbers.
pub(super) fn read(state: &State<'_>, warnings: &mut Vec<String>) -> Vec<CpuState> {
    let mut vcpus: BTreeMap<u32, Vcpu> = BTreeMap::new();
    let mut promised = None;
    let read = state.each("cpu", &mut |tag| {
        if tag.name == b"cpu:numVCPUs" {
            promised = tag.number();
        }
        let Some((number, rest)) = tag.indices.split_first() else {
            return Ok(());
        };
        if *number >= MAX_CPUS {
            return Err(Error::TooMany {
                what: "vCPUs of a saved state",
                found: u64::from(*number).saturating_add(1),
                limit: MAX_CPUS.into(),
            });
        }
        vcpus.entry(*number).or_default().take(&tag, rest);
        Ok(())
    });
    if let Err(error) = read {
        warnings.push(format!("the group of the vCPUs: {error}"));
    }
    // Tags of other things are numbered as well.
    vcpus.retain(|_, vcpu| vcpu.says_something());
    if let Some(promised) = promised.filter(|promised| *promised != vcpus.len() as u64) {
        let found = vcpus.len();
        warnings.push(format!(
            "the state promises {promised} vCPUs, tags tell {found}"
        ));
    }
    let mut cpus = Vec::new();
    for (index, (number, vcpu)) in vcpus.into_iter().enumerate() {
        match vcpu.registers(number, warnings) {
            Ok(registers) => cpus.push(CpuState {
                index,
                online: true,
                registers: Registers::X86(Box::new(registers)),
            }),
            Err(what) => warnings.push(format!("vCPU {number}: no tag tells {what}")),
        }
    }
    cpus
}

impl Vcpu {
    const fn says_something(&self) -> bool {
        self.rip.is_some() || self.is_block || matches!(self.control, [Some(_), ..])
    }

    /// Takes what the tag tells; `rest` are its indices behind the vCPU's number.
    fn take(&mut self, tag: &Tag, rest: &[u32]) {
        let Ok(name) = str::from_utf8(&tag.name) else {
            return;
        };
        if tag.block.is_some() {
            self.take_block(name, &tag.value, rest);
            return;
        }
        let Some(number) = tag.number() else {
            return;
        };
        let second = rest.first().and_then(|n| usize::try_from(*n).ok());
        match (name, second) {
            ("rip" | "eip", None) => self.rip = Some(number),
            // Two tags, and the flags are in both together (crash).
            ("eflags" | "EFLAGS" | "rflags", None) => {
                self.flags = Some(self.flags.unwrap_or(0) | number);
            }
            ("CR64" | "CR", Some(n)) => set(&mut self.control, n, number, name == "CR64"),
            ("DR64" | "DR", Some(n)) => {
                if let Some(place) = self.debug.get_mut(n) {
                    *place = number;
                    self.has_debug = true;
                }
            }
            ("S", Some(n)) => set(&mut self.selectors, n, number, true),
            ("S.base64" | "S.base", Some(n)) => {
                let is_wide = name == "S.base64";
                if let Some(base) = self.bases.get_mut(n).filter(|base| is_wide || **base == 0) {
                    *base = number;
                }
            }
            ("IDTR", Some(n)) => table(&mut self.idtr, n, number),
            ("GDTR", Some(n)) => table(&mut self.gdtr, n, number),
            (_, None) => self.take_named(name, number),
            _ => {}
        }
    }

    fn take_named(&mut self, name: &str, number: u64) {
        let mut places = GENERAL.iter().zip(&mut self.general);
        if let Some((_, place)) = places.find(|(names, _)| names.contains(&name)) {
            *place = Some(number);
            return;
        }
        let letters: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if letters.contains("kernelgs") {
            self.kernel_gs = Some(number);
        }
    }

    fn take_block(&mut self, name: &str, value: &[u8], rest: &[u32]) {
        let word = |n: usize| u64_at(value, n.saturating_mul(8));
        let table = || {
            Some(TableRegister {
                limit: u16_at(value, 0)?,
                base: u64_at(value, 2)?,
            })
        };
        match (name, rest) {
            ("gpregs", []) if value.len() == 16 * 8 => {
                self.is_block = true;
                for (n, register) in IN_BLOCK.into_iter().enumerate() {
                    if let Some(place) = self.general.get_mut(register) {
                        *place = word(n);
                    }
                }
            }
            ("CR64", []) => {
                for (n, place) in self.control.iter_mut().enumerate() {
                    *place = word(n).or(*place);
                }
            }
            ("IDTR", []) => self.idtr = table().or(self.idtr),
            ("GDTR", []) => self.gdtr = table().or(self.gdtr),
            _ => {}
        }
    }

    /// Its registers, or the name of what is missing.
    fn registers(
        mut self,
        number: u32,
        warnings: &mut Vec<String>,
    ) -> Result<X86Registers, String> {
        let needed = |value: Option<u64>, name: &str| value.ok_or_else(|| name.to_owned());
        let cs = needed(self.selectors[segment::CS], "CS")?;
        if self.is_block && cs & 3 == 0 {
            self.order_stack(number, warnings);
        }
        let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, high @ ..] = self.general;
        let [cr0, _, cr2, cr3, cr4, ..] = self.control;
        let [dr0, dr1, dr2, dr3, _, _, dr6, dr7] = self.debug;
        let selector = |n: usize| low(self.selectors.get(n).copied().flatten().unwrap_or(0));
        let base = |n: usize| self.bases.get(n).copied().unwrap_or(0);
        // The base that is active; the other one is the MSR's.
        let (active, other) = (base(segment::GS), self.kernel_gs.unwrap_or(0));
        let (gs_base_kernel, gs_base_user) = if cs & 3 == 0 {
            (active, other)
        } else {
            (other, active)
        };
        Ok(X86Registers {
            rax: needed(rax, "RAX")?,
            rbx: needed(rbx, "RBX")?,
            rcx: needed(rcx, "RCX")?,
            rdx: needed(rdx, "RDX")?,
            rsi: needed(rsi, "RSI")?,
            rdi: needed(rdi, "RDI")?,
            rsp: needed(rsp, "RSP")?,
            rbp: needed(rbp, "RBP")?,
            r8_r15: high.map(|value| value.unwrap_or(0)),
            rip: needed(self.rip, "RIP")?,
            rflags: needed(self.flags, "the flags")?,
            cs: low(cs),
            ss: selector(segment::SS),
            ds: selector(segment::DS),
            es: selector(segment::ES),
            fs: selector(segment::FS),
            gs: selector(segment::GS),
            fs_base: base(segment::FS),
            gs_base_kernel,
            gs_base_user,
            cr0: needed(cr0, "CR0")?,
            cr2: cr2.unwrap_or(0),
            cr3: needed(cr3, "CR3")?,
            cr4: needed(cr4, "CR4")?,
            dr: self.has_debug.then_some([dr0, dr1, dr2, dr3, dr6, dr7]),
            fxsave: None,
            gdtr: self.gdtr,
            idtr: self.idtr,
            tr: self.selectors[segment::TR].map(low),
            ldtr: self.selectors[segment::LDTR].map(low),
        })
    }

    /// The order of RSP and RBP in `gpregs` is known from one source: in the kernel RSP must point to a stack.
    fn order_stack(&mut self, number: u32, warnings: &mut Vec<String>) {
        let is_wide = self.general.iter().flatten().any(|value| value >> 32 != 0);
        let is_stack = |value: Option<u64>| {
            let start = if is_wide {
                0xffff_8000_0000_0000
            } else {
                0x8000_0000
            };
            value.is_some_and(|value| value >= start && value.is_multiple_of(4))
        };
        if !is_stack(self.general[RSP]) && is_stack(self.general[RBP]) {
            self.general.swap(RSP, RBP);
            warnings.push(format!(
                "vCPU {number}: RSP and RBP are taken in the other order, since only so RSP is a kernel stack"
            ));
        }
    }
}

/// Sets one of several; what is known in 64 bits stays.
fn set(places: &mut [Option<u64>], n: usize, number: u64, is_wide: bool) {
    if let Some(place) = places.get_mut(n).filter(|place| is_wide || place.is_none()) {
        *place = Some(number);
    }
}

/// Limit, low half and high half of the base, one a tag.
fn table(table: &mut Option<TableRegister>, n: usize, number: u64) {
    const LOW: u64 = 0xffff_ffff;
    let table = table.get_or_insert(TableRegister { base: 0, limit: 0 });
    match n {
        0 => table.limit = low(number),
        1 => table.base = table.base & !LOW | number & LOW,
        2 => table.base = table.base & LOW | number << 32,
        _ => {}
    }
}

/// The low 16 bits of a selector or a limit.
const fn low(value: u64) -> u16 {
    (value & 0xffff) as u16
}
