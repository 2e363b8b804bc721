//! Files that killed runs for the same output left behind.

use std::time::{Duration, SystemTime};

use core2dmp::text::{count, size};
use core2dmp::write::{self, Leftover};

use crate::escape;
use crate::message;
use crate::request::{Convert, Output};

/// Names, or removes, what earlier runs left that were to write this file. It is reported at once: an error may follow,
/// such as that of a disk that they fill.
pub(super) fn report(request: &Convert) -> Vec<String> {
    let Output::File(path) = &request.output else {
        return Vec::new();
    };
    if request.dry_run {
        return Vec::new();
    }
    let warnings: Vec<String> = write::leftovers(path)
        .iter()
        .map(|leftover| words(leftover, request.clean))
        .collect();
    message::warnings(&warnings);
    warnings
}

fn words(leftover: &Leftover, clean: bool) -> String {
    let name = escape::path(&leftover.path);
    let age = leftover
        .modified
        .and_then(|then| SystemTime::now().duration_since(then).ok())
        .map_or_else(|| "some time".to_owned(), age);
    let what = format!(
        "{name} is left of a run that was killed: {}, {age} old",
        size(leftover.bytes)
    );
    if !clean {
        return format!("{what}; --clean removes it");
    }
    match leftover.remove() {
        Ok(()) => format!("{what}; removed"),
        Err(error) => format!("{what}; it could not be removed: {error}"),
    }
}

/// In the largest unit that leaves a number above 1.
fn age(age: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let seconds = age.as_secs();
    let (number, unit) = UNITS
        .iter()
        .find(|(unit, _)| seconds >= *unit)
        .map_or((seconds, "second"), |(unit, name)| (seconds / unit, *name));
    count(number, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_down() {
        let said = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(said(1), "1 second");
        assert_eq!(said(7199), "1 hour");
        assert_eq!(said(200_000), "2 days");
    }
}
