//! What stands around a conversion: leftovers of killed runs, and a source that changes while it is read.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use core2dmp::write::{self, Leftover};

use super::output::Output;
use crate::args::ConvertArgs;
use crate::escape;
use crate::message::{self, Failure};
use crate::render::text::size;

/// Something that a conversion may still warn of.
pub(super) trait Warned {
    /// Adds a warning.
    fn warn(&mut self, warning: String);
}

impl Warned for Vec<String> {
    fn warn(&mut self, warning: String) {
        self.push(warning);
    }
}

/// Names, or removes, what earlier runs left that were to write this dump. It is said at once: an error may follow, such
/// as that of a disk that they fill.
pub(super) fn leftovers(args: &ConvertArgs, output: &Output) -> Vec<String> {
    let Output::File(path) = output else {
        return Vec::new();
    };
    if args.dry_run {
        return Vec::new();
    }
    let warnings: Vec<String> = write::leftovers(path)
        .iter()
        .map(|leftover| told(leftover, args.clean))
        .collect();
    message::warnings(&warnings);
    warnings
}

fn told(leftover: &Leftover, clean: bool) -> String {
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
    crate::render::text::count(number, unit)
}

/// The size and time of each source before it is read.
#[derive(Debug)]
pub(super) struct Watch(Vec<(PathBuf, u64, SystemTime)>);

impl Watch {
    pub(super) fn start(paths: &[PathBuf]) -> Self {
        let before = paths.iter().filter_map(|path| {
            let (size, time) = look(path)?;
            Some((path.clone(), size, time))
        });
        Self(before.collect())
    }

    /// Adds what has changed since to the outcome; to an error, which it explains, on stderr.
    pub(super) fn end<T: Warned>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let mut done = self.explain(outcome)?;
        for warning in self.changed() {
            done.warn(warning);
        }
        Ok(done)
    }

    /// Says what has changed since, if that is how it came to an error.
    pub(super) fn explain<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        outcome.inspect_err(|_| message::warnings(&self.changed()))
    }

    fn changed(&self) -> Vec<String> {
        self.0.iter().filter_map(changed).collect()
    }
}

fn changed((path, size, time): &(PathBuf, u64, SystemTime)) -> Option<String> {
    let name = escape::path(path);
    let how = match look(path) {
        None => "it is gone".to_owned(),
        Some((now, _)) if now > *size => format!("it grew from {size} to {now} bytes"),
        Some((now, _)) if now < *size => format!("it shrank from {size} to {now} bytes"),
        Some((_, now)) if now != *time => "it was written to".to_owned(),
        Some(_) => return None,
    };
    Some(format!("{name} changed while it was read: {how}"))
}

/// Of a regular file; a device has no such time.
fn look(path: &Path) -> Option<(u64, SystemTime)> {
    let meta = path.metadata().ok().filter(Metadata::is_file)?;
    Some((meta.len(), meta.modified().ok()?))
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

    #[test]
    fn a_source_that_changes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.core");
        std::fs::write(&path, "1234").unwrap();
        let watch = Watch::start(std::slice::from_ref(&path));
        let told = || watch.end(Ok(Vec::new())).unwrap_or_default().concat();
        assert_eq!(told(), "");
        std::fs::write(&path, "12345").unwrap();
        assert!(told().ends_with("it grew from 4 to 5 bytes"), "{}", told());
        std::fs::write(&path, "1").unwrap();
        assert!(told().ends_with("it shrank from 4 to 1 bytes"));
        std::fs::write(&path, "abcd").unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(told().ends_with("it was written to"));
        std::fs::remove_file(&path).unwrap();
        assert!(told().ends_with("it is gone"));
    }
}
