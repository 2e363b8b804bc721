//! vCPUs from the devices named `cpu`, field by field, as the stream's description places them.
//!
//! Widths follow from the description: QEMU for i386 writes 4 bytes where QEMU for `x86_64` writes 8.
//!
//! Source: QEMU, `target/i386/machine.c` (`vmstate_x86_cpu`, `vmstate_segment`), `cpu.h` (order of the registers).

use super::sections::Found;
use super::vmdesc::Field;
use crate::container::{CpuState, Registers, TableRegister, X86Registers};
use crate::format::put_at;
use crate::source::{ReadAt, fill_at};

/// What a description without one of its fields lacks.
type Missing = &'static str;

/// All vCPUs, in the stream's order.
pub(super) fn read(
    source: &dyn ReadAt,
    found: &[Found<'_>],
    warnings: &mut Vec<String>,
) -> Vec<CpuState> {
    let mut cpus = Vec::new();
    for (index, device) in found.iter().enumerate() {
        let data = Data { source, device };
        match data.registers() {
            Ok(registers) => cpus.push(CpuState {
                index,
                online: true,
                registers: Registers::X86(Box::new(registers)),
            }),
            Err(missing) => warnings.push(format!(
                "vCPU {index}: the stream's description has no field {missing} of x86"
            )),
        }
    }
    cpus
}

/// A device's data and their description.
struct Data<'a> {
    source: &'a dyn ReadAt,
    device: &'a Found<'a>,
}

