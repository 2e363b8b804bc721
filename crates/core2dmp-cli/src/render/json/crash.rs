//! The stop code, and the exception behind it.

use serde::Serialize;

use core2dmp::header::stop_codes;
use core2dmp::windows::{Bugcheck, CrashState, Exception};

use super::{FactOf, hex};

/// A stop code with its parameters.
#[derive(Debug, Serialize)]
pub(super) struct StopCode {
    code: String,
    name: Option<&'static str>,
    parameters: [String; 4],
}

impl From<&Bugcheck> for StopCode {
    fn from(bugcheck: &Bugcheck) -> Self {
        Self {
            code: hex(bugcheck.code),
            name: stop_codes::find(bugcheck.code).map(|stop| stop.name),
            parameters: bugcheck.parameters.map(hex),
        }
    }
}

/// What the header's exception record says.
#[derive(Debug, Serialize)]
pub(super) struct ExceptionRecord {
    code: String,
    name: Option<&'static str>,
    flags: String,
    address: String,
    parameters: Vec<String>,
}

impl From<&Exception> for ExceptionRecord {
    fn from(exception: &Exception) -> Self {
        Self {
            code: hex(exception.code),
            name: stop_codes::exception_name(exception.code),
            flags: hex(exception.flags),
            address: exception.address.to_string(),
            parameters: exception.parameters.iter().copied().map(hex).collect(),
        }
    }
}

/// Which processor the debugger starts at, and what it shows there.
#[derive(Debug, Serialize)]
pub(super) struct Crash {
    processor: FactOf<u32>,
    exception: FactOf<ExceptionRecord>,
}

impl Crash {
    pub(super) fn new(crash: &CrashState) -> Self {
        Self {
            processor: FactOf::new(&crash.processor, |number| *number),
            exception: FactOf::new(&crash.exception, |exception| exception.into()),
        }
    }
}
