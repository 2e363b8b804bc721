//! Pages that are decoded while they are written.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Case, FORCE, QUICK, Steps};
use crate::address::Pfn;
use crate::error::Error;
use crate::image::Image;
use crate::memory::{Backing, DecodeError, Frames, PageDecoder, PhysicalMemory, RunBuilder};
use crate::write::{Silent, to_file, to_stream};

/// Makes pages of their number's low byte; every fourth is zero, and some are broken.
#[derive(Debug)]
struct Maker {
    broken: Vec<u64>,
}

impl PageDecoder for Maker {
    fn decode(&self, index: u64, page: &mut [u8; 4096]) -> Result<(), DecodeError> {
        if self.broken.contains(&index) {
            page.fill(0xcc);
            return Err(DecodeError::corrupt(index << 4, "no page"));
        }
        page.fill(if index.is_multiple_of(4) {
            0
        } else {
            index as u8
        });
        Ok(())
    }
}

/// A plan of this many decoded pages, between bytes of its own; its memory, and what its file holds.
fn encoded(pages: u64, broken: Vec<u64>) -> (Case, Vec<u8>) {
    let mut image = Image::new();
    image.push_bytes(vec![1, 2, 3]);
    image.push_encoded(1000, pages);
    image.push_bytes(vec![4, 5]);
    let mut case = Case::of(image);
    let mut runs = RunBuilder::default();
    runs.push(
        Frames::new(Pfn::new(0x50), pages),
        Backing::Encoded { index: 1000 },
    )
    .unwrap();
    let mut wanted = vec![1, 2, 3];
    for index in 1000..1000 + pages {
        let byte = if index % 4 == 0 || broken.contains(&index) {
            0
        } else {
            index as u8
        };
        wanted.extend([byte; 4096]);
    }
    wanted.extend([4, 5]);
    case.memory = PhysicalMemory::new(Arc::new(Vec::new()), runs.finish().unwrap())
        .with_decoder(Arc::new(Maker { broken }));
    (case, wanted)
}

#[test]
fn decoded_pages_arrive_in_order() {
    for pages in [1, 63, 64, 65, 128, 4000] {
        let (case, wanted) = encoded(pages, Vec::new());
        let watch = Steps::new(u64::MAX);
        to_file(
            &case.plan.image,
            &case.memory,
            &case.output(),
            FORCE,
            &watch,
        )
        .unwrap();
        assert!(fs::read(case.output()).unwrap() == wanted, "{pages} pages");
        assert_eq!(watch.bytes.load(Ordering::Relaxed), case.plan.image.size());
        let mut stream = Vec::new();
        to_stream(&case.plan.image, &case.memory, &mut stream, &Silent).unwrap();
        assert!(stream == wanted, "{pages} pages");
        for steps in [1, 2, 3] {
            let stopped = to_stream(
                &case.plan.image,
                &case.memory,
                &mut Vec::new(),
                &Steps::new(steps),
            );
            assert!(matches!(stopped, Err(Error::Interrupted)));
        }
    }
}

#[test]
fn a_corrupt_page_stops_unless_salvaged() {
    let (mut case, wanted) = encoded(4000, vec![1777, 4001, 4002]);
    let error = case.write(QUICK).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the page of physical address 0x359000 cannot be decoded: file offset 0x6f10: no page"
    );
    assert_eq!(case.names(), ["guest.core"]);
    case.plan.image.set_salvage(true);
    let written = to_file(
        &case.plan.image,
        &case.memory,
        &case.output(),
        QUICK,
        &Silent,
    )
    .unwrap();
    assert_eq!(written.corrupt, 3);
    let places: Vec<u64> = written
        .corrupt_pages
        .iter()
        .map(|page| page.gpa.get())
        .collect();
    assert_eq!(places, [0x359000, 0xc09000, 0xc0a000]);
    assert!(fs::read(case.output()).unwrap() == wanted);
    let all = (1000..5000).collect();
    let (mut case, wanted) = encoded(4000, all);
    case.plan.image.set_salvage(true);
    let mut stream = Vec::new();
    let written = to_stream(&case.plan.image, &case.memory, &mut stream, &Silent).unwrap();
    assert_eq!((written.corrupt, written.corrupt_pages.len()), (4000, 64));
    assert!(stream == wanted);
}

#[cfg(unix)]
#[test]
fn decoded_zero_pages_are_holes() {
    use std::os::unix::fs::MetadataExt;
    let all = (1000..9000).collect();
    let (mut case, _) = encoded(8000, all);
    case.plan.image.set_salvage(true);
    to_file(
        &case.plan.image,
        &case.memory,
        &case.output(),
        QUICK,
        &Silent,
    )
    .unwrap();
    let meta = fs::metadata(case.output()).unwrap();
    assert_eq!(meta.len(), 8000 * 4096 + 5);
    assert!(meta.blocks() <= 64, "{} blocks", meta.blocks());
}
