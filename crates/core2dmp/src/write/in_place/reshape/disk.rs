//! The operations on a file in place, as a trait; tests use a file of their own that fails wherever they want.

use std::io;

use super::span::{DataMap, Span};

/// A file whose ranges can be taken out and put in.
pub(super) trait Disk {
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file, or extends it by a hole.
    fn set_size(&mut self, bytes: u64) -> io::Result<()>;
    /// Takes a range out; what is behind it moves up.
    fn collapse(&mut self, range: Span) -> io::Result<()>;
    /// Puts a hole in; what is behind it moves down.
    fn insert(&mut self, range: Span) -> io::Result<()>;
    /// Makes a range zeros.
    fn punch(&mut self, range: Span) -> io::Result<()>;
    /// Fills the buffer.
    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Copies what `other` holds in `from` to `to`, where zeros are.
    fn take(&mut self, to: u64, other: &Self, from: Span) -> io::Result<()>;
    /// Waits until everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Where data is from `at` on.
    fn data(&self, at: u64) -> io::Result<DataMap>;
}

#[cfg(target_os = "linux")]
pub(super) use linux::DiskFile;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek};
    use rustix::io::Errno;

    use super::{DataMap, Disk, Span};

    /// Bytes that are copied at once.
    const STEP: u64 = 32 << 20;
    /// Bytes of a buffer where the kernel does not copy.
    const BUFFER: usize = 1 << 20;
    /// Stretches of data in a file; with more, the file is too sparse to tell how far a shift came.
    const MAX_STRETCHES: usize = 1 << 16;

    /// A file of the system's.
    #[derive(Debug)]
    pub(in crate::write::in_place::reshape) struct DiskFile(
        pub(in crate::write::in_place::reshape) File,
    );

    impl DiskFile {
        fn allocate(&self, mode: FallocateFlags, range: Span) -> io::Result<()> {
            loop {
                match fallocate(&self.0, mode, range.at, range.bytes) {
                    Err(Errno::INTR) => {}
                    done => return Ok(done?),
                }
            }
        }

        /// The next data in the window.
        fn next_data(&self, at: u64, end: u64) -> io::Result<Option<Span>> {
            if at >= end {
                return Ok(None);
            }
            let start = match seek(&self.0, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            let stop = seek(&self.0, SeekFrom::Hole(start))?.min(end);
            Ok((start < stop).then(|| Span::between(start, stop)))
        }

        fn copy(&self, mut to: u64, other: &Self, mut from: Span) -> io::Result<()> {
            let mut buffer = Vec::new();
            while from.bytes > 0 {
                let step = from.bytes.min(STEP);
                let (mut off_in, mut off_out) = (from.at, to);
                let bytes = usize::try_from(step).unwrap_or(BUFFER);
                let (input, output) = (Some(&mut off_in), Some(&mut off_out));
                let done =
                    match rustix::fs::copy_file_range(&other.0, input, &self.0, output, bytes) {
                        Ok(copied) if copied > 0 => copied as u64,
                        // Where the kernel does not copy, or copies nothing though it should say that it cannot.
                        _ => {
                            buffer.resize(BUFFER, 0);
                            let block = buffer.get_mut(..bytes.min(BUFFER)).unwrap_or_default();
                            other.0.read_exact_at(block, from.at)?;
                            self.0.write_all_at(block, to)?;
                            block.len() as u64
                        }
                    };
                to = to.saturating_add(done);
                from = Span::between(from.at.saturating_add(done), from.end());
            }
            Ok(())
        }
    }

    impl Disk for DiskFile {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.metadata()?.len())
        }

        fn set_size(&mut self, bytes: u64) -> io::Result<()> {
            self.0.set_len(bytes)
        }

        fn collapse(&mut self, range: Span) -> io::Result<()> {
            self.allocate(FallocateFlags::COLLAPSE_RANGE, range)
        }

        fn insert(&mut self, range: Span) -> io::Result<()> {
            self.allocate(FallocateFlags::INSERT_RANGE, range)
        }

        fn punch(&mut self, range: Span) -> io::Result<()> {
            if range.bytes == 0 {
                return Ok(());
            }
            self.allocate(
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                range,
            )
        }

        fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_exact_at(buffer, at)
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write_all_at(bytes, at)
        }

        fn take(&mut self, to: u64, other: &Self, from: Span) -> io::Result<()> {
            let mut at = from.at;
            while let Some(data) = other.next_data(at, from.end())? {
                let skipped = data.at.saturating_sub(from.at);
                self.copy(to.saturating_add(skipped), other, data)?;
                at = data.end();
            }
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.0.sync_all()
        }

        fn data(&self, at: u64) -> io::Result<DataMap> {
            // Pages in memory make preallocated space look like data until they are dropped.
            let _ = fadvise(&self.0, at, None, Advice::DontNeed);
            let (mut map, mut at, end) = (DataMap::default(), at, self.size()?);
            while let Some(data) = self.next_data(at, end)? {
                if map.0.len() >= MAX_STRETCHES {
                    return Err(io::Error::other(format!(
                        "it has more than {MAX_STRETCHES} holes"
                    )));
                }
                map.push(data);
                at = data.end();
            }
            Ok(map)
        }
    }
}
