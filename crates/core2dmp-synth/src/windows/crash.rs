//! Stop codes whose parameters or stack tell of the exception behind them: exception record, context, trap frame.
//!
//! ```text
//! 0x1E  code, address, info0, info1           0x8E  code, address, trap frame, 0          (32-bit)
//! 0x3B  code, address, context, 0             0x7E  code, address, exception record, context
//! 0xA, 0xD1  memory, irql, access, address    0x50  memory, access, address, 0            (trap frame on the stack)
//! 0x7F  trap, 0, 0, 0                         0x139 kind, trap frame, exception record, 0
//! ```
//!
//! References: "Bug Check Code Reference" on learn.microsoft.com; EXCEPTION_RECORD in winnt.h; KTRAP_FRAME in public
//! symbols of the named builds.

use crate::bytes::{put_u16, put_u32, put_u64};
use crate::windows::arch::Arch;
use crate::windows::code;
use crate::windows::expected::{Bugcheck, Exception, Processor};
use crate::windows::processor;
use crate::windows::registers::Registers;
use crate::windows::spec::{Crash, CrashRecord};
use crate::windows::world::World;

/// STATUS_ACCESS_VIOLATION.
const ACCESS_VIOLATION: u32 = 0xc000_0005;
/// STATUS_STACK_BUFFER_OVERRUN, which fast failures report.
const FAST_FAILURE: u32 = 0xc000_0409;
/// The address that the faulting instruction used.
const BAD_ADDRESS: u64 = 0xdead_bee0;

/// Where the records lie, below the top of the crashed processor's stack and above its stack pointer.
struct Places {
    context: u64,
    exception: u64,
    trap: u64,
    address: u64,
}

impl CrashRecord {
    fn parameters(self, at: &Places, is_64: bool) -> [u64; 4] {
        let violation = u64::from(ACCESS_VIOLATION);
        // 64-bit kernels pass the NTSTATUS on as a signed value, except where they take it from an exception record.
        let extended = if is_64 {
            ACCESS_VIOLATION as i32 as i64 as u64
        } else {
            violation
        };
        match self {
            Self::IrqlNotLessOrEqual | Self::DriverIrql => [BAD_ADDRESS, 2, 0, at.address],
            Self::KmodeException => [extended, at.address, 0, BAD_ADDRESS],
            Self::SystemServiceException => [violation, at.address, at.context, 0],
            Self::PageFault => [BAD_ADDRESS, 0, at.address, 0],
            Self::SystemThreadException => [extended, at.address, at.exception, at.context],
            Self::UnexpectedTrap => [0, 0, 0, 0],
            Self::KernelModeException => [violation, at.address, at.trap, 0],
            Self::SecurityCheck => [3, at.trap, at.exception, 0],
        }
    }

    fn has_context(self) -> bool {
        matches!(
            self,
            Self::SystemServiceException | Self::SystemThreadException
        )
    }

    fn has_exception_record(self) -> bool {
        matches!(self, Self::SystemThreadException | Self::SecurityCheck)
    }

    fn has_trap_frame(self) -> bool {
        !self.has_context() && self != Self::KmodeException
    }

    /// The exception code, where record or parameters say it.
    fn exception_code(self) -> Option<u32> {
        match self {
            Self::SecurityCheck => Some(FAST_FAILURE),
            Self::IrqlNotLessOrEqual
            | Self::DriverIrql
            | Self::PageFault
            | Self::UnexpectedTrap => None,
            _ => Some(ACCESS_VIOLATION),
        }
    }
}

/// Writes the records of a crash and returns what it left behind.
pub(crate) fn write(world: &mut World<'_>, crash: &Crash, processors: &[Processor]) -> Bugcheck {
    let (code, processor) = (crash.code, crash.processor);
    let Some(record) = crash.record else {
        return Bugcheck {
            code,
            parameters: crash.parameters,
            processor,
            exception: None,
        };
    };
    let arch = world.layout().arch;
    assert!(arch != Arch::Arm64, "no records of crashes on ARM64");
    let top = processor::stack_top(world, processor);
    let address = world.layout().regions.kernel + code::FAULT_SITE;
    let at = Places {
        context: top - 0x1800,
        exception: top - 0x1280,
        trap: top - 0x1000,
        address,
    };
    debug_assert!(
        at.context > top - processor::BUGCHECK_DEPTH,
        "no live frame is below the stack pointer"
    );
    let mut registers = Registers::pattern(arch, 4, processor);
    registers.rip = address;
    registers.rsp = top - 0xd00;
    registers.cr3 = processors[processor as usize]
        .from_memory
        .as_ref()
        .map_or(0, |saved| saved.cr3);
    if record.has_context() {
        world.write(at.context, &registers.context(arch));
    }
    if record.has_exception_record() {
        let exception = exception_record(world, record.exception_code().unwrap_or(0), address);
        world.write(at.exception, &exception);
    }
    if record.has_trap_frame() {
        write_trap_frame(world, at.trap, &mut registers);
    }
    let exception = Exception {
        code: record.exception_code(),
        address,
        registers: (record != CrashRecord::KmodeException).then_some(registers),
        exception_record: record.has_exception_record().then_some(at.exception),
        context_record: record.has_context().then_some(at.context),
        trap_frame: record.has_trap_frame().then_some(at.trap),
    };
    Bugcheck {
        code,
        parameters: record.parameters(&at, arch.is_64()),
        processor,
        exception: Some(exception),
    }
}

