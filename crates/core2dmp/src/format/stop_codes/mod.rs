//! Names of stop codes and of the exceptions that lead to them, and what a stop code's parameters mean.
//!
//! A name or a meaning that is not certain is left out: what is missing here may still be documented.
//! If a code changed its name, the current name is used.
//!
//! Sources: "Bug check code reference" of the Windows driver documentation; names of bugcodes.h and
//! ntstatus.h as windows-sys 0.61 has them.

mod below_100;
mod from_100;
mod parameters;

/// A stop code (bug check code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopCode {
    /// What `KeBugCheckEx` was called with.
    pub code: u32,
    /// Its name in bugcodes.h.
    pub name: &'static str,
    /// What the parameters mean; empty where there is none, or none that is certain.
    pub parameters: [&'static str; 4],
}

/// Every known stop code, sorted by code.
pub static STOP_CODES: &[StopCode] = &joined();

/// The entry of a stop code.
#[must_use]
pub fn find(code: u32) -> Option<&'static StopCode> {
    let index = STOP_CODES.binary_search_by_key(&code, |stop| stop.code);
    STOP_CODES.get(index.ok()?)
}

/// The name of an NTSTATUS that is raised as an exception.
#[must_use]
pub fn exception_name(code: u32) -> Option<&'static str> {
    let index = EXCEPTIONS.binary_search_by_key(&code, |&(exception, _)| exception);
    EXCEPTIONS.get(index.ok()?).map(|&(_, name)| name)
}

const fn code(code: u32, name: &'static str, parameters: [&'static str; 4]) -> StopCode {
    StopCode {
        code,
        name,
        parameters,
    }
}

/// A stop code whose first parameter says what the others mean.
const fn kinds(number: u32, name: &'static str) -> StopCode {
    code(number, name, parameters::BY_KIND)
}

/// A stop code whose parameters are not explained.
const fn plain(number: u32, name: &'static str) -> StopCode {
    code(number, name, [""; 4])
}

/// The tables one after the other.
const fn joined() -> [StopCode; below_100::CODES.len() + from_100::CODES.len()] {
    let mut all = [plain(0, ""); below_100::CODES.len() + from_100::CODES.len()];
    let (low, high) = all.split_at_mut(below_100::CODES.len());
    low.copy_from_slice(below_100::CODES);
    high.copy_from_slice(from_100::CODES);
    all
}

