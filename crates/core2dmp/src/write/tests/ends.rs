//! Sources and streams that end before the image does, and holes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::atomic::Ordering;

use super::{Case, FORCE, QUICK, Steps, memory_of, source_image};
use crate::source::FileSource;
use crate::write::{Silent, to_file, to_stream};

#[test]
fn a_source_that_ends_too_soon_is_told() {
    let mut case = Case::of(source_image(0x1000, 0x5000));
    let short = memory_of(vec![7; 0x2800]);
    let error = to_file(&case.plan.image, &short, &case.output(), QUICK, &Silent).unwrap_err();
    let line = error.to_string();
    assert!(line.ends_with("the container ends at 0x2800"), "{line}");
    // The same file, open by name: it shrank since it was opened.
    let path = case.folder.path().join("guest.core");
    case.memory = memory_of(FileSource::open(&path).unwrap());
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0x2800)
        .unwrap();
    let line = case.write(QUICK).unwrap_err().to_string();
    assert!(line.ends_with("the container ends at 0x2800"), "{line}");
    assert_eq!(case.names(), ["guest.core"]);
}

#[test]
fn a_stream_that_closes_is_told_with_its_place() {
    /// Takes this many bytes.
    struct Pipe(usize);
    impl Write for Pipe {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let count = buf.len().min(self.0);
            self.0 -= count;
            if count == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let case = Case::new();
    let error = to_stream(&case.plan.image, &case.memory, &mut Pipe(0x1000), &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write the stream at offset 0x0: broken pipe"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn holes_of_the_source_stay_holes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    const MIB: u64 = 1 << 20;
    let mut image = source_image(0x1000, 100 * MIB);
    image.push_zeros(50 * MIB);
    image.push_source(200 * MIB, 50 * MIB);
    let case = Case::of(image);
    // Data at both ends, and 4 KiB in the middle of each part; the second ends in a hole.
    let path = case.folder.path().join("sparse.core");
    let file = File::create(&path).unwrap();
    file.set_len(250 * MIB).unwrap();
    let places = [0x1000, 40 * MIB, 100 * MIB, 200 * MIB, 230 * MIB];
    for (byte, at) in (1..).zip(places) {
        file.write_all_at(&[byte; 4096], at).unwrap();
    }
    file.sync_all().unwrap();
    let source = memory_of(FileSource::open(&path).unwrap());
    let (out, watch) = (case.output(), Steps::new(u64::MAX));
    to_file(&case.plan.image, &source, &out, FORCE, &watch).unwrap();
    assert_eq!(watch.bytes.load(Ordering::Relaxed), 200 * MIB);
    let written = File::open(&out).unwrap();
    written.sync_all().unwrap();
    let meta = written.metadata().unwrap();
    assert_eq!(meta.len(), 200 * MIB);
    let source_blocks = file.metadata().unwrap().blocks();
    assert!(
        meta.blocks() <= source_blocks + 8,
        "{} blocks of a source with {source_blocks}",
        meta.blocks()
    );
    for (byte, at) in (1..).zip([
        0,
        40 * MIB - 0x1000,
        100 * MIB - 0x1000,
        150 * MIB,
        180 * MIB,
    ]) {
        let mut page = [0; 4096];
        written.read_exact_at(&mut page, at).unwrap();
        assert!(page == [byte; 4096], "page {byte} at {at:#x}");
    }
    let mut stream = Vec::new();
    to_stream(&case.plan.image, &source, &mut stream, &Silent).unwrap();
    assert!(stream == fs::read(&out).unwrap());
}