/// Writes a trap frame and leaves in `registers` what it holds.
fn write_trap_frame(world: &mut World<'_>, va: u64, registers: &mut Registers) {
    let is_64 = world.layout().arch.is_64();
    // x64: the processor aligns the stack to 16 bytes, then pushes. x86: it pushes no stack pointer without a change of
    // privilege; it stood where one would be.
    registers.rsp = va + if is_64 { 0x190 + 8 } else { 0x74 };
    let frame = if is_64 {
        trap_frame_x64(registers)
    } else {
        trap_frame_x86(registers)
    };
    world.write(va, &frame);
    keep_volatile(registers, is_64);
}

/// EXCEPTION_RECORD of the guest's width.
fn exception_record(world: &World<'_>, code: u32, address: u64) -> Vec<u8> {
    let is_64 = world.layout().arch.is_64();
    let mut record = vec![0; if is_64 { 0x98 } else { 0x50 }];
    put_u32(&mut record, 0, code);
    if is_64 {
        put_u64(&mut record, 0x10, address);
        put_u32(&mut record, 0x18, 2);
        put_u64(&mut record, 0x28, BAD_ADDRESS);
    } else {
        put_u32(&mut record, 0xc, address as u32);
        put_u32(&mut record, 0x10, 2);
        put_u32(&mut record, 0x18, BAD_ADDRESS as u32);
    }
    record
}

/// KTRAP_FRAME of an x64 kernel: only volatile registers and RBP are saved.
fn trap_frame_x64(r: &Registers) -> Vec<u8> {
    let mut frame = vec![0; 0x190];
    put_u32(&mut frame, 0x2c, r.mxcsr());
    for (i, value) in [r.rax, r.rcx, r.rdx, r.r8, r.r9, r.r10, r.r11]
        .into_iter()
        .enumerate()
    {
        put_u64(&mut frame, 0x30 + i * 8, value);
    }
    put_u64(&mut frame, 0xd0, BAD_ADDRESS);
    put_u64(&mut frame, 0x158, r.rbp);
    put_u64(&mut frame, 0x168, r.rip);
    put_u16(&mut frame, 0x170, r.cs);
    put_u32(&mut frame, 0x178, r.rflags as u32);
    put_u64(&mut frame, 0x180, r.rsp);
    put_u16(&mut frame, 0x188, r.ss);
    frame
}

/// KTRAP_FRAME of a 32-bit kernel: all registers.
fn trap_frame_x86(r: &Registers) -> Vec<u8> {
    let mut frame = vec![0; 0x8c];
    put_u32(&mut frame, 0, r.rbp as u32);
    put_u32(&mut frame, 4, r.rip as u32);
    put_u32(&mut frame, 8, 0xbadb_0d00);
    for (i, segment) in [r.gs, r.es, r.ds].into_iter().enumerate() {
        put_u32(&mut frame, 0x30 + i * 4, u32::from(segment));
    }
    for (i, value) in [r.rdx, r.rcx, r.rax].into_iter().enumerate() {
        put_u32(&mut frame, 0x3c + i * 4, value as u32);
    }
    put_u32(&mut frame, 0x4c, 0xffff_ffff);
    put_u32(&mut frame, 0x50, u32::from(r.fs));
    let rest = [
        r.rdi,
        r.rsi,
        r.rbx,
        r.rbp,
        0,
        r.rip,
        u64::from(r.cs),
        r.rflags,
    ];
    for (i, value) in rest.into_iter().enumerate() {
        put_u32(&mut frame, 0x54 + i * 4, value as u32);
    }
    frame
}

/// Clears what a trap frame does not hold.
fn keep_volatile(registers: &mut Registers, is_64: bool) {
    if is_64 {
        for lost in [
            &mut registers.rbx,
            &mut registers.rsi,
            &mut registers.rdi,
            &mut registers.r12,
            &mut registers.r13,
            &mut registers.r14,
            &mut registers.r15,
        ] {
            *lost = 0;
        }
    }
}