/// Sorted by code.
static EXCEPTIONS: &[(u32, &str)] = &[
    (0x4000_001e, "STATUS_WX86_SINGLE_STEP"),
    (0x4000_001f, "STATUS_WX86_BREAKPOINT"),
    (0x4001_0005, "DBG_CONTROL_C"),
    (0x4001_0006, "DBG_PRINTEXCEPTION_C"),
    (0x4001_0007, "DBG_RIPEXCEPTION"),
    (0x4001_0008, "DBG_CONTROL_BREAK"),
    (0x4001_0009, "DBG_COMMAND_EXCEPTION"),
    (0x4001_000a, "DBG_PRINTEXCEPTION_WIDE_C"),
    (0x8000_0001, "STATUS_GUARD_PAGE_VIOLATION"),
    (0x8000_0002, "STATUS_DATATYPE_MISALIGNMENT"),
    (0x8000_0003, "STATUS_BREAKPOINT"),
    (0x8000_0004, "STATUS_SINGLE_STEP"),
    (0x8000_0026, "STATUS_LONGJUMP"),
    (0x8000_0029, "STATUS_UNWIND_CONSOLIDATE"),
    (0xc000_0005, "STATUS_ACCESS_VIOLATION"),
    (0xc000_0006, "STATUS_IN_PAGE_ERROR"),
    (0xc000_0008, "STATUS_INVALID_HANDLE"),
    (0xc000_0017, "STATUS_NO_MEMORY"),
    (0xc000_001c, "STATUS_INVALID_SYSTEM_SERVICE"),
    (0xc000_001d, "STATUS_ILLEGAL_INSTRUCTION"),
    (0xc000_0025, "STATUS_NONCONTINUABLE_EXCEPTION"),
    (0xc000_0026, "STATUS_INVALID_DISPOSITION"),
    (0xc000_008c, "STATUS_ARRAY_BOUNDS_EXCEEDED"),
    (0xc000_008d, "STATUS_FLOAT_DENORMAL_OPERAND"),
    (0xc000_008e, "STATUS_FLOAT_DIVIDE_BY_ZERO"),
    (0xc000_008f, "STATUS_FLOAT_INEXACT_RESULT"),
    (0xc000_0090, "STATUS_FLOAT_INVALID_OPERATION"),
    (0xc000_0091, "STATUS_FLOAT_OVERFLOW"),
    (0xc000_0092, "STATUS_FLOAT_STACK_CHECK"),
    (0xc000_0093, "STATUS_FLOAT_UNDERFLOW"),
    (0xc000_0094, "STATUS_INTEGER_DIVIDE_BY_ZERO"),
    (0xc000_0095, "STATUS_INTEGER_OVERFLOW"),
    (0xc000_0096, "STATUS_PRIVILEGED_INSTRUCTION"),
    (0xc000_009a, "STATUS_INSUFFICIENT_RESOURCES"),
    (0xc000_009c, "STATUS_DEVICE_DATA_ERROR"),
    (0xc000_00aa, "STATUS_INSTRUCTION_MISALIGNMENT"),
    (0xc000_00fd, "STATUS_STACK_OVERFLOW"),
    (0xc000_0135, "STATUS_DLL_NOT_FOUND"),
    (0xc000_0138, "STATUS_ORDINAL_NOT_FOUND"),
    (0xc000_0139, "STATUS_ENTRYPOINT_NOT_FOUND"),
    (0xc000_013a, "STATUS_CONTROL_C_EXIT"),
    (0xc000_0142, "STATUS_DLL_INIT_FAILED"),
    (0xc000_0185, "STATUS_IO_DEVICE_ERROR"),
    (0xc000_0194, "STATUS_POSSIBLE_DEADLOCK"),
    (0xc000_0218, "STATUS_CANNOT_LOAD_REGISTRY_FILE"),
    (0xc000_021a, "STATUS_SYSTEM_PROCESS_TERMINATED"),
    (0xc000_0221, "STATUS_IMAGE_CHECKSUM_MISMATCH"),
    (0xc000_0235, "STATUS_HANDLE_NOT_CLOSABLE"),
    (0xc000_0264, "STATUS_RESOURCE_NOT_OWNED"),
    (0xc000_02b4, "STATUS_FLOAT_MULTIPLE_FAULTS"),
    (0xc000_02b5, "STATUS_FLOAT_MULTIPLE_TRAPS"),
    (0xc000_02c5, "STATUS_DATATYPE_MISALIGNMENT_ERROR"),
    (0xc000_02c9, "STATUS_REG_NAT_CONSUMPTION"),
    (0xc000_0374, "STATUS_HEAP_CORRUPTION"),
    (0xc000_0409, "STATUS_STACK_BUFFER_OVERRUN"),
    (0xc000_0417, "STATUS_INVALID_CRUNTIME_PARAMETER"),
    (0xc000_041d, "STATUS_FATAL_USER_CALLBACK_EXCEPTION"),
    (0xc000_0420, "STATUS_ASSERTION_FAILURE"),
    (0xc000_0602, "STATUS_FAIL_FAST_EXCEPTION"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_without_duplicates() {
        assert!(STOP_CODES.is_sorted_by(|a, b| a.code < b.code));
        assert!(EXCEPTIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn well_known_codes_have_their_names() {
        for (code, name) in [
            (0xa, "IRQL_NOT_LESS_OR_EQUAL"),
            (0xb4, "VIDEO_DRIVER_INIT_FAILURE"),
            (0xd1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL"),
            (0xe2, "MANUALLY_INITIATED_CRASH"),
            (0x161, "LIVE_SYSTEM_DUMP"),
            (0x1000_007e, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M"),
            (0xdead_dead, "MANUALLY_INITIATED_CRASH1"),
        ] {
            assert_eq!(
                find(code).map(|stop| stop.name),
                Some(name),
                "stop code {code:#x}"
            );
        }
        assert_eq!(find(0), None);
        assert_eq!(find(u32::MAX), None);
    }

    #[test]
    fn a_variant_has_the_parameters_of_its_code() {
        for variant in STOP_CODES.iter().filter(|stop| stop.code >> 28 == 1) {
            let base = find(variant.code & 0xfff_ffff);
            assert_eq!(base.map(|stop| stop.parameters), Some(variant.parameters));
            let name = base.map(|stop| format!("{}_M", stop.name));
            assert_eq!(name.as_deref(), Some(variant.name));
        }
    }

    #[test]
    fn exceptions_have_their_names() {
        assert_eq!(exception_name(0x8000_0003), Some("STATUS_BREAKPOINT"));
        assert_eq!(exception_name(0xc000_0005), Some("STATUS_ACCESS_VIOLATION"));
        assert_eq!(exception_name(0), None);
    }
}
