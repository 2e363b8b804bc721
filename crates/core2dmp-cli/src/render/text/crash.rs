//! The stop code in words, and the exception behind it.

use core2dmp::header::stop_codes;
use core2dmp::windows::{Bugcheck, CrashState, Exception, Windows};

use super::Table;

/// Such as "crashed: stop 0xe2 `MANUALLY_INITIATED_CRASH`".
pub(super) fn state(bugcheck: &Bugcheck) -> String {
    if !bugcheck.crashed {
        return "running, not crashed".to_owned();
    }
    let name = stop_codes::find(bugcheck.code).map_or("", |stop| stop.name);
    format!("crashed: stop {:#x} {name}", bugcheck.code)
        .trim_end()
        .to_owned()
}

/// The parameters of the stop code, those that mean something explained.
pub(super) fn parameters(table: &mut Table, bugcheck: &Bugcheck) {
    if !bugcheck.crashed {
        return;
    }
    let [one, two, three, four] = bugcheck.parameters;
    table.row(
        "parameters",
        format!("{one:#x}, {two:#x}, {three:#x}, {four:#x}"),
    );
    let Some(stop) = stop_codes::find(bugcheck.code) else {
        return;
    };
    for (value, meaning) in bugcheck.parameters.iter().zip(stop.parameters) {
        if !meaning.is_empty() {
            table.row("", format!("{value:<#18x}  {meaning}"));
        }
    }
}

/// The exception behind a crash, and where it was.
pub(super) fn exception(table: &mut Table, windows: &Windows, crash: &CrashState) {
    if !windows.bugcheck.value.crashed {
        return;
    }
    table.fact("exception", &crash.exception, in_words);
    table.fact("on processor", &crash.processor, ToString::to_string);
}

fn in_words(exception: &Exception) -> String {
    let name = stop_codes::exception_name(exception.code).unwrap_or("exception");
    format!("{name} {:#x} at {}", exception.code, exception.address)
}
