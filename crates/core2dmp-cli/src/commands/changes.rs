//! A source that changes while it is read.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::escape;

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

    /// What has changed since, in words.
    pub(super) fn changed(&self) -> Vec<String> {
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_that_changes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.core");
        std::fs::write(&path, "1234").unwrap();
        let watch = Watch::start(std::slice::from_ref(&path));
        let told = || watch.changed().concat();
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
