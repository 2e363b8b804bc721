//! The bug check that a specification asks for, and the records its parameters point at.

/// A bug check.
#[derive(Clone, Debug)]
pub(crate) struct Crash {
    pub(crate) code: u32,
    pub(crate) parameters: [u64; 4],
    pub(crate) processor: u32,
    pub(crate) record: Option<CrashRecord>,
}

/// A stop code with the records it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashRecord {
    /// `IRQL_NOT_LESS_OR_EQUAL` (0xA): the trap frame is on the stack only.
    IrqlNotLessOrEqual,
    /// `KMODE_EXCEPTION_NOT_HANDLED` (0x1E): code and address in the parameters.
    KmodeException,
    /// `SYSTEM_SERVICE_EXCEPTION` (0x3B): a context record.
    SystemServiceException,
    /// `PAGE_FAULT_IN_NONPAGED_AREA` (0x50): the trap frame is on the stack only.
    PageFault,
    /// `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED` (0x7E): an exception record and a context record.
    SystemThreadException,
    /// `UNEXPECTED_KERNEL_MODE_TRAP` (0x7F), a divide error: the trap frame is on the stack only.
    UnexpectedTrap,
    /// `KERNEL_MODE_EXCEPTION_NOT_HANDLED` (0x8E), 32-bit: a trap frame.
    KernelModeException,
    /// `DRIVER_IRQL_NOT_LESS_OR_EQUAL` (0xD1): the trap frame is on the stack only.
    DriverIrql,
    /// `KERNEL_SECURITY_CHECK_FAILURE` (0x139): a trap frame and an exception record.
    SecurityCheck,
}

impl CrashRecord {
    /// The stop code.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::IrqlNotLessOrEqual => 0xa,
            Self::KmodeException => 0x1e,
            Self::SystemServiceException => 0x3b,
            Self::PageFault => 0x50,
            Self::SystemThreadException => 0x7e,
            Self::UnexpectedTrap => 0x7f,
            Self::KernelModeException => 0x8e,
            Self::DriverIrql => 0xd1,
            Self::SecurityCheck => 0x139,
        }
    }
}
