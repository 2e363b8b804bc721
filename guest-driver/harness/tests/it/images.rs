//! The images of every architecture, by their headers.

use guest_harness::image::{Image, Section};
use guest_harness::windows::IMPORTS;

#[test]
fn every_image_is_a_driver_and_no_more() {
    let drivers = guest_harness::drivers();
    if drivers.is_empty() {
        eprintln!("SKIPPED: no driver was built (cargo xtask driver)");
    }
    for (name, path) in drivers {
        let image = Image::read(std::fs::read(path).unwrap()).unwrap();
        let machine = match name.split('-').next().unwrap() {
            "x64" => 0x8664,
            "arm64" => 0xaa64,
            "x86" => 0x14c,
            other => panic!("{other}"),
        };
        assert_eq!((image.machine, image.subsystem), (machine, 1), "{name}");
        let mut imports: Vec<&str> = image
            .imports
            .iter()
            .map(|import| import.name.as_str())
            .collect();
        imports.sort_unstable();
        assert_eq!(imports, IMPORTS, "{name}");
        assert!(
            image
                .imports
                .iter()
                .all(|import| import.library == "ntoskrnl.exe"),
            "{name}"
        );
        for section in &image.sections {
            assert_ne!(section.rights(), (true, true), "{name} {}", section.name);
        }
        assert_ne!(
            image.checksum, 0,
            "{name}: Windows refuses a driver without one"
        );
        assert_eq!(image.checksum, checksum(&image.bytes), "{name}");
        assert!(image.subsystem_version <= (10, 0), "{name}");
        assert!(image.bytes.len() < 64 << 10, "{name}");
        // Windows moves every driver: IMAGE_FILE_RELOCS_STRIPPED is not set, DYNAMIC_BASE and NX_COMPAT are.
        assert_eq!(image.characteristics & 1, 0, "{name}");
        assert_eq!(image.dll_characteristics & 0x140, 0x140, "{name}");
        // Addresses that move are where they can be: whole, in a section, and never in code of 64 bit.
        let wide = machine != 0x14c;
        // Code of 64 bit may need none.
        assert!(wide || !image.relocations.is_empty(), "{name}");
        for (at, bytes) in &image.relocations {
            let is_in = |section: &&Section| {
                (section.at..section.at + section.size).contains(&(at + bytes - 1))
            };
            let section = image.sections.iter().find(is_in).unwrap();
            assert_eq!(*bytes, if wide { 8 } else { 4 }, "{name} {at:#x}");
            assert!(!wide || !section.rights().0, "{name} {at:#x}");
        }
    }
}

/// Of the words of the file but its own, with their carry, and the file's length.
fn checksum(bytes: &[u8]) -> u32 {
    let at = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize + 0x58;
    let mut sum = 0_u64;
    for (n, word) in bytes.chunks(2).enumerate() {
        if n * 2 < at || n * 2 >= at + 4 {
            sum += u64::from(word[0]) | u64::from(*word.get(1).unwrap_or(&0)) << 8;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u32::try_from(sum).unwrap() + u32::try_from(bytes.len()).unwrap()
}