impl Data<'_> {
    fn field(&self, name: Missing) -> Result<Field, Missing> {
        self.device.device.field(name).ok_or(name)
    }

    /// A big-endian number of up to 8 bytes.
    fn number(&self, offset: u64, bytes: u64) -> Option<u64> {
        let mut raw = [0; 8];
        let skipped = 8_usize.checked_sub(usize::try_from(bytes).ok()?)?;
        let target = raw.get_mut(skipped..)?;
        let read = fill_at(
            self.source,
            self.device.data_at.saturating_add(offset),
            target,
        )
        .ok()?;
        (read == bytes).then(|| u64::from_be_bytes(raw))
    }

    /// Element `index` of a field of numbers.
    fn element(&self, name: Missing, index: u64) -> Result<u64, Missing> {
        let field = self.field(name)?;
        let offset = field
            .offset
            .saturating_add(index.saturating_mul(field.size));
        let inside = (index < field.count).then_some(offset);
        inside
            .and_then(|offset| self.number(offset, field.size))
            .ok_or(name)
    }

    fn value(&self, name: Missing) -> Result<u64, Missing> {
        self.element(name, 0)
    }

    /// Element `index` of a field of segments: selector, base, limit, flags.
    fn segment(&self, name: Missing, index: u64) -> Result<(u16, u64, u16), Missing> {
        let field = self.field(name)?;
        let start = field
            .offset
            .saturating_add(index.saturating_mul(field.size));
        let wide = match field.size {
            20 => 8,
            16 => 4,
            _ => return Err(name),
        };
        let at = |skipped: u64, bytes| {
            self.number(start.saturating_add(skipped), bytes)
                .ok_or(name)
        };
        if index >= field.count {
            return Err(name);
        }
        Ok((
            low(at(0, 4)?),
            at(4, wide)?,
            low(at(wide.saturating_add(4), 4)?),
        ))
    }

    fn table(&self, name: Missing) -> Result<TableRegister, Missing> {
        let (_, base, limit) = self.segment(name, 0)?;
        Ok(TableRegister { base, limit })
    }

    fn registers(&self) -> Result<X86Registers, Missing> {
        // R_EAX, R_ECX, R_EDX, R_EBX, R_ESP, R_EBP, R_ESI, R_EDI; R_ES, R_CS, R_SS, R_DS, R_FS, R_GS.
        let general = |index| self.element("env.regs", index);
        let segment = |index| self.segment("env.segs", index);
        let mut r8_r15 = [0; 8];
        for (register, index) in r8_r15.iter_mut().zip(8..) {
            *register = general(index).unwrap_or(0);
        }
        let mut dr = [0; 6];
        for (register, index) in dr.iter_mut().zip([0, 1, 2, 3, 6, 7]) {
            *register = self.element("env.dr", index)?;
        }
        let cs = segment(1)?.0;
        let (fs, fs_base, _) = segment(4)?;
        let (gs, active, _) = segment(5)?;
        let other = self.value("env.kernelgsbase").unwrap_or(0);
        let (gs_base_kernel, gs_base_user) = if cs & 3 == 0 {
            (active, other)
        } else {
            (other, active)
        };
        Ok(X86Registers {
            rax: general(0)?,
            rcx: general(1)?,
            rdx: general(2)?,
            rbx: general(3)?,
            rsp: general(4)?,
            rbp: general(5)?,
            rsi: general(6)?,
            rdi: general(7)?,
            r8_r15,
            rip: self.value("env.eip")?,
            rflags: self.value("env.eflags")?,
            es: segment(0)?.0,
            cs,
            ss: segment(2)?.0,
            ds: segment(3)?.0,
            fs,
            gs,
            fs_base,
            gs_base_kernel,
            gs_base_user,
            cr0: self.value("env.cr[0]")?,
            cr2: self.value("env.cr[2]")?,
            cr3: self.value("env.cr[3]")?,
            cr4: self.value("env.cr[4]")?,
            dr: Some(dr),
            fxsave: Some(self.fxsave()?),
            gdtr: Some(self.table("env.gdt")?),
            idtr: Some(self.table("env.idt")?),
            tr: Some(self.segment("env.tr", 0)?.0),
            ldtr: Some(self.segment("env.ldt", 0)?.0),
        })
    }

    /// The FXSAVE image that the FPU's fields amount to; the last instruction's address is not among them.
    fn fxsave(&self) -> Result<[u8; 512], Missing> {
        let mut image = [0; 512];
        let status = self.value("env.fpus_vmstate")?;
        let words = [
            (0, self.value("env.fpuc")?, 2),
            (2, status, 2),
            (4, self.value("env.fptag_vmstate")?, 1),
            (24, self.value("env.mxcsr")?, 4),
            // The bits of MXCSR that exist.
            (28, 0xffff, 4),
        ];
        for (offset, value, bytes) in words {
            let _ = put_at(
                &mut image,
                offset,
                value.to_le_bytes().get(..bytes).unwrap_or_default(),
            );
        }
        let registers = self.field("env.fpregs")?;
        if (registers.size, registers.count) != (10, 8) {
            return Err("env.fpregs");
        }
        // QEMU counts registers, FXSAVE counts from the top of the stack.
        for (slot, place) in (0..8).zip((32..).step_by(16)) {
            let register = (status >> 11).wrapping_add(slot) & 7;
            let at = registers.offset.saturating_add(register.saturating_mul(10));
            let mantissa = self.number(at, 8).ok_or("env.fpregs")?;
            let exponent = self.number(at.saturating_add(8), 2).ok_or("env.fpregs")?;
            let _ = put_at(&mut image, place, &mantissa.to_le_bytes());
            let _ = put_at(
                &mut image,
                place.saturating_add(8),
                exponent.to_le_bytes().get(..2).unwrap_or_default(),
            );
        }
        let xmm = self
            .field("env.xmm_regs[0]")
            .or_else(|_| self.field("env.xmm_regs"))?;
        if xmm.size != 16 {
            return Err("env.xmm_regs");
        }
        for (half, place) in (0..xmm.count.min(16).saturating_mul(2)).zip((160..).step_by(8)) {
            let at = xmm.offset.saturating_add(half.saturating_mul(8));
            let value = self.number(at, 8).ok_or("env.xmm_regs")?;
            let _ = put_at(&mut image, place, &value.to_le_bytes());
        }
        Ok(image)
    }
}

/// The low 16 bits of a selector or a limit.
const fn low(value: u64) -> u16 {
    (value & 0xffff) as u16
}
