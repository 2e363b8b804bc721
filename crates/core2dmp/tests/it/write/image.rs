//! An image read at any offset is the file that is written of it: every container, every type of dump, every export.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use core2dmp::audit::check;
use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::dump::{self, DumpKind, PlanOptions};
use core2dmp::error::Error;
use core2dmp::export::{ExportFormat, export};
use core2dmp::image::{Image, ImageError, ImageReader, SegmentData};
use core2dmp::source::ReadAt;
use core2dmp::windows::{self, Windows};
use core2dmp::write::{self, Silent};
use core2dmp_synth::dump as dumps;
use core2dmp_synth::{GuestSpec, zdmp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::every::{Carries, containers};
use crate::support::open::{file_of, open};

fn streamed(guest: &Guest, image: &Image) -> Vec<u8> {
    let mut file = Vec::new();
    write::to_stream(image, &guest.memory, &mut file, &Silent).unwrap();
    assert_eq!(file.len() as u64, image.size());
    file
}

/// What can be made of a guest.
#[derive(Debug, Clone, Copy)]
enum Output {
    Dump(DumpKind),
    Export(ExportFormat),
}

const OUTPUTS: [Output; 8] = [
    Output::Dump(DumpKind::Auto),
    Output::Dump(DumpKind::Full),
    Output::Dump(DumpKind::Bitmap),
    Output::Dump(DumpKind::Active),
    Output::Dump(DumpKind::Kernel),
    Output::Export(ExportFormat::Raw),
    Output::Export(ExportFormat::Elf),
    Output::Export(ExportFormat::Lime),
];

fn image(guest: &Guest, found: &Windows, output: Output) -> Image {
    match output {
        Output::Dump(kind) => {
            let options = PlanOptions::default().kind(kind);
            dump::plan(guest, found, &options).unwrap().image
        }
        Output::Export(format) => export(guest, format).image,
    }
}

/// What is read is what the file has there: as many bytes as there are.
#[track_caller]
fn assert_reads(name: &str, reader: &ImageReader, file: &[u8], wanted: Range<usize>) {
    let mut buf = vec![0xee; wanted.len()];
    let read = reader.read_at(wanted.start as u64, &mut buf).unwrap();
    let there = file.get(wanted.start..).unwrap_or_default();
    let there = &there[..there.len().min(wanted.len())];
    assert_eq!(read, there.len(), "{name}: {wanted:x?}");
    assert!(buf[..read] == *there, "{name}: {wanted:x?}");
}

/// Ranges around each border of segments, and of all lengths at random places; and the whole file in odd steps.
fn assert_is_the_file(name: &str, guest: &Guest, image: &Image) {
    let file = streamed(guest, image);
    let reader = ImageReader::new(image.clone(), guest.memory.clone());
    for segment in image.segments().iter().take(200) {
        let at = usize::try_from(segment.start).unwrap();
        for range in [
            at..at + 1,
            at.saturating_sub(1)..at + 1,
            at.saturating_sub(5)..at + 0x1003,
        ] {
            assert_reads(name, &reader, &file, range);
        }
    }
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let (start, bits) = (0..file.len() + 0x2000, 0_u32..18);
    let strategy = (start, bits, any::<u32>()).prop_map(|(start, bits, length)| {
        let length = usize::try_from(length >> (31 - bits)).unwrap();
        start..start + length
    });
    TestRunner::new(config)
        .run(&strategy, |range| {
            assert_reads(name, &reader, &file, range);
            Ok(())
        })
        .unwrap();
    let step = 0x10_0123;
    for start in (0..file.len()).step_by(step) {
        assert_reads(name, &reader, &file, start..start + step);
    }
}

/// Each test takes a part of the containers, so that they run at the same time. The first container makes every output;
/// the others of a part take turns, two outputs each.
fn every_container(part: usize) {
    let guest = GuestSpec::windows10().processors(2).fill(60);
    let guest = guest.ballooned(0x700, 0x20).build();
    let mut all = containers(&guest);
    all.push(("Xen core", file_of(&guest.xen_core()), Carries::ALL));
    all.push((
        "VirtualBox",
        guest.qemu_elf().virtualbox().bytes(),
        Carries::ALL,
    ));
    all.push(("dump", dumps::full(&guest).bytes, Carries::ALL));
    all.push((
        "zdmp",
        zdmp(&dumps::full(&guest).bytes, 0x1_8000),
        Carries::ALL,
    ));
    let mine = all.into_iter().skip(part).step_by(4).enumerate();
    let mut made = [false; OUTPUTS.len()];
    for (turn, (name, file, _)) in mine {
        let opened = open(file).unwrap();
        let found = windows::identify(&opened).unwrap();
        for (n, output) in OUTPUTS.into_iter().enumerate() {
            if n % 4 == turn % 4 || (turn, part) == (0, 0) {
                made[n] = true;
                let image = image(&opened, &found, output);
                assert_is_the_file(&format!("{name}, {output:?}"), &opened, &image);
            }
        }
    }
    assert_eq!(made, [true; OUTPUTS.len()], "a part has too few containers");
}

#[test]
fn an_image_is_its_file_in_the_first_quarter_of_containers() {
    every_container(0);
}

#[test]
fn an_image_is_its_file_in_the_second_quarter_of_containers() {
    every_container(1);
}

#[test]
fn an_image_is_its_file_in_the_third_quarter_of_containers() {
    every_container(2);
}

#[test]
fn an_image_is_its_file_in_the_last_quarter_of_containers() {
    every_container(3);
}

/// A kdump with a page that cannot be decoded: the file, the page's frame, and where its descriptor is.
fn damaged() -> (Vec<u8>, u64, u64) {
    let guest = GuestSpec::windows7().fill(50).build();
    let mut file = guest.kdump().bytes();
    let pfn = (0x200..)
        .find(|pfn| !guest.frames.is_written(*pfn) && guest.page(*pfn) != Some([0; 4096]))
        .unwrap();
    let descriptor = guest.kdump().descriptors_at() + (pfn - 0x20) * 24;
    file[usize::try_from(descriptor).unwrap() + 12] = 0x40;
    (file, pfn, descriptor)
}

#[test]
fn a_corrupt_page_is_an_error_with_its_address_or_zeros() {
    let (file, pfn, descriptor) = damaged();
    let opened = open(file).unwrap();
    let mut image = export(&opened, ExportFormat::Raw).image;
    let reader = ImageReader::new(image.clone(), opened.memory.clone());
    let place = pfn << 12;
    for (start, length) in [
        (place, 1),
        (place + 4095, 1),
        (place - 3, 9000),
        (place - 0x10_0000, 0x20_0000),
    ] {
        let error = reader.read_at(start, &mut vec![0; length]).unwrap_err();
        let why = match &error {
            ImageError::Corrupt { offset, gpa, why } if (*offset, gpa.get()) == (place, place) => {
                why
            }
            other => panic!("{other:?}"),
        };
        assert!(
            why.starts_with(&format!("file offset {descriptor:#x}: ")),
            "{why}"
        );
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
    }
    // The neighbours are read all the same.
    reader.read_exact_at(place - 4096, &mut [0; 4096]).unwrap();
    reader.read_exact_at(place + 4096, &mut [0; 4096]).unwrap();
    image.set_salvage(true);
    assert_is_the_file("salvaged", &opened, &image);
    let mut page = [0xee; 4098];
    let reader = ImageReader::new(image, opened.memory);
    reader.read_exact_at(place - 1, &mut page).unwrap();
    assert_eq!(page[1..4097], [0; 4096]);
}

#[test]
fn a_source_that_fails_and_an_end_are_told_apart() {
    let guest = GuestSpec::windows7().fill(50).build();
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let mut image = Image::new();
    image.push_bytes(vec![1, 2, 3]);
    let size = opened.memory.source().size();
    image.push_source(size - 2, 4);
    let reader = ImageReader::new(image, opened.memory);
    let error = reader.read_at(2, &mut [0; 9]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "image offset 0x5: cannot read the container at file offset {size:#x}: unexpected end of file"
        )
    );
    assert!(matches!(Error::from(error), Error::Io { .. }));
    let mut four = [0; 4];
    assert!(reader.read_exact_at(0, &mut four).is_ok());
    assert_eq!(four[..3], [1, 2, 3]);
    let end = reader.read_exact_at(7, &mut four).unwrap_err();
    assert_eq!(end.to_string(), "image offset 0x7: the image ends at 0x7");
    assert_eq!(io::Error::from(end).kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(reader.read_at(u64::MAX, &mut four).unwrap(), 0);
}

#[test]
fn a_dump_is_opened_and_checked_before_it_is_written() {
    let guest = GuestSpec::windows10().processors(2).fill(50);
    let guest = guest.crashed(0xd1, [8, 2, 0, 0x1234]).build();
    let opened = open(guest.kdump().bytes()).unwrap();
    let found = windows::identify(&opened).unwrap();
    let plan = dump::plan(&opened, &found, &PlanOptions::default()).unwrap();
    let is_encoded = |data: &SegmentData| matches!(data, SegmentData::Encoded { .. });
    assert!(
        plan.image
            .segments()
            .iter()
            .any(|segment| is_encoded(&segment.data))
    );
    let reader: Arc<dyn ReadAt> = Arc::new(ImageReader::new(plan.image, opened.memory));
    let dump = DumpFile::open(Arc::clone(&reader)).unwrap();
    assert_eq!(check::check(&dump).findings, []);
    // Threads share it.
    let again = container::open(reader, OpenOptions::default()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(
                    windows::identify(&again).unwrap().kernel.image.base,
                    found.kernel.image.base
                );
            });
        }
    });
}
