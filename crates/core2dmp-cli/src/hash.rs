//! Checksums of what was written: SHA-256 and, for speed, BLAKE3.
//!
//! ```text
//! guest.dmp  --read back, two threads-->  guest.dmp.sha256   what `sha256sum -c` reads
//!                                         guest.dmp.b3       what `b3sum -c` reads
//! ```
//!
//! A file is read back as it is on the disk, or in the page cache; a stream is hashed while it passes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use core2dmp::error::Error;
use sha2::{Digest, Sha256};

use crate::message::Failure;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Both checksums of the same bytes, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) sha256: String,
    pub(crate) blake3: String,
}

/// The two manifests.
#[derive(Debug)]
pub(crate) struct Manifests {
    pub(crate) sha256: PathBuf,
    pub(crate) blake3: PathBuf,
}

/// Writes the manifests of `files` beside `output`; existing ones are of an older dump of that name.
pub(crate) fn write(output: &Path, files: &[PathBuf]) -> Result<Manifests, Failure> {
    let (mut sha256, mut blake3) = (String::new(), String::new());
    for file in files {
        let sums = of_file(file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        sha256.push_str(&line(&sums.sha256, &name));
        blake3.push_str(&line(&sums.blake3, &name));
    }
    Ok(Manifests {
        sha256: put(output, ".sha256", &sha256)?,
        blake3: put(output, ".b3", &blake3)?,
    })
}

/// A line of a manifest. Names with a backslash or a line end are escaped as coreutils does it.
fn line(sum: &str, name: &str) -> String {
    if name.contains(['\\', '\n', '\r']) {
        let name = name.replace('\\', "\\\\");
        let name = name.replace('\n', "\\n").replace('\r', "\\r");
        return format!("\\{sum}  {name}\n");
    }
    format!("{sum}  {name}\n")
}

fn put(output: &Path, suffix: &str, text: &str) -> Result<PathBuf, Failure> {
    let mut name = output.as_os_str().to_owned();
    name.push(suffix);
    let path = PathBuf::from(name);
    let failed = |error| {
        Error::io(
            format!("cannot write {}", crate::escape::path(&path)),
            error,
        )
    };
    let mut file = core2dmp::write::Temporary::beside(output).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(&path).map_err(failed)?;
    Ok(path)
}

/// Both checksums, each in a thread of its own.
fn of_file(path: &Path) -> Result<Sums, Failure> {
    let failed = |error| {
        Error::io(
            format!("cannot read {} again", crate::escape::path(path)),
            error,
        )
    };
    thread::scope(|scope| {
        let blake3 = scope.spawn(|| {
            let mut hasher = blake3::Hasher::new();
            each_block(path, |block| {
                hasher.update(block);
            })?;
            Ok(hasher.finalize().to_hex().to_string())
        });
        let mut hasher = Sha256::new();
        each_block(path, |block| hasher.update(block)).map_err(failed)?;
        let blake3 = blake3
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Sums {
            sha256: hex(&hasher.finalize()),
            blake3: blake3.map_err(failed)?,
        })
    })
}

fn each_block(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream that is hashed on its way.
pub(crate) struct Hashed<W> {
    inner: W,
    sha256: Sha256,
    blake3: blake3::Hasher,
}

impl<W: Write> Hashed<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
            blake3: blake3::Hasher::new(),
        }
    }

    /// The checksums of all that passed.
    pub(crate) fn sums(self) -> Sums {
        Sums {
            sha256: hex(&self.sha256.finalize()),
            blake3: self.blake3.finalize().to_hex().to_string(),
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let passed = bytes.get(..written).unwrap_or_default();
        self.sha256.update(passed);
        self.blake3.update(passed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_coreutils_does_it() {
        assert_eq!(line("00ff", "guest.dmp"), "00ff  guest.dmp\n");
        assert_eq!(line("00ff", "a\nb\\c"), "\\00ff  a\\nb\\\\c\n");
    }

    #[test]
    fn sums_of_nothing_are_the_published_ones() {
        let sums = Hashed::new(io::sink()).sums();
        assert!(sums.sha256.starts_with("e3b0c44298fc1c14"));
        assert!(sums.blake3.starts_with("af1349b9f5f9a1a6"));
    }
}
