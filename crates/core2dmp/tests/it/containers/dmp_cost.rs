//! Dumps that claim far more than they hold: they cost little.

use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

use core2dmp::container::dmp::{DumpFile, ProblemKind};
use core2dmp::source::{FileSource, ReadAt};
use core2dmp_synth::dump;

use super::dmp_damaged::guest;
use crate::support::dmp::kinds;

/// A sparse file of so many bytes that begins with `head`.
fn sparse(head: &[u8], size: u64) -> FileSource {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(head).unwrap();
    file.seek(SeekFrom::Start(size - 1)).unwrap();
    file.write_all(&[0]).unwrap();
    FileSource::open(file.path()).unwrap()
}

#[test]
fn a_huge_bitmap_is_read_once_in_blocks() {
    // 2 TiB of memory that is not there, in a bitmap of 64 MiB and a file of 1 TiB.
    let mut written = dump::bitmap(&guest(), true);
    let first = 0x2000 + (64 << 20) + 0x1000;
    written.put_u64(0x2020, first);
    written.put_u64(0x2030, 1 << 29);
    let last = written.pfns.len() as u64;
    written.truncate(0x3000);
    let file = DumpFile::open(Arc::new(sparse(&written.bytes, 1 << 40))).unwrap();
    let bitmap = file.bitmap().unwrap();
    assert_eq!((bitmap.bits_read, bitmap.set_bits), (1 << 29, last));
    assert_eq!(file.memory().frame_count(), last);
}

/// A file whose every second frame is there.
#[derive(Debug)]
struct Comb {
    head: Vec<u8>,
    size: u64,
}

impl ReadAt for Comb {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.head.read_at(offset, buf)?;
        if n > 0 {
            return Ok(n);
        }
        buf.fill(0x55);
        Ok(buf.len())
    }
}

#[test]
fn scattered_frames_cost_a_bounded_memory() {
    let mut written = dump::bitmap(&guest(), true);
    written.put_u64(0x2020, 0x2038 + (1 << 20));
    written.put_u64(0x2030, 1 << 23);
    written.put_u64(0x2028, 1 << 22);
    written.truncate(0x2038);
    let file = DumpFile::open(Arc::new(Comb {
        head: written.bytes,
        size: 1 << 40,
    }))
    .unwrap();
    assert!(kinds(&file).contains(&ProblemKind::TooScattered));
    assert_eq!(file.memory().runs().len(), 1 << 20);
    assert_eq!(file.bitmap().unwrap().set_bits, 1 << 22);
}
