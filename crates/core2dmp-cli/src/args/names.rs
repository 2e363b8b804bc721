//! Which of the names is the output.
//!
//! ```text
//! convert guest.core                     sources: guest.core
//! convert guest.core out.dmp             the last name is the output:
//! convert guest.core -                     it is -, ends as the output would,
//! convert guest.core dumps/                is a folder, or is no file yet
//! convert win.vmem win.vmss              both are there and neither is a dump: both are sources
//! convert part1 part2 part3 -o old.bin   --output says it, whatever it is called
//! ```
//!
//! A single name is always a source.

use std::path::{Path, PathBuf};

/// Sources, and the output if there is one among the names. `ending` is what the output's name ends in.
pub(super) fn split<'a>(
    names: &'a [PathBuf],
    output: Option<&'a Path>,
    ending: &str,
) -> (&'a [PathBuf], Option<&'a Path>) {
    match names {
        [sources @ .., last] if output.is_none() && is_output(last, sources, ending) => {
            (sources, Some(last))
        }
        _ => (names, output),
    }
}

/// A name's extension in small letters.
fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

fn is_output(last: &Path, sources: &[PathBuf], ending: &str) -> bool {
    if sources.is_empty() {
        return false;
    }
    let Ok(meta) = last.metadata() else {
        // Not there yet, or `-`.
        return true;
    };
    let is_source = last.canonicalize().is_ok_and(|last| {
        let mut sources = sources.iter();
        sources.any(|source| source.canonicalize().is_ok_and(|source| source == last))
    });
    last.as_os_str() == "-"
        || extension(last) == ending
        || !(meta.is_file() || is_block_device(&meta))
        // Twice the same is refused where the output is looked at.
        || is_source
}

#[cfg(unix)]
fn is_block_device(meta: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&meta.file_type())
}

#[cfg(not(unix))]
fn is_block_device(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_is_the_output_if_it_can_be_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.vmem", "a.vmss", "old.DMP", "old.raw"] {
            std::fs::write(path(name), name).unwrap();
        }
        let output = |names: &[&str], ending: &str| {
            let names: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            let (sources, output) = split(&names, None, ending);
            let output =
                output.map(|path: &Path| path.file_name().unwrap().to_string_lossy().into_owned());
            (sources.len(), output)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(output(&["old.DMP"], "dmp"), (1, None));
        assert_eq!(output(&["a.vmem", "a.vmss"], "dmp"), (2, None));
        assert_eq!(output(&["a.vmem", "old.DMP"], "dmp"), (1, some("old.DMP")));
        assert_eq!(output(&["a.vmem", "new"], "dmp"), (1, some("new")));
        assert_eq!(output(&["a.vmem", "a.vmss", ""], "dmp").0, 2);
        assert_eq!(output(&["a.vmem", "./a.vmem"], "dmp"), (1, some("a.vmem")));
        assert_eq!(output(&["a.vmem", "old.raw"], "dmp"), (2, None));
        assert_eq!(output(&["a.vmem", "old.raw"], "raw"), (1, some("old.raw")));
        let names = [path("a.vmem"), PathBuf::from("-")];
        assert_eq!(split(&names, None, "dmp").1, Some(Path::new("-")));
        let given = Path::new("given");
        assert_eq!(split(&names, Some(given), "dmp"), (&names[..], Some(given)));
    }
}
