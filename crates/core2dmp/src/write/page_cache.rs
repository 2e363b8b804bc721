//! The page cache: reads ahead, and does not fill the cache with data that is not read again.
//!
//! A dump that fits into memory stays in the cache, because the debugger reads it next. One that takes more than half
//! of the machine's memory would only push out what the host itself needs: its pages are given back behind the copy.
//!
//! A dump that is flushed at its end goes to the disk while it is written, or the disk would only begin then.

use std::fs::File;

use crate::source::ReadAt;

/// Bytes behind the copy that are given back at once.
#[cfg(target_os = "linux")]
const LAG: u64 = 64 << 20;

/// Bytes of one write-back request.
#[cfg(target_os = "linux")]
const WRITE_BACK: u64 = 16 << 20;

/// Has a file written to the disk while it grows.
#[derive(Debug)]
pub(super) struct WriteBack {
    is_wanted: bool,
    /// Write-back was requested up to here.
    told: u64,
}

impl WriteBack {
    /// For a file that is flushed at its end, or not.
    pub(super) const fn new(is_wanted: bool) -> Self {
        Self { is_wanted, told: 0 }
    }

    /// The file is written, or left out, up to `end`.
    #[cfg(target_os = "linux")]
    pub(super) fn wrote(&mut self, file: &File, end: u64) {
        let bytes = end.saturating_sub(self.told);
        if !self.is_wanted || bytes < WRITE_BACK {
            return;
        }
        // Linux starts writing what is dirty, and keeps it until that is done (mm/fadvise.c, 6.18): it stays in the
        // cache.
        let length = std::num::NonZeroU64::new(bytes);
        let _ = rustix::fs::fadvise(file, self.told, length, rustix::fs::Advice::DontNeed);
        self.told = end;
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) const fn wrote(&mut self, _: &File, end: u64) {
        if self.is_wanted {
            self.told = end;
        }
    }
}

/// Gives pages back behind the copy, if there are too many.
#[derive(Debug, Default)]
pub(super) struct CacheUse {
    drops: bool,
    /// Where the copy is: in the source, in the output, and how much of both is still in the cache.
    held: u64,
}

#[cfg(target_os = "linux")]
impl CacheUse {
    /// For `bytes` that are about to be copied from `source`.
    pub(super) fn begin(source: &dyn ReadAt, bytes: u64) -> Self {
        if let Some((file, _)) = source.file_at(0) {
            // This is only advice: a system that ignores it is slower, not wrong.
            let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
        }
        let machine = rustix::system::sysinfo();
        let memory = u64::from(machine.mem_unit).saturating_mul(machine.totalram as _);
        Self {
            drops: bytes > memory / 2,
            held: 0,
        }
    }

    /// `bytes` more were copied, up to `from` in the source and up to `to` in the output.
    pub(super) fn copied(
        &mut self,
        source: &dyn ReadAt,
        from: u64,
        output: Option<(&File, u64)>,
        bytes: u64,
    ) {
        if !self.drops {
            return;
        }
        self.held = self.held.saturating_add(bytes);
        if self.held < LAG {
            return;
        }
        let length = std::num::NonZeroU64::new(self.held);
        let forget = |file: &File, end: u64| {
            let start = end.saturating_sub(self.held);
            let _ = rustix::fs::fadvise(file, start, length, rustix::fs::Advice::DontNeed);
        };
        if let Some((file, end)) = source.file_at(from) {
            forget(file, end);
        }
        if let Some((file, end)) = output {
            // Writing back begins with this advice; what is still dirty goes with the next one.
            forget(file, end);
        }
        self.held = 0;
    }
}

#[cfg(not(target_os = "linux"))]
impl CacheUse {
    pub(super) fn begin(_: &dyn ReadAt, _: u64) -> Self {
        Self::default()
    }

    pub(super) fn copied(&mut self, _: &dyn ReadAt, _: u64, _: Option<(&File, u64)>, _: u64) {}
}
